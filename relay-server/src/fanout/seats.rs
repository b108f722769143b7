//! Places for listeners where their number is limited. A place is taken when a
//! listener is let in, long before a shard has its socket, so that no storm of
//! joins passes a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Fanout, MountShared, MountStats};

/// A listener's place on its mount and on the relay, given back when dropped.
#[derive(Debug)]
pub struct Seat {
    here: Arc<MountStats>,
    all: Arc<AtomicU64>,
}

/// Why there is no place, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The mount has its most.
    Mount(u64),
    /// The relay has.
    Relay(u64),
}

/// Counts one in, unless there are `most` already; 0 means no limit.
fn take(seats: &AtomicU64, most: u64) -> bool {
    let one_more = |taken| (most == 0 || taken < most).then_some(taken + 1);
    seats
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
        .is_ok()
}

impl Seat {
    /// Takes one of `here` places on a mount and of `all` on the relay; 0 means no limit.
    ///
    /// # Errors
    /// When they are taken.
    pub fn take(fanout: &Fanout, mount: &MountShared, here: u64, all: u64) -> Result<Self, Full> {
        if !take(&mount.stats.seats, here) {
            return Err(Full::Mount(here));
        }
        let taken = fanout.seats();
        if !take(taken, all) {
            mount.stats.seats.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Relay(all));
        }
        Ok(Self {
            here: mount.stats.clone(),
            all: taken.clone(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.here.seats.fetch_sub(1, Ordering::Relaxed);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}
