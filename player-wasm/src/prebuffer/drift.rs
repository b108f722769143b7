//! Clock drift between source and output, corrected by a resample ratio.
//!
//! Source and sound card disagree by up to a few hundred parts per million, which
//! empties or fills any buffer within hours. The loop sees only the buffer level:
//!
//! ```text
//! e = level − target                    ms
//! u = K_P·e + I,   dI/dt = K_I·e        ratio − 1
//! de/dt = 1000·(drift − u)              ms per s
//! ```
//!
//! `K_P = 2ω/1000`, `K_I = ω²/1000` place both poles at ω (critically damped). A
//! constant drift d then moves the level by at most `1000·d/(ω·e)`: 200 ppm at
//! ω = 0.01/s is 7 ms, gone after some 1/ω = 100 s, well within ±20 ms; and level
//! noise of 5 ms moves the pitch by 100 ppm, a fiftieth of what can be heard.

/// Natural frequency ω, per second.
const OMEGA: f64 = 0.01;
/// Largest deviation of the ratio from 1: 0.5 % is a twelfth of a semitone.
pub const MAX_DEVIATION: f64 = 0.005;
/// Largest drift believed: no quartz is off by more than a part in a thousand.
const MAX_DRIFT: f64 = 0.001;
/// Longest step between two levels that is integrated, s; a longer one is a pause of the page, not time played.
const MAX_STEP_S: f64 = 5.0;

/// The slow loop that keeps the level on target although two clocks disagree.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    drift: f64,
    deviation: f64,
    last_ms: Option<f64>,
}

impl Drift {
    /// A loop that has learnt nothing yet.
    pub const fn new() -> Self {
        Self {
            drift: 0.0,
            deviation: 0.0,
            last_ms: None,
        }
    }

    /// Feed the level: `level_ms` held now, `target_ms` wanted. Call it once per chunk or more often, while playing.
    pub fn on_level(&mut self, now_ms: f64, level_ms: f64, target_ms: f64) {
        let error = level_ms - target_ms;
        let step = self.last_ms.map_or(0.0, |last| {
            ((now_ms - last) / 1_000.0).clamp(0.0, MAX_STEP_S)
        });
        self.last_ms = Some(now_ms);
        let proportional = 2.0 * OMEGA / 1_000.0 * error;
        // No integration while the output is saturated: a second of excess is not drift.
        if (proportional + self.drift).abs() < MAX_DEVIATION {
            self.drift =
                (self.drift + OMEGA * OMEGA / 1_000.0 * error * step).clamp(-MAX_DRIFT, MAX_DRIFT);
        }
        self.deviation = (proportional + self.drift).clamp(-MAX_DEVIATION, MAX_DEVIATION);
    }

    /// Media ms to consume per output ms, within 1 ± 0.005.
    pub fn ratio(&self) -> f64 {
        1.0 + self.deviation
    }

    /// Estimated source clock against output clock, parts per million: positive when the source is faster.
    pub fn ppm(&self) -> f64 {
        self.drift * 1e6
    }

    /// The level jumped for another reason (a start, a skip, an underrun): keep the clock estimate, drop the rest.
    pub fn on_discontinuity(&mut self) {
        self.last_ms = None;
        self.deviation = self.drift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `hours` with a source `ppm` fast; level noise is a triangle wave of ±`noise` ms
    /// sampled every 100 ms. Returns the largest level error after `settle` s, and the loop.
    fn simulate(ppm: f64, hours: f64, noise: f64, start_error: f64, settle: f64) -> (f64, Drift) {
        let mut drift = Drift::new();
        let (mut level, target, mut worst) = (500.0 + start_error, 500.0, 0f64);
        let steps = (hours * 36_000.0) as u32;
        for k in 0..steps {
            let wobble = noise * (f64::from(k % 70) / 35.0 - 1.0);
            drift.on_level(f64::from(k) * 100.0, level + wobble, target);
            level += 100.0 * (1.0 + ppm * 1e-6 - drift.ratio());
            if f64::from(k) > settle * 10.0 {
                worst = worst.max((level - target).abs());
            }
        }
        (worst, drift)
    }

    #[test]
    fn two_hours_of_200_ppm_stay_within_20_ms() {
        for ppm in [-200.0, -50.0, 50.0, 200.0] {
            let (worst, drift) = simulate(ppm, 2.5, 5.0, 0.0, 0.0);
            assert!(worst < 10.0, "{ppm} ppm: {worst} ms");
            assert!(
                (drift.ppm() - ppm).abs() < 10.0,
                "{ppm} ppm: {}",
                drift.ppm()
            );
        }
    }

    #[test]
    fn the_peak_is_what_the_formula_says() {
        // 1000 · 200e-6 / (0.01 · e) = 7.36 ms.
        let (worst, _) = simulate(200.0, 0.5, 0.0, 0.0, 0.0);
        assert!((worst - 7.36).abs() < 0.1, "{worst}");
    }

    #[test]
    fn an_excess_is_worked_off_at_half_a_per_cent_without_overshoot() {
        // 2 s too much: 400 s at 0.5 %, then the loop's own 1/ω.
        let (worst, drift) = simulate(0.0, 1.0, 0.0, 2_000.0, 1_000.0);
        assert!(worst < 20.0, "{worst}");
        assert!(drift.ppm().abs() < 50.0, "{}", drift.ppm());
    }

    #[test]
    fn the_ratio_is_bounded() {
        let mut drift = Drift::new();
        drift.on_level(0.0, 1e9, 0.0);
        assert_eq!(drift.ratio(), 1.005);
        drift.on_level(1.0, -1e9, 0.0);
        assert_eq!(drift.ratio(), 0.995);
    }

    #[test]
    fn a_long_sleep_is_not_integrated() {
        let mut drift = Drift::new();
        drift.on_level(0.0, 520.0, 500.0);
        drift.on_level(8.0 * 3_600_000.0, 520.0, 500.0);
        assert!(drift.ppm() <= 10.0 + 1e-9, "{}", drift.ppm());
    }
}
