//! A shard's turns: what it does between two waits.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::{Events, Poll, Token};
use seamcast_media::units::MediaTime;
use slab::Slab;

use super::super::session::{Counters, Next, Now, Session, Timeouts, View};
use super::super::{Config, ListenerId, ListenerInfo, MountShared};
use super::conn::{Cold, Conn, Pipe, Wrote};
use super::past::{Found, Job, Readers, Reel, Want};
use super::{Attach, Command, Departures, Mailbox, Subscriber, WAKE, lock};
use crate::mount::log::{Entry, Head, Log, Notify};

/// How often timeouts are looked at, ms.
const TICK: u64 = 1000;
/// Entries that a mount's window keeps for listeners near the live edge.
const WINDOW: usize = 32;
/// Entries fetched at once for a listener that is behind the window.
const FETCH: usize = 32;
/// Writes for one listener before others get their turn.
const ROUNDS: usize = 16;
/// Listeners whose leaving is worth a walk through the allocator's arenas.
const MANY: usize = 200;
/// Bytes read at once.
const SCRATCH: usize = 16 << 10;

/// A mount that has listeners here.
struct Slot {
    shared: Arc<MountShared>,
    listeners: Vec<u32>,
    head: Head,
    /// The newest entries; a listener at the live edge needs no lock.
    window: Vec<Arc<Entry>>,
    subscriber: Arc<Subscriber>,
    /// When a listener that holds back wants to be looked at, monotonic ms.
    recheck: Option<u64>,
    unreported: Counters,
}

/// One epoll thread.
pub(super) struct Shard {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    readers: Readers,
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

/// Spreads listeners over a duration: the same listener always at the same place.
fn jitter(id: ListenerId, spread: u64) -> u64 {
    // SplitMix64's finalizer.
    let mut x = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % (spread + 1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Shard {
    pub(super) fn new(poll: Poll, mailbox: Arc<Mailbox>, config: Config, readers: Readers) -> Self {
        Self {
            poll,
            mailbox,
            readers,
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
            let commands = std::mem::take(&mut *lock(&self.mailbox.commands));
            for command in commands {
                if !self.obey(now, command) {
                    return;
                }
            }
            for event in &events {
                if event.token() != WAKE {
                    self.event(now, event);
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
            Command::KickMount(mount, code, reason) => {
                for key in self.keys_of(&mount) {
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
            Command::Stop => return false,
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

    // ---- joining and leaving ----

    fn attach(&mut self, now: Now, attach: Attach) {
        let Attach {
            id,
            socket,
            mount,
            request,
        } = attach;
        let stats = mount.stats.clone();
        let entry = self.conns.vacant_entry();
        let key = entry.key();
        let pipe = Pipe::new(socket, &self.config).and_then(|mut pipe| {
            pipe.register(self.poll.registry(), Token(key))?;
            Ok(pipe)
        });
        let pipe = match pipe {
            Ok(pipe) => pipe,
            Err(error) => {
                tracing::debug!(%error, peer = %request.peer, "listener lost while it joined");
                stats.errors.fetch_add(1, Ordering::Relaxed);
                self.mailbox.listeners.fetch_sub(1, Ordering::Relaxed);
                stats.left();
                return;
            }
        };
        let mut session = Session::new(now, &mount.name, &mount.log, &request);
        session.receive(now, &mount.log, &request.unread);
        let mut end = request.user_agent.len().min(128);
        while !request.user_agent.is_char_boundary(end) {
            end -= 1;
        }
        entry.insert(Conn {
            pipe,
            session,
            id,
            mount: 0,
            place: 0,
            blocked: false,
            shut: false,
            readable: false,
            again: false,
            cold: Box::new(Cold {
                peer: request.peer,
                user_agent: request.user_agent[..end].into(),
                joined_ms: now.mono_ms,
                guard: request.guard,
            }),
            reel: None,
        });
        let slot = self.slot_for(mount);
        if let (Some(mount), Some(conn)) = (self.mounts.get_mut(slot), self.conns.get_mut(key)) {
            conn.mount = slot as u32;
            conn.place = mount.listeners.len() as u32;
            mount.listeners.push(key as u32);
        }
        if let Some((after, spread, url)) = self.draining.clone() {
            self.send_away(now, key, after + jitter(id, spread), url.as_deref());
        }
        self.serve(now, key);
    }

    fn slot_for(&mut self, shared: Arc<MountShared>) -> usize {
        let address = address(&shared.log);
        if let Some(slot) = self.by_log.get(&address) {
            return *slot;
        }
        let entry = self.mounts.vacant_entry();
        let slot = entry.key();
        let subscriber = Arc::new(Subscriber {
            mailbox: self.mailbox.clone(),
            slot,
            pending: AtomicBool::new(false),
        });
        shared.log.subscribe(subscriber.clone());
        entry.insert(Slot {
            head: shared.log.head(),
            shared,
            listeners: Vec::new(),
            window: Vec::new(),
            subscriber,
            recheck: None,
            unreported: Counters::default(),
        });
        self.by_log.insert(address, slot);
        slot
    }

    fn remove(&mut self, key: usize, failed: bool) {
        let Some(mut conn) = self.conns.try_remove(key) else {
            return;
        };
        // Closing the descriptor would do; this also serves wrapped streams.
        let _ = conn.pipe.deregister(self.poll.registry());
        self.mailbox.listeners.fetch_sub(1, Ordering::Relaxed);
        let slot = conn.mount as usize;
        let Some(mount) = self.mounts.get_mut(slot) else {
            return;
        };
        if failed {
            mount.shared.stats.errors.fetch_add(1, Ordering::Relaxed);
        }
        if conn.session.counters().too_slow {
            mount.shared.stats.too_slow.fetch_add(1, Ordering::Relaxed);
        }
        mount.shared.stats.left();
        let place = conn.place as usize;
        if place < mount.listeners.len() {
            mount.listeners.swap_remove(place);
            if let Some(moved) = mount.listeners.get(place)
                && let Some(moved) = self.conns.get_mut(*moved as usize)
            {
                moved.place = place as u32;
            }
        }
        if mount.listeners.is_empty() {
            mount.report();
            let mount = self.mounts.remove(slot);
            let notify: Arc<dyn Notify> = mount.subscriber;
            mount.shared.log.unsubscribe(&notify);
            self.by_log.remove(&address(&mount.shared.log));
        }
    }

    fn send_away(&mut self, now: Now, key: usize, after: u64, url: Option<&str>) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.session.go_away(now, after, url);
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
        while let Some(key) = self
            .mounts
            .get(slot)
            .and_then(|mount| mount.listeners.get(at).copied())
        {
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
        mount.count(&before, conn.session.counters());
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
                    log: mount.shared.log.clone(),
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

    // ---- the clock ----

    fn timers(&mut self, now: Now) {
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

    fn tick(&mut self, now: Now) {
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

    fn list(&self, now: Now, mount: &MountShared) -> Vec<ListenerInfo> {
        let head = mount.log.head();
        let mut held = Vec::new();
        self.keys_of(mount)
            .into_iter()
            .filter_map(|key| self.conns.get(key))
            .map(|conn| {
                let counters = conn.session.counters();
                held.clear();
                mount.log.read(conn.session.index(), 1, &mut held);
                let reel = conn
                    .reel
                    .as_ref()
                    .map(|reel| reel.from(conn.session.index()));
                let entry = held.first().or_else(|| reel.and_then(<[_]>::first));
                let at = entry.map_or(head.end, |entry| entry.at);
                let report = conn.session.report();
                ListenerInfo {
                    id: conn.id,
                    peer: conn.cold.peer,
                    user_agent: conn.cold.user_agent.to_string(),
                    transport: conn.session.framing().name(),
                    connected_secs: (now.mono_ms - conn.cold.joined_ms) as f64 / 1000.0,
                    bytes: counters.bytes,
                    next_seq: conn.session.next_seq(),
                    behind_ms: MediaTime::since(head.end, at).as_millis(),
                    gaps: counters.gaps,
                    lag_chunks: counters.lag_chunks,
                    buffered_ms: report.map(|report| report.buffered_ms),
                    underruns: report.map_or(0, |report| report.underruns),
                }
            })
            .collect()
    }
}

enum Pumped {
    /// Nothing more now.
    Idle,
    /// There is more, but others wait.
    More,
    /// It goes on when this is found.
    Ask(Want),
    Finished,
}

fn pump(
    conn: &mut Conn,
    mount: &mut Slot,
    fetched: &mut Vec<Arc<Entry>>,
    now: Now,
) -> io::Result<Pumped> {
    if conn.pipe.flush()? {
        conn.blocked = true;
        return Ok(Pumped::Idle);
    }
    fetched.clear();
    for _ in 0..ROUNDS {
        let view = View {
            log: &mount.shared.log,
            head: mount.head,
            window: if fetched.is_empty() {
                &mount.window
            } else {
                fetched
            },
        };
        match conn.session.prepare(now, &view) {
            Next::Write => {
                let batch = conn.session.fill(&view);
                let wrote = conn.pipe.write(batch.slices())?;
                let Wrote::Some { n, full } = wrote else {
                    conn.blocked = true;
                    return Ok(Pumped::Idle);
                };
                conn.session.advance(now, &view, n);
                if full {
                    conn.blocked = true;
                    return Ok(Pumped::Idle);
                }
            }
            Next::Fetch(index) => {
                fetched.clear();
                mount.head = mount.shared.log.head();
                if index < mount.head.oldest {
                    let reel = conn.reel.get_or_insert_default();
                    fetched.extend(reel.from(index).iter().take(FETCH).cloned());
                    if fetched.is_empty() {
                        return Ok(ask(reel, Want::Entries(index)));
                    }
                    continue;
                }
                conn.reel = conn.reel.take().filter(|reel| reel.asked);
                if mount.shared.log.read(index, FETCH, fetched) && fetched.is_empty() {
                    return Ok(Pumped::Idle);
                }
            }
            Next::Locate => {
                let Some(from) = conn.session.sought().cloned() else {
                    continue;
                };
                let want = Want::Join(from, conn.session.burst());
                return Ok(ask(conn.reel.get_or_insert_default(), want));
            }
            Next::Wait(wait) => {
                if let Some(wait) = wait {
                    let due = now.mono_ms + wait;
                    mount.recheck = Some(mount.recheck.map_or(due, |at| at.min(due)));
                }
                return Ok(Pumped::Idle);
            }
            Next::Linger => {
                // A WebSocket ends when the peer's Close has come (RFC 6455 §7.1.1): an end that
                // comes with the handshake makes Firefox forget all that was sent between.
                if !conn.shut && !conn.session.framing().is_ws() {
                    conn.shut = true;
                    conn.pipe.shut_down();
                }
                return Ok(Pumped::Idle);
            }
            Next::Finished => return Ok(Pumped::Finished),
        }
    }
    Ok(Pumped::More)
}

/// One question at a time.
fn ask(reel: &Reel, want: Want) -> Pumped {
    if reel.asked {
        Pumped::Idle
    } else {
        Pumped::Ask(want)
    }
}

impl Slot {
    /// Takes over what was appended since the last time.
    fn refresh(&mut self) {
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

    fn count(&mut self, before: &Counters, after: &Counters) {
        self.unreported.bytes += after.bytes - before.bytes;
        self.unreported.chunks += after.chunks - before.chunks;
        self.unreported.gaps += after.gaps - before.gaps;
        self.unreported.lag_chunks += after.lag_chunks - before.lag_chunks;
    }

    /// Adds what was counted to the mount's counters, once for many listeners.
    fn report(&mut self) {
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
