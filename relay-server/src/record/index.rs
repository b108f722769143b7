//! The sparse time index beside a recording, and how to make it again from
//! the recording alone.
//!
//! Layout, big-endian: `SCIX`, version 1 as `u32`, the programme position of
//! the recording's first frame in ticks as `u64`; then entries of two `u64`:
//! ticks since that frame, and the offset of the chunk that begins there.
//! Entries are at least [`SPACING`] apart.

use std::io::{self, Read as _};
use std::path::Path;

use seamcast_media::ogg::{Found, Page, Reader};
use seamcast_media::units::{Frames, MediaDuration, MediaTime};
use seamcast_media::{mp3, opus};

/// Least media between two entries.
pub const SPACING: MediaDuration = MediaDuration::from_millis(1000);
/// Bytes of the header.
pub const HEADER_LEN: usize = 16;
const MAGIC: &[u8; 8] = b"SCIX\0\0\0\x01";

/// A chunk's place in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Media since the recording's first frame.
    pub time: MediaDuration,
    /// Offset in bytes.
    pub offset: u64,
}

impl Entry {
    /// The entry's bytes.
    pub fn encode(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.time.ticks().to_be_bytes());
        out[8..].copy_from_slice(&self.offset.to_be_bytes());
        out
    }
}

/// The header of a recording that starts at `start`.
pub fn header(start: MediaTime) -> [u8; HEADER_LEN] {
    let mut out = [0; HEADER_LEN];
    out[..8].copy_from_slice(MAGIC);
    out[8..].copy_from_slice(&start.ticks().to_be_bytes());
    out
}

/// Reads an index; a torn last entry is left out. `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<(MediaTime, Vec<Entry>)> {
    let (head, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let rest_of_head = head.strip_prefix(MAGIC)?;
    let word = |b: &[u8]| b.first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
    let entries = rest.chunks_exact(16).map(|entry| Entry {
        time: MediaDuration::from_ticks(word(entry)),
        offset: word(&entry[8..]),
    });
    Some((MediaTime::from_ticks(word(rest_of_head)), entries.collect()))
}

/// Makes the index file beside `recording` again; returns the number of
/// entries. The programme position is kept from the old index, if it can be read.
///
/// # Errors
/// What the disk says.
pub fn rebuild_file(recording: &Path) -> io::Result<usize> {
    let path = super::segment::beside(recording, "index");
    let start = std::fs::read(&path).ok().and_then(|old| parse(&old));
    let start = start.map_or(MediaTime::ZERO, |(start, _)| start);
    let mut media = std::fs::File::open(recording)?;
    let mut rebuild = Rebuild::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let got = media.read(&mut buffer)?;
        if got == 0 {
            break;
        }
        rebuild.push(&buffer[..got]);
    }
    let entries = rebuild.finish();
    let mut bytes = header(start).to_vec();
    bytes.extend(entries.iter().flat_map(|entry| entry.encode()));
    // Whole or not at all.
    let part = super::segment::beside(recording, "index.part");
    std::fs::write(&part, bytes)?;
    std::fs::rename(part, path)?;
    Ok(entries.len())
}

/// Keeps entries apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thinning {
    last: Option<MediaDuration>,
}

impl Thinning {
    /// Whether an entry at `time` belongs in the index.
    pub fn keeps(&mut self, time: MediaDuration) -> bool {
        let due = self.last.is_none_or(|last| time >= last + SPACING);
        if due {
            self.last = Some(time);
        }
        due
    }
}

/// Makes the index of a recording again, from its bytes given in pieces.
#[derive(Debug)]
pub enum Rebuild {
    /// Less than four bytes read.
    Unknown(Vec<u8>),
    /// Ogg/Opus.
    Ogg(Box<OggRebuild>),
    /// MPEG audio.
    Mpeg(Box<MpegRebuild>),
}

impl Default for Rebuild {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

/// State while reading Ogg.
#[derive(Debug, Default)]
pub struct OggRebuild {
    reader: Reader,
    thinning: Thinning,
    entries: Vec<Entry>,
    /// Media before the current link.
    base: MediaDuration,
    pre_skip: u64,
    /// Header packets still to come in this link.
    headers: usize,
    /// Position at the end of the last page of the current link.
    reached: u64,
}

/// State while reading MPEG.
#[derive(Debug, Default)]
pub struct MpegRebuild {
    framer: mp3::Framer,
    thinning: Thinning,
    entries: Vec<Entry>,
    reached: MediaDuration,
    delay: MediaDuration,
}

impl Rebuild {
    /// Takes the recording's next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Unknown(head) => {
                head.extend_from_slice(bytes);
                if head.len() < 4 {
                    return;
                }
                let head = std::mem::take(head);
                *self = if head.starts_with(b"OggS") {
                    Self::Ogg(Box::default())
                } else {
                    Self::Mpeg(Box::default())
                };
                self.push(&head);
            }
            Self::Ogg(ogg) => {
                ogg.reader.push(bytes);
                while let Some(found) = ogg.reader.poll() {
                    if let Found::Page(page) = found {
                        ogg.page(&page);
                    }
                }
            }
            Self::Mpeg(mpeg) => {
                mpeg.framer.push(bytes);
                mpeg.drain();
            }
        }
    }

    /// The entries.
    pub fn finish(self) -> Vec<Entry> {
        match self {
            Self::Unknown(_) => Vec::new(),
            Self::Ogg(ogg) => ogg.entries,
            Self::Mpeg(mut mpeg) => {
                mpeg.framer.finish();
                mpeg.drain();
                mpeg.entries
            }
        }
    }
}

impl OggRebuild {
    fn page(&mut self, page: &Page) {
        if page.flags.bos {
            let length = self.reached.saturating_sub(self.pre_skip);
            self.base += MediaDuration::from_frames(Frames(length), 48_000);
            self.pre_skip =
                opus::Head::parse(&page.body).map_or(0, |head| u64::from(head.pre_skip));
            self.headers = 1;
            self.reached = 0;
            return;
        }
        if self.headers > 0 {
            // The tags end with the first segment shorter than 255 bytes.
            if page.lacing.iter().any(|&segment| segment < 255) {
                self.headers = 0;
            }
            return;
        }
        let Some(granule) = page.granule else { return };
        let begins = self.begins(page, granule);
        let time = begins.saturating_sub(self.pre_skip);
        let time = self.base + MediaDuration::from_frames(Frames(time), 48_000);
        if !page.lacing.is_empty() && self.thinning.keeps(time) {
            let offset = page.offset;
            self.entries.push(Entry { time, offset });
        }
        self.reached = granule;
    }

    /// Position at which a page begins: where its packets say, except on the
    /// last page, which may be trimmed.
    fn begins(&self, page: &Page, granule: u64) -> u64 {
        if page.flags.eos {
            return self.reached;
        }
        let mut start = 0;
        let mut end = 0;
        let mut frames = 0;
        for &segment in &page.lacing {
            end += usize::from(segment);
            if segment < 255 {
                let packet = page.body.get(start..end).unwrap_or_default();
                frames += u64::from(opus::packet_duration(packet).unwrap_or(0));
                start = end;
            }
        }
        granule.saturating_sub(frames)
    }
}

impl MpegRebuild {
    fn drain(&mut self) {
        while let Some(found) = self.framer.poll() {
            let mp3::Found::Frame {
                offset,
                header,
                payload,
            } = found
            else {
                continue;
            };
            if let Some(info) = mp3::Info::parse(&header, &payload) {
                let delay = info.trims(&header).map_or(0, |(start, _)| start);
                self.delay =
                    MediaDuration::from_frames(Frames(u64::from(delay)), header.sample_rate);
                if self.thinning.keeps(MediaDuration::ZERO) {
                    self.entries.push(Entry {
                        time: MediaDuration::ZERO,
                        offset,
                    });
                }
                continue;
            }
            let time =
                MediaDuration::from_ticks(self.reached.ticks().saturating_sub(self.delay.ticks()));
            if self.thinning.keeps(time) {
                self.entries.push(Entry { time, offset });
            }
            self.reached += MediaDuration::from_frames(
                Frames(u64::from(header.duration())),
                header.sample_rate,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_survives_a_torn_tail() {
        let entries = [
            Entry {
                time: MediaDuration::ZERO,
                offset: 0,
            },
            Entry {
                time: MediaDuration::from_millis(1020),
                offset: 4711,
            },
        ];
        let mut bytes = header(MediaTime::from_ticks(99)).to_vec();
        for entry in entries {
            bytes.extend_from_slice(&entry.encode());
        }
        let parsed = Some((MediaTime::from_ticks(99), entries.to_vec()));
        assert_eq!(parse(&bytes), parsed);
        bytes.extend_from_slice(&[1; 15]);
        assert_eq!(parse(&bytes), parsed);
        assert_eq!(parse(b"SCIX"), None);
        assert_eq!(parse(&[0; 32]), None);
    }
}
