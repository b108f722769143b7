//! A mount's life: who feeds it, how long it is held, where its timeline is.
//! Pure: the caller owns clock and log.

use std::time::{Duration, Instant};

use seamcast_media::units::MediaTime;

/// Names one source connection of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(u64);

/// Where a mount is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No source has sent audio yet.
    Waiting,
    /// A source feeds it.
    Live,
    /// The source was lost; listeners are held until then.
    Held {
        /// End of the grace period.
        until: Instant,
    },
    /// The programme is over; it stays playable until then.
    Ended {
        /// End of the retention time.
        until: Instant,
    },
}

/// What a source that begins must know and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Programme position at which it continues.
    pub start: MediaTime,
    /// Ogg serial number of its first generation.
    pub serial: u32,
    /// The source it replaces, which must be told.
    pub replaced: Option<SourceId>,
    /// Listeners were told that the source is away.
    pub was_held: bool,
}

/// What time has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// The grace period is over: the programme ends.
    End,
    /// The mount can be forgotten.
    Forget,
}

/// See the module.
#[derive(Debug)]
pub struct State {
    phase: Phase,
    /// Connected and allowed to begin, in the order they came.
    candidates: Vec<SourceId>,
    current: Option<SourceId>,
    /// What plays, or waits to, while no source is there.
    fallback: Option<SourceId>,
    position: MediaTime,
    serial: u32,
    next_id: u64,
    idle_since: Instant,
}

impl State {
    /// A mount nobody has fed. `serial` is the Ogg serial number of its first
    /// generation.
    pub fn new(serial: u32, now: Instant) -> Self {
        Self {
            phase: Phase::Waiting,
            candidates: Vec::new(),
            current: None,
            fallback: None,
            position: MediaTime::ZERO,
            serial,
            next_id: 1,
            idle_since: now,
        }
    }

    /// A mount that an earlier process fed up to `position`; its source is
    /// waited for until then.
    pub fn restored(serial: u32, position: MediaTime, until: Instant) -> Self {
        Self {
            phase: Phase::Held { until },
            position,
            ..Self::new(serial, until)
        }
    }

    /// Where the mount is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a source feeds it now.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// A source connects. `None` when another is there and must not be replaced.
    pub fn connect(&mut self, takeover: bool) -> Option<SourceId> {
        let taken = |id: &SourceId| self.fallback != Some(*id);
        if !takeover && self.current.iter().chain(&self.candidates).any(taken) {
            return None;
        }
        Some(self.candidate())
    }

    /// What plays while no source is there connects. `None` when one is.
    pub fn connect_fallback(&mut self) -> Option<SourceId> {
        if self.has_source() {
            return None;
        }
        let id = self.candidate();
        self.fallback = Some(id);
        Some(id)
    }

    /// Whether a source feeds it now, not only its fallback.
    pub fn has_source(&self) -> bool {
        self.current.is_some_and(|id| self.fallback != Some(id))
    }

    /// Whether a source is connected that has sent no audio yet.
    pub fn is_awaited(&self) -> bool {
        self.candidates.iter().any(|id| self.fallback != Some(*id))
    }

    fn candidate(&mut self) -> SourceId {
        let id = SourceId(self.next_id);
        self.next_id += 1;
        self.candidates.push(id);
        id
    }

    /// Whether a connected source may take the mount over now. Not when a newer
    /// source did so before, or the programme is over.
    pub fn may_begin(&self, id: SourceId) -> bool {
        let over = matches!(self.phase, Phase::Ended { .. });
        // Whoever connected before the fallback began replaces it all the same.
        let newer = || self.fallback == Some(id) || self.current.is_some_and(|now| now.0 > id.0);
        self.candidates.contains(&id) && !over && !(self.has_source() && newer())
    }

    /// A connected source has its first audio: it takes the mount over, at the
    /// boundary between the last chunk and its first. `None` when it may not.
    pub fn begin(&mut self, id: SourceId) -> Option<Begin> {
        if !self.may_begin(id) {
            return None;
        }
        self.candidates.retain(|known| *known != id);
        let begin = Begin {
            start: self.position,
            serial: self.serial,
            replaced: self.current.replace(id),
            was_held: matches!(self.phase, Phase::Held { .. }),
        };
        self.phase = Phase::Live;
        Some(begin)
    }

    /// Whether `id` may append.
    pub fn is_current(&self, id: SourceId) -> bool {
        self.current == Some(id)
    }

    /// The timeline after an append.
    pub fn advance(&mut self, position: MediaTime, serial: u32) {
        self.position = position;
        self.serial = serial;
    }

    /// Programme position of the live edge.
    pub fn position(&self) -> MediaTime {
        self.position
    }

    /// A source's connection is gone without a proper end. True when listeners
    /// must be told that it is away.
    pub fn lost(&mut self, id: SourceId, now: Instant, grace: Duration) -> bool {
        self.candidates.retain(|known| *known != id);
        if self.current != Some(id) {
            self.touch(now);
            return false;
        }
        self.current = None;
        self.phase = Phase::Held { until: now + grace };
        true
    }

    /// A source ended its programme. True when it was the one on air, so that
    /// the mount ends.
    pub fn finish(&mut self, id: SourceId, now: Instant, retention: Duration) -> bool {
        self.candidates.retain(|known| *known != id);
        if self.current != Some(id) {
            self.touch(now);
            return false;
        }
        self.end(now, retention);
        true
    }

    /// The programme is over.
    pub fn end(&mut self, now: Instant, retention: Duration) {
        self.current = None;
        self.phase = Phase::Ended {
            until: now + retention,
        };
    }

    /// Ends what only a fallback feeds, or nobody. False while a source is
    /// there or waits to begin, and when it is over.
    pub fn give_up(&mut self, now: Instant, retention: Duration) -> bool {
        let over = matches!(self.phase, Phase::Ended { .. } | Phase::Waiting);
        if over || self.is_awaited() || self.has_source() {
            return false;
        }
        self.end(now, retention);
        true
    }

    /// What is due at `now`. After [`Due::End`] the caller ends the log and
    /// calls [`State::end`].
    pub fn due(&self, now: Instant) -> Due {
        /// A mount that never had audio is forgotten soon after its source.
        const WAITING: Duration = Duration::from_secs(5);
        match self.phase {
            Phase::Held { until } if now >= until => Due::End,
            Phase::Ended { until } if now >= until && self.candidates.is_empty() => Due::Forget,
            Phase::Waiting
                if self.candidates.is_empty()
                    && now.saturating_duration_since(self.idle_since) >= WAITING =>
            {
                Due::Forget
            }
            _ => Due::Nothing,
        }
    }

    /// When [`Due::End`] will be due, if nobody changes the state before.
    pub fn ends_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Held { until } => Some(until),
            Phase::Waiting | Phase::Live | Phase::Ended { .. } => None,
        }
    }

    fn touch(&mut self, now: Instant) {
        self.idle_since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn live(now: Instant) -> (State, SourceId) {
        let mut state = State::new(7, now);
        let id = state.connect(true).expect("free");
        let begin = state.begin(id).expect("first");
        assert_eq!((begin.start, begin.serial), (MediaTime::ZERO, 7));
        assert_eq!((begin.replaced, begin.was_held), (None, false));
        (state, id)
    }

    #[test]
    fn a_lost_source_is_waited_for() {
        let now = Instant::now();
        let (mut state, id) = live(now);
        state.advance(MediaTime::from_ticks(500), 8);
        assert_eq!(state.ends_at(), None);
        assert!(state.lost(id, now, 10 * SECOND));
        assert_eq!(state.due(now + 9 * SECOND), Due::Nothing);
        assert_eq!(state.ends_at(), Some(now + 10 * SECOND));
        let back = state.connect(false).expect("nobody is there");
        let begin = state.begin(back).expect("held");
        assert!(begin.was_held);
        assert_eq!((begin.start.ticks(), begin.serial), (500, 8));
        assert_eq!(state.due(now + 99 * SECOND), Due::Nothing);
        assert!(state.lost(back, now, SECOND));
        assert_eq!(state.due(now + SECOND), Due::End);
        state.end(now + SECOND, 60 * SECOND);
        assert_eq!(state.ends_at(), None);
        assert_eq!(state.due(now + 60 * SECOND), Due::Nothing);
        assert_eq!(state.due(now + 61 * SECOND), Due::Forget);
    }

    #[test]
    fn takeover_happens_with_the_first_audio() {
        let now = Instant::now();
        let (mut state, first) = live(now);
        assert_eq!(state.connect(false), None);
        let second = state.connect(true).expect("takeover");
        assert!(state.is_current(first), "still on air");
        assert_eq!(state.begin(second).expect("now").replaced, Some(first));
        assert!(!state.is_current(first) && state.is_current(second));
        assert!(!state.lost(first, now, SECOND), "it is not on air any more");
        assert!(!state.finish(first, now, SECOND));
        assert!(state.is_live());
        assert!(state.finish(second, now, SECOND));
        assert!(!state.is_live());
    }

    #[test]
    fn of_two_candidates_the_newer_stays() {
        let now = Instant::now();
        let mut state = State::new(1, now);
        let older = state.connect(true).expect("free");
        let newer = state.connect(true).expect("free");
        assert!(state.begin(newer).is_some());
        assert!(state.begin(older).is_none());
        assert!(state.is_current(newer));
    }

    #[test]
    fn a_fallback_gives_way_to_every_source() {
        let now = Instant::now();
        let (mut state, first) = live(now);
        assert_eq!(state.connect_fallback(), None, "a source is there");
        assert!(state.lost(first, now, SECOND));
        let early = state.connect(false).expect("nobody is there");
        let filler = state.connect_fallback().expect("nobody is on air");
        assert!(state.begin(filler).expect("held").was_held);
        assert!(state.is_live() && !state.has_source());
        // One that connected before it, and one that takeover = false lets in.
        assert_eq!(state.connect(false), None, "another waits to begin");
        assert_eq!(state.begin(early).expect("now").replaced, Some(filler));
        assert!(state.has_source());
        assert!(
            !state.lost(filler, now, SECOND),
            "it is not on air any more"
        );
        assert!(state.lost(early, now, SECOND));
        let filler = state.connect_fallback().expect("again");
        let late = state.connect(false).expect("a fallback is no source");
        assert!(state.begin(late).is_some());
        assert_eq!(state.begin(filler), None, "too late");
    }

    #[test]
    fn only_what_no_source_feeds_is_given_up() {
        let now = Instant::now();
        let (mut state, first) = live(now);
        assert!(!state.give_up(now, SECOND), "a source is there");
        assert!(state.lost(first, now, SECOND));
        let waits = state.connect(false).expect("nobody is there");
        assert!(!state.give_up(now, SECOND), "a source waits to begin");
        assert!(!state.lost(waits, now, SECOND));
        let filler = state.connect_fallback().expect("nobody is on air");
        assert!(state.begin(filler).is_some());
        assert!(state.give_up(now, SECOND));
        assert!(!state.is_current(filler) && !state.is_live());
        assert!(!state.give_up(now, SECOND), "it is over");
    }

    #[test]
    fn a_mount_without_audio_is_forgotten() {
        let now = Instant::now();
        let mut state = State::new(1, now);
        let id = state.connect(true).expect("free");
        assert_eq!(state.due(now + 60 * SECOND), Due::Nothing);
        assert!(!state.lost(id, now + 60 * SECOND, SECOND));
        assert_eq!(state.due(now + 61 * SECOND), Due::Nothing);
        assert_eq!(state.due(now + 66 * SECOND), Due::Forget);
    }
}
