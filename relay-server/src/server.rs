//! The relay as a whole: what its parts share, and running it.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

use crate::access::AccessLog;
use crate::config::Config;
use crate::demo;
use crate::fanout::{self, Fanout};
use crate::files::{self, Files};
use crate::front;
use crate::input;
use crate::mount::Registry;
use crate::record::Recorder;
use crate::restart::Successor;
use crate::tls;

/// How often mounts are looked at when nothing happens to them.
const TICK: Duration = Duration::from_secs(1);

/// What every connection needs.
pub struct Relay {
    config: RwLock<Arc<Config>>,
    tls: RwLock<Option<Arc<ServerConfig>>>,
    pub(crate) handshakes: tls::Handshakes,
    /// The mounts.
    pub mounts: Registry,
    /// Where listeners are.
    pub fanout: Fanout,
    /// Who listened, if that is written down.
    pub access: Option<Arc<AccessLog>>,
    /// The files below the data folder, if there is one.
    pub files: Option<Files>,
    /// What inputs and forwards are doing.
    pub board: input::Board,
    /// When it started.
    pub started: Instant,
    /// The same for people.
    pub since: SystemTime,
    /// Connections that are not listeners.
    pub connections: AtomicU64,
    /// Counters for `/metrics`.
    pub counters: Counters,
    draining: watch::Sender<bool>,
}

/// Things counted since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections turned away because there were too many.
    pub turned_away: AtomicU64,
    /// Source requests refused.
    pub refused_sources: AtomicU64,
    /// Bytes received from sources.
    pub source_bytes: AtomicU64,
    /// Faults in sources' streams.
    pub faults: AtomicU64,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

impl Counters {
    /// Adds one.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the `count`th time of something is worth a line in the log: the
    /// 1st, 2nd … 10th, 20th … 100th, 200th …, so that who does wrong does not
    /// flood it.
    pub(crate) fn is_worth_a_line(count: u64) -> bool {
        count.is_multiple_of(10_u64.saturating_pow(count.max(1).ilog10()))
    }
}

impl Relay {
    /// A relay without connections.
    ///
    /// # Errors
    /// When the certificate is unusable, the fan-out threads cannot be started or the data folder
    /// cannot be read.
    pub fn new(config: Config) -> std::io::Result<Arc<Self>> {
        let tls = tls::acceptor(&config).map_err(std::io::Error::other)?;
        let fanout = Fanout::new(fanout::Config {
            shards: usize::try_from(config.shards).unwrap_or(0),
            io_uring: config.io_uring,
            ..fanout::Config::default()
        })?;
        let files = match &config.data_dir {
            Some(root) => {
                std::fs::create_dir_all(root).map_err(|error| {
                    let root = root.display();
                    std::io::Error::new(
                        error.kind(),
                        format!("cannot make {root}; choose another with --data-dir: {error}"),
                    )
                })?;
                Some(Files::new(&files::Config {
                    root: root.clone(),
                    idle: config.files_idle,
                    hidden: config.config_file.iter().cloned().collect(),
                })?)
            }
            None => None,
        };
        let access = match &config.access_log {
            Some(path) => Some(AccessLog::open(path, config.data_dir.as_deref())?),
            None => None,
        };
        Ok(Arc::new(Self {
            fanout,
            access,
            files,
            config: RwLock::new(Arc::new(config)),
            tls: RwLock::new(tls),
            handshakes: tls::Handshakes::new(),
            mounts: Registry::default(),
            board: input::Board::default(),
            started: Instant::now(),
            since: SystemTime::now(),
            connections: AtomicU64::new(0),
            counters: Counters::default(),
            draining: watch::Sender::new(false),
        }))
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<Config> {
        self.config
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the configuration and reads the certificate again; running sources and listeners
    /// go on, inputs and forwards that it no longer names stop, new ones start.
    ///
    /// # Errors
    /// When the certificate is unusable; everything stays as it was then.
    pub fn reconfigure(self: &Arc<Self>, mut config: Config) -> Result<(), String> {
        let tls = tls::acceptor(&config)?;
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        let kept = config.keep_from(&self.config());
        if !kept.is_empty() {
            let keys = kept.join(", ");
            tracing::warn!("a change of {keys} takes effect at the next start only");
        }
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        let config = self.config();
        for mount in self.mounts.all() {
            mount.reconfigure(input::settings_of(&config, &mount.name));
        }
        self.mounts.ring();
        let relay = self.clone();
        tokio::spawn(async move { input::apply(&relay).await });
        Ok(())
    }

    /// What accepts TLS, if there is a certificate.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        tls.clone()
    }

    /// Whether the relay is shutting down.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Resolves when the relay begins to shut down.
    pub async fn drained(&self) {
        let mut draining = self.draining.subscribe();
        let _ = draining.wait_for(|draining| *draining).await;
    }
}

/// Listens on `address`, with a queue that holds a join storm; the system may
/// cut it (`net.core.somaxconn`).
///
/// # Errors
/// When the address cannot be had.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    const QUEUE: u32 = 8192;
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Where a relay is reached.
#[derive(Debug)]
pub struct Listeners {
    /// By listeners and sources.
    pub http: TcpListener,
    /// By SHOUTcast sources, if somebody listens there already; else the relay
    /// does where its configuration says.
    pub shoutcast: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(http: TcpListener) -> Self {
        let shoutcast = None;
        Self { http, shoutcast }
    }
}

impl Listeners {
    /// The socket for SHOUTcast sources, as it is configured now.
    async fn shoutcast(
        passed: Option<TcpListener>,
        config: &Config,
    ) -> std::io::Result<Option<TcpListener>> {
        let Some(address) = config.shoutcast_listen else {
            return Ok(None);
        };
        let is_there = |listener: &TcpListener| {
            let wanted =
                |at: SocketAddr| address.port() == 0 && address.ip() == at.ip() || address == at;
            listener.local_addr().is_ok_and(wanted)
        };
        if let Some(passed) = passed.filter(is_there) {
            return Ok(Some(passed));
        }
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let why = format!(
                "cannot listen on {address} for SHOUTcast; choose another with shoutcast_listen: {error}"
            );
            std::io::Error::new(error.kind(), why)
        })?;
        Ok(Some(listener))
    }
}

/// How a relay leaves.
#[derive(Debug)]
pub enum Leaving {
    /// For good, or until somebody starts it again.
    Stop,
    /// For a new process that goes on at once.
    HandOver(Successor),
}

/// How long sources are given to stop before their last audio is recorded.
const SOURCES_STOP: Duration = Duration::from_secs(2);
/// How long those who are still there at the end are waited for, until the access log has them.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Listeners that come back to a successor in a second.
const RETURNS_PER_SECOND: f64 = 1000.0;

/// Serves on `listener` until `shutdown` resolves, then drains.
///
/// # Errors
/// When the fan-out threads or the demo cannot be started.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let relay = Relay::new(config)?;
    let leaving = async {
        shutdown.await;
        Leaving::Stop
    };
    serve(relay, listener, leaving).await
}

/// As [`run`], with a relay that the caller keeps a handle of.
///
/// # Errors
/// As [`run`], and when a successor cannot be started.
pub async fn serve(
    relay: Arc<Relay>,
    listeners: impl Into<Listeners>,
    shutdown: impl Future<Output = Leaving>,
) -> std::io::Result<()> {
    let Listeners { http, shoutcast } = listeners.into();
    // Before anybody connects: programmes go on where they were.
    let recorder = match &relay.config().data_dir {
        Some(root) => Some(Recorder::start(&relay, root)?),
        None => None,
    };
    let accept = tokio::spawn(front::accept(relay.clone(), http));
    let ticking = relay.clone();
    let tick = tokio::spawn(async move {
        let mut changes = ticking.mounts.changes();
        loop {
            let now = Instant::now();
            let lax = now + TICK;
            let next = ticking.mounts.tick(now).map_or(lax, |next| next.min(lax));
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    });
    input::start(&relay).await;
    if relay.config().demo {
        tokio::spawn(demo::play(relay.clone()));
    }
    let shoutcast = Listeners::shoutcast(shoutcast, &relay.config()).await?;
    // For a successor: so it never stops listening.
    let handed = shoutcast
        .as_ref()
        .map(|listener| listener.as_fd().try_clone_to_owned());
    let handed = handed.transpose()?;
    let shoutcast =
        shoutcast.map(|listener| tokio::spawn(front::accept_shoutcast(relay.clone(), listener)));
    let leaving = match shutdown.await {
        Leaving::Stop => {
            drop(handed);
            Leaving::Stop
        }
        Leaving::HandOver(successor) => Leaving::HandOver(successor.with_shoutcast(handed)),
    };
    relay.draining.send_replace(true);
    accept.abort();
    if let Some(shoutcast) = shoutcast {
        shoutcast.abort();
    }
    let left = Instant::now();
    let limit = relay.config().drain;
    // Sources go first: what they sent is then recorded to the end, and a
    // successor knows all of it.
    while relay.mounts.all().iter().any(|mount| mount.is_live())
        && left.elapsed() < limit.min(SOURCES_STOP)
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if let Some(recorder) = recorder {
        // It writes to disk, so not on a thread that others wait for.
        let _ = tokio::task::spawn_blocking(move || recorder.finish()).await;
    }
    let started = match leaving {
        Leaving::Stop => {
            // Players come back after a moment, spread out, when the relay is up again.
            let spread = limit.mul_f64(0.5);
            relay.fanout.drain(Duration::from_secs(1), spread, None);
            Ok(())
        }
        Leaving::HandOver(successor) => {
            let started = successor.start();
            // There is nothing to wait for: only their number spreads them.
            let crowd = relay.fanout.count() as f64 / RETURNS_PER_SECOND;
            let spread = Duration::from_secs_f64(crowd).min(limit.mul_f64(0.5));
            relay.fanout.drain(Duration::ZERO, spread, None);
            started.map(|pid| {
                println!("successor: {pid}");
                tracing::info!(pid, "another process goes on");
            })
        }
    };
    let busy = || relay.connections.load(Ordering::Relaxed) > 0 || relay.fanout.count() > 0;
    while busy() && left.elapsed() < limit {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tick.abort();
    if let Some(access) = relay.access.clone() {
        relay.fanout.stop();
        let until = Instant::now() + LAST_LINES;
        while relay.fanout.count() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let _ = tokio::task::spawn_blocking(move || access.finish()).await;
    }
    started
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    /// A request may be read just when the relay begins to leave.
    #[tokio::test]
    async fn who_has_asked_is_answered_when_the_relay_leaves() {
        let relay = Relay::new(Config::default()).expect("a relay");
        let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("bound");
        let accept = tokio::spawn(front::accept(relay.clone(), listener));
        relay.draining.send_replace(true);
        for _ in 0..20 {
            let mut socket = TcpStream::connect(address).await.expect("accepted");
            let request = b"GET /healthz HTTP/1.0\r\n\r\n";
            socket.write_all(request).await.expect("written");
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.expect("read");
            assert!(answer.contains(" 200 "), "{answer:?}");
        }
        accept.abort();
    }
}
