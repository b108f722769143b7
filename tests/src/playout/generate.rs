//! Seeded arrival traces from published models.
//!
//! | group | model |
//! |---|---|
//! | `wire` | switched Ethernet: 0.3 ms and an exponential queue of 0.05 ms |
//! | `wifi` | C4 project, *Wi-Fi Jitter*: Poisson(1) × 1 ms, and for a share x = (jitter − 1)/90 Poisson(12) × 7.5 ms, in order |
//! | `cellular` | Sprout (Winstein et al., NSDI 2013): Poisson delivery at a rate in Brownian motion, σ = 200 packets/s/√s, outages left at 1/s |
//! | `mobile-3g` | Markov-modulated throughput (Mao et al., SIGCOMM 2017: 0.2–4.3 Mb/s, sticky) under Gilbert–Elliott outages |
//! | `satellite` | 15 s reconfiguration slots with delay steps (Mohan et al., WWW 2024), a lost segment at some |
//! | `lossy-tcp` | Bernoulli loss, retransmission timeout max(200 ms, 1.5 RTT), doubling, in order (RFC 6298 with the common minimum) |
//! | `pages-1s` | 1 s Ogg pages over a bad link, half of them after a 64 KB burst |
//! | `regime-change` | wire, then Wi-Fi, then wire, 20 s each |
//! | `speech-slow`, `speech`, `speech-fast`, `utterance` | synthesis at r × real time: log-normal sentences of 1.2–6 s, 40–350 ms before each, one in ten waits 0.3–1.6 s more, log-normal chunk times (σ = 0.25), written 1, 2 or 4 at a time |
//! | `file` | TCP slow start from 10 segments (RFC 6928) up to the link's rate |
//! | `drift` | 2 h of 1 s pages from a clock 50–200 ppm off |

use super::model::{Chunk, Trace};
use super::random::Random;

/// Traces per group.
const PER_GROUP: u64 = 6;

/// How a trace is to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A live programme.
    Live,
    /// Synthesized speech.
    Speech,
    /// A file.
    File,
}

/// A generated trace.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Group name.
    pub group: &'static str,
    /// How it is to be played.
    pub kind: Kind,
    /// The arrivals.
    pub trace: Trace,
}

type Model = fn(&mut Random) -> Trace;

const MODELS: [(&str, Kind, Model); 14] = [
    ("wire", Kind::Live, wire),
    ("wifi", Kind::Live, wifi),
    ("cellular", Kind::Live, cellular),
    ("mobile-3g", Kind::Live, mobile_3g),
    ("satellite", Kind::Live, satellite),
    ("lossy-tcp", Kind::Live, lossy_tcp),
    ("pages-1s", Kind::Live, pages),
    ("regime-change", Kind::Live, regime_change),
    ("speech-slow", Kind::Speech, |r| {
        speech(r, 0.75, 0.95, 10_000.0, 60_000.0)
    }),
    ("speech", Kind::Speech, |r| {
        speech(r, 1.0, 1.3, 8_000.0, 40_000.0)
    }),
    ("speech-fast", Kind::Speech, |r| {
        speech(r, 2.0, 4.0, 5_000.0, 40_000.0)
    }),
    ("utterance", Kind::Speech, |r| {
        speech(r, 0.9, 4.0, 200.0, 1_000.0)
    }),
    ("file", Kind::File, file),
    ("drift", Kind::Live, drift),
];

/// All traces; equal seeds give equal traces.
pub fn all(seed: u64) -> Vec<Generated> {
    let mut out = Vec::new();
    for (index, (group, kind, model)) in MODELS.into_iter().enumerate() {
        for k in 0..PER_GROUP {
            let mut random = Random::new(seed.wrapping_mul(1_000_003) + index as u64 * 1_000 + k);
            let mut trace = model(&mut random);
            trace.name = format!("{group}-{k:02}");
            out.push(Generated { group, kind, trace });
        }
    }
    out
}

/// A live source: chunks sent when complete, each delayed by `delay(send time)`, kept in order.
fn live(duration: f64, total: f64, mut delay: impl FnMut(f64) -> f64) -> Trace {
    let mut chunks = Vec::new();
    let mut last = 0f64;
    for k in 0..(total / duration) as u32 {
        let start = f64::from(k) * duration;
        let sent = start + duration;
        last = last.max(sent + delay(sent));
        chunks.push(Chunk {
            arrival: last,
            start,
            duration,
        });
    }
    finish(chunks, 0.0)
}

fn finish(chunks: Vec<Chunk>, end_after: f64) -> Trace {
    let end = chunks.last().map_or(0.0, |c| c.arrival) + end_after;
    Trace {
        name: String::new(),
        chunks,
        end,
    }
}

fn wire(r: &mut Random) -> Trace {
    let duration = r.pick(&[20.0, 40.0, 60.0, 100.0]);
    live(duration, 60_000.0, |_| 0.3 + r.exponential(0.05))
}

/// One sample of the C4 Wi-Fi latency, ms.
fn c4(r: &mut Random, jitter: f64) -> f64 {
    let long = ((jitter - 1.0) / 90.0).clamp(0.0, 1.0);
    let short = f64::from(r.poisson(1.0));
    let mut ms = if short >= 1.0 { short - r.unit() } else { 0.0 };
    if r.chance(long) {
        ms += f64::from(r.poisson(12.0)) * 7.5;
    }
    ms
}

fn wifi(r: &mut Random) -> Trace {
    let (jitter, base) = (r.between(3.0, 30.0), r.between(5.0, 30.0));
    live(20.0, 60_000.0, |_| base + c4(r, jitter))
}

fn cellular(r: &mut Random) -> Trace {
    const TICK_MS: f64 = 20.0;
    let duration = 100.0;
    let packets_per_chunk = r.between(1.0, 2.0).ceil() as u32;
    // The listener's share of the cell.
    let share = r.between(0.3, 1.0);
    let base = r.between(20.0, 50.0);
    let mut rate = r.between(400.0, 1_000.0);
    let mut outage = false;
    let (mut clock, mut queued) = (0.0, 0u32);
    live(duration, 60_000.0, |sent| {
        clock = f64::max(clock, sent);
        queued += packets_per_chunk;
        let mut guard = 0;
        while queued > 0 && guard < 5_000 {
            guard += 1;
            if outage {
                outage = !r.chance(TICK_MS / 1_000.0);
            } else {
                rate = (rate + 200.0 * (TICK_MS / 1_000.0).sqrt() * r.normal()).min(1_000.0);
                if rate <= 0.0 {
                    rate = 0.0;
                    outage = true;
                }
            }
            let delivered = if outage {
                0
            } else {
                r.poisson(rate * share * TICK_MS / 1_000.0)
            };
            queued = queued.saturating_sub(delivered);
            clock += TICK_MS;
        }
        // The delivery falls somewhere into its tick.
        clock - sent - r.between(0.0, TICK_MS) + base
    })
}

fn mobile_3g(r: &mut Random) -> Trace {
    let duration = r.pick(&[60.0, 100.0]);
    let bits_per_chunk = duration * 96.0 * 1.04;
    let base = r.between(60.0, 120.0);
    let (mut state, mut next_state, mut rate) = (r.between(0.0, 10.0) as i32, 0.0, 0.0);
    let (mut outage_from, mut outage_to) = (r.exponential(60_000.0), 0.0);
    let mut clock = 0.0;
    live(duration, 120_000.0, |sent| {
        clock = f64::max(clock, sent);
        let mut left = bits_per_chunk;
        while left > 0.0 {
            if clock >= next_state {
                // Sticky: geometric steps between ten throughputs of 0.2 to 4.3 Mb/s.
                let step = if r.chance(0.8) {
                    0
                } else {
                    r.poisson(1.0) as i32 + 1
                };
                state = (state + if r.chance(0.5) { step } else { -step }).clamp(0, 9);
                rate = (200.0 + 455.0 * f64::from(state)) * (1.0 + 0.2 * r.normal()).max(0.1);
                next_state = clock + 1_000.0;
            }
            if clock >= outage_to && clock >= outage_from {
                outage_to = outage_from + r.exponential(2_000.0);
                clock = clock.max(outage_to);
                outage_from = outage_to + r.exponential(60_000.0);
                continue;
            }
            let until = next_state.min(outage_from).max(clock + 0.01);
            let can = (until - clock) * rate;
            let take = can.min(left);
            clock += take / rate;
            left -= take;
        }
        clock - sent + base
    })
}

fn satellite(r: &mut Random) -> Trace {
    let mut base = r.between(25.0, 60.0);
    let mut slot_end = r.between(0.0, 15_000.0);
    let mut lost_until = 0.0;
    live(20.0, 60_000.0, |sent| {
        if sent >= slot_end {
            slot_end += 15_000.0;
            base = (base + 12.0 * r.normal()).clamp(20.0, 90.0);
            if r.chance(0.4) {
                let mut timeout = f64::max(200.0, 1.5 * 2.0 * base);
                lost_until = sent + timeout;
                while r.chance(0.2) {
                    timeout *= 2.0;
                    lost_until += timeout;
                }
            }
        }
        f64::max(base + r.exponential(3.0), lost_until - sent + base)
    })
}

/// Extra delay of a segment lost with probability `p`, each time again.
fn retransmission(r: &mut Random, p: f64, round_trip: f64) -> f64 {
    let (mut extra, mut timeout) = (0.0, f64::max(200.0, 1.5 * round_trip));
    while r.chance(p) {
        extra += timeout;
        timeout *= 2.0;
    }
    extra
}

fn lossy_tcp(r: &mut Random) -> Trace {
    let duration = r.pick(&[20.0, 60.0, 100.0]);
    let (p, base) = (r.between(0.0005, 0.005), r.between(10.0, 60.0));
    live(duration, 60_000.0, |_| {
        base + r.exponential(2.0) + retransmission(r, p, 2.0 * base)
    })
}

fn pages(r: &mut Random) -> Trace {
    let base = r.between(20.0, 150.0);
    let (p, jitter) = (r.between(0.0, 0.02), r.between(1.0, 60.0));
    let burst = if r.chance(0.5) { 5_000.0 } else { 0.0 };
    let link = r.between(8.0, 40.0);
    let mut busy = base;
    let mut chunks: Vec<Chunk> = Vec::new();
    for k in 0..120u32 {
        let start = f64::from(k) * 1_000.0;
        let sent = (start + 1_000.0 - burst).max(0.0);
        // The link serves `link` media ms per ms.
        busy = f64::max(busy, sent + base) + 1_000.0 / link;
        let arrival = busy + r.exponential(jitter) + retransmission(r, p, 2.0 * base);
        let arrival = chunks.last().map_or(arrival, |c| arrival.max(c.arrival));
        chunks.push(Chunk {
            arrival,
            start,
            duration: 1_000.0,
        });
    }
    finish(chunks, 0.0)
}

fn regime_change(r: &mut Random) -> Trace {
    let jitter = r.between(10.0, 60.0);
    live(60.0, 60_000.0, |sent| {
        let bad = (20_000.0..40_000.0).contains(&sent);
        15.0 + if bad {
            c4(r, jitter)
        } else {
            r.exponential(0.1)
        }
    })
}

fn speech(r: &mut Random, slowest: f64, fastest: f64, shortest: f64, longest: f64) -> Trace {
    let speed = r.between(slowest, fastest);
    let duration = r.pick(&[20.0, 40.0, 80.0, 100.0, 160.0, 200.0]);
    let at_once = r.pick(&[1.0, 2.0, 4.0]) as usize;
    let length = r.between(shortest, longest);
    let mut clock = r.between(150.0, 900.0);
    let (mut start, mut sentence) = (0.0, 0.0);
    let mut chunks: Vec<Chunk> = Vec::new();
    while start < length {
        if start >= sentence {
            if start > 0.0 {
                clock += r.between(40.0, 350.0)
                    + if r.chance(0.1) {
                        r.between(300.0, 1_600.0)
                    } else {
                        0.0
                    };
            }
            sentence = start + (2_800.0 * (0.45 * r.normal()).exp()).clamp(1_200.0, 6_000.0);
        }
        let duration = duration.min(length - start);
        clock += duration / speed * (0.25 * r.normal()).exp();
        chunks.push(Chunk {
            arrival: clock,
            start,
            duration,
        });
        start += duration;
    }
    for group in chunks.chunks_mut(at_once) {
        let written = group[group.len() - 1].arrival;
        for c in group {
            c.arrival = written;
        }
    }
    let end = r.between(0.0, 50.0);
    finish(chunks, end)
}

fn file(r: &mut Random) -> Trace {
    let round_trip = r.between(20.0, 200.0);
    let bytes_per_ms = r.pick(&[16.0, 24.0, 40.0]);
    let link = r.between(2_000.0, 20_000.0) / 8.0;
    let page = r.pick(&[4_096.0, 16_384.0, 65_536.0]);
    let duration = page / bytes_per_ms;
    let mut chunks = Vec::new();
    // Slow start: the window doubles every round trip until it fills the link.
    let (mut window, mut round, mut sent) = (14_600.0, round_trip, 0.0);
    let mut start = 0.0;
    while start < 120_000.0 {
        let need = (start + duration) * bytes_per_ms;
        while sent + window < need && window < link * round_trip {
            sent += window;
            window *= 2.0;
            round += round_trip;
        }
        chunks.push(Chunk {
            arrival: round + (need - sent) / link,
            start,
            duration,
        });
        start += duration;
    }
    for k in 1..chunks.len() {
        chunks[k].arrival = chunks[k].arrival.max(chunks[k - 1].arrival);
    }
    finish(chunks, 0.0)
}

fn drift(r: &mut Random) -> Trace {
    let ppm = r.pick(&[-200.0, -100.0, -50.0, 50.0, 100.0, 200.0]);
    let base = r.between(15.0, 60.0);
    let mut chunks: Vec<Chunk> = Vec::new();
    for k in 0..7_200u32 {
        let start = f64::from(k) * 1_000.0;
        let arrival = (start + 1_000.0) / (1.0 + ppm * 1e-6) + base + r.exponential(5.0);
        let arrival = chunks.last().map_or(arrival, |c| arrival.max(c.arrival));
        chunks.push(Chunk {
            arrival,
            start,
            duration: 1_000.0,
        });
    }
    finish(chunks, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_many_valid_and_repeatable() {
        let traces = all(1);
        assert!(traces.len() >= 60);
        for g in &traces {
            assert!(!g.trace.chunks.is_empty(), "{}", g.trace.name);
            for pair in g.trace.chunks.windows(2) {
                assert!(
                    pair[1].arrival >= pair[0].arrival,
                    "{}: out of order",
                    g.trace.name
                );
                assert!(
                    (pair[1].start - pair[0].start - pair[0].duration).abs() < 1e-6,
                    "{}: media gap",
                    g.trace.name
                );
            }
            assert!(g.trace.end >= g.trace.chunks[g.trace.chunks.len() - 1].arrival);
        }
        assert_eq!(traces[20].trace.chunks, all(1)[20].trace.chunks);
        assert_ne!(traces[20].trace.chunks, all(2)[20].trace.chunks);
    }

    #[test]
    fn live_chunks_come_after_they_were_made() {
        for g in all(3)
            .iter()
            .filter(|g| g.kind == Kind::Live && g.group != "pages-1s" && g.group != "drift")
        {
            assert!(
                g.trace
                    .chunks
                    .iter()
                    .all(|c| c.arrival >= c.start + c.duration),
                "{}",
                g.trace.name
            );
        }
    }
}
