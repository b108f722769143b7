//! One source's bytes to the outputs that a mount appends to its log. Pure:
//! the caller owns socket and clock.

mod opening;
mod samples;

use std::collections::VecDeque;

use samples::Samples;
use seamcast_media::chunk::{Chunker, Config as ChunkConfig, Output as Media};
use seamcast_media::demux::{Codec, Container, Demuxer, Event, Fault};
use seamcast_media::pcm::Clamped;
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_media::wav;

use super::flac;
use super::media_type::Declared;
use super::pcm::{Pipeline, Settings};

/// Bytes without audio after which a stream is refused; tags may carry a large
/// picture, so a stream that can begin with some gets more.
const MAX_WITHOUT_AUDIO: u64 = 256 << 10;
const MAX_WITH_TAGS: u64 = 16 << 20;

/// What the session needs to know at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the source says its body is.
    pub declared: Declared,
    /// How PCM is encoded.
    pub encode: Settings,
    /// Wanted chunk length.
    pub chunk: MediaDuration,
}

/// What a session yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Audio is about to come: call [`Session::begin`] with the mount's
    /// position, then poll on.
    Begin,
    /// For the log.
    Media(Media),
}

/// A stream the relay cannot carry. The source's fault; do not retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No audio found in what was sent.
    NotAudio(String),
    /// A container or codec that is not supported.
    Unsupported(String),
    /// The encoder failed or cannot do what was asked.
    Encoder(String),
}

impl Error {
    /// The HTTP status that says it.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotAudio(_) | Self::Unsupported(_) => 415,
            Self::Encoder(_) => 501,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAudio(why) | Self::Unsupported(why) | Self::Encoder(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Debug)]
enum Stage {
    /// The first bytes, too few to tell.
    First(Vec<u8>),
    Container(Box<Demuxer>),
    WavHeader(Vec<u8>),
    Flac(Box<flac::Decoder>, Option<Box<Pipeline>>),
    /// Nothing to parse: packets come by [`Session::push_events`].
    Packets,
    Pcm(Samples),
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: Config,
    stage: Stage,
    events: VecDeque<Event>,
    chunker: Option<Chunker>,
    asked: bool,
    bytes: u64,
    faults: u64,
    last_fault: Option<String>,
    allowance: u64,
    ogg: bool,
    /// An Ogg link has begun and not ended.
    open_link: bool,
    clamped_said: Clamped,
}

impl Session {
    /// A session without input.
    ///
    /// # Errors
    /// When declared PCM cannot be encoded as configured.
    pub fn new(config: Config) -> Result<Self, Error> {
        let stage = match config.declared {
            Declared::Sniff | Declared::Growing => Stage::First(Vec::new()),
            Declared::Packets => Stage::Packets,
            Declared::Pcm(format) => {
                Stage::Pcm(Samples::new(pipeline(format, config.encode)?, None))
            }
        };
        Ok(Self {
            config,
            stage,
            events: VecDeque::new(),
            chunker: None,
            asked: false,
            bytes: 0,
            faults: 0,
            last_fault: None,
            allowance: MAX_WITHOUT_AUDIO,
            ogg: false,
            open_link: false,
            clamped_said: Clamped::default(),
        })
    }

    /// Takes the next bytes; then poll until `None`.
    ///
    /// # Errors
    /// When the stream can no longer become audio.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes += bytes.len() as u64;
        match &mut self.stage {
            Stage::First(first) => {
                first.extend_from_slice(bytes);
                if first.len() < opening::enough(first) {
                    return Ok(());
                }
                let first = std::mem::take(first);
                self.sniff(first)?;
            }
            Stage::Container(demuxer) => demuxer.push(bytes),
            Stage::Packets => {}
            Stage::WavHeader(header) => {
                header.extend_from_slice(bytes);
                self.wav_header()?;
            }
            Stage::Flac(..) => self.flac(bytes, false)?,
            Stage::Pcm(samples) => {
                let first = self.bytes == bytes.len() as u64;
                if let Some(kind) = samples::misdeclared(bytes).filter(|_| first) {
                    return Err(Error::NotAudio(format!(
                        "the body is {kind}, and declared as raw samples; leave the format out"
                    )));
                }
                let lie = samples.push(bytes).map_err(encoder)?;
                self.fault(0, lie);
            }
        }
        self.collect();
        // Another codec in Ogg is told by a fault.
        let allowance = match self.ogg && self.faults > 0 {
            true => MAX_WITHOUT_AUDIO,
            false => self.allowance,
        };
        let silent = self.chunker.is_none() && !self.asked && !self.has_audio();
        if silent && self.bytes > allowance {
            return Err(self.no_audio());
        }
        Ok(())
    }

    /// Takes what a demuxer elsewhere found (RTP, files); then poll until
    /// `None`. Audio must be declared as [`Declared::Packets`], but holes and
    /// faults may be told of any stream.
    pub fn push_events(&mut self, bytes: u64, events: impl IntoIterator<Item = Event>) {
        self.bytes += bytes;
        for event in events {
            if let Event::Fault(fault) = &event {
                self.faults += 1;
                self.last_fault = Some(fault.message.clone());
            }
            self.events.push_back(event);
        }
    }

    /// Starts the timeline at the mount's position, in answer to
    /// [`Output::Begin`].
    pub fn begin(&mut self, start: MediaTime, serial: u32) {
        self.chunker = Some(Chunker::new(ChunkConfig {
            target: self.config.chunk,
            start,
            serial,
        }));
    }

    /// The next output, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Output> {
        self.hand_over();
        if let Some(chunker) = &mut self.chunker {
            return chunker.poll().map(Output::Media);
        }
        if self.asked {
            return None;
        }
        if self.has_audio() {
            self.asked = true;
            return Some(Output::Begin);
        }
        // Tags may come before the first audio; they wait for it.
        let at = self
            .events
            .iter()
            .position(|event| matches!(event, Event::Fault(_)))?;
        match self.events.remove(at)? {
            Event::Fault(fault) => Some(Output::Media(Media::Fault(fault))),
            _ => None,
        }
    }

    /// All at once: a link's end then rides on its last chunk.
    fn hand_over(&mut self) {
        if let Some(chunker) = &mut self.chunker {
            for event in self.events.drain(..) {
                chunker.push_event(event);
            }
        }
    }

    /// Bytes without which the next chunk will hardly be complete; 0 when it cannot be told.
    pub fn wanted(&self) -> usize {
        match (&self.stage, &self.chunker) {
            (Stage::Container(demuxer), Some(chunker)) => demuxer
                .held()
                .map_or(0, |held| chunker.wanted().saturating_sub(held)),
            _ => 0,
        }
    }

    /// The source pauses: what is pending should leave although it is short.
    /// Harmless when nothing is.
    pub fn flush(&mut self) {
        if let Stage::Flac(decoder, _) = &mut self.stage {
            decoder.look_again();
            // What is wrong is said at the next push.
            let _ = self.flac(&[], false);
            self.collect();
            self.hand_over();
        }
        if let Some(chunker) = &mut self.chunker {
            chunker.flush();
        }
    }

    /// The body is complete; then poll until `None`.
    ///
    /// # Errors
    /// When there was no audio in it.
    pub fn finish(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::First(first) => {
                let first = std::mem::take(first);
                if first.is_empty() {
                    return Err(Error::NotAudio("the body is empty; send audio".into()));
                }
                let mut demuxer = Demuxer::new();
                demuxer.push(&first);
                demuxer.finish();
                self.stage = Stage::Container(Box::new(demuxer));
            }
            Stage::Container(demuxer) => demuxer.finish(),
            Stage::Packets => {}
            Stage::WavHeader(_) => {
                return Err(Error::NotAudio(format!(
                    "the WAV header is not complete after {} bytes",
                    self.bytes
                )));
            }
            Stage::Flac(..) => self.flac(&[], true)?,
            Stage::Pcm(samples) => {
                if samples.pipeline.frames() == 0 {
                    return Err(Error::NotAudio(format!(
                        "{} bytes are less than one frame; send audio",
                        self.bytes
                    )));
                }
                let faults: Vec<_> = samples.faults().collect();
                samples.pipeline.finish().map_err(encoder)?;
                for (back, why) in faults {
                    self.fault(back, [why]);
                }
            }
        }
        self.collect();
        if self.chunker.is_none() && !self.asked && !self.has_audio() {
            return Err(self.no_audio());
        }
        Ok(())
    }

    /// Ends the generation after everything was polled: what is pending leaves.
    /// A source that is lost or replaced leaves its last samples in an encoder:
    /// they belong before what follows.
    pub fn close(&mut self) {
        let pipeline = match &mut self.stage {
            Stage::Pcm(samples) => Some(&mut samples.pipeline),
            Stage::Flac(_, pipeline) => pipeline.as_mut(),
            _ => None,
        };
        if let Some(pipeline) = pipeline.filter(|pipeline| pipeline.frames() > 0) {
            // There is nobody to tell.
            let _ = pipeline.finish();
            self.collect();
            self.hand_over();
        }
        if let Some(chunker) = &mut self.chunker {
            chunker.finish();
        }
    }

    /// Another body follows after [`Session::finish`] and [`Session::close`]:
    /// it continues the programme without a seam.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn restart(&mut self, declared: Declared) -> Result<(), Error> {
        let mut fresh = Self::new(Config {
            declared,
            ..self.config.clone()
        })?;
        if let Some(chunker) = &self.chunker {
            fresh.begin(chunker.position(), chunker.next_serial());
            fresh.asked = true;
        }
        *self = fresh;
        Ok(())
    }

    /// Whether the stream can say that it ends, and has not.
    pub fn is_unfinished(&self) -> bool {
        self.open_link && matches!(self.stage, Stage::Container(_))
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Faults seen so far.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// Programme position after everything pushed so far.
    pub fn position(&self) -> Option<MediaTime> {
        self.chunker.as_ref().map(Chunker::position)
    }

    /// Ogg serial number for the session that continues this programme.
    pub fn next_serial(&self) -> Option<u32> {
        self.chunker.as_ref().map(Chunker::next_serial)
    }

    /// Samples of PCM that had to be changed so far.
    pub fn clamped(&self) -> Clamped {
        match &self.stage {
            Stage::Pcm(samples) => samples.pipeline.clamped(),
            _ => Clamped::default(),
        }
    }

    fn has_audio(&self) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, Event::Packet(_)))
    }

    fn no_audio(&self) -> Error {
        let why = match &self.last_fault {
            Some(fault) => format!(": {fault}"),
            None => String::new(),
        };
        Error::NotAudio(format!(
            "no Ogg/Opus, MP3, WAV or FLAC audio in the first {} bytes{why}",
            self.bytes
        ))
    }

    /// Counts what is wrong, `back` bytes before what was taken last.
    fn fault(&mut self, back: u64, why: impl IntoIterator<Item = String>) {
        let offset = self.bytes - back;
        let fault = |message| Event::Fault(Fault { offset, message });
        self.push_events(0, why.into_iter().map(fault));
    }

    fn collect(&mut self) {
        loop {
            let event = match &mut self.stage {
                Stage::Container(demuxer) => demuxer.poll(),
                Stage::Pcm(samples) => samples.pipeline.poll(),
                Stage::Flac(_, Some(pipeline)) => pipeline.poll(),
                Stage::Flac(_, None) | Stage::First(_) | Stage::WavHeader(_) | Stage::Packets => {
                    None
                }
            };
            let Some(event) = event else { break };
            if let Event::Fault(fault) = &event {
                self.faults += 1;
                self.last_fault = Some(fault.message.clone());
            }
            match &event {
                Event::Config(config) => self.open_link = config.container == Container::Ogg,
                Event::LinkEnd => self.open_link = false,
                _ => {}
            }
            self.events.push_back(event);
        }
        let clamped = self.clamped();
        let said = &mut self.clamped_said;
        // Said at the first and then at each tenfold, so that a broken
        // generator cannot flood the log.
        let (now, before) = (clamped.nan + clamped.over, said.nan + said.over);
        if now > before && now >= before.saturating_mul(10) {
            *said = clamped;
            self.faults += 1;
            self.events.push_back(Event::Fault(Fault {
                offset: self.bytes,
                message: format!(
                    "{} samples were not a number and {} beyond full scale so far; they were clamped",
                    clamped.nan, clamped.over
                ),
            }));
        }
    }
}

fn pipeline(format: wav::Format, settings: Settings) -> Result<Pipeline, Error> {
    Pipeline::new(format, settings).map_err(encoder)
}

fn encoder(error: super::pcm::Error) -> Error {
    Error::Encoder(error.0)
}

/// The codec for PCM on a mount of that name.
pub fn codec_for(mount: &str, encode: crate::config::Encode) -> Codec {
    match encode {
        crate::config::Encode::Opus => Codec::Opus,
        crate::config::Encode::Mp3 => Codec::Mp3,
        crate::config::Encode::Auto if mount.to_ascii_lowercase().ends_with(".mp3") => Codec::Mp3,
        crate::config::Encode::Auto => Codec::Opus,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
