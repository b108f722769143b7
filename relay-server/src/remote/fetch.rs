//! What is asked of other servers: URLs, where those redirect to, headers.

use http::{HeaderName, HeaderValue, Uri, header};

/// A URL that can be fetched. It is not repeated in the error: it may hold secrets.
pub(crate) fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = encoded(text.trim())
        .parse()
        .map_err(|_| "url cannot be read; write http://host/path".to_owned())?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err("url must begin with http:// or https:// and name a host".to_owned());
    }
    Ok(url)
}

/// Bytes that no URL has, but that people and servers write, as escapes.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' | 0x7f.. | b'"' | b'<' | b'>' => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// Where `reference` points to from `base` (RFC 3986 §5.2).
pub(crate) fn resolve(base: &Uri, reference: &str) -> Result<Uri, String> {
    let reference = reference.trim().split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or("http");
    if has_scheme(reference) {
        return url(reference);
    }
    if reference.starts_with("//") {
        return url(&format!("{scheme}:{reference}"));
    }
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let (path, query) = match path {
        "" => (base.path().to_owned(), query.or(base.query())),
        _ if path.starts_with('/') => (without_dots(path), query),
        _ => {
            let folder = base
                .path()
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder);
            (without_dots(&format!("{folder}/{path}")), query)
        }
    };
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    url(&format!("{scheme}://{authority}{path}{query}"))
}

/// RFC 3986 §3.1.
fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']);
    let scheme = end
        .filter(|at| reference[*at..].starts_with(':'))
        .map_or("", |at| &reference[..at]);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// An absolute path without `.` and `..` (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut kept = Vec::with_capacity(segments.len());
    for (at, segment) in segments.iter().enumerate() {
        match *segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => {
                kept.push(other);
                continue;
            }
        }
        if at + 1 == segments.len() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// A header that is sent along; its value is taken for a secret.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| format!("{:?} is no header name", name.trim()))?;
    let mut value = HeaderValue::from_str(value.trim())
        .map_err(|_| format!("the value of header {parsed} cannot be sent"))?;
    value.set_sensitive(true);
    if matches!(
        parsed,
        header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING
    ) {
        return Err(format!("header {parsed} is set by the relay"));
    }
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 §5.4, without the fragments.
    #[test]
    fn references_are_resolved_as_the_rfc_has_them() {
        let base = url("http://a/b/c/d;p?q").expect("sound");
        for (reference, target) in [
            ("http://e/f", "http://e/f"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("//g:81/h", "http://g:81/h"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            // As servers write them.
            ("my song.mp3", "http://a/b/c/my%20song.mp3"),
            ("caf\u{e9}?a:b", "http://a/b/c/caf%C3%A9?a:b"),
            ("./12:30.mp3", "http://a/b/c/12:30.mp3"),
        ] {
            let found = resolve(&base, reference).map(|url| url.to_string());
            assert_eq!(found.as_deref(), Ok(target), "{reference:?}");
        }
        for none in ["gopher://x", "g:h", "http:g", "http://"] {
            assert!(resolve(&base, none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn relative_references_keep_the_authority() {
        let base = url("https://user:secret@a:8443").expect("sound");
        for (reference, target) in [
            ("stream2", "https://user:secret@a:8443/stream2"),
            ("//b/c", "https://b/c"),
        ] {
            let found = resolve(&base, reference).map(|url| url.to_string());
            assert_eq!(found.as_deref(), Ok(target), "{reference:?}");
        }
    }

    #[test]
    fn headers_that_frame_the_request_are_not_for_people() {
        assert!(header("X-Key ", " a").is_ok());
        for (name, value) in [("Host", "x"), ("no name", "x"), ("X", "a\nb")] {
            assert!(header(name, value).is_err(), "{name}");
        }
    }
}
