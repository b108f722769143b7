//! The binary media message: a 40-byte header, then whole packets or frames.

/// Version byte of this layout.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const HEADER_LEN: usize = 40;
/// Kind byte of a media chunk; other kinds are ignored by receivers.
pub const KIND_MEDIA: u8 = 1;

/// Facts about a chunk that a receiver acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// Decoding may start here, given the generation's headers.
    pub const SYNC: Self = Self(1);
    /// The chunk does not continue the one before it; media time tells by how much.
    pub const DISCONTINUITY: Self = Self(2);
    /// The generation's last chunk.
    pub const LAST: Self = Self(4);

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Everything in front of the payload. All integers are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Facts about the chunk.
    pub flags: Flags,
    /// Which `config` message the payload belongs to.
    pub generation: u32,
    /// Position in the mount's log; consecutive unless a `gap` message says otherwise.
    pub seq: u64,
    /// Programme position of the first frame, in ticks of 1/705 600 000 s.
    pub media_time: u64,
    /// Playable length in ticks.
    pub duration: u64,
    /// Wall clock at which the relay had the whole chunk, µs since the Unix epoch.
    pub ingest_time: u64,
}

/// A message that is not a media chunk of this version. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Fewer bytes than a header.
    Short {
        /// Bytes received.
        len: usize,
    },
    /// A version this build does not read.
    Version(u8),
    /// A kind that is not a media chunk; skip the message.
    Kind(u8),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short { len } => write!(
                f,
                "binary message of {len} bytes, a header has {HEADER_LEN}"
            ),
            Self::Version(v) => write!(f, "layout version {v}, this build reads {VERSION}"),
            Self::Kind(k) => write!(f, "message kind {k} is not a media chunk"),
        }
    }
}

impl std::error::Error for Error {}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0] = VERSION;
        out[1] = KIND_MEDIA;
        out[2] = self.flags.0;
        out[4..8].copy_from_slice(&self.generation.to_be_bytes());
        out[8..16].copy_from_slice(&self.seq.to_be_bytes());
        out[16..24].copy_from_slice(&self.media_time.to_be_bytes());
        out[24..32].copy_from_slice(&self.duration.to_be_bytes());
        out[32..40].copy_from_slice(&self.ingest_time.to_be_bytes());
        out
    }

    /// Splits a binary message into header and payload.
    ///
    /// # Errors
    /// When the message is short, of another version, or of another kind.
    pub fn decode(message: &[u8]) -> Result<(Self, &[u8]), Error> {
        let Some((head, payload)) = message.split_first_chunk::<HEADER_LEN>() else {
            return Err(Error::Short { len: message.len() });
        };
        if head[0] != VERSION {
            return Err(Error::Version(head[0]));
        }
        if head[1] != KIND_MEDIA {
            return Err(Error::Kind(head[1]));
        }
        let be64 = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        let header = Self {
            flags: Flags(head[2]),
            generation: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            seq: be64(8),
            media_time: be64(16),
            duration: be64(24),
            ingest_time: be64(32),
        };
        Ok((header, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_fixed() {
        let header = Header {
            flags: Flags::SYNC.union(Flags::LAST),
            generation: 0x0102_0304,
            seq: 7,
            media_time: 8,
            duration: 9,
            ingest_time: 10,
        };
        let bytes = header.encode();
        assert_eq!(bytes[..8], [1, 1, 5, 0, 1, 2, 3, 4]);
        assert_eq!([bytes[15], bytes[23], bytes[31], bytes[39]], [7, 8, 9, 10]);
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(Header::decode(&[1; 39]), Err(Error::Short { len: 39 }));
        assert_eq!(Header::decode(&[2; 40]), Err(Error::Version(2)));
        let mut other = [0; 40];
        other[0] = 1;
        other[1] = 9;
        assert_eq!(Header::decode(&other), Err(Error::Kind(9)));
    }

    proptest! {
        #[test]
        fn round_trips(flags: u8, generation: u32, seq: u64, media_time: u64, duration: u64, ingest_time: u64, payload: Vec<u8>) {
            let header = Header { flags: Flags(flags), generation, seq, media_time, duration, ingest_time };
            let mut message = header.encode().to_vec();
            message.extend_from_slice(&payload);
            prop_assert_eq!(Header::decode(&message), Ok((header, &payload[..])));
        }

        #[test]
        fn never_panics(message: Vec<u8>) {
            let _ = Header::decode(&message);
        }
    }
}
