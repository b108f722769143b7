//! The comment header `OpusTags` (RFC 7845 §5.2).

/// A comment header: vendor and comments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// The encoder's name for itself.
    pub vendor: String,
    /// `NAME`, `value` pairs in file order; names in upper case.
    pub comments: Vec<(String, String)>,
    /// Whether something was left out: the packet ended early, or a comment
    /// was over [`Tags::MAX_COMMENT`] or not `NAME=value`.
    pub partial: bool,
}

/// A packet that is no comment header. The sender's fault; audio still plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagsError {
    /// Does not start with `OpusTags`.
    Magic,
    /// Ends before the list of comments begins.
    Short {
        /// Bytes there are.
        len: usize,
    },
}

impl std::fmt::Display for TagsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Magic => write!(f, "packet does not start with OpusTags"),
            Self::Short { len } => write!(f, "opus comment header ends after {len} bytes"),
        }
    }
}

impl std::error::Error for TagsError {}

impl Tags {
    /// Longest comment kept, in bytes: pictures are left out, lyrics are not.
    pub const MAX_COMMENT: usize = 64 * 1024;
    /// Most comments kept.
    pub const MAX_COMMENTS: usize = 1024;

    /// Whether a packet claims to be an `OpusTags`.
    pub fn is_tags(packet: &[u8]) -> bool {
        packet.starts_with(b"OpusTags")
    }

    /// Reads the packet, as far as it goes: counts and lengths that lie about
    /// what follows end the list.
    ///
    /// # Errors
    /// When it is no comment header at all.
    pub fn parse(packet: &[u8]) -> Result<Self, TagsError> {
        let short = TagsError::Short { len: packet.len() };
        let mut rest = packet.strip_prefix(b"OpusTags").ok_or(TagsError::Magic)?;
        let vendor = take_string(&mut rest).ok_or(short)?;
        let mut tags = Self {
            vendor: text(vendor),
            ..Self::default()
        };
        let count = take_u32(&mut rest).ok_or(short)?;
        for _ in 0..count {
            let Some(comment) = take_string(&mut rest) else {
                tags.partial = true;
                break;
            };
            match comment.iter().position(|&b| b == b'=') {
                Some(at)
                    if comment.len() <= Self::MAX_COMMENT
                        && tags.comments.len() < Self::MAX_COMMENTS =>
                {
                    let (name, value) = comment.split_at(at);
                    tags.comments
                        .push((text(name).to_ascii_uppercase(), text(&value[1..])));
                }
                _ => tags.partial = true,
            }
        }
        Ok(tags)
    }

    /// The packet's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = b"OpusTags".to_vec();
        put(&mut out, &[&self.vendor]);
        let count = u32::try_from(self.comments.len()).unwrap_or(0);
        out.extend_from_slice(&count.to_le_bytes());
        for (name, value) in &self.comments {
            put(&mut out, &[name, "=", value]);
        }
        out
    }
}

/// Appends one length-prefixed string made of `parts`.
fn put(out: &mut Vec<u8>, parts: &[&str]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&u32::try_from(len).unwrap_or(0).to_le_bytes());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Vendor and comments are UTF-8; what is not is shown as U+FFFD.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_u32(rest)?).ok()?;
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What ffmpeg 5.1 writes for `-metadata title=Ünï`.
    const FFMPEG: &[u8] =
        b"OpusTags\x04\0\0\0Lavf\x02\0\0\0\x0c\0\0\0encoder=Lavc\x0b\0\0\0title=\xc3\x9cn\xc3\xaf";

    #[test]
    fn reads_comments_in_order() {
        let tags = Tags::parse(FFMPEG).expect("tags");
        assert_eq!(tags.vendor, "Lavf");
        assert_eq!(
            tags.comments,
            [
                ("ENCODER".into(), "Lavc".into()),
                ("TITLE".into(), "Ünï".into())
            ]
        );
        assert!(!tags.partial);
    }

    #[test]
    fn keeps_what_is_whole() {
        let tags = Tags::parse(&FFMPEG[..FFMPEG.len() - 1]).expect("tags");
        assert_eq!(tags.comments.len(), 1);
        assert!(tags.partial);
        assert_eq!(
            Tags::parse(b"OpusTags\xff\xff\xff\xff"),
            Err(TagsError::Short { len: 12 })
        );
        assert_eq!(Tags::parse(b"OpusHead"), Err(TagsError::Magic));
        // A count of 2^32 - 1 costs nothing.
        let tags = Tags::parse(b"OpusTags\0\0\0\0\xff\xff\xff\xff").expect("tags");
        assert!(tags.partial && tags.comments.is_empty());
    }

    #[test]
    fn leaves_pictures_out() {
        let big = Tags {
            vendor: String::new(),
            comments: vec![
                ("METADATA_BLOCK_PICTURE".into(), "A".repeat(100_000)),
                ("TITLE".into(), "kept".into()),
            ],
            partial: false,
        };
        let tags = Tags::parse(&big.to_bytes()).expect("tags");
        assert_eq!(tags.comments, [("TITLE".into(), "kept".into())]);
        assert!(tags.partial);
    }

    proptest! {
        #[test]
        fn round_trips(vendor: String, comments: Vec<(String, String)>, junk: Vec<u8>) {
            let comments: Vec<_> = comments
                .into_iter()
                .map(|(name, value)| (name.replace('=', "").to_ascii_uppercase(), value))
                .collect();
            let tags = Tags { vendor, comments, partial: false };
            let mut bytes = tags.to_bytes();
            prop_assert_eq!(Tags::parse(&bytes), Ok(tags));
            bytes.truncate(8);
            bytes.extend(junk);
            let _ = Tags::parse(&bytes);
        }
    }
}
