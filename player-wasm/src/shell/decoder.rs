//! `Decoder`: bytes in, PCM out; what `StreamDecoder` stands on.

use js_sys::{Array, Float32Array, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{array, object, pieces};
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
#[derive(Debug)]
pub struct Decoder {
    core: Core,
    format: Option<Format>,
    stage: Vec<Vec<f32>>,
    input: Vec<u8>,
}

#[wasm_bindgen]
impl Decoder {
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
    /// `{stages: Float32Array[][], samplesDecoded, sampleRate, errors:
    /// [{message, offset, framesLost}], segments: [{start, samplesDecoded,
    /// channels, sampleRate}]}`.
    ///
    /// Channels come in the order of Web Audio and WAVE files, in one stage after
    /// another. When a chained stream changes its format within a call, a stage has
    /// the largest channel count up to its end (mono is copied to the second
    /// channel, other missing channels are silent), `sampleRate` is the last one
    /// and `segments` tells where each format begins.
    pub fn decode(&mut self, bytes: &Uint8Array) -> JsValue {
        let mut sink = Sink::new();
        let mut input = std::mem::take(&mut self.input);
        pieces(bytes, PIECE, &mut input, |piece| {
            self.core.push(piece);
            self.drain(&mut sink);
        });
        self.input = input;
        sink.result(&mut self.stage, self.format)
    }

    /// End of input: the rest, in the same form. Bytes pushed afterwards begin
    /// another stream.
    pub fn flush(&mut self) -> JsValue {
        let mut sink = Sink::new();
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

impl Decoder {
    fn drain(&mut self, sink: &mut Sink) {
        while let Some(item) = self.core.poll() {
            match item {
                Item::Format(format) => self.format = Some(format),
                Item::Audio(audio) => {
                    if let Some(format) = self.format {
                        sink.audio(&mut self.stage, format, audio);
                    }
                }
                Item::Error(error) => sink.error(error),
                Item::Tags(_) | Item::LinkEnd => {}
            }
        }
    }
}

/// The result of one call under construction.
struct Sink {
    /// Most channels so far.
    channels: usize,
    /// Full stages, already in JavaScript's memory.
    stages: Array,
    total: usize,
    segments: Vec<(usize, Format)>,
    errors: Vec<StreamError>,
    dropped_errors: u32,
}

impl Sink {
    fn new() -> Self {
        Self {
            channels: 0,
            stages: Array::new(),
            total: 0,
            segments: Vec::new(),
            errors: Vec::new(),
            dropped_errors: 0,
        }
    }

    fn audio(&mut self, stage: &mut Vec<Vec<f32>>, format: Format, audio: Audio<'_>) {
        if self.segments.last().is_none_or(|(_, last)| *last != format) {
            self.segments.push((self.total, format));
        }
        let channels = audio.channels().max(self.channels);
        if stage.len() < channels {
            stage.resize_with(channels, Vec::new);
        }
        let staged = stage.iter().map(Vec::len).max().unwrap_or(0);
        // All before was mono: its second channel is a copy.
        if self.channels == 1
            && channels > 1
            && let [first, second, ..] = stage.as_mut_slice()
        {
            second.clone_from(first);
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
        self.channels = channels;
        self.total += audio.frames();
        if staged + audio.frames() >= STAGE.min(STAGE_SAMPLES / channels.max(1)) {
            self.flush(stage);
        }
    }

    fn flush(&mut self, stage: &mut [Vec<f32>]) {
        let planes = stage.iter_mut().take(self.channels).map(|plane| {
            let copy = Float32Array::new_from_slice(plane);
            plane.clear();
            copy.into()
        });
        self.stages.push(&array(planes));
    }

    fn error(&mut self, error: StreamError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.dropped_errors += 1;
        }
    }

    /// As JavaScript gets it.
    fn result(mut self, stage: &mut [Vec<f32>], format: Option<Format>) -> JsValue {
        if self.dropped_errors > 0 {
            self.errors.push(StreamError {
                message: ["further errors: ", &self.dropped_errors.to_string()].concat(),
                offset: 0,
                frames_lost: 0,
            });
        }
        if stage.iter().any(|plane| !plane.is_empty()) {
            self.flush(stage);
        }
        let last = self.segments.last().map(|(_, format)| *format).or(format);
        let errors = self.errors.iter().map(|error| {
            object([
                ("message", error.message.as_str().into()),
                ("offset", (error.offset as f64).into()),
                ("framesLost", (error.frames_lost as f64).into()),
            ])
        });
        let ends = self.segments.iter().skip(1).map(|(start, _)| *start);
        let ends = ends.chain([self.total]);
        let segments = self
            .segments
            .iter()
            .zip(ends)
            .map(|((start, format), end)| {
                object([
                    ("start", (*start as f64).into()),
                    ("samplesDecoded", ((end - start) as f64).into()),
                    ("channels", f64::from(format.channels).into()),
                    ("sampleRate", format.sample_rate.into()),
                ])
            });
        object([
            ("stages", self.stages.into()),
            ("samplesDecoded", (self.total as f64).into()),
            ("sampleRate", last.map_or(0, |f| f.sample_rate).into()),
            ("errors", array(errors)),
            ("segments", array(segments)),
        ])
    }
}
