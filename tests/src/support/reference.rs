//! Reference programs as oracles: never our own numbers.

use super::{Pcm, Program, ProgramError, Scratch};
use std::path::Path;

/// Decodes Ogg/Opus with `opusdec --float` at 48 kHz: trims, gain and chained
/// links as libopusfile has them. Surround comes in WAV's channel order.
///
/// # Errors
/// When opusdec is missing or refuses the file.
pub fn opusdec_decode(path: &Path) -> Result<Pcm, ProgramError> {
    let scratch = Scratch::new("opusdec");
    let wav = scratch.file("out.wav");
    Program::new("opusdec")
        .args(["--quiet", "--float", "--no-dither", "--rate", "48000"])
        .args([path, &wav])
        .run()?;
    Pcm::read_wav(&wav).map_err(|e| ProgramError::Failed(e.to_string()))
}

/// Decodes MP3 with `mpg123 -e f32`, gapless by the LAME tag, at the file's rate.
///
/// # Errors
/// When mpg123 is missing or refuses the file.
pub fn mpg123_decode(path: &Path) -> Result<Pcm, ProgramError> {
    let scratch = Scratch::new("mpg123");
    let wav = scratch.file("out.wav");
    Program::new("mpg123")
        .args(["-q", "-e", "f32", "-w"])
        .args([&wav, path])
        .run()?;
    Pcm::read_wav(&wav).map_err(|e| ProgramError::Failed(e.to_string()))
}

/// Decodes with ffmpeg to floats at `sample_rate` and `channels`, which should be
/// the file's own: ffmpeg would otherwise convert. `decoder` picks one by name
/// (`libopus`, `mp3float`).
///
/// # Errors
/// When ffmpeg is missing or refuses the file.
pub fn ffmpeg_decode(
    path: &Path,
    decoder: Option<&str>,
    sample_rate: u32,
    channels: usize,
) -> Result<Pcm, ProgramError> {
    let mut program = Program::new("ffmpeg").args(["-v", "error", "-nostdin"]);
    if let Some(decoder) = decoder {
        program = program.args(["-c:a", decoder]);
    }
    let out = program
        .arg("-i")
        .arg(path)
        .args(["-f", "f32le", "-c:a", "pcm_f32le"])
        .args([
            "-ar",
            &sample_rate.to_string(),
            "-ac",
            &channels.to_string(),
            "pipe:1",
        ])
        .run()?;
    Ok(Pcm::from_f32le(&out.stdout, sample_rate, channels))
}

/// What to encode to.
#[derive(Debug, Clone, Copy)]
pub enum Encoding<'a> {
    /// Ogg/Opus by ffmpeg's libopus, with further arguments
    /// (`["-application", "voip", "-frame_duration", "2.5"]`).
    Opus(&'a [&'a str]),
    /// MP3 by ffmpeg's libmp3lame, with further arguments (`["-q:a", "2"]`).
    Mp3(&'a [&'a str]),
}

/// Encodes `pcm` to `path` with ffmpeg.
///
/// # Errors
/// When ffmpeg is missing or refuses the arguments.
pub fn encode(pcm: &Pcm, encoding: Encoding<'_>, path: &Path) -> Result<(), ProgramError> {
    let (codec, format, more) = match encoding {
        Encoding::Opus(more) => ("libopus", "ogg", more),
        Encoding::Mp3(more) => ("libmp3lame", "mp3", more),
    };
    let scratch = Scratch::new("encode");
    let wav = scratch.file("in.wav");
    pcm.write_wav(&wav);
    Program::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-i"])
        .arg(&wav)
        .args(["-c:a", codec])
        .args(more)
        .args(["-f", format])
        .arg(path)
        .run()
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{require, snr_db};

    #[test]
    fn references_agree_with_each_other() {
        require(&["ffmpeg", "opusdec", "mpg123"]);
        let scratch = Scratch::new("reference");
        let sine = Pcm::sine(48_000, 997.0, 48_000);
        let opus = scratch.file("a.opus");
        encode(&sine, Encoding::Opus(&["-b:a", "128k"]), &opus).unwrap();
        let decoded = opusdec_decode(&opus).unwrap();
        assert_eq!(decoded.frames(), sine.frames());
        assert!(snr_db(&sine.samples, &decoded.samples) > 25.0);

        let sine = Pcm::sine(44_100, 997.0, 44_100);
        let mp3 = scratch.file("a.mp3");
        encode(&sine, Encoding::Mp3(&["-b:a", "128k"]), &mp3).unwrap();
        let ours = mpg123_decode(&mp3).unwrap();
        let theirs = ffmpeg_decode(&mp3, None, 44_100, 2).unwrap();
        assert_eq!(
            (ours.frames(), theirs.frames()),
            (sine.frames(), sine.frames())
        );
        assert!(snr_db(&ours.samples, &theirs.samples) > 90.0);
    }
}
