//! `StreamDecoder`: bytes in, PCM out. A function called `decoder_x` is the
//! method `x` in JavaScript.

// Exports cannot be named otherwise.
#![allow(unsafe_code)]

use super::{end_object, field, floats, list, object, put, read};
use crate::stream::{Audio, Format, Item, StreamDecoder as Core, StreamError};

/// Input copied into wasm memory at a time.
const PIECE: usize = 32 * 1024;
/// Frames staged in wasm memory before they move to JavaScript's: what 64 KiB of
/// 100 kbit/s hold, as joining several stages costs 3 % of the time.
const STAGE: usize = 256 * 1024;
/// Most samples staged, whatever the channel count.
const STAGE_SAMPLES: usize = 512 * 1024;
/// Errors reported per call; the rest are counted in one last entry.
const MAX_ERRORS: usize = 1000;

/// Decodes Ogg/Opus or MP3 bytes cut in any way.
struct StreamDecoder {
    core: Core,
    format: Option<Format>,
    stage: Vec<Vec<f32>>,
    input: Vec<u8>,
}

/// A decoder that recognises the container by itself.
#[unsafe(export_name = "decoder_new")]
extern "C" fn new() -> Box<StreamDecoder> {
    Box::new(StreamDecoder {
        core: Core::new(),
        format: None,
        stage: Vec::new(),
        input: Vec::new(),
    })
}

/// Gives the memory back.
#[unsafe(export_name = "decoder_free")]
extern "C" fn free(_: Box<StreamDecoder>) {}

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
#[unsafe(export_name = "decoder_decode")]
extern "C" fn decode(this: &mut StreamDecoder, length: usize) {
    let mut sink = Sink::new();
    let mut at = 0;
    while at < length {
        let end = length.min(at + PIECE);
        read(&mut this.input, at, end);
        this.core.push(&this.input);
        this.drain(&mut sink);
        at = end;
    }
    sink.result(&mut this.stage, this.format);
}

/// End of input: the rest, in the same form. Bytes pushed afterwards begin
/// another stream.
#[unsafe(export_name = "decoder_flush")]
extern "C" fn flush(this: &mut StreamDecoder) {
    let mut sink = Sink::new();
    this.core.finish();
    this.drain(&mut sink);
    sink.result(&mut this.stage, this.format);
}

/// Forgets everything; the next byte is the first of another stream.
#[unsafe(export_name = "decoder_reset")]
extern "C" fn reset(this: &mut StreamDecoder) {
    this.core.reset();
    this.format = None;
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
    /// Full stages already on JavaScript's stack.
    stages: usize,
    total: usize,
    segments: Vec<(usize, Format)>,
    errors: Vec<StreamError>,
    dropped_errors: u32,
}

impl Sink {
    fn new() -> Self {
        // The name of what the stages become.
        put("stages");
        Self {
            channels: 0,
            stages: 0,
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
        for plane in stage.iter_mut().take(self.channels) {
            floats(plane);
            plane.clear();
        }
        list(self.channels);
        self.stages += 1;
    }

    fn error(&mut self, error: StreamError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.dropped_errors += 1;
        }
    }

    /// Puts it on the stack.
    fn result(mut self, stage: &mut [Vec<f32>], format: Option<Format>) {
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
        list(self.stages);
        list(2);
        field("samplesDecoded", || put(self.total as f64));
        let last = self.segments.last().map(|(_, format)| *format).or(format);
        field("sampleRate", || put(last.map_or(0, |f| f.sample_rate)));
        field("errors", || {
            for error in &self.errors {
                object(&[
                    ("message", error.message.as_str().into()),
                    ("offset", (error.offset as f64).into()),
                    ("framesLost", (error.frames_lost as f64).into()),
                ]);
            }
            list(self.errors.len());
        });
        field("segments", || {
            for (i, (start, format)) in self.segments.iter().enumerate() {
                let end = self
                    .segments
                    .get(i + 1)
                    .map_or(self.total, |(start, _)| *start);
                object(&[
                    ("start", (*start as f64).into()),
                    ("samplesDecoded", ((end - start) as f64).into()),
                    ("channels", f64::from(format.channels).into()),
                    ("sampleRate", format.sample_rate.into()),
                ]);
            }
            list(self.segments.len());
        });
        end_object(5);
    }
}
