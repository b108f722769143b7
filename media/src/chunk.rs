//! Cuts a source's packets into the chunks that the relay stores and sends.

use std::collections::VecDeque;

use crate::demux::{Event, Fault, LinkConfig};
use crate::units::{MediaDuration, MediaTime};

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
    /// Decoding may start here, given the generation's headers.
    pub sync: bool,
    /// Does not continue the chunk before it; media time tells by how much.
    pub discontinuity: bool,
    /// The generation's last chunk.
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
#[derive(Debug)]
pub struct Chunker {
    config: Config,
    outputs: VecDeque<Output>,
}

impl Chunker {
    /// A chunker with nothing pending.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            outputs: VecDeque::new(),
        }
    }

    /// Takes the next event.
    pub fn push_event(&mut self, event: Event) {
        if let Event::Fault(fault) = event {
            self.outputs.push_back(Output::Fault(fault));
        }
    }

    /// The next output, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Emits what is pending although it is shorter than the target; for a
    /// source that pauses. Harmless when nothing is pending.
    pub fn flush(&mut self) {}

    /// The source is gone: emits what is pending and ends the generation.
    pub fn finish(&mut self) {}

    /// Programme position after everything pushed so far.
    pub fn position(&self) -> MediaTime {
        self.config.start
    }

    /// Ogg serial number that the next generation will get, for
    /// [`Config::serial`] of the chunker that continues this programme.
    pub fn next_serial(&self) -> u32 {
        self.config.serial
    }
}
