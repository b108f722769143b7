//! Log-spaced histogram with forgetting.

/// Half an octave a bucket: bucket 0 holds up to 1 ms, bucket k up to `2^(k/2)` ms, the last one the rest (over 11 s).
const BUCKETS: usize = 29;

/// Weighted histogram of milliseconds in which old samples fade.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    weight: [f32; BUCKETS],
    total: f32,
    half_life: f64,
}

impl Histogram {
    /// Empty; a sample counts half after `half_life` of further weight.
    pub(super) fn new(half_life: f64) -> Self {
        Self {
            weight: [0.0; BUCKETS],
            total: 0.0,
            half_life,
        }
    }

    /// Adds `ms` with a weight (the media time it stands for).
    pub(super) fn add(&mut self, ms: f64, weight: f64) {
        let keep = (1.0 - weight * std::f64::consts::LN_2 / self.half_life).max(0.0) as f32;
        for w in &mut self.weight {
            *w *= keep;
        }
        let bucket = if ms <= 1.0 {
            0
        } else {
            (2.0 * ms.log2()).ceil() as usize
        };
        self.weight[bucket.min(BUCKETS - 1)] += weight as f32;
        self.total = self.total * keep + weight as f32;
    }

    /// Upper edge of the bucket that holds quantile `q`; 0 when that is under 1 ms or nothing was added.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        // A hair under, so that rounding of the running sum cannot push 1.0 past the end.
        let want = q as f32 * self.total * 0.999_99;
        let mut sum = 0.0;
        for (k, w) in self.weight.iter().enumerate() {
            sum += w;
            if sum >= want {
                return if k == 0 { 0.0 } else { (k as f64 / 2.0).exp2() };
            }
        }
        (BUCKETS as f64 / 2.0).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_upper_bucket_edges() {
        let mut h = Histogram::new(1e9);
        assert_eq!(h.quantile(0.95), 0.0);
        for _ in 0..94 {
            h.add(0.2, 20.0);
        }
        for _ in 0..6 {
            h.add(100.0, 20.0);
        }
        assert_eq!(h.quantile(0.90), 0.0);
        // 100 ms lies in (2^6.5, 2^7].
        assert_eq!(h.quantile(0.95), 128.0);
        assert_eq!(h.quantile(1.0), 128.0);
    }

    #[test]
    fn old_samples_fade() {
        let mut h = Histogram::new(1_000.0);
        for _ in 0..50 {
            h.add(64.0, 20.0);
        }
        for _ in 0..500 {
            h.add(4.0, 20.0);
        }
        // Ten half-lives later 1/1024 of the old weight is left.
        assert_eq!(h.quantile(0.99), 4.0);
        assert_eq!(h.quantile(1.0), 64.0);
    }
}
