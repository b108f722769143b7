//! Clock drift between source and output, corrected by a resample ratio when there is any.
//!
//! Source and sound card disagree by up to a few hundred parts per million, which
//! empties or fills any buffer within hours. What is seen is the level, and it is
//! noisy: the context's clock moves in steps, arrivals jitter. So levels are averaged
//! over windows of 4 s, and as long as the mean stays within 10 ms of where it
//! belongs the ratio is exactly 1: a stream that arrives cleanly is played sample by
//! sample. After two windows beyond, a loop brings it back:
//!
//! ```text
//! e = level − target                    ms
//! u = K_P·e + I,   dI/dt = K_I·e        ratio − 1
//! de/dt = 1000·(drift − u)              ms per s
//! ```
//!
//! `K_P = 2ω/1000`, `K_I = ω²/1000` place both poles at ω = 0.01/s (critically
//! damped); `I` begins with what the way to those 10 ms says about the drift. When the
//! level is back and no drift is left, the ratio is 1 again.
//!
//! No quartz is off by more than a part in a thousand. Where the level moves faster,
//! the output stood still, or the source, or the path is another one; correcting that
//! would touch every sample for minutes, for a latency that nobody notices. The level
//! found behind such a step is kept, up to a second more than at first.

/// Natural frequency ω, per second.
const OMEGA: f64 = 0.01;
/// Largest deviation of the ratio from 1: 0.5 % is a twelfth of a semitone.
pub const MAX_DEVIATION: f64 = 0.005;
/// Largest drift believed: no quartz is off by more than a part in a thousand.
const MAX_DRIFT: f64 = 0.001;
/// Longest step between two levels that is integrated, ms; a longer one is a pause of the page, not time played.
const MAX_STEP_MS: f64 = 5_000.0;
/// Levels are averaged over this long, ms.
const WINDOW_MS: f64 = 4_000.0;
/// Errors up to this are left alone, ms.
const BAND_MS: f64 = 10.0;
/// A playhead that moves by more than the band in a window, or a level that does by more than this, ms, has jumped.
const STEP_MS: f64 = 50.0;
/// An error under this, ms, ...
const CLOSED_MS: f64 = 1.0;
/// ... at a drift under this, ends a correction.
const NO_DRIFT: f64 = 10e-6;
/// Most that steps of the output may add to the level, ms.
const MAX_KEPT_MS: f64 = 1_000.0;

/// Sums over one window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    begin: f64,
    last: f64,
    count: f64,
    offset: f64,
    level: f64,
}

/// The slow loop that keeps the level although two clocks disagree.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    window: Option<Window>,
    /// Mean offset and level of the window before, and the ratio's deviation in it.
    before: Option<(f64, f64, f64)>,
    /// The level found at first, and the one to keep now.
    found: f64,
    kept: Option<f64>,
    /// When the level was last where it belongs.
    since: f64,
    /// The last window was on another level than the one before.
    stepped: bool,
    /// The last window was out of the band.
    beyond: bool,
    correcting: bool,
    drift: f64,
    deviation: f64,
}

impl Drift {
    /// A loop that has learnt nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Feed the level, often and only while playing: `offset_ms` is now − playhead, `level_ms` what is held.
    /// The level found in the beginning is kept, within `low` to `high`.
    pub fn on_level(&mut self, now: f64, offset_ms: f64, level_ms: f64, (low, high): (f64, f64)) {
        let window = match &mut self.window {
            Some(window) if now - window.last <= MAX_STEP_MS => window,
            _ => {
                self.before = None;
                self.window.insert(Window {
                    begin: now,
                    ..Window::default()
                })
            }
        };
        window.last = now;
        window.count += 1.0;
        window.offset += offset_ms;
        window.level += level_ms;
        let length = now - window.begin;
        if length < WINDOW_MS {
            return;
        }
        let (offset, level) = (window.offset / window.count, window.level / window.count);
        self.window = None;
        // The first window after a start is not judged: the arrivals have yet to show what is early.
        let before = self.before.replace((offset, level, self.deviation));
        if let Some((offset_before, level_before, deviation)) = before {
            // A correction is heard after what is scheduled: a strong one is not told from a step.
            let strong = deviation.abs().max(self.deviation.abs()) > MAX_DRIFT;
            let expected = -0.5 * length * (deviation + self.deviation);
            let stepped = !strong
                && ((offset - offset_before - expected).abs() > BAND_MS
                    || (level - level_before - expected).abs() > STEP_MS);
            self.judge(now, length, stepped, level, (low, high));
        }
        self.window = Some(Window {
            begin: now,
            last: now,
            ..Window::default()
        });
    }

    fn judge(&mut self, now: f64, length: f64, stepped: bool, level: f64, (low, high): (f64, f64)) {
        if std::mem::replace(&mut self.stepped, stepped) || self.kept.is_none() {
            self.found = self.kept.map_or(level, |_| self.found);
            let kept = self.kept.unwrap_or(level);
            self.kept = Some(level.min(kept.max(self.found + MAX_KEPT_MS)));
            self.since = now;
        }
        if stepped {
            return;
        }
        let kept = self.kept.unwrap_or(level);
        let error = level - kept.max(low).min(high);
        if !self.correcting {
            // Twice in a row: a single window may have seen only late chunks.
            let again = std::mem::replace(&mut self.beyond, error.abs() > BAND_MS);
            if !(again && self.beyond) {
                return;
            }
            self.correcting = true;
            self.beyond = false;
            let trend = error / (now - self.since).max(length);
            if trend.abs() < MAX_DRIFT {
                self.drift = trend;
            }
        } else if error.abs() < CLOSED_MS && self.drift.abs() < NO_DRIFT {
            self.correcting = false;
            (self.drift, self.deviation, self.since) = (0.0, 0.0, now);
            return;
        }
        let proportional = 2.0 * OMEGA / 1_000.0 * error;
        // No integration while the output is saturated: a second of excess is not drift.
        if (proportional + self.drift).abs() < MAX_DEVIATION {
            let step = OMEGA * OMEGA / 1_000.0 * error * length / 1_000.0;
            self.drift = (self.drift + step).clamp(-MAX_DRIFT, MAX_DRIFT);
        }
        self.deviation = (proportional + self.drift).clamp(-MAX_DEVIATION, MAX_DEVIATION);
    }

    /// Media ms to consume per output ms, within 1 ± 0.005; exactly 1 while nothing has to be corrected.
    pub fn ratio(&self) -> f64 {
        1.0 + self.deviation
    }

    /// Estimated source clock against output clock, parts per million: positive when the source is faster.
    pub fn ppm(&self) -> f64 {
        self.drift * 1e6
    }

    /// The level to keep; `None` until it was found.
    pub fn kept(&self) -> Option<f64> {
        self.kept
    }

    /// What was learnt holds no more; the level will be found anew.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The level jumped for another reason (a start, a skip, an underrun): keep the clock estimate, drop the rest.
    pub fn on_discontinuity(&mut self) {
        self.window = None;
        self.before = None;
        self.deviation = self.drift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A player polled every 100 ms that holds `level` ms, on an output `ppm` slower than the source.
    struct Sim {
        drift: Drift,
        level: f64,
        ppm: f64,
        step: u32,
        worst: f64,
        bounds: (f64, f64),
    }

    impl Sim {
        fn new(level: f64, ppm: f64) -> Self {
            Self {
                drift: Drift::new(),
                level,
                ppm,
                step: 0,
                worst: 0.0,
                bounds: (0.0, f64::INFINITY),
            }
        }

        /// Plays on; `worst` is the largest distance from 500 ms in it.
        fn play(&mut self, seconds: f64) -> &mut Self {
            self.worst = 0.0;
            for _ in 0..(seconds * 10.0) as u32 {
                // Triangle of ±5 ms: arrivals and a clock that moves in steps.
                let noise = 5.0 * (f64::from(self.step % 70) / 35.0 - 1.0);
                let seen = self.level + noise;
                self.drift
                    .on_level(f64::from(self.step) * 100.0, seen, seen, self.bounds);
                self.level += 100.0 * (1.0 + self.ppm * 1e-6 - self.drift.ratio());
                self.worst = self.worst.max((self.level - 500.0).abs());
                self.step += 1;
            }
            self
        }
    }

    #[test]
    fn hours_of_200_ppm_stay_within_20_ms() {
        for ppm in [-200.0, -50.0, -5.0, 5.0, 50.0, 200.0] {
            let mut sim = Sim::new(500.0, ppm);
            sim.play(9_000.0);
            assert!(sim.worst < 17.0, "{ppm} ppm: {} ms", sim.worst);
            if ppm.abs() > 10.0 {
                let found = sim.drift.ppm();
                assert!((found - ppm).abs() < 10.0, "{ppm} ppm: {found}");
            }
        }
    }

    #[test]
    fn without_drift_the_ratio_is_exactly_one() {
        for level in [30.0, 500.0, 2_000.0, 30_000.0] {
            let mut sim = Sim::new(level, 0.0);
            for _ in 0..36_000 {
                assert_eq!(sim.play(0.1).drift.ratio(), 1.0, "{level} ms");
            }
        }
    }

    #[test]
    fn an_excess_is_worked_off_at_half_a_per_cent_and_then_the_ratio_is_one_again() {
        let mut sim = Sim::new(500.0, 0.0);
        sim.play(60.0);
        // An underrun of 2 s: 400 s at 0.5 %, then the loop's own 1/ω.
        sim.level += 2_000.0;
        sim.drift.on_discontinuity();
        assert_eq!(sim.play(60.0).drift.ratio(), 1.005);
        sim.play(1_200.0);
        assert_eq!(sim.play(60.0).drift.ratio(), 1.0);
        assert!(sim.worst < 10.0, "{} ms", sim.worst);
    }

    #[test]
    fn a_step_of_the_output_is_kept_up_to_a_second() {
        let mut sim = Sim::new(500.0, 0.0);
        sim.play(60.0);
        sim.level += 600.0;
        sim.play(1_000.0);
        assert_eq!((sim.drift.ratio(), sim.level), (1.0, 1_100.0));
        sim.level += 600.0;
        sim.play(2_000.0);
        assert!((sim.level - 1_500.0).abs() < 10.0, "{} ms", sim.level);
        // Drift is still told from steps.
        let mut sim = Sim::new(500.0, 200.0);
        sim.play(20.0);
        sim.level += 300.0;
        sim.play(3_000.0);
        assert!((sim.level - 800.0).abs() < 20.0, "{} ms", sim.level);
    }

    #[test]
    fn bounds_are_worked_towards() {
        let mut sim = Sim::new(900.0, 0.0);
        sim.bounds = (400.0, 500.0);
        assert!(
            (sim.play(1_500.0).level - 500.0).abs() < 5.0,
            "{}",
            sim.level
        );
        let mut sim = Sim::new(300.0, 0.0);
        sim.bounds = (500.0, 500.0);
        assert!(
            (sim.play(1_500.0).level - 500.0).abs() < 5.0,
            "{}",
            sim.level
        );
        assert_eq!(sim.drift.ratio(), 1.0);
    }

    #[test]
    fn the_ratio_is_bounded_and_a_long_sleep_is_not_integrated() {
        let mut sim = Sim::new(1e9, 0.0);
        sim.bounds = (0.0, 1.0);
        assert_eq!(sim.play(60.0).drift.ratio(), 1.005);
        let mut drift = Drift::new();
        for (now, level) in [
            (0.0, 500.0),
            (4e3, 500.0),
            (8e3, 500.0),
            (3e7, 900.0),
            (3e7 + 4e3, 900.0),
        ] {
            drift.on_level(now, level, level, (0.0, f64::INFINITY));
        }
        assert_eq!(drift.ppm(), 0.0);
    }
}
