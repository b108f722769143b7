//! What the relay's suites share: listeners of every transport, and a judge.

#![allow(dead_code, reason = "each suite uses a part")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use seamcast_media::mp3::Found;
use tests::support::{Pcm, Program, Relay};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// GETs `path` and reads the body for `time`, or to its end.
pub(crate) fn listen_http(relay: &Relay, path: &str, time: Duration) -> Vec<u8> {
    let secs = format!("{:.1}", time.as_secs_f64());
    let out = Program::new("curl")
        .args(["-sS", "--max-time", &secs, &relay.url(path)])
        .limit(time + Duration::from_secs(20))
        .finish()
        .unwrap_or_else(|e| panic!("{path}: {e}"));
    out.stdout
}

/// As HTTP/1.0, over a plain socket: the body up to the connection's end.
pub(crate) fn listen_http10(relay: &Relay, path: &str, time: Duration) -> Vec<u8> {
    let mut socket = TcpStream::connect(relay.address).expect("connect");
    write!(socket, "GET {path} HTTP/1.0\r\n\r\n").expect("request");
    let body = read_for(&mut socket, time);
    let end = body.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {} bytes", body.len()));
    assert!(body.starts_with(b"HTTP/1.0 200 OK\r\n"));
    body[end + 4..].to_vec()
}

/// Reads what comes within `time`.
pub(crate) fn read_for(socket: &mut TcpStream, time: Duration) -> Vec<u8> {
    let until = Instant::now() + time;
    let mut all = Vec::new();
    let mut block = [0; 65536];
    while let Some(left) = until
        .checked_duration_since(Instant::now())
        .filter(|d| !d.is_zero())
    {
        socket.set_read_timeout(Some(left)).expect("timeout");
        match socket.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(n) => all.extend_from_slice(&block[..n]),
        }
    }
    all
}

/// Sends `request` and returns everything answered until the relay closes.
pub(crate) fn exchange(relay: &Relay, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(relay.address).expect("connect");
    socket.write_all(request).expect("request");
    String::from_utf8_lossy(&read_for(&mut socket, Duration::from_secs(8))).into_owned()
}

/// A WebSocket client.
pub(crate) struct Socket(WebSocket<TcpStream>);

impl Socket {
    /// Connects to `path`, asking for `subprotocol`.
    pub(crate) fn open(relay: &Relay, path: &str, subprotocol: Option<&str>) -> Self {
        let mut request = relay.ws_url(path).into_client_request().expect("url");
        if let Some(name) = subprotocol {
            let value = name.parse().expect("header");
            request
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", value);
        }
        let stream = TcpStream::connect(relay.address).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        let (socket, answer) = tungstenite::client(request, stream)
            .unwrap_or_else(|e| panic!("no WebSocket at {path}: {e}"));
        let spoken = answer.headers().get("Sec-WebSocket-Protocol");
        assert_eq!(spoken.and_then(|v| v.to_str().ok()), subprotocol);
        Self(socket)
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: Message) {
        self.0.send(message).expect("send");
    }

    /// The next text or binary message, `None` after a close.
    pub(crate) fn next(&mut self) -> Option<Message> {
        loop {
            match self.0.read() {
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => return Some(message),
                Ok(_) => {}
            }
        }
    }

    /// The close code, reading until there is one.
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.0.read() {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next control message of the type `kind`, skipping all else.
    pub(crate) fn control(&mut self, kind: &str) -> serde_json::Value {
        while let Some(message) = self.next() {
            if let Message::Text(text) = message {
                let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                if value["type"] == kind {
                    return value;
                }
            }
        }
        panic!("the socket closed before a {kind} message");
    }
}

/// What a plain WebSocket delivers within `time`: messages put together.
pub(crate) fn listen_ws(relay: &Relay, path: &str, time: Duration) -> Vec<u8> {
    let mut socket = Socket::open(relay, path, None);
    let until = Instant::now() + time;
    let mut all = Vec::new();
    while Instant::now() < until {
        match socket.next() {
            Some(Message::Binary(bytes)) => all.extend_from_slice(&bytes),
            Some(other) => panic!("a plain socket got {other:?}"),
            None => break,
        }
    }
    all
}

/// What `seamcast.v1` delivers within `time`, as a plain stream: each
/// configuration's headers, then payloads.
pub(crate) fn listen_framed(relay: &Relay, path: &str, time: Duration) -> Vec<u8> {
    let mut socket = Socket::open(relay, path, Some(seamcast_protocol::LISTENER_SUBPROTOCOL));
    let until = Instant::now() + time;
    let mut all = Vec::new();
    let mut expected = None;
    while Instant::now() < until {
        match socket.next() {
            Some(Message::Text(text)) => {
                let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                if value["type"] == "config" {
                    let headers = value["headers"].as_str().expect("headers");
                    let headers = base64::engine::general_purpose::STANDARD.decode(headers);
                    all.extend_from_slice(&headers.expect("base64"));
                }
                assert_ne!(value["type"], "gap", "{text}");
            }
            Some(Message::Binary(bytes)) => {
                let (header, payload) =
                    seamcast_protocol::chunk::Header::decode(&bytes).expect("chunk");
                let expected = expected.get_or_insert(header.seq);
                assert_eq!(header.seq, *expected, "sequence numbers are consecutive");
                *expected += 1;
                all.extend_from_slice(payload);
            }
            Some(_) | None => break,
        }
    }
    all
}

/// Cuts what the clock left unfinished off the end of a live capture: the last
/// page or frame may be partial when the listener stopped reading.
pub(crate) fn whole(bytes: &[u8], mp3: bool) -> Vec<u8> {
    let end = if mp3 {
        let mut framer = seamcast_media::mp3::Framer::new();
        framer.push(bytes);
        framer.finish();
        let ends = std::iter::from_fn(|| framer.poll()).filter_map(|found| match found {
            Found::Frame {
                offset, payload, ..
            } => Some(offset as usize + payload.len()),
            _ => None,
        });
        ends.last()
    } else {
        (1..bytes.len().saturating_sub(3))
            .rev()
            .find(|at| bytes[*at..].starts_with(b"OggS"))
    };
    bytes[..end.unwrap_or(bytes.len())].to_vec()
}

/// Decodes a plain stream with ffmpeg, which must not say a word.
pub(crate) fn decode_silently(bytes: &[u8], mp3: bool, rate: u32, channels: usize) -> Pcm {
    let decoder = if mp3 { "mp3float" } else { "libopus" };
    // ffmpeg compares the length in a Xing or Info frame with the file's, which
    // a pipe has not; and without such a frame it wants no file.
    let scratch = tests::support::Scratch::new("decode");
    let tagged = mp3
        && bytes
            .windows(4)
            .take(256)
            .any(|w| w == b"Info" || w == b"Xing");
    let (input, piped) = if tagged {
        let file = scratch.file("stream");
        std::fs::write(&file, bytes).expect("scratch file");
        (file, Vec::new())
    } else {
        ("pipe:0".into(), bytes.to_vec())
    };
    let out = Program::new("ffmpeg")
        .args(["-v", "warning", "-f", if mp3 { "mp3" } else { "ogg" }])
        .args(["-c:a", decoder, "-i"])
        .arg(&input)
        .args(["-f", "f32le", "-c:a", "pcm_f32le"])
        .args([
            "-ar",
            &rate.to_string(),
            "-ac",
            &channels.to_string(),
            "pipe:1",
        ])
        .input(piped)
        .run()
        .unwrap_or_else(|e| panic!("{} bytes: {e}", bytes.len()));
    assert_eq!(
        out.stderr.trim(),
        "",
        "ffmpeg warns about {} bytes",
        bytes.len()
    );
    Pcm::from_f32le(&out.stdout, rate, channels)
}

/// Decodes MP3 with mpg123, which must not say a word either.
pub(crate) fn mpg123_is_content(name: &str, bytes: &[u8]) {
    let scratch = tests::support::Scratch::new("mpg123");
    let file = scratch.file("stream.mp3");
    std::fs::write(&file, bytes).expect("scratch file");
    let out = Program::new("mpg123")
        .args(["-q", "-w"])
        .arg(scratch.file("stream.wav"))
        .arg(&file)
        .run()
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(out.stderr.trim(), "", "{name}: mpg123 complains");
}

/// Level of a decode, which shows that it is not silence.
pub(crate) fn rms(pcm: &Pcm) -> f64 {
    let sum: f64 = pcm.samples.iter().map(|s| f64::from(s * s)).sum();
    (sum / pcm.samples.len().max(1) as f64).sqrt()
}

/// `/api/mounts/{m}`.
pub(crate) fn mount(relay: &Relay, path: &str) -> serde_json::Value {
    let (status, body) = relay.fetch(&format!("/api/mounts{path}"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{body}: {e}"))
}

/// ffmpeg's arguments that make a stereo tone of `secs` seconds.
pub(crate) fn tone(secs: f64) -> Vec<String> {
    let graph = format!("sine=440:r=48000:d={secs},aformat=channel_layouts=stereo");
    ["-v", "error", "-nostdin", "-f", "lavfi", "-i", &graph]
        .map(str::to_owned)
        .to_vec()
}
