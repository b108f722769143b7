//! Queued events to PCM at the output's rate and layout.

use std::collections::VecDeque;

use seamcast_media::demux::Event as Demuxed;
use seamcast_media::units::{Frames, MediaDuration, MediaTime};

use super::event::{Event, Payload};
use super::input::{Input, Queued};
use super::pcm::Pcm;
use crate::mix::Mixer;
use crate::resample::Resampler;
use crate::stream::{Decoding, Format, Step};
use crate::timeline::Timeline;

#[derive(Debug)]
pub(super) struct Render {
    decoding: Decoding,
    format: Option<Format>,
    mixer: Mixer,
    resampler: Resampler,
    rate: u32,
    channels: usize,
    /// Position of the next decoded frame.
    media: MediaTime,
    /// A jump was taken and no packet decoded since.
    jumped: bool,
    /// Whether anything was rendered since the last restart.
    rendered: bool,
    finished: bool,
    factor: f64,
    concealed_before: u64,
}

impl Render {
    pub(super) fn new(rate: u32, channels: usize) -> Self {
        Self {
            decoding: Decoding::default(),
            format: None,
            mixer: Mixer::new(channels, channels),
            resampler: Resampler::new(rate, rate, channels),
            rate,
            channels,
            media: MediaTime::ZERO,
            jumped: false,
            rendered: false,
            finished: false,
            factor: 1.0,
            concealed_before: 0,
        }
    }

    /// Whether all input was taken, nothing will follow, and the tail is out.
    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    pub(super) fn concealed_frames(&self) -> u64 {
        self.concealed_before + self.decoding.concealed_frames()
    }

    pub(super) fn set_factor(&mut self, factor: f64) {
        if (factor - self.factor).abs() > 1e-7 {
            self.factor = factor;
            self.resampler.set_factor(factor);
        }
    }

    /// What was being decoded is dropped; the next packet is at `at`.
    pub(super) fn restart(&mut self, at: MediaTime) {
        self.resampler.reset();
        self.media = at;
        self.rendered = false;
        self.finished = false;
    }

    /// Another output: what is held is converted, what comes is rendered for it.
    pub(super) fn convert(
        &mut self,
        pcm: &Pcm,
        from: u64,
        old_rate: u32,
        rate: u32,
        channels: usize,
    ) -> Pcm {
        let frames = pcm.end().saturating_sub(from);
        let mut mixer = Mixer::new(pcm.channels(), channels);
        let mut resampler = Resampler::new(old_rate, rate, channels);
        let mixed = mixer.mix(frames as usize, |channel| pcm.slice(channel, from, frames));
        let mut out = Pcm::new(channels);
        out.append(|planes| {
            resampler.process(mixed.iter().map(Vec::as_slice), planes);
            resampler.finish(planes);
        });
        self.rate = rate;
        self.channels = channels;
        if let Some(format) = self.format {
            self.adapt(format);
        }
        out
    }

    /// Renders until output frame `until` exists or the input has no more.
    pub(super) fn fill(
        &mut self,
        until: u64,
        input: &mut Input,
        pcm: &mut Pcm,
        timeline: &mut Timeline,
        events: &mut VecDeque<Event>,
        metadata: &mut VecDeque<(MediaTime, Payload)>,
    ) {
        if self.finished && !input.exhausted() {
            self.finished = false;
        }
        while pcm.end() < until && !self.finished {
            match self.decoding.advance() {
                Some(Step::Audio(ready)) => {
                    let audio = self.decoding.audio(ready);
                    let frames = audio.frames();
                    if !self.rendered {
                        self.rendered = true;
                        timeline.pin(pcm.end(), self.media);
                    }
                    let (mixer, resampler) = (&mut self.mixer, &mut self.resampler);
                    pcm.append(|planes| {
                        if mixer.is_identity() {
                            let channels = audio.channels();
                            resampler.process((0..channels).map(|i| audio.channel(i)), planes);
                        } else {
                            let mixed = mixer.mix(frames, |i| audio.channel(i));
                            resampler.process(mixed.iter().map(Vec::as_slice), planes);
                        }
                    });
                    let rate = self.format.map_or(self.rate, |f| f.sample_rate);
                    let length = Frames(frames as u64);
                    self.media = self.media + MediaDuration::from_frames(length, rate);
                    timeline.pin(pcm.end() + self.held(), self.media);
                }
                Some(Step::Format(format)) => self.change(format, pcm, events),
                Some(Step::Tags(tags)) => metadata.push_back((self.media, Payload::Tags(tags))),
                Some(Step::Error(error)) => events.push_back(Event::DecodeError(error)),
                Some(Step::LinkEnd) => {}
                None => match input.pop() {
                    Some(Queued::Event(event)) => self.feed(event),
                    Some(Queued::Jump(at)) => self.jump(at, pcm, timeline),
                    None if input.ended() => {
                        pcm.append(|planes| self.resampler.finish(planes));
                        self.finished = true;
                    }
                    None => break,
                },
            }
        }
    }

    /// Drops coded packets that end before `target`.
    pub(super) fn drop_until(
        &mut self,
        target: MediaTime,
        input: &mut Input,
        pcm: &mut Pcm,
        timeline: &mut Timeline,
    ) {
        let at = input.drop_until(self.media, target);
        if at > self.media {
            self.jump(at, pcm, timeline);
        }
    }

    fn feed(&mut self, event: Demuxed) {
        if let Demuxed::Packet(packet) = &event
            && std::mem::take(&mut self.jumped)
            && packet.start.0 > 0
        {
            // A link joined in its middle: what the decoder needs to settle is
            // trimmed from the position the chunk names.
            let rate = self.format.map_or(self.rate, |f| f.sample_rate);
            let trimmed = Frames(u64::from(packet.trim_start));
            self.media = self.media + MediaDuration::from_frames(trimmed, rate);
        }
        self.decoding.feed(event);
    }

    fn jump(&mut self, at: MediaTime, pcm: &mut Pcm, timeline: &mut Timeline) {
        self.jumped = true;
        self.media = at;
        if self.rendered {
            pcm.append(|planes| self.resampler.finish(planes));
            pcm.cut(pcm.end().saturating_sub(super::pcm::FADE as u64));
            timeline.pin(pcm.end(), at);
        } else {
            timeline.pin(pcm.end(), at);
        }
        self.rendered = false;
    }

    fn change(&mut self, format: Format, pcm: &mut Pcm, events: &mut VecDeque<Event>) {
        match self.format.replace(format) {
            None => {
                self.adapt(format);
                events.push_back(Event::LoadedMetadata(format));
            }
            Some(old) if old != format => {
                if (old.sample_rate, old.channels) != (format.sample_rate, format.channels) {
                    pcm.append(|planes| self.resampler.finish(planes));
                    self.adapt(format);
                }
                events.push_back(Event::CodecChange(format));
            }
            Some(_) => {}
        }
    }

    fn adapt(&mut self, format: Format) {
        self.mixer = Mixer::new(usize::from(format.channels), self.channels);
        self.resampler = Resampler::new(format.sample_rate, self.rate, self.channels);
        self.resampler.set_factor(self.factor);
    }

    /// Output frames the resampler still owes for input it has.
    fn held(&self) -> u64 {
        let rate = self.format.map_or(self.rate, |f| f.sample_rate);
        let held = self.resampler.held() as u64 * u64::from(self.rate);
        held / u64::from(rate.max(1))
    }
}
