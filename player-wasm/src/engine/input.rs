//! Bytes received, demuxed and waiting to be decoded.

use std::collections::VecDeque;

use seamcast_media::demux::{Container, Demuxer, Event};
use seamcast_media::units::{Frames, MediaDuration, MediaTime};
use seamcast_protocol::chunk::{Flags, Header};

use crate::stream::MAX_HOLE_SECS;

/// Above this much coded audio the input asks to be held back.
const SOFT_BYTES: usize = 4 << 20;
/// Above this much it refuses: see [`Input::overflowing`].
const HARD_BYTES: usize = 8 << 20;
/// The same in time.
const SOFT_TIME: MediaDuration = MediaDuration::from_millis(600_000);
/// What a queued event costs besides its payload.
const EVENT_COST: usize = 128;
/// A loss up to this long is concealed; after a longer one the programme jumps.
const MAX_CONCEALED: MediaDuration = MediaDuration::from_millis(250);
/// Positions that differ by less continue each other.
const TOLERANCE: MediaDuration = MediaDuration::from_millis(2);
/// Bytes demuxed at a time, so that events do not pile up beside the queue.
const PIECE: usize = 64 * 1024;

/// An entry of the queue.
#[derive(Debug)]
pub(super) enum Queued {
    /// For the decoder.
    Event(Event),
    /// The next packet is at this position, wherever the last one was.
    Jump(MediaTime),
}

/// Media that became decodable by a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) start: MediaTime,
    pub(super) duration: MediaDuration,
}

#[derive(Debug, Default)]
pub(super) struct Input {
    demuxer: Demuxer,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    queued_time: MediaDuration,
    /// Rate of the link being demuxed.
    rate: u32,
    /// Position up to which media was received.
    head: MediaTime,
    generation: Option<u32>,
    container: Option<Container>,
    gap: bool,
    /// Chunks of a mount are what comes, and say where they belong.
    pub(super) framed: bool,
    ended: bool,
    pub(super) bytes: u64,
}

impl Input {
    /// Position up to which media was received.
    pub(super) fn head(&self) -> MediaTime {
        self.head
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether everything received was taken and nothing will follow.
    pub(super) fn exhausted(&self) -> bool {
        self.ended && self.queue.is_empty()
    }

    pub(super) fn full(&self) -> bool {
        self.queued_bytes > SOFT_BYTES || self.queued_time > SOFT_TIME
    }

    /// Whether more would break the bound; the transport ignored [`Input::full`].
    pub(super) fn overflowing(&self) -> bool {
        self.queued_bytes > HARD_BYTES
    }

    /// Bytes of a plain stream.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> Arrival {
        if self.ended {
            // A new stream after the end of the last one.
            self.ended = false;
            self.demuxer.reset();
        }
        self.bytes += bytes.len() as u64;
        let start = self.head;
        for piece in bytes.chunks(PIECE) {
            self.demuxer.push(piece);
            self.drain();
        }
        Arrival {
            start,
            duration: self.head.since(start),
        }
    }

    /// A `config` message.
    pub(super) fn config(&mut self, generation: u32, container: Container, headers: &[u8]) {
        if self.generation == Some(generation) && !self.gap && !self.ended {
            return;
        }
        if self.generation.is_some() && !self.ended {
            self.demuxer.finish();
            self.drain();
        }
        self.demuxer = Demuxer::with_container(container);
        self.container = Some(container);
        self.generation = Some(generation);
        self.ended = false;
        self.demuxer.push(headers);
        self.drain();
    }

    /// The next chunk need not continue the last.
    pub(super) fn gap(&mut self) {
        self.gap = true;
    }

    /// A framed chunk.
    pub(super) fn push_chunk(
        &mut self,
        header: &Header,
        payload: &[u8],
    ) -> Result<Arrival, String> {
        if self.generation != Some(header.generation) {
            return Err(format!(
                "chunk {} needs generation {}, of which no config was received",
                header.seq, header.generation
            ));
        }
        self.bytes += payload.len() as u64;
        let start = MediaTime::from_ticks(header.media_time);
        let duration = MediaDuration::from_ticks(header.duration);
        let ahead = start.since(self.head);
        let behind = self.head.since(start);
        let broken = self.gap
            || !self.framed
            || ahead > TOLERANCE
            || behind > TOLERANCE
            || header.flags.contains(Flags::DISCONTINUITY);
        if broken {
            let first = !std::mem::replace(&mut self.framed, true);
            self.gap = false;
            if !first {
                self.demuxer.note_loss(ahead.to_frames(self.rate));
            }
            let small = !first && ahead > MediaDuration::ZERO && ahead <= MAX_CONCEALED;
            self.queue.push_back(match small {
                true => Queued::Event(Event::Hole(ahead.to_frames(self.rate))),
                false => Queued::Jump(start),
            });
            self.demuxer.push(payload);
            // What the demuxer thinks was lost was just accounted for.
            self.drain_after(true);
        } else {
            self.demuxer.push(payload);
            self.drain();
        }
        // The header knows better than packet counts (holes, joins).
        self.head = start + duration;
        Ok(Arrival { start, duration })
    }

    pub(super) fn finish(&mut self) {
        if !self.ended {
            self.demuxer.finish();
            self.drain();
            self.ended = true;
        }
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        if let Queued::Event(event) = &queued {
            self.queued_bytes = self.queued_bytes.saturating_sub(cost(event));
            let left = self.queued_time.ticks();
            let gone = duration(event, self.rate).ticks();
            self.queued_time = MediaDuration::from_ticks(left.saturating_sub(gone));
        }
        if self.queue.is_empty() {
            self.queued_bytes = 0;
            self.queued_time = MediaDuration::ZERO;
        }
        Some(queued)
    }

    /// Drops packets, of which the first is at `at`, that end before `target`.
    /// Returns the position of the first one kept.
    pub(super) fn drop_until(&mut self, at: MediaTime, target: MediaTime) -> MediaTime {
        let mut at = at;
        while let Some(Queued::Event(event @ (Event::Packet(_) | Event::Hole(_)))) =
            self.queue.front()
        {
            let length = duration(event, self.rate);
            if at + length > target {
                break;
            }
            at = at + length;
            self.pop();
        }
        at
    }

    /// Forgets what waits and goes on with what comes next, which need not
    /// continue what came before.
    pub(super) fn flush(&mut self) {
        self.clear();
        self.demuxer.note_gap();
        while self.demuxer.poll().is_some() {}
        self.gap = true;
    }

    /// Forgets everything; what comes next begins at `at`.
    pub(super) fn seek(&mut self, at: MediaTime) {
        self.clear();
        self.demuxer.reset();
        self.generation = None;
        self.framed = false;
        self.gap = false;
        self.ended = false;
        self.head = at;
    }

    fn clear(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
        self.queued_time = MediaDuration::ZERO;
    }

    fn drain(&mut self) {
        self.drain_after(false);
    }

    fn drain_after(&mut self, lost: bool) {
        let mut lost = lost;
        while let Some(event) = self.demuxer.poll() {
            match &event {
                Event::Config(config) => self.rate = config.sample_rate,
                Event::Hole(_) if lost => continue,
                Event::Packet(_) => lost = false,
                _ => {}
            }
            let length = duration(&event, self.rate);
            self.head = self.head + length;
            self.queued_time += length;
            self.queued_bytes += cost(&event);
            self.queue.push_back(Queued::Event(event));
        }
    }
}

fn cost(event: &Event) -> usize {
    EVENT_COST
        + match event {
            Event::Packet(packet) => packet.payload.len(),
            Event::Config(config) => config.headers.iter().map(Vec::len).sum(),
            Event::Tags(tags) => tags.iter().map(|(k, v)| k.len() + v.len() + 48).sum(),
            Event::Fault(fault) => fault.message.len(),
            Event::Hole(_) | Event::LinkEnd => 0,
        }
}

/// Media a decoder will make of an event.
fn duration(event: &Event, rate: u32) -> MediaDuration {
    let frames = match event {
        Event::Packet(packet) => {
            let trimmed = packet.trim_start.saturating_add(packet.trim_end);
            u64::from(packet.duration.saturating_sub(trimmed))
        }
        Event::Hole(frames) if frames.0 <= MAX_HOLE_SECS * u64::from(rate) => frames.0,
        _ => 0,
    };
    MediaDuration::from_frames(Frames(frames), rate)
}
