//! `Engine`: the player without its output.
//!
//! Times called `now` are milliseconds of a monotonic clock
//! (`performance.now()`), media times are seconds, positions of the output
//! are whole frames of the context's clock as numbers.

use wasm_bindgen::prelude::*;

/// Bytes in, blocks of PCM for the output and events out. One per player.
#[wasm_bindgen]
pub struct Engine {}

/// A run of PCM and the context frame at which it begins.
#[wasm_bindgen]
pub struct Block {}

#[wasm_bindgen]
impl Block {
    /// Context frame of the first sample.
    #[wasm_bindgen(getter)]
    pub fn frame(&self) -> f64 {
        0.0
    }

    /// Frames held.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> u32 {
        0
    }

    /// Channels held: always those given to `setOutput`.
    #[wasm_bindgen(getter)]
    pub fn channels(&self) -> u32 {
        0
    }

    /// A copy of one channel.
    pub fn channel(&self, index: u32) -> js_sys::Float32Array {
        let _ = index;
        js_sys::Float32Array::new_with_length(0)
    }

    /// Copies one channel into `target`, which must have `length` elements.
    #[wasm_bindgen(js_name = copyChannel)]
    pub fn copy_channel(&self, index: u32, target: &js_sys::Float32Array) {
        let _ = (index, target);
    }
}

#[wasm_bindgen]
impl Engine {
    /// An idle, paused engine. `mode` is `live` or `complete`; the latency
    /// bounds are seconds (`0` and `Infinity`: measured, without bounds).
    #[wasm_bindgen(constructor)]
    pub fn new(mode: &str, min_latency: f64, max_latency: f64) -> Self {
        let _ = (mode, min_latency, max_latency);
        Self {}
    }

    /// Changes the latency bounds, seconds.
    #[wasm_bindgen(js_name = setLatency)]
    pub fn set_latency(&mut self, min: f64, max: f64) {
        let _ = (min, max);
    }

    /// Largest time-stretch the prebuffer may ask for, as a fraction (0: off, at most 0.05).
    #[wasm_bindgen(js_name = setStretch)]
    pub fn set_stretch(&mut self, fraction: f64) {
        let _ = fraction;
    }

    /// The output's rate and channel count; blocks are delivered in these.
    /// Call before the first `poll`, and again when the context was rebuilt
    /// (playback then re-anchors). `lead` is the least time in seconds between
    /// `poll` and a block's start; `horizon` is how far ahead blocks are handed out.
    #[wasm_bindgen(js_name = setOutput)]
    pub fn set_output(&mut self, sample_rate: u32, channels: u32, lead: f64, horizon: f64) {
        let _ = (sample_rate, channels, lead, horizon);
    }

    /// Bytes of a plain stream (fetch, plain WebSocket, `append`), in order.
    #[wasm_bindgen(js_name = pushBytes)]
    pub fn push_bytes(&mut self, now: f64, bytes: &[u8]) {
        let _ = (now, bytes);
    }

    /// A binary message of `seamcast.v1`.
    #[wasm_bindgen(js_name = pushChunk)]
    pub fn push_chunk(&mut self, now: f64, message: &[u8]) {
        let _ = (now, message);
    }

    /// A `config` message: `container` is `ogg` or `mpeg`, `headers` its decoded bytes.
    pub fn config(&mut self, generation: u32, container: &str, headers: &[u8]) {
        let _ = (generation, container, headers);
    }

    /// A `gap` message (or a reconnect that was not `recovered`): the next
    /// chunk need not continue the last.
    pub fn gap(&mut self) {}

    /// A `metadata` message: `json` comes back in a `metadata` event when
    /// media time `at` is audible.
    pub fn metadata(&mut self, at: f64, json: &str) {
        let _ = (at, json);
    }

    /// The programme's whole length in seconds, when known (`NaN`: unknown).
    #[wasm_bindgen(js_name = setDuration)]
    pub fn set_duration(&mut self, seconds: f64) {
        let _ = seconds;
    }

    /// No more input: everything held is played out, then `ended`.
    #[wasm_bindgen(js_name = endOfStream)]
    pub fn end_of_stream(&mut self, now: f64) {
        let _ = now;
    }

    /// Whether input should be held back: the engine holds as much as it may.
    /// `append()` waits while this is true.
    #[wasm_bindgen(getter)]
    pub fn full(&self) -> bool {
        false
    }

    /// Start (or go on) as soon as the prebuffer allows.
    pub fn play(&mut self, now: f64) {
        let _ = now;
    }

    /// Stop at `frame` (the context's present frame); what is scheduled from
    /// there on is cancelled and will be handed out again after `play`.
    pub fn pause(&mut self, now: f64, frame: f64) {
        let _ = (now, frame);
    }

    /// Barge-in: drops everything that is not audible at `frame` and all that
    /// is buffered; playback waits for new input. Returns the seconds of media
    /// played since the stream began or since the last `flush`.
    pub fn flush(&mut self, now: f64, frame: f64) -> f64 {
        let _ = (now, frame);
        0.0
    }

    /// A seek: drops everything; the input that follows is a new join, of
    /// which `seconds` is the media time when the input does not say it (plain streams).
    pub fn seek(&mut self, now: f64, seconds: f64) {
        let _ = (now, seconds);
    }

    /// Advances everything to `now`, at which the context stood at `frame`.
    /// Call after pushing, and every 20–100 ms. Returns events in order, plain objects:
    /// `{type: 'loadedmetadata', codec, sampleRate, channels}`,
    /// `{type: 'codecchange', codec, sampleRate, channels}`, `{type: 'canplay'}`,
    /// `{type: 'playing', mediaTime, frame}`, `{type: 'waiting', mediaTime}`,
    /// `{type: 'underrun', mediaTime, silenceMs}` (when sound is back),
    /// `{type: 'cancel', frame}` (drop what was scheduled at or after `frame`),
    /// `{type: 'skip', from, to}`, `{type: 'metadata', at, tags | json}`,
    /// `{type: 'targetlatencychange', seconds}`,
    /// `{type: 'decodeerror', message, offset}` (playback goes on), `{type: 'ended'}`.
    pub fn poll(&mut self, now: f64, frame: f64) -> js_sys::Array {
        let _ = (now, frame);
        js_sys::Array::new()
    }

    /// The next block to schedule; call until `undefined` after each `poll`,
    /// after the events of that `poll` were acted on.
    #[wasm_bindgen(js_name = nextBlock)]
    pub fn next_block(&mut self) -> Option<Block> {
        None
    }

    /// The output starved although blocks were in time (worklet counters): `frames` of silence.
    #[wasm_bindgen(js_name = noteStarved)]
    pub fn note_starved(&mut self, frames: f64) {
        let _ = frames;
    }

    /// Media time in seconds at context frame `frame`.
    #[wasm_bindgen(js_name = currentTime)]
    pub fn current_time(&self, frame: f64) -> f64 {
        let _ = frame;
        0.0
    }

    /// `[start, end]` in seconds of what is held and not yet played.
    pub fn buffered(&self, frame: f64) -> js_sys::Array {
        let _ = frame;
        js_sys::Array::new()
    }

    /// The numbers of `PlayerStats` that the engine knows, as a plain object.
    pub fn stats(&self, frame: f64) -> js_sys::Object {
        let _ = frame;
        js_sys::Object::new()
    }
}
