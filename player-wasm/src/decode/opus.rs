//! Opus (RFC 6716) through libopus, with the channel mappings of RFC 7845 §5.1.1.

use opus::MSDecoder;
use seamcast_media::demux::LinkConfig;
use seamcast_media::opus::Head;

use super::{MAX_FRAMES, Planes};

/// 2.5 ms at 48 kHz, the unit libopus conceals in.
const STEP: usize = 120;
/// Concealment fades into silence long before this (2 s).
const MAX_CONCEALED: u64 = 96_000;

#[derive(Debug)]
pub(super) struct Opus {
    decoder: MSDecoder,
    interleaved: Vec<f32>,
    channels: usize,
    last_duration: usize,
    concealed: u64,
}

impl Opus {
    pub(super) fn new(config: &LinkConfig) -> Result<Self, String> {
        let head = config
            .headers
            .first()
            .ok_or("opus stream without an OpusHead packet")?;
        let head = Head::parse(head).map_err(|e| e.to_string())?;
        let mut decoder = MSDecoder::new(
            48_000,
            head.streams,
            head.coupled,
            &speaker_order(head.mapping_family, &head.mapping),
        )
        .map_err(|e| e.to_string())?;
        if config.output_gain != 0 {
            decoder
                .set_gain(i32::from(config.output_gain))
                .map_err(|e| e.to_string())?;
        }
        Ok(Self {
            decoder,
            interleaved: Vec::new(),
            channels: head.mapping.len().max(1),
            last_duration: 960,
            concealed: 0,
        })
    }

    pub(super) fn stride(&self) -> u32 {
        self.last_duration as u32
    }

    pub(super) fn decode(
        &mut self,
        payload: &[u8],
        duration: usize,
        out: &mut Planes,
    ) -> Result<(), String> {
        // An empty packet means loss to libopus (RFC 6716 §4.4 DTX included).
        if payload.is_empty() {
            self.conceal(duration, None, out);
            return Ok(());
        }
        match self.run(payload, duration, false) {
            Ok(frames) => {
                self.concealed = 0;
                self.last_duration = duration.clamp(STEP, MAX_FRAMES);
                if frames < duration {
                    out.silence(duration);
                }
                self.deliver(frames.min(duration), out);
                out.resize(duration);
                Ok(())
            }
            Err(e) => {
                self.conceal(duration, None, out);
                Err(format!("opus packet of {} bytes: {e}", payload.len()))
            }
        }
    }

    pub(super) fn conceal(&mut self, frames: usize, next: Option<&[u8]>, out: &mut Planes) {
        self.concealed += frames as u64;
        if self.concealed > MAX_CONCEALED {
            out.silence(frames);
            return;
        }
        let whole = frames.div_ceil(STEP) * STEP;
        // With `fec`, libopus itself conceals all but the last coded frame and
        // takes that from `next` if it carries redundancy (LBRR), or else
        // conceals it too.
        let made = match next {
            Some(next) if !next.is_empty() => self.run(next, whole, true),
            _ => self.run(&[], whole, false),
        };
        match made {
            Ok(made) if made >= frames => self.deliver(frames, out),
            _ => out.silence(frames),
        }
    }

    fn run(&mut self, payload: &[u8], frames: usize, fec: bool) -> Result<usize, String> {
        // Room for the longest packet when decoding: its real length is only
        // known afterwards.
        let room = if payload.is_empty() || fec {
            frames
        } else {
            MAX_FRAMES
        };
        let samples = room * self.channels;
        if self.interleaved.len() < samples {
            self.interleaved.resize(samples, 0.0);
        }
        self.decoder
            .decode_float(payload, &mut self.interleaved[..samples], fec)
            .map_err(|e| e.description().to_owned())
    }

    fn deliver(&mut self, frames: usize, out: &mut Planes) {
        if out.deinterleave(&self.interleaved, frames) {
            // A decoder that once computed NaN would do so for ever.
            let _ = self.decoder.reset_state();
        }
    }
}

/// Reorders a family-1 mapping from Vorbis channel order to that of WAVE files
/// and of Web Audio (front left, front right, centre, LFE, surround …).
fn speaker_order(family: u8, mapping: &[u8]) -> Vec<u8> {
    let order: &[usize] = match (family, mapping.len()) {
        (1, 3) => &[0, 2, 1],
        (1, 5) => &[0, 2, 1, 3, 4],
        (1, 6) => &[0, 2, 1, 5, 3, 4],
        (1, 7) => &[0, 2, 1, 6, 5, 3, 4],
        (1, 8) => &[0, 2, 1, 7, 5, 6, 3, 4],
        _ => return mapping.to_vec(),
    };
    order
        .iter()
        .filter_map(|&i| mapping.get(i).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surround_comes_out_in_speaker_order() {
        // libopus's 5.1 mapping: FL, C, FR, RL, RR, LFE → FL, FR, C, LFE, RL, RR.
        assert_eq!(speaker_order(1, &[0, 4, 1, 2, 3, 5]), [0, 1, 4, 5, 2, 3]);
        assert_eq!(speaker_order(255, &[0, 1, 2]), [0, 1, 2]);
    }
}
