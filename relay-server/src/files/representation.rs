//! What a request's query makes of a file: its bytes, or a header and the
//! file from some offset on.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use seamcast_media::pcm::SampleFormat;
use seamcast_media::wav;

use super::body::Piece;
use super::seek;
use super::validators::{Validators, whole_seconds};

/// Bytes at a growing file's start that its tag stands for.
const TAGGED_HEAD: u64 = 4096;

/// The query parameters of `/files/`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Query {
    /// `pos`: begin at this time, seconds.
    pub pos: Option<f64>,
    /// `wait`: how long to wait for growth.
    pub wait: Option<Duration>,
    /// `format`, `rate`, `channels`: layout of a raw PCM file, given a WAV header.
    pub raw: Option<wav::Format>,
}

impl Query {
    /// Reads the query; unknown parameters are ignored (caches and players add some).
    ///
    /// # Errors
    /// Names the parameter and the value.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let mut parsed = Self::default();
        let (mut format, mut rate, mut channels) = (None, None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "pos" => parsed.pos = Some(seconds("pos", &value)?),
                "wait" => {
                    parsed.wait = Some(Duration::from_secs_f64(
                        seconds("wait", &value)?.min(86_400.0),
                    ))
                }
                "format" => {
                    let known = SampleFormat::from_name(&value);
                    format = Some(known.ok_or_else(|| format!("format={value}: unknown sample format; use s16le, f32le, s24le, s32le, u8, mulaw or alaw"))?);
                }
                "rate" => rate = Some(number("rate", &value, 1_000, 768_000)?),
                "channels" => channels = Some(number("channels", &value, 1, 255)?),
                _ => {}
            }
        }
        if let Some(sample) = format {
            if sample == SampleFormat::S16be {
                return Err("format=s16be has no WAV form; record s16le instead".into());
            }
            parsed.raw = Some(wav::Format {
                sample,
                sample_rate: rate.ok_or("format= needs rate= (Hz)")?,
                channels: channels.unwrap_or(1) as u16,
            });
        }
        Ok(parsed)
    }
}

fn seconds(name: &str, value: &str) -> Result<f64, String> {
    let parsed = value
        .parse::<f64>()
        .ok()
        .filter(|s| s.is_finite() && *s >= 0.0);
    parsed.ok_or_else(|| format!("{name}={value}: give seconds, 0 or more"))
}

fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32, String> {
    let parsed = value
        .parse::<u32>()
        .ok()
        .filter(|n| (least..=most).contains(n));
    parsed.ok_or_else(|| format!("{name}={value}: give a whole number from {least} to {most}"))
}

/// A prefix and the file from `start` to `end`.
#[derive(Debug)]
pub(crate) struct Representation {
    /// The media type.
    pub content_type: &'static str,
    prefix: Bytes,
    start: u64,
    end: u64,
    /// Distinguishes representations of one file in their tags.
    variant: u64,
}

impl Representation {
    /// Prepares the representation that `query` asks for.
    ///
    /// # Errors
    /// `InvalidInput` or `InvalidData`, with a message for the client, when the
    /// file is of no kind that has times, or damaged; else reading errors.
    pub(crate) fn new(
        file: &File,
        path: &Path,
        len: u64,
        growing: bool,
        query: &Query,
    ) -> io::Result<Self> {
        let content_type = content_type(path);
        let cut = if let Some(format) = query.raw {
            seek::raw(format, len, growing, query.pos.unwrap_or(0.0))
        } else if let Some(pos) = query.pos {
            seek::locate(file, len, growing, pos)?
        } else {
            return Ok(Self {
                content_type,
                prefix: Bytes::new(),
                start: 0,
                end: len,
                variant: 0,
            });
        };
        let variant = query.pos.unwrap_or(0.0).to_bits() ^ (cut.prefix.len() as u64).rotate_left(7);
        let content_type = cut.content_type.unwrap_or(content_type);
        Ok(Self {
            content_type,
            prefix: cut.prefix.into(),
            start: cut.start.min(len),
            end: cut.end.min(len),
            variant,
        })
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> u64 {
        self.prefix.len() as u64 + (self.end - self.start)
    }

    /// The file offset of a byte at or after the prefix.
    pub(crate) fn file_offset(&self, position: u64) -> u64 {
        self.start + position.saturating_sub(self.prefix.len() as u64)
    }

    /// The pieces that make up a range.
    pub(crate) fn pieces(&self, range: Range<u64>) -> Vec<Piece> {
        let prefix_len = self.prefix.len() as u64;
        let mut pieces = Vec::with_capacity(2);
        if range.start < prefix_len {
            let from_prefix = range.start as usize..range.end.min(prefix_len) as usize;
            pieces.push(Piece::Bytes(self.prefix.slice(from_prefix)));
        }
        if range.end > prefix_len {
            pieces.push(Piece::Range(
                self.file_offset(range.start)..self.file_offset(range.end),
            ));
        }
        pieces
    }

    /// The validators of this representation now. A finished file's tag stands
    /// for inode, size and modification time. A growing file's stands for
    /// inode, the size so far and its first bytes: it stays usable in
    /// `If-Range` as long as the file only grew.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn validators(
        &self,
        file: &File,
        metadata: &Metadata,
        growing: bool,
    ) -> io::Result<Validators> {
        let (inode, variant) = (metadata.ino(), self.variant);
        let etag = if growing {
            let size = metadata.len();
            format!(
                "\"g-{inode:x}-{size:x}-{:x}-{variant:x}\"",
                head_hash(file, size)?
            )
        } else {
            let nanos = metadata.mtime_nsec();
            format!(
                "\"{inode:x}-{:x}-{:x}.{nanos:x}-{variant:x}\"",
                metadata.len(),
                metadata.mtime()
            )
        };
        Ok(Validators {
            etag,
            modified: whole_seconds(metadata.modified()?),
        })
    }

    /// Whether `If-Range` lets a range through: as RFC 9110, and also for the
    /// tag of an earlier moment of a file that has only grown since.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn if_range_applies(
        &self,
        if_range: Option<&str>,
        validators: &Validators,
        file: &File,
        metadata: &Metadata,
    ) -> io::Result<bool> {
        if validators.range_applies(if_range) {
            return Ok(true);
        }
        let Some(tag) = if_range
            .and_then(|t| t.trim().strip_prefix("\"g-"))
            .and_then(|t| t.strip_suffix('"'))
        else {
            return Ok(false);
        };
        let mut fields = tag
            .split('-')
            .map(|field| u64::from_str_radix(field, 16).ok());
        let mut field = || fields.next().flatten();
        let (Some(inode), Some(size), Some(hash), Some(variant)) =
            (field(), field(), field(), field())
        else {
            return Ok(false);
        };
        Ok(inode == metadata.ino()
            && variant == self.variant
            && size <= metadata.len()
            && hash == head_hash(file, size)?)
    }
}

/// FNV-1a of the first bytes that existed when the file had `size` bytes.
fn head_hash(file: &File, size: u64) -> io::Result<u64> {
    let mut head = vec![0; size.min(TAGGED_HEAD) as usize];
    let got = read_full(file, &mut head, 0)?;
    let hash = head[..got]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    Ok(hash)
}

/// Reads until the buffer is full or the file ends; bytes read.
pub(crate) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Audio by its extension; everything else is never rendered by a browser.
fn content_type(path: &Path) -> &'static str {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "opus" | "ogg" | "oga" => "audio/ogg",
        "mp3" => "audio/mpeg",
        "wav" | "wave" => "audio/wav",
        "flac" => "audio/flac",
        "m4a" | "mp4" => "audio/mp4",
        "aac" => "audio/aac",
        "webm" => "audio/webm",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_name_their_mistakes() {
        assert_eq!(Query::parse("").ok(), Some(Query::default()));
        let query = Query::parse("pos=2.5&wait=3&cachebuster=1").ok();
        assert_eq!(
            query,
            Some(Query {
                pos: Some(2.5),
                wait: Some(Duration::from_secs(3)),
                raw: None
            })
        );
        for bad in [
            "pos=-1",
            "pos=x",
            "pos=nan",
            "wait=inf",
            "format=s12le&rate=8000",
            "format=s16le",
            "format=s16le&rate=8000&channels=0",
            "format=s16be&rate=8000",
        ] {
            let message = Query::parse(bad).err();
            assert!(message.is_some(), "{bad}");
        }
        let raw = Query::parse("format=s16le&rate=8000")
            .ok()
            .and_then(|q| q.raw);
        assert_eq!(
            raw,
            Some(wav::Format {
                sample: SampleFormat::S16le,
                sample_rate: 8000,
                channels: 1
            })
        );
    }

    #[test]
    fn ranges_cross_from_prefix_to_file() {
        let representation = Representation {
            content_type: "x",
            prefix: Bytes::from_static(b"head"),
            start: 100,
            end: 150,
            variant: 0,
        };
        assert_eq!(representation.len(), 54);
        let shown = |range| format!("{:?}", representation.pieces(range));
        assert_eq!(shown(1..3), r#"[Bytes(b"ea")]"#);
        assert_eq!(shown(2..6), r#"[Bytes(b"ad"), Range(100..102)]"#);
        assert_eq!(shown(10..54), "[Range(106..150)]");
    }
}
