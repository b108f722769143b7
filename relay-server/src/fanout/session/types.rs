//! What a session and its owner say to each other.

use std::sync::Arc;

use seamcast_media::units::MediaTime;

use crate::mount::log::{Entry, Head, Log};

/// The clocks, read by the owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, ms.
    pub mono_ms: u64,
    /// Wall clock, µs since the Unix epoch.
    pub wall_us: u64,
}

/// The mount's log as of now, with a run of its entries.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The log, for joins.
    pub log: &'a Log,
    /// What it holds.
    pub head: Head,
    /// Consecutive entries, hopefully those that the session wants.
    pub window: &'a [Arc<Entry>],
}

impl<'a> View<'a> {
    /// The run's entries from `index` on; none if it does not hold `index`.
    pub(super) fn from(&self, index: u64) -> &'a [Arc<Entry>] {
        entries_from(self.window, index)
    }
}

/// What a run of consecutive entries holds from `index` on; nothing if it does not hold `index`.
pub(in super::super) fn entries_from(run: &[Arc<Entry>], index: u64) -> &[Arc<Entry>] {
    let at = run
        .first()
        .and_then(|first| index.checked_sub(first.index))
        .and_then(|at| usize::try_from(at).ok());
    at.and_then(|at| run.get(at..)).unwrap_or_default()
}

/// What to do with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write what `fill` yields.
    Write,
    /// Call again with a window that begins at this entry. What memory does
    /// not hold is in the log's past; if it is not, say so with
    /// [`Session::pass`](super::Session::pass).
    Fetch(u64),
    /// Find the join point [`Session::sought`](super::Session::sought) in the log's past and call
    /// [`Session::located`](super::Session::located).
    Locate,
    /// Nothing until the log grows or, if given, this many ms have passed.
    Wait(Option<u64>),
    /// All is written: shut the sending side down and wait for the peer's end.
    Linger,
    /// Over; drop the connection.
    Finished,
}

/// Times that apply to sessions, ms.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Nothing taken although there is something.
    pub stall: u64,
    /// From a close's begin to its end.
    pub close: u64,
    /// Silence after which a peer is pinged.
    pub ping: u64,
}

/// Counters of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Bytes written.
    pub bytes: u64,
    /// Chunks begun.
    pub chunks: u64,
    /// Times moved past chunks.
    pub gaps: u32,
    /// Closed because it was too slow.
    pub too_slow: bool,
    /// Chunks missed so.
    pub lag_chunks: u64,
}

/// What a listener last reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Position audible.
    pub media_time: MediaTime,
    /// Buffered, ms.
    pub buffered_ms: f64,
    /// Underruns so far.
    pub underruns: u64,
    /// When it said so, monotonic ms.
    pub at_ms: u64,
}
