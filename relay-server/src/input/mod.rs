//! Audio that the relay opens itself: `[[input]]` of the configuration.

mod backoff;
pub(crate) mod client;
mod fallback;
mod packets;
mod play;
pub(crate) mod playlist;
pub(crate) mod pull;
mod running;
mod tracks;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use seamcast_media::rtp;
use serde_json::{Value, json};
use tokio::sync::Notify;

pub use backoff::Backoff;
pub(crate) use running::apply;

use crate::config::{self, Input, InputKind};
use crate::forward;
use crate::mount::SourceInfo;
use crate::server::{Counters, Relay};

/// Pulls, and likewise fallbacks, that do nothing now and are still listed:
/// whoever asks for one may name any mount.
const MOST_RESTING: usize = 1024;

/// What inputs and forwards are doing, for the API.
#[derive(Debug, Default)]
pub struct Board {
    inputs: RwLock<Vec<Arc<Status>>>,
    /// Where audio is passed on to.
    targets: RwLock<Vec<Arc<forward::Target>>>,
    /// How often those changed.
    targets_version: AtomicU64,
    /// Mounts that are fetched when somebody listens.
    on_demand: RwLock<BTreeMap<String, Arc<Notify>>>,
    running: tokio::sync::Mutex<running::Running>,
}

/// One input as the API shows it.
#[derive(Debug)]
pub struct Status {
    kind: &'static str,
    mount: String,
    state: Mutex<&'static str>,
    error: Mutex<String>,
    /// Datagrams or pieces received.
    pub(crate) packets: AtomicU64,
    /// Bytes in them.
    pub(crate) bytes: AtomicU64,
    /// Datagrams from addresses that may not send, or of a second sender.
    pub(crate) refused: AtomicU64,
    /// Datagrams that could not be read.
    pub(crate) malformed: AtomicU64,
    /// Times it was opened, connected or started.
    pub(crate) starts: AtomicU64,
    rtp: Mutex<Option<(rtp::Stats, rtp::Filled)>>,
}

impl Status {
    fn new(kind: &'static str, mount: &str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            mount: mount.to_owned(),
            state: Mutex::new("waiting"),
            error: Mutex::default(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            rtp: Mutex::default(),
        })
    }

    pub(crate) fn is(&self, state: &'static str) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn is_live(&self) -> bool {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) == "live"
    }

    /// Notes and logs what is wrong, unless it was said last.
    pub(crate) fn failed(&self, why: &str) {
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if *error != why {
            tracing::warn!(mount = %self.mount, input = self.kind, "{why}");
            why.clone_into(&mut error);
        }
    }

    /// Counts a packet that is not taken. Why is said now and then only: there
    /// may be any number of them, each for a reason of its own.
    fn rejected(&self, counter: &AtomicU64, why: impl FnOnce() -> String) {
        let before = counter.fetch_add(1, Ordering::Relaxed);
        if Counters::is_worth_a_line(before + 1) {
            self.failed(&why());
        }
    }

    fn saw_rtp(&self, stats: rtp::Stats, filled: rtp::Filled) {
        *self.rtp.lock().unwrap_or_else(PoisonError::into_inner) = Some((stats, filled));
    }

    fn describe(&self) -> Value {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let error = self
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let rtp = *self.rtp.lock().unwrap_or_else(PoisonError::into_inner);
        let rtp = rtp.map(|(stats, filled)| {
            json!({
                "received": stats.received,
                "lost": stats.lost,
                "duplicates": stats.duplicates,
                "late": stats.late,
                "reordered": stats.reordered,
                "concealed_frames": filled.concealed,
                "silent_frames": filled.silent,
                "hole_frames": filled.holes,
                "unusable": filled.unusable,
                "discontinuities": filled.discontinuities,
            })
        });
        json!({
            "kind": self.kind,
            "mount": self.mount,
            "state": state,
            "error": error,
            "packets": load(&self.packets),
            "bytes": load(&self.bytes),
            "refused": load(&self.refused),
            "malformed": load(&self.malformed),
            "starts": load(&self.starts),
            "rtp": rtp,
        })
    }
}

impl Board {
    fn add(&self, kind: &'static str, mount: &str) -> Arc<Status> {
        let status = Status::new(kind, mount);
        self.inputs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(status.clone());
        status
    }

    /// The entry of what is pulled into `mount`; there is one for each mount.
    pub(crate) fn pull(&self, mount: &str) -> Arc<Status> {
        self.only("pull", mount)
    }

    /// A new entry in place of the mount's last of that kind.
    fn only(&self, kind: &'static str, mount: &str) -> Arc<Status> {
        let status = Status::new(kind, mount);
        let mut inputs = self.inputs.write().unwrap_or_else(PoisonError::into_inner);
        inputs.retain(|other| other.kind != kind || other.mount != mount);
        let rests = |other: &Status| other.kind == kind && !other.is_live();
        let resting = inputs.iter().filter(|other| rests(other)).count();
        let mut surplus = (resting + 1).saturating_sub(MOST_RESTING);
        // The oldest go first.
        inputs.retain(|other| {
            let goes = surplus > 0 && rests(other);
            surplus -= usize::from(goes);
            !goes
        });
        inputs.push(status.clone());
        status
    }

    /// Makes `mount` one that is fetched when [`Board::want`] says so.
    pub(crate) fn on_demand(&self, mount: &str) -> Arc<Notify> {
        let wanted = Arc::new(Notify::new());
        self.on_demand
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(mount.to_owned(), wanted.clone());
        wanted
    }

    /// Whether `mount` is fetched on demand.
    pub(crate) fn fetches(&self, mount: &str) -> bool {
        let on_demand = self.on_demand.read();
        let on_demand = on_demand.unwrap_or_else(PoisonError::into_inner);
        on_demand.contains_key(mount)
    }

    /// Somebody wants to hear `mount`. False when it is not fetched on demand.
    pub(crate) fn want(&self, mount: &str) -> bool {
        let on_demand = self
            .on_demand
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let wanted = on_demand.get(mount);
        wanted.inspect(|wanted| wanted.notify_one()).is_some()
    }

    /// Adds to or takes from the targets of forwards.
    pub(crate) fn change_targets(&self, change: impl FnOnce(&mut Vec<Arc<forward::Target>>)) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut targets);
        self.targets_version.fetch_add(1, Ordering::Release);
    }

    /// The targets that `which` picks.
    pub(crate) fn targets(
        &self,
        which: impl Fn(&forward::Target) -> bool,
    ) -> Vec<Arc<forward::Target>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        let picked = targets.iter().filter(|target| which(target));
        picked.cloned().collect()
    }

    /// Another number whenever the targets changed.
    pub(crate) fn targets_version(&self) -> u64 {
        self.targets_version.load(Ordering::Acquire)
    }

    /// Every input: an array.
    pub fn inputs(&self) -> Value {
        let inputs = self.inputs.read().unwrap_or_else(PoisonError::into_inner);
        Value::Array(inputs.iter().map(|input| input.describe()).collect())
    }

    /// Every target of a forward: an array.
    pub fn forwards(&self) -> Value {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        Value::Array(targets.iter().map(|target| target.describe()).collect())
    }
}

/// Opens everything that the configuration names. What cannot be opened is
/// said in the log and tried again.
pub(crate) async fn start(relay: &Arc<Relay>) {
    running::apply(relay).await;
    tokio::spawn(fallback::watch(relay.clone()));
}

/// Properties of the mount that `input` feeds: voice is cut shorter, unless
/// the mount has an entry of its own.
pub(crate) fn mount_settings(config: &config::Config, input: &Input) -> config::Mount {
    let mut settings = config.mount(&input.mount);
    let own = config.mounts.iter().any(|(name, _)| *name == input.mount);
    if matches!(input.kind, InputKind::Udp | InputKind::Rtp) && !own {
        settings.chunk = Duration::from_millis(40);
        settings.prebuffer = Duration::from_secs(1);
    }
    if !input.chunk.is_zero() {
        settings.chunk = input.chunk;
    }
    settings
}

/// Properties that the configuration gives the mount `name`.
pub(crate) fn settings_of(config: &config::Config, name: &str) -> config::Mount {
    let input = config.inputs.iter().find(|input| input.mount == name);
    input.map_or_else(|| config.mount(name), |input| mount_settings(config, input))
}

/// How an input presents itself.
pub(crate) fn info(input: &Input, peer: String) -> SourceInfo {
    SourceInfo {
        peer,
        protocol: input.kind.name(),
        ..SourceInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_not_listed_for_ever() {
        let board = Board::default();
        let input = board.add("udp", "/voice.opus");
        let live = board.pull("/live.opus");
        live.is("live");
        for number in 0..MOST_RESTING + 10 {
            board.pull(&format!("/{number}.opus")).is("ended");
        }
        let last = board.pull("/last.opus");
        let listed = board.inputs.read().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(listed.len(), 2 + MOST_RESTING);
        for kept in [&input, &live, &last] {
            assert!(listed.iter().any(|other| Arc::ptr_eq(other, kept)));
        }
        assert_eq!(listed[2].mount, "/11.opus", "the oldest are gone");
    }
}
