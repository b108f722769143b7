//! A mount as the API shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::log::Status;
use super::{Mount, Phase};

/// Content-Type of a plain stream. Without `codecs=opus`: Icecast as a target
/// and icecast-metadata-player as a listener do not know the type with it.
pub fn container_type(container: &str) -> &'static str {
    match container {
        "ogg" => "audio/ogg",
        _ => "audio/mpeg",
    }
}

impl Mount {
    /// Whether a source feeds it now.
    pub fn is_live(&self) -> bool {
        self.inner().state.is_live()
    }

    /// The tag `name` in force at the live edge.
    pub fn tag(&self, name: &str) -> Option<String> {
        let inner = self.inner();
        inner
            .tags
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    }

    /// The newest source, on air or gone.
    pub fn source(&self) -> Option<super::SourceInfo> {
        self.inner().last.clone()
    }

    /// Counted so far.
    pub fn stats(&self) -> super::Stats {
        self.inner().stats
    }

    /// bit/s of recent chunks.
    pub fn bitrate(&self) -> u64 {
        let (bytes, ticks) = self.inner().recent;
        let per_second = u128::from(seamcast_protocol::TICKS_PER_SECOND) * 8;
        let rate = (u128::from(bytes) * per_second).checked_div(u128::from(ticks));
        rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0)
    }

    /// Everything the API says about it; only the administrator is told of
    /// addresses and programs.
    pub fn describe(&self, admin: bool) -> Value {
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let fanout = &self.shared.stats;
        let bitrate = self.bitrate();
        let head = self.log.head();
        let inner = self.inner();
        let state = match inner.state.phase() {
            Phase::Waiting => "waiting",
            Phase::Live => "live",
            Phase::Held { .. } => "offline",
            Phase::Ended { .. } => "ended",
        };
        // After a restart only the log knows what it carries.
        let generation = self.log.current_generation();
        let config = generation.as_ref().map(|generation| &generation.config);
        let container = config.map_or("", |config| &config.container);
        let codec = config.map_or("", |config| &config.codec);
        let source = inner.on_air.as_ref().map(|on_air| {
            let mut source = json!({
                "protocol": on_air.info.protocol,
                "connected_at": unix_seconds(on_air.since),
            });
            if admin {
                source["peer"] = on_air.info.peer.as_str().into();
                source["user_agent"] = on_air.info.agent.as_str().into();
            }
            source
        });
        let recording = inner.recording.as_ref().map(|(stats, path)| {
            json!({
                "file": path.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy()),
                "seconds": stats.recorded.as_secs_f64(),
                "missed_seconds": stats.missed.as_secs_f64(),
                "bytes": stats.bytes,
                "files": stats.files,
                "errors": stats.errors,
            })
        });
        let info = inner.last.clone().unwrap_or_default();
        let text = |name: &str| inner.tags.get(name).and_then(Value::as_str).unwrap_or("");
        let stats = inner.stats;
        json!({
            "mount": self.name,
            "state": state,
            "live": state == "live",
            "fallback": state == "live" && !inner.state.has_source(),
            "public": self.settings().public,
            "closed": crate::auth::is_closed(&self.settings()),
            "name": info.name,
            "description": info.description,
            "genre": info.genre,
            "url": info.url,
            "title": text("TITLE"),
            "artist": text("ARTIST"),
            "tags": inner.tags,
            "container": container,
            "codec": codec,
            "content_type": if container.is_empty() { "" } else { container_type(container) },
            "sample_rate": config.map_or(0, |config| config.sample_rate),
            "channels": config.map_or(0, |config| config.channels),
            "bitrate": bitrate,
            "listeners": counted(&fanout.listeners),
            "peak_listeners": counted(&fanout.peak),
            "max_listeners": self.settings().max_listeners,
            "prebuffer": self.settings().prebuffer.as_secs_f64(),
            "epoch": self.log.epoch(),
            "generation": generation.as_ref().map_or(0, |generation| generation.number),
            "oldest": head.first().seq,
            "head": head.next_seq,
            "media_time": head.end.as_secs_f64(),
            "seekable": [head.first().at.as_secs_f64(), head.end.as_secs_f64()],
            "history_bytes": head.bytes,
            "ended": head.status == Status::Ended,
            "created_at": unix_seconds(self.created),
            "source": source,
            "recording": recording,
            "stats": {
                "source_bytes": stats.source_bytes,
                "chunks": stats.chunks,
                "faults": stats.faults,
                "sources": stats.sources,
                "losses": stats.losses,
                "clamped_samples": stats.clamped,
                "joins": counted(&fanout.joins),
                "sent_bytes": counted(&fanout.bytes),
                "gaps": counted(&fanout.gaps),
                "too_slow": counted(&fanout.too_slow),
                "underruns": counted(&fanout.underruns),
            },
        })
    }
}

fn unix_seconds(time: std::time::SystemTime) -> f64 {
    time.duration_since(std::time::SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
