//! The first frame of many files holds no audio but facts about the file:
//! Xing/Info with LAME's extension, or VBRI.

use super::{Header, Layer};

/// Frames by which every decoder delays its output: what `mpg123` drops in
/// addition to the encoder's own delay.
pub const DECODER_DELAY: u32 = 529;

/// What an information frame says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Frames (of the MPEG kind) that follow; 0 when not said.
    pub frames: u32,
    /// Encoder delay and padding in samples, when the encoder said.
    pub gapless: Option<(u16, u16)>,
}

impl Info {
    /// Reads `frame` (a whole one) if it is an information frame.
    ///
    /// As in `mpg123`, it must be one beyond doubt: the side information is all
    /// zeros, so it would decode to silence.
    pub fn parse(header: &Header, frame: &[u8]) -> Option<Self> {
        if header.layer != Layer::III {
            return None;
        }
        if frame.get(36..40) == Some(b"VBRI") {
            return Some(Self::vbri(frame));
        }
        let at = Header::LEN + header.side_info_len();
        // LAME puts a protected frame's CRC into the first two of them.
        let zeros = Header::LEN + if header.protected { 2 } else { 0 };
        if frame.get(zeros..at)?.iter().any(|&b| b != 0) {
            return None;
        }
        let mut rest = frame
            .get(at..)?
            .strip_prefix(b"Xing")
            .or_else(|| frame.get(at..)?.strip_prefix(b"Info"))?;
        let mut info = Self::default();
        let Some(flags) = take_u32(&mut rest) else {
            return Some(info);
        };
        if flags & 1 != 0 {
            info.frames = take_u32(&mut rest).unwrap_or(0);
        }
        // Stream length, seek table, quality.
        for (bit, len) in [(2, 4), (4, 100), (8, 4)] {
            if flags & bit != 0 {
                rest = rest.get(len..).unwrap_or_default();
            }
        }
        // LAME's extension: 9 bytes of encoder name, 12 of other things, then
        // twice 12 bits.
        if rest.first().is_some_and(|&b| b != 0)
            && let Some(&[a, b, c]) = rest.get(21..24).and_then(|d| d.first_chunk::<3>())
        {
            info.gapless = Some((
                u16::from(a) << 4 | u16::from(b) >> 4,
                u16::from(b & 15) << 8 | u16::from(c),
            ));
        }
        Some(info)
    }

    /// Fraunhofer's variant; its delay field counts something else, so no trims.
    fn vbri(frame: &[u8]) -> Self {
        let mut rest = frame.get(50..).unwrap_or_default();
        Self {
            frames: take_u32(&mut rest).unwrap_or(0),
            gapless: None,
        }
    }

    /// Frames to drop at the start, and the position at which the audio ends,
    /// counted like it from the first frame after this one.
    pub fn trims(&self, header: &Header) -> Option<(u32, u64)> {
        let (delay, padding) = self.gapless?;
        if self.frames == 0 {
            return None;
        }
        let total = u64::from(self.frames) * u64::from(header.duration());
        let end = (total + u64::from(DECODER_DELAY)).saturating_sub(u64::from(padding));
        Some((u32::from(delay) + DECODER_DELAY, end))
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header and information of `lame -b 64 -m m`: 40 frames, delay 576,
    /// padding 1404.
    fn lame() -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, 0x50, 0xc4];
        frame.resize(21, 0);
        frame.extend_from_slice(b"Info\0\0\0\x0f\0\0\0\x28\0\0\x21\x89");
        frame.resize(frame.len() + 100, 1);
        frame.extend_from_slice(b"\0\0\0\x39LAME3.100\x01\x97");
        frame.extend_from_slice(&[0; 8]);
        frame.extend_from_slice(&[4, 64, 0x24, 0x05, 0x7c]);
        frame.resize(208, 0);
        frame
    }

    #[test]
    fn reads_lame() {
        let frame = lame();
        let header = Header::parse(&frame).expect("header");
        let info = Info::parse(&header, &frame).expect("info");
        assert_eq!(info.frames, 40);
        assert_eq!(info.gapless, Some((576, 1404)));
        assert_eq!(
            info.trims(&header),
            Some((576 + 529, 40 * 1152 - 1404 + 529))
        );
    }

    #[test]
    fn reads_lame_behind_a_crc() {
        // lame -p -b 64 -m m.
        let mut frame = lame();
        frame[1] = 0xfa;
        frame[4..6].copy_from_slice(&[0x60, 0x0e]);
        let header = Header::parse(&frame).expect("header");
        let info = Info::parse(&header, &frame).expect("info");
        assert_eq!((info.frames, info.gapless), (40, Some((576, 1404))));
        frame[6] = 1;
        assert_eq!(Info::parse(&header, &frame), None, "audio");
    }

    #[test]
    fn every_truncation_is_harmless() {
        let frame = lame();
        let header = Header::parse(&frame).expect("header");
        for len in 0..frame.len() {
            let info = Info::parse(&header, &frame[..len]);
            assert_eq!(info.is_some(), len >= 25, "{len}");
        }
        let mut audio = frame;
        audio[10] = 1;
        assert_eq!(Info::parse(&header, &audio), None);
    }
}
