//! Where audio is pushed to.

use crate::mount::percent_decode_bytes;

/// The port of Icecast, and of this relay.
const PORT: u16 = 8000;

/// A mount of an Icecast server or of a relay: `http://user:password@host:port/mount`
/// or `icecast://…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    authority: String,
    path: String,
    credentials: Option<Vec<u8>>,
}

impl Destination {
    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The mount with the query, as it is asked for.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The mount, without a query.
    pub fn mount(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// `user:password`, decoded.
    pub fn credentials(&self) -> Option<&[u8]> {
        self.credentials.as_deref()
    }

    /// The name under which it is shown; a query may hold a token.
    pub fn shown(&self) -> String {
        format!("{}{}", self.authority, self.mount())
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.shown())
    }
}

impl std::str::FromStr for Destination {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{:?} {why}", without_secrets(url));
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "icecast" => {}
            "https" => {
                return Err(wrong(
                    "is https, and audio is pushed over plain http only; write http:// and a port that takes it",
                ));
            }
            _ => return Err(wrong("does not begin with http:// or icecast://")),
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if path.len() < 2 || !path.starts_with('/') || path.starts_with("/?") {
            return Err(wrong(
                "names no mount; write http://source:PASSWORD@HOST:8000/live.opus",
            ));
        }
        if path.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(wrong("has a space in the mount's name; write %20"));
        }
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(percent_decode_bytes(credentials, false)), host),
            None => (None, authority),
        };
        // The colons of an IPv6 address are in brackets.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(PORT)),
        };
        let Some(port) = port.filter(|port: &u16| *port > 0) else {
            return Err(wrong("has no port from 1 to 65535"));
        };
        if name.is_empty() {
            return Err(wrong("names no host"));
        }
        Ok(Self {
            authority: format!("{name}:{port}"),
            path: path.to_owned(),
            credentials,
        })
    }
}

/// What of a URL may be shown when it cannot be read.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    let rest = match (rest.find('?'), rest.rfind('@')) {
        // Which of them is part of a password cannot be told.
        (Some(query), Some(user)) if query < user => "…",
        (query, user) => &rest[user.map_or(0, |at| at + 1)..query.unwrap_or(rest.len())],
    };
    format!("{scheme}{}", crate::ingest::head::shorten(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Destination, String> {
        url.parse()
    }

    #[test]
    fn urls_are_read_and_shown_without_secrets() {
        let to = read("http://source:p%40ss@radio.example:8010/live.opus").expect("sound");
        assert_eq!(
            (to.authority(), to.path()),
            ("radio.example:8010", "/live.opus")
        );
        assert_eq!(to.credentials(), Some(&b"source:p@ss"[..]));
        let to = read("icecast://source:x@radio.example/live?token=x&bitrate=96").expect("sound");
        assert_eq!(
            (to.path(), to.mount()),
            ("/live?token=x&bitrate=96", "/live")
        );
        assert_eq!(to.shown(), "radio.example:8000/live");
        assert_eq!(format!("{to:?}"), "http://radio.example:8000/live");
        assert_eq!(
            read("http://[::1]/a").expect("sound").authority(),
            "[::1]:8000"
        );
        assert_eq!(
            read("http://[::1]:9/a").expect("sound").authority(),
            "[::1]:9"
        );
    }

    #[test]
    fn what_cannot_be_pushed_to_is_said_with_the_value_and_without_secrets() {
        for (url, shown, why) in [
            (
                "https://source:geheim@radio.example/live?token=geheim",
                "\"https://radio.example/live\"",
                "plain http only",
            ),
            (
                "ftp://radio.example/x",
                "\"ftp://radio.example/x\"",
                "begin with",
            ),
            (
                "source:geheim@radio.example/x",
                "\"radio.example/x\"",
                "begin with",
            ),
            (
                "ftp://s:ge?heim@radio.example/x",
                "\"ftp://…\"",
                "begin with",
            ),
            (
                "http://radio.example",
                "\"http://radio.example\"",
                "no mount",
            ),
            (
                "http://radio.example/",
                "\"http://radio.example/\"",
                "no mount",
            ),
            (
                "http://radio.example?token=geheim",
                "\"http://radio.example\"",
                "no mount",
            ),
            (
                "http://radio.example/?token=geheim",
                "\"http://radio.example/\"",
                "no mount",
            ),
            ("http://radio.example:99999/x", "99999", "port"),
            ("http://s:geheim@:8000/x", "\"http://:8000/x\"", "no host"),
            (
                "http://radio.example/my live",
                "\"http://radio.example/my live\"",
                "%20",
            ),
        ] {
            let said = read(url).expect_err(url);
            assert!(said.contains(shown) && said.contains(why), "{url}: {said}");
            assert!(!said.contains("heim"), "{said}");
        }
    }
}
