//! What the prebuffer is told and what it answers.

/// May the player drop anything to keep up?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A live programme: latency is kept near its target; skipping is the last resort.
    Live,
    /// Speech and files: every sample is played; nothing is ever dropped or skipped.
    Complete,
}

/// Bounds for the media held when a chunk has just arrived, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Never start with less than this, unless the stream has ended.
    pub min_ms: f64,
    /// Never wait for more than this, nor stretch to get it; in live mode come back to it.
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

/// What [`Prebuffer::decide`](super::Prebuffer::decide) wants done.
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
        /// Media milliseconds consumed per wall millisecond; clock drift is included.
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
    /// Media ms received per wall ms over the last minute; 1 is real time.
    pub arrival_rate: f64,
    /// 95th percentile of the chunks' lateness above the earliest, ms.
    pub spread_p95_ms: f64,
    /// Worst recent lateness above the earliest, ms.
    pub spread_ms: f64,
    /// Largest piece of media that arrived at one instant, ms.
    pub burst_ms: f64,
    /// Media wanted when a chunk has just arrived, ms.
    pub target_ms: f64,
    /// Wall time at which the margin is expected to suffice for a start, ms; not after now when it does.
    pub predicted_safe_start_ms: f64,
    /// Estimated source clock against output clock, ppm (live mode).
    pub drift_ppm: f64,
    /// Underruns so far.
    pub underruns: u32,
}
