//! A cursor that copies one mount's log into recordings.
//!
//! The log is the queue between live listeners and the disk: a disk that is
//! slow or full only lets the cursor fall behind, and what history drops
//! meanwhile is a counted gap.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use seamcast_media::units::{MediaDuration, MediaTime};

use super::journal;
use super::segment::{Piece, Segment};
use super::shelf::Shelf;
use super::spool::{Title, generation_text, tags_text, title_text};
use super::sync::Syncer;
use crate::fanout::wire::Framing;
use crate::mount::log::{Chunk, Entry, Kind, Log, Reach, Status};

/// Entries held at once.
const BATCH: usize = 256;
/// How long a failed disk is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// When recordings are cut and synchronised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Most bytes of one file; 0 for no limit.
    pub max_bytes: u64,
    /// Most media in one file; zero for no limit.
    pub max_duration: MediaDuration,
    /// How much a power cut may lose.
    pub sync_interval: Duration,
}

/// What a tape has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes written.
    pub bytes: u64,
    /// Media written.
    pub recorded: MediaDuration,
    /// Media that is missing because the disk failed or was too slow, or after
    /// the fault that ended it.
    pub missed: MediaDuration,
    /// Failed writes, and the fault that ended it.
    pub errors: u64,
    /// Files begun.
    pub files: u64,
}

/// Copies one log.
#[derive(Debug)]
pub(crate) struct Tape {
    log: Arc<Log>,
    mount: String,
    folder: PathBuf,
    /// What was recorded, for listeners in the past.
    shelf: Arc<Shelf>,
    /// Without one the tape waits for the disk itself.
    syncer: Option<Syncer>,
    segment: Option<Segment>,
    extension: &'static str,
    /// Generation whose headers the current file has.
    generation: Option<u32>,
    /// Entry to be read next.
    next: u64,
    /// History dropped entries before `next`.
    skipped: bool,
    /// Programme position after the newest chunk taken.
    reached: Option<MediaTime>,
    /// Where to go on after a failed write.
    written: Mark,
    synced: Instant,
    retry_at: Option<Instant>,
    /// A fault has ended it; what follows is only counted.
    abandoned: bool,
    stats: Stats,
}

/// How far everything is in the file.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    next: u64,
    generation: Option<u32>,
    reached: Option<MediaTime>,
    stats: Stats,
}

impl Tape {
    /// Records the log of `mount` into files in `folder`; after a restart
    /// behind what is in `shelf`.
    pub(crate) fn new(
        log: Arc<Log>,
        mount: &str,
        folder: &Path,
        shelf: Arc<Shelf>,
        syncer: Option<Syncer>,
        now: Instant,
    ) -> Self {
        let head = log.head();
        let (next, start) = match shelf.last().map(|spool| spool.next()) {
            Some(next) => (next.index, next.at),
            None => (head.oldest, head.start),
        };
        log.keep_past(shelf.clone());
        log.set_reach(shelf.first());
        log.hold(Some(next));
        Self {
            log,
            mount: mount.to_owned(),
            folder: folder.to_path_buf(),
            shelf,
            syncer,
            segment: None,
            extension: "",
            generation: None,
            next,
            skipped: false,
            reached: Some(start),
            written: Mark {
                next,
                reached: Some(start),
                ..Mark::default()
            },
            synced: now,
            retry_at: None,
            abandoned: false,
            stats: Stats::default(),
        }
    }

    /// Notes that the relay stops and that everything is written.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        let head = self.log.head();
        if self.next != head.next || self.abandoned {
            return Ok(());
        }
        let place = Reach {
            index: head.next,
            seq: head.next_seq,
            at: head.end,
        };
        self.note(journal::Kind::Stop, place, &[])?;
        self.write()?;
        match &mut self.segment {
            Some(segment) => segment.sync(None),
            None => Ok(()),
        }
    }

    /// Files were removed.
    pub(crate) fn pruned(&self) {
        self.shelf.tidy();
        self.log.set_reach(self.shelf.first());
    }

    /// A note in the journal of the current file, or of the one before it.
    fn note(&mut self, kind: journal::Kind, at: Reach, text: &[u8]) -> io::Result<()> {
        match (&mut self.segment, self.shelf.last()) {
            (Some(segment), _) => segment.note(kind, at, text),
            (None, Some(spool)) => {
                spool.append(kind, at, text)?;
                // Not once more if what follows fails.
                if kind.is_entry() {
                    self.written.next = at.index + 1;
                }
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Copies what is new. `name` makes the name of a new file from its
    /// extension. True when nothing more will come and everything is on disk.
    ///
    /// # Errors
    /// What the disk said. It is tried again after a second, from where it
    /// failed; only what history has dropped by then is missed.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        policy: &Policy,
        mut name: impl FnMut(&str) -> String,
    ) -> io::Result<bool> {
        if self.abandoned {
            return Ok(self.pass());
        }
        if self.retry_at.is_some_and(|at| now < at) {
            return Ok(false);
        }
        self.retry_at = None;
        let outcome = self.copy(now, policy, &mut name);
        if outcome.is_err() {
            self.fall_back();
            self.retry_at = Some(now + RETRY);
        }
        outcome
    }

    /// Counts an error, and goes back to what is surely written.
    fn fall_back(&mut self) {
        if let Some(segment) = &mut self.segment {
            segment.discard();
        }
        self.segment.take_if(|segment| segment.remove_empty());
        let Mark {
            next,
            generation,
            reached,
            stats,
        } = self.written;
        (self.next, self.generation, self.reached) = (next, generation, reached);
        self.stats = Stats {
            errors: self.stats.errors + 1,
            ..stats
        };
        self.written.stats.errors = self.stats.errors;
    }

    /// Ends the recording, wherever a fault has left it: what was written stays,
    /// no source waits for the rest, and that counts as missed.
    pub(crate) fn abandon(&mut self) {
        self.fall_back();
        self.abandoned = true;
        self.retry_at = None;
        if let Some(mut segment) = self.segment.take() {
            // Counted already that something is wrong.
            let _ = segment.sync(self.syncer.as_ref());
        }
        self.log.hold(None);
        self.pass();
    }

    /// Counts what nobody records; true when nothing more will come.
    fn pass(&mut self) -> bool {
        let head = self.log.head();
        let before = self.reached.replace(head.end).unwrap_or(head.end);
        self.stats.missed += head.end.since(before);
        self.next = head.next;
        head.status == Status::Ended
    }

    /// Whether a fault has ended it.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    fn copy(
        &mut self,
        now: Instant,
        policy: &Policy,
        name: &mut dyn FnMut(&str) -> String,
    ) -> io::Result<bool> {
        let mut entries = Vec::new();
        // What comes meanwhile is for the next turn: a source that is as fast
        // as the disk must not hold up the recordings of the others. Nothing
        // comes after the end, so that there is all of it if the end is there.
        let head = self.log.head();
        while self.next < head.next {
            if !self.log.read(self.next, BATCH, &mut entries) {
                self.next = self.log.head().oldest;
                self.skipped = true;
                continue;
            }
            for entry in entries.drain(..) {
                self.take(&entry, policy, name)?;
                self.next = entry.index + 1;
            }
            self.write()?;
        }
        let over = head.status == Status::Ended;
        if over || now.saturating_duration_since(self.synced) >= policy.sync_interval {
            self.synced = now;
            if let Some(segment) = &mut self.segment {
                segment.sync(self.syncer.as_ref().filter(|_| !over))?;
            }
        }
        if over {
            self.segment = None;
            self.log.hold(None);
        }
        Ok(over)
    }

    fn take(
        &mut self,
        entry: &Entry,
        policy: &Policy,
        name: &mut dyn FnMut(&str) -> String,
    ) -> io::Result<()> {
        let place = Reach {
            index: entry.index,
            seq: entry.seq,
            at: entry.at,
        };
        match &entry.kind {
            Kind::Chunk(chunk) => self.chunk(chunk, place, policy, name),
            Kind::Metadata(metadata) => {
                if let Some(segment) = &mut self.segment {
                    segment.title(metadata.at, &metadata.tags);
                }
                self.note(journal::Kind::Metadata, place, &tags_text(metadata))
            }
            Kind::Offline(frame) => self.note(journal::Kind::Offline, place, frame),
            Kind::Online(frame) => self.note(journal::Kind::Online, place, frame),
            Kind::End(frame) => self.note(journal::Kind::End, place, frame),
        }
    }

    fn chunk(
        &mut self,
        chunk: &Chunk,
        place: Reach,
        policy: &Policy,
        name: &mut dyn FnMut(&str) -> String,
    ) -> io::Result<()> {
        let extension = match chunk.generation.config.codec.as_str() {
            "opus" => "opus",
            _ => "mp3",
        };
        if self.must_cut(policy) || extension != self.extension {
            self.write()?;
            if let Some(mut done) = self.segment.take() {
                done.sync(self.syncer.as_ref())?;
            }
        }
        let payload = chunk.wire.payload();
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => {
                let segment = Segment::create(&self.folder.join(name(extension)), place)?;
                let segment = none.insert(segment);
                let title = Title {
                    mount: self.mount.clone(),
                    epoch: self.log.epoch().to_owned(),
                };
                segment.note(journal::Kind::Head, place, &title_text(&title));
                self.extension = extension;
                self.generation = None;
                self.stats.files += 1;
                if let Some(tags) = &chunk.tags {
                    segment.title(chunk.media_time(), &tags.tags);
                    segment.note(journal::Kind::Tags, place, &tags_text(tags));
                }
                segment
            }
        };
        let number = chunk.generation.number;
        let mut intro = Bytes::new();
        if self.generation != Some(number) {
            let text = generation_text(&chunk.generation);
            segment.note(journal::Kind::Generation, place, &text);
            let made = chunk.generation.intro(payload);
            intro = made.bytes(Framing::HttpRaw).clone();
        }
        self.generation = Some(number);
        segment.add(&Piece {
            intro: &intro,
            payload,
            header: chunk.header,
            index: place.index,
        });
        if self.skipped
            && let Some(reached) = self.reached
        {
            self.stats.missed += chunk.media_time().since(reached);
        }
        self.skipped = false;
        self.reached = Some(chunk.end());
        self.stats.recorded += chunk.duration();
        self.stats.bytes += (intro.len() + payload.len()) as u64;
        Ok(())
    }

    fn must_cut(&self, policy: &Policy) -> bool {
        self.segment.as_ref().is_some_and(|segment| {
            let bytes = policy.max_bytes != 0 && segment.len() >= policy.max_bytes;
            let time = policy.max_duration != MediaDuration::ZERO
                && segment.duration() >= policy.max_duration;
            bytes || time
        })
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(segment) = &mut self.segment {
            segment.write()?;
            let spool = segment.spool();
            let last = self.shelf.last();
            if spool.blocks() > 0 && last.is_none_or(|last| !Arc::ptr_eq(&last, spool)) {
                self.shelf.add(spool.clone());
                self.log.set_reach(self.shelf.first());
            }
        }
        self.log.hold(Some(self.next));
        self.written = Mark {
            next: self.next,
            generation: self.generation,
            reached: self.reached,
            stats: self.stats,
        };
        Ok(())
    }

    /// What was done so far.
    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether the disk failed and has not been tried again since.
    pub(crate) fn is_failing(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Whether there is already more to copy.
    pub(crate) fn is_behind(&self) -> bool {
        !self.is_failing() && self.next + (BATCH as u64) < self.log.head().next
    }

    /// The file being written.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.segment.as_ref().map(Segment::path)
    }
}

#[cfg(test)]
pub(super) mod tests;
