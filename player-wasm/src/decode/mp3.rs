//! MPEG audio frames through `nanomp3-core`, one whole frame a call.

use nanomp3_core::{Channels, DecodeError, Decoder, MAX_SAMPLES_PER_FRAME};

use super::Planes;

/// Fade per concealed frame; after four of them silence is the honest answer.
const FADE: [f32; 5] = [1.0, 0.7, 0.4, 0.15, 0.0];

pub(super) struct Mp3 {
    decoder: Decoder,
    pcm: [f32; MAX_SAMPLES_PER_FRAME],
    tripled: Vec<u8>,
    /// Frames concealed in a row.
    concealed: usize,
    /// Whether a frame was decoded since the start.
    heard: bool,
}

impl std::fmt::Debug for Mp3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mp3").finish_non_exhaustive()
    }
}

impl Mp3 {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            pcm: [0.0; MAX_SAMPLES_PER_FRAME],
            tripled: Vec::new(),
            concealed: 0,
            heard: false,
        }
    }

    pub(super) fn decode(
        &mut self,
        frame: &[u8],
        duration: usize,
        out: &mut Planes,
    ) -> Result<(), String> {
        // A free-format frame (bitrate index 0) does not tell its length: the
        // decoder measures the distance to the next two headers. Ours is known
        // to be whole, so its own copies serve as those.
        let free = frame.get(2).is_some_and(|b| b >> 4 == 0);
        let (consumed, result) = if free {
            self.tripled.clear();
            for _ in 0..3 {
                self.tripled.extend_from_slice(frame);
            }
            self.decoder.decode(&self.tripled, &mut self.pcm)
        } else {
            self.decoder.decode(frame, &mut self.pcm)
        };
        let problem = match result {
            Ok(info) if consumed == frame.len() => {
                self.deliver(info.samples_produced, info.channels, duration, out);
                return Ok(());
            }
            // The start of a stream cut from a longer one: its first frames
            // refer to data before the cut. Silence keeps the time.
            Err(DecodeError::ReservoirUnavailable(_)) if !self.heard => {
                out.silence(duration);
                return Ok(());
            }
            Ok(_) => "its length is not what its header says".to_owned(),
            Err(e) => e.to_string(),
        };
        self.conceal(duration, out);
        Err(format!("mp3 frame of {} bytes: {problem}", frame.len()))
    }

    /// Repeats what was heard last, fading out.
    pub(super) fn conceal(&mut self, frames: usize, out: &mut Planes) {
        let at = self.concealed.min(FADE.len() - 2);
        self.concealed += 1;
        if !self.heard || self.concealed >= FADE.len() {
            out.silence(frames);
            return;
        }
        let had = out.frames.max(1);
        for plane in &mut out.planes {
            for i in had..frames.max(had) {
                let again = plane.get(i - had).copied().unwrap_or(0.0);
                match plane.get_mut(i) {
                    Some(x) => *x = again,
                    None => plane.push(again),
                }
            }
        }
        out.resize(frames);
        let step = (FADE[at + 1] / FADE[at].max(0.1) - 1.0) / frames.max(1) as f32;
        for plane in &mut out.planes {
            for (i, x) in plane[..frames].iter_mut().enumerate() {
                *x *= 1.0 + step * i as f32;
            }
        }
    }

    fn deliver(&mut self, frames: usize, channels: Channels, duration: usize, out: &mut Planes) {
        self.concealed = 0;
        self.heard = true;
        let frames = frames.min(duration);
        let have = usize::from(channels.num());
        let want = out.channels();
        let pcm = &mut self.pcm[..];
        // A frame may be mono in a stereo stream or the other way round.
        if have == 1 && want == 2 {
            for i in (0..frames).rev() {
                let x = pcm[i];
                pcm[2 * i] = x;
                pcm[2 * i + 1] = x;
            }
        } else if have == 2 && want == 1 {
            for i in 0..frames {
                pcm[i] = 0.5 * (pcm[2 * i] + pcm[2 * i + 1]);
            }
        }
        if out.deinterleave(pcm, frames) {
            self.decoder = Decoder::new();
        }
        if frames < duration {
            out.resize(duration);
            for plane in &mut out.planes {
                plane[frames..duration].fill(0.0);
            }
        }
    }
}
