//! Finds pages in a stream of bytes, whatever is between them.

use ogg::reading::{OggReadError, PageParser};

use super::{HEADER_LEN, Page, PageFlags};

/// The capture pattern (RFC 3533 §6, field 1).
const CAPTURE: &[u8; 4] = b"OggS";
/// Capacity that the empty buffer keeps.
const KEPT_CAPACITY: usize = 128 * 1024;
/// Junk is reported at the latest after this many bytes.
const JUNK_REPORT: u64 = 64 * 1024;

/// What a [`Reader`] found next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A good page.
    Page(Page),
    /// Bytes that belong to no good page.
    Junk {
        /// Where they begin.
        offset: u64,
        /// How many there are. Longer junk is reported in several pieces.
        len: u64,
        /// Why the first page-like thing among them was no page, if there was one.
        why: Option<String>,
    },
}

/// Push parser of pages.
///
/// Holds what was pushed and not yet polled; once [`Reader::poll`] has returned
/// `None`, that is less than one page (64 KiB). A page candidate whose checksum is
/// wrong costs only its capture pattern: the search goes on at the next byte, so
/// a good page inside or after it is never lost.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already consumed.
    at: usize,
    /// Stream offset of `buffer[at]`.
    offset: u64,
    /// Unconsumed bytes needed before the next look can find more than the last.
    need: usize,
    junk: u64,
    why: Option<String>,
    finished: bool,
}

enum Look {
    /// A page, and its length in bytes.
    Page(Page, usize),
    /// This many bytes are needed to tell.
    Need(usize),
    /// No page begins here.
    No(String),
}

impl Reader {
    /// A reader at stream offset 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        // Dropping consumed bytes only once they are half of the buffer keeps
        // the copying linear.
        if self.at > self.buffer.len() / 2 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
        self.finished = false;
    }

    /// No more bytes will follow (or a gap in them will): an unfinished page is
    /// reported as junk by the polls after this.
    pub fn finish(&mut self) {
        self.finished = true;
        self.need = 0;
    }

    /// Offset of the next byte to be read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next page or piece of junk; `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Found> {
        loop {
            if self.junk >= JUNK_REPORT {
                return Some(self.report(JUNK_REPORT));
            }
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            if rest.len() < self.need || rest.is_empty() {
                break;
            }
            match look(rest, self.offset) {
                Look::Page(..) if self.junk > 0 => {
                    self.need = 0;
                    return Some(self.report(self.junk));
                }
                Look::Page(page, len) => {
                    self.consume(len);
                    return Some(Found::Page(page));
                }
                Look::Need(len) if !self.finished => {
                    self.need = len;
                    break;
                }
                Look::Need(len) => {
                    if rest.starts_with(CAPTURE) {
                        self.why.get_or_insert_with(|| {
                            format!("page cut off after {} of {len} bytes", rest.len())
                        });
                    }
                    let skip = next_capture(rest);
                    self.skip(skip);
                }
                Look::No(why) => {
                    if !why.is_empty() {
                        self.why.get_or_insert(why);
                    }
                    let skip = next_capture(rest);
                    self.skip(skip);
                }
            }
        }
        if self.finished && self.junk > 0 {
            return Some(self.report(self.junk));
        }
        None
    }

    fn report(&mut self, len: u64) -> Found {
        let offset = self.offset - self.junk;
        self.junk -= len;
        Found::Junk {
            offset,
            len,
            why: self.why.take(),
        }
    }

    fn skip(&mut self, len: usize) {
        self.junk += len as u64;
        self.consume(len);
    }

    fn consume(&mut self, len: usize) {
        self.at += len;
        self.offset += len as u64;
        self.need = 0;
        if self.at >= self.buffer.len() {
            self.buffer.clear();
            // One huge push must not be remembered for ever.
            self.buffer.shrink_to(KEPT_CAPACITY);
            self.at = 0;
        }
    }
}

/// Bytes from here to the next place where a capture pattern begins or, at the
/// end of `rest`, may begin; at least 1.
fn next_capture(rest: &[u8]) -> usize {
    let mut from = 1;
    while let Some(hit) = rest
        .get(from..)
        .and_then(|tail| tail.iter().position(|&b| b == b'O'))
    {
        let tail = rest.get(from + hit..).unwrap_or_default();
        if tail.iter().zip(CAPTURE).all(|(a, b)| a == b) {
            return from + hit;
        }
        from += hit + 1;
    }
    rest.len()
}

/// Whether a page begins at the first byte of `rest`.
fn look(rest: &[u8], offset: u64) -> Look {
    if !rest.iter().zip(CAPTURE).all(|(a, b)| a == b) {
        return Look::No(String::new());
    }
    let Some(&header) = rest.first_chunk::<HEADER_LEN>() else {
        return Look::Need(HEADER_LEN);
    };
    // The reserved bits are zero in every page; checking them costs nothing and
    // makes false capture patterns wait for 64 KiB less often.
    if header[5] & !7 != 0 {
        return Look::No(format!("page header flags are {:#04x}", header[5]));
    }
    let (mut parser, segments) = match PageParser::new(header) {
        Ok(parsed) => parsed,
        Err(OggReadError::InvalidStreamStructVer(version)) => {
            return Look::No(format!("page version is {version}"));
        }
        Err(err) => return Look::No(err.to_string()),
    };
    let body_at = HEADER_LEN + segments;
    let Some(lacing) = rest.get(HEADER_LEN..body_at) else {
        return Look::Need(body_at);
    };
    let body_len: usize = lacing.iter().map(|&v| usize::from(v)).sum();
    let Some(body) = rest.get(body_at..body_at + body_len) else {
        return Look::Need(body_at + body_len);
    };
    parser.parse_segments(lacing.to_vec());
    match parser.parse_packet_data(body.to_vec()) {
        Ok(_) => {}
        Err(OggReadError::HashMismatch(named, computed)) => {
            return Look::No(format!(
                "page checksum is {named:#010x}, its bytes give {computed:#010x}"
            ));
        }
        Err(err) => return Look::No(err.to_string()),
    }
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let granule = u64::from(word(6)) | u64::from(word(10)) << 32;
    let page = Page {
        offset,
        flags: PageFlags::from_bits(header[5]),
        granule: (granule <= i64::MAX as u64).then_some(granule),
        serial: word(14),
        sequence: word(18),
        lacing: lacing.to_vec(),
        body: body.to_vec(),
    };
    Look::Page(page, body_at + body_len)
}

#[cfg(test)]
mod tests {
    use super::super::{PageSpec, write_page};
    use super::*;
    use proptest::prelude::*;

    /// First page of a file by `opusenc` 0.2.
    const REAL: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0\xb4\x14\x39\x6b\0\0\0\0\
        \x00\x00\x00\x00\x01\x13OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

    fn page(sequence: u32, body: &[u8]) -> Vec<u8> {
        let spec = PageSpec {
            serial: 1,
            sequence,
            granule: Some(0),
            ..PageSpec::default()
        };
        write_page(&spec, &[body])
    }

    fn all(input: &[&[u8]]) -> Vec<Found> {
        let mut reader = Reader::new();
        let mut found = Vec::new();
        for piece in input {
            reader.push(piece);
            found.extend(std::iter::from_fn(|| reader.poll()));
        }
        reader.finish();
        found.extend(std::iter::from_fn(|| reader.poll()));
        found
    }

    fn sequences(found: &[Found]) -> Vec<u32> {
        found
            .iter()
            .filter_map(|f| match f {
                Found::Page(page) => Some(page.sequence),
                Found::Junk { .. } => None,
            })
            .collect()
    }

    #[test]
    fn junk_between_pages_is_located() {
        let (one, two) = (page(1, b"one"), page(2, b"two"));
        let found = all(&[b"xxOgg", &one, b"OggOggSjunk", &two, b"Og"]);
        assert_eq!(sequences(&found), [1, 2]);
        let junk: Vec<_> = found
            .iter()
            .filter_map(|f| match f {
                Found::Junk { offset, len, .. } => Some((*offset, *len)),
                Found::Page(_) => None,
            })
            .collect();
        let first = one.len() as u64;
        let second = two.len() as u64;
        assert_eq!(junk, [(0, 5), (5 + first, 11), (16 + first + second, 2)]);
    }

    #[test]
    fn a_damaged_page_hides_no_good_one() {
        let mut bad = page(1, &[7; 300]);
        bad[100] ^= 1;
        // A lying segment table that claims 64 KiB swallows the pages after it.
        let mut liar = page(2, b"x");
        liar[26] = 255;
        let good = page(3, b"good");
        let found = all(&[&bad, &liar, &good, &page(4, b"also")]);
        assert_eq!(sequences(&found), [3, 4]);
        let Some(Found::Junk { offset: 0, why, .. }) = found.first() else {
            panic!("{found:?}");
        };
        assert!(why.as_deref().unwrap_or("").contains("checksum"), "{why:?}");
    }

    #[test]
    fn a_page_inside_a_damaged_page_is_found() {
        let inner = page(9, b"inner");
        let mut outer = page(8, &inner);
        outer[22] ^= 0xff;
        assert_eq!(sequences(&all(&[&outer])), [9]);
    }

    #[test]
    fn endless_junk_is_reported_and_not_kept() {
        let mut reader = Reader::new();
        let mut reported = 0;
        for _ in 0..1000 {
            reader.push(&[b'O'; 1000]);
            while let Some(found) = reader.poll() {
                let Found::Junk { len, .. } = found else {
                    panic!("{found:?}");
                };
                reported += len;
            }
        }
        assert!(reported > 900_000, "{reported}");
        assert!(
            reader.buffer.capacity() < 16_000,
            "{}",
            reader.buffer.capacity()
        );
    }

    #[test]
    fn checks_sums_of_real_pages() {
        let mut real = REAL.to_vec();
        let sum = super::super::write::checksum(&real);
        real[22..26].copy_from_slice(&sum.to_le_bytes());
        let found = all(&[&real]);
        let [Found::Page(page)] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(page.flags.bos && !page.flags.eos && !page.flags.continued);
        assert_eq!(page.serial, 0x6b39_14b4);
        assert_eq!(page.granule, Some(0));
        assert_eq!(page.lacing, [19]);
    }

    /// Pages with junk between them and a few flipped bytes.
    pub(crate) fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            3 => (any::<u32>(), prop::collection::vec(any::<u8>(), 0..600))
                .prop_map(|(n, body)| page(n, &body)),
            1 => prop::collection::vec(any::<u8>(), 0..40),
            1 => Just(b"OggS\0\0".to_vec()),
        ];
        (
            prop::collection::vec(part, 0..8),
            prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..3),
        )
            .prop_map(|(parts, flips)| {
                let mut bytes = parts.concat();
                for (at, value) in flips {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = value;
                    }
                }
                bytes
            })
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(bytes in damaged(), cut in 1_usize..700) {
            let whole = all(&[&bytes]);
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(&all(&pieces), &whole);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&all(&single), &whole);
            // Every byte is in a page or in junk.
            let sum: u64 = whole.iter().map(|f| match f {
                Found::Page(p) => (HEADER_LEN + p.lacing.len() + p.body.len()) as u64,
                Found::Junk { len, .. } => *len,
            }).sum();
            prop_assert_eq!(sum, bytes.len() as u64);
        }
    }
}
