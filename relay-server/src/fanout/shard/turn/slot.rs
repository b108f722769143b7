//! A mount that has listeners on a shard.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::Subscriber;
use crate::fanout::MountShared;
use crate::fanout::session::Counters;
use crate::mount::log::{Entry, Head};

/// Entries that a mount's window keeps for listeners near the live edge.
const WINDOW: usize = 32;

/// A mount that has listeners here.
pub(super) struct Slot {
    pub(super) shared: Arc<MountShared>,
    pub(super) listeners: Vec<u32>,
    pub(super) head: Head,
    /// The newest entries; a listener at the live edge needs no lock.
    pub(super) window: Vec<Arc<Entry>>,
    pub(super) subscriber: Arc<Subscriber>,
    /// When a listener that holds back wants to be looked at, monotonic ms.
    pub(super) recheck: Option<u64>,
    pub(super) unreported: Counters,
}

impl Slot {
    /// Takes over what was appended since the last time.
    pub(super) fn refresh(&mut self) {
        let log = &self.shared.log;
        self.head = log.head();
        let recent = self.head.next.saturating_sub(WINDOW as u64);
        let next = match self.window.last() {
            Some(last) if last.index + 1 >= recent => last.index + 1,
            _ => {
                self.window.clear();
                recent.max(self.head.oldest)
            }
        };
        if !log.read(next, usize::MAX, &mut self.window) {
            self.window.clear();
        }
        if self.window.len() > 2 * WINDOW {
            self.window.drain(..self.window.len() - WINDOW);
        }
    }

    /// Adds what was counted to the mount's counters, once for many listeners.
    pub(super) fn report(&mut self) {
        let counted = std::mem::take(&mut self.unreported);
        let stats = &self.shared.stats;
        for (counter, n) in [
            (&stats.bytes, counted.bytes),
            (&stats.chunks, counted.chunks),
            (&stats.gaps, u64::from(counted.gaps)),
            (&stats.lag_chunks, counted.lag_chunks),
        ] {
            if n > 0 {
                counter.fetch_add(n, Ordering::Relaxed);
            }
        }
    }
}

/// Adds what a session counted between `before` and `after`.
pub(super) fn count(sum: &mut Counters, before: &Counters, after: &Counters) {
    sum.bytes += after.bytes - before.bytes;
    sum.chunks += after.chunks - before.chunks;
    sum.gaps += after.gaps - before.gaps;
    sum.lag_chunks += after.lag_chunks - before.lag_chunks;
}
