//! What a simulated listener's peer makes of its bytes.

use seamcast_protocol::chunk::Header;
use serde_json::Value;

use super::super::Framing;

/// Bytes that say what they are, so that a raw stream can be taken apart.
pub(super) fn marked(kind: u8, number: u64, len: usize) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.extend((0..len).map(|i| (i as u64 * 31 + number) as u8));
    out
}

/// What a listener got.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Got {
    Headers(u64),
    Chunk(u64),
    Text(Value),
    Close(u16),
    LastChunk,
    /// A payload that is not marked.
    Frames(Vec<u8>),
}

fn unmark(mut bytes: &[u8], got: &mut Vec<Got>) {
    while !bytes.is_empty() {
        let number = u64::from_be_bytes(bytes[1..9].try_into().expect("marked"));
        let len = u32::from_be_bytes(bytes[9..13].try_into().expect("marked")) as usize;
        assert_eq!(bytes[..13 + len], marked(bytes[0], number, len), "altered");
        got.push(match bytes[0] {
            b'H' => Got::Headers(number),
            b'C' => Got::Chunk(number),
            other => panic!("kind {other}"),
        });
        bytes = &bytes[13 + len..];
    }
}

/// Reads a listener's bytes as its peer would; all messages must be whole.
pub(super) fn receive(framing: Framing, bytes: &[u8]) -> Vec<Got> {
    receive_with(framing, bytes, unmark)
}

pub(super) fn receive_with(
    framing: Framing,
    bytes: &[u8],
    unmark: fn(&[u8], &mut Vec<Got>),
) -> Vec<Got> {
    let mut bytes = bytes.strip_prefix(b"HEAD").expect("response head first");
    let mut got = Vec::new();
    match framing {
        Framing::HttpRaw => unmark(bytes, &mut got),
        Framing::HttpIcy { interval } => {
            let mut stream = Vec::new();
            while bytes.len() > interval as usize {
                let (part, rest) = bytes.split_at(interval as usize);
                stream.extend_from_slice(part);
                let block = usize::from(rest[0]) * 16;
                if block > 0 {
                    assert!(rest[1..].starts_with(b"StreamTitle='"));
                }
                bytes = &rest[1 + block..];
            }
            stream.extend_from_slice(bytes);
            unmark(&stream, &mut got);
        }
        Framing::HttpChunked => {
            while !bytes.is_empty() {
                let line = bytes.windows(2).position(|w| w == b"\r\n").expect("line");
                let size = std::str::from_utf8(&bytes[..line]).expect("hex");
                let size = usize::from_str_radix(size, 16).expect("hex");
                let (body, rest) = bytes[line + 2..].split_at(size);
                if size == 0 {
                    got.push(Got::LastChunk);
                }
                unmark(body, &mut got);
                bytes = rest.strip_prefix(b"\r\n").expect("end of chunk");
            }
        }
        Framing::WsPlain | Framing::WsFramed | Framing::HttpFramed => {
            while !bytes.is_empty() {
                let (len, at) = match bytes[1] {
                    126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
                    short => (usize::from(short), 2),
                };
                let (payload, rest) = bytes[at..].split_at(len);
                match bytes[0] {
                    0x81 => got.push(Got::Text(serde_json::from_slice(payload).expect("json"))),
                    0x82 if framing.is_framed() => {
                        let (header, payload) = Header::decode(payload).expect("chunk");
                        unmark(payload, &mut got);
                        if let Some(Got::Chunk(seq)) = got.last() {
                            assert_eq!(*seq, header.seq);
                        }
                    }
                    0x82 => unmark(payload, &mut got),
                    0x88 => got.push(Got::Close(u16::from_be_bytes([payload[0], payload[1]]))),
                    0x89 | 0x8a => {}
                    other => panic!("opcode {other:x}"),
                }
                bytes = rest;
            }
        }
    }
    got
}
