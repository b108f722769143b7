//! Latencies by logarithmic buckets: 3 % wide, from 1 µs on.

use serde_json::{Value, json};

const PER_OCTAVE: usize = 32;

/// Counts of durations in µs.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&mut self, us: u64) {
        let index = ((us.max(1) as f64).log2() * PER_OCTAVE as f64) as usize;
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        self.buckets[index] += 1;
        self.count += 1;
        self.max = self.max.max(us);
    }

    /// Durations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration in ms that `share` of all do not exceed.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                let upper = 2_f64.powf((index + 1) as f64 / PER_OCTAVE as f64);
                return upper.min(self.max as f64) / 1000.0;
            }
        }
        0.0
    }

    /// The usual quantiles.
    #[must_use]
    pub fn summary(&self) -> Value {
        json!({
            "count": self.count,
            "p50": self.quantile_ms(0.5),
            "p99": self.quantile_ms(0.99),
            "p999": self.quantile_ms(0.999),
            "max": self.max as f64 / 1000.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        for us in 1..=100_000 {
            histogram.add(us);
        }
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = histogram.quantile_ms(share);
            assert!((found / ms - 1.0).abs() < 0.03, "{share}: {found}");
        }
    }
}
