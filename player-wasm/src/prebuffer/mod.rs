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
//! first start   floor + (start·(2 − stretch/0.05) + per_page·page)·path + per_answer·answer + start_spread·spread + lead
//! start again   floor + restart_spread·spread + lead
//! playing       floor + play·path + play_spread·spread + lead      (start for play without stretch)
//! path        = 1 − exp(−(answer − 1) / wire)
//! lead        = rest · ((1 − stretch)/r − 1), capped while the length is unknown
//! ```
//!
//! With time-stretch, a margin short of the last one makes the player go slower. In
//! live mode the margin found after the start is kept against the drift of clocks (see
//! `drift`), by up to 0.5 %. A stream that has ended starts at once.

mod arrivals;
pub mod drift;
mod gaps;
mod histogram;
mod tuning;
mod types;

use arrivals::Arrivals;
use drift::Drift;
use gaps::Gaps;
pub use tuning::Tuning;
pub use types::{Decision, Latency, Mode, Stats};

/// Pages up to this long count in the margin of a first start, ms.
const COARSE_MS: f64 = 100.0;
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
/// Live: media gained per ms, beyond any clock's drift, from which on this is no live source.
const FASTER: f64 = 0.002;
/// Browsers round times to this; an answer within it is immediate, ms.
const TICK_MS: f64 = 1.0;
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
    /// starts before what has arrived begins anew, as after [`Prebuffer::on_discontinuity`]. One that comes after
    /// [`Prebuffer::on_end_of_stream`] is another stream's.
    pub fn on_arrival(&mut self, now_ms: f64, media_start_ms: f64, media_duration_ms: f64) {
        let finite = [now_ms, media_start_ms, media_duration_ms]
            .iter()
            .all(|v| v.is_finite());
        if !finite || media_duration_ms <= 0.0 {
            return;
        }
        self.ended = false;
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
        if self.arrivals.pages() == 1 && self.fast_join(now_ms) {
            self.arrivals.note_burst();
        }
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
    #[inline(never)]
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
        if self.fast_join(now) && a.received() >= self.latency.min_ms {
            return 0.0;
        }
        let wanted = t.floor_ms
            + (self.start_margin() + t.per_page * a.page_ms().min(COARSE_MS)) * self.path()
            + t.per_answer * self.answer().min(1_000.0)
            + t.start_spread * spread;
        let missing = self.bounded(wanted + self.lead(t.lead_ms)) - (offset - a.base());
        if a.pages() > 1 {
            return missing;
        }
        let page = self.bounded(a.page_ms().min(t.second_page_ms) * self.path());
        missing.max(page - (now - a.last_at()))
    }

    /// More has come than can have been made since the request.
    fn fast_join(&self, now: f64) -> bool {
        self.requested
            .is_some_and(|at| self.arrivals.received() > FAST_JOIN * (now - at))
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
        let high = (self.latency.max_ms - self.arrivals.page_ms()).max(0.0);
        let low = self.latency.min_ms - self.arrivals.page_ms();
        if self.mode == Mode::Live {
            // Faster than any clock: a file or speech, and nothing of it is too much.
            if self.arrivals.trend() < -FASTER {
                self.drift.forget();
            }
            // What a join gives is kept where no bound says otherwise: it was asked for (`from`, a burst).
            let aim = if high.is_finite() {
                wanted
            } else {
                wanted.max(self.drift.kept().unwrap_or(f64::INFINITY))
            };
            // After a source's own pause the margin is not held.
            let over = margin.min(self.arrivals.head() - playhead) - aim;
            if over > self.skip_beyond() {
                self.drift.on_discontinuity();
                return Decision::Skip {
                    to_ms: self.gaps.programme(playhead + over),
                };
            }
        }
        // A twentieth of slack between stretching and the drift loop, so that they do not take turns.
        let short = (0.95 * wanted - margin) / (APPROACH * wanted.max(50.0));
        if short > 0.0 && self.stretch > 0.0 {
            self.drift.on_discontinuity();
            let rate = 1.0 - self.stretch * (short.min(1.0) * RATE_STEPS).ceil() / RATE_STEPS;
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
        // Music keeps its exact pitch until half of the margin is gone.
        let enough = wanted * if self.stretch == 0.0 { 0.5 } else { 1.0 };
        self.drift
            .on_level(now, now - playhead, margin, (enough.max(low), high));
        Decision::Play {
            rate: self.drift.ratio(),
            until_ms: now + 10.0 * CHECK_MS,
        }
    }

    /// Live: by how many ms the margin of a playhead lies over the latency bound; at most 0 where there is none.
    pub fn over_bound(&self, now_ms: f64, playhead_ms: f64) -> f64 {
        if self.mode == Mode::Complete || self.ended || self.arrivals.trend() < -FASTER {
            return 0.0;
        }
        let playhead = self.gaps.contiguous(playhead_ms);
        let held = self.arrivals.head() - playhead;
        let bound = self.latency.max_ms - self.arrivals.page_ms();
        (now_ms - playhead - self.arrivals.base()).min(held) - bound.max(0.0)
    }

    /// Media was left out, and not because a decision said so.
    pub fn on_skip(&mut self) {
        self.drift.on_discontinuity();
    }

    /// Margin of a first start on a path that is no wire: twice as much when stretching cannot add to it later.
    #[inline(never)]
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
    #[inline(never)]
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
    #[inline(never)]
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
        match waited {
            Some(waited) if waited < duration => waited.max(0.0),
            Some(waited) => waited - duration,
            // Nothing known: an ordinary path.
            None => 50.0,
        }
    }

    /// 0 for a wire, towards 1 for a radio link or a long path.
    #[inline(never)]
    fn path(&self) -> f64 {
        1.0 - (-(self.answer() - TICK_MS).max(0.0) / self.tuning.wire_ms).exp()
    }

    /// Media to hold so that delivery below real time lasts to the end; negative when delivery is faster.
    #[inline(never)]
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

    /// Media aimed at when a chunk has just arrived, ms: the latency the player works towards, or keeps.
    pub fn target(&self) -> f64 {
        let kept = self.drift.kept().map_or(0.0, |kept| self.bounded(kept));
        self.measured().max(kept + self.arrivals.page_ms())
    }

    /// Media wanted when a chunk has just arrived, as measured, ms.
    fn measured(&self) -> f64 {
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
            target_ms: self.measured(),
            predicted_safe_start_ms: self.safe_start,
            drift_ppm: self.drift.ppm(),
            underruns: self.underruns,
        }
    }
}

#[cfg(test)]
mod tests;
