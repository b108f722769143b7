//! Files that are decoded to PCM before they are encoded: AAC, M4A and
//! Vorbis, and MP3 where a mount needs another codec. The decoders are
//! `symphonia`'s, behind the feature `decoders`.

#[cfg(feature = "decoders")]
mod edits;
#[cfg(feature = "decoders")]
mod symphonia;
#[cfg(not(feature = "decoders"))]
mod without;

#[cfg(feature = "decoders")]
pub use self::symphonia::Decoder;
#[cfg(not(feature = "decoders"))]
pub use self::without::Decoder;

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Bytes of a file that tell its kind.
const FIRST: usize = 64;

/// What a file's first bytes say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// MP3: its frames are passed on.
    Mp3,
    /// Ogg with Opus in it: its packets are passed on.
    Opus,
    /// Must be decoded here: MP4, AAC in ADTS frames, Ogg with Vorbis.
    Other,
    /// Something else, such as WAV and FLAC, which the ingest knows.
    Ingest,
}

impl Kind {
    /// Looks at the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot be opened: {error}");
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let mut first = Vec::with_capacity(FIRST);
        let mut read = |file: &mut std::fs::File| {
            first.clear();
            file.by_ref()
                .take(FIRST as u64)
                .read_to_end(&mut first)
                .map(|_| first.clone())
        };
        let mut head = read(&mut file).map_err(failed)?;
        if let Some(len) = id3_len(&head) {
            file.seek(SeekFrom::Start(len)).map_err(failed)?;
            head = read(&mut file).map_err(failed)?;
            // Nothing after the tag: whoever plays it says so.
            if head.is_empty() {
                return Ok(Self::Mp3);
            }
        }
        Ok(Self::sniff(&head))
    }

    fn sniff(first: &[u8]) -> Self {
        match first {
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Self::Other,
            // The first packet follows a page header with one lacing value
            // (RFC 3533 §6).
            [b'O', b'g', b'g', b'S', ..] => match first.get(28..) {
                Some([b'O', b'p', b'u', b's', ..]) => Self::Opus,
                Some([1, b'v', b'o', b'r', b'b', b'i', b's', ..]) => Self::Other,
                _ => Self::Ingest,
            },
            // Layer 0 does not exist in MPEG audio; ADTS has it always.
            [0xff, second, ..] if second & 0xf6 == 0xf0 => Self::Other,
            [0xff, second, ..] if second & 0xe0 == 0xe0 => Self::Mp3,
            _ => Self::Ingest,
        }
    }
}

/// Length of an ID3v2 tag with its header (ID3v2.4 §3.1).
fn id3_len(first: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', _, _, flags, size @ ..] = first else {
        return None;
    };
    let size = size.get(..4)?;
    let size = size
        .iter()
        .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    let footer = if flags & 0x10 != 0 { 10 } else { 0 };
    Some(10 + size + footer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_kind() {
        let ogg = |packet: &[u8]| {
            let mut page = b"OggS".to_vec();
            page.resize(28, 0);
            page.extend_from_slice(packet);
            page
        };
        assert_eq!(Kind::sniff(&ogg(b"OpusHead")), Kind::Opus);
        assert_eq!(Kind::sniff(&ogg(b"\x01vorbis")), Kind::Other);
        assert_eq!(Kind::sniff(b"\0\0\0\x20ftypM4A "), Kind::Other);
        assert_eq!(Kind::sniff(&[0xff, 0xf1, 0x50]), Kind::Other, "ADTS");
        assert_eq!(Kind::sniff(&[0xff, 0xfb, 0x90]), Kind::Mp3, "layer III");
        assert_eq!(Kind::sniff(b"RIFF"), Kind::Ingest);
        assert_eq!(Kind::sniff(b""), Kind::Ingest);
        assert_eq!(id3_len(b"ID3\x04\0\0\0\0\x02\x01"), Some(10 + 257));
        assert_eq!(id3_len(b"ID3\x04"), None);
    }
}
