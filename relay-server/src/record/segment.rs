//! One recording's files: the media, its index and its titles.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use seamcast_media::units::{MediaDuration, MediaTime};

use super::index::{self, Entry, Thinning};

/// Media ready to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    /// Header bytes that must come first (a new generation); usually empty.
    pub intro: &'a [u8],
    /// Whole pages or frames.
    pub payload: &'a [u8],
    /// Programme position of the first frame.
    pub at: MediaTime,
    /// Playable length.
    pub duration: MediaDuration,
}

/// A recording being written.
#[derive(Debug)]
pub(crate) struct Segment {
    media: File,
    index: File,
    titles: Option<File>,
    path: PathBuf,
    start: MediaTime,
    end: MediaTime,
    /// Bytes that are in the file for certain; a failed write is cut back to it.
    len: u64,
    index_len: u64,
    thinning: Thinning,
    /// `end` and `thinning` as of the last successful write.
    kept: (MediaTime, Thinning),
    pending: Vec<u8>,
    pending_index: Vec<u8>,
    dirty: bool,
}

impl Segment {
    /// Creates `path` (which must not exist) and its index for media that
    /// starts at `start`.
    ///
    /// # Errors
    /// When a file cannot be created or written.
    pub(crate) fn create(path: &Path, start: MediaTime) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let media = OpenOptions::new().write(true).create_new(true).open(path)?;
        let index = File::create(beside(path, "index"))?;
        index.write_all_at(&index::header(start), 0)?;
        Ok(Self {
            media,
            index,
            titles: None,
            path: path.to_path_buf(),
            start,
            end: start,
            len: 0,
            index_len: index::HEADER_LEN as u64,
            thinning: Thinning::default(),
            kept: (start, Thinning::default()),
            pending: Vec::new(),
            pending_index: Vec::new(),
            dirty: false,
        })
    }

    /// Puts a piece into the buffer for the next [`Segment::write`].
    pub(crate) fn add(&mut self, piece: &Piece<'_>) {
        self.pending.extend_from_slice(piece.intro);
        let time = piece.at.since(self.start);
        if self.thinning.keeps(time) {
            let offset = self.len + self.pending.len() as u64;
            self.pending_index
                .extend_from_slice(&Entry { time, offset }.encode());
        }
        self.pending.extend_from_slice(piece.payload);
        self.end = piece.at + piece.duration;
    }

    /// Writes the buffer: all of it, or, after an error, none of it.
    ///
    /// # Errors
    /// What the disk says; the buffer is dropped and the file is as before.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self
            .media
            .write_all_at(&self.pending, self.len)
            .and_then(|()| self.index.write_all_at(&self.pending_index, self.index_len));
        let (media, index) = (self.pending.len(), self.pending_index.len());
        if let Err(error) = written {
            // Half a page must not stay in front of what comes later.
            let _ = self.media.set_len(self.len);
            let _ = self.index.set_len(self.index_len);
            self.discard();
            return Err(error);
        }
        self.pending.clear();
        self.pending_index.clear();
        self.kept = (self.end, self.thinning);
        self.len += media as u64;
        self.index_len += index as u64;
        self.dirty = true;
        Ok(())
    }

    /// Forgets what was added since the last write.
    pub(crate) fn discard(&mut self) {
        self.pending.clear();
        self.pending_index.clear();
        (self.end, self.thinning) = self.kept;
    }

    /// Notes tags that belong to `at`, one JSON object a line.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn title(
        &mut self,
        at: MediaTime,
        tags: &serde_json::Map<String, serde_json::Value>,
    ) -> io::Result<()> {
        let file = match &mut self.titles {
            Some(file) => file,
            none => none.insert(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(beside(&self.path, "titles.json"))?,
            ),
        };
        let line = serde_json::json!({ "at": at.since(self.start).as_secs_f64(), "tags": tags });
        file.write_all(format!("{line}\n").as_bytes())
    }

    /// Makes sure that what was written survives a power cut.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.dirty = false;
            self.media.sync_data()?;
            self.index.sync_data()?;
        }
        Ok(())
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
        self.end.since(self.start)
    }
}

/// The file called like `path` with `extension` added.
pub(crate) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}
