//! Mounts: their names, their stream log, their state and where they are kept.

mod append;
mod describe;
pub mod log;
mod name;
mod properties;
mod registry;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use seamcast_media::demux::Codec;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::config;
use crate::fanout::MountShared;
use crate::ingest::session::Session;
use log::Log;
use properties::Properties;

pub(crate) use append::wall_clock_micros;
pub use describe::container_type;
pub use name::{
    Target, check_name, find, is_reserved, parse_query, percent_decode, percent_decode_bytes,
};
pub(crate) use properties::{duration, limits};
pub use registry::{Full, Registry};
pub use state::{Begin, Due, Phase, SourceId, State};

/// Who feeds a mount.
#[derive(Clone, Debug, Default)]
pub struct SourceInfo {
    /// Address and port, or what feeds it inside the relay.
    pub peer: String,
    /// `PUT`, `SOURCE`, `websocket` and so on.
    pub protocol: &'static str,
    /// `User-Agent`.
    pub agent: String,
    /// What it calls the stream (`ice-*`, `icy-*` headers).
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its genre.
    pub genre: String,
    /// Its home page.
    pub url: String,
}

/// Things counted over a mount's life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Bytes received from sources.
    pub source_bytes: u64,
    /// Chunks appended.
    pub chunks: u64,
    /// Faults in sources' streams.
    pub faults: u64,
    /// Sources that began.
    pub sources: u64,
    /// Sources lost without a proper end.
    pub losses: u64,
    /// Samples of PCM that were no number or beyond full scale.
    pub clamped: u64,
}

/// The source on air, as others reach it.
#[derive(Clone, Debug)]
struct OnAir {
    id: SourceId,
    info: SourceInfo,
    since: SystemTime,
    session: Arc<Mutex<Session>>,
    stop: watch::Sender<Stop>,
}

/// Why a source must stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// It need not.
    #[default]
    No,
    /// Another source took the mount over.
    TakenOver,
    /// An administrator ended it.
    Removed,
}

#[derive(Debug)]
struct Inner {
    state: State,
    on_air: Option<OnAir>,
    /// The newest source, on air or gone.
    last: Option<SourceInfo>,
    /// Bytes and media time of recent chunks, for the bitrate.
    recent: (u64, u64),
    tags: Map<String, Value>,
    /// Told before a source's first audio.
    early_tags: Vec<(String, String)>,
    stats: Stats,
    /// What was recorded, and the file being written.
    recording: Option<(crate::record::Stats, Option<std::path::PathBuf>)>,
}

/// One stream: its log, and who feeds it.
#[derive(Debug)]
pub struct Mount {
    /// Its path, with the leading slash.
    pub name: String,
    /// What listeners read.
    pub log: Arc<Log>,
    /// The same as the fan-out knows it.
    pub shared: Arc<MountShared>,
    /// When it was made.
    pub created: SystemTime,
    properties: RwLock<Properties>,
    inner: Mutex<Inner>,
    /// Whether there has been audio.
    ready: watch::Sender<bool>,
    /// Of the registry that it is in.
    changed: OnceLock<Arc<watch::Sender<()>>>,
}

impl Mount {
    /// A mount without audio.
    /// `before` is the mount's earlier programme, whose counters go on.
    pub fn new(
        name: &str,
        settings: config::Mount,
        state: State,
        before: Option<&Self>,
    ) -> Arc<Self> {
        let epoch = format!("{:016x}", rand::random::<u64>());
        let log = Log::new(epoch, limits(&settings));
        if settings.record {
            log.hold(Some(0));
        }
        let shared = match before {
            Some(before) => before.shared.succeed(log.clone()),
            None => MountShared::new(name, log.clone()),
        };
        Self::with(name, settings, state, shared)
    }

    /// A mount whose programme goes on from an earlier process's log.
    pub(crate) fn restored(
        name: &str,
        settings: config::Mount,
        state: State,
        log: Arc<Log>,
    ) -> Arc<Self> {
        let tags = log.current_tags();
        let mount = Self::with(name, settings, state, MountShared::new(name, log));
        mount.inner().tags = tags.map(|tags| tags.tags.clone()).unwrap_or_default();
        mount.ready.send_replace(true);
        mount
    }

    fn with(
        name: &str,
        settings: config::Mount,
        state: State,
        shared: Arc<MountShared>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            properties: RwLock::new(Properties::new(settings)),
            log: shared.log.clone(),
            shared,
            created: SystemTime::now(),
            inner: Mutex::new(Inner {
                state,
                on_air: None,
                last: None,
                recent: (0, 0),
                tags: Map::new(),
                early_tags: Vec::new(),
                stats: Stats::default(),
                recording: None,
            }),
            ready: watch::Sender::new(false),
            changed: OnceLock::new(),
        })
    }

    /// Has those look again who wait for [`Registry::changes`].
    fn ring(&self) {
        if let Some(changed) = self.changed.get() {
            changed.send_replace(());
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the programme has ended.
    pub fn is_over(&self) -> bool {
        matches!(self.inner().state.phase(), Phase::Ended { .. })
    }

    /// Whether there has been audio.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until there has been audio, at most `limit`.
    pub async fn wait_ready(&self, limit: Duration) -> bool {
        let mut ready = self.ready.subscribe();
        let waiting = ready.wait_for(|ready| *ready);
        matches!(tokio::time::timeout(limit, waiting).await, Ok(Ok(_)))
    }

    /// A source connects. `None` when another is there and takeover is off.
    pub fn connect(&self, takeover: bool) -> Option<SourceId> {
        let mut inner = self.inner();
        if !inner.state.is_awaited() {
            inner.early_tags.clear();
        }
        inner.state.connect(takeover)
    }

    /// What plays while no source is there connects. `None` when one is.
    pub(crate) fn connect_fallback(&self) -> Option<SourceId> {
        self.inner().state.connect_fallback()
    }

    /// Whether a source feeds it now, not only its fallback.
    pub fn has_source(&self) -> bool {
        self.inner().state.has_source()
    }

    /// The codec of its newest audio.
    pub(crate) fn codec(&self) -> Option<Codec> {
        let generation = self.log.current_generation()?;
        Some(match generation.config.codec.as_str() {
            "mp3" => Codec::Mp3,
            _ => Codec::Opus,
        })
    }

    /// A source has its first audio: it goes on air, and the one before it is
    /// closed at a chunk boundary. Returns where it continues, or `None` when
    /// it came too late.
    pub(crate) fn begin(
        &self,
        id: SourceId,
        info: SourceInfo,
        session: &Arc<Mutex<Session>>,
        stop: watch::Sender<Stop>,
    ) -> Option<Begin> {
        let before = {
            let inner = self.inner();
            // Whoever comes too late must not end what is on air.
            if !inner.state.may_begin(id) {
                return None;
            }
            inner.on_air.clone()
        };
        if let Some(before) = before {
            // What it has pending belongs before the new source's first chunk.
            let mut session = before
                .session
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            session.close();
            self.drain(before.id, &mut session);
            drop(session);
            before.stop.send_replace(Stop::TakenOver);
        }
        let mut inner = self.inner();
        let begin = inner.state.begin(id)?;
        inner.stats.sources += 1;
        inner.last = Some(info.clone());
        inner.on_air = Some(OnAir {
            id,
            info,
            since: SystemTime::now(),
            session: session.clone(),
            stop,
        });
        if begin.was_held {
            self.log.online();
        }
        Some(begin)
    }

    /// Counts a source's bytes.
    pub(crate) fn count_source_bytes(&self, bytes: u64) {
        self.inner().stats.source_bytes += bytes;
    }

    /// Whether it is to be recorded, has audio, and the recorder has not begun.
    pub(crate) fn awaits_recorder(&self) -> bool {
        self.settings().record && self.is_ready() && self.inner().recording.is_none()
    }

    /// How its recording stands; nothing when there is none.
    pub(crate) fn recorded(&self) -> crate::record::Stats {
        let inner = self.inner();
        let recording = inner.recording.as_ref();
        recording.map(|(stats, _)| *stats).unwrap_or_default()
    }

    /// Notes how the recording stands.
    pub(crate) fn note_recording(
        &self,
        stats: crate::record::Stats,
        path: Option<&std::path::Path>,
    ) {
        self.inner().recording = Some((stats, path.map(std::path::Path::to_path_buf)));
    }

    /// Notes how many samples a source had clamped.
    pub(crate) fn count_clamped(&self, samples: u64) {
        self.inner().stats.clamped += samples;
    }

    /// A source is gone without a proper end.
    pub(crate) fn lost(&self, id: SourceId, now: Instant) {
        let mut inner = self.inner();
        if self.hold(&mut inner, id, now) {
            inner.stats.losses += 1;
            let grace_ms = self.settings().grace.as_millis() as u64;
            tracing::info!(mount = %self.name, grace_ms, "source lost");
        }
    }

    /// Holds listeners after the source `id`. False when it was not on air.
    fn hold(&self, inner: &mut Inner, id: SourceId, now: Instant) -> bool {
        let grace = self.settings().grace;
        let held = inner.state.lost(id, now, grace);
        if held {
            inner.on_air = None;
            self.log
                .offline(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
            self.ring();
        }
        held
    }

    /// A source ended its programme.
    pub(crate) fn finish(&self, id: SourceId, now: Instant) {
        let mut inner = self.inner();
        if self.settings().fallback.is_some() {
            if self.hold(&mut inner, id, now) {
                tracing::info!(mount = %self.name, "source ended, the fallback follows");
            }
        } else if inner.state.finish(id, now, self.settings().retention) {
            inner.on_air = None;
            self.log.end("source_ended");
            tracing::info!(mount = %self.name, "programme ended");
        }
    }

    /// Ends the programme, or has the fallback go on with it, and tells its
    /// source to stop. False when there is none.
    pub fn remove_source(&self, now: Instant) -> bool {
        let mut inner = self.inner();
        if self.settings().fallback.is_some() && !inner.state.has_source() {
            return false;
        }
        let Some(on_air) = inner.on_air.take() else {
            return false;
        };
        on_air.stop.send_replace(Stop::Removed);
        if self.settings().fallback.is_some() {
            return self.hold(&mut inner, on_air.id, now);
        }
        inner.state.end(now, self.settings().retention);
        self.log.end("removed");
        tracing::info!(mount = %self.name, "source removed");
        true
    }

    /// Nobody will feed it again: the programme ends now, not after the grace
    /// period. Does nothing while a source is there or waits to begin.
    pub(crate) fn give_up(&self, now: Instant) {
        let mut inner = self.inner();
        if inner.state.give_up(now, self.settings().retention) {
            if let Some(on_air) = inner.on_air.take() {
                on_air.stop.send_replace(Stop::Removed);
            }
            self.log.end("removed");
            tracing::info!(mount = %self.name, "programme ended");
        }
    }

    /// When its grace period is over, in one.
    fn ends_at(&self) -> Option<Instant> {
        self.inner().state.ends_at()
    }

    /// Does what is due. True when the mount can be forgotten.
    fn tick(&self, now: Instant) -> bool {
        let mut inner = self.inner();
        match inner.state.due(now) {
            Due::Nothing => false,
            Due::End => {
                inner.state.end(now, self.settings().retention);
                self.log.end("source_lost");
                tracing::info!(mount = %self.name, "grace period is over, programme ended");
                false
            }
            Due::Forget => {
                tracing::debug!(mount = %self.name, "mount forgotten");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests;
