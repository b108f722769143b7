//! One recording with its journal, as readers see it.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seamcast_media::units::MediaTime;
use serde_json::{Map, Value, json};

use super::journal::{self, BLOCK, Kind, Record};
use super::segment::beside;
use crate::mount::log::{Generation, GenerationConfig, Metadata, Reach};

/// The journal's extension, added to the recording's name.
pub(super) const EXTENSION: &str = "journal";
/// Generations and tags of a file that are kept in memory.
const KEPT: usize = 64;
/// Largest journal that is read at a restart: a month of it.
const MOST: u64 = 2 << 30;

/// A recording that can be served again.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    first: Reach,
    whole: Mutex<Whole>,
    generations: Mutex<HashMap<u32, Arc<Generation>>>,
    tags: Mutex<HashMap<u32, Arc<Metadata>>>,
}

/// How far it is surely written.
#[derive(Clone, Copy, Debug)]
struct Whole {
    blocks: u32,
    next: Reach,
}

/// What a journal's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Title {
    pub(super) mount: String,
    pub(super) epoch: String,
}

impl Title {
    fn read(journal: &File, head: &Record) -> io::Result<Self> {
        let note = parse(&journal::text(journal, 0, head)?)?;
        let word = |name: &str| note.get(name).and_then(Value::as_str).unwrap_or_default();
        Ok(Self {
            mount: word("mount").to_owned(),
            epoch: word("epoch").to_owned(),
        })
    }
}

/// A recording that an earlier process left.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) spool: Spool,
    pub(super) title: Title,
    /// The last record.
    pub(super) last: Record,
    /// What is left out behind it.
    pub(super) torn: Torn,
    /// Block of the last generation, and of the last tags.
    generation_block: u32,
    tags_block: u32,
}

/// Bytes of a recording that are not served as its mount's past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) media: u64,
    pub(super) journal: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text of a head.
pub(super) fn title_text(title: &Title) -> Vec<u8> {
    json!({ "mount": title.mount, "epoch": title.epoch })
        .to_string()
        .into_bytes()
}

/// The text of a generation.
pub(super) fn generation_text(generation: &Generation) -> Vec<u8> {
    let config = &generation.config;
    json!({
        "number": generation.number,
        "container": config.container,
        "codec": config.codec,
        "sample_rate": config.sample_rate,
        "channels": config.channels,
        "headers": STANDARD.encode(&config.headers),
    })
    .to_string()
    .into_bytes()
}

/// The text of tags.
pub(super) fn tags_text(tags: &Metadata) -> Vec<u8> {
    json!({ "version": tags.version, "at": tags.at.ticks(), "tags": tags.tags })
        .to_string()
        .into_bytes()
}

fn parse(text: &[u8]) -> io::Result<Map<String, Value>> {
    match serde_json::from_slice(text)? {
        Value::Object(object) => Ok(object),
        other => Err(io::Error::other(format!("a note that says {other}"))),
    }
}

fn read_generation(text: &[u8]) -> io::Result<Arc<Generation>> {
    let note = parse(text)?;
    let word = |name: &str| note.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| note.get(name).and_then(Value::as_u64).unwrap_or_default();
    let headers = STANDARD.decode(word("headers")).map_err(io::Error::other)?;
    let config = GenerationConfig {
        container: word("container").to_owned(),
        codec: word("codec").to_owned(),
        sample_rate: u32::try_from(number("sample_rate")).unwrap_or(0),
        channels: u8::try_from(number("channels")).unwrap_or(0),
        headers: headers.into(),
    };
    let number = u32::try_from(number("number")).map_err(io::Error::other)?;
    Ok(Generation::new(number, config))
}

fn read_tags(text: &[u8]) -> io::Result<Arc<Metadata>> {
    let mut note = parse(text)?;
    let number = |name: &str| note.get(name).and_then(Value::as_u64).unwrap_or_default();
    let version = u32::try_from(number("version")).map_err(io::Error::other)?;
    let at = MediaTime::from_ticks(number("at"));
    let tags = match note.remove("tags") {
        Some(Value::Object(tags)) => tags,
        _ => Map::new(),
    };
    Ok(Metadata::new(version, at, tags))
}

impl Spool {
    /// A recording that begins at `first` and has nothing yet.
    pub(super) fn new(path: &Path, first: Reach) -> Self {
        Self {
            path: path.to_path_buf(),
            first,
            whole: Mutex::new(Whole {
                blocks: 0,
                next: first,
            }),
            generations: Mutex::default(),
            tags: Mutex::default(),
        }
    }

    /// The recording.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its journal.
    pub(super) fn journal_path(&self) -> PathBuf {
        beside(&self.path, EXTENSION)
    }

    /// Where it begins.
    pub(super) fn first(&self) -> Reach {
        self.first
    }

    /// Where what follows it begins.
    pub(super) fn next(&self) -> Reach {
        lock(&self.whole).next
    }

    /// Blocks of the journal that are surely written.
    pub(super) fn blocks(&self) -> u32 {
        lock(&self.whole).blocks
    }

    /// Lets readers see more.
    pub(super) fn grow(&self, blocks: u32, next: Reach) {
        *lock(&self.whole) = Whole { blocks, next };
    }

    /// Adds a note to a journal that nobody writes any more.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn append(&self, kind: Kind, at: Reach, text: &[u8]) -> io::Result<()> {
        let mut whole = lock(&self.whole);
        let record = Record::note(kind, at, text);
        let mut bytes = Vec::new();
        journal::push(&mut bytes, &record, text);
        let journal = File::options().write(true).open(self.journal_path())?;
        journal.write_all_at(&bytes, u64::from(whole.blocks) * BLOCK as u64)?;
        journal.sync_data()?;
        *whole = Whole {
            blocks: whole.blocks + record.blocks(),
            next: Reach {
                at: whole.next.at,
                ..record.next()
            },
        };
        Ok(())
    }

    /// The generation described in block `at` of `journal`.
    ///
    /// # Errors
    /// What the disk says, or when it is no generation.
    pub(super) fn generation(&self, journal: &File, at: u32) -> io::Result<Arc<Generation>> {
        kept(&self.generations, at, || {
            let (at, record) = journal::record_at(journal, at)?;
            read_generation(&journal::text(journal, at, &record)?)
        })
    }

    /// The tags described in block `at` of `journal`; none in block 0.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn tags(&self, journal: &File, at: u32) -> io::Result<Option<Arc<Metadata>>> {
        if at == 0 {
            return Ok(None);
        }
        let read = || {
            let (at, record) = journal::record_at(journal, at)?;
            read_tags(&journal::text(journal, at, &record)?)
        };
        kept(&self.tags, at, read).map(Some)
    }

    /// What the head of the recording at `path` says, and the first entry's
    /// number; `None` when it cannot be read.
    pub(super) fn head(path: &Path) -> Option<(Title, u64)> {
        let journal = File::open(beside(path, EXTENSION)).ok()?;
        let (_, head) = journal::record_at(&journal, 0).ok()?;
        let title = Title::read(&journal, &head).ok()?;
        Some((title, head.index))
    }

    /// Reads what an earlier process left at `path`. What a kill or a power
    /// cut tore is left out, and all that comes after it; `None` when nothing
    /// remains. Of what came in less than `doubtful` before the end, the disk
    /// may have lost any part, so that it is read and compared.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn open(path: &Path, doubtful: Duration) -> io::Result<Option<Found>> {
        let journal = File::open(beside(path, EXTENSION))?;
        let media = File::open(path)?;
        let bytes = media.metadata()?.len();
        let size = journal.metadata()?.len();
        if size > MOST {
            return Err(io::Error::other(format!("a journal of {size} bytes")));
        }
        let mut grid = vec![0; size as usize / BLOCK * BLOCK];
        journal.read_exact_at(&mut grid, 0)?;
        let mut scan = Scan::walk(&grid, bytes, doubtful);
        // What the journal promises must be in the recording.
        let torn = |(_, record): &&(u32, Record)| !is_whole(&media, record);
        if let Some((at, _)) = scan.chunks.iter().find(torn) {
            grid.truncate(*at as usize * BLOCK);
            scan = Scan::walk(&grid, bytes, doubtful);
        }
        // Without a chunk there is nothing to go on from.
        let (Some(head), Some(last), Some(media_end)) = (scan.head, scan.last, scan.media_end)
        else {
            return Ok(None);
        };
        let title = Title::read(&journal, &head)?;
        let spool = Self::new(path, head.place());
        spool.grow(scan.blocks, last.next());
        Ok(Some(Found {
            spool,
            title,
            last,
            torn: Torn {
                media: bytes.saturating_sub(media_end),
                journal: size.saturating_sub(u64::from(scan.blocks) * BLOCK as u64),
            },
            generation_block: scan.generation_block,
            tags_block: scan.tags_block,
        }))
    }
}

/// Whether all of a chunk is in the recording.
fn is_whole(media: &File, record: &Record) -> bool {
    let mut payload = vec![0; record.len as usize];
    if media.read_exact_at(&mut payload, record.offset).is_err() {
        return false;
    }
    // Journals of earlier versions know no more than how pages and frames begin.
    record.matches(&payload).unwrap_or_else(|| {
        let frame = matches!(payload[..], [0xff, second, ..] if second & 0xe0 == 0xe0);
        frame || payload.starts_with(b"OggS")
    })
}

impl Found {
    /// The generation and the tags in force at its end.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn in_force(&self) -> io::Result<(Arc<Generation>, Option<Arc<Metadata>>)> {
        let journal = File::open(self.spool.journal_path())?;
        Ok((
            self.spool.generation(&journal, self.generation_block)?,
            self.spool.tags(&journal, self.tags_block)?,
        ))
    }
}

fn kept<T>(
    kept: &Mutex<HashMap<u32, Arc<T>>>,
    at: u32,
    read: impl FnOnce() -> io::Result<Arc<T>>,
) -> io::Result<Arc<T>> {
    if let Some(known) = lock(kept).get(&at) {
        return Ok(known.clone());
    }
    let fresh = read()?;
    let mut kept = lock(kept);
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(at, fresh.clone());
    Ok(fresh)
}

/// What is whole of a journal.
#[derive(Default)]
struct Scan {
    head: Option<Record>,
    last: Option<Record>,
    blocks: u32,
    generation_block: u32,
    tags_block: u32,
    /// Where the newest chunk ends in the recording.
    media_end: Option<u64>,
    /// The newest chunks, with their blocks.
    chunks: VecDeque<(u32, Record)>,
}

impl Scan {
    /// Goes through `grid` up to the first record that is torn or whose chunk
    /// is not in `media` bytes; keeps the chunks of the last `doubtful` time.
    fn walk(grid: &[u8], media: u64, doubtful: Duration) -> Self {
        let mut scan = Self::default();
        let doubtful = u64::try_from(doubtful.as_micros()).unwrap_or(u64::MAX);
        let mut at = 0_u32;
        while let Some(record) = grid.get(at as usize * BLOCK..).and_then(Record::decode) {
            let end = at.saturating_add(record.blocks());
            let is_chunk = record.kind == Kind::Chunk;
            let media_end = record.offset.saturating_add(u64::from(record.len));
            let held = if is_chunk {
                media_end <= media && scan.generation_block != 0
            } else {
                let rest = grid.get((at as usize + 1) * BLOCK..).unwrap_or_default();
                journal::text_in(rest, &record).is_some()
            };
            let follows = scan.last.is_none_or(|last| {
                record.index >= last.next().index && record.seq >= last.next().seq
            });
            let begins = (record.kind == Kind::Head) == (at == 0);
            if !held || !follows || !begins {
                break;
            }
            match record.kind {
                Kind::Head => scan.head = Some(record),
                Kind::Generation => scan.generation_block = at,
                Kind::Tags | Kind::Metadata => scan.tags_block = at,
                Kind::Chunk => {
                    scan.media_end = Some(media_end);
                    scan.chunks.push_back((at, record));
                    let is_safe = |old: &(u32, Record)| {
                        old.1.ingest_time.saturating_add(doubtful) < record.ingest_time
                    };
                    while scan.chunks.front().is_some_and(is_safe) {
                        scan.chunks.pop_front();
                    }
                }
                _ => {}
            }
            scan.last = Some(record);
            scan.blocks = end;
            at = end;
        }
        scan
    }
}
