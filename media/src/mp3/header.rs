//! The four bytes in front of every frame (ISO/IEC 11172-3 §2.4.2.3).

/// Which standard a frame follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MPEG-1: 32, 44.1, 48 kHz.
    Mpeg1,
    /// MPEG-2 (low sampling frequencies): 16, 22.05, 24 kHz.
    Mpeg2,
    /// MPEG-2.5 (unofficial extension): 8, 11.025, 12 kHz.
    Mpeg25,
}

/// Which layer a frame follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Layer I.
    I,
    /// Layer II.
    II,
    /// Layer III: MP3.
    III,
}

/// How channels are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Two channels.
    Stereo,
    /// Two channels with shared information.
    Joint,
    /// Two independent channels.
    Dual,
    /// One channel.
    Mono,
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Standard.
    pub version: Version,
    /// Layer.
    pub layer: Layer,
    /// Whether a CRC follows the header.
    pub protected: bool,
    /// Bits per second; `None` for free format.
    pub bitrate: Option<u32>,
    /// Hz.
    pub sample_rate: u32,
    /// Whether the frame is one slot longer.
    pub padding: bool,
    /// Channel mode.
    pub mode: Mode,
}

/// kbit/s by bitrate index 1–14: MPEG-1 layers I, II, III; MPEG-2 layer I; II and III.
const BITRATES: [[u16; 14]; 5] = [
    [
        32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
    ],
    [
        32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
    ],
    [
        32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [
        32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
    ],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 4;

    /// Reads the header at the front of `bytes`; `None` when there is none or
    /// it uses reserved values.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[b0, b1, b2, b3] = bytes.first_chunk::<4>()?;
        if b0 != 0xff || b1 & 0xe0 != 0xe0 {
            return None;
        }
        let version = match b1 >> 3 & 3 {
            0 => Version::Mpeg25,
            2 => Version::Mpeg2,
            3 => Version::Mpeg1,
            _ => return None,
        };
        let layer = match b1 >> 1 & 3 {
            1 => Layer::III,
            2 => Layer::II,
            3 => Layer::I,
            _ => return None,
        };
        let table = match (version, layer) {
            (Version::Mpeg1, Layer::I) => 0,
            (Version::Mpeg1, Layer::II) => 1,
            (Version::Mpeg1, Layer::III) => 2,
            (_, Layer::I) => 3,
            _ => 4,
        };
        let bitrate = match usize::from(b2 >> 4) {
            0 => None,
            index => Some(1000 * u32::from(*BITRATES.get(table)?.get(index - 1)?)),
        };
        let base = *[44_100, 48_000, 32_000].get(usize::from(b2 >> 2 & 3))?;
        let sample_rate = match version {
            Version::Mpeg1 => base,
            Version::Mpeg2 => base / 2,
            Version::Mpeg25 => base / 4,
        };
        let mode = match b3 >> 6 {
            0 => Mode::Stereo,
            1 => Mode::Joint,
            2 => Mode::Dual,
            _ => Mode::Mono,
        };
        Some(Self {
            version,
            layer,
            protected: b1 & 1 == 0,
            bitrate,
            sample_rate,
            padding: b2 & 2 != 0,
            mode,
        })
    }

    /// 1 or 2.
    pub const fn channels(&self) -> u8 {
        match self.mode {
            Mode::Mono => 1,
            _ => 2,
        }
    }

    /// Frames (samples per channel) that it decodes to.
    pub const fn duration(&self) -> u32 {
        match (self.layer, self.version) {
            (Layer::I, _) => 384,
            (Layer::II, _) | (Layer::III, Version::Mpeg1) => 1152,
            (Layer::III, _) => 576,
        }
    }

    /// Bytes that the padding bit adds.
    pub const fn padding_len(&self) -> usize {
        match (self.padding, self.layer) {
            (false, _) => 0,
            (true, Layer::I) => 4,
            (true, _) => 1,
        }
    }

    /// Length in bytes with the header; `None` for free format, whose length
    /// only the next header tells.
    pub fn frame_len(&self) -> Option<usize> {
        let bitrate = u64::from(self.bitrate?);
        let rate = u64::from(self.sample_rate);
        let bytes = match self.layer {
            Layer::I => 12 * bitrate / rate * 4,
            Layer::II | Layer::III => u64::from(self.duration() / 8) * bitrate / rate,
        };
        Some(bytes as usize + self.padding_len())
    }

    /// Bytes of side information after header and CRC (Layer III).
    pub const fn side_info_len(&self) -> usize {
        match (self.version, self.mode) {
            (Version::Mpeg1, Mode::Mono) => 17,
            (Version::Mpeg1, _) => 32,
            (_, Mode::Mono) => 9,
            _ => 17,
        }
    }

    /// Whether a stream may go on from one to the other without a break:
    /// everything is the same that encoders do not vary from frame to frame.
    pub fn continues(&self, other: &Self) -> bool {
        self.version == other.version
            && self.layer == other.layer
            && self.sample_rate == other.sample_rate
            && self.bitrate.is_none() == other.bitrate.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_headers_of_real_files() {
        // lame -b 128 at 44.1 kHz, joint stereo.
        let lame = Header::parse(&[0xff, 0xfb, 0x90, 0x64]).expect("lame");
        assert_eq!(lame.bitrate, Some(128_000));
        assert_eq!((lame.sample_rate, lame.mode), (44_100, Mode::Joint));
        assert_eq!(lame.frame_len(), Some(417));
        let padded = Header::parse(&[0xff, 0xfb, 0x92, 0x64]).expect("padded");
        assert_eq!(padded.frame_len(), Some(418));
        assert!(lame.continues(&padded));
        // lame -b 64 -m m at 22.05 kHz: MPEG-2.
        let low = Header::parse(&[0xff, 0xf3, 0x80, 0xc4]).expect("mpeg 2");
        assert_eq!((low.duration(), low.frame_len()), (576, Some(208)));
        assert_eq!((low.channels(), low.side_info_len()), (1, 9));
        assert!(!low.continues(&lame));
        // Layer I at 32 kHz, 384 kbit/s: slots of four bytes.
        let one = Header::parse(&[0xff, 0xff, 0xc8, 0x00]).expect("layer I");
        assert_eq!((one.duration(), one.frame_len()), (384, Some(576)));
    }

    #[test]
    fn rejects_reserved_values() {
        for bytes in [
            [0xff, 0xeb, 0x90, 0x64], // version 01
            [0xff, 0xf9, 0x90, 0x64], // layer 00 (ADTS)
            [0xff, 0xfb, 0xf0, 0x64], // bitrate 15
            [0xff, 0xfb, 0x9c, 0x64], // rate 3
            [0xff, 0xdb, 0x90, 0x64], // no sync
        ] {
            assert_eq!(Header::parse(&bytes), None, "{bytes:x?}");
        }
        let free = Header::parse(&[0xff, 0xfb, 0x00, 0x64]).expect("free format");
        assert_eq!(free.frame_len(), None);
    }

    proptest! {
        #[test]
        fn every_length_is_sane(bytes: [u8; 4]) {
            if let Some(len) = Header::parse(&bytes).and_then(|h| h.frame_len()) {
                prop_assert!((24..=2881).contains(&len), "{}", len);
            }
        }
    }
}
