//! A shard's turns: what it does between two waits.

mod clock;
mod join;
mod list;
mod pump;
mod slot;
mod together;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::{Events, Poll};
use slab::Slab;

use super::super::session::{Now, Timeouts};
use super::super::{Config, ListenerId, MountShared};
use super::conn::Conn;
use super::past::{Found, Job, Readers};
use super::ring::Ring;
use super::{Command, Departures, Mailbox, WAKE, lock};
use crate::mount::log::{Entry, Log};
use clock::jitter;
use pump::{Pumped, pump};
use slot::{Slot, count};

/// Listeners whose leaving is worth a walk through the allocator's arenas.
const MANY: usize = 200;
/// Bytes read at once.
const SCRATCH: usize = 16 << 10;

/// One epoll thread.
pub(super) struct Shard {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    readers: Readers,
    /// For many writes at once, where the system has that.
    ring: Option<Ring>,
    config: Config,
    timeouts: Timeouts,
    started: Instant,
    conns: Slab<Conn>,
    mounts: Slab<Slot>,
    /// Slots by the address of their log, which they keep alive.
    by_log: HashMap<usize, usize>,
    again: Vec<usize>,
    departures: Departures,
    /// Set once draining: wait, spread, URL.
    draining: Option<(u64, u64, Option<String>)>,
    next_tick: u64,
    /// Most listeners since memory was last given back.
    peak: usize,
    /// No mount's `recheck` is earlier.
    next_recheck: u64,
    fetched: Vec<Arc<Entry>>,
    scratch: Box<[u8]>,
}

fn address(log: &Arc<Log>) -> usize {
    Arc::as_ptr(log) as usize
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Shard {
    pub(super) fn new(
        poll: Poll,
        mailbox: Arc<Mailbox>,
        config: Config,
        readers: Readers,
        ring: Option<Ring>,
    ) -> Self {
        Self {
            poll,
            mailbox,
            readers,
            ring,
            config,
            timeouts: Timeouts {
                stall: millis(config.stall_timeout),
                close: millis(config.close_timeout),
                ping: millis(config.ping_interval),
            },
            started: Instant::now(),
            conns: Slab::new(),
            mounts: Slab::new(),
            by_log: HashMap::new(),
            again: Vec::new(),
            departures: Departures::new(),
            draining: None,
            next_tick: 0,
            peak: 0,
            next_recheck: u64::MAX,
            fetched: Vec::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
        }
    }

    /// The one place that reads the clocks.
    fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono_ms: millis(self.started.elapsed()),
            wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "fan-out thread cannot wait for sockets");
                std::thread::sleep(Duration::from_millis(100));
            }
            let now = self.now();
            // Looked at before the mail, so that none is missed.
            self.mailbox.woken.store(false, Ordering::Release);
            let grown = std::mem::take(&mut *lock(&self.mailbox.grown));
            for slot in grown {
                self.grown(now, slot);
            }
            for event in &events {
                if event.token() != WAKE {
                    self.event(now, event);
                }
            }
            // After the events: a listener that comes may get the place of one that has just
            // left, and what was seen of that one's socket is not about it.
            let commands = std::mem::take(&mut *lock(&self.mailbox.commands));
            for command in commands {
                if !self.obey(now, command) {
                    return;
                }
            }
            for key in std::mem::take(&mut self.again) {
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.again = false;
                    self.serve(now, key);
                }
            }
            self.timers(now);
            self.peak = self.peak.max(self.conns.len());
            if self.conns.is_empty() {
                self.rest();
            }
        }
    }

    /// Nobody is left: gives all memory back.
    fn rest(&mut self) {
        self.conns = Slab::new();
        self.mounts = Slab::new();
        self.by_log = HashMap::new();
        self.again = Vec::new();
        self.departures = Departures::new();
        self.fetched = Vec::new();
        self.give_back();
    }

    /// After many have left: lets the allocator return free pages.
    fn give_back(&mut self) {
        if self.peak >= MANY {
            super::memory::trim();
        }
        self.peak = self.conns.len();
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.conns.is_empty() {
            return None;
        }
        let now = self.now().mono_ms;
        let departure = self.departures.peek().map(|Reverse((due, ..))| *due);
        let due = self.next_tick.min(self.next_recheck);
        let due = departure.map_or(due, |departure| departure.min(due));
        Some(Duration::from_millis(due.saturating_sub(now).max(1)))
    }

    fn obey(&mut self, now: Now, command: Command) -> bool {
        match command {
            Command::Attach(attach) => self.attach(now, *attach),
            Command::Found(key, id, found) => self.found(now, key, id, *found),
            Command::Kick(id, code, reason) => {
                let found = self.conns.iter().find(|(_, conn)| conn.id == id);
                if let Some((key, _)) = found {
                    self.close(now, key, code, &reason);
                }
            }
            Command::Drain(after, spread, url) => {
                let (after, spread) = (millis(after), millis(spread));
                self.draining = Some((after, spread, url));
                for (key, conn) in &self.conns {
                    let due = now.mono_ms + jitter(conn.id, spread);
                    self.departures.push(Reverse((due, key, conn.id)));
                }
            }
            Command::List(mount, reply) => {
                // The asker may have given up.
                let _ = reply.send(self.list(now, &mount));
            }
            Command::Stop => {
                self.remove_all();
                return false;
            }
        }
        true
    }

    fn keys_of(&self, mount: &MountShared) -> Vec<usize> {
        let slot = self.by_log.get(&address(&mount.log));
        slot.and_then(|slot| self.mounts.get(*slot))
            .map(|slot| slot.listeners.iter().map(|key| *key as usize).collect())
            .unwrap_or_default()
    }

    fn close(&mut self, now: Now, key: usize, code: u16, reason: &str) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.session.close(now, code, reason);
            self.serve(now, key);
        }
    }

    // ---- serving ----

    /// A mount's log has grown, or one of its listeners waits for the clock.
    fn grown(&mut self, now: Now, slot: usize) {
        let Some(mount) = self.mounts.get_mut(slot) else {
            return;
        };
        // Before the log is read, so that later growth wakes again.
        mount.subscriber.pending.store(false, Ordering::Release);
        mount.recheck = None;
        mount.refresh();
        let mut at = 0;
        let mut together = 0;
        while let Some(key) = self
            .mounts
            .get(slot)
            .and_then(|mount| mount.listeners.get(at).copied())
        {
            if at == together {
                self.write_together(now, slot, at);
                together += Ring::ROOM;
            }
            self.pump(now, key as usize);
            // A listener that left has been replaced by another one.
            let list = self.mounts.get(slot).map(|mount| &mount.listeners);
            if list.is_some_and(|list| list.get(at) == Some(&key)) {
                at += 1;
            }
        }
        if let Some(mount) = self.mounts.get_mut(slot) {
            mount.report();
        }
    }

    /// Reads and writes for one listener.
    fn serve(&mut self, now: Now, key: usize) {
        if self.read(now, key) {
            self.pump(now, key);
        }
        let slot = self.conns.get(key).map(|conn| conn.mount as usize);
        if let Some(mount) = slot.and_then(|slot| self.mounts.get_mut(slot)) {
            mount.report();
        }
    }

    fn event(&mut self, now: Now, event: &Event) {
        let key = event.token().0;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if event.is_error() {
            self.remove(key, true);
            return;
        }
        conn.readable |= event.is_readable() || event.is_read_closed();
        if event.is_writable() {
            conn.blocked = false;
        }
        self.serve(now, key);
    }

    /// Reads while there is something; false when the listener is gone.
    fn read(&mut self, now: Now, key: usize) -> bool {
        let Some(conn) = self.conns.get_mut(key) else {
            return false;
        };
        for _ in 0..4 {
            if !conn.readable {
                return true;
            }
            match conn.pipe.read(&mut self.scratch) {
                Ok(0) => {
                    conn.readable = false;
                    if conn.session.end_of_input(now) {
                        self.remove(key, false);
                        return false;
                    }
                }
                Ok(n) => {
                    if let Some(mount) = self.mounts.get(conn.mount as usize) {
                        let before = conn.session.report().map_or(0, |report| report.underruns);
                        conn.session
                            .receive(now, &mount.shared.log, &self.scratch[..n]);
                        let after = conn.session.report().map_or(0, |report| report.underruns);
                        let more = after.saturating_sub(before).min(1000);
                        if more > 0 {
                            let stats = &mount.shared.stats;
                            stats.underruns.fetch_add(more, Ordering::Relaxed);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.remove(key, true);
                    return false;
                }
            }
        }
        // Others first; a flood does not get the thread for itself.
        self.later(key);
        true
    }

    fn later(&mut self, key: usize) {
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.again
        {
            conn.again = true;
            self.again.push(key);
        }
    }

    /// Writes until there is nothing more or the socket is full.
    fn pump(&mut self, now: Now, key: usize) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.blocked && !conn.session.is_finished() {
            return;
        }
        let Some(mount) = self.mounts.get_mut(conn.mount as usize) else {
            return;
        };
        let before = *conn.session.counters();
        let outcome = pump(conn, mount, &mut self.fetched, now);
        count(&mut mount.unreported, &before, conn.session.counters());
        if let Some(at) = mount.recheck {
            self.next_recheck = self.next_recheck.min(at);
        }
        self.fetched.clear();
        match outcome {
            Ok(Pumped::Idle) => {}
            Ok(Pumped::More) => self.later(key),
            Ok(Pumped::Ask(want)) => {
                let reel = conn.reel.get_or_insert_default();
                reel.asked = true;
                self.readers.ask(Job {
                    mount: mount.shared.clone(),
                    want,
                    key,
                    id: conn.id,
                    mailbox: self.mailbox.clone(),
                });
            }
            Ok(Pumped::Finished) => self.remove(key, false),
            Err(_) => self.remove(key, true),
        }
    }

    /// An answer from the past.
    fn found(&mut self, now: Now, key: usize, id: ListenerId, found: Found) {
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.id == id) else {
            return;
        };
        let Some(mount) = self.mounts.get(conn.mount as usize) else {
            return;
        };
        let log = &mount.shared.log;
        let reel = conn.reel.get_or_insert_default();
        match found {
            Found::Entries(index, entries) => {
                let next = entries.first().map_or(log.head().oldest, |e| e.index);
                conn.session.pass(index, next);
                reel.put(entries);
            }
            Found::Join(from, join) => {
                reel.put(Vec::new());
                conn.session.located(now, log, &from, join);
            }
        }
        self.serve(now, key);
    }
}
