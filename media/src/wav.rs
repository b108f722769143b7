//! WAV (RIFF/WAVE, RF64 and BW64) headers: a push parser and a writer.
//!
//! A streamed WAV often does not know its own length: 0, `0x7FFF_FFFF`…, or
//! `0xFFFF_FFFF` in the `data` chunk then mean "until the input ends".

use crate::pcm::SampleFormat;

/// Bytes of header accepted before the `data` chunk; a real file's `LIST` and
/// `bext` chunks stay far below.
pub const MAX_HEADER: usize = 1 << 20;

/// `data` sizes from here on are what streaming writers put for "unknown".
const UNKNOWN_FROM: u32 = 0x7FFF_E000;

/// Longer than any file: `ds64` sizes beyond mean "unknown", too.
const MAX_LONG: u64 = 1 << 62;

/// Sample layout of a WAV stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How a sample is stored.
    pub sample: SampleFormat,
    /// Frames per second, Hz.
    pub sample_rate: u32,
    /// Interleaved channels.
    pub channels: u16,
}

impl Format {
    /// Bytes of one frame (one sample of every channel).
    pub const fn frame_bytes(self) -> usize {
        self.sample.bytes() * self.channels as usize
    }
}

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Sample layout.
    pub format: Format,
    /// Offset of the first sample from the first byte of the file.
    pub data_offset: usize,
    /// Bytes of samples; `None` when the writer did not know.
    pub data_len: Option<u64>,
}

/// Why a header cannot be used. The sender's fault; do not retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes do not start a RIFF/WAVE, RF64 or BW64 file.
    NotWav,
    /// No `data` chunk within [`MAX_HEADER`] bytes, or none before `data`'s needed `fmt `.
    Malformed(&'static str),
    /// A well-formed file of a kind that is not read.
    Unsupported(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotWav => f.write_str("not a WAV stream: no RIFF/WAVE header"),
            Self::Malformed(what) => write!(f, "malformed WAV header: {what}"),
            Self::Unsupported(what) => write!(f, "unsupported WAV: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// Parses the header at the start of `bytes`.
///
/// `Ok(None)` asks for more bytes: call again with all bytes so far.
///
/// # Errors
/// When the bytes can never become a readable header.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Error> {
    let Some(riff) = bytes.first_chunk::<12>() else {
        let magic = bytes.get(..4.min(bytes.len())).unwrap_or_default();
        let known = [b"RIFF", b"RF64", b"BW64"]
            .iter()
            .any(|m| m.starts_with(magic));
        return if known { Ok(None) } else { Err(Error::NotWav) };
    };
    let long = matches!(&riff[..4], b"RF64" | b"BW64");
    if !(long || riff.starts_with(b"RIFF")) || &riff[8..] != b"WAVE" {
        return Err(Error::NotWav);
    }
    let mut at = 12;
    let mut format = None;
    let mut long_data = None;
    loop {
        let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return more(bytes);
        };
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let body = at + 8;
        if &head[..4] == b"data" {
            let format = format.ok_or(Error::Malformed("data chunk before fmt chunk"))?;
            let data_len = match size {
                // Zeros where a writer did not come back to say.
                u32::MAX if long => long_data.filter(|len| (1..=MAX_LONG).contains(len)),
                0 => None,
                s if s >= UNKNOWN_FROM => None,
                s => Some(u64::from(s)),
            };
            return Ok(Some(Header {
                format,
                data_offset: body,
                data_len,
            }));
        }
        let Some(end) = body
            .checked_add(size as usize)
            .filter(|&end| end <= MAX_HEADER)
        else {
            return Err(Error::Malformed("no data chunk in the first MiB"));
        };
        let Some(content) = bytes.get(body..end) else {
            return more(bytes);
        };
        match &head[..4] {
            b"fmt " => format = Some(parse_format(content)?),
            // EBU Tech 3306: riff size, data size, sample count, 64 bits each.
            b"ds64" => {
                long_data = content
                    .get(8..16)
                    .and_then(|b| b.first_chunk::<8>())
                    .map(|b| u64::from_le_bytes(*b));
            }
            _ => {}
        }
        // Chunks are padded to even length.
        at = end + (size as usize & 1);
    }
}

fn more(bytes: &[u8]) -> Result<Option<Header>, Error> {
    if bytes.len() >= MAX_HEADER {
        return Err(Error::Malformed("no data chunk in the first MiB"));
    }
    Ok(None)
}

fn parse_format(fmt: &[u8]) -> Result<Format, Error> {
    let word = |at: usize| {
        fmt.get(at..at + 2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    let (Some(mut tag), Some(channels), Some(bits), Some(rate)) = (
        word(0),
        word(2),
        word(14),
        fmt.get(4..8)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
    ) else {
        return Err(Error::Malformed("fmt chunk shorter than 16 bytes"));
    };
    // WAVE_FORMAT_EXTENSIBLE: the real tag starts the sub-format GUID.
    if tag == 0xFFFE {
        tag = word(24).ok_or(Error::Malformed(
            "extensible fmt chunk shorter than 40 bytes",
        ))?;
    }
    let sample = match (tag, bits) {
        (1, 8) => SampleFormat::U8,
        (1, 16) => SampleFormat::S16le,
        (1, 24) => SampleFormat::S24le,
        (1, 32) => SampleFormat::S32le,
        (3, 32) => SampleFormat::F32le,
        (6, 8) => SampleFormat::Alaw,
        (7, 8) => SampleFormat::Mulaw,
        _ => {
            return Err(Error::Unsupported(format!(
                "format tag {tag} with {bits} bits a sample"
            )));
        }
    };
    if channels == 0 || rate == 0 {
        return Err(Error::Unsupported(format!(
            "{channels} channels at {rate} Hz"
        )));
    }
    Ok(Format {
        sample,
        sample_rate: rate,
        channels,
    })
}

/// A 44-byte header (58 for non-PCM tags) in front of `data_len` bytes of
/// samples; `None`, or more than a RIFF can say, writes the streaming length
/// `0xFFFF_FFFF`. G.711, float and PCM formats only; big-endian samples have
/// no WAV form and are written as their little-endian twin, which the caller
/// must swap.
pub fn header(format: Format, data_len: Option<u64>) -> Vec<u8> {
    let tag: u16 = match format.sample {
        SampleFormat::F32le => 3,
        SampleFormat::Alaw => 6,
        SampleFormat::Mulaw => 7,
        _ => 1,
    };
    let fmt_len: u32 = if tag == 1 { 16 } else { 18 };
    let fact_len: u32 = if tag == 1 { 0 } else { 12 };
    let overhead = 4 + 8 + fmt_len + fact_len + 8;
    let data_size = data_len
        .and_then(|len| u32::try_from(len).ok())
        .filter(|len| {
            len.checked_add(overhead)
                .is_some_and(|all| all < UNKNOWN_FROM)
        });
    let frame = format.frame_bytes() as u32;
    let mut out = Vec::with_capacity(58);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(
        &data_size
            .map_or(u32::MAX, |len| len + overhead)
            .to_le_bytes(),
    );
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&fmt_len.to_le_bytes());
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&format.channels.to_le_bytes());
    out.extend_from_slice(&format.sample_rate.to_le_bytes());
    out.extend_from_slice(&format.sample_rate.saturating_mul(frame).to_le_bytes());
    out.extend_from_slice(&(frame as u16).to_le_bytes());
    out.extend_from_slice(&(format.sample.bytes() as u16 * 8).to_le_bytes());
    if tag != 1 {
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(b"fact");
        out.extend_from_slice(&4u32.to_le_bytes());
        let frames = data_size.map_or(u32::MAX, |len| len / frame.max(1));
        out.extend_from_slice(&frames.to_le_bytes());
    }
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data_size.unwrap_or(u32::MAX).to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPEECH: Format = Format {
        sample: SampleFormat::S16le,
        sample_rate: 24_000,
        channels: 1,
    };

    #[test]
    fn written_headers_read_back() {
        for sample in [
            SampleFormat::S16le,
            SampleFormat::F32le,
            SampleFormat::Mulaw,
            SampleFormat::U8,
            SampleFormat::S24le,
        ] {
            for data_len in [Some(48_000), None] {
                let format = Format { sample, ..SPEECH };
                let bytes = header(format, data_len);
                let parsed = parse(&bytes);
                assert_eq!(
                    parsed,
                    Ok(Some(Header {
                        format,
                        data_offset: bytes.len(),
                        data_len
                    }))
                );
            }
        }
        assert_eq!(header(SPEECH, Some(10)).len(), 44);
    }

    #[test]
    fn streaming_lengths_mean_unknown() {
        // The last is sox's, cut to whole frames of 24 bits.
        for size in [0, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x7FFF_F000, 0x7FFF_EFFFu32] {
            let mut bytes = header(SPEECH, None);
            bytes.truncate(40);
            bytes.extend_from_slice(&size.to_le_bytes());
            assert_eq!(
                parse(&bytes).map(|h| h.and_then(|h| h.data_len)),
                Ok(None),
                "{size:#x}"
            );
        }
        // Longer than a RIFF can say.
        assert_eq!(
            parse(&header(SPEECH, Some(10 << 30))).map(|h| h.and_then(|h| h.data_len)),
            Ok(None)
        );
    }

    #[test]
    fn other_chunks_are_skipped_with_their_padding() {
        let plain = header(SPEECH, Some(4));
        let mut bytes = plain[..12].to_vec();
        bytes.extend_from_slice(b"LIST\x03\0\0\0abc\0");
        bytes.extend_from_slice(&plain[12..]);
        assert_eq!(
            parse(&bytes).map(|h| h.map(|h| h.data_offset)),
            Ok(Some(56))
        );
    }

    #[test]
    fn rf64_lengths_come_from_ds64() {
        let plain = header(SPEECH, None);
        let mut bytes = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&(6u64 << 30).to_le_bytes());
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(&plain[12..]);
        let data_len = |bytes: &[u8]| parse(bytes).map(|h| h.and_then(|h| h.data_len));
        assert_eq!(data_len(&bytes), Ok(Some(6 << 30)));
        // ffmpeg cannot go back in a pipe to fill it in.
        bytes[28..36].fill(0);
        assert_eq!(data_len(&bytes), Ok(None));
        bytes[28..36].fill(0xff);
        assert_eq!(data_len(&bytes), Ok(None));
    }

    #[test]
    fn refusals_name_the_value() {
        assert_eq!(parse(b"OggS"), Err(Error::NotWav));
        let mut bytes = header(SPEECH, None);
        bytes[20] = 0x55;
        assert_eq!(
            parse(&bytes),
            Err(Error::Unsupported(
                "format tag 85 with 16 bits a sample".into()
            ))
        );
        let mut huge = b"RIFF\0\0\0\0WAVELIST".to_vec();
        huge.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(parse(&huge), Err(Error::Malformed(_))));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let mut wav = b"RIFF\0\0\0\0WAVE".to_vec();
            wav.extend_from_slice(&bytes);
            let _ = parse(&wav);
            let _ = parse(&bytes);
        }

        #[test]
        fn prefixes_ask_for_more(cut in 0usize..44) {
            prop_assert_eq!(parse(&header(SPEECH, Some(100))[..cut]), Ok(None));
        }
    }
}
