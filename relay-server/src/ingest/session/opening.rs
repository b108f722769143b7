//! What a body is, by its first bytes, where nobody said it; and those that
//! have a header before their samples.

use seamcast_media::demux::{Demuxer, Event, Fault};
use seamcast_media::mp3::Id3Header;
use seamcast_media::wav;

use super::super::flac;
use super::super::media_type::{Declared, RATES};
use super::samples::Samples;
use super::{Error, MAX_WITH_TAGS, Session, Stage, encoder, pipeline};

/// Longest ID3v2 tag that is waited for to see what follows it.
const MAX_ID3: usize = 1 << 20;

/// How many first bytes tell what a body is.
pub(super) fn enough(first: &[u8]) -> usize {
    match Id3Header::parse(first) {
        Some(tag) if tag.len <= MAX_ID3 => tag.len + 4,
        None if b"ID3".iter().zip(first).all(|(a, b)| a == b) && first.len() < Id3Header::LEN => {
            Id3Header::LEN
        }
        _ => 4,
    }
}

/// The length of a tag before something else: some put it before FLAC, too.
fn id3_before_others(first: &[u8]) -> Option<usize> {
    let tag = Id3Header::parse(first)?.len;
    (tag < first.len()).then_some(tag)
}

/// Whether a frame of AAC begins here (ISO 13818-7 §6.2). MPEG audio has the
/// same sync word, and its layer is never 00; what is in frames of AAC often
/// looks like some of it.
fn is_adts(bytes: &[u8]) -> bool {
    let rate = |byte: u8| byte >> 2 & 0xf;
    matches!(bytes, [0xff, second, third, ..] if second & 0xf6 == 0xf0 && rate(*third) < 13)
}

impl Session {
    /// Chooses by the first four bytes or more.
    pub(super) fn sniff(&mut self, mut first: Vec<u8>) -> Result<(), Error> {
        if let Some(tag) = id3_before_others(&first)
            && first[tag..].starts_with(flac::MAGIC)
        {
            first.drain(..tag);
        }
        let looks_like = |words: &[&[u8]]| words.iter().any(|word| first.starts_with(word));
        if looks_like(&[flac::MAGIC]) {
            self.allowance = MAX_WITH_TAGS;
            self.stage = Stage::Flac(Box::default(), None);
            return self.flac(&first, false);
        }
        let tag = id3_before_others(&first).unwrap_or(0);
        if is_adts(&first[tag..]) {
            return Err(Error::Unsupported(
                "the body is AAC (ADTS); send Opus, MP3 or samples; AAC files are played by \
                 relay-server publish and by inputs of kind \"file\""
                    .into(),
            ));
        }
        if looks_like(&[b"<!do", b"<!DO", b"<htm", b"<HTM", b"<?xm", b"{\"", b"HTTP"]) {
            return Err(Error::NotAudio(
                "the body is text (HTML, XML, JSON or HTTP), not audio".into(),
            ));
        }
        if looks_like(&[b"RIFF", b"RF64", b"BW64"]) {
            self.stage = Stage::WavHeader(first);
            return self.wav_header();
        }
        if looks_like(&[b"ID3", b"OggS"]) {
            self.allowance = MAX_WITH_TAGS;
        }
        self.ogg = looks_like(&[b"OggS"]);
        let mut demuxer = Box::new(Demuxer::new());
        demuxer.push(&first);
        self.stage = Stage::Container(demuxer);
        Ok(())
    }

    /// Decodes and encodes again; `last` when nothing follows.
    pub(super) fn flac(&mut self, bytes: &[u8], last: bool) -> Result<(), Error> {
        let Stage::Flac(decoder, encoder_of) = &mut self.stage else {
            return Ok(());
        };
        let before = decoder.faults();
        let mut samples = Vec::new();
        decoder.push(bytes);
        if last {
            decoder.look_again();
        }
        let outcome = loop {
            let outcome = decoder.decode(&mut samples);
            if let Some(format) = decoder.format() {
                // Another file of the same body, of another rate or other channels.
                if let Some(mut ended) = encoder_of.take_if(|now| now.format() != format) {
                    ended.finish().map_err(encoder)?;
                    self.events.extend(std::iter::from_fn(|| ended.poll()));
                }
                let pipeline = match encoder_of {
                    Some(pipeline) => pipeline,
                    None => encoder_of.insert(Box::new(pipeline(format, self.config.encode)?)),
                };
                pipeline.push(&samples).map_err(encoder)?;
            }
            if !matches!(outcome, Ok(true)) {
                break outcome;
            }
        };
        if let Some(pipeline) = encoder_of.as_mut().filter(|_| last) {
            pipeline.finish().map_err(encoder)?;
        }
        if decoder.faults() > before {
            let fault = Fault {
                offset: self.bytes,
                message: "bytes that are no FLAC frame were skipped".into(),
            };
            self.push_events(0, [Event::Fault(fault)]);
        }
        outcome.map_or_else(|error| Err(Error::NotAudio(error.0)), |_| Ok(()))
    }

    /// Goes on to the samples once the header is whole.
    pub(super) fn wav_header(&mut self) -> Result<(), Error> {
        let Stage::WavHeader(header) = &mut self.stage else {
            return Ok(());
        };
        match wav::parse(header) {
            Ok(None) => Ok(()),
            Ok(Some(found)) if !RATES.contains(&found.format.sample_rate) => {
                let rate = found.format.sample_rate;
                Err(Error::Unsupported(format!(
                    "unsupported WAV: {rate} Hz is not from {} to {} Hz",
                    RATES.start(),
                    RATES.end()
                )))
            }
            Ok(Some(found)) => {
                let pipeline = pipeline(found.format, self.config.encode)?;
                let mut samples = Samples::new(pipeline, found.data_len);
                if self.config.declared == Declared::Growing {
                    samples = samples.growing();
                }
                let bytes = header.get(found.data_offset..).unwrap_or_default();
                let lie = samples.push(bytes).map_err(encoder)?;
                self.stage = Stage::Pcm(samples);
                self.fault(0, lie);
                Ok(())
            }
            Err(why @ wav::Error::Unsupported(_)) => Err(Error::Unsupported(why.to_string())),
            Err(why) => Err(Error::NotAudio(why.to_string())),
        }
    }
}
