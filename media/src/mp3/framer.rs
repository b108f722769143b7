//! Finds frames in a stream of bytes, whatever is between them.

use super::Header;
use super::tags::{Foreign, Id3Header, explains_junk, foreign};

/// Headers that must follow at the right distance before a first frame is believed.
const CONFIRMATIONS: usize = 2;
/// Longest free-format frame looked for: 640 kbit/s at 8 kHz.
const MAX_FREE_LEN: usize = 5760;
/// Bytes of an ID3v2 tag that are kept for reading; the rest is skipped.
const MAX_ID3_KEPT: usize = 1 << 20;
/// Longest ID3v2 tag believed.
const MAX_ID3: usize = 64 << 20;
/// Longest Lyrics3 block (its size field has six digits).
const MAX_LYRICS: u64 = 1_000_000;
/// Capacity that the empty buffer keeps.
const KEPT_CAPACITY: usize = 128 * 1024;
/// Junk is reported at the latest after this many bytes.
const JUNK_REPORT: u64 = 1 << 20;

/// What a [`Framer`] found next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A frame.
    Frame {
        /// Where it begins.
        offset: u64,
        /// Its header.
        header: Header,
        /// Its bytes, header included: always a whole frame. One that the end
        /// of the input cuts off is junk, as for `mpg123`.
        payload: Vec<u8>,
    },
    /// An ID3v2 tag, or its first 1 MiB.
    Id3 {
        /// Where it begins.
        offset: u64,
        /// Its bytes.
        tag: Vec<u8>,
    },
    /// An Ogg page where a frame was looked for: another container follows, of
    /// which nothing is read. Told once; its bytes are junk.
    Ogg {
        /// Where it begins.
        offset: u64,
    },
    /// Bytes that belong to no frame and to no known tag.
    Junk {
        /// Where they begin.
        offset: u64,
        /// How many there are. Longer junk is reported in several pieces.
        len: u64,
        /// Whether the input ended with them.
        trailing: bool,
    },
}

/// Push parser of frames.
///
/// Holds what was pushed and not yet polled; once [`Framer::poll`] has returned
/// `None`, that is less than a frame, or three while searching, or 1 MiB of an
/// ID3v2 tag.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already consumed.
    at: usize,
    /// Stream offset of `buffer[at]`.
    offset: u64,
    /// Unconsumed bytes needed before the next look can find more than the last.
    need: usize,
    sync: Option<Sync>,
    /// Bytes of a tag still to be skipped.
    skip: usize,
    /// Bytes seen of a Lyrics3 block whose end is being looked for.
    lyrics: Option<u64>,
    junk: u64,
    /// An Ogg page was told since the last frame.
    ogg: bool,
    finished: bool,
}

/// What frames look like where we are.
#[derive(Clone, Copy, Debug)]
struct Sync {
    header: Header,
    /// Length without padding of a free-format frame.
    free: Option<usize>,
}

impl Sync {
    fn frame_len(&self, header: &Header) -> Option<usize> {
        header
            .frame_len()
            .or_else(|| Some(self.free? + header.padding_len()))
    }
}

enum Look {
    Frame(Sync, usize),
    Id3(usize),
    Skip(usize),
    Lyrics,
    Ogg,
    Need(usize),
    No,
}

impl Framer {
    /// A framer at stream offset 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.finished = false;
        let skipped = self.skip.min(bytes.len());
        if self.at >= self.buffer.len() && skipped > 0 {
            self.skip -= skipped;
            self.offset += skipped as u64;
        }
        let bytes = match self.at >= self.buffer.len() {
            true => bytes.get(skipped..).unwrap_or_default(),
            false => bytes,
        };
        if self.at > self.buffer.len() / 2 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes held that are not yet a frame.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// No more bytes will follow: the polls after this yield the rest.
    pub fn finish(&mut self) {
        self.finished = true;
        self.need = 0;
    }

    /// The transport lost bytes: what is unfinished is dropped, and the next
    /// frame is searched for.
    pub fn note_gap(&mut self) {
        let rest = self.buffer.len() - self.at;
        self.consume(rest);
        self.sync = None;
        self.skip = 0;
        self.lyrics = None;
        self.junk = 0;
    }

    /// The next frame, tag or piece of junk; `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Found> {
        loop {
            if self.junk >= JUNK_REPORT {
                return Some(self.report(JUNK_REPORT, false));
            }
            if self.skip > 0 {
                let now = self.skip.min(self.buffer.len() - self.at);
                self.skip -= now;
                self.consume(now);
                if self.skip > 0 {
                    return None;
                }
            }
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            if rest.is_empty() || rest.len() < self.need {
                break;
            }
            if let Some(seen) = self.lyrics {
                if let Some(len) = end_of_lyrics(rest) {
                    self.lyrics = None;
                    self.consume(len);
                } else if seen > MAX_LYRICS || self.finished {
                    self.lyrics = None;
                    self.sync = None;
                } else {
                    // The end mark may begin in the last bytes.
                    let now = rest.len().saturating_sub(8);
                    self.lyrics = Some(seen + now as u64);
                    let left = rest.len() - now;
                    self.consume(now);
                    self.need = left + 1;
                }
                continue;
            }
            if self.junk > 0 && explains_junk(rest, self.junk) {
                self.junk = 0;
            }
            let look = match &self.sync {
                Some(sync) => next(rest, sync, self.finished),
                None => search(rest, self.finished),
            };
            match look {
                // What follows junk is told after it.
                Look::Frame(..) | Look::Id3(_) if self.junk > 0 => {
                    self.need = 0;
                    return Some(self.report(self.junk, false));
                }
                Look::Frame(sync, len) => {
                    let payload = rest.get(..len).unwrap_or(rest).to_vec();
                    self.sync = Some(sync);
                    self.ogg = false;
                    let offset = self.offset;
                    self.consume(len);
                    return Some(Found::Frame {
                        offset,
                        header: sync.header,
                        payload,
                    });
                }
                Look::Id3(len) => {
                    let tag = rest.get(..len.min(MAX_ID3_KEPT)).unwrap_or(rest).to_vec();
                    let offset = self.offset;
                    self.skip = len - tag.len();
                    self.consume(tag.len());
                    return Some(Found::Id3 { offset, tag });
                }
                Look::Skip(len) => {
                    self.skip = len;
                    self.need = 0;
                    if self.finished && rest.len() <= len {
                        let all = rest.len();
                        self.skip = 0;
                        self.consume(all);
                    }
                }
                Look::Lyrics => self.lyrics = Some(0),
                Look::Ogg if !self.ogg => {
                    self.ogg = true;
                    self.need = 0;
                    return Some(Found::Ogg {
                        offset: self.offset,
                    });
                }
                Look::Need(len) if !self.finished => {
                    self.need = len;
                    break;
                }
                Look::Need(_) | Look::Ogg | Look::No => {
                    self.sync = None;
                    let skip = next_candidate(rest);
                    self.junk += skip as u64;
                    self.consume(skip);
                }
            }
        }
        if self.finished && self.junk > 0 {
            return Some(self.report(self.junk, true));
        }
        None
    }

    fn report(&mut self, len: u64, trailing: bool) -> Found {
        let offset = self.offset - self.junk;
        self.junk -= len;
        Found::Junk {
            offset,
            len,
            trailing,
        }
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

/// Bytes to the next place where a frame or a tag that counts while searching
/// may begin; at least 1.
fn next_candidate(rest: &[u8]) -> usize {
    rest.iter()
        .skip(1)
        .position(|&b| matches!(b, 0xff | b'I' | b'A' | b'O'))
        .map_or(rest.len(), |at| at + 1)
}

fn end_of_lyrics(rest: &[u8]) -> Option<usize> {
    rest.windows(9)
        .position(|w| w == b"LYRICSEND" || w == b"LYRICS200")
        .map(|at| at + 9)
}

fn id3(rest: &[u8]) -> Look {
    if !rest.iter().zip(b"ID3").all(|(a, b)| a == b) {
        return Look::No;
    }
    if rest.len() < Id3Header::LEN {
        return Look::Need(Id3Header::LEN);
    }
    match Id3Header::parse(rest) {
        Some(header) if header.len > MAX_ID3 => Look::No,
        Some(header) if rest.len() < header.len.min(MAX_ID3_KEPT) => {
            Look::Need(header.len.min(MAX_ID3_KEPT))
        }
        Some(header) => Look::Id3(header.len),
        None => Look::No,
    }
}

/// Capture pattern and version of a page (RFC 3533 §6).
fn ogg(rest: &[u8]) -> Look {
    const PAGE: &[u8] = b"OggS\0";
    match rest.len() < PAGE.len() {
        true if PAGE.starts_with(rest) => Look::Need(PAGE.len()),
        false if rest.starts_with(PAGE) => Look::Ogg,
        _ => Look::No,
    }
}

/// What is at the end of a frame.
fn next(rest: &[u8], sync: &Sync, finished: bool) -> Look {
    match rest.first() {
        Some(0xff) => {}
        Some(b'I') => return id3(rest),
        Some(b'O') => return ogg(rest),
        _ => {
            return match foreign(rest) {
                Some(Foreign::Tag(len)) => Look::Skip(len),
                Some(Foreign::Need(len)) => Look::Need(len),
                Some(Foreign::Lyrics) => Look::Lyrics,
                None => Look::No,
            };
        }
    }
    if rest.len() < Header::LEN {
        return Look::Need(Header::LEN);
    }
    let Some(header) = Header::parse(rest) else {
        return Look::No;
    };
    if !header.continues(&sync.header) || header.channels() != sync.header.channels() {
        // A damaged header looks like this too, so the next one must agree.
        return candidate(rest, 1, finished);
    }
    let Some(len) = sync.frame_len(&header) else {
        return Look::No;
    };
    if rest.len() < len {
        return Look::Need(len);
    }
    Look::Frame(
        Sync {
            header,
            free: sync.free,
        },
        len,
    )
}

/// What is at a place where a stream may begin.
fn search(rest: &[u8], finished: bool) -> Look {
    match rest.first() {
        Some(0xff) => candidate(rest, CONFIRMATIONS, finished),
        Some(b'I') => id3(rest),
        Some(b'O') => ogg(rest),
        Some(b'A') => match foreign(rest) {
            Some(Foreign::Tag(len)) => Look::Skip(len),
            Some(Foreign::Need(len)) => Look::Need(len),
            _ => Look::No,
        },
        _ => Look::No,
    }
}

/// Whether a frame begins here that `confirmations` more follow.
fn candidate(rest: &[u8], confirmations: usize, finished: bool) -> Look {
    if rest.len() < Header::LEN {
        return Look::Need(Header::LEN);
    }
    let Some(header) = Header::parse(rest) else {
        return Look::No;
    };
    let mut sync = Sync { header, free: None };
    if header.bitrate.is_none() {
        match free_len(rest, &header, finished) {
            Look::Need(len) => return Look::Need(len),
            Look::Skip(len) => sync.free = Some(len),
            _ => return Look::No,
        }
    }
    let Some(first_len) = sync.frame_len(&header) else {
        return Look::No;
    };
    let mut end = first_len;
    for confirmed in 0..confirmations {
        let after = rest.get(end..).unwrap_or_default();
        if after.len() < Header::LEN {
            if !finished {
                return Look::Need(end + Header::LEN);
            }
            // The end of the input confirms a frame that ends with it.
            if confirmed > 0 || end == rest.len() {
                break;
            }
            return Look::No;
        }
        match Header::parse(after) {
            // Where a change is to be believed, it must last.
            Some(next)
                if next.continues(&header)
                    && (confirmations > 1 || next.channels() == header.channels()) =>
            {
                let Some(len) = sync.frame_len(&next) else {
                    return Look::No;
                };
                end += len;
            }
            _ if after.starts_with(b"TAG") || after.starts_with(b"ID3") => break,
            _ if after.starts_with(b"APET") || after.starts_with(b"LYRI") => break,
            _ => return Look::No,
        }
    }
    Look::Frame(sync, first_len)
}

/// Length without padding of a free-format frame: the distance to the next two
/// like it. `Skip` carries it.
fn free_len(rest: &[u8], header: &Header, finished: bool) -> Look {
    let window = 2 * (MAX_FREE_LEN + 4) + Header::LEN;
    if rest.len() < window && !finished {
        return Look::Need(window);
    }
    let like = |at: usize| {
        rest.get(at..)
            .and_then(Header::parse)
            .filter(|h| h.continues(header) && h.channels() == header.channels())
    };
    for distance in 24..=MAX_FREE_LEN {
        let Some(second) = like(distance) else {
            continue;
        };
        let base = distance - header.padding_len();
        let third = distance + base + second.padding_len();
        if like(third).is_some() || (finished && third + Header::LEN > rest.len()) {
            return Look::Skip(base);
        }
    }
    Look::No
}
