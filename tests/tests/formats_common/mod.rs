//! A relay's messages, a player without a browser, and what it puts out.
#![allow(unreachable_pub)]

use std::collections::VecDeque;

use seamcast_media::chunk::{Chunk, Chunker, Config, Output};
use seamcast_media::demux::{Container, Demuxer};
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_player::engine::{Engine, Event};
use seamcast_player::prebuffer::{Latency, Mode};
use seamcast_player::stream::{Item, StreamDecoder};
use seamcast_protocol::chunk::{Flags, Header};
use tests::support::{Encoding, Pcm, Scratch, encode};

pub const RATE: u32 = 48_000;

/// What a relay sends of a programme.
pub enum Message {
    Config(u32, Container, Vec<u8>),
    Chunk(Chunk),
}

/// A programme of several sources, one after the other, as the relay chunks it.
pub fn programme(sources: &[Vec<u8>], target_ms: u64) -> Vec<Message> {
    let (mut messages, mut position, mut serial, mut generation) =
        (Vec::new(), MediaTime::ZERO, 1, 0);
    for source in sources {
        let mut demuxer = Demuxer::new();
        demuxer.push(source);
        demuxer.finish();
        let mut chunker = Chunker::new(Config {
            target: MediaDuration::from_millis(target_ms),
            start: position,
            serial,
        });
        let mut take = |chunker: &mut Chunker| {
            while let Some(output) = chunker.poll() {
                match output {
                    Output::Generation { config, headers } => {
                        generation += 1;
                        messages.push(Message::Config(generation, config.container, headers));
                    }
                    Output::Chunk(chunk) => messages.push(Message::Chunk(chunk)),
                    Output::Fault(fault) => panic!("{fault:?}"),
                    Output::Tags { .. } => {}
                }
            }
        };
        while let Some(event) = demuxer.poll() {
            chunker.push_event(event);
            take(&mut chunker);
        }
        chunker.finish();
        take(&mut chunker);
        (position, serial) = (chunker.position(), chunker.next_serial());
    }
    messages
}

/// An engine whose output is kept.
pub struct Player {
    pub engine: Engine,
    rate: u32,
    pub heard: Vec<Vec<f32>>,
    pub events: VecDeque<Event>,
    generation: u32,
    seq: u64,
}

impl Player {
    pub fn new(rate: u32, channels: usize) -> Self {
        let mut engine = Engine::new(Mode::Complete, Latency::AUTO);
        engine.set_output(rate, channels, u64::from(rate / 50), u64::from(rate));
        engine.play(0.0);
        Self {
            engine,
            rate,
            heard: vec![Vec::new(); channels],
            events: VecDeque::new(),
            generation: 0,
            seq: 0,
        }
    }

    pub fn message(&mut self, message: &Message) {
        match message {
            Message::Config(generation, container, headers) => {
                self.generation = *generation;
                self.engine.config(*generation, *container, headers);
            }
            Message::Chunk(chunk) => {
                let header = Header {
                    flags: if chunk.discontinuity {
                        Flags(Flags::SYNC.0 | Flags::DISCONTINUITY.0)
                    } else {
                        Flags::SYNC
                    },
                    generation: self.generation,
                    seq: self.seq,
                    media_time: chunk.media_time.ticks(),
                    duration: chunk.duration.ticks(),
                    ingest_time: 0,
                };
                self.seq += 1;
                let message = [&header.encode()[..], &chunk.payload].concat();
                self.engine.push_chunk(0.0, &message);
            }
        }
    }

    /// Plays what it was given to the end. `heard` begins with the first frame of the programme.
    pub fn play_out(&mut self) {
        self.engine.end_of_stream(0.0);
        let mut first = None;
        for step in 0..5_000u64 {
            let frame = step * u64::from(self.rate / 50);
            self.engine.poll(step as f64 * 20.0, frame, frame);
            while let Some(event) = self.engine.next_event() {
                self.events.push_back(event);
            }
            while let Some(slot) = self.engine.next_slot() {
                let first = *first.get_or_insert(slot.context);
                assert_eq!(
                    slot.context - first,
                    self.heard[0].len() as u64,
                    "a gap in the output"
                );
                for (channel, heard) in self.heard.iter_mut().enumerate() {
                    heard.extend_from_slice(self.engine.pcm(slot, channel));
                }
            }
            if self.events.contains(&Event::Ended) {
                return;
            }
        }
        panic!("no end: {:?}", self.events);
    }

    pub fn codecs(&self) -> Vec<(u32, u8)> {
        let format = |event: &Event| match event {
            Event::LoadedMetadata(f) | Event::CodecChange(f) => Some((f.sample_rate, f.channels)),
            _ => None,
        };
        self.events.iter().filter_map(format).collect()
    }
}

pub fn encoded(pcm: &Pcm, encoding: Encoding<'_>) -> Vec<u8> {
    let scratch = Scratch::new("formats-edges");
    let path = scratch.file("part");
    encode(pcm, encoding, &path).expect("encodes");
    std::fs::read(&path).expect("reads")
}

pub fn frames(at: MediaTime, rate: u32) -> usize {
    at.since(MediaTime::ZERO).to_frames(rate).0 as usize
}

/// Planes and layouts of a plain decode, link by link.
pub fn decoded(bytes: &[u8]) -> Vec<Vec<Vec<f32>>> {
    let mut decoder = StreamDecoder::new();
    decoder.push(bytes);
    decoder.finish();
    let mut links: Vec<Vec<Vec<f32>>> = Vec::new();
    while let Some(item) = decoder.poll() {
        match item {
            Item::Format(format) => links.push(vec![Vec::new(); usize::from(format.channels)]),
            Item::Audio(audio) => {
                let link = links.last_mut().expect("a format first");
                for (channel, plane) in link.iter_mut().enumerate() {
                    plane.extend_from_slice(audio.channel(channel));
                }
            }
            Item::Error(error) => panic!("{error:?}"),
            Item::Tags(_) | Item::LinkEnd => {}
        }
    }
    links
}

pub fn rms(pcm: &[f32]) -> f64 {
    (pcm.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / pcm.len().max(1) as f64).sqrt()
}

/// Largest difference between neighbours.
pub fn steepest(pcm: &[f32]) -> f32 {
    pcm.windows(2)
        .map(|w| (w[1] - w[0]).abs())
        .fold(0.0, f32::max)
}

/// A sine of 500 Hz on every channel, whole periods of it in any part of a second that is used here.
pub fn sine(rate: u32, channels: usize, seconds: f64) -> Pcm {
    let frames = (f64::from(rate) * seconds) as usize;
    let mut pcm = Pcm::sine(rate, 500.0, frames);
    let mono: Vec<f32> = pcm.plane(0).iter().map(|x| 0.5 * x).collect();
    pcm.samples = mono
        .iter()
        .flat_map(|x| std::iter::repeat_n(*x, channels))
        .collect();
    pcm.channels = channels;
    pcm
}
