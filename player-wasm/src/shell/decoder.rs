//! `StreamDecoder`: bytes in, PCM out.

use js_sys::{Array, Float32Array, Object, Uint8Array};
use wasm_bindgen::prelude::*;

use super::object;
use crate::stream::{Audio, Format, Item, StreamDecoder as Core, StreamError};

/// Input copied into wasm memory at a time.
const PIECE: u32 = 32 * 1024;
/// Frames staged in wasm memory before they move to JavaScript's: what 64 KiB of
/// 100 kbit/s hold, as joining several stages costs 3 % of the time.
const STAGE: usize = 256 * 1024;
/// Most samples staged, whatever the channel count.
const STAGE_SAMPLES: usize = 512 * 1024;
/// Errors reported per call; the rest are counted in one last entry.
const MAX_ERRORS: usize = 1000;

/// Decodes Ogg/Opus or MP3 bytes cut in any way.
#[wasm_bindgen]
pub struct StreamDecoder {
    core: Core,
    format: Option<Format>,
    stage: Vec<Vec<f32>>,
    input: Vec<u8>,
}

impl Default for StreamDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[wasm_bindgen]
impl StreamDecoder {
    /// A decoder that recognises the container by itself.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self {
            core: Core::new(),
            format: None,
            stage: Vec::new(),
            input: Vec::new(),
        }
    }

    /// Takes bytes and returns what could be decoded:
    /// `{channelData: Float32Array[], samplesDecoded, sampleRate, errors:
    /// [{message, offset, framesLost}], segments: [{start, samplesDecoded,
    /// channels, sampleRate}]}`.
    ///
    /// Channels come in the order of Web Audio and WAVE files. When a chained
    /// stream changes its format within a call, `channelData` has the largest
    /// channel count (mono is copied to the second channel, other missing
    /// channels are silent), `sampleRate` is the last one and `segments` tells
    /// where each format begins.
    pub fn decode(&mut self, bytes: &Uint8Array) -> Object {
        let mut sink = Sink::default();
        let mut at = 0;
        while at < bytes.length() {
            let end = bytes.length().min(at + PIECE);
            let piece = bytes.subarray(at, end);
            self.input.resize((end - at) as usize, 0);
            piece.copy_to(&mut self.input);
            self.core.push(&self.input);
            self.drain(&mut sink);
            at = end;
        }
        sink.result(&mut self.stage, self.format)
    }

    /// End of input: the rest, in the same form. Bytes pushed afterwards begin
    /// another stream.
    pub fn flush(&mut self) -> Object {
        let mut sink = Sink::default();
        self.core.finish();
        self.drain(&mut sink);
        sink.result(&mut self.stage, self.format)
    }

    /// Forgets everything; the next byte is the first of another stream.
    pub fn reset(&mut self) {
        self.core.reset();
        self.format = None;
    }
}

impl StreamDecoder {
    fn drain(&mut self, sink: &mut Sink) {
        while let Some(item) = self.core.poll() {
            match item {
                Item::Format(format) => self.format = Some(format),
                Item::Audio(audio) => {
                    if let Some(format) = self.format {
                        sink.audio(&mut self.stage, format, audio);
                    }
                }
                Item::Error(error) => sink.error(&error),
                Item::Tags(_) | Item::LinkEnd => {}
            }
        }
    }
}

/// The result of one call under construction.
#[derive(Default)]
struct Sink {
    /// Full stages already moved to JavaScript's memory, per channel.
    moved: Vec<Vec<Float32Array>>,
    total: usize,
    segments: Vec<(usize, Format)>,
    errors: Array,
    dropped_errors: u32,
}

impl Sink {
    fn audio(&mut self, stage: &mut Vec<Vec<f32>>, format: Format, audio: Audio<'_>) {
        if self.segments.last().is_none_or(|(_, last)| *last != format) {
            self.segments.push((self.total, format));
        }
        let channels = audio.channels().max(self.moved.len());
        if stage.len() < channels {
            stage.resize_with(channels, Vec::new);
        }
        let staged = stage.iter().map(Vec::len).max().unwrap_or(0);
        // All before was mono: its second channel is a copy.
        if self.moved.len() == 1 && channels > 1 {
            let (Some(first), Some(parts)) = (stage.first().cloned(), self.moved.first().cloned())
            else {
                return;
            };
            if let Some(second) = stage.get_mut(1) {
                *second = first;
            }
            self.moved.push(parts);
        }
        for (index, plane) in stage.iter_mut().enumerate().take(channels) {
            // A channel that begins now was silent before.
            plane.resize(staged, 0.0);
            let source = if index == 1 && audio.channels() == 1 {
                0
            } else {
                index
            };
            let samples = audio.channel(source);
            plane.extend_from_slice(samples);
            plane.resize(staged + audio.frames(), 0.0);
        }
        let before = self.total - staged;
        while self.moved.len() < channels {
            self.moved.push(Vec::new());
            if before > 0
                && let Some(new) = self.moved.last_mut()
            {
                new.push(Float32Array::new_with_length(before as u32));
            }
        }
        self.total += audio.frames();
        if staged + audio.frames() >= STAGE.min(STAGE_SAMPLES / channels.max(1)) {
            self.flush(stage);
        }
    }

    fn flush(&mut self, stage: &mut [Vec<f32>]) {
        for (plane, moved) in stage.iter_mut().zip(&mut self.moved) {
            moved.push(Float32Array::from(plane.as_slice()));
            plane.clear();
        }
    }

    fn error(&mut self, error: &StreamError) {
        if self.errors.length() as usize >= MAX_ERRORS {
            self.dropped_errors += 1;
            return;
        }
        self.errors.push(&object(&[
            ("message", error.message.as_str().into()),
            ("offset", (error.offset as f64).into()),
            ("framesLost", (error.frames_lost as f64).into()),
        ]));
    }

    fn result(mut self, stage: &mut [Vec<f32>], format: Option<Format>) -> Object {
        if self.dropped_errors > 0 {
            let message = ["further errors: ", &self.dropped_errors.to_string()].concat();
            self.errors.push(&object(&[
                ("message", message.into()),
                ("offset", JsValue::from(0)),
                ("framesLost", JsValue::from(0)),
            ]));
        }
        if stage.iter().any(|plane| !plane.is_empty()) {
            self.flush(stage);
        }
        let channels = Array::new();
        for parts in &self.moved {
            match parts.as_slice() {
                [only] => channels.push(only),
                parts => {
                    let whole = Float32Array::new_with_length(self.total as u32);
                    let mut at = 0;
                    for part in parts {
                        whole.set(part, at);
                        at += part.length();
                    }
                    channels.push(&whole)
                }
            };
        }
        let segments = Array::new();
        for (i, (start, format)) in self.segments.iter().enumerate() {
            let end = self
                .segments
                .get(i + 1)
                .map_or(self.total, |(start, _)| *start);
            segments.push(&object(&[
                ("start", (*start as f64).into()),
                ("samplesDecoded", ((end - start) as f64).into()),
                ("channels", format.channels.into()),
                ("sampleRate", format.sample_rate.into()),
            ]));
        }
        let format = self.segments.last().map(|(_, format)| *format).or(format);
        object(&[
            ("channelData", channels.into()),
            ("samplesDecoded", (self.total as f64).into()),
            ("sampleRate", format.map_or(0, |f| f.sample_rate).into()),
            ("errors", self.errors.into()),
            ("segments", segments.into()),
        ])
    }
}
