//! RTP made from a mount's Opus (RFC 7587), each packet at its own time.

use std::sync::Arc;
use std::time::Duration;

use seamcast_media::demux::{Demuxer, Event};
use seamcast_media::opus;
use seamcast_media::rtp::Packet;
use tokio::time::Instant;

use super::Fan;
use super::follow::Follower;
use crate::config::Forward;
use crate::mount::log::Kind;
use crate::server::Relay;

/// A packet is sent at most this much before its time; chunks hold several.
const AHEAD: Duration = Duration::from_millis(5);
/// Further behind or before the clock than this, the clock is set anew.
const OFF: Duration = Duration::from_secs(1);

/// Turns Opus packets into RTP: sequence numbers and times of one SSRC.
#[derive(Debug)]
struct Packetizer {
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    /// RTP time of the link's position 0.
    base: u32,
    end: u32,
    marker: bool,
}

impl Packetizer {
    fn new(payload_type: u8, ssrc: u32, sequence: u16, base: u32) -> Self {
        Self {
            payload_type,
            ssrc,
            sequence,
            base,
            end: base,
            marker: true,
        }
    }

    /// A new link begins at `start` and follows what was sent.
    fn link(&mut self, start: u64) {
        self.base = self.end.wrapping_sub(start as u32);
    }

    fn packet(&mut self, start: u64, duration: u32, payload: &[u8]) -> Vec<u8> {
        let rtp_time = self.base.wrapping_add(start as u32);
        self.end = rtp_time.wrapping_add(duration);
        let packet = Packet {
            payload_type: self.payload_type,
            // RFC 7587 §4.1: set on the first packet of a talkspurt.
            marker: std::mem::take(&mut self.marker),
            sequence: self.sequence,
            rtp_time,
            ssrc: self.ssrc,
            payload,
        };
        self.sequence = self.sequence.wrapping_add(1);
        packet.to_bytes()
    }
}

/// Sends until the relay drains.
pub(super) async fn run(relay: Arc<Relay>, forward: Forward, mut fan: Fan) {
    tokio::select! {
        () = relay.drained() => {}
        () = follow(&relay, &forward, &mut fan) => {}
    }
}

async fn follow(relay: &Arc<Relay>, forward: &Forward, fan: &mut Fan) {
    let mut follower = Follower::new(relay.clone(), &forward.mount);
    let (ssrc, sequence, base) = (rand::random(), rand::random(), rand::random());
    let mut packetizer = Packetizer::new(forward.payload_type, ssrc, sequence, base);
    let mut demuxer = Demuxer::new();
    let mut generation = None;
    // Wall clock of the RTP time `1`.
    let mut clock: Option<(Instant, u32)> = None;
    loop {
        let (fresh, entries) = follower.next().await;
        if fresh {
            generation = None;
            packetizer.marker = true;
            clock = None;
        }
        for entry in entries {
            let Kind::Chunk(chunk) = &entry.kind else {
                continue;
            };
            if chunk.generation.config.codec != "opus" {
                for target in &fan.targets {
                    target.failed("rtp is made from Opus; the mount carries another codec");
                }
                continue;
            }
            let mut linked = false;
            if generation != Some(chunk.generation.number) {
                generation = Some(chunk.generation.number);
                demuxer = Demuxer::new();
                demuxer.push(&chunk.generation.config.headers);
                linked = true;
            }
            demuxer.push(chunk.wire.payload());
            while let Some(event) = demuxer.poll() {
                let Event::Packet(packet) = event else {
                    continue;
                };
                if linked {
                    packetizer.link(packet.start.0);
                    linked = false;
                }
                let bytes = packetizer.packet(packet.start.0, packet.duration, &packet.payload);
                let time = packetizer.end.wrapping_sub(packet.duration);
                let now = Instant::now();
                let (origin, first) = *clock.get_or_insert((now, time));
                let since = u64::from(time.wrapping_sub(first));
                let due = origin
                    + Duration::from_micros(since * 1_000_000 / u64::from(opus::SAMPLE_RATE));
                let off = due.max(now) - due.min(now);
                // Re-set also once an hour, long before the difference wraps.
                if off > OFF || since > u64::from(opus::SAMPLE_RATE) * 3600 {
                    clock = Some((now, time));
                } else if due > now + AHEAD {
                    tokio::time::sleep_until(due).await;
                }
                fan.send(&bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_go_on_over_links() {
        let mut p = Packetizer::new(97, 7, 65_535, 1000);
        p.link(312);
        let sent: Vec<Vec<u8>> = [312, 1272, 3192]
            .map(|start| p.packet(start, 960, b"x"))
            .into();
        p.link(0);
        let next = p.packet(0, 960, b"y");
        let parsed: Vec<(u16, u32, bool)> = sent
            .iter()
            .chain([&next])
            .map(|bytes| Packet::parse(bytes).expect("own packet"))
            .map(|p| (p.sequence, p.rtp_time, p.marker))
            .collect();
        assert_eq!(
            parsed,
            [
                (65_535, 1000, true),
                (0, 1960, false),
                (1, 3880, false),
                (2, 4840, false)
            ]
        );
    }
}
