//! Distinct types for positions and lengths of media.
//!
//! *Frames* count samples per channel at a stream's own rate. *Ticks* are a
//! rate-independent clock of 705 600 000 per second, which every common audio
//! rate divides (8 k … 192 k, 11 025 … 176 400), so converting frames to ticks
//! and back is exact and a programme stays sample-exact across a change of
//! rate. A `u64` of ticks lasts 828 years.

use std::ops::{Add, AddAssign, Sub};

/// Ticks in one second of media.
pub const TICKS_PER_SECOND: u64 = 705_600_000;

/// A count of frames (samples per channel) at a rate known from context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frames(pub u64);

/// A position in the programme, in ticks since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(u64);

/// A length of media, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaDuration(u64);

impl MediaTime {
    /// The start of the programme.
    pub const ZERO: Self = Self(0);

    /// From ticks since the programme's start.
    pub const fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Ticks since the programme's start.
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// Seconds since the programme's start, for display and JSON.
    pub fn as_secs_f64(self) -> f64 {
        MediaDuration(self.0).as_secs_f64()
    }

    /// Time since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> MediaDuration {
        MediaDuration(self.0.saturating_sub(earlier.0))
    }
}

impl MediaDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From ticks.
    pub const fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    /// From whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(TICKS_PER_SECOND / 1000))
    }

    /// From seconds; negative, NaN and out-of-range values clamp.
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * TICKS_PER_SECOND as f64) as u64)
    }

    /// From `frames` at `rate` Hz; exact for every rate that divides
    /// [`TICKS_PER_SECOND`], rounded down otherwise. A rate of 0 gives zero.
    pub fn from_frames(frames: Frames, rate: u32) -> Self {
        if rate == 0 {
            return Self::ZERO;
        }
        let ticks = u128::from(frames.0) * u128::from(TICKS_PER_SECOND) / u128::from(rate);
        Self(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// Whole frames at `rate` Hz, rounded to nearest.
    pub fn to_frames(self, rate: u32) -> Frames {
        let half = u128::from(TICKS_PER_SECOND / 2);
        let frames = (u128::from(self.0) * u128::from(rate) + half) / u128::from(TICKS_PER_SECOND);
        Frames(u64::try_from(frames).unwrap_or(u64::MAX))
    }

    /// Ticks.
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / (TICKS_PER_SECOND / 1000)
    }

    /// Seconds, for display and JSON.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / TICKS_PER_SECOND as f64
    }
}

impl Add<MediaDuration> for MediaTime {
    type Output = Self;
    fn add(self, rhs: MediaDuration) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl Sub<MediaDuration> for MediaTime {
    type Output = Self;
    fn sub(self, rhs: MediaDuration) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl Add for MediaDuration {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for MediaDuration {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Add for Frames {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for Frames {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_common_rate_is_exact() {
        for rate in [
            8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000,
            176_400, 192_000,
        ] {
            assert_eq!(TICKS_PER_SECOND % u64::from(rate), 0, "{rate}");
            let frames = Frames(1_000_000_007);
            assert_eq!(
                MediaDuration::from_frames(frames, rate).to_frames(rate),
                frames
            );
        }
    }

    #[test]
    fn hostile_values_clamp() {
        assert_eq!(
            MediaDuration::from_frames(Frames(u64::MAX), 1).ticks(),
            u64::MAX
        );
        assert_eq!(
            MediaDuration::from_frames(Frames(1), 0),
            MediaDuration::ZERO
        );
        assert_eq!(MediaDuration::from_secs_f64(f64::NAN), MediaDuration::ZERO);
        assert_eq!(MediaDuration::from_secs_f64(-1.0), MediaDuration::ZERO);
    }
}
