//! A programme's recordings as one timeline: its log's past.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use seamcast_media::units::MediaTime;
use seamcast_protocol::chunk::Flags;

use super::journal::{self, BLOCK, Kind, Record};
use super::spool::Spool;
use crate::mount::log::{Chunk, Entry, Join, JoinFrom, Kind as EntryKind, Log, Past, Reach};

/// Entries given at once.
const RUN: usize = 32;
/// Bytes of media after which no further chunk is added.
const RUN_BYTES: u64 = 128 << 10;
/// Blocks read at once.
const BLOCKS: u32 = 64;
/// How far a sync point is looked for.
const SYNC_SEARCH: usize = 4096;

/// The files of one programme, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    spools: RwLock<Vec<Arc<Spool>>>,
}

impl Shelf {
    /// Adds a file that follows those there are.
    pub(super) fn add(&self, spool: Arc<Spool>) {
        self.spools
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(spool);
    }

    /// Forgets files that are gone.
    pub(super) fn tidy(&self) {
        self.spools
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|spool| spool.path().exists());
    }

    /// Where the oldest entry begins.
    pub(super) fn first(&self) -> Option<Reach> {
        self.all().first().map(|spool| spool.first())
    }

    /// The newest file.
    pub(super) fn last(&self) -> Option<Arc<Spool>> {
        self.all().last().cloned()
    }

    fn all(&self) -> Vec<Arc<Spool>> {
        let spools = self.spools.read().unwrap_or_else(PoisonError::into_inner);
        spools.clone()
    }

    /// The first file for which `holds` is true of its end, and those after it.
    fn from(&self, holds: impl Fn(&Spool) -> bool) -> Vec<Arc<Spool>> {
        let mut spools = self.all();
        let at = spools.iter().position(|spool| holds(spool));
        spools.split_off(at.unwrap_or(spools.len()))
    }
}

impl Past for Shelf {
    fn read(&self, index: u64) -> io::Result<Vec<Arc<Entry>>> {
        for spool in self.from(|spool| spool.next().index > index) {
            let run = run(&spool, index)?;
            if !run.is_empty() {
                return Ok(run);
            }
        }
        Ok(Vec::new())
    }

    fn join(&self, from: &JoinFrom, log: &Log) -> io::Result<Option<Join>> {
        match from {
            JoinFrom::Live => Ok(None),
            JoinFrom::Start => self.at(MediaTime::ZERO),
            JoinFrom::Back(length) => self.at(log.head().end - *length),
            JoinFrom::At(at) => self.at(*at),
            JoinFrom::Chunk { epoch, seq } if epoch == log.epoch() => self.exactly(*seq),
            JoinFrom::Chunk { .. } => Ok(None),
        }
    }
}

impl Shelf {
    /// The sync point at or before `target`, else the first one after it.
    fn at(&self, target: MediaTime) -> io::Result<Option<Join>> {
        for spool in self.from(|spool| spool.next().at > target) {
            let tape = Tape::open(&spool)?;
            let at = tape.search(|record| record.next().at <= target)?;
            if let Some(found) = tape.sync_near(at)? {
                return Ok(Some(Join::new(found.place(), false)));
            }
        }
        Ok(None)
    }

    /// Chunk `seq`, whatever it is, with the control entries before it.
    fn exactly(&self, seq: u64) -> io::Result<Option<Join>> {
        for spool in self.from(|spool| spool.next().seq > seq) {
            let tape = Tape::open(&spool)?;
            let mut at = tape.search(|record| record.seq < seq)?;
            while at < tape.blocks {
                let (_, record) = journal::record_at(&tape.file, at)?;
                if record.kind.is_entry() {
                    return Ok(Some(Join::new(record.place(), true).or_missing(seq)));
                }
                at += record.blocks();
            }
        }
        Ok(None)
    }
}

/// A journal opened for reading, up to what is surely whole.
struct Tape {
    file: File,
    blocks: u32,
}

impl Tape {
    fn open(spool: &Spool) -> io::Result<Self> {
        Ok(Self {
            file: File::open(spool.journal_path())?,
            blocks: spool.blocks(),
        })
    }

    /// The first record for which `before` is false, by bisection.
    fn search(&self, before: impl Fn(&Record) -> bool) -> io::Result<u32> {
        let (mut low, mut high) = (0, self.blocks);
        while low < high {
            let (at, record) = journal::record_at(&self.file, low + (high - low) / 2)?;
            if before(&record) {
                low = at + record.blocks();
            } else {
                high = at;
            }
        }
        Ok(low)
    }

    /// The sync point at or before block `at`, else after it.
    fn sync_near(&self, at: u32) -> io::Result<Option<Record>> {
        let is_sync =
            |record: &Record| record.kind == Kind::Chunk && record.flags.contains(Flags::SYNC);
        let mut back = at.min(self.blocks.saturating_sub(1));
        for _ in 0..SYNC_SEARCH {
            let (start, record) = journal::record_at(&self.file, back)?;
            if is_sync(&record) {
                return Ok(Some(record));
            }
            let Some(before) = start.checked_sub(1) else {
                break;
            };
            back = before;
        }
        let mut on = at;
        for _ in 0..SYNC_SEARCH {
            if on >= self.blocks {
                break;
            }
            let (start, record) = journal::record_at(&self.file, on)?;
            if is_sync(&record) {
                return Ok(Some(record));
            }
            on = start + record.blocks();
        }
        Ok(None)
    }

    /// The run of entries that begins at `index` or after it.
    fn run(&self, index: u64) -> io::Result<Vec<(u32, Record)>> {
        let mut at = self.search(|record| record.next().index <= index)?;
        let mut picked: Vec<(u32, Record)> = Vec::new();
        let mut bytes = 0;
        while picked.is_empty() && at < self.blocks {
            let count = BLOCKS.min(self.blocks - at);
            let mut grid = vec![0; count as usize * BLOCK];
            self.file
                .read_exact_at(&mut grid, u64::from(at) * BLOCK as u64)?;
            let end = at + count;
            let base = at;
            while at < end && picked.len() < RUN && bytes < RUN_BYTES {
                let block = &grid[(at - base) as usize * BLOCK..];
                let Some(record) = Record::decode(block) else {
                    return Err(io::Error::other(format!("block {at} of a journal is torn")));
                };
                if record.kind.is_entry() {
                    let expected = picked.last().map(|(_, last)| last.index + 1);
                    if expected.is_some_and(|expected| expected != record.index) {
                        return Ok(picked);
                    }
                    bytes += u64::from(record.len);
                    picked.push((at, record));
                }
                at += record.blocks();
            }
        }
        Ok(picked)
    }
}

/// Makes the entries from `index` on again.
fn run(spool: &Spool, index: u64) -> io::Result<Vec<Arc<Entry>>> {
    let tape = Tape::open(spool)?;
    let picked = tape.run(index)?;
    let chunks = || {
        let records = picked.iter().map(|(_, record)| record);
        records.filter(|record| record.kind == Kind::Chunk)
    };
    let base = chunks().next().map_or(0, |first| first.offset);
    let end = chunks().next_back();
    let end = end.map_or(0, |last| last.offset + u64::from(last.len));
    let media = media(spool.path(), base, end)?;
    let mut entries = Vec::with_capacity(picked.len());
    for (at, record) in &picked {
        let place = record.place();
        let kind = match record.kind {
            Kind::Chunk => {
                let from =
                    usize::try_from(record.offset.saturating_sub(base)).unwrap_or(usize::MAX);
                let payload = media
                    .get(from..)
                    .and_then(|rest| rest.get(..record.len as usize))
                    .ok_or_else(|| io::Error::other("a chunk outside its recording"))?;
                EntryKind::Chunk(Chunk::recorded(
                    record.header(),
                    spool.generation(&tape.file, record.generation_block)?,
                    spool.tags(&tape.file, record.tags_block)?,
                    payload,
                ))
            }
            Kind::Metadata => match spool.tags(&tape.file, *at)? {
                Some(tags) => EntryKind::Metadata(tags),
                None => continue,
            },
            kind => {
                let frame = journal::text(&tape.file, *at, record)?.into();
                match kind {
                    Kind::Offline => EntryKind::Offline(frame),
                    Kind::Online => EntryKind::Online(frame),
                    _ => EntryKind::End(frame),
                }
            }
        };
        entries.push(Arc::new(Entry {
            index: place.index,
            seq: place.seq,
            at: place.at,
            kind,
        }));
    }
    Ok(entries)
}

fn media(path: &Path, from: u64, to: u64) -> io::Result<Vec<u8>> {
    /// What a run may span: its chunks, and headers between them.
    const MOST: u64 = 16 << 20;
    let len = to.saturating_sub(from);
    if len > MOST {
        return Err(io::Error::other(format!("{len} bytes for a run of chunks")));
    }
    let mut media = vec![0; len as usize];
    if !media.is_empty() {
        File::open(path)?.read_exact_at(&mut media, from)?;
    }
    Ok(media)
}

#[cfg(test)]
pub(super) mod tests;
