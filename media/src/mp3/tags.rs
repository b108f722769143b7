//! Tags around MPEG frames: ID3v2 is read, the others only recognised.

/// Header of an ID3v2 tag (id3.org, ID3v2.4 structure §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id3Header {
    /// Major version: 2, 3 or 4.
    pub version: u8,
    /// Flag bits.
    pub flags: u8,
    /// Bytes of the whole tag, header and footer included.
    pub len: usize,
}

impl Id3Header {
    /// Bytes of the header.
    pub const LEN: usize = 10;

    /// Reads the header at the front of `bytes`; `None` when there is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[b'I', b'D', b'3', version, revision, flags, size @ ..] =
            bytes.first_chunk::<{ Self::LEN }>()?
        else {
            return None;
        };
        if !(2..=4).contains(&version) || revision == 0xff {
            return None;
        }
        let body = syncsafe(&size)?;
        let footer = if version == 4 && flags & 0x10 != 0 {
            Self::LEN
        } else {
            0
        };
        Some(Self {
            version,
            flags,
            len: Self::LEN + body + footer,
        })
    }
}

/// Four times seven bits; `None` when a high bit is set.
fn syncsafe(bytes: &[u8]) -> Option<usize> {
    bytes
        .iter()
        .try_fold(0, |sum, &b| (b < 0x80).then_some(sum << 7 | usize::from(b)))
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, &b| sum << 8 | usize::from(b))
}

/// Longest text kept, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// Most tags kept.
const MAX_TAGS: usize = 256;

/// The text frames of an ID3v2 tag under the names Vorbis comments use, as far
/// as `bytes` reaches: a tag may be cut.
pub fn id3_tags(bytes: &[u8]) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    let Some(header) = Id3Header::parse(bytes) else {
        return tags;
    };
    let body = bytes
        .get(Id3Header::LEN..header.len.min(bytes.len()))
        .unwrap_or_default();
    let unsynchronised;
    let mut rest = if header.flags & 0x80 != 0 && header.version < 4 {
        unsynchronised = resynchronise(body);
        unsynchronised.as_slice()
    } else {
        body
    };
    if header.flags & 0x40 != 0 && header.version > 2 {
        let Some(size) = rest.first_chunk::<4>() else {
            return tags;
        };
        // v2.4 counts the size field itself, v2.3 does not.
        let skip = match header.version {
            4 => syncsafe(size).unwrap_or(usize::MAX),
            _ => big_endian(size).saturating_add(4),
        };
        rest = rest.get(skip..).unwrap_or_default();
    }
    let (id_len, size_len, head_len) = match header.version {
        2 => (3, 3, 6),
        _ => (4, 4, 10),
    };
    while tags.len() < MAX_TAGS
        && let Some((head, tail)) = rest.split_at_checked(head_len)
    {
        let (id, size) = head.split_at(id_len);
        let size = size.get(..size_len).unwrap_or_default();
        if id.first() == Some(&0) {
            break;
        }
        // Some encoders write v2.4 sizes as plain integers.
        let len = match header.version {
            4 => syncsafe(size).unwrap_or_else(|| big_endian(size)),
            _ => big_endian(size),
        };
        let Some((content, after)) = tail.split_at_checked(len) else {
            break;
        };
        rest = after;
        if len > MAX_TEXT {
            continue;
        }
        let flags = head.get(9).copied().unwrap_or(0);
        let mut content = content;
        let plain;
        if header.version == 4 {
            // Compressed or encrypted frames stay unread.
            if flags & 0x0c != 0 {
                continue;
            }
            if flags & 1 != 0 {
                content = content.get(4..).unwrap_or_default();
            }
            if flags & 2 != 0 {
                plain = resynchronise(content);
                content = &plain;
            }
        }
        if let Some(tag) = text_frame(id, content) {
            tags.push(tag);
        }
    }
    tags
}

/// Undoes unsynchronisation: drops the zero after every 0xff.
fn resynchronise(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut after_ff = false;
    for &byte in bytes {
        if !(after_ff && byte == 0) {
            out.push(byte);
        }
        after_ff = byte == 0xff;
    }
    out
}

fn text_frame(id: &[u8], content: &[u8]) -> Option<(String, String)> {
    let name = match id {
        b"TIT2" | b"TT2" => "TITLE",
        b"TPE1" | b"TP1" => "ARTIST",
        b"TALB" | b"TAL" => "ALBUM",
        b"TPE2" | b"TP2" => "ALBUMARTIST",
        b"TCOM" | b"TCM" => "COMPOSER",
        b"TCON" | b"TCO" => "GENRE",
        b"TRCK" | b"TRK" => "TRACKNUMBER",
        b"TDRC" | b"TYER" | b"TYE" => "DATE",
        b"TCOP" | b"TCR" => "COPYRIGHT",
        b"TRSN" => "ORGANIZATION",
        b"TXXX" | b"TXX" => "",
        _ => return None,
    };
    let (&encoding, bytes) = content.split_first()?;
    let mut strings = decode_text(encoding, bytes).into_iter();
    let first = strings.next()?;
    let (name, value) = if name.is_empty() {
        (first.to_ascii_uppercase(), strings.next()?)
    } else {
        (name.to_owned(), first)
    };
    (!name.is_empty() && !value.is_empty()).then_some((name, value))
}

/// Zero-terminated strings in one of ID3's four encodings.
fn decode_text(encoding: u8, bytes: &[u8]) -> Vec<String> {
    match encoding {
        1 | 2 => {
            let mut little = false;
            let mut strings = Vec::new();
            let mut units = Vec::new();
            for &[a, b] in bytes.as_chunks::<2>().0 {
                match (a, b) {
                    (0xff, 0xfe) if units.is_empty() => little = true,
                    (0xfe, 0xff) if units.is_empty() => little = false,
                    (0, 0) => strings.push(String::from_utf16_lossy(&std::mem::take(&mut units))),
                    _ if little => units.push(u16::from_le_bytes([a, b])),
                    _ => units.push(u16::from_be_bytes([a, b])),
                }
            }
            strings.push(String::from_utf16_lossy(&units));
            strings
        }
        3 => bytes
            .split(|&b| b == 0)
            .map(|s| String::from_utf8_lossy(s).into_owned())
            .collect(),
        // ISO 8859-1 is the first 256 code points of Unicode.
        _ => bytes
            .split(|&b| b == 0)
            .map(|s| s.iter().map(|&b| char::from(b)).collect())
            .collect(),
    }
}

/// A tag at the front of some bytes, other than ID3v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// A tag of so many bytes.
    Tag(usize),
    /// So many bytes are needed to tell.
    Need(usize),
    /// A Lyrics3 block: skip to its end mark.
    Lyrics,
}

/// ID3v1 is 128 bytes at the end of a file, its `TAG+` extension 227 before it.
const ID3V1_LEN: usize = 128;
const ID3V1_PLUS_LEN: usize = 227;
/// APE tags have a header or footer of 32 bytes.
const APE_LEN: usize = 32;
/// Longest APE tag believed.
const MAX_APE: usize = 16 << 20;

/// Recognises ID3v1, APEv2 and Lyrics3 tags.
pub(crate) fn foreign(bytes: &[u8]) -> Option<Foreign> {
    let prefix = |magic: &[u8]| {
        let n = magic.len().min(bytes.len());
        (bytes.get(..n) == magic.get(..n)).then_some(bytes.len() >= magic.len())
    };
    if let Some(whole) = prefix(b"TAG") {
        return Some(match bytes.get(3) {
            _ if !whole => Foreign::Need(3),
            None => Foreign::Need(4),
            Some(b'+') => Foreign::Tag(ID3V1_PLUS_LEN),
            Some(_) => Foreign::Tag(ID3V1_LEN),
        });
    }
    if let Some(whole) = prefix(b"LYRICSBEGIN") {
        return Some(if whole {
            Foreign::Lyrics
        } else {
            Foreign::Need(11)
        });
    }
    if prefix(b"APETAGEX").is_some() {
        return match ape(bytes) {
            Some((items, true)) => Some(Foreign::Tag(APE_LEN + items)),
            Some((_, false)) => Some(Foreign::Tag(APE_LEN)),
            None if bytes.len() < APE_LEN => Some(Foreign::Need(APE_LEN)),
            None => None,
        };
    }
    None
}

/// Length of an APE tag's items and footer (its header is not counted), and
/// whether this is its header.
fn ape(bytes: &[u8]) -> Option<(usize, bool)> {
    let head = bytes.first_chunk::<APE_LEN>()?;
    let size = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
    let is_header = head[23] & 0x20 != 0;
    (size <= MAX_APE).then_some((size, is_header))
}

/// Whether junk of `len` bytes before an APE footer is the tag's items: an
/// APEv1 tag has no header.
pub(crate) fn explains_junk(bytes: &[u8], len: u64) -> bool {
    bytes.starts_with(b"APETAGEX") && ape(bytes).is_some_and(|(size, _)| size as u64 >= len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![b'I', b'D', b'3', version, 0, flags, 0, 0];
        out.push((body.len() >> 7) as u8);
        out.push((body.len() & 0x7f) as u8);
        out.extend_from_slice(body);
        out
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn reads_text_of_every_version() {
        let v2 = tag(2, 0, b"TT2\0\0\x04\0abcTP1\0\0\x02\0d");
        assert_eq!(id3_tags(&v2), [pair("TITLE", "abc"), pair("ARTIST", "d")]);
        let v3 = tag(
            3,
            0,
            b"TIT2\0\0\0\x07\0\0\x01\xff\xfeU\0\xdc\0TALB\0\0\0\x03\0\0\0\xe9!",
        );
        assert_eq!(id3_tags(&v3), [pair("TITLE", "UÜ"), pair("ALBUM", "é!")]);
        let v4 = tag(
            4,
            0,
            b"TXXX\0\0\0\x06\0\0\x03k\0\xc3\xbc\0TPE1\0\0\0\x02\0\0\x03x\0\0\0\0",
        );
        assert_eq!(id3_tags(&v4), [pair("K", "ü"), pair("ARTIST", "x")]);
    }

    #[test]
    fn unsynchronised_tags_are_read() {
        // The frame's content is 0x01 0xff 0xfe 'U' 0, its 0xff followed by a stuffed zero.
        let v3 = tag(3, 0x80, b"TIT2\0\0\0\x05\0\0\x01\xff\0\xfeU\0");
        assert_eq!(id3_tags(&v3), [pair("TITLE", "U")]);
    }

    #[test]
    fn sizes_count_header_and_footer() {
        let mut plain = tag(4, 0, &[0; 200]);
        assert_eq!(Id3Header::parse(&plain).map(|h| h.len), Some(210));
        plain[5] = 0x10;
        assert_eq!(Id3Header::parse(&plain).map(|h| h.len), Some(220));
        plain[6] = 0x80;
        assert_eq!(Id3Header::parse(&plain), None);
    }

    #[test]
    fn foreign_tags_are_recognised() {
        assert_eq!(foreign(b"TAGx"), Some(Foreign::Tag(128)));
        assert_eq!(foreign(b"TAG+"), Some(Foreign::Tag(227)));
        assert_eq!(foreign(b"LYR"), Some(Foreign::Need(11)));
        let mut ape = *b"APETAGEX\xd0\x07\0\0\x64\0\0\0\x01\0\0\0\0\0\0\xa0\0\0\0\0\0\0\0\0";
        assert_eq!(foreign(&ape), Some(Foreign::Tag(132)));
        ape[23] = 0x80;
        assert_eq!(foreign(&ape), Some(Foreign::Tag(32)));
        assert!(explains_junk(&ape, 68) && !explains_junk(&ape, 101));
        assert_eq!(foreign(b"music"), None);
    }

    proptest! {
        #[test]
        fn never_panics(version in 0_u8..6, flags: u8, body in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..310) {
            let bytes = tag(version, flags, &body);
            let bytes = &bytes[..cut.min(bytes.len())];
            let _ = id3_tags(bytes);
            let _ = foreign(&body);
            let mut framed = b"TIT2\0\0\0\x20\0\0".to_vec();
            framed.extend_from_slice(&body);
            let _ = id3_tags(&tag(version, flags, &framed));
        }
    }
}
