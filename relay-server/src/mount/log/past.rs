//! What history has dropped but a recording still holds.

use std::io;
use std::sync::Arc;

use seamcast_media::units::{MediaDuration, MediaTime};

use super::{Entry, Head, Join, JoinFrom, Log};

/// Up to so many times real time a source is one of a live programme, which
/// nothing may hold up.
const PACED: u64 = 2;
/// What such a source may be ahead: pages hold up to a second.
const PACED_SLACK_MS: u64 = 500;

/// Where something begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// Index of the entry.
    pub index: u64,
    /// Its sequence number.
    pub seq: u64,
    /// Its programme position.
    pub at: MediaTime,
}

/// A log's entries outside memory, the very ones that were in it. Calls wait
/// for the disk, so they are not for threads that serve others.
pub trait Past: Send + Sync + std::fmt::Debug {
    /// Finds a join point; `None` when it is not held.
    ///
    /// # Errors
    /// What the disk says.
    fn join(&self, from: &JoinFrom, log: &Log) -> io::Result<Option<Join>>;

    /// A bounded run of consecutive entries that begins at `index`, or, when
    /// that is not held, at the first one after it; empty when there is none.
    ///
    /// # Errors
    /// What the disk says.
    fn read(&self, index: u64) -> io::Result<Vec<Arc<Entry>>>;
}

impl Head {
    /// Where the oldest entry that can be had begins, in memory or recorded.
    pub fn first(&self) -> Reach {
        let here = Reach {
            index: self.oldest,
            seq: self.oldest_seq,
            at: self.start,
        };
        self.reach.map_or(here, |reach| reach.min(here))
    }
}

impl Log {
    /// Sets where dropped entries are found; the first one given stays.
    pub fn keep_past(&self, past: Arc<dyn Past>) {
        // A log is recorded by one tape.
        let _ = self.past.set(past);
    }

    /// Where dropped entries are found.
    pub fn past(&self) -> Option<&Arc<dyn Past>> {
        self.past.get()
    }

    /// Says how far back the past goes.
    pub fn set_reach(&self, reach: Option<Reach>) {
        self.write_ring().head.reach = reach;
    }

    /// Keeps entries from this one on beyond the time they would have, within
    /// the bound in bytes: a source may be faster than real time, and so
    /// faster than those who copy the log.
    pub fn hold(&self, from: Option<u64>) {
        self.write_ring().held = from;
        self.released.notify_waiters();
    }

    /// Resolves at the next [`Log::hold`].
    pub(crate) fn released(&self) -> impl Future<Output = ()> + '_ {
        self.released.notified()
    }

    /// Whether what is held came so much faster than real time that history
    /// will soon drop it uncopied: the entry to be copied next, when more than
    /// half of the bytes are held and they came at more than twice their pace.
    /// `now` is the wall clock, µs.
    pub(crate) fn pressed(&self, now: u64) -> Option<u64> {
        let ring = self.read_ring();
        let next = ring.held?.max(ring.head.oldest);
        let held = usize::try_from(ring.head.next.checked_sub(next)?).ok()?;
        let share = ring.head.bytes as u128 * held as u128 / ring.entries.len().max(1) as u128;
        if share <= ring.limits.bytes as u128 / 2 {
            return None;
        }
        let mut uncopied = ring.entries.iter().skip(ring.entries.len() - held);
        let first = uncopied.find_map(|entry| entry.chunk())?;
        let elapsed = now.saturating_sub(first.header.ingest_time) / 1000;
        let paced = MediaDuration::from_millis(elapsed * PACED + PACED_SLACK_MS);
        (ring.head.end.since(first.media_time()) > paced).then_some(next)
    }

    /// Whether `from` lies before what memory holds, but is recorded:
    /// [`Log::join_past`] finds it, [`Log::join`] only what is nearest.
    pub fn is_past(&self, from: &JoinFrom) -> bool {
        let head = self.head();
        let first = head.first();
        if first.index >= head.oldest || self.past().is_none() {
            return false;
        }
        match from {
            JoinFrom::Live => false,
            JoinFrom::Start => true,
            JoinFrom::Back(length) => head.end - *length < head.start,
            JoinFrom::At(at) => *at < head.start,
            JoinFrom::Chunk { epoch, seq } => {
                epoch == self.epoch() && (first.seq..head.oldest_seq).contains(seq)
            }
        }
    }

    /// Finds a join point, waiting for the disk where [`Log::is_past`].
    ///
    /// # Errors
    /// What the disk says; [`Log::join`] then finds what is nearest.
    pub fn join_past(&self, from: &JoinFrom, burst: MediaDuration) -> io::Result<Join> {
        let past = self.past().filter(|_| self.is_past(from));
        let found = past.map(|past| past.join(from, self)).transpose()?;
        Ok(found.flatten().unwrap_or_else(|| self.join(from, burst)))
    }
}
