//! Starts, stops, jumps: what is handed to the output, and when.

use super::*;

impl Engine {
    /// Start, or go on, as soon as the prebuffer allows.
    pub fn play(&mut self, now: f64) {
        if !self.wants {
            self.wants = true;
            self.play_called.get_or_insert(now);
            self.prebuffer.on_request(now);
        }
    }

    /// Stop at context frame `frame`; what was scheduled from there on is
    /// kept for the next [`Engine::play`].
    pub fn pause(&mut self, now: f64, frame: u64) {
        self.wants = false;
        self.frame = frame;
        self.take_back(frame);
        self.dry_since = None;
        self.prebuffer.on_stopped(now);
    }

    /// Barge-in: drops everything not yet heard at context frame `frame`.
    /// Returns the media heard since the start or the last flush.
    pub fn flush(&mut self, now: f64, frame: u64) -> MediaDuration {
        self.frame = frame;
        self.take_back(frame);
        let heard = self.heard_at(frame) - self.heard_since_flush;
        self.heard_since_flush += heard;
        self.input.flush();
        self.restart(now, self.input.head());
        MediaDuration::from_frames(seamcast_media::units::Frames(heard), self.rate)
    }

    /// Drops everything; the input that follows is a new join, at `at` when it
    /// does not say itself. `exact`: it may begin up to a second earlier, and is heard
    /// from `at` on; what a decoder needs before it is decoded and not heard.
    pub fn seek(&mut self, now: f64, at: MediaTime, exact: bool) {
        self.take_back(self.frame);
        self.input.seek(at);
        self.restart(now, at);
        if exact {
            self.render.aim(at);
        }
        self.prebuffer.on_request(now);
    }

    /// Cancels what is scheduled at or after `frame` and resumes there later.
    pub(super) fn take_back(&mut self, frame: u64) {
        if self.schedule.running() || self.dry_since.is_some_and(|end| end > frame) {
            self.resume = self.timeline.cut(frame).unwrap_or(self.resume);
            self.schedule.stop();
            self.events.push_back(Event::Cancel { frame });
        }
        self.slots.clear();
        self.heard += self.timeline.heard_before(frame);
        self.timeline.clear_runs();
    }

    /// After a flush or a seek: nothing is held, the programme goes on at `at`.
    pub(super) fn restart(&mut self, now: f64, at: MediaTime) {
        self.pcm.clear();
        self.resume = self.pcm.end();
        self.render.restart(at);
        self.timeline.clear();
        self.timeline.pin(self.resume, at);
        self.metadata.clear();
        self.dry_since = None;
        self.ended = false;
        self.can_play = false;
        self.play_called = self.wants.then_some(now);
        self.prebuffer.on_discontinuity();
    }

    pub(super) fn check_dry(&mut self, now: f64, frame: u64, reached: u64) {
        if !self.schedule.dry(frame) {
            return;
        }
        let (Some(end), Some(output)) = (self.schedule.end(), self.schedule.next_output()) else {
            return;
        };
        let finished = self.render.finished() && output >= self.pcm.end();
        if finished {
            // An end is told when it is certain, although an audio thread may be late.
            if reached >= end {
                self.schedule.stop();
                self.resume = output;
                self.ended = true;
                self.wants = false;
                self.prebuffer.on_stopped(now);
                self.events.push_back(Event::Ended);
            }
            return;
        }
        self.schedule.stop();
        self.resume = output;
        self.dry_since = Some(end);
        self.underruns += 1;
        self.prebuffer.on_underrun(now);
        let media = self.timeline.media_at(output);
        self.events.push_back(Event::Waiting { media });
    }

    pub(super) fn decide(&mut self, now: f64, frame: u64, playhead_ms: f64) {
        let quiet = self.pcm.quiet(self.next_output(), self.rate);
        let have = self.pcm.end() > self.next_output();
        let decision = self.prebuffer.decide(now, playhead_ms, quiet);
        if !self.schedule.running() {
            // Nothing to play and nothing to come: over before it began.
            let all = self.render.finished();
            if all && !have && self.wants {
                self.ended = true;
                self.wants = false;
                self.events.push_back(Event::Ended);
                return;
            }
            if all || decision == Decision::Start && have {
                if !self.can_play {
                    self.can_play = true;
                    self.events.push_back(Event::CanPlay);
                }
                if self.wants {
                    self.start(now, frame);
                }
            }
            return;
        }
        match decision {
            Decision::Play { rate, .. } => {
                let held = self.input.head().as_secs_f64() * 1000.0 - playhead_ms;
                self.latency_sum += held;
                self.latency_count += 1.0;
                // The correction of clock drift is in it already. Half a percent buys a player
                // that is short next to nothing, and `complete` promises every sample as it is.
                let exact = self.mode == Mode::Complete && rate > 1.0 - MAX_DEVIATION - 1e-9;
                self.render.set_rate(if exact { 1.0 } else { rate });
                self.skip_waited = 0;
                // What is a little over the bound goes where nobody hears it.
                let over = self.prebuffer.over_bound(now, playhead_ms);
                if self.input.framed
                    && over > QUIET_SKIP_MS
                    && let (_, Some(from)) = self.next_cut()
                    && self.pcm.quiet(from, self.rate)
                {
                    self.prebuffer.on_skip();
                    self.skip(playhead_ms + over);
                }
            }
            Decision::Skip { to_ms } => self.skip(to_ms),
            Decision::Stall => {
                let end = self.schedule.end();
                self.resume = self.next_output();
                self.schedule.stop();
                self.dry_since = end;
                self.underruns += 1;
                self.prebuffer.on_stopped(now);
                let media = self.timeline.media_at(self.resume);
                self.events.push_back(Event::Waiting { media });
            }
            Decision::Wait { .. } | Decision::Start => {}
        }
    }

    pub(super) fn start(&mut self, now: f64, frame: u64) {
        // A planned stall may still be playing out.
        let from = match self.dry_since {
            Some(end) => frame.max(end.saturating_sub(self.schedule.lead())),
            None => frame,
        };
        let context = self.schedule.start(from, self.resume);
        self.timeline.anchor(context, self.resume);
        let media = self.timeline.media_at(self.resume);
        if let Some(end) = self.dry_since.take() {
            let silence = context.saturating_sub(end);
            self.silence += silence;
            if silence > 0 {
                self.events.push_back(Event::Underrun { media, silence });
            }
        }
        if let Some(called) = self.play_called
            && self.startup_delay.is_nan()
        {
            let lead = (context - frame) as f64 / f64::from(self.rate);
            self.startup_delay = (now - called) / 1000.0 + lead;
        }
        self.prebuffer.on_playing(now, media.as_secs_f64() * 1000.0);
        self.events.push_back(Event::Playing {
            media,
            frame: context,
        });
    }

    pub(super) fn hand_out(&mut self, frame: u64) {
        let all = self.render.finished();
        let end = self.pcm.end();
        while let Some(slot) = self.schedule.next_slot(frame, end, all) {
            self.timeline.extend(slot.frames);
            self.slots.push_back(slot);
        }
    }

    /// Goes on at `to_ms`, at a quiet spot or, failing that, after a while anywhere.
    pub(super) fn skip(&mut self, to_ms: f64) {
        self.skip_waited += 1;
        let (Some(context), Some(from)) = self.next_cut() else {
            return;
        };
        if self.skip_waited < SKIP_PATIENCE && !self.pcm.quiet(from, self.rate) {
            return;
        }
        let left = self.timeline.media_at(from);
        let target = MediaTime::ZERO + MediaDuration::from_secs_f64(to_ms / 1000.0);
        if target <= left {
            return;
        }
        self.skip_waited = 0;
        // Far ahead, packets are dropped undecoded up to the pre-roll.
        self.render.drop_until(
            target - PRE_ROLL,
            &mut self.input,
            &mut self.pcm,
            &mut self.timeline,
        );
        let Some(to) = self.timeline.last_output_of(target) else {
            return;
        };
        let limit = to.min(self.pcm.end() + u64::from(self.rate));
        self.fill(limit + pcm::FADE as u64);
        let to = to.min(self.pcm.end());
        if to <= from {
            return;
        }
        if self.schedule.end() > Some(context) {
            self.timeline.cut(context);
            self.slots.clear();
            self.events.push_back(Event::Cancel { frame: context });
        }
        self.pcm.crossfade(from, to);
        self.schedule.splice(context, to);
        self.timeline.anchor(context, to);
        let arrived = self.timeline.media_at(to);
        self.skipped += arrived.since(left).to_frames(self.rate).0;
        self.events.push_back(Event::Skip {
            from: left,
            to: arrived,
        });
    }

    /// Where the programme can go on elsewhere: context frame, and the output frame due there. A mount's
    /// is taken back up to a lead from now, as what is to be left out is scheduled already; bytes
    /// without a time of their own may be speech, of which what was handed out is said.
    fn next_cut(&self) -> (Option<u64>, Option<u64>) {
        let cut = self.frame + self.schedule.lead();
        match self.schedule.end() {
            Some(end) if end > cut && self.input.framed => {
                (Some(cut), self.timeline.output_at(cut))
            }
            end => (end, self.schedule.next_output()),
        }
    }

    /// Puts off what waits to be scheduled when the context, now at `frame`, has reached it
    /// while it was being decoded: an output given a block late drops its beginning.
    pub fn catch_up(&mut self, frame: u64) {
        let Some(first) = self.slots.front().copied() else {
            return;
        };
        let begins = self.timeline.begins_at(first.context);
        let late = self.schedule.put_off(first.context, frame, begins);
        if late == 0 {
            return;
        }
        let pending = self.slots.iter().map(|slot| slot.frames).sum();
        self.timeline.cut(first.context);
        self.timeline.anchor(first.context + late, first.output);
        self.timeline.extend(pending);
        for slot in &mut self.slots {
            slot.context += late;
        }
        if !begins {
            self.underruns += 1;
            self.silence += late;
            let media = self.timeline.media_at(first.output);
            self.events.push_back(Event::Underrun {
                media,
                silence: late,
            });
        }
    }
}
