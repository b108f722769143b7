//! Clock drift between source and output, corrected by a resample ratio.

/// The slow loop that keeps the latency on target although two clocks disagree.
#[derive(Clone, Debug)]
pub struct Drift {
    ratio: f64,
}

impl Drift {
    /// A loop that has learnt nothing yet.
    pub fn new() -> Self {
        Self { ratio: 1.0 }
    }

    /// Feed the buffer level: `buffered_ms` held now, `target_ms` wanted.
    pub fn on_level(&mut self, now_ms: f64, buffered_ms: f64, target_ms: f64) {
        let _ = (now_ms, buffered_ms, target_ms);
    }

    /// Media ms to consume per output ms, within 1 ± 0.005.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Estimated source clock against output clock, parts per million.
    pub fn ppm(&self) -> f64 {
        (self.ratio - 1.0) * 1e6
    }

    /// Forget the level (after a start, a skip, an underrun), keep the clock estimate.
    pub fn on_discontinuity(&mut self) {}
}

impl Default for Drift {
    fn default() -> Self {
        Self::new()
    }
}
