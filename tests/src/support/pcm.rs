//! Decoded audio and how it is compared with a reference.

use std::path::Path;

/// Audio as frames of interleaved samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcm {
    /// Frames per second.
    pub sample_rate: u32,
    /// Samples per frame.
    pub channels: usize,
    /// Interleaved samples, nominally −1.0 to 1.0.
    pub samples: Vec<f32>,
}

/// A WAV file that cannot be read. The file is at fault, not the caller.
#[derive(Debug)]
pub struct PcmError(String);

impl std::fmt::Display for PcmError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PcmError {}

impl Pcm {
    /// Raw little-endian 32-bit floats. An unfinished last frame is dropped.
    #[must_use]
    pub fn from_f32le(bytes: &[u8], sample_rate: u32, channels: usize) -> Self {
        let mut samples: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        samples.truncate(samples.len() / channels.max(1) * channels.max(1));
        Self {
            sample_rate,
            channels,
            samples,
        }
    }

    /// One vector per channel, as decoders of the web return it.
    ///
    /// # Panics
    /// When the channels differ in length.
    #[must_use]
    pub fn from_planes(planes: &[Vec<f32>], sample_rate: u32) -> Self {
        let frames = planes.first().map_or(0, Vec::len);
        assert!(
            planes.iter().all(|p| p.len() == frames),
            "channels differ in length"
        );
        let samples = (0..frames)
            .flat_map(|i| planes.iter().map(move |p| p[i]))
            .collect();
        Self {
            sample_rate,
            channels: planes.len(),
            samples,
        }
    }

    /// Reads a WAV file of 32-bit float or 16-bit integer samples. Sizes that a
    /// program could not fill in (0, 0xffffffff on a pipe) mean "to the end".
    ///
    /// # Errors
    /// When it is not such a file.
    pub fn read_wav(path: &Path) -> Result<Self, PcmError> {
        let bytes = std::fs::read(path)
            .map_err(|e| PcmError(format!("cannot read {}: {e}", path.display())))?;
        Self::from_wav(&bytes).map_err(|e| PcmError(format!("{}: {e}", path.display())))
    }

    /// As [`Pcm::read_wav`], from memory.
    ///
    /// # Errors
    /// When the bytes are not such a file.
    pub fn from_wav(bytes: &[u8]) -> Result<Self, PcmError> {
        let bad = |m: &str| PcmError(format!("not a WAV file that is understood: {m}"));
        if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
            return Err(bad("no RIFF/WAVE at the start"));
        }
        let mut rest = &bytes[12..];
        let mut format = None;
        while let Some((head, body)) = rest.split_at_checked(8) {
            let declared = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let length = declared.min(body.len());
            match &head[..4] {
                b"fmt " if length >= 16 => {
                    let le16 = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
                    let rate = u32::from_le_bytes([body[4], body[5], body[6], body[7]]);
                    // WAVE_FORMAT_EXTENSIBLE: the real tag opens the sub-format GUID.
                    let tag = if le16(0) == 0xfffe && length >= 26 {
                        le16(24)
                    } else {
                        le16(0)
                    };
                    format = Some((tag, le16(2) as usize, rate, le16(14)));
                }
                b"data" => {
                    let (tag, channels, rate, bits) =
                        format.ok_or_else(|| bad("data before fmt"))?;
                    let length = if declared == 0 { body.len() } else { length };
                    let data = &body[..length];
                    return match (tag, bits) {
                        (3, 32) => Ok(Self::from_f32le(data, rate, channels)),
                        (1, 16) => Ok(Self {
                            sample_rate: rate,
                            channels,
                            samples: data
                                .chunks_exact(2)
                                .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
                                .collect(),
                        }),
                        _ => Err(bad(&format!("format tag {tag} with {bits} bits"))),
                    };
                }
                _ => {}
            }
            rest = body.get(length + (length & 1)..).unwrap_or_default();
        }
        Err(bad("no data chunk"))
    }

    /// Writes a WAV file of 32-bit floats.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write_wav(&self, path: &Path) {
        let size = self.samples.len() as u32 * 4;
        let channels = self.channels as u16;
        let mut out = Vec::with_capacity(44 + size as usize);
        out.extend_from_slice(b"RIFF");
        out.extend_from_slice(&(36 + size).to_le_bytes());
        out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x03\0");
        out.extend_from_slice(&channels.to_le_bytes());
        out.extend_from_slice(&self.sample_rate.to_le_bytes());
        out.extend_from_slice(&(self.sample_rate * u32::from(channels) * 4).to_le_bytes());
        out.extend_from_slice(&(channels * 4).to_le_bytes());
        out.extend_from_slice(b"\x20\0data");
        out.extend_from_slice(&size.to_le_bytes());
        out.extend(self.samples.iter().flat_map(|s| s.to_le_bytes()));
        std::fs::write(path, out)
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }

    /// How many frames there are.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.samples.len() / self.channels.max(1)
    }

    /// One channel.
    #[must_use]
    pub fn plane(&self, channel: usize) -> Vec<f32> {
        self.samples
            .iter()
            .skip(channel)
            .step_by(self.channels.max(1))
            .copied()
            .collect()
    }

    /// Frames `from..to`, as far as there are any.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Self {
        let to = to.min(self.frames());
        let from = from.min(to);
        Self {
            samples: self.samples[from * self.channels..to * self.channels].to_vec(),
            ..*self
        }
    }

    /// A mono sine at half of full scale that rises from one frequency to the
    /// other, so that every moment of it is unlike every other.
    #[must_use]
    pub fn sweep(sample_rate: u32, from: f64, to: f64, frames: usize) -> Self {
        let seconds = frames as f64 / f64::from(sample_rate);
        let samples = (0..frames).map(|n| {
            let t = n as f64 / f64::from(sample_rate);
            let turns = from * t + (to - from) * t * t / (2.0 * seconds);
            (0.5 * (std::f64::consts::TAU * turns).sin()) as f32
        });
        Self {
            sample_rate,
            channels: 1,
            samples: samples.collect(),
        }
    }

    /// A stereo sine of `hertz` (right channel a quarter period later), 0.5 high.
    #[must_use]
    pub fn sine(sample_rate: u32, hertz: f64, frames: usize) -> Self {
        let step = std::f64::consts::TAU * hertz / f64::from(sample_rate);
        let samples = (0..frames)
            .flat_map(|i| {
                let phase = step * i as f64;
                [(0.5 * phase.sin()) as f32, (0.5 * phase.cos()) as f32]
            })
            .collect();
        Self {
            sample_rate,
            channels: 2,
            samples,
        }
    }

    /// Pseudo-random noise of the given height, other in each channel.
    #[must_use]
    pub fn noise(sample_rate: u32, channels: usize, frames: usize, height: f32, seed: u64) -> Self {
        let mut random = super::Seeded::new(seed);
        let samples = (0..frames * channels)
            .map(|_| (random.unit() as f32 * 2.0 - 1.0) * height)
            .collect();
        Self {
            sample_rate,
            channels,
            samples,
        }
    }
}

/// How far a decode is from its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Frames of the candidate less frames of the reference.
    pub length_difference: i64,
    /// Signal-to-noise ratio over the frames both have; infinite when identical.
    pub snr_db: f64,
    /// The largest absolute difference of one sample.
    pub largest_error: f32,
    /// The frame in which it is.
    pub worst_frame: usize,
}

/// Compares frame by frame from the first one; nothing is shifted to fit.
///
/// # Panics
/// When sample rate or channel count differ: such audio cannot be compared.
#[must_use]
pub fn compare(reference: &Pcm, candidate: &Pcm) -> Match {
    assert_eq!(
        (reference.sample_rate, reference.channels),
        (candidate.sample_rate, candidate.channels),
        "sample rate and channels of reference and candidate"
    );
    let mut largest_error = 0.0f32;
    let mut worst = 0;
    for (at, (r, c)) in reference.samples.iter().zip(&candidate.samples).enumerate() {
        let error = (r - c).abs();
        if error > largest_error || error.is_nan() {
            largest_error = error;
            worst = at;
            if error.is_nan() {
                break;
            }
        }
    }
    Match {
        length_difference: candidate.frames() as i64 - reference.frames() as i64,
        snr_db: snr_db(&reference.samples, &candidate.samples),
        largest_error,
        worst_frame: worst / reference.channels.max(1),
    }
}

/// Signal-to-noise ratio over the common length: infinite when identical, NaN
/// when either holds one, and against a silent reference the noise's own level,
/// negated.
#[must_use]
pub fn snr_db(reference: &[f32], candidate: &[f32]) -> f64 {
    let mut signal = 0.0;
    let mut noise = 0.0;
    for (&r, &c) in reference.iter().zip(candidate) {
        let (r, c) = (f64::from(r), f64::from(c));
        signal += r * r;
        noise += (r - c) * (r - c);
    }
    let count = reference.len().min(candidate.len()).max(1) as f64;
    if noise == 0.0 {
        f64::INFINITY
    } else if signal == 0.0 {
        -db(noise / count)
    } else {
        db(signal / noise)
    }
}

/// A ratio of powers in decibels.
#[must_use]
pub fn db(power_ratio: f64) -> f64 {
    10.0 * power_ratio.log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Scratch;

    #[test]
    fn wav_files_survive_a_round_trip() {
        let scratch = Scratch::new("wav");
        let pcm = Pcm::noise(44_100, 3, 1000, 0.9, 1);
        pcm.write_wav(&scratch.file("a.wav"));
        assert_eq!(Pcm::read_wav(&scratch.file("a.wav")).unwrap(), pcm);
    }

    #[test]
    fn a_lost_frame_is_seen_as_noise_and_as_length() {
        let sine = Pcm::sine(48_000, 997.0, 48_000);
        let mut short = sine.clone();
        short.samples.drain(20_000..20_002);
        let same = compare(&sine, &sine);
        assert_eq!((same.length_difference, same.snr_db), (0, f64::INFINITY));
        let lost = compare(&sine, &short);
        assert_eq!(lost.length_difference, -1);
        assert!(lost.snr_db < 25.0, "{lost:?}");
    }

    #[test]
    fn quantizing_to_16_bits_costs_what_theory_says() {
        let sine = Pcm::sine(48_000, 997.0, 48_000);
        let rounded: Vec<f32> = sine
            .samples
            .iter()
            .map(|s| (s * 32768.0).round() / 32768.0)
            .collect();
        // 6.02 × 16 + 1.76 dB for full scale, less 6 dB for half of it.
        assert!((snr_db(&sine.samples, &rounded) - 92.1).abs() < 1.0);
    }

    #[test]
    fn a_nan_is_never_a_match() {
        let sine = Pcm::sine(48_000, 997.0, 100);
        let mut broken = sine.clone();
        broken.samples[50] = f32::NAN;
        let result = compare(&sine, &broken);
        assert!(result.snr_db.is_nan() && result.largest_error.is_nan());
        assert_eq!(result.worst_frame, 25);
    }
}
