//! The measured prebuffer: when to start, when to start again, how fast to play.
//!
//! A pure core. Every time is in milliseconds as `f64` (exact to under a
//! microsecond for a century): *now* is the caller's monotonic wall clock with
//! any origin, *media* positions are positions in the programme. No call reads a
//! clock or allocates, and nothing depends on anything but the calls before it.
//!
//! # Run loop
//!
//! 1. [`Prebuffer::on_request`] when the stream is asked for.
//! 2. [`Prebuffer::on_arrival`] for each chunk, before anything is dropped;
//!    [`Prebuffer::on_end_of_stream`] once no more will come.
//! 3. After any event, and whenever `until_ms` of the last decision has passed,
//!    call [`Prebuffer::decide`] and do what it says. Extra calls are harmless.
//! 4. Tell it what happened: [`Prebuffer::on_playing`] when output has begun or
//!    begun again, [`Prebuffer::on_underrun`] when the playhead ran dry,
//!    [`Prebuffer::on_stopped`] when output was stopped for another reason.
//!
//! # The policy
//!
//! With the lateness `x` of a chunk (see `arrivals`), the *margin* of a playhead is
//! `now − playhead − base`: how much later than an undisturbed chunk the next one
//! may come. The policy compares it with what the spread, the path and the rate of
//! delivery make likely:
//!
//! ```text
//! first start   floor + start·(2 − stretch/0.05)·path + per_answer·answer + start_spread·spread + lead
//! start again   floor + restart_spread·spread + lead
//! playing       floor + play·path + play_spread·spread + lead      (start for play without stretch)
//! path        = 1 − exp(−answer / wire)
//! lead        = rest · ((1 − stretch)/r − 1), capped while the length is unknown
//! ```
//!
//! A margin short of the last one makes the player go slower; in live mode one
//! beyond it makes the player go faster by up to 0.5 %. A stream that has ended
//! starts at once.

mod arrivals;
pub mod drift;
mod gaps;
mod histogram;
mod tuning;
mod types;

use arrivals::Arrivals;
use drift::{Drift, MAX_DEVIATION};
use gaps::Gaps;
pub use tuning::Tuning;
pub use types::{Decision, Latency, Mode, Stats};

/// More media since the request than this many times the time since then: delivery is faster than real time.
const FAST_JOIN: f64 = 1.25;
/// Largest time-stretch: 5 % of tempo is hardly noticed in speech.
pub const MAX_STRETCH: f64 = 0.05;
/// The playing rate changes in steps of this part of its range, so that it is not changed all the time.
const RATE_STEPS: f64 = 5.0;
/// Slowing is at its most until the margin is within this share of what is wanted.
const APPROACH: f64 = 0.15;
/// How often a player that is short of margin asks again, ms.
const CHECK_MS: f64 = 100.0;
/// Live: excess over the latency bound that is skipped because no rate change would work it off in a minute, ms.
const SKIP_BOUND_MS: f64 = 1_000.0;
/// Live without a latency bound: the same, ms; only a sleep of the machine or a long outage gets there.
const SKIP_AUTO_MS: f64 = 15_000.0;
/// A pause may be placed at a quiet spot when less than this is held, ms.
const STALL_BEFORE_MS: f64 = 500.0;
/// Shortest such pause, ms: few and long ones disturb less.
const SHORTEST_STALL_MS: f64 = 500.0;

/// The estimator and the decisions.
#[derive(Clone, Debug)]
pub struct Prebuffer {
    mode: Mode,
    latency: Latency,
    stretch: f64,
    total: Option<f64>,
    requested: Option<f64>,
    round_trip: Option<f64>,
    tuning: Tuning,
    arrivals: Arrivals,
    gaps: Gaps,
    drift: Drift,
    ended: bool,
    playing: bool,
    started: bool,
    underruns: u32,
    safe_start: f64,
}

impl Prebuffer {
    /// A prebuffer for one stream. Time-stretch is on (5 %) in live mode and off otherwise; see [`Prebuffer::set_stretch`].
    pub fn new(mode: Mode, latency: Latency) -> Self {
        Self {
            mode,
            latency,
            stretch: if mode == Mode::Live { MAX_STRETCH } else { 0.0 },
            total: None,
            requested: None,
            round_trip: None,
            tuning: Tuning::DEFAULT,
            arrivals: Arrivals::new(),
            gaps: Gaps::default(),
            drift: Drift::new(),
            ended: false,
            playing: false,
            started: false,
            underruns: 0,
            safe_start: f64::INFINITY,
        }
    }

    /// Largest time-stretch that may be asked for, as a fraction (0.05 = 5 %, the most; 0 turns it off).
    pub fn set_stretch(&mut self, fraction: f64) {
        self.stretch = fraction.clamp(0.0, MAX_STRETCH);
    }

    /// Changes the latency bounds of a running stream.
    pub fn set_latency(&mut self, latency: Latency) {
        self.latency = latency;
    }

    /// Media position at which the programme will end, when known beforehand.
    pub fn set_total(&mut self, total_ms: Option<f64>) {
        self.total = total_ms;
    }

    /// Round trip of the path, when the caller has measured it; else the time to the first chunk stands for it.
    pub fn set_round_trip(&mut self, ms: f64) {
        self.round_trip = Some(ms);
    }

    /// Replaces the constants, for measurements.
    pub fn set_tuning(&mut self, tuning: Tuning) {
        self.tuning = tuning;
    }

    /// The stream was asked for. Ignored once something has arrived, so the first sign that one is wanted may serve.
    pub fn on_request(&mut self, now_ms: f64) {
        if !self.arrivals.any() {
            self.requested = Some(now_ms);
        }
    }

    /// A chunk became decodable. `now_ms` is when its bytes arrived; chunks come in media order.
    ///
    /// A chunk that starts later than the last one ended leaves a hole that is never waited for; one that
    /// starts before what has arrived begins anew, as after [`Prebuffer::on_discontinuity`].
    pub fn on_arrival(&mut self, now_ms: f64, media_start_ms: f64, media_duration_ms: f64) {
        if ![now_ms, media_start_ms].iter().all(|v| v.is_finite())
            || !(media_duration_ms > 0.0 && media_duration_ms < f64::INFINITY)
        {
            return;
        }
        let start = self
            .gaps
            .arrival(media_start_ms, media_duration_ms)
            .unwrap_or_else(|| {
                self.gaps = Gaps::default();
                self.arrivals.restart();
                self.gaps
                    .arrival(media_start_ms, media_duration_ms)
                    .unwrap_or(media_start_ms)
            });
        self.arrivals.add(now_ms, start, media_duration_ms);
    }

    /// No chunk will follow.
    pub fn on_end_of_stream(&mut self, _now_ms: f64) {
        self.ended = true;
    }

    /// Output began, or began again.
    pub fn on_playing(&mut self, _now_ms: f64, _playhead_ms: f64) {
        self.playing = true;
        self.started = true;
        self.drift.on_discontinuity();
    }

    /// The playhead reached the end of what had arrived; output is silent.
    pub fn on_underrun(&mut self, _now_ms: f64) {
        self.playing = false;
        self.underruns += 1;
    }

    /// Output was stopped for another reason (pause, [`Decision::Stall`]); no underrun.
    pub fn on_stopped(&mut self, _now_ms: f64) {
        self.playing = false;
    }

    /// The stream was cut (seek, reconnect at another position): forget positions, keep what was learnt of the network.
    pub fn on_discontinuity(&mut self) {
        self.arrivals.restart();
        self.gaps = Gaps::default();
        self.drift.on_discontinuity();
        self.ended = false;
        self.playing = false;
        self.started = false;
        self.requested = None;
    }

    /// What to do now. `playhead_ms` is the media position to be heard next,
    /// `quiet` whether the audio there is (near) silence.
    pub fn decide(&mut self, now_ms: f64, playhead_ms: f64, quiet: bool) -> Decision {
        if !self.arrivals.any() {
            return Decision::Wait {
                until_ms: f64::INFINITY,
            };
        }
        let playhead_ms = self.gaps.contiguous(playhead_ms);
        if self.playing {
            self.while_playing(now_ms, playhead_ms, quiet)
        } else {
            self.while_silent(now_ms, playhead_ms)
        }
    }

    fn while_silent(&mut self, now: f64, playhead: f64) -> Decision {
        let missing = self.missing(now, playhead);
        self.safe_start = now + missing;
        if self.arrivals.head() <= playhead {
            return Decision::Wait {
                until_ms: f64::INFINITY,
            };
        }
        if self.ended || missing <= 1e-6 {
            return Decision::Start;
        }
        // At least 2 ms: a margin that grows as fast as what it is compared with is not chased.
        Decision::Wait {
            until_ms: now + missing.max(2.0),
        }
    }

    /// How much longer the silence should last, ms.
    fn missing(&self, now: f64, playhead: f64) -> f64 {
        let (t, a) = (&self.tuning, &self.arrivals);
        let offset = now - playhead;
        let spread = a.spread(now);
        if self.started {
            let wanted =
                self.bounded(t.floor_ms + t.restart_spread * spread + self.lead(t.pause_ms));
            let over_newest = self.bounded(t.restart_ms) - (offset - a.newest());
            return (wanted - (offset - a.base())).max(over_newest);
        }
        if self
            .requested
            .is_some_and(|at| a.received() > FAST_JOIN * (now - at))
            && a.received() >= self.latency.min_ms
        {
            return 0.0;
        }
        let wanted = t.floor_ms
            + self.start_margin() * self.path()
            + t.per_answer * self.answer().min(1_000.0)
            + t.start_spread * spread;
        let missing = self.bounded(wanted + self.lead(t.lead_ms)) - (offset - a.base());
        if a.pages() > 1 {
            return missing;
        }
        let page = self.bounded(a.page_ms().min(t.second_page_ms) * self.path());
        missing.max(page - (now - a.last_at()))
    }

    fn while_playing(&mut self, now: f64, playhead: f64, quiet: bool) -> Decision {
        if self.ended {
            return Decision::Play {
                rate: 1.0,
                until_ms: f64::INFINITY,
            };
        }
        let lead = self.lead(self.tuning.lead_ms);
        let wanted = self.wanted(now, lead);
        let margin = now - playhead - self.arrivals.base();
        if quiet
            && lead > margin
            && self.arrivals.head() - playhead < STALL_BEFORE_MS
            && self.missing(now, playhead) > SHORTEST_STALL_MS
        {
            return Decision::Stall;
        }
        if self.mode == Mode::Live && margin - wanted > self.skip_beyond() {
            return Decision::Skip {
                to_ms: self.gaps.programme(playhead + (margin - wanted)),
            };
        }
        // A twentieth of slack between stretching and the drift loop, so that they do not take turns.
        let short = (0.95 * wanted - margin) / (APPROACH * wanted.max(50.0));
        if short > 0.0 {
            self.drift.on_discontinuity();
            let range = self.stretch.max(MAX_DEVIATION);
            let rate = 1.0 - range * (short.min(1.0) * RATE_STEPS).ceil() / RATE_STEPS;
            return Decision::Play {
                rate,
                until_ms: now + CHECK_MS,
            };
        }
        if self.mode == Mode::Complete {
            return Decision::Play {
                rate: 1.0,
                until_ms: now + 5.0 * CHECK_MS,
            };
        }
        self.drift.on_level(now, margin, wanted);
        Decision::Play {
            rate: self.drift.ratio(),
            until_ms: now + 10.0 * CHECK_MS,
        }
    }

    /// Margin of a first start on a path that is no wire: twice as much when stretching cannot add to it later.
    fn start_margin(&self) -> f64 {
        self.tuning.start_ms * (2.0 - self.stretch / MAX_STRETCH)
    }

    fn skip_beyond(&self) -> f64 {
        if self.latency.max_ms.is_finite() {
            SKIP_BOUND_MS
        } else {
            SKIP_AUTO_MS
        }
    }

    /// Margin wanted while playing. Without time-stretch, music keeps its pitch: no more than at the start.
    fn wanted(&self, now: f64, lead: f64) -> f64 {
        let t = &self.tuning;
        let room = if self.stretch > 0.0 {
            t.play_ms
        } else {
            self.start_margin()
        };
        self.bounded(
            t.floor_ms + room * self.path() + t.play_spread * self.arrivals.spread(now) + lead,
        )
    }

    /// Applies the latency bounds, which count the newest page too, to a margin, which does not.
    fn bounded(&self, margin: f64) -> f64 {
        let page = self.arrivals.page_ms();
        margin
            .min(self.latency.max_ms - page)
            .max(self.latency.min_ms - page)
            .max(0.0)
    }

    /// Time the other end took to answer, ms. A live chunk cannot come before it is complete, so its own
    /// length is not counted, unless it came so soon that it must have been made before the request.
    fn answer(&self) -> f64 {
        let (first, duration) = self.arrivals.first();
        let waited = self.requested.map(|at| first - at);
        match (self.round_trip, waited) {
            (Some(round_trip), _) => round_trip,
            (None, Some(waited)) if waited < duration => waited.max(0.0),
            (None, Some(waited)) => waited - duration,
            // Nothing known: an ordinary path.
            (None, None) => 50.0,
        }
    }

    /// 0 for a wire, towards 1 for a radio link or a long path.
    fn path(&self) -> f64 {
        1.0 - (-self.answer() / self.tuning.wire_ms).exp()
    }

    /// Media to hold so that delivery below real time lasts to the end; negative when delivery is faster.
    fn lead(&self, cap: f64) -> f64 {
        let (t, a) = (&self.tuning, &self.arrivals);
        let trend = a.trend();
        if trend.abs() < t.flat {
            return 0.0;
        }
        let rest = self
            .total
            .map_or(t.rest_ms + t.rest_per_heard * a.received(), |total| {
                (self.gaps.contiguous(total) - a.head()).max(0.0)
            });
        if trend < 0.0 {
            return trend * rest;
        }
        let shortage = rest * ((1.0 - self.stretch) * (1.0 + trend) - 1.0).max(0.0);
        if self.total.is_some() {
            shortage
        } else {
            shortage.min(cap)
        }
    }

    /// Media wanted when a chunk has just arrived, ms: the latency the player works towards.
    pub fn target(&self) -> f64 {
        self.wanted(self.arrivals.last_at(), self.lead(self.tuning.lead_ms))
            + self.arrivals.page_ms()
    }

    /// What was measured so far.
    pub fn stats(&self) -> Stats {
        if !self.arrivals.any() {
            return Stats {
                underruns: self.underruns,
                ..Stats::default()
            };
        }
        Stats {
            arrival_rate: 1.0 / (1.0 + self.arrivals.trend()).max(0.01),
            spread_p95_ms: self.arrivals.quantile(0.95),
            spread_ms: self.arrivals.spread(self.arrivals.last_at()),
            burst_ms: self.arrivals.burst(),
            target_ms: self.target(),
            predicted_safe_start_ms: self.safe_start,
            drift_ppm: self.drift.ppm(),
            underruns: self.underruns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds chunks (arrival, start, duration) into a stream requested at 0.
    fn after(mode: Mode, latency: Latency, chunks: &[(f64, f64, f64)]) -> Prebuffer {
        let mut p = Prebuffer::new(mode, latency);
        p.on_request(0.0);
        for c in chunks {
            p.on_arrival(c.0, c.1, c.2);
        }
        p
    }

    /// The wall time at which `p` starts if nothing more happens, asked first at `now`.
    fn start_time(p: &mut Prebuffer, mut now: f64, playhead: f64) -> f64 {
        for _ in 0..1_000 {
            match p.decide(now, playhead, false) {
                Decision::Start => return now,
                Decision::Wait { until_ms } if until_ms.is_finite() => now = until_ms,
                other => panic!("{other:?} at {now}"),
            }
        }
        panic!("no start by {now}");
    }

    fn rate(p: &mut Prebuffer, now: f64, playhead: f64) -> f64 {
        match p.decide(now, playhead, false) {
            Decision::Play { rate, .. } => rate,
            other => panic!("{other:?} at {now}"),
        }
    }

    #[test]
    fn a_wire_starts_after_the_floor() {
        // Answer 0.7 ms: path = 1 − exp(−0.7/15) = 0.0456; 10 + 300 · 0.0456 + 0.5 · 0.7 = 24.03 ms.
        let mut p = after(
            Mode::Live,
            Latency::AUTO,
            &[(20.7, 0.0, 20.0), (40.7, 20.0, 20.0)],
        );
        assert!((start_time(&mut p, 40.7, 0.0) - 44.73).abs() < 0.01);
    }

    #[test]
    fn one_large_page_is_no_margin() {
        // 1 s of media, complete after 1 s, here 150 ms later: path ≈ 1, 10 + 300 + 75 = 385 ms of
        // margin, but one page shows no rate: 500 ms for a second one.
        let mut p = after(Mode::Live, Latency::AUTO, &[(1150.0, 0.0, 1000.0)]);
        assert!((start_time(&mut p, 1150.0, 0.0) - 1650.0).abs() < 0.1);
    }

    #[test]
    fn a_burst_at_the_join_starts_at_once() {
        let mut p = after(Mode::Live, Latency::AUTO, &[(200.0, 0.0, 1000.0)]);
        assert_eq!(p.decide(200.0, 0.0, false), Decision::Start);
    }

    #[test]
    fn an_ended_stream_starts_at_once() {
        let mut p = after(
            Mode::Complete,
            Latency::fixed(5_000.0),
            &[(600.0, 0.0, 20.0)],
        );
        assert!(matches!(p.decide(600.0, 0.0, false), Decision::Wait { .. }));
        p.on_end_of_stream(600.0);
        assert_eq!(p.decide(600.0, 0.0, false), Decision::Start);
    }

    #[test]
    fn nothing_starts_in_the_middle_of_a_drought() {
        // One chunk every 20 ms, the last one at 280; the next is due at 300.
        let chunks: Vec<_> = (0..10)
            .map(|k| (100.0 + f64::from(k) * 20.0, f64::from(k) * 20.0, 20.0))
            .collect();
        let mut p = after(Mode::Live, Latency::AUTO, &chunks);
        // Margin wanted: 10 + 300 · (1 − exp(−80/15)) + 0.5 · 80 = 348.6, and as much again as the chunk is late.
        for now in [300.0, 449.0, 700.0, 1_000.0, 1_440.0] {
            assert!(
                matches!(p.clone().decide(now, 0.0, false), Decision::Wait { .. }),
                "at {now}"
            );
        }
        // A second late, it is not waited for any longer: 100 + 348.6 + 1000.
        assert!((start_time(&mut p.clone(), 1_440.0, 0.0) - 1_448.6).abs() < 2.0);
        // When it comes, late by 800 ms and with all that followed it, that is the spread.
        for k in 10..51 {
            p.on_arrival(1_100.0, f64::from(k) * 20.0, 20.0);
        }
        p.on_arrival(1_120.0, 1_020.0, 20.0);
        let spread = p.stats().spread_ms;
        assert!((775.0..=800.0).contains(&spread), "{spread}");
        // 100 + 348.6 + 800.
        assert!((start_time(&mut p, 1_120.0, 0.0) - 1_248.6).abs() < 2.0);
    }

    #[test]
    fn a_fixed_latency_is_held_media() {
        // 20 ms chunks at real time on a slow path: 100 ms are held when the fifth chunk is there.
        let mut p = Prebuffer::new(Mode::Live, Latency::fixed(100.0));
        p.on_request(0.0);
        for k in 0..4 {
            let now = 80.0 + f64::from(k) * 20.0;
            p.on_arrival(now, f64::from(k) * 20.0, 20.0);
            assert!(
                matches!(p.decide(now, 0.0, false), Decision::Wait { .. }),
                "chunk {k}"
            );
        }
        p.on_arrival(160.0, 80.0, 20.0);
        assert_eq!(p.decide(160.0, 0.0, false), Decision::Start);
        assert_eq!(p.target(), 100.0);
    }

    #[test]
    fn a_slow_stream_of_known_length_starts_when_it_will_last() {
        // 20 s at r = 0.8, 100 ms chunks: the earliest gapless start is 199 · 25 = 4975 ms after the first.
        let mut p = Prebuffer::new(Mode::Complete, Latency::AUTO);
        p.on_request(0.0);
        p.set_total(Some(20_000.0));
        let mut start = None;
        for k in 0..200 {
            let now = 200.0 + f64::from(k) * 125.0;
            p.on_arrival(now, f64::from(k) * 100.0, 100.0);
            if start.is_none() && p.decide(now, 0.0, false) == Decision::Start {
                start = Some(now - 200.0);
            }
        }
        let start = start.expect("starts");
        assert!((4_975.0..6_200.0).contains(&start), "{start}");
    }

    #[test]
    fn an_underrun_is_followed_by_a_new_prebuffer() {
        let chunks: Vec<_> = (0..50)
            .map(|k| (100.0 + f64::from(k) * 20.0, f64::from(k) * 20.0, 20.0))
            .collect();
        let mut p = after(Mode::Live, Latency::AUTO, &chunks);
        p.on_playing(500.0, 0.0);
        p.on_underrun(1_500.0);
        // The next chunk was due at 1100 and comes at 1600: spread 500. A crumb of 20 ms does not start output:
        // 80 ms over the newest page are asked for.
        p.on_arrival(1_600.0, 1_000.0, 20.0);
        assert!((start_time(&mut p.clone(), 1_600.0, 1_000.0) - 1_680.0).abs() < 0.1);
        // The rest of the backlog comes at once: the base is back, margin 500 > 10 + 0.3 · 500.
        for k in 51..76 {
            p.on_arrival(1_601.0, f64::from(k) * 20.0, 20.0);
        }
        p.on_arrival(1_620.0, 1_520.0, 20.0);
        assert_eq!(p.decide(1_620.0, 1_000.0, false), Decision::Start);
        assert_eq!(p.stats().underruns, 1);
    }

    #[test]
    fn short_of_margin_it_slows_within_the_option() {
        let chunks: Vec<_> = (0..50)
            .map(|k| (150.0 + f64::from(k) * 100.0, f64::from(k) * 100.0, 100.0))
            .collect();
        let mut p = after(Mode::Complete, Latency::AUTO, &chunks);
        p.on_playing(450.0, 0.0);
        // Margin 300 of some 1450 wanted.
        let now = 150.0 + 49.0 * 100.0;
        assert_eq!(rate(&mut p, now, now - 450.0), 0.995);
        p.set_stretch(0.05);
        assert_eq!(rate(&mut p, now, now - 450.0), 0.95);
        p.set_stretch(0.5);
        assert_eq!(rate(&mut p, now, now - 450.0), 0.95);
        // Margin 4 s: complete mode plays on at 1, live mode comes back by half a per cent.
        assert_eq!(rate(&mut p, now, now - 4_150.0), 1.0);
        let mut p = after(Mode::Live, Latency::AUTO, &chunks);
        p.on_playing(450.0, 0.0);
        assert_eq!(rate(&mut p, now, now - 4_150.0), 1.005);
    }

    #[test]
    fn live_skips_only_far_beyond_its_bound() {
        let chunks: Vec<_> = (0..50)
            .map(|k| (150.0 + f64::from(k) * 100.0, f64::from(k) * 100.0, 100.0))
            .collect();
        let mut p = after(
            Mode::Live,
            Latency {
                min_ms: 0.0,
                max_ms: 500.0,
            },
            &chunks,
        );
        p.on_playing(450.0, 0.0);
        let now = 150.0 + 49.0 * 100.0;
        // Margin wanted: 500 − the page of 100 = 400. Playhead 900 ms behind the base: 500 over, work it off.
        assert!(rate(&mut p, now, now - 150.0 - 900.0) > 1.0);
        // 1600 behind: 1200 over, skip exactly those.
        let playhead = now - 150.0 - 1_600.0;
        assert_eq!(
            p.decide(now, playhead, false),
            Decision::Skip {
                to_ms: playhead + 1_200.0
            }
        );
        // The same in complete mode: never.
        let mut p = after(
            Mode::Complete,
            Latency {
                min_ms: 0.0,
                max_ms: 500.0,
            },
            &chunks,
        );
        p.on_playing(450.0, 0.0);
        assert_eq!(rate(&mut p, now, playhead), 1.0);
    }

    #[test]
    fn a_hole_is_no_margin() {
        // 20 ms chunks at real time; after 2 s the programme jumps by 5 s.
        let chunk = |k: u32| {
            (
                150.0 + f64::from(k) * 20.0,
                f64::from(k) * 20.0 + if k < 100 { 0.0 } else { 5_000.0 },
                20.0,
            )
        };
        let chunks: Vec<_> = (0..110).map(chunk).collect();
        let bounds = Latency {
            min_ms: 0.0,
            max_ms: 400.0,
        };
        let mut p = after(Mode::Live, bounds, &chunks);
        p.on_playing(550.0, 0.0);
        let now = 150.0 + 109.0 * 20.0;
        // 400 ms behind on either side of the hole: neither skips nor hurries.
        assert!((rate(&mut p.clone(), now, 1_780.0) - 1.0).abs() < 0.001);
        assert_eq!(p.stats().spread_ms, 0.0);
        let now = now + 300.0;
        for k in 110..125 {
            let c = chunk(k);
            p.on_arrival(c.0, c.1, c.2);
        }
        assert!((rate(&mut p, now, 7_080.0) - 1.0).abs() < 0.001);
    }

    #[test]
    fn nonsense_is_ignored() {
        let mut p = Prebuffer::new(Mode::Live, Latency::AUTO);
        for (now, start, duration) in [
            (f64::NAN, 0.0, 20.0),
            (0.0, f64::INFINITY, 20.0),
            (0.0, 0.0, -1.0),
            (0.0, 0.0, 0.0),
            (0.0, 0.0, f64::NAN),
        ] {
            p.on_arrival(now, start, duration);
        }
        assert_eq!(
            p.decide(0.0, 0.0, false),
            Decision::Wait {
                until_ms: f64::INFINITY
            }
        );
        assert_eq!(p.stats(), Stats::default());
    }

    #[test]
    fn a_pause_that_must_come_is_placed_at_silence() {
        // r = 0.5, nothing known of the end, 400 ms held.
        let chunks: Vec<_> = (0..50)
            .map(|k| (200.0 + f64::from(k) * 200.0, f64::from(k) * 100.0, 100.0))
            .collect();
        let mut p = after(Mode::Complete, Latency::AUTO, &chunks);
        p.on_playing(5_000.0, 0.0);
        assert!(rate(&mut p, 10_000.0, 4_600.0) < 1.0);
        assert_eq!(p.decide(10_000.0, 4_600.0, true), Decision::Stall);
        assert!(matches!(
            p.decide(10_000.0, 2_000.0, true),
            Decision::Play { .. }
        ));
    }

    #[test]
    fn a_live_latency_holds_for_two_hours_of_drift() {
        // 20 ms chunks whose source is 200 ppm fast, a fixed latency of 500 ms, the playhead moved as told.
        for ppm in [-200.0, 200.0] {
            let mut p = Prebuffer::new(Mode::Live, Latency::fixed(500.0));
            p.on_request(0.0);
            let (mut playhead, mut rate, mut worst) = (0.0, 1.0, 0f64);
            let mut last = 0.0;
            let mut playing = false;
            for k in 0..360_000u32 {
                let media = f64::from(k) * 20.0;
                let now = 50.0 + media / (1.0 + ppm * 1e-6) + f64::from(k * 7_919 % 13) * 0.5;
                if playing {
                    playhead += (now - last) * rate;
                }
                last = now;
                p.on_arrival(now, media, 20.0);
                match p.decide(now, playhead, false) {
                    Decision::Start => {
                        playing = true;
                        p.on_playing(now, playhead);
                    }
                    Decision::Play { rate: r, .. } => rate = r,
                    Decision::Wait { .. } => {}
                    other => panic!("{other:?}"),
                }
                if playing {
                    worst = worst.max((media + 20.0 - playhead - 500.0).abs());
                }
            }
            assert!(worst < 20.0, "{ppm} ppm: {worst} ms off");
            assert!(
                (p.stats().drift_ppm - ppm).abs() < 30.0,
                "{ppm}: {}",
                p.stats().drift_ppm
            );
        }
    }
}
