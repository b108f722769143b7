//! Packets to PCM: Opus and MP3 behind one decoder that always keeps time.
//!
//! [`Decoder::decode`] delivers exactly the frames a packet stands for,
//! concealed when the packet cannot be decoded; [`Decoder::conceal`] fills
//! holes. Trims are the caller's: [`crate::stream`] applies them.

mod mp3;
mod opus;

use seamcast_media::demux::{Codec, LinkConfig};

/// Most frames one call delivers: the longest Opus packet, 120 ms at 48 kHz.
pub const MAX_FRAMES: usize = 5_760;

/// Planar PCM that keeps its allocation.
#[derive(Clone, Debug, Default)]
pub struct Planes {
    planes: Vec<Vec<f32>>,
    frames: usize,
}

impl Planes {
    /// No channels at all.
    pub fn none() -> &'static Self {
        static NONE: Planes = Planes {
            planes: Vec::new(),
            frames: 0,
        };
        &NONE
    }

    /// Silence-free, empty storage for `channels`.
    pub fn new(channels: usize) -> Self {
        Self {
            planes: vec![Vec::new(); channels],
            frames: 0,
        }
    }

    /// Frames held.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Channels held.
    pub fn channels(&self) -> usize {
        self.planes.len()
    }

    /// One channel; empty when there is no such channel.
    pub fn channel(&self, index: usize) -> &[f32] {
        match self.planes.get(index) {
            Some(plane) => plane.get(..self.frames).unwrap_or(&[]),
            None => &[],
        }
    }

    /// Makes every channel `frames` long; what is new is silence.
    fn resize(&mut self, frames: usize) {
        for plane in &mut self.planes {
            if plane.len() < frames {
                plane.resize(frames, 0.0);
            }
        }
        self.frames = frames;
    }

    fn silence(&mut self, frames: usize) {
        self.resize(frames);
        for plane in &mut self.planes {
            plane[..frames].fill(0.0);
        }
    }

    /// Takes `frames` interleaved frames. Values that are not finite become
    /// silence; the answer tells whether there were any.
    fn deinterleave(&mut self, pcm: &[f32], frames: usize) -> bool {
        let channels = self.planes.len();
        self.resize(frames);
        let pcm = &pcm[..frames * channels];
        // The largest magnitude as bits: one test for all, and integer maxima,
        // unlike sums of floats, are computed four at a time.
        let largest = pcm.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff));
        let clean = largest < f32::INFINITY.to_bits();
        match self.planes.as_mut_slice() {
            [mono] => mono[..frames].copy_from_slice(pcm),
            [left, right] => {
                let out = left[..frames].iter_mut().zip(right[..frames].iter_mut());
                for ((l, r), frame) in out.zip(pcm.chunks_exact(2)) {
                    *l = frame[0];
                    *r = frame[1];
                }
            }
            planes => {
                for (channel, plane) in planes.iter_mut().enumerate() {
                    let source = pcm.iter().skip(channel).step_by(channels);
                    for (out, &x) in plane[..frames].iter_mut().zip(source) {
                        *out = x;
                    }
                }
            }
        }
        if !clean {
            for plane in &mut self.planes {
                for x in &mut plane[..frames] {
                    if !x.is_finite() {
                        *x = 0.0;
                    }
                }
            }
        }
        !clean
    }
}

#[derive(Debug)]
enum Kind {
    Opus(opus::Opus),
    Mp3(Box<mp3::Mp3>),
}

/// A decoder for one link.
#[derive(Debug)]
pub struct Decoder {
    kind: Kind,
    planes: Planes,
}

impl Decoder {
    /// A decoder for a link.
    ///
    /// # Errors
    /// When the link's headers name something no decoder can be made for.
    pub fn new(config: &LinkConfig) -> Result<Self, String> {
        let planes = Planes::new(usize::from(config.channels.max(1)));
        let kind = match config.codec {
            Codec::Opus => Kind::Opus(opus::Opus::new(config)?),
            Codec::Mp3 => Kind::Mp3(Box::new(mp3::Mp3::new())),
        };
        Ok(Self { kind, planes })
    }

    /// Decodes a packet that stands for `duration` frames and leaves that many
    /// in [`Decoder::pcm`], whatever happens.
    ///
    /// # Errors
    /// When the packet could not be decoded and was concealed.
    pub fn decode(&mut self, payload: &[u8], duration: u32) -> Result<(), String> {
        let duration = (duration as usize).min(MAX_FRAMES);
        match &mut self.kind {
            Kind::Opus(opus) => opus.decode(payload, duration, &mut self.planes),
            Kind::Mp3(mp3) => mp3.decode(payload, duration, &mut self.planes),
        }
    }

    /// Makes up `frames` (at most [`MAX_FRAMES`]) that were lost. When the
    /// packet after the loss is `next`, its redundancy is used.
    pub fn conceal(&mut self, frames: u32, next: Option<&[u8]>) {
        let frames = (frames as usize).min(MAX_FRAMES);
        match &mut self.kind {
            Kind::Opus(opus) => opus.conceal(frames, next, &mut self.planes),
            Kind::Mp3(mp3) => mp3.conceal(frames, &mut self.planes),
        }
    }

    /// Frames by which it is best to conceal at a time.
    pub fn stride(&self) -> u32 {
        match &self.kind {
            Kind::Opus(opus) => opus.stride(),
            Kind::Mp3(_) => 1152,
        }
    }

    /// What the last call delivered.
    pub fn pcm(&self) -> &Planes {
        &self.planes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deinterleaves_and_removes_what_is_not_a_number() {
        let mut planes = Planes::new(3);
        let pcm = [1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0];
        assert!(planes.deinterleave(&pcm, 2));
        assert_eq!(planes.channel(0), [1.0, 4.0]);
        assert_eq!(planes.channel(1), [2.0, 0.0]);
        assert_eq!(planes.channel(2), [3.0, 6.0]);
        let mut planes = Planes::new(2);
        assert!(!planes.deinterleave(&[1.0, -1.0, 0.5, -0.5], 2));
        assert_eq!(planes.channel(1), [-1.0, -0.5]);
        assert!(planes.channel(7).is_empty());
    }
}
