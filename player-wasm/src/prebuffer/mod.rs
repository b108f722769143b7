//! The measured prebuffer: when to start, when to start again, how fast to play.
//!
//! A pure core. Every time is in milliseconds as `f64`: *now* is the caller's
//! monotonic wall clock (any origin), *media* positions are positions in the
//! programme. No call reads a clock, allocates per chunk, or depends on anything
//! but the calls before it.
//!
//! # Run loop
//!
//! 1. [`Prebuffer::on_arrival`] for each chunk, before anything is dropped;
//!    [`Prebuffer::on_end_of_stream`] once no more will come.
//! 2. After any event, and whenever `until_ms` of the last decision has passed,
//!    call [`Prebuffer::decide`] and do what it says. Extra calls are harmless.
//! 3. Tell it what happened: [`Prebuffer::on_playing`] when output has begun or
//!    begun again, [`Prebuffer::on_underrun`] when the playhead ran dry.

pub mod drift;

/// May the player drop anything to keep up?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A live programme: latency is kept near its target; skipping is the last resort.
    Live,
    /// Speech and files: every sample is played; nothing is ever dropped or skipped.
    Complete,
}

/// Bounds for the prebuffer, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Never hold less than this before a start.
    pub min_ms: f64,
    /// Never wait for more than this before a start.
    pub max_ms: f64,
}

impl Latency {
    /// Measured, without bounds.
    pub const AUTO: Self = Self {
        min_ms: 0.0,
        max_ms: f64::INFINITY,
    };

    /// Exactly this much.
    pub const fn fixed(ms: f64) -> Self {
        Self {
            min_ms: ms,
            max_ms: ms,
        }
    }
}

/// What [`Prebuffer::decide`] wants done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Output stays silent. Ask again at the next event, or at `until_ms` if nothing happens before (infinite: no need).
    Wait {
        /// Wall time at which to ask again.
        until_ms: f64,
    },
    /// Begin, or begin again, at the present playhead, now.
    Start,
    /// Keep playing, `rate` media ms per wall ms. Within 1 ± 0.005 this is meant
    /// for the resampler; beyond, for a pitch-preserving time-stretch.
    Play {
        /// Media milliseconds consumed per wall millisecond.
        rate: f64,
        /// Wall time at which to ask again (infinite: no need).
        until_ms: f64,
    },
    /// Live only: jump forward to this media position at the next quiet spot.
    /// Repeated until the playhead has passed it or the need is gone.
    Skip {
        /// Media position to go on from.
        to_ms: f64,
    },
    /// Pause here, in a quiet spot, before an underrun that is about to fall in a worse place.
    Stall,
}

/// What the estimator measured; for statistics, not for decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Media ms received per wall ms, recent; 1 is real time.
    pub arrival_rate: f64,
    /// 95th percentile of the chunks' lateness against the earliest, ms.
    pub spread_p95_ms: f64,
    /// Largest piece of media that arrived at one instant, ms.
    pub burst_ms: f64,
    /// Buffer wanted before a start, ms.
    pub target_ms: f64,
    /// Wall time at which the buffer is expected to reach the target, ms.
    pub predicted_safe_start_ms: f64,
    /// Underruns so far.
    pub underruns: u32,
}

/// The estimator and the decisions.
#[derive(Clone, Debug)]
pub struct Prebuffer {
    mode: Mode,
    latency: Latency,
    stretch: f64,
    head_ms: f64,
    ended: bool,
    playing: bool,
    underruns: u32,
}

impl Prebuffer {
    /// A prebuffer for one stream. Time-stretch is on (5 %) for live, off otherwise; see [`Prebuffer::set_stretch`].
    pub fn new(mode: Mode, latency: Latency) -> Self {
        let stretch = if mode == Mode::Live { 0.05 } else { 0.0 };
        Self {
            mode,
            latency,
            stretch,
            head_ms: f64::NEG_INFINITY,
            ended: false,
            playing: false,
            underruns: 0,
        }
    }

    /// Largest time-stretch that may be asked for, as a fraction (0.05 = 5 %, the most; 0 turns it off).
    pub fn set_stretch(&mut self, fraction: f64) {
        self.stretch = fraction.clamp(0.0, 0.05);
    }

    /// Changes the latency bounds of a running stream.
    pub fn set_latency(&mut self, latency: Latency) {
        self.latency = latency;
    }

    /// Media position at which the programme will end, when known beforehand.
    pub fn set_total(&mut self, total_ms: Option<f64>) {
        let _ = total_ms;
    }

    /// A chunk became decodable. `now_ms` is when its bytes arrived; chunks come in media order.
    pub fn on_arrival(&mut self, now_ms: f64, media_start_ms: f64, media_duration_ms: f64) {
        let _ = now_ms;
        self.head_ms = media_start_ms + media_duration_ms;
    }

    /// No chunk will follow.
    pub fn on_end_of_stream(&mut self, now_ms: f64) {
        let _ = now_ms;
        self.ended = true;
    }

    /// Output began, or began again, at this media position.
    pub fn on_playing(&mut self, now_ms: f64, playhead_ms: f64) {
        let _ = (now_ms, playhead_ms);
        self.playing = true;
    }

    /// The playhead reached the end of what had arrived; output is silent.
    pub fn on_underrun(&mut self, now_ms: f64) {
        let _ = now_ms;
        self.playing = false;
        self.underruns += 1;
    }

    /// Output was stopped for another reason (pause, [`Decision::Stall`], seek); no underrun.
    pub fn on_stopped(&mut self, now_ms: f64) {
        let _ = now_ms;
        self.playing = false;
    }

    /// The stream was cut (seek, reconnect at another position): forget positions, keep what was learnt of the network.
    pub fn on_discontinuity(&mut self) {
        self.head_ms = f64::NEG_INFINITY;
        self.ended = false;
        self.playing = false;
    }

    /// What to do now. `playhead_ms` is the media position to be heard next,
    /// `quiet` whether the audio there is (near) silence.
    pub fn decide(&mut self, now_ms: f64, playhead_ms: f64, quiet: bool) -> Decision {
        let _ = (now_ms, quiet, self.mode, self.stretch);
        let held = self.head_ms - playhead_ms;
        if self.playing {
            return Decision::Play {
                rate: 1.0,
                until_ms: f64::INFINITY,
            };
        }
        if held > 0.0 && (self.ended || held >= self.target()) {
            return Decision::Start;
        }
        Decision::Wait {
            until_ms: f64::INFINITY,
        }
    }

    /// Buffer wanted before a start, ms.
    pub fn target(&self) -> f64 {
        200f64.clamp(self.latency.min_ms, self.latency.max_ms)
    }

    /// What was measured so far.
    pub fn stats(&self) -> Stats {
        Stats {
            target_ms: self.target(),
            underruns: self.underruns,
            ..Stats::default()
        }
    }
}
