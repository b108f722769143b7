//! Holes in the programme: media that will never come.
//!
//! A relay that skips ahead for a slow listener leaves a hole in media time. Were it
//! taken for media, the chunk behind it would look early by its length and the
//! buffer full by as much. So the estimator counts *contiguous* positions, without
//! the holes, and this maps between the two.

/// Holes remembered; a playhead further behind than that counts as past the oldest.
const REMEMBERED: usize = 8;
/// Differences up to this are rounding, ms.
const ROUNDING_MS: f64 = 1.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Gap {
    /// Programme position of its start.
    at: f64,
    length: f64,
}

/// Programme positions ↔ contiguous positions, ms.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    gaps: [Gap; REMEMBERED],
    used: usize,
    /// Length of the holes that are no longer remembered.
    forgotten: f64,
    head: Option<f64>,
}

impl Gaps {
    /// The contiguous position of a chunk that starts at `start`; `None` when it lies before what has
    /// arrived already, so that the programme goes on elsewhere.
    pub(super) fn arrival(&mut self, start: f64, duration: f64) -> Option<f64> {
        let gap = self.head.map_or(0.0, |head| start - head);
        if gap < -ROUNDING_MS {
            return None;
        }
        if gap > ROUNDING_MS {
            if self.used == REMEMBERED {
                self.forgotten += self.gaps[0].length;
                self.gaps.copy_within(1.., 0);
                self.used -= 1;
            }
            self.gaps[self.used] = Gap {
                at: start - gap,
                length: gap,
            };
            self.used += 1;
        }
        self.head = Some(start + duration);
        Some(self.contiguous(start))
    }

    /// Contiguous position of a programme position; inside a hole, of its start.
    pub(super) fn contiguous(&self, position: f64) -> f64 {
        let mut shift = self.forgotten;
        for gap in &self.gaps[..self.used] {
            if position < gap.at + gap.length {
                return position.min(gap.at) - shift;
            }
            shift += gap.length;
        }
        position - shift
    }

    /// Programme position of a contiguous one; at a hole, of its end.
    pub(super) fn programme(&self, contiguous: f64) -> f64 {
        let mut position = contiguous + self.forgotten;
        for gap in &self.gaps[..self.used] {
            if position >= gap.at {
                position += gap.length;
            }
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_left_out_and_put_back() {
        let mut g = Gaps::default();
        assert_eq!(g.arrival(1_000.0, 100.0), Some(1_000.0));
        assert_eq!(g.arrival(1_100.5, 100.0), Some(1_100.5));
        // 1200.5 to 6200.5 never comes.
        assert_eq!(g.arrival(6_200.5, 100.0), Some(1_200.5));
        assert_eq!(g.contiguous(1_150.0), 1_150.0);
        assert_eq!(g.contiguous(3_000.0), 1_200.5);
        assert_eq!(g.contiguous(6_250.5), 1_250.5);
        assert_eq!(g.programme(1_150.0), 1_150.0);
        assert_eq!(g.programme(1_250.5), 6_250.5);
        assert_eq!(g.programme(1_200.5), 6_200.5);
        // Going back is another programme.
        assert_eq!(g.arrival(500.0, 100.0), None);
    }

    #[test]
    fn many_holes_are_bounded() {
        let mut g = Gaps::default();
        for k in 0..100 {
            let start = f64::from(k) * 1_000.0;
            assert_eq!(g.arrival(start, 100.0), Some(f64::from(k) * 100.0));
        }
        assert_eq!(g.contiguous(99_050.0), 9_950.0);
        assert_eq!(g.programme(9_950.0), 99_050.0);
        assert_eq!(g.contiguous(95_050.0), 9_550.0);
    }
}
