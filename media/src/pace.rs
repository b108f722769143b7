//! Pacing by media time: when a piece of a file may be sent as if it were live.
//!
//! Every deadline derives from one anchor and the piece's own position, so
//! that rounding and late wake-ups never add up.

use std::time::Duration;

use crate::units::{MediaDuration, MediaTime, TICKS_PER_SECOND};

/// Who is this late was suspended and does not catch up.
const LATE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct Pacer {
    lead: Duration,
    anchor: Option<(Duration, MediaTime)>,
    resets: u64,
}

impl Pacer {
    /// One that lets audio go `lead` before its time.
    pub fn new(lead: Duration) -> Self {
        Self {
            lead,
            anchor: None,
            resets: 0,
        }
    }

    /// When what follows `position` may be sent. The first call anchors that
    /// position to `now`; so does one that finds itself more than 2 s late.
    pub fn due(&mut self, now: Duration, position: MediaTime) -> Duration {
        let (start, from) = *self.anchor.get_or_insert((now, position));
        let due = (start + wall(position.since(from))).saturating_sub(self.lead);
        if now > due + self.lead + LATE || position < from {
            self.resets += 1;
            self.anchor = Some((now, position));
            return now;
        }
        due
    }

    /// Times at which it was too late to go on as before.
    pub fn resets(&self) -> u64 {
        self.resets
    }
}

/// Media time as wall-clock time, rounded down to the nanosecond.
fn wall(length: MediaDuration) -> Duration {
    let (secs, rest) = (
        length.ticks() / TICKS_PER_SECOND,
        length.ticks() % TICKS_PER_SECOND,
    );
    let nanos = u128::from(rest) * 1_000_000_000 / u128::from(TICKS_PER_SECOND);
    Duration::new(secs, nanos as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Frames;

    #[test]
    fn a_day_does_not_drift() {
        let lead = Duration::from_millis(100);
        let mut pacer = Pacer::new(lead);
        let origin = Duration::from_secs(1_000);
        let mut now = origin;
        // MP3 frames of 1152 at 44.1 kHz; every wake-up is up to 7 ms late.
        let frames = 24 * 3600 * 44_100 / 1152;
        for frame in 0..=frames {
            let length = MediaDuration::from_frames(Frames(frame * 1152), 44_100);
            let due = pacer.due(now, MediaTime::ZERO + length);
            now = now.max(due) + Duration::from_micros(frame * 7919 % 7000);
        }
        let day = Duration::from_secs_f64((frames * 1152) as f64 / 44_100.0);
        let off = (origin + day - lead).abs_diff(now);
        assert!(off < Duration::from_millis(20), "{off:?}");
        assert_eq!(pacer.resets(), 0);
    }

    #[test]
    fn who_was_suspended_does_not_catch_up() {
        let mut pacer = Pacer::new(Duration::ZERO);
        let at = |secs: u64| MediaTime::ZERO + MediaDuration::from_millis(secs * 1000);
        let secs = Duration::from_secs;
        assert_eq!(pacer.due(secs(5), at(0)), secs(5));
        assert_eq!(pacer.due(secs(5), at(3)), secs(8));
        assert_eq!(pacer.due(secs(60), at(4)), secs(60));
        assert_eq!(pacer.due(secs(60), at(5)), secs(61));
        assert_eq!(pacer.resets(), 1);
    }
}
