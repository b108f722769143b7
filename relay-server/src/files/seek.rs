//! Where in a file a time lies, and what must stand before it so that the
//! rest is a valid stream.

use std::fs::File;
use std::io;

use seamcast_media::{mp3, wav};

use super::representation::read_full;

mod ogg;

/// Bytes looked at to tell the kind of file.
const SNIFF_LEN: usize = 4096;
/// Bytes read at once while scanning.
const SCAN_LEN: usize = 256 * 1024;

/// A stream that begins somewhere in a file: `prefix`, then the file from
/// `start` to `end`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Header bytes.
    pub prefix: Vec<u8>,
    /// File offset at which the media begins.
    pub start: u64,
    /// File offset at which it ends; `u64::MAX` for the end of the file.
    pub end: u64,
    /// The media type, where it differs from the file's own.
    pub content_type: Option<&'static str>,
}

/// Finds `pos` (seconds) in an Ogg/Opus, MP3 or WAV file of `len` bytes. A
/// position beyond the end gives an empty stream with its header.
///
/// # Errors
/// `InvalidInput` for other kinds of file, `InvalidData` for damaged ones,
/// and reading errors.
pub(crate) fn locate(file: &File, len: u64, growing: bool, pos: f64) -> io::Result<Cut> {
    let mut head = vec![0; SNIFF_LEN];
    let got = read_full(file, &mut head, 0)?;
    head.truncate(got);
    if head.starts_with(b"OggS") {
        return ogg::locate(file, len, pos);
    }
    if matches!(head.get(..4), Some(b"RIFF" | b"RF64" | b"BW64")) {
        return wav(file, len, growing, pos);
    }
    if head.starts_with(b"ID3") || mp3_sync(&head) {
        return mp3(file, pos);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "pos= works in Ogg/Opus, MP3 and WAV files, and in raw PCM given format= and rate=",
    ))
}

fn mp3_sync(head: &[u8]) -> bool {
    (0..head.len().saturating_sub(mp3::Header::LEN)).any(|at| {
        let header = head.get(at..).and_then(mp3::Header::parse);
        let next = header.and_then(|h| {
            Some((
                h,
                head.get(at + h.frame_len()?..)
                    .and_then(mp3::Header::parse)?,
            ))
        });
        next.is_some_and(|(header, next)| next.continues(&header))
    })
}

/// Raw PCM behind a WAV header; sample-exact.
pub(crate) fn raw(format: wav::Format, len: u64, growing: bool, pos: f64) -> Cut {
    from_samples(format, 0, len, growing, pos)
}

fn wav(file: &File, len: u64, growing: bool, pos: f64) -> io::Result<Cut> {
    let mut head = vec![0; SNIFF_LEN.min(len as usize)];
    let header = loop {
        let got = read_full(file, &mut head, 0)?;
        head.truncate(got);
        match wav::parse(&head) {
            Ok(Some(header)) => break header,
            Ok(None) if (head.len() as u64) < len => {
                let longer = (head.len() * 4).min(len as usize).min(wav::MAX_HEADER);
                head.resize(longer, 0);
            }
            Ok(None) => return Err(invalid("the WAV header is cut off")),
            Err(error) => return Err(invalid(&error.to_string())),
        }
    };
    let data = header.data_offset as u64;
    // Who records corrects the header later, if at all.
    let end = header
        .data_len
        .filter(|_| !growing)
        .and_then(|l| data.checked_add(l))
        .unwrap_or(len)
        .min(len);
    Ok(from_samples(
        header.format,
        data,
        end.max(data),
        growing,
        pos,
    ))
}

fn from_samples(format: wav::Format, data: u64, end: u64, growing: bool, pos: f64) -> Cut {
    let frame = format.frame_bytes() as u64;
    let whole = (end - data) / frame * frame;
    let skip = ((pos * f64::from(format.sample_rate)).round() as u64)
        .saturating_mul(frame)
        .min(whole);
    let left = if growing { None } else { Some(whole - skip) };
    Cut {
        prefix: wav::header(format, left),
        start: data + skip,
        // A writer in the middle of a frame must not shift the channels of what follows.
        end: if growing { u64::MAX } else { data + whole },
        content_type: Some("audio/wav"),
    }
}

/// Frames before the wanted one that are sent too: Layer III frames borrow up
/// to 511 bytes from those before them (ISO 11172-3 §2.4.2.7), and each holds
/// at least this share of them at the lowest usual rates.
const RESERVOIR_FRAMES: usize = 3;

/// The frame `RESERVOIR_FRAMES` before the one that holds `pos`.
fn mp3(file: &File, pos: f64) -> io::Result<Cut> {
    let mut framer = mp3::Framer::new();
    let mut recent = [0u64; RESERVOIR_FRAMES + 1];
    let mut count = 0usize;
    let mut seconds = 0.0f64;
    let mut offset = 0u64;
    let mut buffer = vec![0; SCAN_LEN];
    let mut ended = false;
    loop {
        while let Some(found) = framer.poll() {
            let mp3::Found::Frame {
                offset,
                header,
                payload,
            } = found
            else {
                continue;
            };
            if count == 0
                && let Some(info) = mp3::Info::parse(&header, &payload)
            {
                let delay = info.trims(&header).map_or(0, |(start, _)| start);
                seconds = -f64::from(delay) / f64::from(header.sample_rate);
                continue;
            }
            recent[count % recent.len()] = offset;
            count += 1;
            seconds += f64::from(header.duration()) / f64::from(header.sample_rate);
            if seconds > pos {
                let first = count.saturating_sub(recent.len());
                return Ok(bare(recent[first % recent.len()]));
            }
        }
        if ended {
            return match count {
                0 => Err(invalid("no MPEG audio frames in this file")),
                _ => Ok(bare(offset)),
            };
        }
        let got = read_full(file, &mut buffer, offset)?;
        offset += got as u64;
        if got == 0 {
            framer.finish();
            ended = true;
        } else {
            framer.push(&buffer[..got]);
        }
    }
}

fn bare(start: u64) -> Cut {
    Cut {
        prefix: Vec::new(),
        start,
        end: u64::MAX,
        content_type: None,
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seamcast_media::pcm::SampleFormat;

    const VOICE: wav::Format = wav::Format {
        sample: SampleFormat::S16le,
        sample_rate: 8000,
        channels: 1,
    };

    #[test]
    fn raw_positions_are_sample_exact() {
        let cut = raw(VOICE, 16_001, false, 0.25);
        assert_eq!((cut.start, cut.end), (4000, 16_000));
        let parsed = wav::parse(&cut.prefix).ok().flatten();
        assert_eq!(parsed.and_then(|h| h.data_len), Some(12_000));
        let beyond = raw(VOICE, 16_001, false, 100.0);
        assert_eq!((beyond.start, beyond.end), (16_000, 16_000));
    }

    #[test]
    fn a_growing_file_is_longer_than_its_header_knows() {
        let path = std::env::temp_dir().join(format!("seamcast-seek-{}.wav", std::process::id()));
        let mut bytes = wav::header(VOICE, Some(320));
        bytes.resize(44 + 32_000, 0);
        std::fs::write(&path, &bytes).expect("write");
        let file = File::open(&path).expect("open");
        let start = |growing| {
            let cut = locate(&file, bytes.len() as u64, growing, 1.5);
            cut.expect("sound").start
        };
        assert_eq!((start(true), start(false)), (44 + 24_000, 44 + 320));
        std::fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn a_growing_file_has_a_streaming_header() {
        let cut = raw(VOICE, 16_001, true, 0.0);
        assert_eq!(
            wav::parse(&cut.prefix)
                .ok()
                .flatten()
                .and_then(|h| h.data_len),
            None
        );
        assert_eq!(cut.end, u64::MAX);
    }
}
