//! Where a decoder begins in the middle of a stream (ISO/IEC 11172-3 §2.4.3.4.1).
//!
//! A Layer III frame may take up to 511 bytes of its main data from frames
//! before it: the bit reservoir. Frames whose bytes lie before the join cannot
//! be decoded by anyone. They are turned into frames that decode nothing, yet
//! whose main data stays where it is, so that time goes on, the reservoir fills,
//! and the first frame that has all of its bytes is heard.

use super::{Header, Info, Layer, Version};

/// A decoder's beginning at a run of frames; see [`open`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Takes the place of as many bytes at the run's front. Empty when the
    /// first frame can be decoded as it is.
    pub head: Vec<u8>,
    /// Reservoir bytes at hand when not even the last frame could be decoded:
    /// `have` for the run after this one. `None` once one can.
    pub have: Option<u16>,
}

/// Finds out how a decoder begins at `frames`, a run of whole ones, when it has
/// the last `have` bytes of main data before them: 0 at a join.
///
/// Free format and anything that is no frame is left as it is.
pub fn open(frames: &[u8], have: u16) -> Opening {
    let mut opening = Opening {
        head: Vec::new(),
        have: Some(have),
    };
    let mut at = 0;
    while let Some(rest) = frames.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(frame) = Frame::parse(rest) else {
            opening.have = None;
            break;
        };
        let have = opening.have.unwrap_or(0);
        // Decoders drop information frames whole.
        if Info::parse(&frame.header, frame.bytes).is_none() {
            if frame.main_data_begin() <= have {
                opening.have = None;
                break;
            }
            opening
                .head
                .extend_from_slice(&frames[opening.head.len()..at]);
            frame.silence(have, &mut opening.head);
            let main = u16::try_from(frame.bytes.len() - frame.main_at()).unwrap_or(u16::MAX);
            opening.have = Some(have.saturating_add(main).min(frame.most()));
        }
        at += frame.bytes.len();
    }
    opening
}

/// Whether this Layer III frame holds nothing to decode: digital silence, or a frame
/// that [`open`] deprived of its side information.
#[inline(never)]
pub fn decodes_nothing(frame: &[u8]) -> bool {
    // By hand: a player has no other use for the parser.
    let [0xff, second, _, fourth, ..] = *frame else {
        return false;
    };
    let (mpeg1, mono) = (second & 8 != 0, fourth >> 6 == 3);
    let length = match (mpeg1, mono) {
        (true, false) => 32,
        (false, true) => 9,
        _ => 17,
    };
    let at = if second & 1 == 0 { 6 } else { 4 };
    // After `main_data_begin`, nine bits or eight.
    let mask = if mpeg1 { 0x7f } else { 0xff };
    second & 0xe6 == 0xe2
        && frame
            .get(at + 1..at + length)
            .is_some_and(|side| side[0] & mask == 0 && side[1..].iter().all(|byte| *byte == 0))
}

struct Frame<'a> {
    header: Header,
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The Layer III frame at the front, if all of it is there.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::parse(bytes).filter(|header| header.layer == Layer::III)?;
        let bytes = bytes.get(..header.frame_len()?)?;
        let frame = Self { header, bytes };
        (frame.main_at() < bytes.len()).then_some(frame)
    }

    fn side_at(&self) -> usize {
        Header::LEN + if self.header.protected { 2 } else { 0 }
    }

    fn main_at(&self) -> usize {
        self.side_at() + self.header.side_info_len()
    }

    /// Largest `main_data_begin`: nine bits in MPEG-1, eight in the others
    /// (ISO/IEC 13818-3 §2.4.1.7).
    fn most(&self) -> u16 {
        match self.header.version {
            Version::Mpeg1 => 511,
            _ => 255,
        }
    }

    fn main_data_begin(&self) -> u16 {
        let side = self.bytes.get(self.side_at()..).unwrap_or_default();
        match (self.header.version, side) {
            (Version::Mpeg1, [a, b, ..]) => u16::from(*a) << 1 | u16::from(*b) >> 7,
            (_, [a, ..]) => u16::from(*a),
            _ => 0,
        }
    }

    /// Appends the frame up to its main data, without anything to decode. Its
    /// `main_data_begin` spans what is at hand, so that decoders keep it.
    fn silence(&self, have: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes[..self.side_at()]);
        out.resize(start + self.main_at(), 0);
        let begin = have.min(self.most());
        let side = start + self.side_at();
        if self.header.version == Version::Mpeg1 {
            out[side] = (begin >> 1) as u8;
            out[side + 1] = (begin << 7) as u8;
        } else {
            out[side] = begin as u8;
        }
        if self.header.protected {
            // The last two bytes of the header and the side information.
            let crc = crc16(crc16(0xffff, &out[start + 2..start + 4]), &out[side..]);
            out[start + 4..start + 6].copy_from_slice(&crc.to_be_bytes());
        }
    }
}

/// The CRC of ISO/IEC 11172-3 §2.4.3.1: x¹⁶ + x¹⁵ + x² + 1.
fn crc16(start: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(start, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 != 0 { 0x8005 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// MPEG-1, 128 kbit/s at 48 kHz, stereo: 384 bytes, 348 of them main data.
    fn frame(begin: u16, protected: bool) -> Vec<u8> {
        let mut out = vec![0xff, if protected { 0xfa } else { 0xfb }, 0x94, 0x00];
        if protected {
            out.extend_from_slice(&[1, 2]);
        }
        out.extend_from_slice(&[(begin >> 1) as u8, (begin << 7) as u8 | 0x55]);
        out.resize(384, 0xee);
        out
    }

    #[test]
    fn a_frame_that_needs_nothing_stays() {
        let run = [frame(0, false), frame(300, false)].concat();
        assert_eq!(open(&run, 0), Opening::default());
        assert_eq!(open(&frame(200, false), 200), Opening::default());
        assert_eq!(open(b"no frame", 0), Opening::default());
        let layer_two = [0xff, 0xfd, 0x94, 0x00];
        assert_eq!(open(&layer_two, 0), Opening::default());
    }

    #[test]
    fn frames_without_their_bytes_decode_nothing_and_keep_their_main_data() {
        let run = [frame(400, false), frame(500, false), frame(500, false)].concat();
        let opening = open(&run, 0);
        // 348 bytes of the first are not enough for the second; 511 are at hand
        // at the third.
        assert_eq!(opening.have, None);
        assert_eq!(opening.head.len(), 384 + 36);
        let (first, second) = opening.head.split_at(384);
        assert_eq!(first[..4], run[..4]);
        assert_eq!(first[4..36], [0; 32]);
        assert_eq!(first[36..], run[36..384]);
        assert_eq!(second[4..6], [(348_u16 >> 1) as u8, 0]);
        assert_eq!(second[6..], [0; 30]);
        let blank = [&opening.head[384..], &run[384 + 36..768]].concat();
        assert!(decodes_nothing(&blank));
        assert!(!decodes_nothing(&run[384..768]));
        assert!(!decodes_nothing(b"no frame"));
    }

    #[test]
    fn short_runs_pass_the_reservoir_on() {
        let first = open(&frame(511, false), 0);
        assert_eq!(first.have, Some(348));
        assert_eq!(first.head.len(), 36);
        let second = open(&frame(511, false), 348);
        assert_eq!(second.have, Some(511));
        assert_eq!(open(&frame(511, false), 511), Opening::default());
    }

    #[test]
    fn the_checksum_is_right() {
        // `lame -p -b 32 -m m` begins every silent frame so.
        let real = [0xff, 0xfa, 0x14, 0xc4, 0xf7, 0x26];
        let mut run = real.to_vec();
        run.push(7);
        run.resize(96, 0);
        let opening = open(&run, 0);
        assert_eq!(opening.head.len(), 4 + 2 + 17);
        // Residue: a CRC over the CRC as well is zero.
        let covered = [&opening.head[2..4], &opening.head[6..], &opening.head[4..6]].concat();
        assert_eq!(crc16(0xffff, &covered), 0);
    }

    proptest! {
        #[test]
        fn changes_side_information_only(
            begins in prop::collection::vec((0..512_u16, any::<bool>()), 1..8),
            have in 0..512_u16,
        ) {
            let run: Vec<u8> = begins.iter().flat_map(|(b, p)| frame(*b, *p)).collect();
            let opening = open(&run, have);
            let mut whole = opening.head.clone();
            whole.extend_from_slice(&run[whole.len()..]);
            prop_assert_eq!(whole.len(), run.len());
            let mut have = have;
            for (old, new) in run.chunks(384).zip(whole.chunks(384)) {
                let new = Frame::parse(new).expect("a frame");
                prop_assert!(new.main_data_begin() <= have);
                prop_assert_eq!(&new.bytes[new.main_at()..], &old[new.main_at()..]);
                if new.bytes == old {
                    return Ok(());
                }
                have = (have + 384 - new.main_at() as u16).min(511);
            }
            prop_assert_eq!(opening.have, Some(have));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, have: u16) {
            let opening = open(&bytes, have);
            prop_assert!(opening.head.len() <= bytes.len());
            decodes_nothing(&bytes);
        }
    }
}
