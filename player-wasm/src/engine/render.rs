//! Queued events to PCM at the output's rate and layout.

use std::collections::VecDeque;

use seamcast_media::demux::{Event as Demuxed, Packet};
use seamcast_media::mp3;
use seamcast_media::units::{Frames, MediaDuration, MediaTime};

use super::event::{Event, Payload};
use super::input::{Input, Queued};
use super::pcm::Pcm;
use crate::mix::Mixer;
use crate::prebuffer::drift::MAX_DEVIATION;
use crate::resample::Resampler;
use crate::stream::{Decoding, Format, Step};
use crate::stretch::Stretch;
use crate::timeline::Timeline;

/// What a decoder that joined in the middle of a link needs to settle (RFC 7845 §4.6).
const SETTLING: MediaDuration = MediaDuration::from_millis(80);
/// Furthest that a seek's answer may begin before the position asked for, to be decoded up to it unheard.
const MAX_EARLY: MediaDuration = MediaDuration::from_millis(1_000);
/// Most MP3 frames that a join may have without their bytes: at 8 kbit/s as many carry 511.
const MAX_BLANK: u8 = 32;
/// What MP3 takes to be right after nothing: overlap and synthesis filter reach back by less than two granules.
const OVERLAP: usize = 1_152;

#[derive(Debug)]
pub(super) struct Render {
    decoding: Decoding,
    format: Option<Format>,
    mixer: Mixer,
    stretch: Stretch,
    /// What the stretcher put out, on its way to the resampler.
    stretched: Vec<Vec<f32>>,
    resampler: Resampler,
    rate: u32,
    channels: usize,
    /// Position of the next decoded frame.
    media: MediaTime,
    /// A jump was taken and no packet decoded since.
    jumped: bool,
    /// And it was a join: nothing was rendered before it.
    joined: bool,
    /// Decoded frames still to be dropped, as the decoder joined in the middle of a link.
    settling: usize,
    /// Position to begin at, where the input begins before it.
    aim: MediaTime,
    /// MP3 frames that may yet decode to nothing because their bytes lie before the join.
    blank: u8,
    /// Whether anything was rendered since the last restart.
    rendered: bool,
    finished: bool,
    factor: f64,
    concealed_before: u64,
    stretched_before: u64,
}

impl Render {
    pub(super) fn new(rate: u32, channels: usize) -> Self {
        Self {
            decoding: Decoding::default(),
            format: None,
            mixer: Mixer::new(channels, channels),
            stretch: Stretch::new(rate, channels),
            stretched: vec![Vec::new(); channels],
            resampler: Resampler::new(rate, rate, channels),
            rate,
            channels,
            media: MediaTime::ZERO,
            jumped: false,
            joined: false,
            settling: 0,
            aim: MediaTime::ZERO,
            blank: 0,
            rendered: false,
            finished: false,
            factor: 1.0,
            concealed_before: 0,
            stretched_before: 0,
        }
    }

    /// Whether all input was taken, nothing will follow, and the tail is out.
    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    pub(super) fn concealed_frames(&self) -> u64 {
        self.concealed_before + self.decoding.concealed_frames()
    }

    /// Media consumed per output: within half a per cent by resampling, which
    /// nobody hears, beyond that by stretching time.
    pub(super) fn set_rate(&mut self, rate: f64) {
        let small = (rate - 1.0).abs() <= MAX_DEVIATION + 1e-9;
        self.stretch.set_tempo(if small { 1.0 } else { rate });
        let factor = if small { rate } else { 1.0 };
        if factor != self.factor {
            self.factor = factor;
            self.resampler.set_factor(factor);
        }
    }

    /// Input the resampler consumes per output, 1 without drift correction.
    pub(super) fn factor(&self) -> f64 {
        self.factor
    }

    /// Frames repeated or left out by stretching time.
    pub(super) fn stretched_frames(&self) -> u64 {
        self.stretched_before + self.stretch.moved()
    }

    /// What was being decoded is dropped; the next packet is at `at`.
    pub(super) fn restart(&mut self, at: MediaTime) {
        self.resampler.reset();
        self.stretch.reset();
        self.media = at;
        self.settling = 0;
        self.aim = MediaTime::ZERO;
        self.rendered = false;
        self.finished = false;
    }

    /// What comes next is heard from `at` on.
    pub(super) fn aim(&mut self, at: MediaTime) {
        self.aim = at;
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
                    let rate = self.format.map_or(self.rate, |f| f.sample_rate);
                    let from = self.settling.min(audio.frames());
                    self.settling -= from;
                    let dropped = Frames(from as u64);
                    self.media = self.media + MediaDuration::from_frames(dropped, rate);
                    let frames = audio.frames() - from;
                    if frames == 0 {
                        continue;
                    }
                    if !self.rendered {
                        self.rendered = true;
                        timeline.pin(pcm.end(), self.media);
                    }
                    let (mixer, stretch) = (&mut self.mixer, &mut self.stretch);
                    if mixer.is_identity() {
                        let channels = audio.channels();
                        let planes = (0..channels).map(|i| &audio.channel(i)[from..]);
                        stretch.process(planes, &mut self.stretched);
                    } else {
                        let mixed = mixer.mix(frames, |i| &audio.channel(i)[from..]);
                        let planes = mixed.iter().map(Vec::as_slice);
                        stretch.process(planes, &mut self.stretched);
                    }
                    self.resample(pcm);
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
                        // All of it lay before what was sought.
                        if !self.rendered {
                            timeline.pin(pcm.end(), self.media);
                        }
                        self.drain(pcm);
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
        if let Demuxed::Packet(packet) = &event {
            if std::mem::take(&mut self.jumped) {
                self.begin(packet);
            }
            if self.blank > 0 {
                self.open(packet);
            }
        }
        self.decoding.feed(event);
    }

    /// The first packet after a jump. Where a link is joined in its middle, what the decoder
    /// needs to settle is trimmed from the position the chunk names.
    #[inline(never)]
    fn begin(&mut self, packet: &Packet) {
        let rate = self.format.map_or(self.rate, |f| f.sample_rate);
        let middle = packet.start.0 > 0;
        let trimmed = Frames(if middle {
            u64::from(packet.trim_start)
        } else {
            0
        });
        self.media = self.media + MediaDuration::from_frames(trimmed, rate);
        if !self.joined {
            return;
        }
        let early = std::mem::take(&mut self.aim).since(self.media);
        if early <= MAX_EARLY {
            self.settling = early.to_frames(rate).0 as usize;
        }
        if middle {
            let settling = SETTLING.to_frames(rate).0.saturating_sub(trimmed.0);
            self.settling = self.settling.max(settling as usize);
        }
        self.blank = if self.media > MediaTime::ZERO {
            MAX_BLANK
        } else {
            0
        };
    }

    /// MP3 frames without their bytes are not heard, nor is what their silence overlaps.
    fn open(&mut self, packet: &Packet) {
        let blank = mp3::decodes_nothing(&packet.payload);
        let dropped = match blank {
            true => packet.duration as usize,
            false if self.blank < MAX_BLANK => OVERLAP,
            false => 0,
        };
        self.settling = self.settling.max(dropped);
        self.blank = if blank { self.blank - 1 } else { 0 };
    }

    fn jump(&mut self, at: MediaTime, pcm: &mut Pcm, timeline: &mut Timeline) {
        self.jumped = true;
        self.joined = !self.rendered;
        self.media = at;
        if self.rendered {
            self.drain(pcm);
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
                if old.sample_rate != format.sample_rate {
                    self.drain(pcm);
                    self.adapt(format);
                } else if old.channels != format.channels {
                    // What is behind the mixer goes on, so that links join without a seam.
                    self.mixer = Mixer::new(usize::from(format.channels), self.channels);
                }
                events.push_back(Event::CodecChange(format));
            }
            Some(_) => {}
        }
    }

    /// What the stretcher put out goes through the resampler.
    fn resample(&mut self, pcm: &mut Pcm) {
        let stretched = &mut self.stretched;
        let resampler = &mut self.resampler;
        pcm.append(|planes| resampler.process(stretched.iter().map(Vec::as_slice), planes));
        for plane in stretched {
            plane.clear();
        }
    }

    /// Puts out what stretcher and resampler hold back; what follows does not continue it.
    fn drain(&mut self, pcm: &mut Pcm) {
        self.stretch.finish(&mut self.stretched);
        self.resample(pcm);
        pcm.append(|planes| self.resampler.finish(planes));
        self.stretch.reset();
    }

    fn adapt(&mut self, format: Format) {
        self.mixer = Mixer::new(usize::from(format.channels), self.channels);
        self.stretched_before += self.stretch.moved();
        self.stretch = Stretch::new(format.sample_rate, self.channels);
        self.stretched = vec![Vec::new(); self.channels];
        self.resampler = Resampler::new(format.sample_rate, self.rate, self.channels);
        self.resampler.set_factor(self.factor);
    }

    /// Output frames that stretcher and resampler still owe for input they have.
    fn held(&self) -> u64 {
        let rate = self.format.map_or(self.rate, |f| f.sample_rate);
        let held = (self.resampler.held() + self.stretch.held()) as u64 * u64::from(self.rate);
        held / u64::from(rate.max(1))
    }
}
