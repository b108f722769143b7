//! Pure parser of source requests that hyper cannot read: `SOURCE`, PUT and
//! POST without body framing, `OPTIONS *`, zero-length pokes and SHOUTcast
//! logins. Tolerates what real clients send: bare LF, HTTP/1.0, ICE/1.0.

use crate::mount::{self, Target};

/// Most bytes of a request head.
pub const MAX_HEAD: usize = 16 * 1024;
/// Longest method; what is longer before the first space is no request.
const MAX_METHOD: usize = 32;
/// Most header lines.
pub const MAX_HEADERS: usize = 100;

/// Which parser a connection's next request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Read more bytes and ask again.
    More,
    /// Ours; the head is this many bytes long, blank line included.
    Source(usize),
    /// hyper's, if [`check`] has no objection: its head is whole, or can never be one.
    Http,
    /// Nobody's: the head is longer than [`MAX_HEAD`].
    TooLong,
}

/// What a source asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `SOURCE`, Icecast's own.
    Source,
    /// `PUT`.
    Put,
    /// `POST`.
    Post,
    /// `OPTIONS`, sent by libshout to learn what there is.
    Options,
}

/// Protocol named by the request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`.
    Http10,
    /// `HTTP/1.1`.
    Http11,
    /// `ICE/1.0`.
    Ice10,
}

/// A source's request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it asks for.
    pub method: Method,
    /// The mount and its query; `OPTIONS *` has the path `*`.
    pub target: Target,
    /// Protocol.
    pub version: Version,
    headers: Vec<(String, String)>,
}

/// A request head that cannot be taken. The client's fault; answer with
/// [`HeadError::status`] and close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The request line is not `METHOD TARGET VERSION`.
    RequestLine(String),
    /// A header line without a proper name.
    Header(String),
    /// More header lines than [`MAX_HEADERS`].
    TooMany(usize),
    /// Content-Length together with Transfer-Encoding, or twice, or no number.
    Framing(String),
    /// A mount name that cannot be.
    Mount(String),
}

impl HeadError {
    /// The HTTP status that says it.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooMany(_) => 431,
            Self::RequestLine(_) | Self::Header(_) | Self::Framing(_) | Self::Mount(_) => 400,
        }
    }
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RequestLine(line) => write!(
                f,
                "request line {line:?} is not of the form \"PUT /mount HTTP/1.1\""
            ),
            Self::Header(line) => write!(f, "header line {line:?} has no proper name"),
            Self::TooMany(count) => {
                write!(f, "{count} header lines, at most {MAX_HEADERS} are taken")
            }
            Self::Framing(why) => f.write_str(why),
            Self::Mount(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for HeadError {}

/// Decides by the bytes received so far. Ask again with more of them after
/// [`Verdict::More`]; the verdict for a longer prefix never contradicts.
pub fn sniff(bytes: &[u8]) -> Verdict {
    let rest = after_blank_lines(bytes);
    let skipped = bytes.len() - rest.len();
    if skipped > 64 {
        return Verdict::TooLong;
    }
    let starts = |word: &[u8]| rest.len() >= word.len() && rest.starts_with(word);
    let may_start = |word: &[u8]| rest.len() < word.len() && word.starts_with(rest);
    let always = [&b"SOURCE "[..], b"OPTIONS * "];
    let body = [&b"PUT "[..], b"POST "];
    if always.iter().chain(&body).any(|word| may_start(word)) {
        return Verdict::More;
    }
    let ours = always.iter().any(|word| starts(word));
    let method = rest.split(|b| *b == b' ').next().unwrap_or_default();
    if method.len() > MAX_METHOD || !method.iter().copied().all(is_token) {
        return Verdict::Http;
    }
    let Some(end) = head_end(rest) else {
        return if bytes.len() > MAX_HEAD {
            Verdict::TooLong
        } else {
            Verdict::More
        };
    };
    if skipped + end > MAX_HEAD {
        return Verdict::TooLong;
    }
    let may_be = body.iter().any(|word| starts(word));
    if ours || may_be && unframed_source(&rest[..end]) {
        Verdict::Source(skipped + end)
    } else {
        Verdict::Http
    }
}

/// RFC 9112 §2.2: empty lines before a request are ignored.
fn after_blank_lines(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    &bytes[blank.count()..]
}

/// Finds fault with the head of a request that is no source's. hyper finds the
/// same faults, but answers without a word of why.
///
/// # Errors
/// When it is malformed.
pub fn check(bytes: &[u8]) -> Result<(), HeadError> {
    let mut lines = lines(after_blank_lines(bytes));
    let first = lines.next().unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    let sound = matches!(words[..], [method, target, "HTTP/1.0" | "HTTP/1.1"]
        if !method.is_empty() && method.bytes().all(is_token)
            && !target.is_empty() && target.bytes().all(|b| b > b' ' && b != 0x7f));
    if !sound {
        return Err(HeadError::RequestLine(shorten(&first)));
    }
    check_framing(&parse_headers(lines)?)
}

/// Length of the head including its blank line, CRLF or bare LF.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' {
            if at > 0 && matches!(&bytes[line..at], b"" | b"\r") {
                return Some(at + 1);
            }
            line = at + 1;
        }
    }
    None
}

/// Whether a PUT or POST head is a source request whose body hyper would take
/// for empty. The relay's own routes are always hyper's.
fn unframed_source(head: &[u8]) -> bool {
    let mut lines = lines(head);
    let target = lines
        .next()
        .and_then(|line| line.split(' ').nth(1).map(str::to_owned));
    if target.is_some_and(|target| mount::is_reserved(&target)) {
        return false;
    }
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            // hyper de-frames it, unless a length makes the framing ambiguous.
            return has_header(head, "content-length");
        }
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim() == "0");
        }
    }
    length.unwrap_or(true)
}

fn has_header(head: &[u8], wanted: &str) -> bool {
    lines(head).any(|line| {
        line.split_once(':')
            .is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
    })
}

/// The head's lines without their ends; bytes that are not UTF-8 are read as
/// Latin-1, which is what clients that do not know better send.
fn lines(head: &[u8]) -> impl Iterator<Item = String> {
    head.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .map(text)
        .take_while(|line| !line.is_empty())
}

/// UTF-8, else Latin-1.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

impl Head {
    /// Parses a whole head, as long as [`Verdict::Source`] says.
    ///
    /// # Errors
    /// When it cannot be understood or its framing is ambiguous.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let mut lines = lines(after_blank_lines(bytes));
        let first = lines.next().unwrap_or_default();
        let wrong = || HeadError::RequestLine(shorten(&first));
        let mut words = first.split_ascii_whitespace();
        let method = match words.next().ok_or_else(wrong)? {
            "SOURCE" => Method::Source,
            "PUT" => Method::Put,
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            _ => return Err(wrong()),
        };
        let target = words.next().ok_or_else(wrong)?;
        let version = match words.next() {
            Some("HTTP/1.1") => Version::Http11,
            Some("HTTP/1.0") => Version::Http10,
            Some("ICE/1.0") => Version::Ice10,
            _ => return Err(wrong()),
        };
        if words.next().is_some() {
            return Err(wrong());
        }
        let target = if method == Method::Options && target == "*" {
            Target::asterisk()
        } else {
            Target::parse(target).map_err(HeadError::Mount)?
        };
        let headers = parse_headers(lines)?;
        check_framing(&headers)?;
        Ok(Self {
            method,
            target,
            version,
            headers,
        })
    }

    /// The same of a request that hyper has read, when its body has no framing
    /// that hyper knows: one that is not the first on its connection. `None`
    /// when it has.
    pub(crate) fn of(request: &http::request::Parts) -> Option<Result<Self, HeadError>> {
        let header = |name| request.headers.get(name);
        let framed = header(http::header::TRANSFER_ENCODING).is_some()
            || header(http::header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        let method = match request.method.as_str() {
            "SOURCE" => Method::Source,
            "PUT" if !framed => Method::Put,
            "POST" if !framed => Method::Post,
            _ => return None,
        };
        let target = Target::parse(&request.uri.to_string()).map_err(HeadError::Mount);
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        Some(target.map(|target| Self {
            method,
            target,
            version: match request.version {
                http::Version::HTTP_11 => Version::Http11,
                _ => Version::Http10,
            },
            headers: headers.collect(),
        }))
    }

    /// The first header called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Whether the client waits for `100 Continue`.
    pub fn expects_continue(&self) -> bool {
        self.header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    /// Whether this is libshout's question whether it may: a body of declared
    /// length zero.
    pub fn is_poke(&self) -> bool {
        self.header("content-length") == Some("0")
    }

    /// Whether another request may follow on the connection.
    pub fn keeps_alive(&self) -> bool {
        let connection = self.header("connection").unwrap_or_default();
        let said = |word: &str| {
            connection
                .split(',')
                .any(|part| part.trim().eq_ignore_ascii_case(word))
        };
        match self.version {
            Version::Http11 => !said("close"),
            Version::Http10 | Version::Ice10 => said("keep-alive"),
        }
    }
}

/// RFC 9112 §6.3: a length that is one, and not beside chunks.
fn check_framing(headers: &[(String, String)]) -> Result<(), HeadError> {
    let values = |name: &'static str| headers.iter().filter(move |(key, _)| key == name);
    let lengths = values("content-length").count();
    if lengths > 0 && values("transfer-encoding").count() > 0 {
        return Err(HeadError::Framing(
            "content-length and transfer-encoding together; send one of them".into(),
        ));
    }
    if lengths > 1 {
        return Err(HeadError::Framing(format!(
            "{lengths} content-length headers; send one"
        )));
    }
    if let Some((_, length)) = values("content-length").next()
        && length.parse::<u64>().is_err()
    {
        return Err(HeadError::Framing(format!(
            "content-length {:?} is not a number",
            shorten(length)
        )));
    }
    Ok(())
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte)
}

/// Header lines up to the blank one. Names are folded to lower case.
fn parse_headers(lines: impl Iterator<Item = String>) -> Result<Vec<(String, String)>, HeadError> {
    let mut headers = Vec::new();
    for line in lines {
        if headers.len() == MAX_HEADERS {
            return Err(HeadError::TooMany(MAX_HEADERS + 1));
        }
        let wrong = || HeadError::Header(shorten(&line));
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        // RFC 9112 §5.1: no space before the colon, no folded lines.
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(wrong());
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(headers)
}

/// A SHOUTcast login: the password's line, then `icy-*` header lines. `None`
/// until the blank line is there.
pub fn parse_icy(bytes: &[u8]) -> Option<Result<(Icy, usize), HeadError>> {
    let end = head_end(bytes)?;
    let mut lines = lines(&bytes[..end]);
    let password = lines.next().unwrap_or_default();
    Some(parse_headers(lines).map(|headers| (Icy { password, headers }, end)))
}

/// What a SHOUTcast source sends first. The answer to the password's line
/// comes before the headers, so the line alone can be had by [`icy_password`].
#[derive(Clone, PartialEq, Eq)]
pub struct Icy {
    /// The password.
    pub password: String,
    /// `icy-name`, `content-type` and so on.
    pub headers: Vec<(String, String)>,
}

impl std::fmt::Debug for Icy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Icy")
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// The first line, once it is whole, and its length with the line's end.
pub fn icy_password(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Some((text(line), end + 1))
}

/// A piece of hostile text short enough for an error message.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MOST).collect();
    short.push('…');
    short
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
