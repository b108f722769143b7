//! Positions, counters and tags: what the engine says of itself.

use super::*;

impl Engine {
    /// Programme position heard at context frame `frame`.
    pub fn current_time(&self, frame: u64) -> MediaTime {
        let output = match self.schedule.running() {
            true => self.timeline.output_at(frame),
            false => self.playing_out(frame),
        };
        self.timeline.media_at(output.unwrap_or(self.resume))
    }

    /// Start and end of what is held and not yet heard.
    pub fn buffered(&self, frame: u64) -> (MediaTime, MediaTime) {
        let from = self.current_time(frame);
        (from, self.input.head().max(from))
    }

    /// Everything measured so far.
    pub fn stats(&self, frame: u64) -> Stats {
        let measured = self.prebuffer.stats();
        let (from, to) = self.buffered(frame);
        let rate = f64::from(self.rate);
        Stats {
            underrun_events: self.underruns,
            underrun_duration: self.silence as f64 / rate,
            total_duration: self.heard_at(frame) as f64 / rate,
            average_latency: self.latency_sum / self.latency_count.max(1.0) / 1000.0,
            jitter_buffer_delay: to.since(from).as_secs_f64(),
            jitter_buffer_target_delay: self.prebuffer.target() / 1000.0,
            arrival_rate: measured.arrival_rate,
            arrival_spread_p95: measured.spread_p95_ms / 1000.0,
            startup_delay: self.startup_delay,
            predicted_safe_start: measured.predicted_safe_start_ms / 1000.0,
            prebuffer: measured.target_ms / 1000.0,
            resample_ratio: self.render.factor(),
            drift_ppm: measured.drift_ppm,
            concealed_frames: self.render.concealed_frames(),
            dropped_frames: self.skipped,
            stretched_frames: self.render.stretched_frames(),
            bytes_received: self.input.bytes,
        }
    }

    /// Output frame that will be handed out (or heard) next.
    pub(super) fn next_output(&self) -> u64 {
        self.schedule.next_output().unwrap_or(self.resume)
    }

    /// Where the playhead is while nothing more is handed out: what was, may
    /// still be playing.
    pub(super) fn playing_out(&self, frame: u64) -> Option<u64> {
        match self.dry_since {
            Some(end) if frame < end => self.timeline.output_at(frame),
            _ => None,
        }
    }

    pub(super) fn heard_at(&self, frame: u64) -> u64 {
        self.heard + self.timeline.heard_before(frame)
    }

    pub(super) fn tell_metadata(&mut self, frame: u64) {
        if !self.schedule.running() {
            return;
        }
        let time = self.current_time(frame);
        while self.metadata.front().is_some_and(|(at, _)| *at <= time) {
            if let Some((at, payload)) = self.metadata.pop_front() {
                self.events.push_back(Event::Metadata { at, payload });
            }
        }
    }

    /// Tags that belong to position `at`.
    pub fn metadata(&mut self, at: MediaTime, payload: Payload) {
        if self.metadata.len() >= MAX_METADATA {
            self.metadata.pop_front();
        }
        let place = self.metadata.partition_point(|(time, _)| *time <= at);
        self.metadata.insert(place, (at, payload));
    }
}
