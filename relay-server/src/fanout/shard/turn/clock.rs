//! What is due without anything having come.

use std::cmp::Reverse;

use super::Shard;
use super::slot::Slot;
use crate::fanout::ListenerId;
use crate::fanout::session::Now;

/// How often timeouts are looked at, ms.
const TICK: u64 = 1000;

/// Spreads listeners over a duration: the same listener always at the same place.
pub(super) fn jitter(id: ListenerId, spread: u64) -> u64 {
    // SplitMix64's finalizer.
    let mut x = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % (spread + 1)
}

impl Shard {
    pub(super) fn timers(&mut self, now: Now) {
        if now.mono_ms >= self.next_recheck {
            let due = |slot: &Slot| slot.recheck.is_some_and(|at| at <= now.mono_ms);
            let slots = self.mounts.iter().filter(|(_, slot)| due(slot));
            let slots: Vec<usize> = slots.map(|(key, _)| key).collect();
            for slot in slots {
                self.grown(now, slot);
            }
            let rechecks = self.mounts.iter().filter_map(|(_, slot)| slot.recheck);
            self.next_recheck = rechecks.min().unwrap_or(u64::MAX);
        }
        while let Some(Reverse((due, key, id))) = self.departures.peek().copied()
            && due <= now.mono_ms
        {
            self.departures.pop();
            let known = self.conns.get(key).is_some_and(|conn| conn.id == id);
            if known && let Some((after, spread, url)) = self.draining.clone() {
                // Whoever leaves early waits longer; all return spread out.
                self.send_away(now, key, after + jitter(id, spread), url.as_deref());
                self.serve(now, key);
            }
        }
        if now.mono_ms >= self.next_tick {
            self.next_tick = now.mono_ms + TICK;
            self.tick(now);
        }
    }

    pub(super) fn tick(&mut self, now: Now) {
        let mut woken = Vec::new();
        for (key, conn) in &mut self.conns {
            let Some(mount) = self.mounts.get(conn.mount as usize) else {
                continue;
            };
            if conn
                .session
                .tick(now, &mount.head, &self.timeouts, conn.blocked)
            {
                woken.push(key);
            }
        }
        for key in woken {
            self.serve(now, key);
        }
        if self.conns.len() * 4 < self.peak {
            self.conns.shrink_to_fit();
            self.again.shrink_to_fit();
            self.give_back();
        }
        for (_, mount) in &mut self.mounts {
            if mount.listeners.len() * 4 < mount.listeners.capacity() {
                mount.listeners.shrink_to_fit();
            }
        }
    }
}
