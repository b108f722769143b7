//! The journal beside a recording: every entry of the log that the recording
//! holds, so that it can be served again exactly as it was live.
//!
//! The file is a grid of blocks of [`BLOCK`] bytes, integers big-endian, so
//! that it can be searched where it lies:
//!
//! | Offset | Bytes | Field |
//! |---|---|---|
//! | 0 | 1 | kind, see [`Kind`]; 255 continues the block before |
//! | 1 | 1 | the chunk's flags |
//! | 2 | 2 | zero |
//! | 4 | 4 | generation |
//! | 8 | 8 | index of the entry, or of the next one |
//! | 16 | 8 | sequence number of the chunk, or of the next one |
//! | 24 | 8 | programme position, ticks |
//! | 32 | 8 | duration, ticks |
//! | 40 | 8 | ingest time, µs since the Unix epoch |
//! | 48 | 8 | offset of the payload in the recording |
//! | 56 | 4 | its length; for others that of their text, in the blocks that follow |
//! | 60 | 4 | block of the generation in force |
//! | 64 | 4 | block of the tags in force; 0 is none |
//! | 68 | 4 | FNV-1a of the payload or text, for what a power cut tears; 0 is not known |
//! | 72 | 4 | zero |
//! | 76 | 4 | FNV-1a of the bytes before |
//!
//! A continuation is 255 and 79 bytes of text, zero-padded.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use seamcast_media::units::MediaTime;
use seamcast_protocol::chunk::{Flags, Header};

use crate::mount::log::Reach;

/// Bytes of a block.
pub(super) const BLOCK: usize = 80;
/// First byte of a block that continues the one before.
const MORE: u8 = 255;
/// Bytes of text that such a block holds.
const TEXT: usize = BLOCK - 1;
/// Longest text; tags are bounded well below.
const MAX_TEXT: usize = 1 << 20;

/// What a block tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first block; its text is JSON `{mount, epoch}`.
    Head = 1,
    /// A generation; JSON.
    Generation = 2,
    /// The tags in force where the file begins; JSON.
    Tags = 3,
    /// A chunk.
    Chunk = 4,
    /// New tags; JSON.
    Metadata = 5,
    /// The source was lost; the frame.
    Offline = 6,
    /// It is back; the frame.
    Online = 7,
    /// The programme is over; the frame.
    End = 8,
    /// The relay stopped, and nothing of the log is missing here.
    Stop = 9,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        [
            Self::Head,
            Self::Generation,
            Self::Tags,
            Self::Chunk,
            Self::Metadata,
            Self::Offline,
            Self::Online,
            Self::End,
            Self::Stop,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    /// Whether it is an entry of the log.
    pub(super) fn is_entry(self) -> bool {
        !matches!(
            self,
            Self::Head | Self::Generation | Self::Tags | Self::Stop
        )
    }
}

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    pub(super) generation: u32,
    pub(super) index: u64,
    pub(super) seq: u64,
    pub(super) at: u64,
    pub(super) duration: u64,
    pub(super) ingest_time: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) generation_block: u32,
    pub(super) tags_block: u32,
    /// Of the payload or text; 0 is not known.
    pub(super) check: u32,
}

impl Record {
    /// A block without media.
    pub(super) fn note(kind: Kind, at: Reach, text: &[u8]) -> Self {
        Self {
            kind,
            flags: Flags::default(),
            generation: 0,
            index: at.index,
            seq: at.seq,
            at: at.at.ticks(),
            duration: 0,
            ingest_time: 0,
            offset: 0,
            len: u32::try_from(text.len()).unwrap_or(u32::MAX),
            generation_block: 0,
            tags_block: 0,
            check: checksum(text),
        }
    }

    /// A chunk.
    pub(super) fn chunk(header: &Header, index: u64, offset: u64, payload: &[u8]) -> Self {
        Self {
            kind: Kind::Chunk,
            flags: header.flags,
            generation: header.generation,
            index,
            seq: header.seq,
            at: header.media_time,
            duration: header.duration,
            ingest_time: header.ingest_time,
            offset,
            len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            generation_block: 0,
            tags_block: 0,
            check: checksum(payload),
        }
    }

    /// The chunk's header, as it was sent live.
    pub(super) fn header(&self) -> Header {
        Header {
            flags: self.flags,
            generation: self.generation,
            seq: self.seq,
            media_time: self.at,
            duration: self.duration,
            ingest_time: self.ingest_time,
        }
    }

    /// Where it is.
    pub(super) fn place(&self) -> Reach {
        Reach {
            index: self.index,
            seq: self.seq,
            at: MediaTime::from_ticks(self.at),
        }
    }

    /// Where what follows it begins.
    pub(super) fn next(&self) -> Reach {
        Reach {
            index: self.index + u64::from(self.kind.is_entry()),
            seq: self.seq + u64::from(self.kind == Kind::Chunk),
            at: MediaTime::from_ticks(self.at.saturating_add(self.duration)),
        }
    }

    /// Blocks that it takes.
    pub(super) fn blocks(&self) -> u32 {
        match self.kind {
            Kind::Chunk => 1,
            _ => 1 + self.len.div_ceil(TEXT as u32),
        }
    }

    /// Whether `bytes` are its payload or text; `None` when that is not known.
    pub(super) fn matches(&self, bytes: &[u8]) -> Option<bool> {
        (self.check != 0).then(|| self.check == checksum(bytes))
    }

    fn encode(&self) -> [u8; BLOCK] {
        let mut out = [0; BLOCK];
        out[0] = self.kind as u8;
        out[1] = self.flags.0;
        let words = [
            self.index,
            self.seq,
            self.at,
            self.duration,
            self.ingest_time,
            self.offset,
        ];
        out[4..8].copy_from_slice(&self.generation.to_be_bytes());
        for (place, word) in out[8..56].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        let halves = [self.len, self.generation_block, self.tags_block, self.check];
        for (place, half) in out[56..72].chunks_exact_mut(4).zip(halves) {
            place.copy_from_slice(&half.to_be_bytes());
        }
        let check = fnv(&out[..BLOCK - 4]);
        out[BLOCK - 4..].copy_from_slice(&check.to_be_bytes());
        out
    }

    /// Reads a block; `None` for a continuation and for what was torn.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let block = block.first_chunk::<BLOCK>()?;
        let word = |at: usize| {
            block[at..]
                .first_chunk()
                .map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        let half = |at: usize| {
            block[at..]
                .first_chunk()
                .map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        if half(BLOCK - 4) != fnv(&block[..BLOCK - 4]) {
            return None;
        }
        Some(Self {
            kind: Kind::read(block[0])?,
            flags: Flags(block[1]),
            generation: half(4),
            index: word(8),
            seq: word(16),
            at: word(24),
            duration: word(32),
            ingest_time: word(40),
            offset: word(48),
            len: half(56),
            generation_block: half(60),
            tags_block: half(64),
            check: half(68),
        })
    }
}

/// FNV-1a, 32 bits.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Of a payload or text; never 0.
fn checksum(bytes: &[u8]) -> u32 {
    fnv(bytes).max(1)
}

/// Whether a block continues the one before.
fn continues(block: &[u8]) -> bool {
    block.first() == Some(&MORE)
}

/// Adds a block and its text to `out`.
pub(super) fn push(out: &mut Vec<u8>, record: &Record, text: &[u8]) {
    out.extend_from_slice(&record.encode());
    for piece in text.chunks(TEXT) {
        out.push(MORE);
        out.extend_from_slice(piece);
        out.resize(out.len() + TEXT - piece.len(), 0);
    }
}

/// The text of the record in block `at`.
///
/// # Errors
/// What the disk says, or when it is torn.
pub(super) fn text(file: &File, at: u32, record: &Record) -> io::Result<Vec<u8>> {
    let len = record.len as usize;
    if len > MAX_TEXT {
        return Err(io::Error::other(format!("a note of {len} bytes")));
    }
    let mut blocks = vec![0; len.div_ceil(TEXT) * BLOCK];
    file.read_exact_at(&mut blocks, (u64::from(at) + 1) * BLOCK as u64)?;
    text_in(&blocks, record).ok_or_else(|| io::Error::other(format!("block {at}: a torn note")))
}

/// The text of `record` in the blocks behind it; `None` when it is torn.
pub(super) fn text_in(blocks: &[u8], record: &Record) -> Option<Vec<u8>> {
    let len = record.len as usize;
    let blocks = blocks.get(..len.div_ceil(TEXT) * BLOCK)?;
    let mut text = Vec::with_capacity(len + TEXT);
    for block in blocks.chunks_exact(BLOCK) {
        if !continues(block) {
            return None;
        }
        text.extend_from_slice(&block[1..]);
    }
    text.truncate(len);
    record.matches(&text).unwrap_or(true).then_some(text)
}

/// The record that block `at` belongs to, with its block number.
///
/// # Errors
/// What the disk says, or when there is none.
pub(super) fn record_at(file: &File, mut at: u32) -> io::Result<(u32, Record)> {
    let mut block = [0; BLOCK];
    loop {
        file.read_exact_at(&mut block, u64::from(at) * BLOCK as u64)?;
        if !continues(&block) {
            let record = Record::decode(&block);
            return record
                .map(|record| (at, record))
                .ok_or_else(|| io::Error::other(format!("block {at} of a journal is torn")));
        }
        at = at
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("a journal without a head"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_trip_and_torn_ones_are_seen() {
        let record = Record {
            generation_block: 2,
            tags_block: 3,
            ..Record::chunk(
                &Header {
                    flags: Flags::SYNC,
                    generation: 7,
                    seq: 8,
                    media_time: 9,
                    duration: 10,
                    ingest_time: 11,
                },
                12,
                13,
                b"payload",
            )
        };
        let mut bytes = Vec::new();
        push(&mut bytes, &record, &[]);
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(Record::decode(&bytes), Some(record));
        assert_eq!(Record::decode(&bytes[..79]), None);
        for at in 0..BLOCK {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert_eq!(Record::decode(&torn), None, "byte {at}");
        }
        assert_eq!(Record::decode(&[0; BLOCK]), None);
        assert_eq!(record.matches(b"payload"), Some(true));
        assert_eq!(record.matches(b"pay\0\0\0\0"), Some(false));
        let text = [b'x'; 200];
        let note = Record::note(Kind::Metadata, Reach::default(), &text);
        let mut bytes = Vec::new();
        push(&mut bytes, &note, &text);
        assert_eq!(bytes.len(), note.blocks() as usize * BLOCK);
        assert!(bytes.chunks(BLOCK).skip(1).all(continues));
        assert_eq!(text_in(&bytes[BLOCK..], &note), Some(text.to_vec()));
        bytes[3 * BLOCK - 1] = 0;
        assert_eq!(text_in(&bytes[BLOCK..], &note), None);
        assert_eq!(text_in(&bytes[BLOCK..3 * BLOCK], &note), None);
    }
}
