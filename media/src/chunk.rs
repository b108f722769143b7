//! Cuts a source's packets into the chunks that the relay stores and sends.
//!
//! *Ogg*: each chunk is one page made here (more only for a packet too long for
//! a page), so no packet continues across chunks. Every link becomes a logical
//! stream of its own with its own serial number, header pages 0, 1, … and
//! granule positions from 0. Where audio was lost, one sequence number is left
//! out, so that every demuxer sees the hole. A listener that joins late gets the
//! header pages from [`crate::ogg::lead_in`]; its decoder needs 80 ms to
//! converge (RFC 7845 §4.6), which the player takes from the chunk before.
//!
//! *MP3*: each chunk is a run of whole frames. A Xing/Info frame goes in front of
//! the generation's first frame, in the same chunk: who listens from the start is
//! gapless, and who joins late is not told to skip what it did not get. The first
//! frames after a join may need bits of frames before them (the bit reservoir,
//! 511 bytes at most); [`crate::mp3::open`] makes them decode to silence.

use std::collections::VecDeque;

use crate::demux::{Codec, Container, Event, Fault, LinkConfig, Packet};
use crate::ogg::{self, PageFlags, PageSpec};
use crate::opus::Tags;
use crate::units::{Frames, MediaDuration, MediaTime};

/// Shortest target duration.
pub const MIN_TARGET: MediaDuration = MediaDuration::from_millis(20);
/// Longest hole that media time believes; more is a broken clock at the source.
pub const MAX_HOLE: MediaDuration = MediaDuration::from_millis(3_600_000);
/// Longest comment header passed on whole: it is sent to every listener.
const MAX_TAGS: usize = 16 * 1024;
/// A chunk is emitted before it is longer than this, unless by one packet.
const MAX_BYTES: usize = 64 * 1024;

/// How a [`Chunker`] cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Wanted chunk length; raised to 20 ms when shorter.
    pub target: MediaDuration,
    /// Programme position of the first chunk, so that a second source
    /// continues the programme's timeline.
    pub start: MediaTime,
    /// Ogg serial number of the first generation; each further one counts up.
    pub serial: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target: MediaDuration::from_millis(100),
            start: MediaTime::ZERO,
            serial: 0x5345_414d,
        }
    }
}

/// Whole pages or whole frames, about the target duration long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Programme position of the first audible frame.
    pub media_time: MediaTime,
    /// Audible length, after trims.
    pub duration: MediaDuration,
    /// Decoding may start here, given the generation's headers. True of every
    /// chunk made here.
    pub sync: bool,
    /// Does not continue the chunk before it; media time tells by how much.
    pub discontinuity: bool,
    /// The generation's last chunk. Its payload may be an Ogg page without
    /// packets, or empty (MP3), when the end came as a surprise.
    pub last: bool,
    /// Ogg pages or MPEG frames.
    pub payload: Vec<u8>,
}

/// What a [`Chunker`] yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A new link: what follows needs these headers.
    Generation {
        /// The link's configuration.
        config: LinkConfig,
        /// Bytes a listener of the plain stream gets first: Ogg header pages
        /// numbered from 0; empty for MP3.
        headers: Vec<u8>,
    },
    /// The next chunk.
    Chunk(Chunk),
    /// Tags that apply from a programme position on.
    Tags {
        /// The position.
        at: MediaTime,
        /// `NAME`, `value` pairs.
        tags: Vec<(String, String)>,
    },
    /// Malformed input was skipped.
    Fault(Fault),
}

/// Events in, chunks out; works for demuxers and encoders alike.
///
/// A full chunk is ready at once: the next [`Chunker::poll`] returns it. When the
/// link's end is pushed before that poll, the chunk carries the end instead of
/// another one after it, so push all events at hand and then poll.
#[derive(Debug)]
pub struct Chunker {
    target: MediaDuration,
    next_serial: u32,
    position: MediaTime,
    generation: Option<Generation>,
    outputs: VecDeque<Output>,
}

/// A link being written.
#[derive(Debug)]
struct Generation {
    container: Container,
    codec: Codec,
    rate: u32,
    pre_skip: u64,
    /// Programme position of the link's first audible frame.
    base: MediaTime,
    serial: u32,
    /// Sequence number of the next page.
    sequence: u32,
    /// End of the last packet in the source's positions and in ours.
    source_end: Option<u64>,
    end: u64,
    /// Frames of earlier chunks that are dropped at a packet's end although the
    /// link goes on: a file's padding, before what was attached to it.
    trimmed: u64,
    /// The packets of the chunk being filled, and where the first begins.
    pending: Vec<Packet>,
    pending_start: u64,
    pending_bytes: usize,
    /// The chunk being filled does not continue the one before.
    discontinuity: bool,
    /// Bytes in front of the next chunk's packets.
    prefix: Vec<u8>,
    /// Packets of the chunk before, and the bytes of the shortest.
    before: (usize, usize),
}

impl Chunker {
    /// A chunker with nothing pending.
    pub fn new(config: Config) -> Self {
        Self {
            target: config.target.max(MIN_TARGET),
            next_serial: config.serial,
            position: config.start,
            generation: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes the next event. Packets before the first `Config` are dropped.
    pub fn push_event(&mut self, event: Event) {
        match event {
            Event::Config(config) => self.begin(config),
            Event::Packet(packet) => self.packet(packet),
            Event::Hole(frames) => {
                self.cut(false);
                if let Some(generation) = &mut self.generation {
                    generation.hole(frames.0);
                }
            }
            Event::LinkEnd => self.finish(),
            Event::Tags(tags) => self.outputs.push_back(Output::Tags {
                at: self.position,
                tags,
            }),
            Event::Fault(fault) => self.outputs.push_back(Output::Fault(fault)),
        }
    }

    /// The next output, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Output> {
        if self.outputs.is_empty()
            && self
                .generation
                .as_ref()
                .is_some_and(|g| g.full(self.target))
        {
            self.cut(false);
        }
        self.outputs.pop_front()
    }

    /// Emits what is pending although it is shorter than the target; for a
    /// source that pauses. Harmless when nothing is pending.
    pub fn flush(&mut self) {
        self.cut(false);
    }

    /// The link or the source ended: emits what is pending and ends the
    /// generation. Harmless when there is none.
    pub fn finish(&mut self) {
        self.cut(true);
        self.generation = None;
    }

    /// Programme position after everything pushed so far.
    pub fn position(&self) -> MediaTime {
        self.position
    }

    /// Ogg serial number that the next generation will get, for
    /// [`Config::serial`] of the chunker that continues this programme.
    pub fn next_serial(&self) -> u32 {
        self.next_serial
    }

    /// Bytes of packets without which the next chunk will hardly be complete, by the chunk
    /// before; 0 when it cannot be told.
    pub fn wanted(&self) -> usize {
        let Some(generation) = &self.generation else {
            return 0;
        };
        let (packets, least) = generation.before;
        match packets.saturating_sub(generation.pending.len()) {
            0 => 0,
            // The last one is there with its last byte, but may be shorter than any before.
            missing => (missing - 1) * least + least / 2,
        }
    }

    fn begin(&mut self, config: LinkConfig) {
        self.finish();
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let mut generation = Generation {
            container: config.container,
            codec: config.codec,
            rate: config.sample_rate,
            pre_skip: u64::from(config.pre_skip),
            base: self.position,
            serial,
            sequence: 0,
            source_end: None,
            end: 0,
            trimmed: 0,
            pending: Vec::new(),
            pending_start: 0,
            pending_bytes: 0,
            discontinuity: false,
            prefix: Vec::new(),
            before: (0, 0),
        };
        let headers = match config.container {
            Container::Ogg => generation.header_pages(&config.headers),
            Container::Mpeg => {
                generation.prefix = config.headers.concat();
                Vec::new()
            }
        };
        self.generation = Some(generation);
        self.outputs
            .push_back(Output::Generation { config, headers });
    }

    fn packet(&mut self, packet: Packet) {
        let Some(generation) = &self.generation else {
            return;
        };
        // Positions that jump without a `Hole` (an encoder that skipped) are one.
        let jump = generation
            .source_end
            .map_or(0, |end| packet.start.0.saturating_sub(end));
        if jump > 0 || !generation.fits(&packet, self.target) {
            self.cut(false);
        }
        let Some(generation) = &mut self.generation else {
            return;
        };
        if jump > 0 {
            generation.hole(jump);
        }
        generation.add(packet);
        self.position = self
            .position
            .max(generation.media_time(generation.audible_end()));
    }

    /// Emits the pending packets as a chunk, the generation's last or not.
    fn cut(&mut self, last: bool) {
        if let Some(generation) = &mut self.generation
            && (last || !generation.pending.is_empty())
        {
            let chunk = generation.cut(last);
            self.position = chunk.media_time + chunk.duration;
            self.outputs.push_back(Output::Chunk(chunk));
        }
    }
}

impl Generation {
    /// Header pages for Ogg (RFC 7845 §3): `OpusHead` alone on the first page,
    /// the comment header on its own pages.
    fn header_pages(&mut self, packets: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, packet) in packets.iter().enumerate() {
            let shortened;
            let mut packet = packet.as_slice();
            if self.codec == Codec::Opus && index == 1 && packet.len() > MAX_TAGS {
                shortened = shorten(packet);
                packet = &shortened;
            }
            let spec = PageSpec {
                flags: PageFlags {
                    bos: index == 0,
                    ..PageFlags::default()
                },
                granule: Some(0),
                serial: self.serial,
                sequence: self.sequence,
            };
            let pages = ogg::write_packet_pages(&spec, packet);
            self.sequence += ogg::page_count(&pages);
            out.extend_from_slice(&pages);
        }
        out
    }

    fn media_time(&self, audible: u64) -> MediaTime {
        self.base + MediaDuration::from_frames(Frames(audible), self.rate)
    }

    /// Audible frames of the link up to the end of the pending packets.
    fn audible_end(&self) -> u64 {
        self.audible(self.end)
            .saturating_sub(trimmed(&self.pending))
    }

    /// Audible frames of the link before a position.
    fn audible(&self, position: u64) -> u64 {
        position.saturating_sub(self.pre_skip + self.trimmed)
    }

    fn pending_duration(&self) -> MediaDuration {
        MediaDuration::from_frames(Frames(self.end - self.pending_start), self.rate)
    }

    /// Whether the pending packets are a chunk: another like the last would take
    /// them further from the target. Trimmed ones wait for the end that follows.
    fn full(&self, target: MediaDuration) -> bool {
        let Some(last) = self.pending.last() else {
            return false;
        };
        let half = MediaDuration::from_frames(Frames(u64::from(last.duration) / 2), self.rate);
        last.trim_end == 0
            && (self.pending_duration() + half >= target || self.pending_bytes >= MAX_BYTES)
    }

    /// Whether a packet still belongs into the chunk being filled.
    fn fits(&self, packet: &Packet, target: MediaDuration) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let segments: usize = self
            .pending
            .iter()
            .chain([packet])
            .map(|p| ogg::segments(p.payload.len()))
            .sum();
        if self.container == Container::Ogg && segments > ogg::MAX_SEGMENTS {
            return false;
        }
        let half = MediaDuration::from_frames(Frames(u64::from(packet.duration) / 2), self.rate);
        packet.trim_end > 0 || (!self.full(target) && self.pending_duration() + half <= target)
    }

    fn hole(&mut self, frames: u64) {
        if self.source_end.is_none() {
            return;
        }
        if let Some(end) = &mut self.source_end {
            *end = end.saturating_add(frames);
        }
        let length = MediaDuration::from_frames(Frames(frames), self.rate);
        if length <= MAX_HOLE {
            self.end += frames;
        }
        if !self.discontinuity {
            self.discontinuity = true;
            self.sequence = self.sequence.wrapping_add(1);
        }
    }

    fn add(&mut self, packet: Packet) {
        if self.pending.is_empty() {
            self.pending_start = self.end;
        }
        let duration = u64::from(packet.duration);
        self.source_end = Some(packet.start.0.saturating_add(duration));
        self.end += duration;
        self.pending_bytes += packet.payload.len();
        self.pending.push(packet);
    }

    fn cut(&mut self, last: bool) -> Chunk {
        if self.pending.is_empty() {
            self.pending_start = self.end;
        }
        let media_time = self.media_time(self.audible(self.pending_start));
        let duration = self.media_time(self.audible_end()).since(media_time);
        let mut payload = std::mem::take(&mut self.prefix);
        let packets = std::mem::take(&mut self.pending);
        self.trimmed += trimmed(&packets);
        let least = packets.iter().map(|packet| packet.payload.len()).min();
        self.before = (packets.len(), least.unwrap_or(0));
        match self.container {
            Container::Ogg => self.pages(&packets, last, &mut payload),
            Container::Mpeg => {
                payload.reserve_exact(self.pending_bytes);
                for packet in &packets {
                    payload.extend_from_slice(&packet.payload);
                }
            }
        }
        self.pending_bytes = 0;
        Chunk {
            media_time,
            duration,
            sync: true,
            discontinuity: std::mem::take(&mut self.discontinuity),
            last,
            payload,
        }
    }

    fn pages(&mut self, packets: &[Packet], last: bool, out: &mut Vec<u8>) {
        let granule = self
            .end
            .saturating_sub(if last { trimmed(packets) } else { 0 });
        let spec = PageSpec {
            flags: PageFlags {
                eos: last,
                ..PageFlags::default()
            },
            // No packet ends on a page without any.
            granule: (!packets.is_empty()).then_some(granule),
            serial: self.serial,
            sequence: self.sequence,
        };
        let segments: usize = packets.iter().map(|p| ogg::segments(p.payload.len())).sum();
        let pages = match packets {
            [one] if segments > ogg::MAX_SEGMENTS => ogg::write_packet_pages(&spec, &one.payload),
            _ => {
                let payloads: Vec<&[u8]> = packets.iter().map(|p| p.payload.as_slice()).collect();
                ogg::write_page(&spec, &payloads)
            }
        };
        self.sequence = self.sequence.wrapping_add(ogg::page_count(&pages));
        if out.is_empty() {
            *out = pages;
        } else {
            out.extend_from_slice(&pages);
        }
    }
}

/// Frames that are dropped at the packets' ends.
fn trimmed(packets: &[Packet]) -> u64 {
    packets.iter().map(|p| u64::from(p.trim_end)).sum()
}

/// A comment header without its long comments (pictures).
fn shorten(packet: &[u8]) -> Vec<u8> {
    let mut tags = Tags::parse(packet).unwrap_or_default();
    tags.vendor.truncate(tags.vendor.floor_char_boundary(256));
    let mut room = MAX_TAGS - 1024;
    tags.comments.retain(|(name, value)| {
        let len = name.len() + value.len() + 5;
        let keep = len <= 2048 && len <= room;
        if keep {
            room -= len;
        }
        keep
    });
    tags.to_bytes()
}

#[cfg(test)]
mod tests;
