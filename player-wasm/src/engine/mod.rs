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
mod playback;
mod render;
mod report;

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
/// Live, with a latency bound: least excess over it that is left out at a quiet spot, in milliseconds.
const QUIET_SKIP_MS: f64 = 20.0;

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

    /// The output was silent for `frames` although blocks were in time.
    pub fn note_starved(&mut self, frames: u64) {
        self.underruns += 1;
        self.silence += frames;
    }

    /// Advances to `now`, at which the context stands at `frame` if its clock goes evenly; what
    /// that clock has shown is `reached`, at most `frame`.
    pub fn poll(&mut self, now: f64, frame: u64, reached: u64) {
        self.frame = self.frame.max(frame);
        self.now = now;
        let frame = self.frame;
        self.decode_ahead();
        self.check_dry(now, frame, reached);
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

    /// Whether everything up to the end of the stream was handed out.
    pub fn finished(&self) -> bool {
        self.render.finished() && self.slots.is_empty() && self.next_output() >= self.pcm.end()
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

    fn decode_ahead(&mut self) {
        let ahead = self.schedule.horizon() + u64::from(self.rate / DECODE_AHEAD);
        let until = match self.schedule.end() {
            // Counted from the playhead, not from what is handed out already.
            Some(end) => self.next_output() + (self.frame + ahead).saturating_sub(end),
            None => self.resume + ahead,
        };
        self.fill(until);
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
}

#[cfg(test)]
mod tests;
