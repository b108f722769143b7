//! The shell: sockets on epoll threads, and the only clock of the fan-out.

mod conn;
mod memory;
mod past;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(not(target_os = "linux"))]
#[path = "shard/ring/none.rs"]
mod ring;
mod tls;
mod turn;

use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::{Poll, Token, Waker};
use tokio::sync::oneshot;

use super::{Config, ListenerId, ListenerInfo, ListenerRequest, MountShared, Socket};
use crate::mount::log::Notify;
pub use memory::{plain_heap, share_heap};
use turn::Shard;

const WAKE: Token = Token(usize::MAX);
/// Listeners a shard has before the next one gets any: some 10 ms of a core for each chunk.
const ROOM: u64 = 1500;

/// What a shard is asked to do.
enum Command {
    Attach(Box<Attach>),
    Kick(ListenerId, u16, String),
    Drain(Duration, Duration, Option<String>),
    List(Arc<MountShared>, oneshot::Sender<Vec<ListenerInfo>>),
    /// What the past holds for the listener in a place.
    Found(usize, ListenerId, Box<past::Found>),
    Stop,
}

struct Attach {
    id: ListenerId,
    socket: Socket,
    mount: Arc<MountShared>,
    request: ListenerRequest,
}

/// The part of a shard that other threads see.
struct Mailbox {
    waker: Waker,
    /// Set from the first wake-up until the shard looks.
    woken: AtomicBool,
    commands: Mutex<Vec<Command>>,
    /// Slots of mounts whose log has grown.
    grown: Mutex<Vec<usize>>,
    listeners: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "cannot wake a fan-out thread");
        }
    }

    fn send(&self, command: Command) {
        lock(&self.commands).push(command);
        self.wake();
    }
}

/// A shard's interest in one log, while it has listeners there.
struct Subscriber {
    mailbox: Arc<Mailbox>,
    slot: usize,
    /// Set from a growth until the shard looks.
    pending: AtomicBool,
}

impl Notify for Subscriber {
    fn notify(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            lock(&self.mailbox.grown).push(self.slot);
            self.mailbox.wake();
        }
    }
}

/// The fan-out threads. Dropping the last handle closes every listener.
#[derive(Clone)]
pub struct Fanout {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Vec<Arc<Mailbox>>,
    next_id: AtomicU64,
    seats: Arc<AtomicU64>,
}

impl std::fmt::Debug for Fanout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fanout")
            .field("shards", &self.inner.shards.len())
            .field("listeners", &self.count())
            .finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for shard in &self.shards {
            shard.send(Command::Stop);
        }
    }
}

impl Fanout {
    /// Starts the threads.
    ///
    /// # Errors
    /// When epoll or a thread cannot be had.
    pub fn new(config: Config) -> io::Result<Self> {
        let count = match config.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let readers = past::Readers::start()?;
        let ring = || {
            let ring = ring::Ring::new();
            if let Err(error) = &ring {
                tracing::info!(%error, "no io_uring here; listeners are written to one by one");
            }
            ring.ok()
        };
        let mut shards = Vec::with_capacity(count);
        for index in 0..count {
            let poll = Poll::new()?;
            let mailbox = Arc::new(Mailbox {
                waker: Waker::new(poll.registry(), WAKE)?,
                woken: AtomicBool::new(false),
                commands: Mutex::default(),
                grown: Mutex::default(),
                listeners: AtomicU64::new(0),
            });
            let ring = config.io_uring.then(ring).flatten();
            let shard = Shard::new(poll, mailbox.clone(), config, readers.clone(), ring);
            std::thread::Builder::new()
                .name(format!("fanout-{index}"))
                .spawn(move || shard.run())?;
            shards.push(mailbox);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                shards,
                next_id: AtomicU64::new(1),
                seats: Arc::default(),
            }),
        })
    }

    /// Hands a listener over to a shard; never blocks. The mount's counters
    /// have it at once, its socket is served within the shard's next turn.
    pub fn attach(
        &self,
        socket: Socket,
        mount: Arc<MountShared>,
        request: ListenerRequest,
    ) -> ListenerId {
        let id = ListenerId(self.inner.next_id.fetch_add(1, Ordering::Relaxed));
        mount.stats.joined();
        let shards = &self.inner.shards;
        let load = |shard: &Arc<Mailbox>| shard.listeners.load(Ordering::Relaxed);
        if let Some(shard) = place(shards.iter().map(load)).and_then(|index| shards.get(index)) {
            shard.listeners.fetch_add(1, Ordering::Relaxed);
            shard.send(Command::Attach(Box::new(Attach {
                id,
                socket,
                mount,
                request,
            })));
        }
        id
    }

    /// Places taken on the whole relay.
    pub(super) fn seats(&self) -> &Arc<AtomicU64> {
        &self.inner.seats
    }

    fn broadcast(&self, command: impl Fn() -> Command) {
        for shard in &self.inner.shards {
            shard.send(command());
        }
    }

    /// Closes a listener, e.g. with `close::KICKED`; unknown ones are ignored.
    pub fn kick(&self, id: ListenerId, code: u16, reason: &str) {
        self.broadcast(|| Command::Kick(id, code, reason.to_owned()));
    }

    /// Sends `goaway` and closes every listener within `spread`, each at its
    /// own time. Players are told to wait `after` and up to `spread` more, so
    /// that they do not return all at once. Listeners that come later are
    /// sent away at once.
    pub fn drain(&self, after: Duration, spread: Duration, url: Option<&str>) {
        self.broadcast(|| Command::Drain(after, spread, url.map(str::to_owned)));
    }

    /// Lets every listener go and ends the threads: nobody can be attached after it.
    pub(crate) fn stop(&self) {
        self.broadcast(|| Command::Stop);
    }

    /// The listeners of a mount, oldest first.
    pub async fn listeners(&self, mount: &Arc<MountShared>) -> Vec<ListenerInfo> {
        let mut all = Vec::new();
        for shard in &self.inner.shards {
            let (reply, answer) = oneshot::channel();
            shard.send(Command::List(mount.clone(), reply));
            all.extend(answer.await.unwrap_or_default());
        }
        all.sort_by_key(|listener: &ListenerInfo| listener.id);
        all
    }

    /// Listeners of all mounts.
    pub fn count(&self) -> u64 {
        let load = |shard: &Arc<Mailbox>| shard.listeners.load(Ordering::Relaxed);
        self.inner.shards.iter().map(load).sum()
    }
}

/// The shard for one more listener: the fullest that has room, so that a chunk for a thousand
/// listeners wakes one thread and not all, else the one with the fewest.
fn place(loads: impl Iterator<Item = u64>) -> Option<usize> {
    loads
        .enumerate()
        .min_by_key(|&(_, load)| (load >= ROOM, load.abs_diff(ROOM)))
        .map(|(index, _)| index)
}

/// Listeners to send away, soonest first.
type Departures = BinaryHeap<std::cmp::Reverse<(u64, usize, ListenerId)>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_filled_before_the_next_one() {
        let mut loads = [0_u64; 3];
        let join = |loads: &mut [u64; 3], count: u64| {
            for _ in 0..count {
                let index = place(loads.iter().copied()).expect("there are shards");
                loads[index] += 1;
            }
        };
        join(&mut loads, ROOM);
        assert_eq!(loads, [ROOM, 0, 0]);
        join(&mut loads, 1);
        assert_eq!(loads, [ROOM, 1, 0]);
        // Who leaves makes room for who comes.
        loads[0] -= 10;
        join(&mut loads, 10);
        assert_eq!(loads, [ROOM, 1, 0]);
        // Full ones share.
        join(&mut loads, 2 * ROOM - 1);
        assert_eq!(loads, [ROOM; 3]);
        join(&mut loads, 300);
        assert_eq!(loads, [ROOM + 100; 3]);
        assert_eq!(place(std::iter::empty()), None);
    }
}
