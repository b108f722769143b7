//! The player without its transport and its output: bytes and arrival times
//! in, PCM blocks with their context frames and events out.
//!
//! # Run loop
//!
//! 1. [`Engine::set_output`] once the output is known, [`Engine::play`] when
//!    it shall be heard. [`Engine::push_bytes`] for plain streams;
//!    [`Engine::config`], [`Engine::push_chunk`] and [`Engine::gap`] for framed
//!    ones; [`Engine::end_of_stream`] when no more will come.
//! 2. [`Engine::poll`] after any of these and every 20–100 ms. Act on
//!    [`Engine::next_event`] until it has none, then schedule what
//!    [`Engine::next_slot`] gives, with PCM from [`Engine::pcm`]. Extra calls are harmless.
//!
//! # Clocks
//!
//! `now` is the caller's monotonic clock in milliseconds; `frame` the audio
//! context's, in frames at the output's rate; media time counts ticks of the
//! programme. None is read in here. Only the prebuffer relates the first two.

mod event;
mod input;
mod pcm;
mod render;

use std::collections::VecDeque;

use seamcast_media::demux::Container;
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::chunk::{self, Header};

pub use event::{Event, Payload, Stats};
use input::{Arrival, Input};
use pcm::Pcm;
use render::Render;

use crate::prebuffer::drift::MAX_DEVIATION;
use crate::prebuffer::{Decision, Latency, Mode, Prebuffer};
use crate::schedule::{Schedule, Slot};
use crate::timeline::Timeline;

/// Longest block handed out, in frames.
const BLOCK: u64 = 8192;
/// Decoded ahead of the schedule, in parts of a second.
const DECODE_AHEAD: u32 = 4;
/// Samples (frames × channels) the horizon may hold.
const MAX_SAMPLES_AHEAD: u64 = 1 << 21;
/// Tags waiting to become audible.
const MAX_METADATA: usize = 64;
/// A change of the target worth telling, in milliseconds.
const TARGET_STEP: f64 = 10.0;
/// What a decoder needs before a position to be right at it (RFC 7845 §4.6).
const PRE_ROLL: MediaDuration = MediaDuration::from_millis(100);
/// Polls for which a skip may wait for a quiet spot.
const SKIP_PATIENCE: u32 = 40;

/// See the module's documentation.
#[derive(Debug)]
pub struct Engine {
    mode: Mode,
    input: Input,
    render: Render,
    pcm: Pcm,
    timeline: Timeline,
    schedule: Schedule,
    prebuffer: Prebuffer,
    slots: VecDeque<Slot>,
    events: VecDeque<Event>,
    metadata: VecDeque<(MediaTime, Payload)>,
    rate: u32,
    frame: u64,
    now: f64,
    /// Output frame to be heard next while nothing is scheduled.
    resume: u64,
    wants: bool,
    ended: bool,
    can_play: bool,
    /// Context frame at which unwanted silence began.
    dry_since: Option<u64>,
    play_called: Option<f64>,
    startup_delay: f64,
    underruns: u32,
    silence: u64,
    heard: u64,
    heard_since_flush: u64,
    skipped: u64,
    overflow_told: bool,
    target_told: f64,
    skip_waited: u32,
    latency_sum: f64,
    latency_count: f64,
}

impl Engine {
    /// An idle, paused engine.
    pub fn new(mode: Mode, latency: Latency) -> Self {
        let rate = 48_000;
        let prebuffer = Prebuffer::new(mode, latency);
        Self {
            mode,
            input: Input::default(),
            render: Render::new(rate, 2),
            pcm: Pcm::new(2),
            timeline: Timeline::new(rate),
            schedule: Schedule::new(960, u64::from(rate), BLOCK),
            target_told: prebuffer.target(),
            prebuffer,
            slots: VecDeque::new(),
            events: VecDeque::new(),
            metadata: VecDeque::new(),
            rate,
            frame: 0,
            now: 0.0,
            resume: 0,
            wants: false,
            ended: false,
            can_play: false,
            dry_since: None,
            play_called: None,
            startup_delay: f64::NAN,
            underruns: 0,
            silence: 0,
            heard: 0,
            heard_since_flush: 0,
            skipped: 0,
            overflow_told: false,
            skip_waited: 0,
            latency_sum: 0.0,
            latency_count: 0.0,
        }
    }

    /// Changes the latency bounds.
    pub fn set_latency(&mut self, latency: Latency) {
        self.prebuffer.set_latency(latency);
    }

    /// Largest time-stretch, as a fraction: 0.05 in live mode and 0 otherwise unless set.
    pub fn set_stretch(&mut self, fraction: f64) {
        self.prebuffer.set_stretch(fraction);
    }

    /// The output's rate in Hz and channel count, the least distance in frames
    /// between a poll and a block's start, and how far ahead blocks are handed
    /// out. Call again when the context was rebuilt: what was scheduled and not
    /// heard is scheduled anew.
    pub fn set_output(&mut self, rate: u32, channels: usize, lead: u64, horizon: u64) {
        let rate = rate.clamp(3_000, 768_000);
        let channels = channels.clamp(1, 32);
        self.take_back(self.frame);
        if rate != self.rate || channels != self.pcm.channels() {
            let media = self.timeline.media_at(self.resume);
            self.pcm = self
                .render
                .convert(&self.pcm, self.resume, self.rate, rate, channels);
            self.timeline = Timeline::new(rate);
            self.timeline.pin(0, media);
            self.resume = 0;
            self.rate = rate;
        }
        let horizon = horizon.min(MAX_SAMPLES_AHEAD / channels as u64);
        let block = BLOCK.min((horizon / 4).max(128));
        self.schedule = Schedule::new(lead.max(128), horizon, block);
        self.frame = 0;
        self.dry_since = None;
        self.prebuffer.on_stopped(self.now);
    }

    /// Bytes of a plain stream, in order.
    pub fn push_bytes(&mut self, now: f64, bytes: &[u8]) {
        if self.refuses() {
            return;
        }
        let arrival = self.input.push_bytes(bytes);
        self.arrived(now, arrival);
    }

    /// A binary message of `seamcast.v1`. Messages of unknown kind are
    /// ignored, unreadable ones told.
    pub fn push_chunk(&mut self, now: f64, message: &[u8]) {
        if self.refuses() {
            return;
        }
        let result = match Header::decode(message) {
            Ok((header, payload)) => self.input.push_chunk(&header, payload),
            Err(chunk::Error::Kind(_)) => return,
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok(arrival) => self.arrived(now, arrival),
            Err(message) => self.decode_error(message),
        }
    }

    /// A `config` message with its headers decoded from base64.
    pub fn config(&mut self, generation: u32, container: Container, headers: &[u8]) {
        self.input.config(generation, container, headers);
    }

    /// The next chunk need not continue the last.
    pub fn gap(&mut self) {
        self.input.gap();
    }

    /// Tags that belong to position `at`.
    pub fn metadata(&mut self, at: MediaTime, payload: Payload) {
        if self.metadata.len() >= MAX_METADATA {
            self.metadata.pop_front();
        }
        let place = self.metadata.partition_point(|(time, _)| *time <= at);
        self.metadata.insert(place, (at, payload));
    }

    /// The programme's whole length, when known.
    pub fn set_duration(&mut self, duration: Option<MediaDuration>) {
        self.prebuffer
            .set_total(duration.map(|d| d.as_secs_f64() * 1000.0));
    }

    /// No more input: everything held is played out.
    pub fn end_of_stream(&mut self, now: f64) {
        if !self.input.ended() {
            let before = self.input.head();
            self.input.finish();
            let duration = self.input.head().since(before);
            self.arrived(
                now,
                Arrival {
                    start: before,
                    duration,
                },
            );
            self.prebuffer.on_end_of_stream(now);
        }
    }

    /// Whether input should be held back.
    pub fn full(&self) -> bool {
        self.input.full()
    }

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
    /// does not say itself.
    pub fn seek(&mut self, now: f64, at: MediaTime) {
        self.take_back(self.frame);
        self.input.seek(at);
        self.restart(now, at);
        self.prebuffer.on_request(now);
    }

    /// The output was silent for `frames` although blocks were in time.
    pub fn note_starved(&mut self, frames: u64) {
        self.underruns += 1;
        self.silence += frames;
    }

    /// Advances to `now`, at which the context stood at `frame`.
    pub fn poll(&mut self, now: f64, frame: u64) {
        self.frame = self.frame.max(frame);
        self.now = now;
        let frame = self.frame;
        self.decode_ahead();
        self.check_dry(now, frame);
        let playhead_ms = self.current_time(frame).as_secs_f64() * 1000.0;
        if !self.ended {
            self.decide(now, frame, playhead_ms);
        }
        self.hand_out(frame);
        self.tell_metadata(frame);
        if let Some(output) = self.timeline.output_at(frame) {
            self.pcm.drop_before(output.min(self.next_output()));
        }
        let target = self.prebuffer.target();
        if (target - self.target_told).abs() > TARGET_STEP {
            self.target_told = target;
            self.events.push_back(Event::TargetLatency { ms: target });
        }
    }

    /// The next event; call until `None` after each poll.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next piece to schedule; call until `None` after each poll.
    pub fn next_slot(&mut self) -> Option<Slot> {
        self.slots.pop_front()
    }

    /// Puts off what waits to be scheduled when the context, now at `frame`, has reached it
    /// while it was being decoded: an output given a block late drops its beginning.
    pub fn catch_up(&mut self, frame: u64) {
        let Some(first) = self.slots.front().copied() else {
            return;
        };
        let late = self.schedule.put_off(first.context, frame);
        if late == 0 {
            return;
        }
        let pending = self.slots.iter().map(|slot| slot.frames).sum();
        let begins = self.timeline.begins_at(first.context);
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

    /// One channel of a slot, until the next call that changes the engine.
    pub fn pcm(&self, slot: Slot, channel: usize) -> &[f32] {
        self.pcm.slice(channel, slot.output, slot.frames)
    }

    /// Channels of every slot.
    pub fn channels(&self) -> usize {
        self.pcm.channels()
    }

    /// The output's rate in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

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

    fn arrived(&mut self, now: f64, arrival: Arrival) {
        if arrival.duration > MediaDuration::ZERO {
            self.ended = false;
            self.prebuffer.on_arrival(
                now,
                arrival.start.as_secs_f64() * 1000.0,
                arrival.duration.as_secs_f64() * 1000.0,
            );
        }
    }

    /// Refuses input that would break the queue's bound, telling it once.
    fn refuses(&mut self) -> bool {
        let refuses = self.input.overflowing();
        if refuses && !self.overflow_told {
            self.events.push_back(Event::Overflow);
        }
        if refuses {
            // What comes after the loss does not continue what is held.
            self.input.gap();
        }
        self.overflow_told = refuses;
        refuses
    }

    fn decode_error(&mut self, message: String) {
        self.events
            .push_back(Event::DecodeError(crate::stream::StreamError {
                message,
                offset: self.input.bytes,
                frames_lost: 0,
            }));
    }

    /// Output frame that will be handed out (or heard) next.
    fn next_output(&self) -> u64 {
        self.schedule.next_output().unwrap_or(self.resume)
    }

    /// Where the playhead is while nothing more is handed out: what was, may
    /// still be playing.
    fn playing_out(&self, frame: u64) -> Option<u64> {
        match self.dry_since {
            Some(end) if frame < end => self.timeline.output_at(frame),
            _ => None,
        }
    }

    fn heard_at(&self, frame: u64) -> u64 {
        self.heard + self.timeline.heard_before(frame)
    }

    /// Cancels what is scheduled at or after `frame` and resumes there later.
    fn take_back(&mut self, frame: u64) {
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
    fn restart(&mut self, now: f64, at: MediaTime) {
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

    fn decode_ahead(&mut self) {
        let ahead = self.schedule.horizon() + u64::from(self.rate / DECODE_AHEAD);
        let until = match self.schedule.end() {
            // Counted from the playhead, not from what is handed out already.
            Some(end) => self.next_output() + (self.frame + ahead).saturating_sub(end),
            None => self.resume + ahead,
        };
        self.fill(until);
    }

    fn check_dry(&mut self, now: f64, frame: u64) {
        if !self.schedule.dry(frame) {
            return;
        }
        let (Some(end), Some(output)) = (self.schedule.end(), self.schedule.next_output()) else {
            return;
        };
        let finished = self.render.finished() && output >= self.pcm.end();
        if finished {
            if frame >= end {
                self.schedule.stop();
                self.resume = output;
                self.ended = true;
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

    fn decide(&mut self, now: f64, frame: u64, playhead_ms: f64) {
        let quiet = self.pcm.quiet(self.next_output(), self.rate);
        let have = self.pcm.end() > self.next_output();
        let decision = self.prebuffer.decide(now, playhead_ms, quiet);
        if !self.schedule.running() {
            // Nothing to play and nothing to come: over before it began.
            if self.wants && !have && self.render.finished() && self.input.bytes > 0 {
                self.ended = true;
                self.events.push_back(Event::Ended);
                return;
            }
            if decision == Decision::Start && have {
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
            }
            Decision::Skip { to_ms } => self.skip(to_ms, quiet),
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

    fn start(&mut self, now: f64, frame: u64) {
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

    fn hand_out(&mut self, frame: u64) {
        let all = self.render.finished();
        let end = self.pcm.end();
        while let Some(slot) = self.schedule.next_slot(frame, end, all) {
            self.timeline.extend(slot.frames);
            self.slots.push_back(slot);
        }
    }

    /// Goes on at `to_ms`, at a quiet spot or, failing that, after a while anywhere.
    fn skip(&mut self, to_ms: f64, quiet: bool) {
        self.skip_waited += 1;
        let (Some(context), Some(from)) = (self.schedule.end(), self.schedule.next_output()) else {
            return;
        };
        if !quiet && self.skip_waited < SKIP_PATIENCE {
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
        self.pcm.crossfade(from, to);
        self.schedule.splice(to);
        self.timeline.anchor(context, to);
        let arrived = self.timeline.media_at(to);
        self.skipped += arrived.since(left).to_frames(self.rate).0;
        self.events.push_back(Event::Skip {
            from: left,
            to: arrived,
        });
    }

    fn fill(&mut self, until: u64) {
        self.render.fill(
            until,
            &mut self.input,
            &mut self.pcm,
            &mut self.timeline,
            &mut self.events,
            &mut self.metadata,
        );
        self.metadata.truncate(MAX_METADATA);
    }

    fn tell_metadata(&mut self, frame: u64) {
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
}

#[cfg(test)]
mod tests;
