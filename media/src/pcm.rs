//! Raw PCM sample formats and their conversion to float.

/// How one sample of raw PCM is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleFormat {
    /// 32-bit IEEE float, little-endian, ±1.0 full scale.
    F32le,
    /// Signed 16-bit, little-endian.
    S16le,
    /// Signed 16-bit, big-endian (also `audio/L16`, RFC 2586).
    S16be,
    /// Signed 24-bit packed, little-endian.
    S24le,
    /// Signed 32-bit, little-endian.
    S32le,
    /// Unsigned 8-bit.
    U8,
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

/// Every format with the name used in media types and configuration.
const NAMES: [(&str, SampleFormat); 8] = [
    ("f32le", SampleFormat::F32le),
    ("s16le", SampleFormat::S16le),
    ("s16be", SampleFormat::S16be),
    ("s24le", SampleFormat::S24le),
    ("s32le", SampleFormat::S32le),
    ("u8", SampleFormat::U8),
    ("mulaw", SampleFormat::Mulaw),
    ("alaw", SampleFormat::Alaw),
];

/// Samples that had to be changed to be playable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clamped {
    /// NaN, replaced by 0.
    pub nan: u64,
    /// Infinite or beyond ±1.0, replaced by the nearest limit.
    pub over: u64,
}

impl SampleFormat {
    /// The format of that name (`f32le`, `s16le`, …), as in media types.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, format)| *format)
    }

    /// The name used in media types and configuration.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, format)| *format == self)
            .map_or("", |(name, _)| name)
    }

    /// Bytes per sample.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32le | Self::S32le => 4,
            Self::S24le => 3,
            Self::S16le | Self::S16be => 2,
            Self::U8 | Self::Mulaw | Self::Alaw => 1,
        }
    }

    /// Appends the whole samples of `bytes` to `out` as floats in ±1.0,
    /// counting what had to be clamped. A remainder shorter than a sample is
    /// ignored: the caller keeps it for the next call.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f32>, clamped: &mut Clamped) {
        out.reserve(bytes.len() / self.bytes());
        match self {
            Self::F32le => out.extend(
                bytes
                    .chunks_exact(4)
                    .map(|b| clamp(f32::from_le_bytes([b[0], b[1], b[2], b[3]]), clamped)),
            ),
            Self::S16le => out.extend(
                bytes
                    .chunks_exact(2)
                    .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0),
            ),
            Self::S16be => out.extend(
                bytes
                    .chunks_exact(2)
                    .map(|b| f32::from(i16::from_be_bytes([b[0], b[1]])) / 32_768.0),
            ),
            Self::S24le => out.extend(
                bytes
                    .chunks_exact(3)
                    .map(|b| (i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8) as f32 / 8_388_608.0),
            ),
            Self::S32le => out.extend(
                bytes
                    .chunks_exact(4)
                    .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32 / 2_147_483_648.0),
            ),
            Self::U8 => out.extend(bytes.iter().map(|&b| (f32::from(b) - 128.0) / 128.0)),
            Self::Mulaw => out.extend(bytes.iter().map(|&b| f32::from(mulaw(b)) / 32_768.0)),
            Self::Alaw => out.extend(bytes.iter().map(|&b| f32::from(alaw(b)) / 32_768.0)),
        }
    }
}

fn clamp(sample: f32, clamped: &mut Clamped) -> f32 {
    if sample.is_nan() {
        clamped.nan += 1;
        0.0
    } else if sample.abs() > 1.0 {
        clamped.over += 1;
        sample.clamp(-1.0, 1.0)
    } else {
        sample
    }
}

/// ITU-T G.711 µ-law expansion to 16-bit linear.
fn mulaw(code: u8) -> i16 {
    let code = !code;
    let exponent = (code >> 4) & 7;
    let mantissa = i16::from(code & 0x0f);
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if code & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// ITU-T G.711 A-law expansion to 16-bit linear.
fn alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let exponent = (code >> 4) & 7;
    let mantissa = i16::from(code & 0x0f) << 4;
    let magnitude = match exponent {
        0 => mantissa + 8,
        e => (mantissa + 0x108) << (e - 1),
    };
    if code & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(format: SampleFormat, bytes: &[u8]) -> (Vec<f32>, Clamped) {
        let (mut out, mut clamped) = (Vec::new(), Clamped::default());
        format.decode(bytes, &mut out, &mut clamped);
        (out, clamped)
    }

    #[test]
    fn names_round_trip() {
        for (name, format) in NAMES {
            assert_eq!(SampleFormat::from_name(name), Some(format));
            assert_eq!(format.name(), name);
        }
        assert_eq!(SampleFormat::from_name("S16LE"), Some(SampleFormat::S16le));
        assert_eq!(SampleFormat::from_name("s12le"), None);
    }

    #[test]
    fn integers_keep_their_scale() {
        assert_eq!(
            decode(SampleFormat::S16le, &[0, 0x80, 0xff, 0x7f]).0,
            [-1.0, 32767.0 / 32768.0]
        );
        assert_eq!(decode(SampleFormat::S16be, &[0x40, 0]).0, [0.5]);
        assert_eq!(
            decode(SampleFormat::S24le, &[0, 0, 0xc0, 0, 0, 0x40]).0,
            [-0.5, 0.5]
        );
        assert_eq!(decode(SampleFormat::S32le, &[0, 0, 0, 0x80]).0, [-1.0]);
        assert_eq!(decode(SampleFormat::U8, &[128, 0, 192]).0, [0.0, -1.0, 0.5]);
    }

    #[test]
    fn g711_matches_the_recommendation() {
        // ITU-T G.711 tables 1a and 2a: extremes and the smallest steps, scaled to 16 bits.
        assert_eq!(
            [mulaw(0x00), mulaw(0x80), mulaw(0xff), mulaw(0x7f)],
            [-32124, 32124, 0, 0]
        );
        assert_eq!(
            [alaw(0x2a), alaw(0xaa), alaw(0xd5), alaw(0x55)],
            [-32256, 32256, 8, -8]
        );
    }

    #[test]
    fn unplayable_floats_are_clamped_and_counted() {
        let mut bytes = Vec::new();
        for value in [f32::NAN, f32::INFINITY, -1.5, 0.25] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let (out, clamped) = decode(SampleFormat::F32le, &bytes);
        assert_eq!(out, [0.0, 1.0, -1.0, 0.25]);
        assert_eq!(clamped, Clamped { nan: 1, over: 2 });
    }
}
