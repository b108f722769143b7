//! What a log holds, under its lock.

use std::collections::VecDeque;
use std::sync::Arc;

use seamcast_media::units::{MediaDuration, MediaTime};

use super::{Chunk, Entry, Generation, Head, Join, Kind, Limits, Metadata, Reach};

#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) entries: VecDeque<Arc<Entry>>,
    pub(super) head: Head,
    pub(super) limits: Limits,
    pub(super) generation: Option<Arc<Generation>>,
    pub(super) tags: Option<Arc<Metadata>>,
    /// The entry that said offline or end, while that is the status.
    pub(super) notice: Option<Arc<Entry>>,
    /// Entries from here on are yet to be recorded.
    pub(super) held: Option<u64>,
}

impl Ring {
    /// Appends and evicts; returns what was evicted.
    pub(super) fn push(&mut self, at: MediaTime, kind: Kind) -> Vec<Arc<Entry>> {
        let entry = Arc::new(Entry {
            index: self.head.next,
            seq: self.head.next_seq,
            at,
            kind,
        });
        match &entry.kind {
            Kind::Chunk(chunk) => {
                self.head.next_seq += 1;
                self.head.end = chunk.end();
            }
            Kind::Offline(_) | Kind::End(_) => self.notice = Some(entry.clone()),
            Kind::Online(_) => self.notice = None,
            Kind::Metadata(_) => {}
        }
        self.head.next += 1;
        self.head.bytes += entry.cost();
        let is_chunk = entry.chunk().is_some();
        self.entries.push_back(entry);
        let mut evicted = Vec::new();
        while self.entries.len() > 1 && self.over_limits(is_chunk) {
            if let Some(entry) = self.entries.pop_front() {
                self.head.bytes -= entry.cost();
                self.head.oldest = entry.index + 1;
                evicted.push(entry);
            }
        }
        if let Some(first) = self.entries.front() {
            self.head.oldest_seq = first.seq;
            self.head.start = first.at;
        }
        evicted
    }

    /// Whether the oldest entry must go. Control entries alone evict no
    /// chunk by time, and never the newest one.
    pub(super) fn over_limits(&self, is_chunk: bool) -> bool {
        let Some(first) = self.entries.front() else {
            return false;
        };
        let newest_chunk = first.seq + 1 == self.head.next_seq && first.chunk().is_some();
        if newest_chunk && self.entries.len() <= 64 {
            return false;
        }
        let end = first.chunk().map_or(first.at, Chunk::end);
        let held = self.held.is_some_and(|from| first.index >= from);
        self.head.bytes > self.limits.bytes
            || (is_chunk && !held && self.head.end.since(end) > self.limits.duration)
    }

    /// Position in `entries` of the first entry for which `before` is false.
    pub(super) fn search(&self, before: impl Fn(&Entry) -> bool) -> usize {
        self.entries.partition_point(|entry| before(entry))
    }

    /// Near `back` before the live edge, at or before it if a sync point is held there.
    pub(super) fn back(&self, back: MediaDuration) -> Join {
        self.at(self.head.end - back)
    }

    /// The sync point at or before `target`, else the first one after it.
    pub(super) fn at(&self, target: MediaTime) -> Join {
        let mut at = self.search(|entry| match entry.chunk() {
            Some(chunk) => chunk.end() <= target,
            None => entry.at <= target,
        });
        if at < self.entries.len() {
            let before = self.entries.iter().take(at + 1).rposition(is_sync);
            at = before.unwrap_or(at);
        }
        self.join_at(at)
    }

    /// Begins at the first sync point from `at` on; at the end if none is held.
    pub(super) fn join_at(&self, at: usize) -> Join {
        let found = self.entries.iter().skip(at).position(is_sync);
        let index = match found {
            Some(offset) => self.head.oldest + (at + offset) as u64,
            None => self.head.next,
        };
        self.join_index(index, false)
    }

    /// Begins at chunk `seq`, whatever it is; `seq` must be held or next.
    pub(super) fn exactly(&self, seq: u64) -> Join {
        // Control entries carry the next chunk's number, so those after chunk
        // seq - 1 come first: a listener that resumes has not had them.
        let at = self.search(|entry| entry.seq < seq);
        self.join_index(self.head.oldest + at as u64, true)
            .or_missing(seq)
    }

    pub(super) fn join_index(&self, index: u64, recovered: bool) -> Join {
        // A listener must come past the end, or it would wait forever.
        let index = match &self.notice {
            Some(notice) => index.min(notice.index.max(self.head.oldest)),
            None => index,
        };
        let at = usize::try_from(index - self.head.oldest).unwrap_or(usize::MAX);
        let (seq, at) = match self.entries.get(at) {
            Some(entry) => (entry.seq, entry.at),
            None => (self.head.next_seq, self.head.end),
        };
        Join::new(Reach { index, seq, at }, recovered)
    }
}

fn is_sync(entry: &Arc<Entry>) -> bool {
    entry.chunk().is_some_and(Chunk::is_sync)
}
