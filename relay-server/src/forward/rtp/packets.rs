//! A mount's chunks as RTP packets: Opus (RFC 7587) and MPEG audio (RFC 2250).

use seamcast_media::demux::{Demuxer, Event};
use seamcast_media::mp3::{Header, Info};
use seamcast_media::opus;
use seamcast_media::rtp::Packet;
use seamcast_media::units::{Frames, MediaDuration, MediaTime, TICKS_PER_SECOND};

use crate::mount::log::Chunk;

/// Clock of MPEG audio in RTP, Hz (RFC 2250 §3.4).
const MPEG_RATE: u32 = 90_000;
/// Its static payload type (RFC 3551 §6).
const MPEG_TYPE: u8 = 14;
/// Most bytes of a frame in a packet: longer ones are cut (RFC 2250 §3.5).
const MPEG_MOST: usize = 1400;

/// Sequence numbers and times of one SSRC.
#[derive(Debug)]
struct Packetizer {
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    /// RTP time of the link's position 0.
    base: u32,
    end: u32,
    marker: bool,
}

impl Packetizer {
    fn new(payload_type: u8, ssrc: u32, sequence: u16, base: u32) -> Self {
        Self {
            payload_type,
            ssrc,
            sequence,
            base,
            end: base,
            marker: true,
        }
    }

    /// A new link begins at `start` and follows what was sent.
    fn link(&mut self, start: u64) {
        self.base = self.end.wrapping_sub(start as u32);
    }

    /// The packet at `start`; what is at `end` comes after it.
    fn packet(&mut self, start: u64, end: u64, payload: &[u8]) -> Timed {
        let time = self.base.wrapping_add(start as u32);
        self.end = self.base.wrapping_add(end as u32);
        let packet = Packet {
            payload_type: self.payload_type,
            // RFC 7587 §4.1, RFC 2250 §3.4: set on the first packet of a talkspurt.
            marker: std::mem::take(&mut self.marker),
            sequence: self.sequence,
            rtp_time: time,
            ssrc: self.ssrc,
            payload,
        };
        self.sequence = self.sequence.wrapping_add(1);
        Timed {
            time,
            bytes: packet.to_bytes(),
        }
    }
}

/// A packet and its RTP time.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) time: u32,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
enum Coding {
    Opus(Box<Demuxer>),
    /// Where the next frame begins, and where the chunk before ended.
    Mpeg(MediaTime, MediaTime),
}

/// Turns the chunks of one codec into packets.
#[derive(Debug)]
pub(super) struct Packets {
    packetizer: Packetizer,
    coding: Coding,
    generation: Option<u32>,
}

impl Packets {
    /// For chunks of this codec; Opus gets this payload type, which is dynamic.
    pub(super) fn new(codec: &str, opus_type: u8) -> Self {
        let (payload_type, coding) = match codec {
            "opus" => (opus_type, Coding::Opus(Box::default())),
            _ => (MPEG_TYPE, Coding::Mpeg(MediaTime::ZERO, MediaTime::ZERO)),
        };
        let (ssrc, sequence, base) = (rand::random(), rand::random(), rand::random());
        Self {
            packetizer: Packetizer::new(payload_type, ssrc, sequence, base),
            coding,
            generation: None,
        }
    }

    /// Whether it is for this codec.
    pub(super) fn is_for(&self, codec: &str) -> bool {
        matches!(self.coding, Coding::Opus(_)) == (codec == "opus")
    }

    /// Ticks of its RTP clock in a second.
    pub(super) const fn rate(&self) -> u32 {
        match self.coding {
            Coding::Opus(_) => opus::SAMPLE_RATE,
            Coding::Mpeg(..) => MPEG_RATE,
        }
    }

    /// What comes next does not follow what was sent.
    pub(super) fn restart(&mut self) {
        self.generation = None;
        self.packetizer.marker = true;
    }

    /// The chunk's packets.
    ///
    /// # Errors
    /// When the rest of it cannot be sent.
    pub(super) fn cut(&mut self, chunk: &Chunk, out: &mut Vec<Timed>) -> Result<(), &'static str> {
        let number = chunk.generation.number;
        let linked = self.generation.replace(number) != Some(number);
        match &mut self.coding {
            Coding::Opus(demuxer) => {
                if linked {
                    **demuxer = Demuxer::new();
                    demuxer.push(&chunk.generation.config.headers);
                }
                demuxer.push(chunk.wire.payload());
                let packets =
                    std::iter::from_fn(|| demuxer.poll()).filter_map(|event| match event {
                        Event::Packet(packet) => Some(packet),
                        _ => None,
                    });
                for (n, packet) in packets.enumerate() {
                    let start = packet.start.0;
                    if linked && n == 0 {
                        self.packetizer.link(start);
                    }
                    let end = start + u64::from(packet.duration);
                    out.push(self.packetizer.packet(start, end, &packet.payload));
                }
                Ok(())
            }
            Coding::Mpeg(at, reached) => {
                let start = chunk.media_time();
                if linked {
                    *at = start;
                    self.packetizer.link(mpeg_time(start));
                } else {
                    // Trims make chunks shorter than their frames; what is lost is a gap.
                    *at = *at + start.since(*reached);
                }
                *reached = chunk.end();
                mpeg(&mut self.packetizer, at, chunk.wire.payload(), out)
            }
        }
    }
}

/// Sends whole frames, the first at `at`.
fn mpeg(
    packetizer: &mut Packetizer,
    at: &mut MediaTime,
    mut frames: &[u8],
    out: &mut Vec<Timed>,
) -> Result<(), &'static str> {
    while let Some(header) = Header::parse(frames)
        && let Some((frame, rest)) = header
            .frame_len()
            .and_then(|len| frames.split_at_checked(len))
    {
        frames = rest;
        // It tells of a file, and decodes to nothing.
        if Info::parse(&header, frame).is_some() {
            continue;
        }
        let start = mpeg_time(*at);
        let frames = Frames(u64::from(header.duration()));
        *at = *at + MediaDuration::from_frames(frames, header.sample_rate);
        for (n, part) in frame.chunks(MPEG_MOST).enumerate() {
            // RFC 2250 §3.5: 16 bits of 0, then where the part lies in its frame.
            let offset = (n * MPEG_MOST) as u16;
            let payload = [&[0, 0][..], &offset.to_be_bytes(), part].concat();
            out.push(packetizer.packet(start, mpeg_time(*at), &payload));
        }
    }
    if frames.is_empty() {
        Ok(())
    } else {
        Err("rtp is not made from MP3 of free format; the mount carries it")
    }
}

const fn mpeg_time(at: MediaTime) -> u64 {
    at.ticks() / (TICKS_PER_SECOND / MPEG_RATE as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(packet: &Timed) -> Packet<'_> {
        let parsed = Packet::parse(&packet.bytes).expect("own packet");
        assert_eq!(parsed.rtp_time, packet.time);
        parsed
    }

    #[test]
    fn times_and_numbers_go_on_over_links() {
        let mut p = Packetizer::new(97, 7, 65_535, 1000);
        p.link(312);
        let sent = [312, 1272, 3192].map(|start| p.packet(start, start + 960, b"x"));
        p.link(0);
        let next = p.packet(0, 960, b"y");
        let parsed: Vec<(u16, u32, bool)> = sent
            .iter()
            .chain([&next])
            .map(parse)
            .map(|p| (p.sequence, p.rtp_time, p.marker))
            .collect();
        assert_eq!(
            parsed,
            [
                (65_535, 1000, true),
                (0, 1960, false),
                (1, 3880, false),
                (2, 4840, false)
            ]
        );
    }

    #[test]
    fn frames_of_mpeg_keep_their_time_and_are_cut_when_long() {
        // 44.1 kHz, 128 kb/s; 32 kHz, 320 kb/s: 417 and 1440 bytes.
        let frame = |head: [u8; 4], len: usize| {
            let mut frame = vec![1; len];
            frame[..4].copy_from_slice(&head);
            frame
        };
        let short = frame([0xff, 0xfb, 0x90, 0], 417);
        let mut p = Packetizer::new(MPEG_TYPE, 7, 0, 0);
        let (mut at, mut out) = (MediaTime::ZERO, Vec::new());
        for _ in 0..1225 {
            mpeg(&mut p, &mut at, &short, &mut out).expect("whole frames");
        }
        // 1,225 frames of 1,152 at 44.1 kHz are 32 s to the very tick.
        assert_eq!(p.end, 32 * MPEG_RATE);
        let first = parse(&out[0]);
        assert_eq!(first.payload[..4], [0; 4]);
        assert_eq!(first.payload[4..], short);
        assert_eq!(parse(&out[1]).rtp_time, 2351);

        let long = frame([0xff, 0xfb, 0xe8, 0], 1440);
        out.clear();
        mpeg(&mut p, &mut at, &long, &mut out).expect("a whole frame");
        let parts: Vec<_> = out.iter().map(parse).collect();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].rtp_time, parts[1].rtp_time);
        assert_eq!(parts[1].payload[..4], [0, 0, 5, 120]);
        assert_eq!(
            [&parts[0].payload[4..], &parts[1].payload[4..]].concat(),
            long
        );

        let free = frame([0xff, 0xfb, 0x00, 0], 417);
        assert!(mpeg(&mut p, &mut at, &free, &mut out).is_err());
    }
}
