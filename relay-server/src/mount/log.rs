//! The stream log: a bounded ring of immutable chunks and control entries.
//!
//! One writer (the mount's ingest) appends; every shard reads. Listeners are
//! cursors into it, so everything a listener gets derives from here. Entries
//! are shared by reference count: evicting one frees it when the last
//! listener that is in the middle of it has moved on.

mod chunk;
mod join;
mod past;
mod ring;

use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::{Bytes, BytesMut};
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::chunk::Header;
use seamcast_protocol::control::ServerMessage;
use serde_json::{Map, Value};

pub(crate) use chunk::json;
pub use chunk::{
    Chunk, Entry, Generation, GenerationConfig, Intro, Kind, Metadata, NewChunk, Opening,
};
pub use join::{Gap, Join, JoinFrom};
pub use past::{Past, Reach};
use ring::Ring;

use crate::fanout::wire;

/// Bytes of a block of chunks. The log holds at most one block more than its
/// limit says; the system gives pages only to what is written.
const BLOCK: usize = 64 << 10;

/// How much history is kept. At either bound the oldest entries go; the
/// newest chunk always stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, framing and bookkeeping included.
    pub bytes: usize,
    /// Media duration.
    pub duration: MediaDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 32 << 20,
            duration: MediaDuration::from_millis(300_000),
        }
    }
}

/// Whether a source feeds the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// A source is connected or expected.
    #[default]
    Live,
    /// The source was lost and is waited for.
    Offline,
    /// Nothing follows.
    Ended,
}

/// What the log holds right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Index of the oldest entry held.
    pub oldest: u64,
    /// Index that the next entry will get.
    pub next: u64,
    /// Sequence number of the oldest chunk held.
    pub oldest_seq: u64,
    /// Sequence number that the next chunk will get.
    pub next_seq: u64,
    /// Programme position of the oldest chunk held.
    pub start: MediaTime,
    /// Programme position after the newest chunk.
    pub end: MediaTime,
    /// Bytes held.
    pub bytes: usize,
    /// Whether a source feeds it.
    pub status: Status,
    /// Where what is recorded begins; see [`Head::first`].
    pub reach: Option<Reach>,
}

/// Told about every append, after it; must not block.
pub trait Notify: Send + Sync {
    /// The log has grown.
    fn notify(&self);
}

/// A mount's stream log.
pub struct Log {
    epoch: String,
    /// Where the next chunks are put, one after the other, so that what is
    /// evicted gives whole pages back: among the short-lived allocations of a
    /// join storm, each chunk would hold pages of its own for the rest.
    block: Mutex<BytesMut>,
    ring: RwLock<Ring>,
    subscribers: RwLock<Vec<Arc<dyn Notify>>>,
    past: OnceLock<Arc<dyn Past>>,
    /// Told whenever those who copy the log have come further.
    released: tokio::sync::Notify,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("epoch", &self.epoch)
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

/// What an earlier process left of a log.
#[derive(Debug, Default)]
pub struct Restored {
    /// Its newest entries, consecutive up to `next`.
    pub entries: Vec<Arc<Entry>>,
    /// Where the next entry and chunk begin.
    pub next: Reach,
    /// The generation of its last chunk.
    pub generation: Option<Arc<Generation>>,
    /// The tags in force at its end.
    pub tags: Option<Arc<Metadata>>,
}

impl Log {
    /// An empty log. `epoch` must differ from every other log's of the mount
    /// and hold no colon.
    pub fn new(epoch: impl Into<String>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            epoch: epoch.into(),
            block: Mutex::default(),
            ring: RwLock::new(Ring {
                limits,
                ..Ring::default()
            }),
            subscribers: RwLock::new(Vec::new()),
            past: OnceLock::new(),
            released: tokio::sync::Notify::new(),
        })
    }

    /// A log that goes on where an earlier process left it.
    pub fn restored(epoch: impl Into<String>, limits: Limits, kept: Restored) -> Arc<Self> {
        let log = Self::new(epoch, limits);
        {
            let mut ring = log.write_ring();
            ring.generation = kept.generation;
            ring.tags = kept.tags;
            ring.head.oldest = kept.entries.first().map_or(kept.next.index, |e| e.index);
            ring.head.bytes = kept.entries.iter().map(|entry| entry.cost()).sum();
            ring.entries = kept.entries.into();
            ring.head.next = kept.next.index;
            ring.head.next_seq = kept.next.seq;
            ring.head.end = kept.next.at;
            let first = ring.entries.front().map(|first| (first.seq, first.at));
            (ring.head.oldest_seq, ring.head.start) =
                first.unwrap_or((kept.next.seq, kept.next.at));
        }
        log
    }

    /// Identity; sequence numbers are comparable within one epoch only.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    // Entries are pushed whole, so a poisoned lock still guards a sound ring.
    fn read_ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_ring(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- writing ----

    /// Starts a generation: chunks appended from now on need these headers.
    /// Returns its number.
    pub fn generation(&self, config: GenerationConfig) -> u32 {
        let mut ring = self.write_ring();
        let number = ring.generation.as_ref().map_or(1, |g| g.number + 1);
        ring.generation = Some(Generation::new(number, config));
        number
    }

    /// Appends a chunk that is wholly received at `ingest_time` (µs since the
    /// Unix epoch); returns its sequence number. Without a generation before
    /// it, without payload, or after the end, it is refused with `None`.
    pub fn append(&self, chunk: NewChunk<'_>, ingest_time: u64) -> Option<u64> {
        if chunk.payload.is_empty() || u32::try_from(chunk.payload.len()).is_err() {
            return None;
        }
        // Only one writer: what is read here still holds when it is pushed,
        // and the payload is framed without the lock.
        let (generation, tags, seq, begins) = {
            let ring = self.read_ring();
            let generation = ring.generation.clone()?;
            let mut chunks = ring.entries.iter().rev().filter_map(|entry| entry.chunk());
            let begins = chunks
                .next()
                .is_none_or(|last| last.generation.number != generation.number);
            (generation, ring.tags.clone(), ring.head.next_seq, begins)
        };
        let header = Header {
            flags: chunk.flags,
            generation: generation.number,
            seq,
            media_time: chunk.media_time.ticks(),
            duration: chunk.duration.ticks(),
            ingest_time,
        };
        let wire = {
            let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
            let needed = chunk.payload.len() + wire::OVERHEAD;
            if block.capacity() < needed {
                *block = BytesMut::with_capacity(BLOCK.max(needed));
            }
            wire::Wire::new_in(&mut block, &header, chunk.payload)
        };
        let kind = Kind::Chunk(Chunk {
            header,
            generation,
            tags,
            wire,
            begins,
        });
        self.push(chunk.media_time, |_| kind).then_some(seq)
    }

    /// Appends tags that belong to `at`.
    pub fn metadata(&self, at: MediaTime, tags: Map<String, Value>) {
        let version = self.read_ring().tags.as_ref().map_or(1, |t| t.version + 1);
        let metadata = Metadata::new(version, at, tags);
        self.push(at, |ring| {
            ring.tags = Some(metadata.clone());
            Kind::Metadata(metadata)
        });
    }

    /// Says that the source was lost and for how long it is waited for.
    pub fn offline(&self, grace_ms: u64) {
        let frame = frame(&ServerMessage::Offline { grace_ms });
        let at = self.head().end;
        self.push(at, |ring| {
            ring.head.status = Status::Offline;
            Kind::Offline(frame)
        });
    }

    /// Says that the source is back.
    pub fn online(&self) {
        let frame = frame(&ServerMessage::Online {});
        let at = self.head().end;
        self.push(at, |ring| {
            ring.head.status = Status::Live;
            Kind::Online(frame)
        });
    }

    /// Ends the programme: `source_ended`, `source_lost` or `removed`.
    /// Listeners are closed after it. A later call changes nothing.
    pub fn end(&self, reason: &str) {
        let head = self.head();
        if head.status == Status::Ended {
            return;
        }
        let frame = frame(&ServerMessage::End {
            seq: head.next_seq,
            media_time: head.end.as_secs_f64(),
            reason: reason.to_owned(),
        });
        self.push(head.end, |ring| {
            ring.head.status = Status::Ended;
            Kind::End(frame)
        });
    }

    fn push(&self, at: MediaTime, kind: impl FnOnce(&mut Ring) -> Kind) -> bool {
        let evicted = {
            let mut ring = self.write_ring();
            if ring.head.status == Status::Ended {
                return false;
            }
            let kind = kind(&mut ring);
            ring.push(at, kind)
        };
        // Freed here, so that readers do not wait for the allocator.
        drop(evicted);
        let subscribers = self
            .subscribers
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for subscriber in subscribers.iter() {
            subscriber.notify();
        }
        true
    }

    /// Changes the bounds from the next append on.
    pub fn set_limits(&self, limits: Limits) {
        self.write_ring().limits = limits;
    }

    // ---- reading ----

    /// What is held right now.
    pub fn head(&self) -> Head {
        self.read_ring().head
    }

    /// The generation that the newest chunks need.
    pub fn current_generation(&self) -> Option<Arc<Generation>> {
        self.read_ring().generation.clone()
    }

    /// The tags in force at the live edge.
    pub fn current_tags(&self) -> Option<Arc<Metadata>> {
        self.read_ring().tags.clone()
    }

    /// Appends up to `max` entries from `index` on to `into`. False when
    /// history has left `index`.
    pub fn read(&self, index: u64, max: usize, into: &mut Vec<Arc<Entry>>) -> bool {
        let ring = self.read_ring();
        let Some(at) = index.checked_sub(ring.head.oldest) else {
            return false;
        };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        into.extend(ring.entries.iter().skip(at).take(max).cloned());
        true
    }

    /// Finds a join point; `burst` is the backlog for a join near the live edge.
    pub fn join(&self, from: &JoinFrom, burst: MediaDuration) -> Join {
        let ring = self.read_ring();
        match from {
            JoinFrom::Live => ring.back(burst),
            JoinFrom::Start => ring.join_at(0),
            JoinFrom::Back(length) => ring.back(*length),
            JoinFrom::At(at) if *at >= ring.head.end => ring.back(burst),
            JoinFrom::At(at) => ring.at(*at),
            JoinFrom::Chunk { epoch, seq } => {
                let held = ring.head.oldest_seq..=ring.head.next_seq;
                if *epoch == self.epoch && held.contains(seq) {
                    return ring.exactly(*seq);
                }
                let (found, reason) = if *epoch != self.epoch {
                    (ring.back(burst), "epoch")
                } else if *seq < ring.head.oldest_seq {
                    (ring.join_at(0), "expired")
                } else if ring.head.status == Status::Ended {
                    // All there is, it has had.
                    (ring.join_index(ring.head.next, false), "missing")
                } else {
                    (ring.back(burst), "missing")
                };
                Join {
                    gap: Some(Gap {
                        from: *seq,
                        to: found.seq,
                        reason,
                    }),
                    ..found
                }
            }
        }
    }

    /// Calls `notify` after every append until [`Log::unsubscribe`].
    pub fn subscribe(&self, notify: Arc<dyn Notify>) {
        self.subscribers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(notify);
    }

    /// Undoes [`Log::subscribe`].
    pub fn unsubscribe(&self, notify: &Arc<dyn Notify>) {
        self.subscribers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(other, notify));
    }
}

fn frame(message: &ServerMessage) -> Bytes {
    wire::text_frame(&json(message))
}

#[cfg(test)]
mod tests;
