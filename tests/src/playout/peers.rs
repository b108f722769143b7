//! Rules of well-known players, for comparison.

use super::model::Policy;
use seamcast_player::prebuffer::Decision;

/// Start when so much media is held, or the stream has ended.
#[derive(Clone, Debug)]
pub struct Threshold {
    first: f64,
    again: f64,
    head: f64,
    ended: bool,
    started: bool,
    playing: bool,
}

impl Threshold {
    fn new(first: f64, again: f64) -> Self {
        Self {
            first,
            again,
            head: 0.0,
            ended: false,
            started: false,
            playing: false,
        }
    }

    /// hls.js, howler: play at the first arrival, go on at the next.
    pub fn at_once() -> Self {
        Self::new(0.0, 0.0)
    }

    /// icecast-metadata-player: 1 s once, later media is played as it comes.
    pub fn once(ms: f64) -> Self {
        Self::new(ms, 0.0)
    }

    /// The same, and again after an underrun: the common PCM player.
    pub fn again(ms: f64) -> Self {
        Self::new(ms, ms)
    }
}

impl Policy for Threshold {
    fn arrival(&mut self, _now: f64, start: f64, duration: f64) {
        self.head = start + duration;
    }
    fn end(&mut self, _now: f64) {
        self.ended = true;
    }
    fn playing(&mut self, _now: f64, _playhead: f64) {
        self.playing = true;
        self.started = true;
    }
    fn underrun(&mut self, _now: f64) {
        self.playing = false;
    }
    fn stopped(&mut self, _now: f64) {
        self.playing = false;
    }
    fn decide(&mut self, _now: f64, playhead: f64) -> Decision {
        let held = self.head - playhead;
        let need = if self.started { self.again } else { self.first };
        match (
            self.playing,
            held > 1e-6 && (self.ended || held >= need - 1e-6),
        ) {
            (true, _) => Decision::Play {
                rate: 1.0,
                until_ms: f64::INFINITY,
            },
            (false, true) => Decision::Start,
            (false, false) => Decision::Wait {
                until_ms: f64::INFINITY,
            },
        }
    }
}
