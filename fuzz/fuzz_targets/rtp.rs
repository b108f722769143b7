//! RTP: whatever comes in whatever order, packets come out in order, once, and
//! what does not is counted; audio keeps time; and memory is bounded.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use relay_server::ingest::media_type::Declared;
use relay_server::ingest::pcm::Settings;
use relay_server::ingest::session::{Config as SessionConfig, Output, Session};
use seamcast_fuzz::{Meter, Since};
use seamcast_media::chunk::Output as Chunked;
use seamcast_media::demux::{self, Codec, Container, LinkConfig};
use seamcast_media::opus;
use seamcast_media::pcm::SampleFormat;
use seamcast_media::rtp::{
    self, Config, Depacketizer, Event, Format, Media, Packet, Receiver, bye_sources, is_rtcp,
};
use seamcast_media::units::{Frames, MediaDuration, MediaTime};

#[global_allocator]
static METER: Meter = Meter;

/// Few, so that the bound is met.
const MAX_PACKETS: usize = 16;
const HOLD_BACK: Duration = Duration::from_millis(60);
/// Two million samples are made for a gap at most, and copied once.
const MOST: usize = 40 << 20;

const LINEAR: Format = Format::Pcm {
    sample: SampleFormat::S16be,
    rate: 44_100,
    channels: 2,
};
const WIDE: Format = Format::Pcm {
    sample: SampleFormat::S16be,
    rate: 384_000,
    channels: 8,
};
const OPUS: Format = Format::Opus { channels: 2 };

/// A datagram, with the number that its payload carries.
struct Step {
    wait: Duration,
    sequence: u16,
    rtp_time: u32,
    ssrc: u32,
    payload_type: u8,
    len: usize,
}

/// Six bytes make a datagram near the one before it, or far from it.
fn steps(input: &[u8]) -> Vec<Step> {
    let (mut sequence, mut rtp_time) = (0xfff0_u16, 0xffff_f000_u32);
    let steps = input.chunks_exact(6).map(|step| {
        let &[wait, number, time, far, kind, len] = step else {
            unreachable!("chunks of six");
        };
        let near = i16::from(number as i8) >> 3;
        sequence = match far & 7 {
            0 => sequence.wrapping_add(u16::from(number) << 8),
            1 => sequence.wrapping_add_signed(near),
            _ => sequence.wrapping_add(1),
        };
        rtp_time = match far >> 3 & 7 {
            0 => rtp_time.wrapping_add(u32::from(time) << 24),
            1 => rtp_time.wrapping_add_signed(i32::from(time as i8) << 4),
            2 => rtp_time.wrapping_add(u32::from(time) << 10),
            _ => rtp_time.wrapping_add(960),
        };
        Step {
            wait: Duration::from_millis(u64::from(wait & 63)),
            sequence,
            rtp_time,
            ssrc: u32::from(kind >> 6 == 3),
            payload_type: [0, 10, 96, 97, 97, 97, 101, 98][usize::from(kind & 7)],
            len: usize::from(len),
        }
    });
    steps.collect()
}

/// Sound Opus (one frame of 20 ms) or samples, behind them the datagram's number.
fn payload(index: usize, step: &Step) -> Vec<u8> {
    let mut payload = vec![0xf8];
    payload.extend((index as u32).to_be_bytes());
    payload.resize(5 + step.len, 0);
    payload
}

fn number(payload: &[u8]) -> usize {
    u32::from_be_bytes(payload[1..5].try_into().expect("made so")) as usize
}

fn formats() -> Vec<(u8, Format)> {
    vec![(96, LINEAR), (97, OPUS), (98, WIDE)]
}

/// Gives everything to a session, as the relay does, and follows its time.
struct Listener {
    session: Session,
    at: MediaTime,
}

impl Listener {
    fn new() -> Self {
        let mut session = Session::new(SessionConfig {
            declared: Declared::Packets,
            encode: Settings {
                codec: Codec::Opus,
                bitrate: 0,
                complexity: 0,
                chunk_ms: 100,
            },
            chunk: MediaDuration::from_millis(100),
        })
        .expect("settings");
        let headers = vec![
            opus::Head::simple(2, 0, opus::SAMPLE_RATE).to_bytes(),
            opus::Tags::default().to_bytes(),
        ];
        session.push_events(
            0,
            [demux::Event::Config(LinkConfig {
                codec: Codec::Opus,
                container: Container::Ogg,
                sample_rate: opus::SAMPLE_RATE,
                channels: 2,
                pre_skip: 0,
                output_gain: 0,
                headers,
            })],
        );
        Self {
            session,
            at: MediaTime::ZERO,
        }
    }

    fn take(&mut self, event: demux::Event) {
        self.session.push_events(0, [event]);
        while let Some(output) = self.session.poll() {
            match output {
                Output::Begin => self.session.begin(MediaTime::ZERO, 1),
                Output::Media(Chunked::Chunk(chunk)) => {
                    assert!(chunk.media_time >= self.at, "time went back");
                    assert!(chunk.discontinuity || chunk.media_time == self.at);
                    self.at = chunk.media_time + chunk.duration;
                }
                Output::Media(_) => {}
            }
        }
    }
}

/// Counts what comes out beside what the depacketizer says.
struct Audio {
    depacketizer: Depacketizer,
    listener: Listener,
    format: Option<Format>,
    pcm: u64,
    opus: u64,
}

impl Audio {
    fn take(&mut self, event: Event) {
        let (before, at) = (self.depacketizer.filled(), self.pcm);
        let frames = match &event {
            Event::Packet { payload, .. } => payload.len(),
            _ => 0,
        };
        self.depacketizer.push(event);
        let mut unusable = false;
        while let Some(media) = self.depacketizer.poll() {
            match media {
                Media::Format(format) => {
                    assert_ne!(self.format, Some(format));
                    self.format = Some(format);
                    self.opus = 0;
                }
                Media::Pcm(samples) => {
                    let Some(Format::Pcm { channels, .. }) = self.format else {
                        panic!("samples of {:?}", self.format);
                    };
                    assert!(samples.iter().all(|sample| (-1.0..=1.0).contains(sample)));
                    assert_eq!(samples.len() % usize::from(channels), 0);
                    self.pcm += samples.len() as u64 / u64::from(channels);
                }
                Media::Opus(event) => {
                    assert_eq!(self.format, Some(OPUS));
                    match &event {
                        demux::Event::Packet(packet) => {
                            assert_eq!(packet.start, Frames(self.opus), "a hole untold");
                            self.opus += u64::from(packet.duration);
                        }
                        demux::Event::Hole(frames) => self.opus += frames.0,
                        _ => {}
                    }
                    self.listener.take(event);
                }
                Media::Discontinuity => self.listener.take(demux::Event::Hole(Frames(0))),
                Media::Fault(_) => unusable = true,
            }
        }
        let after = self.depacketizer.filled();
        assert_eq!(unusable, after.unusable > before.unusable);
        let made = after.concealed + after.silent - before.concealed - before.silent;
        match self.format {
            _ if frames == 0 || unusable => assert_eq!(self.pcm, at),
            Some(Format::Pcm {
                sample, channels, ..
            }) => {
                let own = (frames / (sample.bytes() * usize::from(channels))) as u64;
                assert_eq!(self.pcm - at, own + made, "audio is lost or invented");
            }
            _ => assert_eq!(made, 0),
        }
    }
}

fn talk(input: &[u8]) {
    let since = Since::now();
    let steps = steps(input);
    let mut receiver = Receiver::new(Config {
        hold_back: HOLD_BACK,
        max_packets: MAX_PACKETS,
    });
    let mut audio = Audio {
        depacketizer: Depacketizer::new(formats()),
        listener: Listener::new(),
        format: None,
        pcm: 0,
        opus: 0,
    };
    let mut now = Duration::ZERO;
    let mut out = vec![false; steps.len()];
    let (mut delivered, mut lost) = (0_u64, 0_u64);
    // Extended sequence number of the source's packet before.
    let mut last: Option<usize> = None;
    let mut take = |event: Event| {
        match &event {
            Event::Packet { payload, .. } => {
                let index = number(payload);
                assert!(
                    !std::mem::replace(&mut out[index], true),
                    "{index} came twice"
                );
                if let Some(last) = last {
                    let by = steps[index].sequence.wrapping_sub(steps[last].sequence) as i16;
                    assert!(by > 0, "out of order");
                }
                last = Some(index);
                delivered += 1;
            }
            Event::Lost { packets } => lost += packets,
            Event::NewSource { .. } => last = None,
        }
        audio.take(event);
        (delivered, lost)
    };
    for (index, step) in steps.iter().enumerate() {
        now += step.wait;
        let payload = payload(index, step);
        let packet = Packet {
            payload_type: step.payload_type,
            marker: false,
            sequence: step.sequence,
            rtp_time: step.rtp_time,
            ssrc: step.ssrc,
            payload: &payload,
        };
        let datagram = packet.to_bytes();
        assert_eq!(Packet::parse(&datagram), Ok(packet));
        assert!(!is_rtcp(&datagram));
        receiver.push(now, &packet);
        let mut so_far = (0, 0);
        while let Some(event) = receiver.poll(now) {
            so_far = take(event);
        }
        let stats = receiver.stats();
        if so_far.0 > 0 {
            assert!(
                stats.received - so_far.0 <= MAX_PACKETS as u64,
                "too many held"
            );
        }
        assert_eq!(
            stats.received + stats.duplicates + stats.late,
            index as u64 + 1
        );
        if let Some(at) = receiver.poll_timeout() {
            assert!(at > now && at <= now + HOLD_BACK, "held too long");
        }
    }
    receiver.flush();
    let mut total = (0, 0);
    while let Some(event) = receiver.poll(now) {
        total = take(event);
    }
    let stats = receiver.stats();
    if total.0 > 0 {
        assert_eq!(total, (stats.received, stats.lost), "not counted");
    }
    assert!(
        since.peak() < MOST,
        "{} bytes for {} packets",
        since.peak(),
        steps.len()
    );
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else {
        return;
    };
    if kind & 1 == 0 {
        return talk(input);
    }
    if let Ok(packet) = Packet::parse(input) {
        let bytes = packet.to_bytes();
        assert_eq!(Packet::parse(&bytes), Ok(packet));
        let mut receiver = Receiver::new(Config::default());
        let mut depacketizer = Depacketizer::new(formats());
        receiver.push(Duration::ZERO, &packet);
        while let Some(event) = receiver.poll(Duration::ZERO) {
            depacketizer.push(event);
        }
        while depacketizer.poll().is_some() {}
    }
    assert!(bye_sources(input).len() * 4 <= input.len());
    if let Ok(session) = rtp::Session::from_sdp(&String::from_utf8_lossy(input)) {
        assert!(!session.formats.is_empty());
        for (_, format) in session.formats {
            assert!((4_000..=384_000).contains(&format.clock_rate()));
        }
    }
});
