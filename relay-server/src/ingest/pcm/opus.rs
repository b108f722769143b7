//! Float frames to Opus packets.

use std::collections::VecDeque;

use opus::{Application, Bitrate, Channels};
use seamcast_media::demux::{Codec, Container, Event, LinkConfig, Packet};
use seamcast_media::opus::{Head, Tags};
use seamcast_media::units::Frames;

use super::{Encode, Error, Settings};

/// Rate at which Opus positions are counted.
const CLOCK: u32 = 48_000;

pub(super) struct Encoder {
    encoder: opus::Encoder,
    rate: u32,
    channels: usize,
    /// Frames of a packet at `rate`.
    packet: usize,
    /// Frames that wait for a whole packet, interleaved.
    waiting: Vec<f32>,
    coded: Vec<u8>,
    config: Option<LinkConfig>,
    /// Frames at 48 kHz the listener does not hear at the start.
    pre_skip: u32,
    /// Frames at `rate` taken from the caller.
    taken: u64,
    /// Frames at 48 kHz in the packets made so far.
    made: u64,
    /// The newest packet, held back at the end only.
    finished: bool,
}

impl Encoder {
    pub(super) fn new(rate: u32, channels: usize, settings: Settings) -> Result<Self, Error> {
        // The rates libopus codes natively (RFC 6716 §2); others become 48 kHz.
        let coded_rate = match rate {
            8_000 | 12_000 | 16_000 | 24_000 => rate,
            _ => CLOCK,
        };
        let layout = if channels == 1 {
            Channels::Mono
        } else {
            Channels::Stereo
        };
        let mut encoder =
            opus::Encoder::new(coded_rate, layout, Application::Audio).map_err(said)?;
        let bitrate = match settings.bitrate {
            0 if channels == 1 => 64_000,
            0 => 128_000,
            rate => rate,
        };
        encoder
            .set_bitrate(Bitrate::Bits(bitrate as i32))
            .map_err(said)?;
        encoder
            .set_complexity(settings.complexity.min(10) as i32)
            .map_err(said)?;
        let lookahead = encoder.get_lookahead().map_err(said)?;
        let pre_skip = u32::try_from(lookahead).unwrap_or(0) * (CLOCK / coded_rate);
        let mut head = Head::simple(channels as u8, pre_skip as u16, rate);
        head.pre_skip = pre_skip as u16;
        let tags = Tags {
            vendor: opus::version().to_owned(),
            comments: Vec::new(),
            partial: false,
        };
        let config = LinkConfig {
            codec: Codec::Opus,
            container: Container::Ogg,
            sample_rate: CLOCK,
            channels: channels as u8,
            pre_skip,
            output_gain: 0,
            headers: vec![head.to_bytes(), tags.to_bytes()],
        };
        // 20 ms is the codec's sweet spot, and divides every chunk length but
        // the odd ones, where a chunk just ends up to 20 ms early or late.
        let packet = coded_rate as usize / 50;
        Ok(Self {
            encoder,
            rate: coded_rate,
            channels,
            packet,
            waiting: Vec::new(),
            // RFC 6716 §3.2.1: no frame is longer than 1275 bytes.
            coded: vec![0; 1500],
            config: Some(config),
            pre_skip,
            taken: 0,
            made: 0,
            finished: false,
        })
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    fn encode(&mut self, trim_end: u32, events: &mut VecDeque<Event>) -> Result<(), Error> {
        let samples = self.packet * self.channels;
        let length = self
            .encoder
            .encode_float(&self.waiting[..samples], &mut self.coded)
            .map_err(said)?;
        self.waiting.drain(..samples);
        let duration = CLOCK / 50;
        let skip_left = u64::from(self.pre_skip).saturating_sub(self.made);
        events.push_back(Event::Packet(Packet {
            payload: self.coded[..length].to_vec(),
            start: Frames(self.made),
            duration,
            trim_start: skip_left.min(u64::from(duration)) as u32,
            trim_end,
        }));
        self.made += u64::from(duration);
        Ok(())
    }
}

impl Encode for Encoder {
    fn push(&mut self, samples: &[f32], events: &mut VecDeque<Event>) -> Result<(), Error> {
        if let Some(config) = self.config.take() {
            events.push_back(Event::Config(config));
        }
        self.taken += (samples.len() / self.channels) as u64;
        self.waiting.extend_from_slice(samples);
        while self.waiting.len() >= self.packet * self.channels {
            self.encode(0, events)?;
        }
        Ok(())
    }

    fn finish(&mut self, events: &mut VecDeque<Event>) -> Result<(), Error> {
        if self.finished {
            return Ok(());
        }
        self.finished = true;
        // Silence pushes the encoder's lookahead out; RFC 7845 §4.4 trims it.
        let end = u64::from(self.pre_skip) + self.taken * u64::from(CLOCK / self.rate);
        while self.made < end && self.taken > 0 {
            self.waiting.resize(self.packet * self.channels, 0.0);
            let after = self.made + u64::from(CLOCK / 50);
            self.encode(after.saturating_sub(end) as u32, events)?;
        }
        events.push_back(Event::LinkEnd);
        Ok(())
    }
}

fn said(error: opus::Error) -> Error {
    Error(format!("opus encoder: {error}"))
}
