//! Audio passed on to others: `[[forward]]` of the configuration.

pub(crate) mod follow;
mod icecast;
mod rtp;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::config::{Forward, ForwardKind};
use crate::remote::Destination;
use crate::server::Relay;

/// How often a target's name is looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);

/// One target of a forward.
#[derive(Debug)]
pub struct Target {
    kind: &'static str,
    mount: String,
    to: String,
    address: RwLock<Option<SocketAddr>>,
    error: RwLock<String>,
    packets: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

impl Target {
    fn new(kind: ForwardKind, mount: &str, to: &str) -> Arc<Self> {
        Arc::new(Self {
            kind: kind.name(),
            mount: mount.to_owned(),
            to: to.to_owned(),
            address: RwLock::new(to.parse().ok()),
            error: RwLock::default(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        })
    }

    fn sent(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a failure, and logs it unless it was said last.
    fn failed(&self, why: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut error = self.error.write().unwrap_or_else(PoisonError::into_inner);
        if *error != why {
            tracing::warn!(mount = %self.mount, to = %self.to, "forwarding: {why}");
            why.clone_into(&mut error);
        }
    }

    pub(crate) fn describe(&self) -> Value {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "kind": self.kind,
            "mount": self.mount,
            "to": self.to,
            "packets": load(&self.packets),
            "bytes": load(&self.bytes),
            "errors": load(&self.errors),
            "error": *self.error.read().unwrap_or_else(PoisonError::into_inner),
        })
    }
}

/// Duplicates datagrams to the targets of a mount.
pub(crate) struct Fan {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    targets: Vec<Arc<Target>>,
    /// Whose targets they are, when all forwards of a mount are meant.
    of: Option<(Arc<Relay>, String, ForwardKind)>,
    version: u64,
}

impl Fan {
    /// One for every `[[forward]]` of that kind and mount, those that are
    /// configured later, too.
    pub(crate) fn of(relay: &Arc<Relay>, mount: &str, kind: ForwardKind) -> Self {
        let mut fan = Self::to(Vec::new());
        fan.of = Some((relay.clone(), mount.to_owned(), kind));
        // Not the board's: the first packet looks.
        fan.version = u64::MAX;
        fan
    }

    /// One for these targets.
    pub(crate) fn to(targets: Vec<Arc<Target>>) -> Self {
        let mut fan = Self {
            v4: None,
            v6: None,
            targets: Vec::new(),
            of: None,
            version: 0,
        };
        fan.aim(targets);
        fan
    }

    fn aim(&mut self, targets: Vec<Arc<Target>>) {
        self.targets = targets;
        if !self.targets.is_empty() && self.v4.is_none() && self.v6.is_none() {
            self.v4 = open((Ipv4Addr::UNSPECIFIED, 0).into());
            self.v6 = open((Ipv6Addr::UNSPECIFIED, 0).into());
        }
    }

    fn look(&mut self) {
        let Some((relay, mount, kind)) = &self.of else {
            return;
        };
        let version = relay.board.targets_version();
        if version != self.version {
            self.version = version;
            let targets = relay
                .board
                .targets(|target| target.kind == kind.name() && target.mount == *mount);
            self.aim(targets);
        }
    }

    /// Notes for each what is wrong.
    fn failed(&self, why: &str) {
        for target in &self.targets {
            target.failed(why);
        }
    }

    /// Sends a copy to each. One that cannot be reached is counted and does
    /// not hold up the others.
    pub(crate) fn send(&mut self, datagram: &[u8]) {
        self.look();
        for target in &self.targets {
            let address = *target
                .address
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            let Some(address) = address else {
                target.failed("its name is not resolved yet");
                continue;
            };
            let socket = if address.is_ipv4() {
                &self.v4
            } else {
                &self.v6
            };
            let Some(socket) = socket else {
                target.failed("there is no socket for its kind of address");
                continue;
            };
            match socket.send_to(datagram, address) {
                Ok(len) => target.sent(len),
                Err(error) => target.failed(&error.to_string()),
            }
        }
    }
}

fn open(address: SocketAddr) -> Option<UdpSocket> {
    let socket = UdpSocket::bind(address).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

async fn resolve(relay: Arc<Relay>, target: Arc<Target>) {
    loop {
        match tokio::net::lookup_host(&target.to).await {
            Ok(mut found) => {
                let mut address = target
                    .address
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                // IPv4 first: it is what voice gear listens at.
                let all: Vec<SocketAddr> = found.by_ref().collect();
                let first = all.iter().find(|a| a.is_ipv4()).or(all.first());
                *address = first.copied().or(*address);
            }
            Err(error) => target.failed(&format!("its name cannot be resolved: {error}")),
        }
        tokio::select! {
            () = relay.drained() => return,
            () = tokio::time::sleep(RESOLVE_EVERY) => {}
        }
    }
}

/// Makes a forward's targets known, and starts it unless an input drives it.
pub(crate) fn start(
    relay: &Arc<Relay>,
    forward: &Forward,
    driven: bool,
) -> (Vec<Arc<Target>>, Vec<JoinHandle<()>>) {
    let (mount, kind) = (&forward.mount, forward.kind);
    let (mut targets, mut tasks) = (Vec::new(), Vec::new());
    if kind == ForwardKind::Icecast {
        let to = forward.url.reveal().parse();
        let shown = to.map_or_else(|why| why, |to: Destination| to.shown());
        let target = Target::new(kind, mount, &shown);
        let run = icecast::run(relay.clone(), forward.clone(), target.clone());
        tasks.push(tokio::spawn(run));
        targets.push(target);
    }
    for to in &forward.to {
        let target = Target::new(kind, mount, to);
        if to.parse::<SocketAddr>().is_err() {
            tasks.push(tokio::spawn(resolve(relay.clone(), target.clone())));
        }
        targets.push(target);
    }
    match kind {
        ForwardKind::Rtp if !driven => {
            let run = rtp::run(relay.clone(), forward.clone(), Fan::to(targets.clone()));
            tasks.push(tokio::spawn(run));
        }
        _ => {}
    }
    relay
        .board
        .change_targets(|all| all.extend(targets.iter().cloned()));
    (targets, tasks)
}
