//! What payload types mean: the static ones (RFC 3551) and those an SDP
//! (RFC 8866) names.

use crate::pcm::SampleFormat;

/// An RTP payload format that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// PCM: G.711 or big-endian linear.
    Pcm {
        /// How a sample is stored.
        sample: SampleFormat,
        /// Frames per second; also the RTP clock.
        rate: u32,
        /// Interleaved channels.
        channels: u8,
    },
    /// Opus (RFC 7587); its RTP clock is always 48 kHz.
    Opus {
        /// Channels the decoder should deliver, 1 or 2.
        channels: u8,
    },
}

impl Format {
    /// Meaning of a static payload type (RFC 3551 §6).
    pub const fn from_static(payload_type: u8) -> Option<Self> {
        let (sample, rate, channels) = match payload_type {
            0 => (SampleFormat::Mulaw, 8_000, 1),
            8 => (SampleFormat::Alaw, 8_000, 1),
            10 => (SampleFormat::S16be, 44_100, 2),
            11 => (SampleFormat::S16be, 44_100, 1),
            _ => return None,
        };
        Some(Self::Pcm {
            sample,
            rate,
            channels,
        })
    }

    /// From an encoding as written in SDP's `rtpmap` or in configuration:
    /// `PCMU/8000`, `L16/44100/2`, `opus/48000/2`.
    pub fn from_encoding(encoding: &str) -> Option<Self> {
        let mut fields = encoding.trim().split('/');
        let name = fields.next()?;
        let rate: u32 = fields.next()?.parse().ok()?;
        let channels: u8 = match fields.next() {
            Some(text) => text.parse().ok()?,
            None => 1,
        };
        if !(1..=8).contains(&channels) || !(4_000..=384_000).contains(&rate) {
            return None;
        }
        let sample = match name.to_ascii_uppercase().as_str() {
            "PCMU" => SampleFormat::Mulaw,
            "PCMA" => SampleFormat::Alaw,
            "L16" => SampleFormat::S16be,
            "L8" => SampleFormat::U8,
            // RFC 7587 §7: always 48000/2 in SDP, whatever is sent.
            "OPUS" if rate == 48_000 => {
                return Some(Self::Opus {
                    channels: channels.min(2),
                });
            }
            _ => return None,
        };
        Some(Self::Pcm {
            sample,
            rate,
            channels,
        })
    }

    /// Ticks of the RTP clock per second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcm { rate, .. } => rate,
            Self::Opus { .. } => 48_000,
        }
    }
}

/// The audio part of a session description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// UDP port of the media.
    pub port: u16,
    /// Address of the `c=` line, if any.
    pub address: Option<String>,
    /// Payload types and what they mean, in order of preference.
    pub formats: Vec<(u8, Format)>,
}

/// A description that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// No `m=audio` line.
    NoAudio,
    /// None of the payload types is understood; holds what was offered.
    NoFormat(String),
}

impl std::fmt::Display for SdpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAudio => f.write_str("the SDP has no m=audio line"),
            Self::NoFormat(offered) => write!(
                f,
                "the SDP offers {offered}; supported are PCMU, PCMA, L8, L16 and opus"
            ),
        }
    }
}

impl std::error::Error for SdpError {}

impl Session {
    /// Reads the first `m=audio` section of an SDP.
    ///
    /// # Errors
    /// When there is none, or none of its payload types is understood.
    pub fn from_sdp(sdp: &str) -> Result<Self, SdpError> {
        let mut session = Self::default();
        let mut types: Vec<u8> = Vec::new();
        let mut maps: Vec<(u8, &str)> = Vec::new();
        let mut in_audio = false;
        for line in sdp.lines().map(str::trim) {
            if let Some(media) = line.strip_prefix("m=") {
                if in_audio {
                    break;
                }
                let mut fields = media.split_ascii_whitespace();
                in_audio = fields.next() == Some("audio");
                if in_audio {
                    let port = fields
                        .next()
                        .and_then(|p| p.split('/').next())
                        .and_then(|p| p.parse().ok());
                    session.port = port.unwrap_or(0);
                    types = fields.skip(1).filter_map(|t| t.parse().ok()).collect();
                }
            } else if let Some(connection) = line.strip_prefix("c=") {
                let address = connection.split_ascii_whitespace().nth(2);
                session.address = address.map(|a| a.split('/').next().unwrap_or(a).to_owned());
            } else if let Some(map) = line.strip_prefix("a=rtpmap:").filter(|_| in_audio)
                && let Some((kind, encoding)) = map.split_once(' ')
                && let Ok(kind) = kind.parse()
            {
                maps.push((kind, encoding));
            }
        }
        if types.is_empty() {
            return Err(SdpError::NoAudio);
        }
        for &kind in &types {
            let mapped = maps
                .iter()
                .find(|(k, _)| *k == kind)
                .map(|(_, encoding)| *encoding);
            let format = mapped.map_or_else(|| Format::from_static(kind), Format::from_encoding);
            session.formats.extend(format.map(|format| (kind, format)));
        }
        if session.formats.is_empty() {
            let offered: Vec<&str> = maps.iter().map(|(_, encoding)| *encoding).collect();
            return Err(SdpError::NoFormat(
                format!("payload types {types:?} {}", offered.join(", "))
                    .trim_end()
                    .to_owned(),
            ));
        }
        Ok(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ffmpeg prints it for `-f rtp`.
    const FFMPEG: &str = "SDP:\r\nv=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=tool:libavformat 59.27.100\r\nm=audio 5004 RTP/AVP 97\r\nb=AS:96\r\na=rtpmap:97 opus/48000/2\r\na=fmtp:97 sprop-stereo=1\r\n";

    #[test]
    fn sdp_of_a_real_program() {
        let session = Session::from_sdp(FFMPEG).expect("sdp");
        assert_eq!(
            (session.port, session.address.as_deref()),
            (5004, Some("127.0.0.1"))
        );
        assert_eq!(session.formats, [(97, Format::Opus { channels: 2 })]);
    }

    #[test]
    fn static_and_dynamic_types_mix() {
        let sdp = "m=video 1 RTP/AVP 96\na=rtpmap:96 VP8/90000\nm=audio 49170/2 RTP/AVP 0 98 101\na=rtpmap:98 L16/16000/2\na=rtpmap:101 telephone-event/8000\n";
        let session = Session::from_sdp(sdp).expect("sdp");
        let mulaw = Format::Pcm {
            sample: SampleFormat::Mulaw,
            rate: 8000,
            channels: 1,
        };
        let linear = Format::Pcm {
            sample: SampleFormat::S16be,
            rate: 16_000,
            channels: 2,
        };
        assert_eq!(session.formats, [(0, mulaw), (98, linear)]);
    }

    #[test]
    fn refusals_say_what_was_offered() {
        assert_eq!(
            Session::from_sdp("m=video 1 RTP/AVP 96"),
            Err(SdpError::NoAudio)
        );
        let error =
            Session::from_sdp("m=audio 1 RTP/AVP 96\na=rtpmap:96 G729/8000").expect_err("G.729");
        assert!(error.to_string().contains("G729/8000"), "{error}");
    }
}
