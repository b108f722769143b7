//! The events every demuxer yields, whatever the container.
//!
//! A stream is a series of *links* (Ogg chain links; a run of MP3 frames with
//! one sample rate and channel count). Each link starts with
//! [`Event::Config`], holds [`Event::Packet`]s in decode order and ends with
//! [`Event::LinkEnd`] or with the next `Config`.

mod mpeg;
mod ogg;

use std::collections::VecDeque;

use crate::units::Frames;
use mpeg::MpegDemuxer;
use ogg::OggDemuxer;

/// The codec of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus, RFC 6716.
    Opus,
    /// MPEG-1/2/2.5 Layer III (also I and II, which share the framing).
    Mp3,
}

/// The container a link arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// Ogg, RFC 3533 with the Opus mapping of RFC 7845.
    Ogg,
    /// Bare MPEG audio frames.
    Mpeg,
}

/// What a decoder must know before a link's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// The codec.
    pub codec: Codec,
    /// The container.
    pub container: Container,
    /// Rate in Hz at which positions are counted and at which a decoder
    /// delivers: 48 000 for Opus, the frame header's rate for MP3.
    pub sample_rate: u32,
    /// Channels delivered, 1–255.
    pub channels: u8,
    /// Frames to drop at the link's start: pre-skip (RFC 7845 §4.2) or LAME
    /// delay + 529.
    pub pre_skip: u32,
    /// Gain to apply to the output, Q7.8 dB (RFC 7845 §5.1); 0 for MP3.
    pub output_gain: i16,
    /// The codec headers as packets: `OpusHead` and `OpusTags`; for MP3 the
    /// Xing/Info frame if there was one.
    pub headers: Vec<Vec<u8>>,
}

/// One coded packet (Opus) or frame (MP3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The coded bytes, whole.
    pub payload: Vec<u8>,
    /// Decode position of the first frame, counted from the link's start and
    /// *including* pre-skip.
    pub start: Frames,
    /// Frames the decoder delivers for this packet before any trim.
    pub duration: u32,
    /// Frames to drop from the packet's beginning: its share of the link's
    /// pre-skip. Counted from the first packet delivered, as RFC 7845 §4.2
    /// wants, so it also applies when a link is joined in its middle.
    pub trim_start: u32,
    /// Frames to drop from the packet's end (end trim, RFC 7845 §4.4, or LAME
    /// padding).
    pub trim_end: u32,
}

/// What a demuxer found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new link begins.
    Config(LinkConfig),
    /// Tags (`OpusTags` comments, ID3): `NAME`, `value` pairs in file order.
    Tags(Vec<(String, String)>),
    /// The next packet.
    Packet(Packet),
    /// Audio of this many frames, pre-skip not counted, was lost before the next
    /// packet; 0 when the container does not tell how many (MP3). A lying source
    /// can name any number, so bound what is made of it.
    Hole(Frames),
    /// The link ended properly (EOS page, or end of input after whole frames).
    LinkEnd,
    /// Malformed input was skipped; the stream goes on.
    Fault(Fault),
}

/// Malformed or unsupported input, skipped over. Always the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Offset in bytes, from the first byte pushed since the last reset.
    pub offset: u64,
    /// What was wrong, with the numbers in it; lower case.
    pub message: String,
}

/// Turns bytes of either container into [`Event`]s.
///
/// Push bytes in pieces of any size, then poll until `None`. The events do not
/// depend on how the input was cut. Polled dry after each push, it holds less
/// than one page or frame, one unfinished packet (1 MiB at most) and at most
/// 1 MiB of a tag.
#[derive(Debug)]
pub struct Demuxer {
    forced: Option<Container>,
    state: State,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    /// Both are tried until one finds something of its own.
    Sniffing(Box<(OggDemuxer, MpegDemuxer)>, u64),
    Ogg(Box<OggDemuxer>),
    Mpeg(Box<MpegDemuxer>),
}

impl State {
    fn new(container: Option<Container>) -> Self {
        match container {
            None => Self::Sniffing(Box::default(), 0),
            Some(Container::Ogg) => Self::Ogg(Box::default()),
            Some(Container::Mpeg) => Self::Mpeg(Box::default()),
        }
    }
}

/// While the container is unknown, a fault is reported after so many bytes.
const SNIFF_REPORT: u64 = 64 * 1024;

impl Default for Demuxer {
    fn default() -> Self {
        Self::new()
    }
}

impl Demuxer {
    /// Recognises the container from the first bytes.
    pub fn new() -> Self {
        Self {
            forced: None,
            state: State::new(None),
            events: VecDeque::new(),
        }
    }

    /// Reads `container` only.
    pub fn with_container(container: Container) -> Self {
        Self {
            forced: Some(container),
            state: State::new(Some(container)),
            events: VecDeque::new(),
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        // Whoever commits after fewer bytes wins, so they go in one by one.
        while let State::Sniffing(..) = self.state
            && let Some((byte, rest)) = bytes.split_first()
        {
            bytes = rest;
            self.sniff(std::slice::from_ref(byte));
        }
        if bytes.is_empty() {
            return;
        }
        match &mut self.state {
            State::Sniffing(..) => {}
            State::Ogg(ogg) => ogg.push(bytes, &mut self.events),
            State::Mpeg(mpeg) => mpeg.push(bytes, &mut self.events),
        }
    }

    fn sniff(&mut self, byte: &[u8]) {
        let State::Sniffing(both, seen) = &mut self.state else {
            return;
        };
        let (ogg, mpeg) = &mut **both;
        *seen += 1;
        // What both say about junk is kept only from the one that commits.
        let mut from_ogg = VecDeque::new();
        let mut from_mpeg = VecDeque::new();
        ogg.push(byte, &mut from_ogg);
        mpeg.push(byte, &mut from_mpeg);
        if ogg.committed() {
            self.events.append(&mut from_ogg);
            self.state = State::Ogg(Box::new(std::mem::take(ogg)));
        } else if mpeg.committed() {
            self.events.append(&mut from_mpeg);
            self.state = State::Mpeg(Box::new(std::mem::take(mpeg)));
        } else if *seen % SNIFF_REPORT == 0 {
            self.events.push_back(Event::Fault(Fault {
                offset: *seen - SNIFF_REPORT,
                message: format!("{SNIFF_REPORT} bytes are neither ogg pages nor mpeg frames"),
            }));
        }
    }

    /// The next event, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The input ended: flushes what is pending and ends the link.
    pub fn finish(&mut self) {
        match &mut self.state {
            State::Ogg(ogg) => ogg.finish(&mut self.events),
            State::Mpeg(mpeg) => mpeg.finish(&mut self.events),
            State::Sniffing(both, seen) => {
                let (ogg, mpeg) = &mut **both;
                let (mut from_ogg, mut from_mpeg) = (VecDeque::new(), VecDeque::new());
                ogg.finish(&mut from_ogg);
                mpeg.finish(&mut from_mpeg);
                if mpeg.committed() {
                    self.events.append(&mut from_mpeg);
                } else if *seen > 0 {
                    self.events.push_back(Event::Fault(Fault {
                        offset: 0,
                        message: format!(
                            "{seen} bytes are neither ogg pages nor mpeg frames; \
                             send Ogg/Opus or MP3"
                        ),
                    }));
                }
            }
        }
    }

    /// The transport lost bytes here: resynchronises, and takes positions
    /// from the next granule position.
    pub fn note_gap(&mut self) {
        match &mut self.state {
            State::Ogg(ogg) => ogg.note_gap(&mut self.events),
            State::Mpeg(mpeg) => mpeg.note_gap(&mut self.events),
            State::Sniffing(..) => self.state = State::new(self.forced),
        }
    }

    /// As [`Demuxer::note_gap`], of a known length: MPEG frames carry no
    /// positions, and padding at the end is found by counting them.
    pub fn note_loss(&mut self, lost: Frames) {
        self.note_gap();
        if let State::Mpeg(mpeg) = &mut self.state {
            mpeg.advance(lost);
        }
    }

    /// Forgets everything; the next byte is the first of a new stream.
    pub fn reset(&mut self) {
        self.state = State::new(self.forced);
        self.events.clear();
    }

    /// Bytes held of a bare frame that is not yet complete; `None` where frames do not come one
    /// by one.
    pub fn held(&self) -> Option<usize> {
        match &self.state {
            State::Mpeg(mpeg) => Some(mpeg.held()),
            State::Sniffing(..) | State::Ogg(_) => None,
        }
    }

    /// The container being read, once known.
    pub fn container(&self) -> Option<Container> {
        match &self.state {
            State::Sniffing(..) => None,
            State::Ogg(_) => Some(Container::Ogg),
            State::Mpeg(_) => Some(Container::Mpeg),
        }
    }
}
