//! Frames from WebSocket listeners (RFC 6455 §5): few, small, masked.

use bytes::Bytes;

use super::wire::opcode;

/// Longest message taken; control messages are a line of JSON.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// What a listener sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary,
    /// A ping, to be answered with these bytes.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// A close, with its code if it had one.
    Close(Option<u16>),
}

/// The peer broke the protocol; the connection is closed with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Close code (RFC 6455 §7.4.1).
    pub(crate) code: u16,
    /// For people.
    pub(crate) reason: &'static str,
}

const fn violation<T>(code: u16, reason: &'static str) -> Result<T, Violation> {
    Err(Violation { code, reason })
}

/// Bytes of a frame or message that is not whole yet. A listener that is not
/// in the middle of one needs none.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    raw: Vec<u8>,
    message: Vec<u8>,
    /// Opcode of the message whose fragments are in `message`.
    kind: Option<u8>,
}

impl Inbox {
    /// Whether nothing is pending, so that the inbox may be dropped.
    pub(crate) fn is_idle(&self) -> bool {
        self.raw.is_empty() && self.kind.is_none()
    }

    /// Takes bytes and calls `on` for each event. Holds at most one frame and
    /// one message, each of [`MAX_MESSAGE`] bytes, between calls. What came
    /// with a close is not read; not to be called after it.
    ///
    /// # Errors
    /// When the peer broke the protocol; events before that were delivered.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut on: impl FnMut(Event),
    ) -> Result<(), Violation> {
        self.raw.extend_from_slice(bytes);
        let mut at = 0;
        let mut outcome = Ok(());
        while let Some(rest) = self.raw.get(at..) {
            match parse(rest) {
                Ok(Some((frame, len))) => {
                    at += len;
                    match self.frame(frame) {
                        Ok(Some(event)) => {
                            let close = matches!(event, Event::Close(_));
                            on(event);
                            if close {
                                at = self.raw.len();
                                break;
                            }
                        }
                        Ok(None) => {}
                        Err(violation) => {
                            outcome = Err(violation);
                            break;
                        }
                    }
                }
                Ok(None) => break,
                Err(violation) => {
                    outcome = Err(violation);
                    break;
                }
            }
        }
        self.raw.drain(..at);
        outcome
    }

    fn frame(&mut self, frame: Frame) -> Result<Option<Event>, Violation> {
        match frame.opcode {
            opcode::PING => return Ok(Some(Event::Ping(frame.payload.into()))),
            opcode::PONG => return Ok(Some(Event::Pong)),
            opcode::CLOSE => return close(&frame.payload).map(Some),
            opcode::CONTINUATION if self.kind.is_none() => {
                return violation(1002, "a continuation without a message before it");
            }
            opcode::TEXT | opcode::BINARY if self.kind.is_some() => {
                return violation(1002, "a new message inside another");
            }
            opcode::CONTINUATION => {}
            kind @ (opcode::TEXT | opcode::BINARY) => self.kind = Some(kind),
            _ => return violation(1002, "unknown opcode"),
        }
        if self.message.len() + frame.payload.len() > MAX_MESSAGE {
            return violation(1009, "messages of more than 4096 bytes are not taken");
        }
        self.message.extend_from_slice(&frame.payload);
        if !frame.fin {
            return Ok(None);
        }
        let message = std::mem::take(&mut self.message);
        match self.kind.take() {
            Some(opcode::TEXT) => match String::from_utf8(message) {
                Ok(text) => Ok(Some(Event::Text(text))),
                Err(_) => violation(1007, "text is not UTF-8"),
            },
            _ => Ok(Some(Event::Binary)),
        }
    }
}

struct Frame {
    fin: bool,
    opcode: u8,
    payload: Vec<u8>,
}

/// The frame at the front and its length in bytes; `None` until it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Violation> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let opcode = first & 0x0f;
    let fin = first & 0x80 != 0;
    if first & 0x70 != 0 {
        return violation(1002, "reserved bits are set, no extension was agreed");
    }
    if second & 0x80 == 0 {
        return violation(1002, "frames from clients must be masked");
    }
    let control = opcode >= opcode::CLOSE;
    let short = second & 0x7f;
    if control && (!fin || short > 125) {
        return violation(1002, "control frames are whole and at most 125 bytes");
    }
    let (len, rest) = match short {
        126 => match rest.split_first_chunk() {
            Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((len, rest)) => (u64::from_be_bytes(*len), rest),
            None => return Ok(None),
        },
        short => (u64::from(short), rest),
    };
    let len = match usize::try_from(len) {
        Ok(len) if len <= MAX_MESSAGE => len,
        _ => return violation(1009, "messages of more than 4096 bytes are not taken"),
    };
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let Some(masked) = rest.get(..len) else {
        return Ok(None);
    };
    let payload = masked
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask);
    let frame = Frame {
        fin,
        opcode,
        payload: payload.collect(),
    };
    Ok(Some((frame, bytes.len() - rest.len() + len)))
}

/// RFC 6455 §5.5.1: nothing, or a code and UTF-8.
fn close(payload: &[u8]) -> Result<Event, Violation> {
    match payload.split_first_chunk() {
        None if payload.is_empty() => Ok(Event::Close(None)),
        None => violation(1002, "a close code has two bytes"),
        Some((code, reason)) => {
            let code = u16::from_be_bytes(*code);
            let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if !valid || std::str::from_utf8(reason).is_err() {
                return violation(1002, "malformed close");
            }
            Ok(Event::Close(Some(code)))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A masked frame as a client sends it.
    pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut out = vec![first];
        match payload.len() {
            short @ 0..=125 => out.push(0x80 | short as u8),
            medium => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(medium as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        out
    }

    fn read(bytes: &[u8], piece: usize) -> (Vec<Event>, Result<(), Violation>) {
        let mut inbox = Inbox::default();
        let mut events = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            if let Err(violation) = inbox.push(piece, |event| events.push(event)) {
                return (events, Err(violation));
            }
            assert!(inbox.raw.len() <= MAX_MESSAGE + 14 && inbox.message.len() <= MAX_MESSAGE);
            if matches!(events.last(), Some(Event::Close(_))) {
                break;
            }
        }
        (events, Ok(()))
    }

    #[test]
    fn the_rfcs_masked_hello() {
        // RFC 6455 §5.7.
        let hello = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(
            read(&hello, 99),
            (vec![Event::Text("Hello".into())], Ok(()))
        );
        assert_eq!(client_frame(0x81, b"Hello"), hello);
    }

    #[test]
    fn fragments_with_control_between_them_in_any_pieces() {
        let mut bytes = client_frame(0x01, b"Hel");
        bytes.extend(client_frame(0x89, b"?"));
        bytes.extend(client_frame(0x80, &[b'o'; 300]));
        bytes.extend(client_frame(0x82, b"\xff"));
        bytes.extend(client_frame(0x88, &[0x03, 0xe8, b'b']));
        bytes.extend(client_frame(0x81, b"ignored"));
        for piece in [1, 2, 3, 7, 1000] {
            let (events, outcome) = read(&bytes, piece);
            assert_eq!(outcome, Ok(()));
            let expected = [
                Event::Ping(Bytes::from_static(b"?")),
                Event::Text(format!("Hel{}", "o".repeat(300))),
                Event::Binary,
                Event::Close(Some(1000)),
            ];
            assert_eq!(events[..4], expected);
        }
        assert_eq!(read(&bytes, 10_000).0.len(), 4);
    }

    #[test]
    fn violations_say_what_is_wrong() {
        let code = |bytes: &[u8]| read(bytes, 5).1.expect_err("violation").code;
        assert_eq!(code(&[0x81, 0x05, 1, 2, 3, 4, 5]), 1002, "unmasked");
        assert_eq!(code(&client_frame(0xc1, b"x")), 1002, "reserved bit");
        assert_eq!(code(&client_frame(0x83, b"x")), 1002, "opcode 3");
        assert_eq!(code(&client_frame(0x80, b"x")), 1002, "lone continuation");
        assert_eq!(code(&client_frame(0x09, b"x")), 1002, "fragmented ping");
        assert_eq!(code(&client_frame(0x89, &[0; 126])), 1002, "long ping");
        assert_eq!(code(&client_frame(0x88, &[3])), 1002, "half a code");
        assert_eq!(
            code(&client_frame(0x88, &[3, 0xed])),
            1002,
            "1005 on the wire"
        );
        assert_eq!(code(&client_frame(0x81, &[0xff])), 1007, "UTF-8");
        assert_eq!(code(&client_frame(0x81, &[b'x'; 4097])), 1009);
        assert_eq!(code(&[0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]), 1009, "2^63");
        let mut nested = client_frame(0x01, b"x");
        nested.extend(client_frame(0x81, b"x"));
        assert_eq!(code(&nested), 1002);
        let mut long = client_frame(0x01, &[b'x'; 4000]);
        long.extend(client_frame(0x80, &[b'x'; 97]));
        assert_eq!(code(&long), 1009);
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_bounded(bytes: Vec<u8>, piece in 1..64_usize) {
            let _ = read(&bytes, piece);
        }
    }
}
