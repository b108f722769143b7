//! Names of mounts as they come in request targets.

/// Longest mount name in bytes.
const MAX_NAME: usize = 255;

/// First path segments that are the relay's own.
const RESERVED: &[&str] = &[
    "api",
    "admin",
    "admin.cgi",
    "files",
    "healthz",
    "readyz",
    "metrics",
    "player",
    "studio",
    "status-json.xsl",
    "v1",
    "index.html",
    "favicon.ico",
    "robots.txt",
    "assets",
    "_",
];

/// A request target taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path, decoded, with its leading slash.
    pub path: String,
    /// The query's pairs, decoded, in order.
    pub query: Vec<(String, String)>,
}

impl Target {
    /// The target of `OPTIONS *`.
    pub fn asterisk() -> Self {
        Self {
            path: "*".to_owned(),
            query: Vec::new(),
        }
    }

    /// Takes a source's request target apart and checks the mount's name.
    /// Some clients forget the leading slash, some send the absolute form.
    ///
    /// # Errors
    /// Says why the name cannot be a mount's.
    pub fn parse(target: &str) -> Result<Self, String> {
        let mut rest = target;
        for scheme in ["http://", "https://", "icy://"] {
            if let Some(after) = rest.strip_prefix(scheme) {
                rest = after.find('/').map_or("/", |at| &after[at..]);
            }
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = percent_decode(path, false).ok_or_else(|| {
            format!("mount {path:?} is not UTF-8; percent-encode its name as UTF-8")
        })?;
        let path = if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        };
        check_name(&path)?;
        Ok(Self {
            path,
            query: parse_query(query),
        })
    }

    /// The first value of the query parameter `name`.
    pub fn query(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }
}

/// The first value of `name`.
pub fn find<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Takes a query string apart; bytes that are no UTF-8 are read as Latin-1.
pub fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .take(64)
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| crate::ingest::head::text(&percent_decode_bytes(text, true));
            (decode(name), decode(value))
        })
        .collect()
}

/// Undoes percent encoding; `None` when the outcome is not UTF-8.
pub fn percent_decode(text: &str, plus_is_space: bool) -> Option<String> {
    String::from_utf8(percent_decode_bytes(text, plus_is_space)).ok()
}

/// Undoes percent encoding; malformed escapes are left as they are.
pub fn percent_decode_bytes(text: &str, plus_is_space: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(if plus_is_space && byte == b'+' {
                    b' '
                } else {
                    byte
                });
                at += 1;
            }
        }
    }
    out
}

/// Whether a path (or request target) is one of the relay's own routes.
pub fn is_reserved(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let first = path.trim_start_matches('/').split('/').next();
    first.is_some_and(|segment| RESERVED.contains(&segment))
}

/// Checks that `name` can be a mount's.
///
/// # Errors
/// Says why not.
pub fn check_name(name: &str) -> Result<(), String> {
    let Some(rest) = name.strip_prefix('/') else {
        return Err("a mount's name begins with a slash, such as /live.opus".into());
    };
    if rest.is_empty() {
        return Err("the mount's name is missing; use a path such as /live.opus".into());
    }
    if name.len() > MAX_NAME {
        return Err(format!(
            "mount {:?} has a name of {} bytes, at most {MAX_NAME} are taken",
            crate::ingest::head::shorten(name),
            name.len()
        ));
    }
    if rest
        .chars()
        .any(|c| c.is_control() || "\\?#\"<>".contains(c))
    {
        let shown = crate::ingest::head::shorten(name);
        return Err(format!(
            "mount {shown:?} has a control character or one of \\ ? # \" < >; leave them out"
        ));
    }
    if rest
        .split('/')
        .any(|segment| segment.is_empty() || segment == "." || segment == "..")
    {
        let shown = crate::ingest::head::shorten(name);
        return Err(format!(
            "mount {shown:?} has an empty, \".\" or \"..\" segment; use a path such as /live.opus"
        ));
    }
    if is_reserved(name) {
        return Err(format!(
            "{name:?} is one of the relay's own routes; choose another mount"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_targets_apart() {
        let target = Target::parse("/a%20b.opus?join=start&song=caf%E9+x&e").expect("sound");
        assert_eq!(target.path, "/a b.opus");
        assert_eq!(target.query("join"), Some("start"));
        assert_eq!(target.query("song"), Some("café x"));
        assert_eq!(target.query("e"), Some(""));
        let same = |text: &str| Target::parse(text).map(|t| t.path);
        assert_eq!(same("live.mp3"), Ok("/live.mp3".into()));
        assert_eq!(same("http://host:1/live.mp3"), Ok("/live.mp3".into()));
        for bad in [
            "/",
            "//x",
            "/../x",
            "/a/%2e%2e/b",
            "/api/x",
            "/a%00",
            "/%ff",
            "",
        ] {
            assert!(same(bad).is_err(), "{bad}");
        }
        assert!(same(&format!("/{}", "a".repeat(255))).is_err());
        assert_eq!(percent_decode("%zz%4", false), Some("%zz%4".into()));
    }
}
