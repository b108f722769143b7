//! Fan-out: one log, many cursors, at most one epoll thread per core.
//!
//! | File | Room |
//! |---|---|
//! | `wire` | bytes around a payload, made once per chunk |
//! | `client` | frames from WebSocket listeners |
//! | `cursor` | where a listener is in the log, to the byte |
//! | `session` | what a listener gets next: headers, chunks, gaps, control |
//! | `seats` | how many may listen |
//! | `shard` | the shell: sockets, epoll, the clock |
//!
//! All but `shard` are pure: bytes in, slices out, `now` an argument.
//!
//! # Use
//!
//! ```ignore
//! let fanout = Fanout::new(Config::default())?;
//! let mount = MountShared::new("/live.opus", Log::new(epoch, limits));
//! let id = fanout.attach(socket.into(), mount.clone(), ListenerRequest {
//!     head: response_head,        // written first, by the shard
//!     unread: bytes_after_the_request,
//!     ..ListenerRequest::new(Framing::WsFramed, peer)
//! });
//! mount.log.append(chunk, now);   // wakes every shard that has a listener
//! ```

mod client;
pub mod cursor;
mod seats;
pub mod session;
mod shard;
pub mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use seamcast_media::units::MediaDuration;

pub use seats::{Full, Seat};
pub use shard::{Fanout, plain_heap, share_heap};
pub use wire::Framing;

use crate::mount::log::{Join, JoinFrom, Log};
use crate::tls::Channel;

/// Whether a listener may miss chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Skips to a sync point when over `max_latency` behind, with a gap.
    #[default]
    Live,
    /// Never skips; closed with a reason when history leaves it.
    Complete,
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "live" => Ok(Self::Live),
            "complete" => Ok(Self::Complete),
            _ => Err(format!("mode={text:?} is unknown; use live or complete")),
        }
    }
}

/// What the fan-out needs to know about all listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Threads; 0 means one per core.
    pub shards: usize,
    /// Whether many sockets are written in one system call where the kernel has that.
    pub io_uring: bool,
    /// Kernel send buffer asked for per socket; small, so that what is
    /// skipped is not yet in the kernel.
    pub send_buffer: usize,
    /// A `live` listener that takes nothing for this long while there is
    /// something for it is closed; a `complete` one after 30 times as long.
    pub stall_timeout: Duration,
    /// How long a listener is given to take a close.
    pub close_timeout: Duration,
    /// WebSocket listeners without traffic for this long are pinged; HTTP
    /// ones get TCP keep-alive.
    pub ping_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 0,
            io_uring: true,
            send_buffer: 32 << 10,
            stall_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(30),
        }
    }
}

/// Counters of one mount; they outlive its logs.
#[derive(Debug, Default)]
pub struct MountStats {
    /// Listeners now.
    pub listeners: AtomicU64,
    /// Places taken: by them, and by those who are on their way.
    pub(super) seats: AtomicU64,
    /// Most listeners at once.
    pub peak: AtomicU64,
    /// Listeners that joined.
    pub joins: AtomicU64,
    /// Listeners that left.
    pub leaves: AtomicU64,
    /// Bytes written to sockets.
    pub bytes: AtomicU64,
    /// Chunks written whole.
    pub chunks: AtomicU64,
    /// Times that a listener was moved past chunks it should have had.
    pub gaps: AtomicU64,
    /// Chunks missed so.
    pub lag_chunks: AtomicU64,
    /// Listeners closed because they were too slow.
    pub too_slow: AtomicU64,
    /// Connections that failed while writing or reading.
    pub errors: AtomicU64,
    /// Underruns that listeners reported.
    pub underruns: AtomicU64,
}

impl MountStats {
    /// Counts a listener in, synchronously with [`Fanout::attach`].
    pub(crate) fn joined(&self) {
        self.joins.fetch_add(1, Ordering::Relaxed);
        let now = self.listeners.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    /// Counts a listener out.
    pub(crate) fn left(&self) {
        self.leaves.fetch_add(1, Ordering::Relaxed);
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A mount as listeners see it: a log and counters.
#[derive(Debug)]
pub struct MountShared {
    /// The mount's path, with its leading slash.
    pub name: Arc<str>,
    /// Its log. A new programme is a new log, thus a new `MountShared`.
    pub log: Arc<Log>,
    /// Its counters.
    pub stats: Arc<MountStats>,
}

impl MountShared {
    /// A mount with counters at zero.
    pub fn new(name: &str, log: Arc<Log>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            log,
            stats: Arc::default(),
        })
    }

    /// Finds a join point, waiting for the disk where [`Log::is_past`]; what
    /// is nearest in memory when the disk fails.
    pub(crate) fn join_past(&self, from: &JoinFrom, burst: MediaDuration) -> Join {
        self.log.join_past(from, burst).unwrap_or_else(|error| {
            self.unreadable(&error);
            self.log.join(from, burst)
        })
    }

    fn unreadable(&self, error: &io::Error) {
        tracing::warn!(mount = %self.name, %error, "cannot read a recording; look at the disk and at data_dir");
    }

    /// The mount's next programme: another log, the same counters.
    pub fn succeed(&self, log: Arc<Log>) -> Arc<Self> {
        Arc::new(Self {
            name: self.name.clone(),
            log,
            stats: self.stats.clone(),
        })
    }
}

/// What a listener had when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Bytes written to it.
    pub bytes: u64,
    /// How long it was there.
    pub stayed: Duration,
}

/// Called once, on a fan-out thread: it must not block.
pub type Farewell = Box<dyn FnOnce(Left) + Send>;

/// What a listener asked for.
pub struct ListenerRequest {
    /// How its bytes are framed.
    pub framing: Framing,
    /// Where it begins.
    pub from: JoinFrom,
    /// Where that is, if it had to be looked for in the log's past.
    pub join: Option<Join>,
    /// Backlog for a join near the live edge.
    pub burst: MediaDuration,
    /// Whether it may miss chunks.
    pub mode: Mode,
    /// How far it may fall behind in [`Mode::Live`].
    pub max_latency: MediaDuration,
    /// Least media per write, for listeners that prefer fewer wake-ups.
    pub min_chunk: MediaDuration,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// Its `User-Agent`; cut to 128 bytes.
    pub user_agent: String,
    /// Response head (200 or 101) to write before anything else.
    pub head: Bytes,
    /// Bytes that were read beyond the request.
    pub unread: Bytes,
    /// Called when it leaves.
    pub farewell: Option<Farewell>,
    /// Its place where listeners are limited.
    pub seat: Option<Seat>,
}

impl ListenerRequest {
    /// A `live` listener with a burst fit for its framing: a player that
    /// measures its prebuffer starts on little, an `<audio>` element wants more.
    pub fn new(framing: Framing, peer: SocketAddr) -> Self {
        let burst = if framing.is_framed() { 1000 } else { 3000 };
        Self {
            framing,
            from: JoinFrom::Live,
            join: None,
            burst: MediaDuration::from_millis(burst),
            mode: Mode::Live,
            max_latency: MediaDuration::from_millis(10_000),
            min_chunk: MediaDuration::ZERO,
            peer,
            user_agent: String::new(),
            head: Bytes::new(),
            unread: Bytes::new(),
            farewell: None,
            seat: None,
        }
    }
}

impl std::fmt::Debug for ListenerRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenerRequest")
            .field("framing", &self.framing)
            .field("from", &self.from)
            .field("mode", &self.mode)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Identity of a listener; unique within a process and below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct ListenerId(pub u64);

/// A listener in a listing.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ListenerInfo {
    /// Its identity.
    pub id: ListenerId,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// Its `User-Agent`.
    pub user_agent: String,
    /// `http`, `icy`, `ws`, `seamcast.v1` or `seamcast.v1+http`.
    pub transport: &'static str,
    /// Seconds since it joined.
    pub connected_secs: f64,
    /// Bytes written to it.
    pub bytes: u64,
    /// Sequence number of the chunk it gets next.
    pub next_seq: u64,
    /// Media between that chunk and the live edge, ms.
    pub behind_ms: u64,
    /// Times that it was moved past chunks.
    pub gaps: u32,
    /// Chunks missed so.
    pub lag_chunks: u64,
    /// What it last reported as buffered, ms.
    pub buffered_ms: Option<f64>,
    /// Underruns it reported.
    pub underruns: u64,
}

/// A listener's socket.
pub enum Socket {
    /// Plain TCP; set to non-blocking by [`Fanout::attach`].
    Tcp(std::net::TcpStream),
    /// TLS after its handshake, with nothing decrypted that was not read.
    Tls(std::net::TcpStream, Box<Channel>),
}

impl From<std::net::TcpStream> for Socket {
    fn from(socket: std::net::TcpStream) -> Self {
        Self::Tcp(socket)
    }
}
