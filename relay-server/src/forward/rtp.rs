//! RTP made from a mount's Opus or MP3, each packet at its own time.

mod packets;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Fan;
use super::follow::Follower;
use crate::config::Forward;
use crate::mount::log::Kind;
use crate::server::Relay;
use packets::{Packets, Timed};

/// A packet is sent at most this much before its time; chunks hold several.
const AHEAD: Duration = Duration::from_millis(5);
/// Further behind or before the clock than this, the clock is set anew.
const OFF: Duration = Duration::from_secs(1);

/// Sends until the relay drains.
pub(super) async fn run(relay: Arc<Relay>, forward: Forward, mut fan: Fan) {
    tokio::select! {
        () = relay.drained() => {}
        () = follow(&relay, &forward, &mut fan) => {}
    }
}

async fn follow(relay: &Arc<Relay>, forward: &Forward, fan: &mut Fan) {
    let mut follower = Follower::new(relay.clone(), &forward.mount);
    let mut packets: Option<Packets> = None;
    let mut ready: Vec<Timed> = Vec::new();
    // Wall clock of the RTP time `1`.
    let mut clock: Option<(Instant, u32)> = None;
    loop {
        let (fresh, entries) = follower.next().await;
        if let Some(why) = follower.complaint() {
            fan.failed(&why);
        }
        if fresh {
            if let Some(packets) = &mut packets {
                packets.restart();
            }
            clock = None;
        }
        for entry in entries {
            let Kind::Chunk(chunk) = &entry.kind else {
                continue;
            };
            let codec = &chunk.generation.config.codec;
            // Another codec has another clock, and so is another stream.
            if packets
                .as_ref()
                .is_none_or(|packets| !packets.is_for(codec))
            {
                packets = Some(Packets::new(codec, forward.payload_type));
                clock = None;
            }
            let Some(packets) = &mut packets else {
                continue;
            };
            if let Err(why) = packets.cut(chunk, &mut ready) {
                fan.failed(why);
            }
            let rate = u64::from(packets.rate());
            for Timed { time, bytes } in ready.drain(..) {
                let now = Instant::now();
                let (origin, first) = *clock.get_or_insert((now, time));
                let since = u64::from(time.wrapping_sub(first));
                let due = origin + Duration::from_micros(since * 1_000_000 / rate);
                let off = due.max(now) - due.min(now);
                // Re-set also once an hour, long before the difference wraps.
                if off > OFF || since > rate * 3600 {
                    clock = Some((now, time));
                } else if due > now + AHEAD {
                    tokio::time::sleep_until(due).await;
                }
                fan.send(&bytes);
            }
        }
    }
}
