//! A shard's listeners, for who asks.

use seamcast_media::units::MediaTime;

use super::Shard;
use crate::fanout::session::Now;
use crate::fanout::{ListenerInfo, MountShared};

impl Shard {
    pub(super) fn list(&self, now: Now, mount: &MountShared) -> Vec<ListenerInfo> {
        let head = mount.log.head();
        let mut held = Vec::new();
        self.keys_of(mount)
            .into_iter()
            .filter_map(|key| self.conns.get(key))
            .map(|conn| {
                let counters = conn.session.counters();
                held.clear();
                mount.log.read(conn.session.index(), 1, &mut held);
                let reel = conn
                    .reel
                    .as_ref()
                    .map(|reel| reel.from(conn.session.index()));
                let entry = held.first().or_else(|| reel.and_then(<[_]>::first));
                let at = entry.map_or(head.end, |entry| entry.at);
                let report = conn.session.report();
                ListenerInfo {
                    id: conn.id,
                    peer: conn.cold.peer,
                    user_agent: conn.cold.user_agent.to_string(),
                    transport: conn.session.framing().name(),
                    connected_secs: (now.mono_ms - conn.cold.joined_ms) as f64 / 1000.0,
                    bytes: counters.bytes,
                    next_seq: conn.session.next_seq(),
                    behind_ms: MediaTime::since(head.end, at).as_millis(),
                    gaps: counters.gaps,
                    lag_chunks: counters.lag_chunks,
                    buffered_ms: report.map(|report| report.buffered_ms),
                    underruns: report.map_or(0, |report| report.underruns),
                }
            })
            .collect()
    }
}
