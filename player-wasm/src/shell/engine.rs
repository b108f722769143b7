//! `Engine`: the player without its output.
//!
//! Times called `now` are milliseconds of a monotonic clock
//! (`performance.now()`), media times are seconds, positions of the output
//! are whole frames of the context's clock as numbers.

use seamcast_media::demux::{Codec, Container};
use seamcast_media::units::{MediaDuration, MediaTime};
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Value, end_object, field, floats, list, now as clock, object, put, read};
use crate::engine::{Engine as Core, Event, Payload};
use crate::prebuffer::{Latency, Mode};
use crate::stream::Format;

/// Input copied into wasm memory at a time.
const PIECE: usize = 64 * 1024;
/// Longest framed message taken.
const MAX_MESSAGE: usize = 2 << 20;

/// Bytes in, blocks of PCM for the output and events out. One per player.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Engine {
    core: Core,
    input: Vec<u8>,
    busy_ms: f64,
}

#[wasm_bindgen]
impl Engine {
    /// An idle, paused engine, which may skip to stay near the live edge or never does (`complete`).
    /// The latency bounds are seconds (`0` and `Infinity`: measured, without bounds).
    #[wasm_bindgen(constructor)]
    pub fn new(complete: bool, min_latency: f64, max_latency: f64) -> Self {
        let mode = if complete { Mode::Complete } else { Mode::Live };
        Self {
            core: Core::new(mode, latency(min_latency, max_latency)),
            input: Vec::new(),
            busy_ms: 0.0,
        }
    }

    /// Largest time-stretch the prebuffer may ask for, as a fraction (0: off, at most 0.05).
    /// Without a call 0.05 in live mode, 0 in complete mode.
    #[wasm_bindgen(js_name = setStretch)]
    pub fn set_stretch(&mut self, fraction: f64) {
        self.core.set_stretch(fraction);
    }

    /// The output's rate and channel count; blocks are delivered in these.
    /// Call before the first `poll`, and again when the context was rebuilt
    /// (playback then re-anchors). `lead` is the least time in seconds between
    /// `poll` and a block's start; `horizon` is how far ahead blocks are handed out.
    #[wasm_bindgen(js_name = setOutput)]
    pub fn set_output(&mut self, sample_rate: u32, channels: u32, lead: f64, horizon: f64) {
        let frames = |secs: f64| (secs.clamp(0.0, 60.0) * f64::from(sample_rate)) as u64;
        self.core.set_output(
            sample_rate,
            channels as usize,
            frames(lead),
            frames(horizon),
        );
    }

    /// Bytes of a plain stream (fetch, plain WebSocket, `append`), in order.
    #[wasm_bindgen(js_name = pushBytes)]
    pub fn push_bytes(&mut self, now: f64, length: usize) {
        let began = clock();
        let mut at = 0;
        while at < length {
            let end = length.min(at + PIECE);
            read(&mut self.input, at, end);
            self.core.push_bytes(now, &self.input);
            at = end;
        }
        self.busy_ms += clock() - began;
    }

    /// A binary message of `seamcast.v1`.
    #[wasm_bindgen(js_name = pushChunk)]
    pub fn push_chunk(&mut self, now: f64, length: usize) {
        let began = clock();
        read(&mut self.input, 0, length.min(MAX_MESSAGE));
        self.core.push_chunk(now, &self.input);
        self.busy_ms += clock() - began;
    }

    /// A `config` message: its container and its decoded `headers`.
    pub fn config(&mut self, generation: u32, mpeg: bool, length: usize) {
        let container = if mpeg {
            Container::Mpeg
        } else {
            Container::Ogg
        };
        read(&mut self.input, 0, length.min(MAX_MESSAGE));
        self.core.config(generation, container, &self.input);
    }

    /// A `gap` message (or a reconnect that was not `recovered`): the next
    /// chunk need not continue the last.
    pub fn gap(&mut self) {
        self.core.gap();
    }

    /// A `metadata` message: `json`, in UTF-8, comes back as a string in a `metadata` event
    /// when media time `at` is audible.
    pub fn metadata(&mut self, at: f64, length: usize) {
        read(&mut self.input, 0, length.min(MAX_MESSAGE));
        let json = String::from_utf8_lossy(&self.input).into_owned();
        self.core.metadata(media(at), Payload::Json(json));
    }

    /// The programme's whole length in seconds, when known (`NaN`: unknown).
    #[wasm_bindgen(js_name = setDuration)]
    pub fn set_duration(&mut self, seconds: f64) {
        let known = seconds.is_finite() && seconds > 0.0;
        self.core
            .set_duration(known.then(|| MediaDuration::from_secs_f64(seconds)));
    }

    /// No more input: everything held is played out, then `ended`.
    #[wasm_bindgen(js_name = endOfStream)]
    pub fn end_of_stream(&mut self, now: f64) {
        self.core.end_of_stream(now);
    }

    /// Whether input should be held back: the engine holds as much as it may.
    /// `append()` waits while this is true.
    pub fn full(&self) -> bool {
        self.core.full()
    }

    /// Start (or go on) as soon as the prebuffer allows.
    pub fn play(&mut self, now: f64) {
        self.core.play(now);
    }

    /// Stop at `frame` (the context's present frame); what is scheduled from
    /// there on is cancelled and will be handed out again after `play`.
    pub fn pause(&mut self, now: f64, frame: f64) {
        self.core.pause(now, whole(frame));
    }

    /// Barge-in: drops everything that is not audible at `frame` and all that
    /// is buffered; playback waits for new input. Returns the seconds of media
    /// played since the stream began or since the last `flush`.
    pub fn flush(&mut self, now: f64, frame: f64) -> f64 {
        self.core.flush(now, whole(frame)).as_secs_f64()
    }

    /// A seek: drops everything; the input that follows is a new join, of
    /// which `seconds` is the media time when the input does not say it (plain streams).
    /// `exact`: it may begin earlier, and is heard from `seconds` on.
    pub fn seek(&mut self, now: f64, seconds: f64, exact: bool) {
        self.core.seek(now, media(seconds), exact);
    }

    /// Advances everything to `now`, at which the context stood at `frame`.
    /// Call after pushing, and every 20–100 ms. Returns events in order, plain objects:
    /// `{type: 'loadedmetadata', codec, sampleRate, channels}`,
    /// `{type: 'codecchange', codec, sampleRate, channels}`, `{type: 'canplay'}`,
    /// `{type: 'playing', mediaTime, frame}`, `{type: 'waiting', mediaTime}`,
    /// `{type: 'underrun', mediaTime, silenceMs}` (when sound is about to be back),
    /// `{type: 'cancel', frame}` (drop what was scheduled at or after `frame`),
    /// `{type: 'skip', from, to}`, `{type: 'metadata', at, tags: [[name, value]] | json}`,
    /// `{type: 'targetlatencychange', seconds}`,
    /// `{type: 'decodeerror', message, offset, framesLost}` (playback goes on),
    /// `{type: 'overflow'}` (input was dropped: `full` was ignored), `{type: 'ended'}`.
    pub fn poll(&mut self, now: f64, frame: f64, reached: f64) {
        let began = clock();
        self.core.poll(now, whole(frame), whole(reached));
        self.busy_ms += clock() - began;
        let rate = f64::from(self.core.sample_rate());
        let mut events = 0;
        while let Some(event) = self.core.next_event() {
            describe(event, rate);
            events += 1;
        }
        list(events);
    }

    /// The next block to schedule, as `[frame, plane, …]`: one plane per channel, in JavaScript's
    /// memory, so that it may be transferred. Call until `undefined` after each `poll`, after the
    /// events of that `poll` were acted on. `frame` is the context's present one: a block whose
    /// start it has passed since the poll is put off.
    #[wasm_bindgen(js_name = nextBlock)]
    pub fn next_block(&mut self, frame: f64) {
        self.core.catch_up(whole(frame));
        let Some(slot) = self.core.next_slot() else {
            return;
        };
        put(slot.context as f64);
        for channel in 0..self.core.channels() {
            floats(self.core.pcm(slot, channel));
        }
        list(1 + self.core.channels());
    }

    /// Whether everything up to the end of the stream was handed out.
    pub fn finished(&self) -> bool {
        self.core.finished()
    }

    /// The output starved although blocks were in time (worklet counters): `frames` of silence.
    #[wasm_bindgen(js_name = noteStarved)]
    pub fn note_starved(&mut self, frames: f64) {
        self.core.note_starved(whole(frames));
    }

    /// Media time in seconds at context frame `frame`.
    #[wasm_bindgen(js_name = currentTime)]
    pub fn current_time(&self, frame: f64) -> f64 {
        self.core.current_time(whole(frame)).as_secs_f64()
    }

    /// Where what is held and not yet played ends, media seconds.
    pub fn buffered(&self, frame: f64) -> f64 {
        self.core.buffered(whole(frame)).1.as_secs_f64()
    }

    /// The numbers of `PlayerStats` that the engine knows, as a plain object.
    pub fn stats(&self, frame: f64) {
        let stats = self.core.stats(whole(frame));
        object(&[
            ("underrunEvents", stats.underrun_events.into()),
            ("underrunDuration", stats.underrun_duration.into()),
            ("totalDuration", stats.total_duration.into()),
            ("averageLatency", stats.average_latency.into()),
            ("jitterBufferDelay", stats.jitter_buffer_delay.into()),
            (
                "jitterBufferTargetDelay",
                stats.jitter_buffer_target_delay.into(),
            ),
            ("arrivalRate", stats.arrival_rate.into()),
            ("arrivalSpreadP95", stats.arrival_spread_p95.into()),
            ("startupDelay", stats.startup_delay.into()),
            ("predictedSafeStart", stats.predicted_safe_start.into()),
            ("prebuffer", stats.prebuffer.into()),
            ("resampleRatio", stats.resample_ratio.into()),
            ("driftPpm", stats.drift_ppm.into()),
            ("concealedFrames", (stats.concealed_frames as f64).into()),
            ("droppedFrames", (stats.dropped_frames as f64).into()),
            ("stretchedFrames", (stats.stretched_frames as f64).into()),
            ("bytesReceived", (stats.bytes_received as f64).into()),
            ("decodeTimeMs", self.busy_ms.into()),
        ]);
    }
}

fn latency(min: f64, max: f64) -> Latency {
    let min_ms = if min.is_finite() {
        min.max(0.0) * 1000.0
    } else {
        0.0
    };
    let max_ms = if max.is_nan() {
        f64::INFINITY
    } else {
        max * 1000.0
    };
    Latency {
        min_ms,
        max_ms: max_ms.max(min_ms),
    }
}

fn media(seconds: f64) -> MediaTime {
    MediaTime::ZERO + MediaDuration::from_secs_f64(seconds)
}

/// A count from JavaScript: rounded, never negative.
fn whole(frame: f64) -> u64 {
    frame.round() as u64
}

fn describe_format(kind: &str, format: Format) {
    let codec = match format.codec {
        Codec::Opus => "opus",
        Codec::Mp3 => "mp3",
    };
    object(&[
        ("type", kind.into()),
        ("codec", codec.into()),
        ("sampleRate", format.sample_rate.into()),
        ("channels", f64::from(format.channels).into()),
    ]);
}

/// Puts the event on the stack.
fn describe(event: Event, rate: f64) {
    let secs = |time: MediaTime| Value::from(time.as_secs_f64());
    let count = |frames: u64| Value::from(frames as f64);
    match event {
        Event::LoadedMetadata(format) => describe_format("loadedmetadata", format),
        Event::CodecChange(format) => describe_format("codecchange", format),
        Event::CanPlay => object(&[("type", "canplay".into())]),
        Event::Playing { media, frame } => object(&[
            ("type", "playing".into()),
            ("mediaTime", secs(media)),
            ("frame", count(frame)),
        ]),
        Event::Waiting { media } => {
            object(&[("type", "waiting".into()), ("mediaTime", secs(media))])
        }
        Event::Underrun { media, silence } => object(&[
            ("type", "underrun".into()),
            ("mediaTime", secs(media)),
            ("silenceMs", (silence as f64 * 1000.0 / rate).into()),
        ]),
        Event::Cancel { frame } => object(&[("type", "cancel".into()), ("frame", count(frame))]),
        Event::Skip { from, to } => object(&[
            ("type", "skip".into()),
            ("from", secs(from)),
            ("to", secs(to)),
        ]),
        Event::Metadata { at, payload } => {
            field("type", || put("metadata"));
            field("at", || put(at.as_secs_f64()));
            match &payload {
                Payload::Json(json) => field("json", || put(json.as_str())),
                Payload::Tags(tags) => field("tags", || {
                    for (name, value) in tags {
                        field(name, || put(value.as_str()));
                    }
                    list(tags.len());
                }),
            }
            end_object(3);
        }
        Event::TargetLatency { ms } => object(&[
            ("type", "targetlatencychange".into()),
            ("seconds", (ms / 1000.0).into()),
        ]),
        Event::DecodeError(error) => object(&[
            ("type", "decodeerror".into()),
            ("message", error.message.as_str().into()),
            ("offset", count(error.offset)),
            ("framesLost", count(error.frames_lost)),
        ]),
        Event::Overflow => object(&[("type", "overflow".into())]),
        Event::Ended => object(&[("type", "ended".into())]),
    }
}
