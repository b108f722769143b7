//! Writing to many listeners at once.

use std::io;
use std::os::fd::AsFd as _;

use super::super::conn::Pipe;
use super::super::ring::{Ring, Write};
use super::Shard;
use super::slot::count;
use crate::fanout::session::{Next, Now, View};

impl Shard {
    /// Writes what is due to the next [`Ring::ROOM`] listeners of a mount, from `at` in its list, in
    /// one system call. What any of them is owed after that is left to `pump`, and so are TLS and
    /// failures.
    pub(super) fn write_together(&mut self, now: Now, slot: usize, at: usize) {
        let (Some(ring), Some(mount)) = (&mut self.ring, self.mounts.get_mut(slot)) else {
            return;
        };
        let view = View {
            log: &mount.shared.log,
            head: mount.head,
            window: &mount.window,
        };
        let mut due = Vec::with_capacity(Ring::ROOM);
        for key in mount.listeners.iter().skip(at).take(Ring::ROOM) {
            let key = *key as usize;
            if let Some(conn) = self.conns.get_mut(key)
                && matches!(conn.pipe, Pipe::Tcp(_))
                && !conn.blocked
                && conn.session.prepare(now, &view) == Next::Write
            {
                due.push(key);
            }
        }
        if due.len() < 2 {
            return;
        }
        let mut writes: Vec<Write<'_>> = Vec::with_capacity(due.len());
        for key in &due {
            if let Some(conn) = self.conns.get(*key)
                && let Pipe::Tcp(socket) = &conn.pipe
            {
                writes.push((socket.as_fd(), conn.session.fill(&view)));
            }
        }
        let mut outcomes = Vec::with_capacity(writes.len());
        let done = ring.write(&writes, &mut outcomes);
        let totals: Vec<usize> = writes.iter().map(|(_, batch)| batch.total()).collect();
        drop(writes);
        for ((key, outcome), total) in due.into_iter().zip(outcomes).zip(totals) {
            let Some(conn) = self.conns.get_mut(key) else {
                continue;
            };
            match outcome {
                Some(Ok(n @ 1..)) => {
                    let before = *conn.session.counters();
                    conn.session.advance(now, &view, n);
                    count(&mut mount.unreported, &before, conn.session.counters());
                    conn.blocked = n < total;
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    conn.blocked = true;
                }
                Some(_) | None => {}
            }
        }
        if let Err(error) = done {
            tracing::warn!(%error, "io_uring takes no more writes; listeners are written to one by one");
            self.ring = None;
        }
    }
}
