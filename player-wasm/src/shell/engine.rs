//! `Engine`: the player without its output.
//!
//! Times called `now` are milliseconds of a monotonic clock
//! (`performance.now()`), media times are seconds, positions of the output
//! are whole frames of the context's clock as numbers.

use js_sys::{Array, Float32Array, Uint8Array};
use seamcast_media::demux::{Codec, Container};
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::chunk::{self, HEADER_LEN, Header};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::Performance;

use super::{array, object, pieces, read};
use crate::engine::{Engine as Core, Event, Payload};
use crate::prebuffer::{Latency, Mode};
use crate::stream::Format;

/// Input copied into wasm memory at a time.
const PIECE: u32 = 64 * 1024;
/// Longest framed message taken.
const MAX_MESSAGE: u32 = 2 << 20;

/// Bytes in, blocks of PCM for the output and events out. One per player.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Engine {
    core: Core,
    input: Vec<u8>,
    /// Only for `decodeTimeMs`; the engine itself reads no clock.
    clock: Performance,
    busy_ms: f64,
}

#[wasm_bindgen]
impl Engine {
    /// An idle, paused engine, which may skip to stay near the live edge or never does (`complete`).
    /// The latency bounds are seconds (`0` and `Infinity`: measured, without bounds).
    #[wasm_bindgen(constructor)]
    pub fn new(clock: Performance, complete: bool, min_latency: f64, max_latency: f64) -> Self {
        let mode = if complete { Mode::Complete } else { Mode::Live };
        Self {
            core: Core::new(mode, latency(min_latency, max_latency)),
            input: Vec::new(),
            clock,
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
    pub fn push_bytes(&mut self, now: f64, bytes: &Uint8Array) {
        let began = self.clock.now();
        pieces(bytes, PIECE, &mut self.input, |piece| {
            self.core.push_bytes(now, piece);
        });
        self.busy_ms += self.clock.now() - began;
    }

    /// What a binary message of `seamcast.v1` begins with, as `[seq, end, ingest]`: the chunk's number,
    /// its end in media seconds, and when the relay had it, milliseconds since the Unix epoch on its
    /// clock. A text where the message breaks the protocol; `undefined` for a kind to be skipped.
    pub fn header(&mut self, message: &Uint8Array) -> JsValue {
        read(&message.subarray(0, HEADER_LEN as u32), &mut self.input);
        match Header::decode(&self.input) {
            Ok((header, _)) => {
                let end = MediaTime::from_ticks(header.media_time)
                    + MediaDuration::from_ticks(header.duration);
                array([
                    (header.seq as f64).into(),
                    end.as_secs_f64().into(),
                    (header.ingest_time as f64 / 1000.0).into(),
                ])
            }
            Err(chunk::Error::Kind(_)) => JsValue::UNDEFINED,
            Err(error) => error.to_string().into(),
        }
    }

    /// A binary message of `seamcast.v1`.
    #[wasm_bindgen(js_name = pushChunk)]
    pub fn push_chunk(&mut self, now: f64, message: &Uint8Array) {
        let began = self.clock.now();
        self.read(message);
        self.core.push_chunk(now, &self.input);
        self.busy_ms += self.clock.now() - began;
    }

    /// A `config` message: its container and its decoded `headers`.
    pub fn config(&mut self, generation: u32, mpeg: bool, headers: &Uint8Array) {
        let container = if mpeg {
            Container::Mpeg
        } else {
            Container::Ogg
        };
        self.read(headers);
        self.core.config(generation, container, &self.input);
    }

    /// A `gap` message (or a reconnect that was not `recovered`): the next
    /// chunk need not continue the last.
    pub fn gap(&mut self) {
        self.core.gap();
    }

    /// A `metadata` message: `json`, in UTF-8, comes back as a string in a `metadata` event
    /// when media time `at` is audible.
    pub fn metadata(&mut self, at: f64, json: &Uint8Array) {
        self.read(json);
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
    pub fn poll(&mut self, now: f64, frame: f64, reached: f64) -> JsValue {
        let began = self.clock.now();
        self.core.poll(now, whole(frame), whole(reached));
        self.busy_ms += self.clock.now() - began;
        let rate = f64::from(self.core.sample_rate());
        array(std::iter::from_fn(|| self.core.next_event()).map(|event| describe(event, rate)))
    }

    /// The next block to schedule, as `[frame, plane, …]`: one plane per channel, in JavaScript's
    /// memory, so that it may be transferred. Call until `undefined` after each `poll`, after the
    /// events of that `poll` were acted on. `frame` is the context's present one: a block whose
    /// start it has passed since the poll is put off.
    #[wasm_bindgen(js_name = nextBlock)]
    pub fn next_block(&mut self, frame: f64) -> Option<Array> {
        self.core.catch_up(whole(frame));
        let slot = self.core.next_slot()?;
        let block = Array::new();
        block.push(&(slot.context as f64).into());
        for channel in 0..self.core.channels() {
            block.push(&Float32Array::new_from_slice(self.core.pcm(slot, channel)));
        }
        Some(block)
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
    pub fn stats(&self, frame: f64) -> JsValue {
        let stats = self.core.stats(whole(frame));
        object([
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
        ])
    }
}

impl Engine {
    /// Copies a message, cut where none is longer.
    fn read(&mut self, message: &Uint8Array) {
        read(&message.subarray(0, MAX_MESSAGE), &mut self.input);
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

fn describe_format(kind: &str, format: Format) -> JsValue {
    let codec = match format.codec {
        Codec::Opus => "opus",
        Codec::Mp3 => "mp3",
    };
    object([
        ("type", kind.into()),
        ("codec", codec.into()),
        ("sampleRate", format.sample_rate.into()),
        ("channels", f64::from(format.channels).into()),
    ])
}

/// The event as JavaScript gets it.
fn describe(event: Event, rate: f64) -> JsValue {
    let secs = |time: MediaTime| JsValue::from(time.as_secs_f64());
    let count = |frames: u64| JsValue::from(frames as f64);
    match event {
        Event::LoadedMetadata(format) => describe_format("loadedmetadata", format),
        Event::CodecChange(format) => describe_format("codecchange", format),
        Event::CanPlay => object([("type", "canplay".into())]),
        Event::Playing { media, frame } => object([
            ("type", "playing".into()),
            ("mediaTime", secs(media)),
            ("frame", count(frame)),
        ]),
        Event::Waiting { media } => {
            object([("type", "waiting".into()), ("mediaTime", secs(media))])
        }
        Event::Underrun { media, silence } => object([
            ("type", "underrun".into()),
            ("mediaTime", secs(media)),
            ("silenceMs", (silence as f64 * 1000.0 / rate).into()),
        ]),
        Event::Cancel { frame } => object([("type", "cancel".into()), ("frame", count(frame))]),
        Event::Skip { from, to } => object([
            ("type", "skip".into()),
            ("from", secs(from)),
            ("to", secs(to)),
        ]),
        Event::Metadata { at, payload } => {
            let (name, value) =
                match &payload {
                    Payload::Json(json) => ("json", json.as_str().into()),
                    Payload::Tags(tags) => (
                        "tags",
                        array(tags.iter().map(|(name, value)| {
                            array([name.as_str().into(), value.as_str().into()])
                        })),
                    ),
                };
            object([("type", "metadata".into()), ("at", secs(at)), (name, value)])
        }
        Event::TargetLatency { ms } => object([
            ("type", "targetlatencychange".into()),
            ("seconds", (ms / 1000.0).into()),
        ]),
        Event::DecodeError(error) => object([
            ("type", "decodeerror".into()),
            ("message", error.message.as_str().into()),
            ("offset", count(error.offset)),
            ("framesLost", count(error.frames_lost)),
        ]),
        Event::Overflow => object([("type", "overflow".into())]),
        Event::Ended => object([("type", "ended".into())]),
    }
}
