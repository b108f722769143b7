//! Audio passed on to others: `[[forward]]` of the configuration.

pub(crate) mod follow;
mod icecast;
mod rtp;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{ForwardKind, InputKind};
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
#[derive(Debug, Default)]
pub(crate) struct Fan {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    targets: Vec<Arc<Target>>,
}

impl Fan {
    /// One for every `[[forward]]` of that kind and mount.
    pub(crate) async fn new(relay: &Arc<Relay>, mount: &str, kind: ForwardKind) -> Self {
        let board = &relay.board.targets;
        let targets: Vec<Arc<Target>> = board
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|target| target.kind == kind.name() && target.mount == mount)
            .cloned()
            .collect();
        if targets.is_empty() {
            return Self::default();
        }
        Self {
            v4: open((Ipv4Addr::UNSPECIFIED, 0).into()),
            v6: open((Ipv6Addr::UNSPECIFIED, 0).into()),
            targets,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Sends a copy to each. One that cannot be reached is counted and does
    /// not hold up the others.
    pub(crate) fn send(&self, datagram: &[u8]) {
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

/// Makes the targets known, and starts what no input drives.
pub(crate) fn start(relay: &Arc<Relay>) {
    let config = relay.config();
    for forward in &config.forwards {
        let mut own = Vec::new();
        for to in &forward.to {
            let target = Target::new(forward.kind, &forward.mount, to);
            if to.parse::<SocketAddr>().is_err() {
                tokio::spawn(resolve(relay.clone(), target.clone()));
            }
            own.push(target);
        }
        let mut board = relay
            .board
            .targets
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        board.extend(own);
        drop(board);
        let fed_by = |kind: InputKind| {
            let mut inputs = config.inputs.iter();
            inputs.any(|input| input.kind == kind && input.mount == forward.mount)
        };
        match forward.kind {
            ForwardKind::Rtp if !fed_by(InputKind::Rtp) => {
                tokio::spawn(rtp::run(relay.clone(), forward.clone()));
            }
            ForwardKind::Udp if !fed_by(InputKind::Udp) => {
                tracing::warn!(mount = %forward.mount,
                    "a forward of kind \"udp\" copies the packets of an input of kind \"udp\"; \
                     this mount has none");
            }
            ForwardKind::Icecast => {
                let shown = icecast::shown(forward.url.reveal());
                let target = Target::new(forward.kind, &forward.mount, &shown);
                let mut board = relay
                    .board
                    .targets
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                board.push(target.clone());
                drop(board);
                tokio::spawn(icecast::run(relay.clone(), forward.clone(), target));
            }
            _ => {}
        }
    }
}
