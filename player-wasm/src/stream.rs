//! Bytes to PCM: demux, decode, trim, conceal. The core of `StreamDecoder`.
//!
//! Push bytes in pieces of any size and poll until `None`; what comes out does
//! not depend on how the input was cut. One poll delivers at most
//! [`crate::decode::MAX_FRAMES`] frames, so memory does not grow with the
//! length of a push beyond the pushed bytes themselves.
//!
//! [`Decoding`] is the half behind the demuxer: events to PCM.

use std::collections::VecDeque;

use seamcast_media::demux::{Codec, Demuxer, Event, LinkConfig, Packet};

use crate::decode::{Decoder, Planes};

/// Longest loss that is filled, in seconds; a longer hole is a cut in the
/// programme (or a lying granule position) and is reported but not filled.
pub const MAX_HOLE_SECS: u64 = 60;

/// How a link's PCM comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The codec.
    pub codec: Codec,
    /// Frames a second.
    pub sample_rate: u32,
    /// Channels, in the order of Web Audio and WAVE files.
    pub channels: u8,
}

/// Something was wrong with the input; decoding went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// What was wrong, lower case.
    pub message: String,
    /// Bytes since the last reset, up to about where it was: exact for bad
    /// framing; for bad packets, the coded bytes before them.
    pub offset: u64,
    /// Frames concealed or left out because of it.
    pub frames_lost: u64,
}

/// PCM of one packet or of a piece of a hole.
#[derive(Clone, Copy, Debug)]
pub struct Audio<'a> {
    planes: &'a Planes,
    from: usize,
    to: usize,
    /// Whether it was made up for lost or broken packets.
    pub concealed: bool,
}

impl<'a> Audio<'a> {
    /// Frames held.
    pub fn frames(&self) -> usize {
        self.to - self.from
    }

    /// Channels held.
    pub fn channels(&self) -> usize {
        self.planes.channels()
    }

    /// One channel.
    pub fn channel(&self, index: usize) -> &'a [f32] {
        self.planes
            .channel(index)
            .get(self.from..self.to)
            .unwrap_or(&[])
    }
}

/// What a poll delivers.
#[derive(Debug)]
pub enum Item<'a> {
    /// A link begins; the PCM that follows has this format.
    Format(Format),
    /// Tags: names and values.
    Tags(Vec<(String, String)>),
    /// PCM, in order.
    Audio(Audio<'a>),
    /// Bad input was passed over.
    Error(StreamError),
    /// The link ended; another may follow.
    LinkEnd,
}

/// What [`Decoding::advance`] did.
#[derive(Debug)]
pub enum Step {
    /// A link begins.
    Format(Format),
    /// Tags: names and values.
    Tags(Vec<(String, String)>),
    /// PCM is ready: see [`Decoding::audio`].
    Audio(Ready),
    /// Bad input was passed over.
    Error(StreamError),
    /// The link ended.
    LinkEnd,
}

/// Which part of the decoder's buffer is to be heard.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    from: usize,
    to: usize,
    concealed: bool,
}

/// Demuxer events to PCM, with trims and concealment.
#[derive(Debug, Default)]
pub struct Decoding {
    decoder: Option<Decoder>,
    format: Option<Format>,
    /// Frames of a hole still to be filled.
    hole: u64,
    waiting: VecDeque<Event>,
    errors: VecDeque<StreamError>,
    /// Coded bytes seen, for error offsets.
    passed: u64,
    ended: bool,
    concealed: u64,
}

impl Decoding {
    /// Takes the demuxer's next event; feed one whenever
    /// [`Decoding::advance`] has nothing.
    pub fn feed(&mut self, event: Event) {
        self.waiting.push_back(event);
    }

    /// No event will follow; a hole at the very end is concealed without a
    /// look at what comes after it.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The format of the PCM delivered last.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Frames made up so far.
    pub fn concealed_frames(&self) -> u64 {
        self.concealed
    }

    /// The next step, or `None` until another event is fed.
    pub fn advance(&mut self) -> Option<Step> {
        loop {
            if let Some(error) = self.errors.pop_front() {
                return Some(Step::Error(error));
            }
            if self.hole > 0 {
                if let Some(ready) = self.fill_hole()? {
                    return Some(Step::Audio(ready));
                }
                continue;
            }
            match self.waiting.pop_front()? {
                Event::Config(config) => {
                    if let Some(format) = self.start_link(&config) {
                        return Some(Step::Format(format));
                    }
                }
                Event::Tags(tags) => return Some(Step::Tags(tags)),
                Event::Packet(packet) => {
                    if let Some(ready) = self.decode(&packet) {
                        return Some(Step::Audio(ready));
                    }
                }
                Event::Hole(frames) => self.open_hole(frames.0),
                Event::LinkEnd => return Some(Step::LinkEnd),
                Event::Fault(fault) => {
                    self.passed = self.passed.max(fault.offset);
                    return Some(Step::Error(StreamError {
                        message: fault.message,
                        offset: fault.offset,
                        frames_lost: 0,
                    }));
                }
            }
        }
    }

    /// The PCM of the step just taken.
    pub fn audio(&self, ready: Ready) -> Audio<'_> {
        Audio {
            planes: match &self.decoder {
                Some(decoder) => decoder.pcm(),
                None => Planes::none(),
            },
            from: ready.from,
            to: ready.to,
            concealed: ready.concealed,
        }
    }

    fn start_link(&mut self, config: &LinkConfig) -> Option<Format> {
        match Decoder::new(config) {
            Ok(decoder) => {
                self.decoder = Some(decoder);
                let format = Format {
                    codec: config.codec,
                    sample_rate: config.sample_rate,
                    channels: config.channels.max(1),
                };
                self.format = Some(format);
                Some(format)
            }
            Err(message) => {
                self.decoder = None;
                self.format = None;
                self.error(message, 0);
                None
            }
        }
    }

    fn open_hole(&mut self, frames: u64) {
        let Some(format) = self.format else { return };
        let most = MAX_HOLE_SECS * u64::from(format.sample_rate);
        self.error(format!("{frames} frames are missing"), frames);
        self.hole = if frames > most { 0 } else { frames };
    }

    fn decode(&mut self, packet: &Packet) -> Option<Ready> {
        self.passed += packet.payload.len() as u64;
        let decoder = self.decoder.as_mut()?;
        let result = decoder.decode(&packet.payload, packet.duration);
        let frames = decoder.pcm().frames();
        let concealed = result.is_err();
        if let Err(message) = result {
            self.concealed += u64::from(packet.duration);
            self.error(message, u64::from(packet.duration));
        }
        let to = frames.saturating_sub(packet.trim_end as usize);
        let from = (packet.trim_start as usize).min(to);
        (from < to).then_some(Ready {
            from,
            to,
            concealed,
        })
    }

    /// Conceals the next piece of the hole. `None`: the next event decides.
    fn fill_hole(&mut self) -> Option<Option<Ready>> {
        let Some(decoder) = self.decoder.as_mut() else {
            self.hole = 0;
            return Some(None);
        };
        let piece = u64::from(decoder.stride()).min(self.hole);
        let last = piece == self.hole;
        // The last piece may be restored from the packet after the hole, so
        // that packet must be here first.
        if last && self.waiting.is_empty() && !self.ended {
            return None;
        }
        let next = match self.waiting.front() {
            Some(Event::Packet(packet)) if last => Some(packet.payload.as_slice()),
            _ => None,
        };
        decoder.conceal(piece as u32, next);
        self.hole -= piece;
        self.concealed += piece;
        Some(Some(Ready {
            from: 0,
            to: decoder.pcm().frames(),
            concealed: true,
        }))
    }

    fn error(&mut self, message: String, frames_lost: u64) {
        self.errors.push_back(StreamError {
            message,
            offset: self.passed,
            frames_lost,
        });
    }
}

/// Demuxer and decoder as one state machine.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    demuxer: Demuxer,
    decoding: Decoding,
    finished: bool,
    bytes: u64,
    /// Whether audio or a reason for its absence was delivered.
    answered: bool,
}

impl StreamDecoder {
    /// Recognises the container by itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes. After [`StreamDecoder::finish`], they begin
    /// another stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.finished {
            self.reset();
        }
        self.bytes += bytes.len() as u64;
        self.demuxer.push(bytes);
    }

    /// The input ended: what is pending comes out of the polls that follow.
    pub fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.demuxer.finish();
        }
    }

    /// Forgets everything, as if new.
    pub fn reset(&mut self) {
        self.demuxer.reset();
        self.decoding = Decoding::default();
        self.finished = false;
        self.bytes = 0;
        self.answered = false;
    }

    /// The format of the PCM delivered last.
    pub fn format(&self) -> Option<Format> {
        self.decoding.format()
    }

    /// The next item, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Item<'_>> {
        let step = loop {
            if let Some(step) = self.decoding.advance() {
                break step;
            }
            match self.demuxer.poll() {
                Some(event) => self.decoding.feed(event),
                None if self.finished && !self.decoding.ended => self.decoding.end(),
                None if self.finished && self.bytes > 0 && !self.answered => {
                    break Step::Error(StreamError {
                        message: format!("{} bytes hold no audio", self.bytes),
                        offset: 0,
                        frames_lost: 0,
                    });
                }
                None => return None,
            }
        };
        self.answered |= matches!(step, Step::Audio(_) | Step::Error(_));
        Some(match step {
            Step::Format(format) => Item::Format(format),
            Step::Tags(tags) => Item::Tags(tags),
            Step::Audio(ready) => Item::Audio(self.decoding.audio(ready)),
            Step::Error(error) => Item::Error(error),
            Step::LinkEnd => Item::LinkEnd,
        })
    }
}
