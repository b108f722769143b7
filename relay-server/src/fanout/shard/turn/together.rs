//! Writing to many listeners at once.

use std::io;
use std::ops::Range;

use super::super::conn::{Conn, Pipe};
use super::super::ring::{Ring, Write};
use super::Shard;
use super::slot::count;
use crate::fanout::cursor::Batch;
use crate::fanout::session::{Next, Now, View};

/// Encrypted bytes after which no further listener is added: those are left to `pump`.
const RECORDS: usize = 256 << 10;

/// A listener that is due, and where its records are if it has TLS.
struct Due {
    key: usize,
    records: Option<Range<usize>>,
}

impl Shard {
    /// Writes what is due to the next [`Ring::ROOM`] listeners of a mount, from `at` in its list, in
    /// one system call. What any of them is owed after that is left to `pump`, and so are failures.
    pub(super) fn write_together(&mut self, now: Now, slot: usize, at: usize) {
        let (Some(ring), Some(mount)) = (&mut self.ring, self.mounts.get_mut(slot)) else {
            return;
        };
        if mount.listeners.len() < at + 2 {
            return;
        }
        let view = View {
            log: &mount.shared.log,
            head: mount.head,
            window: &mount.window,
        };
        let mut due = Vec::with_capacity(Ring::ROOM);
        let mut records = Vec::new();
        for key in mount.listeners.iter().skip(at).take(Ring::ROOM) {
            let key = *key as usize;
            let Some(conn) = self.conns.get_mut(key).filter(|conn| !conn.blocked) else {
                continue;
            };
            let before = *conn.session.counters();
            let next = conn.session.prepare(now, &view);
            let records = match &conn.pipe {
                _ if next != Next::Write => None,
                Pipe::Tcp(_) => Some(None),
                Pipe::Tls(_) if records.len() >= RECORDS => None,
                Pipe::Tls(_) => seal(conn, now, &view, &mut records).ok().map(Some),
            };
            // What was skipped is counted whether or not it is written to here.
            count(&mut mount.unreported, &before, conn.session.counters());
            if let Some(records) = records {
                due.push(Due { key, records });
            }
        }
        let mut writes: Vec<Write<'_>> = Vec::with_capacity(due.len());
        for Due { key, records: own } in &due {
            // It was there above.
            let conn = &self.conns[*key];
            let batch = match own {
                None => conn.session.fill(&view),
                Some(own) => Batch::of(&records[own.clone()]),
            };
            writes.push((conn.pipe.as_fd(), batch));
        }
        let mut outcomes = Vec::with_capacity(writes.len());
        let done = ring.write(&writes, &mut outcomes);
        let totals: Vec<usize> = writes.iter().map(|(_, batch)| batch.total()).collect();
        drop(writes);
        for ((Due { key, records: own }, outcome), total) in
            due.into_iter().zip(outcomes).zip(totals)
        {
            let Some(conn) = self.conns.get_mut(key) else {
                continue;
            };
            let n = match outcome {
                Some(Ok(n)) => {
                    conn.blocked = n < total;
                    n
                }
                Some(Err(error)) => {
                    conn.blocked = error.kind() == io::ErrorKind::WouldBlock;
                    0
                }
                None => 0,
            };
            match (&mut conn.pipe, own) {
                (Pipe::Tls(tls), Some(own)) => tls.hold(&records[own][n..]),
                _ if n > 0 => {
                    let before = *conn.session.counters();
                    conn.session.advance(now, &view, n);
                    count(&mut mount.unreported, &before, conn.session.counters());
                }
                _ => {}
            }
        }
        if let Err(error) = done {
            tracing::warn!(%error, "io_uring takes no more writes; listeners are written to one by one");
            self.ring = None;
        }
    }
}

/// Adds to `records` what a listener with TLS is to get, which counts as written.
fn seal(
    conn: &mut Conn,
    now: Now,
    view: &View<'_>,
    records: &mut Vec<u8>,
) -> io::Result<Range<usize>> {
    let from = records.len();
    let Pipe::Tls(tls) = &mut conn.pipe else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let n = tls.seal(conn.session.fill(view).slices(), records)?;
    conn.session.advance(now, view, n);
    Ok(from..records.len())
}
