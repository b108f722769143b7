//! The exact playout model: a prebuffer core driven by an arrival trace.
//!
//! A chunk is usable as a whole when it arrives; playing consumes `rate` media ms
//! per wall ms; when the playhead reaches the end of what has arrived and the
//! stream has not ended, that is one underrun, silent until the next start. No
//! device quantum, no decode time, closed form, no ticks.

use seamcast_player::prebuffer::{Decision, Prebuffer};

/// A dry spell shorter than half a sample at 48 kHz is not an underrun.
const TOLERANCE_MS: f64 = 0.01;
/// Arrivals closer than this are one instant.
const INSTANT_MS: f64 = 0.001;

/// One chunk of a trace, ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chunk {
    /// When it became usable.
    pub arrival: f64,
    /// Its media position.
    pub start: f64,
    /// Its length.
    pub duration: f64,
}

/// A stream's arrivals; time 0 is the request.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Name, unique in its file.
    pub name: String,
    /// Chunks in media order, contiguous, arrivals never decreasing.
    pub chunks: Vec<Chunk>,
    /// When the end of the stream is known.
    pub end: f64,
}

impl Trace {
    /// Reads `arrival_ms,media_start_ms,media_dur_ms` rows; a row of duration 0 is the end of the stream.
    pub fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let mut trace = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut end = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.split(',').map(|f| f.trim().parse::<f64>());
            let (Some(Ok(arrival)), Some(Ok(start)), Some(Ok(duration))) =
                (fields.next(), fields.next(), fields.next())
            else {
                anyhow::bail!(
                    "{name}: row {}: {line:?} is not arrival_ms,media_start_ms,media_dur_ms",
                    number + 1
                );
            };
            if ![arrival, start, duration].iter().all(|v| v.is_finite()) {
                anyhow::bail!("{name}: row {}: {line:?} is not finite", number + 1);
            }
            if duration <= 0.0 {
                end = Some(arrival);
                continue;
            }
            if trace
                .chunks
                .last()
                .is_some_and(|c| arrival < c.arrival - INSTANT_MS)
            {
                anyhow::bail!(
                    "{name}: row {}: arrival {arrival} is before the row above",
                    number + 1
                );
            }
            trace.chunks.push(Chunk {
                arrival,
                start,
                duration,
            });
        }
        let Some(last) = trace.chunks.last() else {
            anyhow::bail!("{name}: no chunk")
        };
        trace.end = end.unwrap_or(last.arrival);
        Ok(trace)
    }

    /// Splits a file of `# trace NAME` blocks.
    pub fn parse_many(text: &str) -> anyhow::Result<Vec<Self>> {
        let mut traces = Vec::new();
        for block in text.split("# trace ").skip(1) {
            let (name, rows) = block.split_once('\n').unwrap_or((block, ""));
            traces.push(Self::parse(name.trim(), rows)?);
        }
        Ok(traces)
    }

    /// End of the media.
    pub fn total(&self) -> f64 {
        self.chunks.last().map_or(0.0, |c| c.start + c.duration)
    }

    /// The smallest gapless start delay after the first arrival: what a player that knew the future would choose.
    pub fn oracle_delay(&self) -> f64 {
        let Some(first) = self.chunks.first() else {
            return 0.0;
        };
        let worst = self
            .chunks
            .iter()
            .map(|c| c.arrival - c.start)
            .fold(f64::NEG_INFINITY, f64::max);
        worst + first.start - first.arrival
    }
}

/// What can be run on a trace: our core, or a peer's rule.
pub trait Policy {
    /// The stream was asked for.
    fn request(&mut self, _now: f64) {}
    /// A chunk became usable.
    fn arrival(&mut self, now: f64, start: f64, duration: f64);
    /// No chunk will follow.
    fn end(&mut self, now: f64);
    /// Output began, or began again.
    fn playing(&mut self, now: f64, playhead: f64);
    /// The playhead ran dry.
    fn underrun(&mut self, now: f64);
    /// Output was stopped as decided.
    fn stopped(&mut self, now: f64);
    /// What to do now.
    fn decide(&mut self, now: f64, playhead: f64) -> Decision;
}

impl Policy for Prebuffer {
    fn request(&mut self, now: f64) {
        self.on_request(now);
    }
    fn arrival(&mut self, now: f64, start: f64, duration: f64) {
        self.on_arrival(now, start, duration);
    }
    fn end(&mut self, now: f64) {
        self.on_end_of_stream(now);
    }
    fn playing(&mut self, now: f64, playhead: f64) {
        self.on_playing(now, playhead);
    }
    fn underrun(&mut self, now: f64) {
        self.on_underrun(now);
    }
    fn stopped(&mut self, now: f64) {
        self.on_stopped(now);
    }
    fn decide(&mut self, now: f64, playhead: f64) -> Decision {
        // A trace says nothing of silences in the programme.
        Prebuffer::decide(self, now, playhead, false)
    }
}

/// A decision as it fell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Output begins.
    Start,
    /// Output pauses voluntarily.
    Stall,
    /// The playhead jumps to this media position.
    Skip(f64),
    /// Playing speed from here on.
    Rate(f64),
}

/// What a listener got.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// First output, after the first arrival.
    pub start_delay: f64,
    /// Start delay minus the clairvoyant's.
    pub over: f64,
    /// Underruns and voluntary pauses.
    pub underruns: u32,
    /// Silence inside the programme.
    pub silence: f64,
    /// Media never heard.
    pub dropped: f64,
    /// Jumps.
    pub skips: u32,
    /// Lag gained by playing slower than real time, net.
    pub slow: f64,
    /// Wall time during which the rate was off by more than a resampler may hide (0.5 %).
    pub stretched: f64,
    /// When the last sample was heard.
    pub end: f64,
}

impl Outcome {
    /// Wait over the optimum, twice the silence and loss, 500 per interruption, half of the lag gained by slowing.
    pub fn cost(&self) -> f64 {
        self.over
            + 2.0 * (self.silence + self.dropped)
            + 500.0 * f64::from(self.underruns + self.skips)
            + 0.5 * self.slow.max(0.0)
    }
}

struct Run<'a> {
    core: &'a mut dyn Policy,
    sink: &'a mut dyn FnMut(f64, Event),
    now: f64,
    playhead: f64,
    head: f64,
    playing: bool,
    started: bool,
    rate: f64,
    silent_since: f64,
    wake: f64,
    out: Outcome,
}

/// Runs `core` over `trace`; `sink` receives each decision with its wall time.
pub fn run(core: &mut dyn Policy, trace: &Trace, sink: &mut dyn FnMut(f64, Event)) -> Outcome {
    let first = trace.chunks[0];
    let total = trace.total();
    let mut r = Run {
        core,
        sink,
        now: first.arrival,
        playhead: first.start,
        head: first.start,
        playing: false,
        started: false,
        rate: 1.0,
        silent_since: first.arrival,
        wake: f64::INFINITY,
        out: Outcome::default(),
    };
    r.core.request(0.0);
    let mut next = 0;
    let mut ended = false;
    loop {
        let arrival = trace.chunks.get(next).map_or(f64::INFINITY, |c| c.arrival);
        let end = if ended { f64::INFINITY } else { trace.end };
        let at = arrival.min(end).min(r.wake);
        if at.is_infinite() && !r.playing {
            break;
        }
        if r.advance(at, total) {
            break;
        }
        if at.is_infinite() {
            break;
        }
        if arrival <= at {
            while let Some(c) = trace
                .chunks
                .get(next)
                .filter(|c| c.arrival <= at + INSTANT_MS)
            {
                r.core.arrival(c.arrival, c.start, c.duration);
                r.head = c.start + c.duration;
                next += 1;
            }
        }
        if !ended && trace.end <= at + INSTANT_MS && next == trace.chunks.len() {
            ended = true;
            r.core.end(trace.end);
        }
        r.decide();
    }
    let mut out = r.out;
    out.end = r.now;
    out.over = out.start_delay - trace.oracle_delay();
    let played = total - first.start - out.dropped;
    out.slow = out.end - (first.arrival + out.start_delay) - out.silence - played;
    out
}

impl Run<'_> {
    /// Plays up to wall time `to`; true when all media has been heard.
    fn advance(&mut self, to: f64, total: f64) -> bool {
        if self.playing {
            let need = ((self.head - self.playhead) / self.rate).max(0.0);
            let last = self.head >= total - 1e-6;
            if self.now + need <= to + if last { 1e-6 } else { -TOLERANCE_MS } {
                self.count_stretch(need);
                self.now += need;
                self.playhead = self.head;
                if last {
                    return true;
                }
                self.playing = false;
                self.silent_since = self.now;
                self.out.underruns += 1;
                self.core.underrun(self.now);
            } else {
                self.count_stretch((to - self.now).max(0.0));
                self.playhead += (to - self.now).max(0.0) * self.rate;
            }
        }
        self.now = self.now.max(to);
        false
    }

    fn count_stretch(&mut self, ms: f64) {
        if (self.rate - 1.0).abs() > 0.005 + 1e-9 {
            self.out.stretched += ms;
        }
    }

    fn decide(&mut self) {
        self.wake = f64::INFINITY;
        match self.core.decide(self.now, self.playhead) {
            Decision::Wait { until_ms } => self.wake = until_ms,
            Decision::Start => {
                self.playing = true;
                if self.started {
                    self.out.silence += self.now - self.silent_since;
                } else {
                    self.out.start_delay = self.now - self.silent_since;
                    self.started = true;
                }
                (self.sink)(self.now, Event::Start);
                self.core.playing(self.now, self.playhead);
                self.decide();
            }
            Decision::Play { rate, until_ms } => {
                if rate != self.rate {
                    self.rate = rate;
                    (self.sink)(self.now, Event::Rate(rate));
                }
                self.wake = until_ms;
            }
            Decision::Skip { to_ms } => {
                let to = to_ms.min(self.head);
                if to > self.playhead {
                    self.out.dropped += to - self.playhead;
                    self.out.skips += 1;
                    self.playhead = to;
                    (self.sink)(self.now, Event::Skip(to));
                }
                self.wake = self.now + 20.0;
            }
            Decision::Stall => {
                self.playing = false;
                self.silent_since = self.now;
                self.out.underruns += 1;
                (self.sink)(self.now, Event::Stall);
                self.core.stopped(self.now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::peers::Threshold;

    /// 100 ms chunks at 100, 200, 600, 700, then the end: the third one is 300 ms late.
    fn late_third() -> Trace {
        Trace::parse(
            "t",
            "100,0,100\n200,100,100\n600,200,100\n700,300,100\n700,400,0\n",
        )
        .expect("valid")
    }

    #[test]
    fn the_oracle_waits_for_the_worst_lateness() {
        // Latenesses 100, 100, 400, 400: 300 after the first arrival.
        assert_eq!(late_third().oracle_delay(), 300.0);
    }

    #[test]
    fn an_underrun_lasts_until_the_next_start() {
        // Starts at 100, dry at 300, goes on at 600, ends at 800.
        let mut events = Vec::new();
        let out = run(&mut Threshold::at_once(), &late_third(), &mut |t, e| {
            events.push((t, e))
        });
        assert_eq!(events, [(100.0, Event::Start), (600.0, Event::Start)]);
        assert_eq!((out.underruns, out.silence, out.end), (1, 300.0, 800.0));
        assert_eq!((out.start_delay, out.over), (0.0, -300.0));
        // −300 + 2 · 300 + 500.
        assert_eq!(out.cost(), 800.0);
    }

    #[test]
    fn a_threshold_that_is_met_late_plays_through() {
        // 300 ms are held at 600: 500 after the first arrival, 200 over the oracle, gapless.
        let out = run(&mut Threshold::again(300.0), &late_third(), &mut |_, _| {});
        assert_eq!((out.underruns, out.over, out.cost()), (0, 200.0, 200.0));
    }

    #[test]
    fn rates_move_the_playhead() {
        struct Slow(bool);
        impl Policy for Slow {
            fn arrival(&mut self, _: f64, _: f64, _: f64) {}
            fn end(&mut self, _: f64) {}
            fn playing(&mut self, _: f64, _: f64) {
                self.0 = true;
            }
            fn underrun(&mut self, _: f64) {
                self.0 = false;
            }
            fn stopped(&mut self, _: f64) {}
            fn decide(&mut self, _: f64, _: f64) -> Decision {
                if self.0 {
                    Decision::Play {
                        rate: 0.5,
                        until_ms: f64::INFINITY,
                    }
                } else {
                    Decision::Start
                }
            }
        }
        // 200 ms at half speed last from 100 to 500; the rest from 600 to 1000.
        let out = run(&mut Slow(false), &late_third(), &mut |_, _| {});
        assert_eq!((out.underruns, out.silence, out.end), (1, 100.0, 1000.0));
        // 900 ms of output less 100 of silence for 400 of media.
        assert_eq!((out.slow, out.stretched), (400.0, 800.0));
    }

    #[test]
    fn files_hold_one_trace_or_many() {
        let many = "# trace a\n100,0,20\n120,20,0\n# trace b\n5,0,20\n";
        let traces = Trace::parse_many(many).expect("valid");
        assert_eq!(
            (traces[0].name.as_str(), traces[0].end, traces[1].end),
            ("a", 120.0, 5.0)
        );
        assert!(Trace::parse("x", "10,0,20\n5,20,20\n").is_err());
        assert!(Trace::parse("x", "10,0\n").is_err());
        assert!(Trace::parse("x", "").is_err());
    }
}
