//! Packets in order to audio that keeps time: what was lost is concealed with
//! exactly its own length (PCM) or left as a hole (Opus).

use std::collections::VecDeque;

use super::{Event, Format};
use crate::demux::{self, Packet};
use crate::opus;
use crate::pcm::Clamped;
use crate::units::Frames;

/// A gap that is longer is not filled: the clock has jumped.
const MAX_GAP_SECS: u64 = 5;
/// Samples made for one gap at most, whatever rate and channels are declared.
const MAX_FILL: usize = 1 << 21;
/// Time stamps that are off by less than this fraction of a second (5 ms)
/// without a loss are a sloppy clock, not a gap.
const SLOPPY: u64 = 200;
/// Concealment fades to silence within this many milliseconds, as G.711
/// appendix I does.
const FADE_MS: u64 = 60;

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Media {
    /// What follows is in this format.
    Format(Format),
    /// Interleaved PCM frames within ±1.
    Pcm(Vec<f32>),
    /// Opus: packets and holes, positions counted from the last `Format`.
    Opus(demux::Event),
    /// What follows does not continue what came before.
    Discontinuity,
    /// Something could not be used; lower case.
    Fault(String),
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Frames of lost PCM that were concealed.
    pub concealed: u64,
    /// Frames the sender left out (silence suppression), filled with silence.
    pub silent: u64,
    /// Frames of Opus passed on as holes.
    pub holes: u64,
    /// Packets of a payload type that nobody explained, or that were malformed.
    pub unusable: u64,
    /// Times at which the sender's clock jumped or another sender came.
    pub discontinuities: u64,
}

/// See the module. Push the events of a [`super::Receiver`], then poll until
/// `None`.
#[derive(Debug)]
pub struct Depacketizer {
    formats: Vec<(u8, Format)>,
    current: Option<Format>,
    /// RTP time at which the next packet should begin.
    expected: Option<u64>,
    lost: bool,
    /// How many frames the last packet held.
    before: u64,
    /// The last packet's frames, to conceal with.
    last: Vec<f32>,
    /// Opus frames since the last `Format`.
    position: u64,
    filled: Filled,
    media: VecDeque<Media>,
}

impl Depacketizer {
    /// One that knows these payload types beside the static ones.
    pub fn new(formats: Vec<(u8, Format)>) -> Self {
        Self {
            formats,
            current: None,
            expected: None,
            lost: false,
            before: 0,
            last: Vec::new(),
            position: 0,
            filled: Filled::default(),
            media: VecDeque::new(),
        }
    }

    /// Takes the receiver's next event.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Lost { .. } => self.lost = true,
            Event::NewSource { .. } => self.jump(),
            Event::Packet {
                payload_type,
                time,
                payload,
                ..
            } => self.packet(payload_type, time, &payload),
        }
    }

    /// The next piece, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Media> {
        self.media.pop_front()
    }

    /// Counters.
    pub fn filled(&self) -> Filled {
        self.filled
    }

    fn jump(&mut self) {
        self.expected = None;
        self.lost = false;
        self.before = 0;
        self.last.clear();
        self.filled.discontinuities += 1;
        self.media.push_back(Media::Discontinuity);
    }

    fn unusable(&mut self, why: String) {
        self.filled.unusable += 1;
        self.media.push_back(Media::Fault(why));
    }

    fn packet(&mut self, payload_type: u8, time: u64, payload: &[u8]) {
        let known = self.formats.iter().find(|(kind, _)| *kind == payload_type);
        let format = known.map_or_else(
            || Format::from_static(payload_type),
            |(_, format)| Some(*format),
        );
        let Some(format) = format else {
            // RFC 3551 §6: the lower ones have a fixed meaning, such as G722 or MPA.
            let remedy = match payload_type {
                ..35 => "a codec that is not taken; send PCMU, PCMA, L16 or Opus",
                _ => "unknown; name it by an sdp file or payload_types",
            };
            return self.unusable(format!("rtp payload type {payload_type} is {remedy}"));
        };
        let frames = match format {
            Format::Opus { .. } => match opus::packet_duration(payload) {
                Ok(frames) => u64::from(frames),
                Err(error) => return self.unusable(format!("opus packet in rtp: {error}")),
            },
            Format::Pcm {
                sample, channels, ..
            } => {
                let frame = sample.bytes() * usize::from(channels.max(1));
                (payload.len() / frame) as u64
            }
        };
        if frames == 0 {
            let len = payload.len();
            return self.unusable(format!("rtp payload of {len} bytes holds no audio"));
        }
        if self.current != Some(format) {
            self.current = Some(format);
            self.expected = None;
            self.last.clear();
            self.position = 0;
            self.media.push_back(Media::Format(format));
        }
        let expected = self.expected.unwrap_or(time);
        let rate = u64::from(format.clock_rate());
        let (ahead, behind) = (time.saturating_sub(expected), expected.saturating_sub(time));
        let mut next = time + frames;
        // GStreamer's first Opus packet advances the clock by less than it
        // holds: the encoder's look-ahead has no time. What follows in sequence
        // and begins within the packet before it is no jump.
        let overlaps = behind <= self.before && !self.lost;
        if ahead > rate * MAX_GAP_SECS || (behind > rate / SLOPPY && !overlaps) {
            self.jump();
        } else if ahead > rate / SLOPPY || (ahead > 0 && self.lost) {
            self.fill(format, ahead);
        } else if behind <= rate / SLOPPY {
            next = expected + frames;
        }
        self.lost = false;
        self.before = frames;
        self.expected = Some(next);
        match format {
            Format::Opus { .. } => {
                let start = Frames(self.position);
                self.position += frames;
                self.media
                    .push_back(Media::Opus(demux::Event::Packet(Packet {
                        payload: payload.to_vec(),
                        start,
                        duration: frames as u32,
                        trim_start: 0,
                        trim_end: 0,
                    })));
            }
            Format::Pcm {
                sample, channels, ..
            } => {
                let mut out = Vec::new();
                sample.decode(payload, &mut out, &mut Clamped::default());
                // A remainder shorter than a frame would swap the channels.
                out.truncate(frames as usize * usize::from(channels.max(1)));
                self.last.clone_from(&out);
                self.media.push_back(Media::Pcm(out));
            }
        }
    }

    fn fill(&mut self, format: Format, frames: u64) {
        let Format::Pcm { rate, channels, .. } = format else {
            self.filled.holes += frames;
            self.position += frames;
            return self
                .media
                .push_back(Media::Opus(demux::Event::Hole(Frames(frames))));
        };
        let channels = usize::from(channels.max(1));
        let samples = frames as usize * channels;
        if samples > MAX_FILL {
            return self.jump();
        }
        if !self.lost || self.last.is_empty() {
            self.filled.silent += frames;
            return self.media.push_back(Media::Pcm(vec![0.0; samples]));
        }
        self.filled.concealed += frames;
        let fade = (u64::from(rate) * FADE_MS / 1000).max(1) as f32;
        let filled = (0..samples).map(|at| {
            let gain = (1.0 - (at / channels) as f32 / fade).max(0.0);
            self.last[at % self.last.len()] * gain
        });
        let filled = filled.collect();
        self.media.push_back(Media::Pcm(filled));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::pcm::SampleFormat;
    use crate::rtp::{self, Config, Receiver};

    const L8: Format = Format::Pcm {
        sample: SampleFormat::U8,
        rate: 8_000,
        channels: 1,
    };

    fn packet(payload_type: u8, time: u64, payload: &[u8]) -> Event {
        Event::Packet {
            payload_type,
            marker: false,
            time,
            payload: payload.to_vec(),
        }
    }

    /// Frames of each piece of PCM, 0 for a discontinuity.
    fn lengths(depacketizer: &mut Depacketizer) -> Vec<usize> {
        std::iter::from_fn(|| depacketizer.poll())
            .filter_map(|media| match media {
                Media::Pcm(frames) => Some(frames.len()),
                Media::Discontinuity => Some(0),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_packet_that_overlaps_the_one_before_is_no_jump() {
        let mut d = Depacketizer::new(vec![(97, Format::Opus { channels: 2 })]);
        // 20 ms each; the first advances the clock by 13.5 ms.
        for time in [0, 648, 1608, 2568] {
            d.push(packet(97, time, &[0xf8, 1, 2, 3]));
        }
        let jumps =
            std::iter::from_fn(|| d.poll()).filter(|media| matches!(media, Media::Discontinuity));
        assert_eq!((jumps.count(), d.filled().holes), (0, 0));
        d.push(packet(97, 600, &[0xf8, 1, 2, 3]));
        assert_eq!(d.filled().discontinuities, 1, "far back is one");
    }

    #[test]
    fn time_is_kept_over_loss_and_silence() {
        let mut d = Depacketizer::new(vec![(96, L8)]);
        d.push(packet(96, 1000, &[192; 160]));
        d.push(Event::Lost { packets: 1 });
        d.push(packet(96, 1320, &[192; 160]));
        d.push(packet(96, 1480 + 800, &[192; 160]));
        assert_eq!(lengths(&mut d), [160, 160, 160, 800, 160]);
        assert_eq!((d.filled().concealed, d.filled().silent), (160, 800));
    }

    #[test]
    fn concealment_repeats_and_fades() {
        let mut d = Depacketizer::new(vec![(96, L8)]);
        d.push(packet(96, 0, &[192; 80]));
        d.push(Event::Lost { packets: 9 });
        d.push(packet(96, 800, &[192; 80]));
        let pcm: Vec<Vec<f32>> = std::iter::from_fn(|| d.poll())
            .filter_map(|media| match media {
                Media::Pcm(frames) => Some(frames),
                _ => None,
            })
            .collect();
        let filled = &pcm[1];
        assert_eq!(filled.len(), 720);
        assert_eq!((filled[0], filled[240], filled[480]), (0.5, 0.25, 0.0));
    }

    #[test]
    fn a_clock_that_jumps_is_a_discontinuity() {
        let mut d = Depacketizer::new(vec![(96, L8)]);
        for time in [100_000, 100_160, 100_325, 50_000, 50_160, 900_000] {
            d.push(packet(96, time, &[128; 160]));
        }
        // 5 frames late is a sloppy clock.
        assert_eq!(lengths(&mut d), [160, 160, 160, 0, 160, 160, 0, 160]);
        d.push(Event::NewSource { ssrc: 9 });
        d.push(packet(96, 7, &[128; 80]));
        assert_eq!(lengths(&mut d), [0, 80]);
        assert_eq!(d.filled().discontinuities, 3);
    }

    #[test]
    fn opus_loss_is_a_hole_of_its_length() {
        let mut d = Depacketizer::new(vec![(97, Format::Opus { channels: 2 })]);
        // TOC 0xf8: one CELT frame of 20 ms.
        d.push(packet(97, 0, &[0xf8, 1, 2]));
        d.push(Event::Lost { packets: 2 });
        d.push(packet(97, 960 * 3, &[0xf8, 3, 4]));
        let media: Vec<Media> = std::iter::from_fn(|| d.poll()).collect();
        assert_eq!(media[0], Media::Format(Format::Opus { channels: 2 }));
        assert_eq!(media[2], Media::Opus(demux::Event::Hole(Frames(1920))));
        let Media::Opus(demux::Event::Packet(last)) = &media[3] else {
            panic!("{media:?}");
        };
        assert_eq!((last.start, last.duration), (Frames(2880), 960));
    }

    #[test]
    fn a_codec_that_is_not_taken_is_not_asked_for() {
        for (payload_type, remedy) in [(9, "not taken"), (14, "not taken"), (96, "sdp file")] {
            let mut d = Depacketizer::new(Vec::new());
            d.push(packet(payload_type, 0, &[0; 20]));
            let said = d.poll();
            assert!(
                matches!(&said, Some(Media::Fault(why)) if why.contains(remedy)),
                "{said:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_used_is_counted_and_said() {
        let mut d = Depacketizer::new(vec![(97, Format::Opus { channels: 2 })]);
        d.push(packet(101, 0, &[1, 2, 3, 4]));
        d.push(packet(0, 0, &[]));
        d.push(packet(97, 0, &[]));
        let media: Vec<Media> = std::iter::from_fn(|| d.poll()).collect();
        assert_eq!(media.len(), 3, "{media:?}");
        assert!(matches!(&media[0], Media::Fault(why) if why.contains("101")));
        assert_eq!(d.filled().unusable, 3);
    }

    proptest! {
        /// Whoever reaches the port may send anything.
        #[test]
        fn whatever_comes_makes_a_bounded_amount_of_audio(
            packets in vec((0_usize..4, 0_u16..8, any::<u32>(), vec(any::<u8>(), 0..64)), 0..64)
        ) {
            let wide = Format::Pcm { sample: SampleFormat::S16be, rate: 384_000, channels: 8 };
            let mut receiver = Receiver::new(Config::default());
            let mut d = Depacketizer::new(vec![(96, wide), (97, Format::Opus { channels: 2 })]);
            let mut sequence = 0_u16;
            for (kind, step, rtp_time, payload) in packets {
                sequence = sequence.wrapping_add(step);
                let packet = rtp::Packet {
                    payload_type: [0, 96, 97, 101][kind],
                    marker: false,
                    sequence,
                    // Near the one before it about as often as far away.
                    rtp_time: if rtp_time % 2 == 0 { rtp_time >> 12 } else { rtp_time },
                    ssrc: 7,
                    payload: &payload,
                };
                receiver.push(Duration::ZERO, &packet);
                while let Some(event) = receiver.poll(Duration::MAX) {
                    d.push(event);
                }
                for media in std::iter::from_fn(|| d.poll()) {
                    if let Media::Pcm(samples) = media {
                        prop_assert!(samples.len() <= MAX_FILL);
                    }
                }
            }
        }
    }
}
