//! Puts packets back in order, drops copies, and tells what was lost.
//!
//! Sans-IO: [`Receiver::push`] takes a packet and the time it came;
//! [`Receiver::poll`] gives events, some only once [`Receiver::poll_timeout`]
//! has passed. Extra calls are harmless.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Packet;

/// How patient the receiver is.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long a missing packet is waited for. 60 ms by default: the
    /// re-ordering seen on real networks stays below.
    pub hold_back: Duration,
    /// Packets held at most; the oldest gap is given up beyond it.
    pub max_packets: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hold_back: Duration::from_millis(60),
            max_packets: 1024,
        }
    }
}

/// What a receiver has found, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next packet.
    Packet {
        /// Payload type.
        payload_type: u8,
        /// Marker bit.
        marker: bool,
        /// RTP time, extended over wrap-arounds; starts near 2^32.
        time: u64,
        /// The payload.
        payload: Vec<u8>,
    },
    /// Packets before the next one were lost.
    Lost {
        /// How many.
        packets: u64,
    },
    /// Another synchronisation source has taken over: times do not continue.
    NewSource {
        /// Its SSRC.
        ssrc: u32,
    },
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets received, without copies.
    pub received: u64,
    /// Packets given up.
    pub lost: u64,
    /// Copies dropped.
    pub duplicates: u64,
    /// Packets that came after they were given up.
    pub late: u64,
    /// Packets that came after a later one, in time.
    pub reordered: u64,
}

#[derive(Debug)]
struct Held {
    arrived: Duration,
    payload_type: u8,
    marker: bool,
    time: u64,
    payload: Vec<u8>,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// Extended number of the packet to be delivered next.
    next: u64,
    /// Highest extended number seen.
    highest: u64,
    /// Extended RTP time of the last packet that came.
    time: u64,
    /// What follows the packet that came last, when that was too late.
    again: Option<u16>,
    held: BTreeMap<u64, Held>,
}

/// See the module.
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    source: Option<Source>,
    ready: std::collections::VecDeque<Event>,
    stats: Stats,
}

/// A jump of the sequence number by more than this is a restarted sender, not
/// loss (RFC 3550 appendix A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: i64 = 3000;
/// Two packets in a row that are later than this many are one, too, whose
/// numbers happen to be near (`MAX_MISORDER` there).
const MAX_MISORDER: i64 = 100;

impl Receiver {
    /// A receiver that has seen nothing.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            source: None,
            ready: std::collections::VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Takes a packet that came at `now`.
    pub fn push(&mut self, now: Duration, packet: &Packet<'_>) {
        let continues = self.source.as_ref().is_some_and(|source| {
            let ahead = sequence_distance(source.highest, packet.sequence);
            source.ssrc == packet.ssrc && ahead.abs() <= MAX_DROPOUT
        });
        if !continues {
            self.change_source(packet);
        }
        let Some(source) = &mut self.source else {
            return;
        };
        let ahead = sequence_distance(source.highest, packet.sequence);
        let Some(number) = source.highest.checked_add_signed(ahead) else {
            return;
        };
        if number < source.next {
            let again = source.again.replace(packet.sequence.wrapping_add(1));
            if ahead < -MAX_MISORDER && again == Some(packet.sequence) {
                self.change_source(packet);
                return self.push(now, packet);
            }
            self.stats.late += 1;
            return;
        }
        source.again = None;
        if source.held.contains_key(&number) {
            self.stats.duplicates += 1;
            return;
        }
        self.stats.received += 1;
        if ahead < 0 {
            self.stats.reordered += 1;
        }
        source.highest = source.highest.max(number);
        let time = extend_time(source.time, packet.rtp_time);
        source.time = time;
        source.held.insert(
            number,
            Held {
                arrived: now,
                payload_type: packet.payload_type,
                marker: packet.marker,
                time,
                payload: packet.payload.to_vec(),
            },
        );
        self.deliver(now);
    }

    /// The next event. Call after each push and after each timeout.
    pub fn poll(&mut self, now: Duration) -> Option<Event> {
        if self.ready.is_empty() {
            self.deliver(now);
        }
        self.ready.pop_front()
    }

    /// When to poll again if no packet comes before.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let held = &self.source.as_ref()?.held;
        held.values()
            .next()
            .map(|first| first.arrived + self.config.hold_back)
    }

    /// Gives everything held to the polls that follow, waiting for nothing.
    pub fn flush(&mut self) {
        if let Some(source) = &mut self.source {
            while source.deliver_first(&mut self.ready, &mut self.stats) {}
        }
    }

    /// The current source's SSRC.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn change_source(&mut self, packet: &Packet<'_>) {
        self.flush();
        if self.source.is_some() {
            self.ready.push_back(Event::NewSource { ssrc: packet.ssrc });
        }
        // Room below for packets that were overtaken by the first.
        let number = (1 << 32) + u64::from(packet.sequence);
        let time = (1 << 32) + u64::from(packet.rtp_time);
        self.source = Some(Source {
            ssrc: packet.ssrc,
            next: number,
            highest: number,
            time,
            again: None,
            held: BTreeMap::new(),
        });
    }

    fn deliver(&mut self, now: Duration) {
        let Some(source) = &mut self.source else {
            return;
        };
        while let Some((&number, first)) = source.held.first_key_value() {
            let patient = now < first.arrived + self.config.hold_back
                && source.held.len() <= self.config.max_packets;
            if number != source.next && patient {
                return;
            }
            source.deliver_first(&mut self.ready, &mut self.stats);
        }
    }
}

impl Source {
    fn deliver_first(
        &mut self,
        ready: &mut std::collections::VecDeque<Event>,
        stats: &mut Stats,
    ) -> bool {
        let Some((number, held)) = self.held.pop_first() else {
            return false;
        };
        let packets = number.saturating_sub(self.next);
        if packets > 0 {
            stats.lost += packets;
            ready.push_back(Event::Lost { packets });
        }
        self.next = number + 1;
        let Held {
            payload_type,
            marker,
            time,
            payload,
            ..
        } = held;
        ready.push_back(Event::Packet {
            payload_type,
            marker,
            time,
            payload,
        });
        true
    }
}

/// How far `sequence` is from the extended number `from`, the short way round.
fn sequence_distance(from: u64, sequence: u16) -> i64 {
    i64::from(sequence.wrapping_sub(from as u16) as i16)
}

fn extend_time(from: u64, time: u32) -> u64 {
    let distance = i64::from(time.wrapping_sub(from as u32) as i32);
    from.saturating_add_signed(distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn packet(sequence: u16, payload: &[u8]) -> Packet<'_> {
        Packet {
            payload_type: 0,
            marker: false,
            sequence,
            rtp_time: u32::from(sequence) * 160,
            ssrc: 7,
            payload,
        }
    }

    /// What comes out, as short text: payloads, `-n` for n lost, `!` for a new source.
    fn drain(receiver: &mut Receiver, now: Duration) -> String {
        let mut out = String::new();
        while let Some(event) = receiver.poll(now) {
            match event {
                Event::Packet { payload, .. } => out.push_str(&String::from_utf8_lossy(&payload)),
                Event::Lost { packets } => out.push_str(&format!("-{packets}")),
                Event::NewSource { .. } => out.push('!'),
            }
        }
        out
    }

    #[test]
    fn order_is_restored_within_the_hold_back() {
        let mut r = Receiver::new(Config::default());
        for (sequence, text) in [
            (65_534, b"a"),
            (0, b"c"),
            (65_535, b"b"),
            (0, b"c"),
            (1, b"d"),
        ] {
            r.push(MS, &packet(sequence, text));
        }
        assert_eq!(drain(&mut r, MS), "abcd");
        assert_eq!(
            r.stats(),
            Stats {
                received: 4,
                duplicates: 0,
                late: 1,
                reordered: 1,
                lost: 0
            }
        );
    }

    #[test]
    fn a_missing_packet_is_waited_for_and_then_given_up() {
        let mut r = Receiver::new(Config::default());
        r.push(Duration::ZERO, &packet(1, b"a"));
        r.push(20 * MS, &packet(3, b"c"));
        r.push(20 * MS, &packet(3, b"c"));
        assert_eq!(drain(&mut r, 79 * MS), "a");
        assert_eq!(r.poll_timeout(), Some(80 * MS));
        assert_eq!(drain(&mut r, 80 * MS), "-1c");
        r.push(90 * MS, &packet(2, b"b"));
        assert_eq!(drain(&mut r, 200 * MS), "");
        assert_eq!(
            (r.stats().lost, r.stats().late, r.stats().duplicates),
            (1, 1, 1)
        );
    }

    #[test]
    fn another_source_or_a_restart_is_told() {
        let mut r = Receiver::new(Config::default());
        r.push(MS, &packet(10, b"a"));
        r.push(MS, &packet(12, b"c"));
        r.push(
            MS,
            &Packet {
                ssrc: 8,
                ..packet(50, b"x")
            },
        );
        r.push(
            MS,
            &Packet {
                ssrc: 8,
                ..packet(30_000, b"y")
            },
        );
        assert_eq!(drain(&mut r, MS), "a-1c!x!y");
    }

    #[test]
    fn a_sender_that_counts_anew_is_heard_at_once() {
        let mut r = Receiver::new(Config::default());
        for sequence in 0..500 {
            r.push(MS, &packet(sequence, b"x"));
        }
        assert_eq!(drain(&mut r, MS).len(), 500);
        // A copy that comes very late is no restart.
        r.push(MS, &packet(7, b"y"));
        r.push(MS, &packet(500, b"z"));
        assert_eq!(drain(&mut r, MS), "z");
        for sequence in 0..5 {
            r.push(MS, &packet(sequence, b"n"));
        }
        assert_eq!(drain(&mut r, MS), "!nnnn");
        assert_eq!((r.stats().late, r.stats().lost), (2, 0));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut r = Receiver::new(Config {
            max_packets: 4,
            ..Config::default()
        });
        r.push(MS, &packet(1, b"a"));
        for sequence in 3..20 {
            r.push(MS, &packet(sequence, b"x"));
        }
        assert_eq!(drain(&mut r, MS), format!("a-1{}", "x".repeat(17)));
    }

    proptest! {
        /// Whatever the order, packets within the hold-back come out sorted, once each.
        #[test]
        fn any_order_is_restored(order in Just((1u16..40).collect::<Vec<_>>()).prop_shuffle(), copies: bool) {
            let mut r = Receiver::new(Config::default());
            r.push(MS, &packet(0, b"."));
            for &sequence in &order {
                let text = [b'0' + sequence as u8];
                r.push(MS, &packet(sequence, &text));
                if copies {
                    r.push(MS, &packet(sequence, &text));
                }
            }
            let expected: String = std::iter::once('.').chain((1..40u8).map(|s| char::from(b'0' + s))).collect();
            prop_assert_eq!(drain(&mut r, MS), expected);
            prop_assert_eq!(r.stats().lost, 0);
        }
    }
}
