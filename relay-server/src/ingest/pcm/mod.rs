//! Raw PCM to coded packets: decode, resample if the codec needs it, encode.
//!
//! Everything is done as the samples arrive: encoding never waits for more
//! than one packet's worth of frames and never invents any before the end.

#[cfg(feature = "mp3-encoder")]
mod mp3;
mod opus;
mod resample;

use std::collections::VecDeque;

use seamcast_media::demux::{Codec, Event};
use seamcast_media::pcm::Clamped;
use seamcast_media::wav::Format;

pub use resample::Resampler;

/// How PCM is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The codec.
    pub codec: Codec,
    /// bit/s; 0 chooses by codec and channels.
    pub bitrate: u32,
    /// Opus encoder complexity, 0 to 10.
    pub complexity: u32,
    /// Wanted length of a chunk, ms; packets are never longer.
    pub chunk_ms: u32,
}

/// PCM that cannot be encoded. The configuration's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// What an encoder does with interleaved frames at its own rate.
trait Encode: Send {
    fn push(&mut self, samples: &[f32], events: &mut VecDeque<Event>) -> Result<(), Error>;
    fn finish(&mut self, events: &mut VecDeque<Event>) -> Result<(), Error>;
}

/// Bytes of raw PCM in, demuxer events out.
pub struct Pipeline {
    format: Format,
    /// Bytes of an unfinished frame.
    rest: Vec<u8>,
    decoded: Vec<f32>,
    mixed: Vec<f32>,
    clamped: Clamped,
    channels: usize,
    resampler: Option<Resampler>,
    resampled: Vec<f32>,
    encoder: Box<dyn Encode>,
    events: VecDeque<Event>,
    frames: u64,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("format", &self.format)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// A pipeline without input. More than two channels are mixed to stereo.
    ///
    /// # Errors
    /// When the encoder refuses the settings, or this build lacks it.
    pub fn new(format: Format, settings: Settings) -> Result<Self, Error> {
        let channels = usize::from(format.channels.min(2));
        let (rate, encoder) = encoder(format.sample_rate, channels, settings)?;
        let resampler = if rate == format.sample_rate {
            None
        } else {
            Some(Resampler::new(format.sample_rate, rate, channels)?)
        };
        let mut events = VecDeque::new();
        let mut encoder = encoder;
        encoder.push(&[], &mut events)?;
        Ok(Self {
            format,
            rest: Vec::new(),
            decoded: Vec::new(),
            mixed: Vec::new(),
            clamped: Clamped::default(),
            channels,
            resampler,
            resampled: Vec::new(),
            encoder,
            events,
            frames: 0,
        })
    }

    /// What it takes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Takes the next bytes, cut anywhere.
    ///
    /// # Errors
    /// When the encoder fails, which no input should cause.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let frame = self.format.frame_bytes();
        self.decoded.clear();
        if !self.rest.is_empty() {
            let take = (frame - self.rest.len()).min(bytes.len());
            let (head, tail) = bytes.split_at(take);
            self.rest.extend_from_slice(head);
            bytes = tail;
            if self.rest.len() < frame {
                return Ok(());
            }
            let rest = std::mem::take(&mut self.rest);
            self.format
                .sample
                .decode(&rest, &mut self.decoded, &mut self.clamped);
        }
        let (whole, rest) = bytes.split_at(bytes.len() / frame * frame);
        self.rest.extend_from_slice(rest);
        self.format
            .sample
            .decode(whole, &mut self.decoded, &mut self.clamped);
        let decoded = std::mem::take(&mut self.decoded);
        let outcome = self.feed(&decoded);
        self.decoded = decoded;
        outcome
    }

    fn feed(&mut self, samples: &[f32]) -> Result<(), Error> {
        let source = usize::from(self.format.channels);
        self.frames += (samples.len() / source) as u64;
        let samples = if source > 2 {
            mix_down(samples, source, &mut self.mixed);
            &self.mixed[..]
        } else {
            samples
        };
        match &mut self.resampler {
            None => self.encoder.push(samples, &mut self.events),
            Some(resampler) => {
                self.resampled.clear();
                resampler.push(samples, &mut self.resampled)?;
                self.encoder.push(&self.resampled, &mut self.events)
            }
        }
    }

    /// No more input: the last packet carries the end trim.
    ///
    /// # Errors
    /// As [`Pipeline::push`].
    pub fn finish(&mut self) -> Result<(), Error> {
        if let Some(resampler) = &mut self.resampler {
            self.resampled.clear();
            resampler.finish(&mut self.resampled)?;
            self.encoder.push(&self.resampled, &mut self.events)?;
        }
        self.encoder.finish(&mut self.events)
    }

    /// The next event, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Samples that had to be changed so far.
    pub fn clamped(&self) -> Clamped {
        self.clamped
    }

    /// Whole frames taken so far, at the source's rate.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes that wait for the rest of their frame.
    pub fn odd_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Channels that are encoded.
    pub fn channels(&self) -> usize {
        self.channels
    }
}

fn encoder(
    rate: u32,
    channels: usize,
    settings: Settings,
) -> Result<(u32, Box<dyn Encode>), Error> {
    match settings.codec {
        Codec::Opus => {
            let encoder = opus::Encoder::new(rate, channels, settings)?;
            Ok((encoder.rate(), Box::new(encoder)))
        }
        #[cfg(feature = "mp3-encoder")]
        Codec::Mp3 => {
            let encoder = mp3::Encoder::new(rate, channels, settings)?;
            Ok((encoder.rate(), Box::new(encoder)))
        }
        #[cfg(not(feature = "mp3-encoder"))]
        Codec::Mp3 => Err(Error(
            "this build has no MP3 encoder; use ?encode=opus or build with the feature mp3-encoder"
                .into(),
        )),
    }
}

/// Mixes 3 to 8 channels in WAV's order to stereo: centre and surrounds at
/// −3 dB, no low-frequency effects, scaled so that nothing can clip.
fn mix_down(samples: &[f32], channels: usize, out: &mut Vec<f32>) {
    const H: f32 = std::f32::consts::FRAC_1_SQRT_2;
    const CENTRE: (f32, f32) = (H, H);
    const LEFT: (f32, f32) = (H, 0.0);
    const RIGHT: (f32, f32) = (0.0, H);
    const NONE: (f32, f32) = (0.0, 0.0);
    let front = [(1.0, 0.0), (0.0, 1.0)];
    let others: &[(f32, f32)] = match channels {
        3 => &[CENTRE],
        4 => &[LEFT, RIGHT],
        5 => &[CENTRE, LEFT, RIGHT],
        6 => &[CENTRE, NONE, LEFT, RIGHT],
        7 => &[CENTRE, NONE, (0.5, 0.5), LEFT, RIGHT],
        _ => &[CENTRE, NONE, LEFT, RIGHT, LEFT, RIGHT],
    };
    let gains: Vec<(f32, f32)> = front.iter().chain(others).copied().collect();
    let scale = 1.0 / gains.iter().map(|(left, _)| left).sum::<f32>();
    out.clear();
    for frame in samples.chunks_exact(channels) {
        let mut sum = (0.0, 0.0);
        for (sample, (left, right)) in frame.iter().zip(&gains) {
            sum.0 += sample * left;
            sum.1 += sample * right;
        }
        out.extend([sum.0 * scale, sum.1 * scale]);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
