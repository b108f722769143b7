//! Framing: the few bytes around a payload, made once for all listeners.

use bytes::{BufMut, Bytes, BytesMut};
use seamcast_protocol::chunk::{HEADER_LEN, Header};

/// How a listener's bytes are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// HTTP/1.1 response body with `Transfer-Encoding: chunked`.
    HttpChunked,
    /// HTTP response body that ends with the connection (HTTP/1.0).
    HttpRaw,
    /// As [`Framing::HttpRaw`], with a metadata block after every `interval` bytes.
    HttpIcy {
        /// The `icy-metaint` promised in the response head; at least 1.
        interval: u32,
    },
    /// WebSocket whose binary messages are the plain stream.
    WsPlain,
    /// WebSocket with the `seamcast.v1` subprotocol.
    WsFramed,
    /// HTTP response body that is what [`Framing::WsFramed`] sends after the handshake, up to its close
    /// frame: for those whose sockets are slower than what they fetch.
    HttpFramed,
}

impl Framing {
    /// Whether the peer speaks WebSocket.
    pub const fn is_ws(self) -> bool {
        matches!(self, Self::WsPlain | Self::WsFramed)
    }

    /// Whether the peer understands JSON control messages.
    pub const fn is_framed(self) -> bool {
        matches!(self, Self::WsFramed | Self::HttpFramed)
    }

    /// Whether what is sent are frames of RFC 6455, so that a close frame says how it ends.
    pub const fn has_close(self) -> bool {
        self.is_ws() || self.is_framed()
    }

    /// Name for statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpChunked | Self::HttpRaw => "http",
            Self::HttpIcy { .. } => "icy",
            Self::WsPlain => "ws",
            Self::WsFramed => "seamcast.v1",
            Self::HttpFramed => "seamcast.v1+http",
        }
    }
}

/// RFC 6455 §5.2 opcodes.
pub(crate) mod opcode {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
}

/// Ends a chunked body (RFC 9112 §7.1).
pub const HTTP_LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends the header of an unmasked, unfragmented frame (RFC 6455 §5.2).
fn put_ws_header(out: &mut impl BufMut, opcode: u8, len: usize) {
    out.put_u8(0x80 | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => out.put_u8(short),
        (_, Ok(medium)) => {
            out.put_u8(126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(len as u64);
        }
    }
}

fn ws_frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 10);
    put_ws_header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// A text message.
pub fn text_frame(text: &str) -> Bytes {
    ws_frame(opcode::TEXT, text.as_bytes())
}

/// A binary message.
pub fn binary_frame(payload: &[u8]) -> Bytes {
    ws_frame(opcode::BINARY, payload)
}

/// A ping without payload.
pub fn ping_frame() -> Bytes {
    Bytes::from_static(&[0x80 | opcode::PING, 0])
}

/// The answer to a ping; at most 125 bytes are echoed (RFC 6455 §5.5).
pub fn pong_frame(payload: &[u8]) -> Bytes {
    ws_frame(opcode::PONG, payload.get(..125).unwrap_or(payload))
}

/// A close frame; the reason is cut to what a control frame holds.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    ws_frame(opcode::CLOSE, &payload)
}

/// One chunk of a chunked body; nothing for no bytes, as an empty chunk ends the body.
pub fn http_chunk(payload: &[u8]) -> Bytes {
    if payload.is_empty() {
        return Bytes::new();
    }
    let mut out = format!("{:x}\r\n", payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
    out.into()
}

/// An ICY metadata block: its length in units of 16 bytes, then padded text.
/// Quotes would end the value early, so they become typographic ones.
pub fn icy_block(title: &str, url: Option<&str>) -> Bytes {
    let clean = |text: &str| text.replace('\'', "’").replace(['\r', '\n', '\0'], " ");
    let mut text = format!("StreamTitle='{}';", clean(title));
    if let Some(url) = url {
        text.push_str(&format!("StreamUrl='{}';", clean(url)));
    }
    let mut end = text.len().min(255 * 16);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let units = end.div_ceil(16);
    let mut out = vec![0; 1 + units * 16];
    out[0] = units as u8;
    out[1..=end].copy_from_slice(&text.as_bytes()[..end]);
    out.into()
}

/// Most bytes that framing adds to a payload.
pub const OVERHEAD: usize = 10 + 18 + 10 + HEADER_LEN + 2;

/// A chunk's bytes with every framing's prefix, in one allocation:
///
/// ```text
/// plain ws header | http chunk line | v1 ws header, chunk header, payload | CRLF
/// ```
///
/// A `seamcast.v1` frame is one contiguous slice; the others are a prefix and
/// the payload, so no framing needs more than two.
#[derive(Debug)]
pub struct Wire {
    bytes: Bytes,
    http_at: u8,
    framed_at: u8,
    payload_at: u8,
}

impl Wire {
    /// Frames `payload`.
    pub fn new(header: &Header, payload: &[u8]) -> Self {
        Self::new_in(&mut BytesMut::new(), header, payload)
    }

    /// Frames `payload` in `block`, which is replaced when it has no room.
    pub fn new_in(block: &mut BytesMut, header: &Header, payload: &[u8]) -> Self {
        let most = OVERHEAD + payload.len();
        if block.capacity() < most {
            *block = BytesMut::with_capacity(most);
        }
        block.clear();
        put_ws_header(block, opcode::BINARY, payload.len());
        let http_at = block.len() as u8;
        block.extend_from_slice(format!("{:x}\r\n", payload.len()).as_bytes());
        let framed_at = block.len() as u8;
        put_ws_header(block, opcode::BINARY, HEADER_LEN + payload.len());
        block.extend_from_slice(&header.encode());
        let payload_at = block.len() as u8;
        block.extend_from_slice(payload);
        block.extend_from_slice(b"\r\n");
        Self {
            bytes: block.split().freeze(),
            http_at,
            framed_at,
            payload_at,
        }
    }

    /// Pages or frames.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.payload_at)..self.bytes.len() - 2]
    }

    /// What precedes the payload on the wire.
    pub fn prefix(&self, framing: Framing) -> &[u8] {
        let [first, _] = self.slices(framing);
        match framing {
            Framing::WsFramed | Framing::HttpFramed => &first[..first.len() - self.payload().len()],
            _ => first,
        }
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: the prefixes are always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// What goes out for `framing`, in order. An empty payload is nothing for HTTP.
    pub fn slices(&self, framing: Framing) -> [&[u8]; 2] {
        let at = |at: u8| usize::from(at);
        let payload = at(self.payload_at);
        match framing {
            Framing::WsFramed | Framing::HttpFramed => {
                [&self.bytes[at(self.framed_at)..self.bytes.len() - 2], &[]]
            }
            Framing::WsPlain => [&self.bytes[..at(self.http_at)], self.payload()],
            Framing::HttpChunked if self.payload().is_empty() => [&[], &[]],
            Framing::HttpChunked => [
                &self.bytes[at(self.http_at)..at(self.framed_at)],
                &self.bytes[payload..],
            ],
            Framing::HttpRaw | Framing::HttpIcy { .. } => [&[], self.payload()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seamcast_protocol::chunk::Flags;

    fn header() -> Header {
        Header {
            flags: Flags::SYNC,
            generation: 1,
            seq: 2,
            media_time: 3,
            duration: 4,
            ingest_time: 5,
        }
    }

    #[test]
    fn every_framing_of_one_chunk() {
        for len in [1, 80, 125, 126, 65_535 - HEADER_LEN, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let wire = Wire::new(&header(), &payload);
            assert_eq!(wire.payload(), payload);
            let joined = |framing| wire.slices(framing).concat();
            assert_eq!(joined(Framing::HttpRaw), payload);
            assert_eq!(joined(Framing::HttpChunked), http_chunk(&payload));
            assert_eq!(joined(Framing::WsPlain), binary_frame(&payload));
            let mut message = header().encode().to_vec();
            message.extend_from_slice(&payload);
            assert_eq!(joined(Framing::WsFramed), binary_frame(&message));
            assert_eq!(joined(Framing::HttpFramed), binary_frame(&message));
            for framing in [Framing::HttpRaw, Framing::HttpChunked, Framing::WsPlain] {
                let begin = [wire.prefix(framing), &payload].concat();
                assert!(joined(framing).starts_with(&begin));
            }
            let begin = [wire.prefix(Framing::WsFramed), &payload].concat();
            assert_eq!(joined(Framing::WsFramed), begin);
        }
        let empty = Wire::new(&header(), &[]);
        assert!(empty.slices(Framing::HttpChunked).concat().is_empty());
    }

    #[test]
    fn control_frames_fit() {
        let close = close_frame(4001, &"ä".repeat(100));
        assert_eq!(close.len(), 2 + 2 + 122);
        assert_eq!(close[..4], [0x88, 124, 0x0f, 0xa1]);
        assert_eq!(pong_frame(&[7; 300]).len(), 127);
        assert_eq!(ping_frame()[..], [0x89, 0]);
    }

    #[test]
    fn icy_blocks_are_padded_and_quoted() {
        let block = icy_block("It's", None);
        assert_eq!(block.len(), 1 + usize::from(block[0]) * 16);
        assert!(block[1..].starts_with("StreamTitle='It’s';".as_bytes()));
        assert_eq!(icy_block(&"x".repeat(9000), Some("u")).len(), 1 + 255 * 16);
    }
}
