//! When to try again: capped and jittered, so that many relays do not all come
//! back to a restarted server in the same instant.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(30);
/// What lasted longer than this worked.
const WORKED: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure; `chance` is random in 0..1. Between
    /// half and all of 0.5 s, 1 s, 2 s … 30 s.
    pub fn failed(&mut self, chance: f64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(10)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }

    /// As [`Backoff::failed`], after an attempt that went well for so long: if
    /// that was not short, the failure is the first again.
    pub fn after(&mut self, lasted: Duration, chance: f64) -> Duration {
        if lasted > WORKED {
            self.failures = 0;
        }
        self.failed(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_cap_and_starts_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(
            waits,
            [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
        );
        assert_eq!(backoff.failed(0.0), CAP / 2);
        assert_eq!(backoff.after(WORKED, 0.0), CAP / 2);
        assert_eq!(backoff.after(WORKED * 2, 0.0), FIRST / 2);
        assert_eq!(backoff.failed(0.0), FIRST, "the second in a row");
    }
}
