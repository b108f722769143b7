//! Bytes to PCM: demux, decode, trim, conceal. The core of `StreamDecoder`.
//!
//! Push bytes in pieces of any size and poll until `None`; what comes out does
//! not depend on how the input was cut. One poll delivers at most
//! [`crate::decode::MAX_FRAMES`] frames, so memory does not grow with the
//! length of a push beyond the pushed bytes themselves.

use std::collections::VecDeque;

use seamcast_media::demux::{Codec, Container, Demuxer, Event, LinkConfig, Packet};

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

/// A hole being filled.
#[derive(Debug, Default)]
struct Hole {
    left: u64,
}

/// Demuxer and decoder as one state machine.
#[derive(Debug)]
pub struct StreamDecoder {
    demuxer: Demuxer,
    decoder: Option<Decoder>,
    format: Option<Format>,
    hole: Hole,
    /// Events taken from the demuxer before their turn.
    waiting: VecDeque<Event>,
    errors: VecDeque<StreamError>,
    passed: u64,
    finished: bool,
    concealed: u64,
}

impl Default for StreamDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamDecoder {
    /// Recognises the container by itself.
    pub fn new() -> Self {
        Self::with_demuxer(Demuxer::new())
    }

    /// Reads `container` only.
    pub fn with_container(container: Container) -> Self {
        Self::with_demuxer(Demuxer::with_container(container))
    }

    fn with_demuxer(demuxer: Demuxer) -> Self {
        Self {
            demuxer,
            decoder: None,
            format: None,
            hole: Hole::default(),
            waiting: VecDeque::new(),
            errors: VecDeque::new(),
            passed: 0,
            finished: false,
            concealed: 0,
        }
    }

    /// Takes the next bytes. After [`StreamDecoder::finish`], they begin
    /// another stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.finished {
            self.reset();
        }
        self.demuxer.push(bytes);
    }

    /// The input ended: what is pending comes out of the polls that follow.
    pub fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.demuxer.finish();
        }
    }

    /// The transport lost bytes before the next push.
    pub fn note_gap(&mut self) {
        self.demuxer.note_gap();
    }

    /// Forgets everything, as if new.
    pub fn reset(&mut self) {
        self.demuxer.reset();
        self.decoder = None;
        self.format = None;
        self.hole = Hole::default();
        self.waiting.clear();
        self.errors.clear();
        self.passed = 0;
        self.finished = false;
        self.concealed = 0;
    }

    /// The format of the PCM delivered last.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Frames made up so far.
    pub fn concealed_frames(&self) -> u64 {
        self.concealed
    }

    /// The next item, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Item<'_>> {
        loop {
            if let Some(error) = self.errors.pop_front() {
                return Some(Item::Error(error));
            }
            if self.hole.left > 0 {
                if self.fill_hole()? {
                    return self.audio(0, 0, true);
                }
                continue;
            }
            let event = match self.waiting.pop_front() {
                Some(event) => event,
                None => self.demuxer.poll()?,
            };
            match event {
                Event::Config(config) => {
                    if let Some(format) = self.start_link(&config) {
                        return Some(Item::Format(format));
                    }
                }
                Event::Tags(tags) => return Some(Item::Tags(tags)),
                Event::Packet(packet) => {
                    if let Some(concealed) = self.decode(&packet) {
                        let (start, end) = (packet.trim_start, packet.trim_end);
                        if start.saturating_add(end) < packet.duration {
                            return self.audio(start as usize, end as usize, concealed);
                        }
                    }
                }
                Event::Hole(frames) => self.open_hole(frames.0),
                Event::LinkEnd => return Some(Item::LinkEnd),
                Event::Fault(fault) => {
                    self.passed = self.passed.max(fault.offset);
                    return Some(Item::Error(StreamError {
                        message: fault.message,
                        offset: fault.offset,
                        frames_lost: 0,
                    }));
                }
            }
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
        let filled = if frames > most { 0 } else { frames };
        self.error(format!("{frames} frames are missing"), frames);
        self.hole.left = filled;
    }

    /// Decodes into the decoder's buffer; tells whether it was concealed, and
    /// nothing when there is no decoder.
    fn decode(&mut self, packet: &Packet) -> Option<bool> {
        self.passed += packet.payload.len() as u64;
        let decoder = self.decoder.as_mut()?;
        match decoder.decode(&packet.payload, packet.duration) {
            Ok(()) => Some(false),
            Err(message) => {
                self.concealed += u64::from(packet.duration);
                self.error(message, u64::from(packet.duration));
                Some(true)
            }
        }
    }

    /// Conceals the next piece of the hole. `Some(true)`: a piece is ready;
    /// `Some(false)`: look again; `None`: more input decides.
    fn fill_hole(&mut self) -> Option<bool> {
        let Some(decoder) = self.decoder.as_mut() else {
            self.hole.left = 0;
            return Some(false);
        };
        let piece = u64::from(decoder.stride()).min(self.hole.left);
        let last = piece == self.hole.left;
        // The last piece may be restored from the packet after the hole, so
        // that packet must be here first.
        if last && self.waiting.is_empty() {
            match self.demuxer.poll() {
                Some(event) => self.waiting.push_back(event),
                None if self.finished => {}
                None => return None,
            }
        }
        let next = match self.waiting.front() {
            Some(Event::Packet(packet)) if last => Some(packet.payload.as_slice()),
            _ => None,
        };
        decoder.conceal(piece as u32, next);
        self.hole.left -= piece;
        self.concealed += piece;
        Some(true)
    }

    fn audio(&self, trim_start: usize, trim_end: usize, concealed: bool) -> Option<Item<'_>> {
        let planes = self.decoder.as_ref()?.pcm();
        let to = planes.frames().saturating_sub(trim_end);
        Some(Item::Audio(Audio {
            planes,
            from: trim_start.min(to),
            to,
            concealed,
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
