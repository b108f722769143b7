//! Media time ↔ context frames, in integers.
//!
//! Three countings meet here. *Media time* is a position in the programme.
//! *Output frames* count the PCM made for the output, from 0, without regard
//! to when it is heard. *Context frames* count what the audio context plays,
//! silence included. `Span`s tie output frames to media time (a new one
//! wherever the programme jumps or drift moved it), `Run`s tie output frames
//! to context frames (a new one at every start and after every underrun).

use std::collections::VecDeque;

use seamcast_media::units::{Frames, MediaDuration, MediaTime};

/// From this output frame on, media time goes on from here at the output's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    output: u64,
    media: MediaTime,
}

/// A stretch of output frames on the context's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    context: u64,
    output: u64,
    frames: u64,
}

/// Runs and spans remembered; older ones are forgotten.
const REMEMBERED: usize = 512;

/// The mapping; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Timeline {
    rate: u32,
    spans: VecDeque<Span>,
    runs: VecDeque<Run>,
}

impl Timeline {
    /// A timeline for an output of `rate` Hz.
    pub fn new(rate: u32) -> Self {
        Self {
            rate: rate.max(1),
            spans: VecDeque::new(),
            runs: VecDeque::new(),
        }
    }

    /// The output's rate in Hz.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Output frame `output` stands for media time `media`. A correction of
    /// less than a frame changes nothing, so rounding never accumulates.
    pub fn pin(&mut self, output: u64, media: MediaTime) {
        if let Some(last) = self.spans.back() {
            let expected = self.media_in(*last, output);
            let off = expected.ticks().abs_diff(media.ticks());
            if off * u64::from(self.rate) < seamcast_media::units::TICKS_PER_SECOND {
                return;
            }
        }
        self.spans.retain(|span| span.output < output);
        self.spans.push_back(Span { output, media });
        if self.spans.len() > REMEMBERED {
            self.spans.pop_front();
        }
    }

    /// Media time of an output frame.
    pub fn media_at(&self, output: u64) -> MediaTime {
        let at = self.spans.partition_point(|span| span.output <= output);
        match self.spans.get(at.saturating_sub(1)) {
            Some(span) => self.media_in(*span, output),
            None => MediaTime::ZERO,
        }
    }

    /// The output frame that stands for `media`, on the last span.
    pub fn last_output_of(&self, media: MediaTime) -> Option<u64> {
        let span = self.spans.back()?;
        Some(span.output + media.since(span.media).to_frames(self.rate).0)
    }

    fn media_in(&self, span: Span, output: u64) -> MediaTime {
        let frames = Frames(output.saturating_sub(span.output));
        span.media + MediaDuration::from_frames(frames, self.rate)
    }

    /// Output frame `output` is (or will be) heard at context frame `context`;
    /// later ones follow. Begins a run.
    pub fn anchor(&mut self, context: u64, output: u64) {
        self.runs.push_back(Run {
            context,
            output,
            frames: 0,
        });
        if self.runs.len() > REMEMBERED {
            self.runs.pop_front();
        }
    }

    /// The last run grew by `frames` scheduled frames.
    pub fn extend(&mut self, frames: u64) {
        if let Some(run) = self.runs.back_mut() {
            run.frames += frames;
        }
    }

    /// Whether the last run begins at context frame `context`.
    pub fn begins_at(&self, context: u64) -> bool {
        self.runs.back().is_some_and(|run| run.context == context)
    }

    /// What was scheduled at or after context frame `context` will not be
    /// heard. Returns the output frame that would have been heard there.
    pub fn cut(&mut self, context: u64) -> Option<u64> {
        let output = self.output_at(context);
        self.runs.retain(|run| run.context < context);
        if let Some(run) = self.runs.back_mut() {
            run.frames = run.frames.min(context - run.context);
        }
        output
    }

    /// The output frame heard at context frame `context`; during silence, the
    /// frame that was or will be heard next.
    pub fn output_at(&self, context: u64) -> Option<u64> {
        let at = self.runs.partition_point(|run| run.context <= context);
        match at.checked_sub(1).and_then(|i| self.runs.get(i)) {
            Some(run) => Some(run.output + (context - run.context).min(run.frames)),
            None => self.runs.front().map(|run| run.output),
        }
    }

    /// Frames actually heard up to context frame `context`.
    pub fn heard_before(&self, context: u64) -> u64 {
        self.runs
            .iter()
            .map(|run| context.saturating_sub(run.context).min(run.frames))
            .sum()
    }

    /// Forgets runs and spans, keeps the rate.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.runs.clear();
    }

    /// Forgets the runs: nothing is scheduled.
    pub fn clear_runs(&mut self) {
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: f64) -> MediaTime {
        MediaTime::ZERO + MediaDuration::from_secs_f64(secs)
    }

    // At 1000 Hz the sums can be read.
    #[test]
    fn follows_runs_through_an_underrun() {
        let mut timeline = Timeline::new(1000);
        timeline.pin(0, secs(10.0));
        assert_eq!(timeline.output_at(5), None);
        timeline.anchor(100, 0);
        timeline.extend(50);
        assert_eq!(timeline.output_at(99), Some(0));
        assert_eq!(timeline.output_at(120), Some(20));
        assert_eq!(timeline.media_at(20), secs(10.02));
        // Ran dry at 150, silent until 170.
        assert_eq!(timeline.output_at(160), Some(50));
        timeline.anchor(170, 50);
        timeline.extend(30);
        assert_eq!(timeline.output_at(180), Some(60));
        assert_eq!(timeline.heard_before(180), 60);
        assert_eq!(timeline.heard_before(1000), 80);
    }

    #[test]
    fn jumps_and_rounding() {
        let mut timeline = Timeline::new(1000);
        timeline.pin(0, secs(0.0));
        timeline.pin(10, secs(0.0104));
        assert_eq!(timeline.media_at(10), secs(0.010));
        timeline.pin(20, secs(5.0));
        assert_eq!(timeline.media_at(19), secs(0.019));
        assert_eq!(timeline.media_at(30), secs(5.01));
    }

    #[test]
    fn a_cut_takes_back_what_was_scheduled() {
        let mut timeline = Timeline::new(1000);
        timeline.anchor(100, 0);
        timeline.extend(500);
        assert_eq!(timeline.cut(300), Some(200));
        assert_eq!(timeline.output_at(400), Some(200));
        assert_eq!(timeline.heard_before(1000), 200);
    }
}
