//! Float frames to MP3 frames, by LAME.

use std::collections::VecDeque;

use mp3lame_encoder::{
    Bitrate, Builder, DualPcm, FlushGap, Mode, MonoPcm, Quality, max_required_buffer_size,
};
use seamcast_media::demux::{Container, Demuxer, Event};

use super::{Encode, Error, Settings};

/// Frames that LAME and a decoder together put before the first sample.
const DELAY: u32 = 576 + 529;

pub(super) struct Encoder {
    lame: mp3lame_encoder::Encoder,
    rate: u32,
    channels: usize,
    planes: [Vec<f32>; 2],
    coded: Vec<u8>,
    demuxer: Demuxer,
    taken: u64,
    /// Frames of the packets passed on so far.
    made: u64,
    ended: bool,
}

impl Encoder {
    pub(super) fn new(rate: u32, channels: usize, settings: Settings) -> Result<Self, Error> {
        let coded_rate = match rate {
            8_000 | 11_025 | 12_000 | 16_000 | 22_050 | 24_000 | 32_000 | 44_100 | 48_000 => rate,
            88_200 | 176_400 => 44_100,
            _ => 48_000,
        };
        let bitrate = match settings.bitrate {
            0 if coded_rate < 32_000 && channels == 1 => 64_000,
            0 if coded_rate < 32_000 || channels == 1 => 96_000,
            0 => 160_000,
            rate => rate,
        };
        let failed = |error: &dyn std::fmt::Display| Error(format!("mp3 encoder: {error}"));
        let mut builder = Builder::new().ok_or_else(|| Error("mp3 encoder: no memory".into()))?;
        builder
            .set_sample_rate(coded_rate)
            .and_then(|()| builder.set_output_sample_rate(std::num::NonZeroU32::new(coded_rate)))
            .and_then(|()| builder.set_num_channels(channels as u8))
            .and_then(|()| {
                builder.set_mode(if channels == 1 {
                    Mode::Mono
                } else {
                    Mode::JointStereo
                })
            })
            .and_then(|()| builder.set_brate(nearest(bitrate, coded_rate)))
            .and_then(|()| builder.set_quality(Quality::Good))
            .and_then(|()| builder.set_to_write_vbr_tag(false))
            .map_err(|error| failed(&error))?;
        let lame = builder.build().map_err(|error| failed(&error))?;
        Ok(Self {
            lame,
            rate: coded_rate,
            channels,
            planes: [Vec::new(), Vec::new()],
            coded: Vec::new(),
            demuxer: Demuxer::with_container(Container::Mpeg),
            taken: 0,
            made: 0,
            ended: false,
        })
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Passes LAME's frames on, with the trims that make the length exact.
    fn pass_on(&mut self, end: u64, events: &mut VecDeque<Event>) {
        while let Some(event) = self.demuxer.poll() {
            match event {
                Event::Config(mut config) => {
                    config.pre_skip = DELAY;
                    events.push_back(Event::Config(config));
                }
                Event::Packet(mut packet) => {
                    let (start, duration) = (self.made, u64::from(packet.duration));
                    self.made += duration;
                    if start >= end {
                        continue;
                    }
                    let skip_left = u64::from(DELAY).saturating_sub(start);
                    packet.trim_start = skip_left.min(duration) as u32;
                    packet.trim_end = self.made.saturating_sub(end).min(duration) as u32;
                    events.push_back(Event::Packet(packet));
                }
                other => events.push_back(other),
            }
        }
    }
}

impl Encode for Encoder {
    fn push(&mut self, samples: &[f32], events: &mut VecDeque<Event>) -> Result<(), Error> {
        let frames = samples.len() / self.channels;
        if frames == 0 {
            return Ok(());
        }
        self.taken += frames as u64;
        for (channel, plane) in self.planes.iter_mut().enumerate().take(self.channels) {
            plane.clear();
            plane.extend(samples.iter().skip(channel).step_by(self.channels));
        }
        self.coded.clear();
        self.coded.reserve(max_required_buffer_size(frames));
        let [left, right] = &self.planes;
        let outcome = if self.channels == 1 {
            self.lame.encode_to_vec(MonoPcm(&left[..]), &mut self.coded)
        } else {
            self.lame
                .encode_to_vec(DualPcm { left, right }, &mut self.coded)
        };
        outcome.map_err(|error| Error(format!("mp3 encoder: {error}")))?;
        self.demuxer.push(&self.coded);
        self.pass_on(u64::MAX, events);
        Ok(())
    }

    fn finish(&mut self, events: &mut VecDeque<Event>) -> Result<(), Error> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let end = u64::from(DELAY) + self.taken;
        self.coded.clear();
        self.coded.reserve(max_required_buffer_size(0));
        self.lame
            .flush_to_vec::<FlushGap>(&mut self.coded)
            .map_err(|error| Error(format!("mp3 encoder: {error}")))?;
        self.demuxer.push(&self.coded);
        self.demuxer.finish();
        self.pass_on(end, events);
        Ok(())
    }
}

/// The nearest bitrate the format has; below 32 kHz (MPEG-2) there is nothing
/// above 160 kbit/s.
fn nearest(wanted: u32, rate: u32) -> Bitrate {
    const ALL: [(u32, Bitrate); 16] = [
        (8, Bitrate::Kbps8),
        (16, Bitrate::Kbps16),
        (24, Bitrate::Kbps24),
        (32, Bitrate::Kbps32),
        (40, Bitrate::Kbps40),
        (48, Bitrate::Kbps48),
        (64, Bitrate::Kbps64),
        (80, Bitrate::Kbps80),
        (96, Bitrate::Kbps96),
        (112, Bitrate::Kbps112),
        (128, Bitrate::Kbps128),
        (160, Bitrate::Kbps160),
        (192, Bitrate::Kbps192),
        (224, Bitrate::Kbps224),
        (256, Bitrate::Kbps256),
        (320, Bitrate::Kbps320),
    ];
    let (least, most) = if rate < 32_000 { (8, 160) } else { (32, 320) };
    // MPEG-2.5 (below 16 kHz) ends at 64 kbit/s.
    let most = if rate < 16_000 { 64 } else { most };
    let wanted = (wanted / 1000).clamp(least, most);
    ALL.into_iter()
        .filter(|(kbps, _)| (least..=most).contains(kbps))
        .min_by_key(|(kbps, _)| kbps.abs_diff(wanted))
        .map_or(Bitrate::Kbps64, |(_, bitrate)| bitrate)
}
