//! One recording's files: the media, its index and its titles.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::chunk::Header;

use super::index::{self, Entry, Thinning};
use super::journal::{self, BLOCK, Kind, Record};
use super::spool::{self, Spool};
use super::sync::{Files, Syncer};
use crate::mount::log::Reach;

/// Extension of the file with the titles.
const TITLES: &str = "titles.json";

/// Media ready to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    /// Header bytes that must come first (a new generation); usually empty.
    pub intro: &'a [u8],
    /// Whole pages or frames.
    pub payload: &'a [u8],
    /// The chunk's header.
    pub header: Header,
    /// Its place among the log's entries.
    pub index: u64,
}

/// A recording being written.
#[derive(Debug)]
pub(crate) struct Segment {
    files: Arc<Files>,
    titles: Option<File>,
    path: PathBuf,
    start: MediaTime,
    /// Bytes that are in the file for certain; a failed write is cut back to it.
    len: u64,
    index_len: u64,
    titles_len: u64,
    journal_blocks: u32,
    mark: Mark,
    /// `mark` as of the last successful write.
    kept: Mark,
    pending: Vec<u8>,
    pending_index: Vec<u8>,
    pending_titles: Vec<u8>,
    pending_journal: Vec<u8>,
    dirty: bool,
    /// What readers see of it.
    spool: Arc<Spool>,
}

/// What adding a piece changes.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: MediaTime,
    thinning: Thinning,
    generation_block: u32,
    tags_block: u32,
    /// Where the next entry begins.
    next: Reach,
}

impl Segment {
    /// Creates `path` (which must not exist), its index and its journal for
    /// media that starts at `first`.
    ///
    /// # Errors
    /// When a file cannot be created or written.
    pub(crate) fn create(path: &Path, first: Reach) -> io::Result<Self> {
        let start = first.at;
        let mut folders = Vec::new();
        if let Some(folder) = path.parent() {
            folders.extend(changed_folders(folder));
            std::fs::create_dir_all(folder)?;
        }
        let media = OpenOptions::new().write(true).create_new(true).open(path)?;
        // A full disk takes names, but must not fill with them.
        let others = create_others(path, start).inspect_err(|_| remove(path));
        let (index, journal) = others?;
        let mark = Mark {
            end: start,
            thinning: Thinning::default(),
            generation_block: 0,
            tags_block: 0,
            next: first,
        };
        Ok(Self {
            files: Arc::new(Files::new(path, media, index, journal, folders)),
            titles: None,
            path: path.to_path_buf(),
            start,
            len: 0,
            index_len: index::HEADER_LEN as u64,
            titles_len: 0,
            journal_blocks: 0,
            mark,
            kept: mark,
            pending: Vec::new(),
            pending_index: Vec::new(),
            pending_titles: Vec::new(),
            pending_journal: Vec::new(),
            dirty: false,
            spool: Arc::new(Spool::new(path, first)),
        })
    }

    /// Puts a piece into the buffer for the next [`Segment::write`].
    pub(crate) fn add(&mut self, piece: &Piece<'_>) {
        self.pending.extend_from_slice(piece.intro);
        let offset = self.len + self.pending.len() as u64;
        let at = MediaTime::from_ticks(piece.header.media_time);
        let time = at.since(self.start);
        if self.mark.thinning.keeps(time) {
            self.pending_index
                .extend_from_slice(&Entry { time, offset }.encode());
        }
        let record = Record {
            generation_block: self.mark.generation_block,
            tags_block: self.mark.tags_block,
            ..Record::chunk(&piece.header, piece.index, offset, piece.payload)
        };
        journal::push(&mut self.pending_journal, &record, &[]);
        self.pending.extend_from_slice(piece.payload);
        self.mark.next = record.next();
        self.mark.end = self.mark.next.at;
    }

    /// Adds a note to the journal.
    pub(crate) fn note(&mut self, kind: Kind, at: Reach, text: &[u8]) {
        let block = self.journal_blocks + (self.pending_journal.len() / BLOCK) as u32;
        match kind {
            Kind::Generation => self.mark.generation_block = block,
            Kind::Tags | Kind::Metadata => self.mark.tags_block = block,
            _ => {}
        }
        let record = Record::note(kind, at, text);
        journal::push(&mut self.pending_journal, &record, text);
        self.mark.next = Reach {
            at: self.mark.next.at,
            ..record.next()
        };
    }

    /// Writes the buffer: all of it, or, after an error, none of it.
    ///
    /// # Errors
    /// What the disk says; the buffer is dropped and the file is as before.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.pending_journal.is_empty() {
            return Ok(());
        }
        let written = self
            .files
            .media
            .write_all_at(&self.pending, self.len)
            .and_then(|()| {
                self.files
                    .index
                    .write_all_at(&self.pending_index, self.index_len)
            })
            .and_then(|()| {
                let at = u64::from(self.journal_blocks) * BLOCK as u64;
                self.files.journal.write_all_at(&self.pending_journal, at)
            })
            .and_then(|()| self.write_titles());
        let (media, index) = (self.pending.len(), self.pending_index.len());
        if let Err(error) = written {
            self.discard();
            return Err(error);
        }
        self.journal_blocks += (self.pending_journal.len() / BLOCK) as u32;
        self.pending.clear();
        self.titles_len += self.pending_titles.len() as u64;
        self.pending_index.clear();
        self.pending_journal.clear();
        self.pending_titles.clear();
        self.kept = self.mark;
        self.len += media as u64;
        self.index_len += index as u64;
        self.spool.grow(self.journal_blocks, self.mark.next);
        self.dirty = true;
        Ok(())
    }

    /// Forgets what was added since the last write that succeeded, and cuts off
    /// what another has left half done.
    pub(crate) fn discard(&mut self) {
        // Half a page must not stay in front of what comes later.
        let _ = self.files.media.set_len(self.len);
        let _ = self.files.index.set_len(self.index_len);
        let journal = u64::from(self.journal_blocks) * BLOCK as u64;
        let _ = self.files.journal.set_len(journal);
        if let Some(titles) = &self.titles {
            let _ = titles.set_len(self.titles_len);
        }
        self.pending.clear();
        self.pending_index.clear();
        self.pending_journal.clear();
        self.pending_titles.clear();
        self.mark = self.kept;
    }

    /// Notes tags that belong to `at`, one JSON object a line.
    pub(crate) fn title(
        &mut self,
        at: MediaTime,
        tags: &serde_json::Map<String, serde_json::Value>,
    ) {
        let line = serde_json::json!({ "at": at.since(self.start).as_secs_f64(), "tags": tags });
        self.pending_titles
            .extend_from_slice(format!("{line}\n").as_bytes());
    }

    fn write_titles(&mut self) -> io::Result<()> {
        if self.pending_titles.is_empty() {
            return Ok(());
        }
        let file = match &mut self.titles {
            Some(file) => file,
            none => none.insert(File::create(beside(&self.path, TITLES))?),
        };
        file.write_all_at(&self.pending_titles, self.titles_len)
    }

    /// Removes the files if nothing was ever written to them; true if so.
    pub(crate) fn remove_empty(&self) -> bool {
        let empty = self.journal_blocks == 0;
        if empty {
            remove(&self.path);
        }
        empty
    }

    /// Makes sure that what was written survives a power cut: soon, by
    /// `syncer`, or before it returns. The index is not worth the wait, as it
    /// can be made again.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn sync(&mut self, syncer: Option<&Syncer>) -> io::Result<()> {
        if self.dirty {
            match syncer {
                Some(syncer) => syncer.sync(&self.files)?,
                None => self.files.sync()?,
            }
            self.dirty = false;
        }
        Ok(())
    }

    /// What readers see of it.
    pub(crate) fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// The media file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written and about to be.
    pub(crate) fn len(&self) -> u64 {
        self.len + self.pending.len() as u64
    }

    /// Media held.
    pub(crate) fn duration(&self) -> MediaDuration {
        self.mark.end.since(self.start)
    }
}

/// The index and the journal of a recording that starts at `start`.
fn create_others(path: &Path, start: MediaTime) -> io::Result<(File, File)> {
    let index = File::create(beside(path, "index"))?;
    index.write_all_at(&index::header(start), 0)?;
    Ok((index, File::create(beside(path, spool::EXTENSION))?))
}

/// Removes a recording that could not be begun.
fn remove(path: &Path) {
    let others = ["index", spool::EXTENSION, TITLES].map(|extension| beside(path, extension));
    for path in others.iter().map(PathBuf::as_path).chain([path]) {
        let _ = std::fs::remove_file(path);
    }
}

/// The folders that get an entry when a file is made in `folder`: it, and
/// those in which folders above it are yet to be made.
fn changed_folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let missing = folder.ancestors().take_while(|folder| !folder.exists());
    let above = missing.filter_map(|folder| folder.parent());
    std::iter::once(folder).chain(above).map(Path::to_path_buf)
}

/// The file called like `path` with `extension` added.
pub(crate) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}
