//! WebSocket handshakes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, Method, Version, header};
use seamcast_protocol::{LISTENER_SUBPROTOCOL, SOURCE_SUBPROTOCOL};
use sha1::{Digest, Sha1};

/// A WebSocket handshake (RFC 6455 §4.2).
pub(super) struct Upgrade {
    accept: String,
    /// What was asked for and is spoken here.
    pub(super) subprotocol: Option<&'static str>,
}

impl Upgrade {
    /// The handshake in `request`, if it is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn asked(request: &Parts) -> Result<Option<Self>, String> {
        let headers = &request.headers;
        let lists = |name: header::HeaderName, word: &str| {
            list(headers, &name).any(|item| item.eq_ignore_ascii_case(word))
        };
        if !lists(header::UPGRADE, "websocket") || !lists(header::CONNECTION, "upgrade") {
            return Ok(None);
        }
        if request.method != Method::GET || request.version != Version::HTTP_11 {
            return Err("a WebSocket handshake is a GET of HTTP/1.1".into());
        }
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        if version.is_none_or(|version| version != "13") {
            return Err("sec-websocket-version must be 13".into());
        }
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16))
            .ok_or("sec-websocket-key must be 16 bytes in base64")?;
        let mut digest = Sha1::new();
        digest.update(key.as_bytes());
        digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let subprotocol = list(headers, &header::SEC_WEBSOCKET_PROTOCOL).find_map(|offered| {
            [LISTENER_SUBPROTOCOL, SOURCE_SUBPROTOCOL]
                .into_iter()
                .find(|spoken| *spoken == offered)
        });
        Ok(Some(Self {
            accept: STANDARD.encode(digest.finalize()),
            subprotocol,
        }))
    }

    /// The answer that accepts it.
    pub(super) fn head(&self) -> String {
        let protocol = self.subprotocol.map_or_else(String::new, |name| {
            format!("Sec-WebSocket-Protocol: {name}\r\n")
        });
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
            self.accept
        )
    }
}

/// The items of a comma-separated header, over all its lines.
pub(super) fn list<'h>(
    headers: &'h HeaderMap,
    name: &header::HeaderName,
) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}
