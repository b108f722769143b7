//! Listeners that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::Token;

use super::super::conn::{Cold, Conn, Pipe};
use super::super::{Attach, Subscriber};
use super::clock::jitter;
use super::slot::Slot;
use super::{Shard, address};
use crate::fanout::session::{Counters, Now, Session};
use crate::fanout::{Left, MountShared};
use crate::mount::log::Notify;

impl Shard {
    pub(super) fn attach(&mut self, now: Now, attach: Attach) {
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
                // Who sees that it left finds its place free.
                drop(request.seat);
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
                farewell: request.farewell,
                seat: request.seat,
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

    pub(super) fn slot_for(&mut self, shared: Arc<MountShared>) -> usize {
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

    /// All leave, as the relay does.
    pub(super) fn remove_all(&mut self) {
        let keys: Vec<usize> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove(key, false);
        }
    }

    pub(super) fn remove(&mut self, key: usize, failed: bool) {
        let Some(mut conn) = self.conns.try_remove(key) else {
            return;
        };
        // Closing the descriptor would do; this also serves wrapped streams.
        let _ = conn.pipe.deregister(self.poll.registry());
        if let Some(farewell) = conn.cold.farewell.take() {
            let stayed = self.now().mono_ms.saturating_sub(conn.cold.joined_ms);
            farewell(Left {
                bytes: conn.session.counters().bytes,
                stayed: Duration::from_millis(stayed),
            });
        }
        self.mailbox.listeners.fetch_sub(1, Ordering::Release);
        drop(conn.cold.seat.take());
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

    pub(super) fn send_away(&mut self, now: Now, key: usize, after: u64, url: Option<&str>) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.session.go_away(now, after, url);
        }
    }
}
