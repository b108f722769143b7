//! Opus: identification and comment headers (RFC 7845 §5), packet durations
//! (RFC 6716 §3).

mod tags;

pub use tags::{Tags, TagsError};

/// Rate in Hz at which Opus positions are counted (RFC 7845 §4).
pub const SAMPLE_RATE: u32 = 48_000;
/// Longest packet, in frames: 120 ms (RFC 6716 §3.2.5).
pub const MAX_PACKET_FRAMES: u32 = 5_760;

/// The identification header `OpusHead` (RFC 7845 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Version; the high nibble is 0 in everything this build reads.
    pub version: u8,
    /// Output channels, 1–255.
    pub channels: u8,
    /// Frames at 48 kHz to drop from the decoder's output at the start.
    pub pre_skip: u16,
    /// Rate of the encoder's input; a note for people, not for decoding.
    pub input_sample_rate: u32,
    /// Gain to apply to the output, Q7.8 dB.
    pub output_gain: i16,
    /// Channel mapping family (RFC 7845 §5.1.1).
    pub mapping_family: u8,
    /// Opus streams in each packet.
    pub streams: u8,
    /// How many of them are stereo.
    pub coupled: u8,
    /// Decoder channel of each output channel; 255 is silence.
    pub mapping: Vec<u8>,
}

/// An `OpusHead` that cannot be decoded. The sender's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Does not start with `OpusHead`.
    Magic,
    /// Ends before its last field.
    Short {
        /// Bytes there are.
        len: usize,
        /// Bytes it should have.
        need: usize,
    },
    /// An incompatible version (high nibble not 0).
    Version(u8),
    /// No or too many channels for the family.
    Channels {
        /// Channels named.
        channels: u8,
        /// Mapping family named.
        family: u8,
    },
    /// A mapping family whose table this build cannot read.
    Family(u8),
    /// Impossible stream counts.
    Streams {
        /// Streams named.
        streams: u8,
        /// Coupled streams named.
        coupled: u8,
    },
    /// A channel mapped to a decoder channel that does not exist.
    Mapping {
        /// Output channel.
        channel: usize,
        /// What it was mapped to.
        index: u8,
    },
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Magic => write!(f, "packet does not start with OpusHead"),
            Self::Short { len, need } => {
                write!(f, "opus header of {len} bytes, it needs {need}")
            }
            Self::Version(v) => write!(f, "opus header version {v}, this build reads 0 to 15"),
            Self::Channels { channels, family } => {
                write!(f, "{channels} channels in mapping family {family}")
            }
            Self::Family(n) => write!(
                f,
                "opus mapping family {n} is not supported; encode with family 0, 1, 2 or 255"
            ),
            Self::Streams { streams, coupled } => {
                write!(f, "{streams} opus streams of which {coupled} are coupled")
            }
            Self::Mapping { channel, index } => {
                write!(
                    f,
                    "channel {channel} maps to stream channel {index}, which is not there"
                )
            }
        }
    }
}

impl std::error::Error for HeadError {}

impl Head {
    /// A header for mono or stereo (mapping family 0).
    pub fn simple(channels: u8, pre_skip: u16, input_sample_rate: u32) -> Self {
        let channels = channels.clamp(1, 2);
        Self {
            version: 1,
            channels,
            pre_skip,
            input_sample_rate,
            output_gain: 0,
            mapping_family: 0,
            streams: 1,
            coupled: channels - 1,
            mapping: (0..channels).collect(),
        }
    }

    /// Whether a packet claims to be an `OpusHead`.
    pub fn is_head(packet: &[u8]) -> bool {
        packet.starts_with(b"OpusHead")
    }

    /// Reads the packet. Bytes after the last field are ignored, as minor
    /// versions may add some.
    ///
    /// # Errors
    /// When a decoder could not be made from it.
    pub fn parse(packet: &[u8]) -> Result<Self, HeadError> {
        let len = packet.len();
        if !Self::is_head(packet) {
            return Err(HeadError::Magic);
        }
        let Some(&fixed) = packet.first_chunk::<19>() else {
            return Err(HeadError::Short { len, need: 19 });
        };
        let version = fixed[8];
        if version & 0xf0 != 0 {
            return Err(HeadError::Version(version));
        }
        let channels = fixed[9];
        let family = fixed[18];
        let most = match family {
            0 => 2,
            1 => 8,
            // A family-3 header carries a demixing matrix instead of a table (RFC 8486 §3.2).
            3 => return Err(HeadError::Family(family)),
            2 => 227,
            // Reserved families are to be read as 255 (RFC 7845 §5.1.1.4).
            _ => 255,
        };
        if channels == 0 || channels > most {
            return Err(HeadError::Channels { channels, family });
        }
        let (streams, coupled, mapping) = if family == 0 {
            (1, channels - 1, (0..channels).collect())
        } else {
            let need = 21 + usize::from(channels);
            let Some(table) = packet.get(19..need) else {
                return Err(HeadError::Short { len, need });
            };
            let (streams, coupled) = (table[0], table[1]);
            if streams == 0 || coupled > streams || u16::from(streams) + u16::from(coupled) > 255 {
                return Err(HeadError::Streams { streams, coupled });
            }
            let mapping = table[2..].to_vec();
            for (channel, &index) in mapping.iter().enumerate() {
                if index != 255 && index >= streams + coupled {
                    return Err(HeadError::Mapping { channel, index });
                }
            }
            (streams, coupled, mapping)
        };
        Ok(Self {
            version,
            channels,
            pre_skip: u16::from_le_bytes([fixed[10], fixed[11]]),
            input_sample_rate: u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]),
            output_gain: i16::from_le_bytes([fixed[16], fixed[17]]),
            mapping_family: family,
            streams,
            coupled,
            mapping,
        })
    }

    /// The packet's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(21 + self.mapping.len());
        out.extend_from_slice(b"OpusHead");
        out.push(self.version);
        out.push(self.channels);
        out.extend_from_slice(&self.pre_skip.to_le_bytes());
        out.extend_from_slice(&self.input_sample_rate.to_le_bytes());
        out.extend_from_slice(&self.output_gain.to_le_bytes());
        out.push(self.mapping_family);
        if self.mapping_family != 0 {
            out.push(self.streams);
            out.push(self.coupled);
            out.extend_from_slice(&self.mapping);
        }
        out
    }
}

/// A packet whose table of contents makes no sense (RFC 6716 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// No bytes, so no table of contents (R1).
    Empty,
    /// Code 3 without a frame count byte (R6, R7).
    NoCount,
    /// Code 3 with zero frames (R5).
    NoFrames,
    /// More than 120 ms of audio (R5).
    TooLong {
        /// Frames (48 kHz) it would hold.
        frames: u32,
    },
}

impl std::fmt::Display for PacketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "opus packet without bytes"),
            Self::NoCount => write!(f, "opus packet ends before its frame count"),
            Self::NoFrames => write!(f, "opus packet with a frame count of 0"),
            Self::TooLong { frames } => write!(
                f,
                "opus packet of {} ms, the longest allowed is 120 ms",
                frames / 48
            ),
        }
    }
}

impl std::error::Error for PacketError {}

/// Frames at 48 kHz that a packet decodes to, from its table of contents
/// (RFC 6716 §3.1, §3.2). Frame *contents* are the decoder's to judge.
///
/// # Errors
/// When the packet is empty or names an impossible number of frames.
pub fn packet_duration(packet: &[u8]) -> Result<u32, PacketError> {
    let &toc = packet.first().ok_or(PacketError::Empty)?;
    let config = u32::from(toc >> 3);
    let frame = match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1920, 2880][(config & 3) as usize],
        // Hybrid: 10, 20 ms.
        12..=15 => 480 << (config & 1),
        // CELT: 2.5, 5, 10, 20 ms.
        _ => 120 << (config & 3),
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1).ok_or(PacketError::NoCount)? & 0x3f),
    };
    let frames = frame * count;
    match frames {
        0 => Err(PacketError::NoFrames),
        1..=MAX_PACKET_FRAMES => Ok(frames),
        _ => Err(PacketError::TooLong { frames }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From `opusenc` 0.2 on a 48 kHz stereo file.
    const OPUSENC: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
    /// From `ffmpeg -ac 6 -c:a libopus`: 5.1 with 4 streams, 2 of them coupled.
    const SURROUND: &[u8] =
        b"OpusHead\x01\x06\x38\x01\x80\xbb\x00\x00\x00\x00\x01\x04\x02\x00\x04\x01\x02\x03\x05";

    #[test]
    fn reads_real_heads() {
        let head = Head::parse(OPUSENC).expect("opusenc");
        assert_eq!(head, Head::simple(2, 312, 48_000));
        assert_eq!(head.to_bytes(), OPUSENC);
        let head = Head::parse(SURROUND).expect("ffmpeg");
        assert_eq!((head.streams, head.coupled), (4, 2));
        assert_eq!(head.mapping, [0, 4, 1, 2, 3, 5]);
        assert_eq!(head.to_bytes(), SURROUND);
    }

    #[test]
    fn accepts_minor_versions_with_more_bytes() {
        let mut packet = OPUSENC.to_vec();
        packet[8] = 15;
        packet.extend_from_slice(b"more");
        assert_eq!(Head::parse(&packet).map(|h| h.version), Ok(15));
        packet[8] = 16;
        assert_eq!(Head::parse(&packet), Err(HeadError::Version(16)));
    }

    #[test]
    fn rejects_the_impossible() {
        assert_eq!(Head::parse(b"OpusTags"), Err(HeadError::Magic));
        assert_eq!(
            Head::parse(&OPUSENC[..18]),
            Err(HeadError::Short { len: 18, need: 19 })
        );
        let with = |at: usize, value: u8| {
            let mut packet = SURROUND.to_vec();
            packet[at] = value;
            Head::parse(&packet)
        };
        assert_eq!(
            with(9, 0),
            Err(HeadError::Channels {
                channels: 0,
                family: 1
            })
        );
        assert_eq!(with(9, 8), Err(HeadError::Short { len: 27, need: 29 }));
        assert_eq!(with(18, 3), Err(HeadError::Family(3)));
        assert_eq!(
            with(18, 0),
            Err(HeadError::Channels {
                channels: 6,
                family: 0
            })
        );
        assert_eq!(
            with(20, 5),
            Err(HeadError::Streams {
                streams: 4,
                coupled: 5
            })
        );
        assert_eq!(
            with(21, 6),
            Err(HeadError::Mapping {
                channel: 0,
                index: 6
            })
        );
        assert!(with(21, 255).is_ok());
        assert!(with(18, 255).is_ok());
    }

    #[test]
    fn durations_of_every_configuration() {
        // RFC 6716 table 2, in frames at 48 kHz.
        let table = [
            480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 480, 960,
            120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960,
        ];
        for (config, frames) in (0_u8..).zip(table) {
            assert_eq!(packet_duration(&[config << 3]), Ok(frames));
            assert_eq!(packet_duration(&[config << 3 | 1]), Ok(2 * frames));
            assert_eq!(packet_duration(&[config << 3 | 2, 0]), Ok(2 * frames));
            // A frame count of 3 with the VBR and padding bits set.
            let three = packet_duration(&[config << 3 | 3, 0xc3]);
            if frames <= 1920 {
                assert_eq!(three, Ok(3 * frames));
            } else {
                assert_eq!(three, Err(PacketError::TooLong { frames: 8640 }));
            }
        }
        assert_eq!(packet_duration(&[16 << 3 | 3, 48]), Ok(5760));
        assert_eq!(
            packet_duration(&[16 << 3 | 3, 49]),
            Err(PacketError::TooLong { frames: 5880 })
        );
    }

    #[test]
    fn malformed_packets_have_no_duration() {
        assert_eq!(packet_duration(&[]), Err(PacketError::Empty));
        assert_eq!(packet_duration(&[3]), Err(PacketError::NoCount));
        assert_eq!(packet_duration(&[3, 0x40]), Err(PacketError::NoFrames));
    }

    proptest! {
        #[test]
        fn never_panics(mut bytes: Vec<u8>) {
            let _ = packet_duration(&bytes);
            let _ = Head::parse(&bytes);
            bytes.splice(..0, *b"OpusHead");
            if let Ok(head) = Head::parse(&bytes) {
                prop_assert_eq!(Head::parse(&head.to_bytes()), Ok(head));
            }
        }
    }
}
