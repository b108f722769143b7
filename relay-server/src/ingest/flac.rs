//! FLAC bodies, decoded as they arrive. The frame decoder is `claxon`'s; what
//! is here cuts the stream so that it only ever sees bytes that are there.

use std::io::Cursor;

use claxon::frame::FrameReader;
use seamcast_media::pcm::SampleFormat;
use seamcast_media::wav::Format;

/// Metadata (pictures too) taken before the first frame.
const MAX_METADATA: usize = 16 << 20;
/// No frame of real material is longer; 8 channels of 65 535 32-bit samples
/// that do not compress are 2 MiB.
const MAX_FRAME: usize = 4 << 20;
/// Decoded bytes after which no further frame is added: one of silence is 2 MiB in 30 bytes.
const RUN: usize = 1 << 20;
/// First bytes of a stream.
pub(super) const MAGIC: &[u8] = b"fLaC";

/// Why a stream cannot be decoded. The source's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Error(pub(super) String);

#[derive(Clone, Copy, Debug)]
struct Info {
    format: Format,
    bits: u32,
}

/// What comes next in a stream.
#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    /// The magic and STREAMINFO.
    #[default]
    Start,
    /// Other metadata.
    Blocks,
    Frames,
}

/// Bytes of FLAC in, bytes of `f32le` out.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    info: Option<Info>,
    part: Part,
    /// How much must be there before a frame is tried again.
    enough: usize,
    blocks: Vec<i32>,
    /// Runs of bytes that were no frame.
    faults: u64,
    /// One of them is not over.
    skipping: bool,
}

impl Decoder {
    /// What came out last, as soon as it is known. Another stream may follow in
    /// the same body, and be another.
    pub(super) fn format(&self) -> Option<Format> {
        self.info.map(|info| info.format)
    }

    /// Runs of bytes that were skipped so far.
    pub(super) fn faults(&self) -> u64 {
        self.faults
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Nothing comes for now, or at all: what is there may be whole all the same.
    pub(super) fn look_again(&mut self) {
        self.enough = 0;
    }

    /// Puts the next decoded samples into `out`, instead of what is there. False
    /// when there are no more for now.
    pub(super) fn decode(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        out.clear();
        while self.part != Part::Frames {
            if !self.metadata()? {
                return Ok(false);
            }
        }
        Ok(self.buffer.len() >= self.enough && self.frames(out)?)
    }

    /// Reads one metadata block (RFC 9639 §8). False when more bytes are needed.
    fn metadata(&mut self) -> Result<bool, Error> {
        let is_start = self.part == Part::Start;
        let start = if is_start { MAGIC.len() } else { 0 };
        let Some(head) = self.buffer.get(start..start + 4) else {
            return Ok(false);
        };
        let (last, kind) = (head[0] & 0x80 != 0, head[0] & 0x7f);
        let len = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        if len > MAX_METADATA {
            return Err(Error(format!("FLAC metadata block of {len} bytes")));
        }
        let Some(body) = self.buffer.get(start + 4..start + 4 + len) else {
            return Ok(false);
        };
        if is_start {
            let found = match kind {
                0 => stream_info(body),
                _ => Err(Error(format!(
                    "FLAC stream begins with metadata of type {kind}, not with STREAMINFO"
                ))),
            };
            match found {
                Ok(info) => {
                    self.info = Some(info);
                    self.skipping = false;
                }
                Err(error) if self.info.is_none() => return Err(error),
                Err(_) => {
                    // It only looked like another stream.
                    self.faults += 1;
                    self.buffer.drain(..start);
                    self.part = Part::Frames;
                    return Ok(true);
                }
            }
        }
        self.part = if last { Part::Frames } else { Part::Blocks };
        self.buffer.drain(..start + 4 + len);
        Ok(true)
    }

    /// True when it has stopped for want of room, or before another stream.
    fn frames(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        let Some(info) = self.info else {
            return Ok(false);
        };
        let mut at = 0;
        while at < self.buffer.len() && out.len() < RUN {
            let rest = &self.buffer[at..];
            if rest.starts_with(MAGIC) {
                self.buffer.drain(..at);
                self.enough = 0;
                self.part = Part::Start;
                return Ok(true);
            }
            if MAGIC.starts_with(rest) {
                break;
            }
            let mut reader = FrameReader::new(Cursor::new(&self.buffer[at..]));
            match reader.read_next_or_eof(std::mem::take(&mut self.blocks)) {
                Ok(Some(block)) if block.channels() == u32::from(info.format.channels) => {
                    let scale = 1.0 / (1_u64 << (info.bits - 1)) as f32;
                    for frame in 0..block.duration() {
                        for channel in 0..block.channels() {
                            let sample = block.sample(channel, frame) as f32 * scale;
                            out.extend_from_slice(&sample.to_le_bytes());
                        }
                    }
                    self.blocks = block.into_buffer();
                    at += reader.into_inner().position() as usize;
                    self.skipping = false;
                    continue;
                }
                Ok(None) => break,
                Err(claxon::Error::IoError(_)) if self.buffer.len() - at < MAX_FRAME => break,
                Ok(Some(_)) | Err(_) => {
                    if !self.skipping {
                        self.faults += 1;
                        self.skipping = true;
                    }
                    // The next frame begins with a sync code (RFC 9639 §9.1),
                    // the next stream with its name.
                    let rest = self.buffer.get(at + 1..).unwrap_or_default();
                    let frame = |w: &[u8]| w[0] == 0xff && w[1] & 0xfe == 0xf8;
                    let next = rest
                        .windows(MAGIC.len())
                        .position(|w| frame(w) || w == MAGIC);
                    at += 1 + next.unwrap_or(rest.len().saturating_sub(MAGIC.len() - 1));
                }
            }
        }
        self.buffer.drain(..at);
        if out.len() >= RUN {
            self.enough = 0;
            return Ok(true);
        }
        // Trying anew after every few bytes would decode a long frame many
        // times. One of silence has no more than a few.
        let waiting = self.buffer.len();
        self.enough = waiting + waiting / 8;
        Ok(false)
    }
}

/// RFC 9639 §8.2.
fn stream_info(body: &[u8]) -> Result<Info, Error> {
    let fields: Option<[u8; 8]> = body.get(10..18).and_then(|f| f.try_into().ok());
    let fields = fields.ok_or_else(|| {
        Error(format!(
            "FLAC STREAMINFO of {} bytes, it has 34",
            body.len()
        ))
    })?;
    let word = u64::from_be_bytes(fields);
    let (sample_rate, channels) = ((word >> 44) as u32, (word >> 41 & 7) as u16 + 1);
    let bits = (word >> 36 & 31) as u32 + 1;
    if !super::media_type::RATES.contains(&sample_rate) || bits < 4 {
        return Err(Error(format!(
            "FLAC of {sample_rate} Hz and {bits} bits is not taken"
        )));
    }
    let format = Format {
        sample: SampleFormat::F32le,
        sample_rate,
        channels,
    };
    Ok(Info { format, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_info_is_read() {
        // 44 100 Hz, 2 channels, 16 bits: as `flac` writes them.
        let mut body = [0; 34];
        body[10..18].copy_from_slice(&[0x0a, 0xc4, 0x42, 0xf0, 0, 0, 0, 0]);
        let info = stream_info(&body).expect("sound");
        assert_eq!(
            (info.format.sample_rate, info.format.channels, info.bits),
            (44_100, 2, 16)
        );
        assert!(stream_info(&body[..9]).is_err());
    }

    /// A frame of 4,096 samples of silence, mono (RFC 9639 §9).
    fn silence() -> Vec<u8> {
        let crc = |bytes: &[u8], bits: u32, polynomial: u32| {
            bytes.iter().fold(0, |crc, byte| {
                (0..8).fold(crc ^ u32::from(*byte) << (bits - 8), |crc, _| {
                    let next = crc << 1;
                    let over = crc >> (bits - 1) & 1 == 1;
                    (if over { next ^ polynomial } else { next }) & ((1 << bits) - 1)
                })
            })
        };
        let mut frame = vec![0xff, 0xf8, 0xc9, 0x08, 0];
        frame.push(crc(&frame, 8, 0x07) as u8);
        frame.extend([0, 0, 0]);
        let sum = crc(&frame, 16, 0x8005) as u16;
        frame.extend(sum.to_be_bytes());
        frame
    }

    #[test]
    fn short_frames_do_not_wait_for_others() {
        let mut decoder = Decoder::default();
        let mut stream = MAGIC.to_vec();
        stream.extend_from_slice(&[0x80, 0, 0, 34]);
        let mut body = [0; 34];
        // 44 100 Hz, mono, 16 bits.
        body[10..18].copy_from_slice(&[0x0a, 0xc4, 0x40, 0xf0, 0, 0, 0, 0]);
        stream.extend_from_slice(&body);
        decoder.push(&stream);
        let mut out = Vec::new();
        for _ in 0..4 {
            let mut bytes = 0;
            for piece in silence().chunks(7) {
                decoder.push(piece);
                assert!(!decoder.decode(&mut out).expect("sound"));
                bytes += out.len();
            }
            assert_eq!(bytes, 4 * 4096);
        }
        assert_eq!(decoder.faults(), 0);
    }

    /// A kilobyte of such frames is a megabyte of samples and more.
    #[test]
    fn silence_is_not_decoded_all_at_once() {
        let mut decoder = Decoder::default();
        decoder.push(MAGIC);
        decoder.push(&[0x80, 0, 0, 34]);
        let mut body = [0; 34];
        body[10..18].copy_from_slice(&[0x0a, 0xc4, 0x40, 0xf0, 0, 0, 0, 0]);
        decoder.push(&body);
        decoder.push(&silence().repeat(1000));
        let (mut out, mut bytes, mut runs) = (Vec::new(), 0, 0);
        while decoder.decode(&mut out).expect("sound") {
            runs += 1;
            bytes += out.len();
            assert!(out.len() < RUN + 4 * 4096);
        }
        assert_eq!((bytes + out.len(), runs), (1000 * 4 * 4096, 15));
    }

    #[test]
    fn another_stream_follows_in_its_own_format() {
        let stream = |rate: u32| {
            let mut stream = MAGIC.to_vec();
            stream.extend_from_slice(&[0, 0, 0, 34]);
            let mut body = [0; 34];
            let word = u64::from(rate) << 44 | 15 << 36;
            body[10..18].copy_from_slice(&word.to_be_bytes());
            stream.extend_from_slice(&body);
            // A comment that looks like one more.
            stream.extend_from_slice(&[0x84, 0, 0, 4]);
            stream.extend_from_slice(MAGIC);
            stream.extend(silence());
            stream
        };
        let tag = [&b"TAG"[..], &[b' '; 125]].concat();
        for (name, between, faults) in [
            ("nothing", &[][..], 0),
            ("a tag", &tag[..], 1),
            ("a cut-off frame", &silence()[..7], 1),
            ("what only looks like one", b"fLaC\x01\0\0\0more", 2),
        ] {
            // The last is cut off in its metadata.
            let cut = &stream(8000)[..MAGIC.len() + 20];
            let all = [&stream(44_100)[..], between, &stream(48_000), cut].concat();
            for size in [1, 7, 4096] {
                let (mut decoder, mut out) = (Decoder::default(), Vec::new());
                let mut heard = [0; 2];
                for piece in all.chunks(size) {
                    decoder.push(piece);
                    decoder.look_again();
                    let mut more = true;
                    while more {
                        more = decoder.decode(&mut out).expect("sound");
                        let rate = decoder.format().map_or(0, |format| format.sample_rate);
                        heard[usize::from(rate == 48_000)] += out.len() / 4;
                    }
                }
                assert_eq!(heard, [4096, 4096], "{name}, {size}");
                assert!(decoder.faults() <= faults, "{name}: {}", decoder.faults());
            }
        }
    }

    #[test]
    fn garbage_is_skipped_and_bounded() {
        let mut decoder = Decoder::default();
        let mut stream = MAGIC.to_vec();
        stream.extend_from_slice(&[0x80, 0, 0, 34]);
        let mut body = [0; 34];
        body[10..18].copy_from_slice(&[0x0a, 0xc4, 0x42, 0xf0, 0, 0, 0, 0]);
        stream.extend_from_slice(&body);
        stream.extend((0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8));
        let mut out = Vec::new();
        for piece in stream.chunks(1000) {
            decoder.push(piece);
            while decoder.decode(&mut out).expect("skipped") {}
        }
        assert!(decoder.faults() > 0 && decoder.buffer.len() < MAX_FRAME);
        let mut decoder = Decoder::default();
        decoder.push(b"fLaC\x01\0\0\0");
        assert!(decoder.decode(&mut out).is_err());
    }
}
