//! RTP data packets and the one RTCP message a receiver must know.

/// One RTP data packet (RFC 3550 §5.1), its payload borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// Marker: for audio, the first packet after silence.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Sampling instant of the first frame, in the payload format's clock.
    pub rtp_time: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// The payload without header extension and padding.
    pub payload: &'a [u8],
}

/// A datagram that is not an RTP packet. The sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than its own header, extension or padding claims.
    Short {
        /// Bytes received.
        len: usize,
    },
    /// Another version than 2.
    Version(u8),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short { len } => write!(f, "RTP packet of {len} bytes is shorter than it says"),
            Self::Version(v) => write!(f, "RTP version {v}, expected 2"),
        }
    }
}

impl std::error::Error for Error {}

impl<'a> Packet<'a> {
    /// Parses one datagram.
    ///
    /// # Errors
    /// When it is no RTP version 2 packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Error> {
        let short = Error::Short {
            len: datagram.len(),
        };
        let (head, mut rest) = datagram.split_first_chunk::<12>().ok_or(short)?;
        let version = head[0] >> 6;
        if version != 2 {
            return Err(Error::Version(version));
        }
        let csrc = usize::from(head[0] & 0x0f) * 4;
        rest = rest.get(csrc..).ok_or(short)?;
        if head[0] & 0x10 != 0 {
            // Header extension, RFC 3550 §5.3.1: length in 32-bit words.
            let (extension, after) = rest.split_first_chunk::<4>().ok_or(short)?;
            let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            rest = after.get(words * 4..).ok_or(short)?;
        }
        if head[0] & 0x20 != 0 {
            let &count = rest.last().ok_or(short)?;
            let kept = rest.len().checked_sub(usize::from(count)).ok_or(short)?;
            if count == 0 {
                return Err(short);
            }
            rest = &rest[..kept];
        }
        Ok(Self {
            payload_type: head[1] & 0x7f,
            marker: head[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            rtp_time: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            payload: rest,
        })
    }

    /// The packet's bytes, without CSRCs, extension and padding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + self.payload.len());
        out.extend_from_slice(&[0x80, self.payload_type & 0x7f | u8::from(self.marker) << 7]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.rtp_time.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(self.payload);
        out
    }
}

/// Whether a datagram on a shared port is RTCP (RFC 5761 §4: packet types
/// 192–223 where RTP has marker and payload type).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, kind, ..] if first >> 6 == 2 && (192..=223).contains(kind))
}

/// The sources that a compound RTCP packet says goodbye for (RFC 3550 §6.6).
pub fn bye_sources(datagram: &[u8]) -> Vec<u32> {
    const BYE: u8 = 203;
    let mut sources = Vec::new();
    let mut rest = datagram;
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let len = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        let Some((message, after)) = rest.split_at_checked(len) else {
            break;
        };
        if head[1] == BYE && head[0] >> 6 == 2 {
            let count = usize::from(head[0] & 0x1f);
            let words = message[4..].chunks_exact(4).take(count);
            sources.extend(words.map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])));
        }
        rest = after;
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Packet<'static> = Packet {
        payload_type: 97,
        marker: true,
        sequence: 0xfffe,
        rtp_time: 0xdead_beef,
        ssrc: 0x0102_0304,
        payload: b"audio",
    };

    #[test]
    fn header_extras_are_not_audio() {
        let mut bytes = PLAIN.to_bytes();
        // One CSRC, a one-word extension, three bytes of padding.
        bytes[0] |= 0x10 | 0x20 | 1;
        bytes.splice(12..12, [9, 9, 9, 9, 0xbe, 0xde, 0, 1, 7, 7, 7, 7]);
        bytes.extend_from_slice(&[0, 0, 3]);
        assert_eq!(Packet::parse(&bytes), Ok(PLAIN));
    }

    #[test]
    fn lies_about_length_are_refused() {
        let mut bytes = PLAIN.to_bytes();
        bytes[0] |= 0x20;
        *bytes.last_mut().expect("payload") = 200;
        assert_eq!(Packet::parse(&bytes), Err(Error::Short { len: 17 }));
        *bytes.last_mut().expect("payload") = 0;
        assert_eq!(Packet::parse(&bytes), Err(Error::Short { len: 17 }));
        assert_eq!(Packet::parse(&[0x40; 12]), Err(Error::Version(1)));
        assert_eq!(Packet::parse(&[0x80; 11]), Err(Error::Short { len: 11 }));
    }

    #[test]
    fn goodbye_is_found_in_a_compound_packet() {
        // Receiver report without blocks, then BYE for two sources.
        let mut bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
        bytes.extend_from_slice(&[0x82, 203, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(is_rtcp(&bytes));
        assert!(!is_rtcp(&PLAIN.to_bytes()));
        assert_eq!(bye_sources(&bytes), [0x0102_0304, 0x0506_0708]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Packet::parse(&bytes);
            let _ = bye_sources(&bytes);
        }

        #[test]
        fn round_trips(payload_type in 0u8..128, marker: bool, sequence: u16, rtp_time: u32, ssrc: u32, payload: Vec<u8>) {
            let packet = Packet { payload_type, marker, sequence, rtp_time, ssrc, payload: &payload };
            let bytes = packet.to_bytes();
            prop_assert_eq!(Packet::parse(&bytes), Ok(packet));
        }
    }
}
