//! Resuming over real connections: fifty listeners of a live programme, each
//! cut off ten times at a random byte by a TCP reset, put together what its
//! source sent, byte for byte.

mod relay_common;

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use relay_common::mount;
use seamcast_protocol::chunk::Header;
use socket2::SockRef;
use tests::support::{Encoding, Pcm, Relay, Scratch, Seeded, encode, require};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

const LISTENERS: usize = 50;
const CUTS: usize = 10;
/// Most bytes that a connection gives before it is cut; all of them are less
/// than the programme.
const ROOM: usize = 30_000;
const SECONDS: usize = 20;
/// How much faster than it plays the programme is sent.
const HASTE: u32 = 8;

/// A connection that is reset after so many bytes.
struct Cut {
    stream: TcpStream,
    room: usize,
}

impl Read for Cut {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.room == 0 {
            return Err(Error::from(ErrorKind::ConnectionReset));
        }
        let most = into.len().min(self.room);
        let read = self.stream.read(&mut into[..most])?;
        self.room -= read;
        Ok(read)
    }
}

impl Write for Cut {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}

/// A listener that goes on wherever it was cut off.
#[derive(Default)]
struct Listener {
    epoch: String,
    next: u64,
    media: Vec<u8>,
    cuts: usize,
    /// Cut off before the WebSocket was there.
    early: usize,
    ended: bool,
}

impl Listener {
    /// One connection, up to its cut or the programme's end.
    fn connect(&mut self, relay: &Relay, path: &str, room: usize) {
        let from = match self.epoch.as_str() {
            "" => "start".to_owned(),
            epoch => format!("{epoch}:{}", self.next),
        };
        let url = relay.ws_url(&format!("{path}?from={from}&mode=complete"));
        let mut request = url.into_client_request().expect("url");
        let name = "seamcast.v1".parse().expect("header");
        request.headers_mut().insert("Sec-WebSocket-Protocol", name);
        let stream = TcpStream::connect(relay.address).expect("connect");
        let socket = SockRef::from(&stream);
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("reset on close");
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("timeout");
        let Ok((mut socket, _)) = tungstenite::client(request, Cut { stream, room }) else {
            self.cuts += 1;
            self.early += 1;
            return;
        };
        loop {
            match socket.read() {
                Ok(Message::Binary(chunk)) => {
                    let (header, payload) = Header::decode(&chunk).expect("a chunk");
                    assert_eq!(header.seq, self.next, "a chunk is missing or came twice");
                    self.next += 1;
                    self.media.extend_from_slice(payload);
                }
                Ok(Message::Text(text)) => self.control(&text),
                Ok(_) => {}
                Err(_) if socket.get_ref().room == 0 => {
                    self.cuts += 1;
                    return;
                }
                Err(error) => {
                    assert!(self.ended, "{from}: {error}");
                    return;
                }
            }
        }
    }

    fn control(&mut self, text: &str) {
        let message: serde_json::Value = serde_json::from_str(text).expect("JSON");
        match message["type"].as_str() {
            Some("welcome") => {
                if !self.epoch.is_empty() {
                    assert_eq!(message["recovered"], true, "{message}");
                }
                self.epoch = message["epoch"].as_str().expect("epoch").to_owned();
            }
            Some("end") => self.ended = true,
            Some("gap" | "error") => panic!("{message}"),
            _ => {}
        }
    }
}

/// Sends `media` in small pieces, faster than it plays, and ends.
fn publish(relay: &Relay, path: &str, media: &[u8]) {
    use base64::Engine as _;
    let user = format!("source:{}", Relay::PASSWORD);
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    let mut socket = TcpStream::connect(relay.address).expect("connect");
    let len = media.len();
    write!(
        socket,
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\nContent-Length: {len}\r\n\r\n"
    )
    .expect("request");
    let pieces = SECONDS * 20;
    for piece in media.chunks(media.len().div_ceil(pieces)) {
        socket.write_all(piece).expect("published");
        std::thread::sleep(Duration::from_millis(50) / HASTE);
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn five_hundred_resets_lose_and_repeat_no_byte() {
    require(&["ffmpeg"]);
    // Most resumes are answered out of the recording, the others out of memory.
    let relay = Relay::with_config("[defaults]\nrecord = true\nhistory = \"2s\"\nburst = \"1s\"\n");
    let scratch = Scratch::new("resume");
    let file = scratch.file("source.mp3");
    let pcm = Pcm::noise(48_000, 1, 48_000 * SECONDS, 0.2, 9);
    let bare = ["-b:a", "128k", "-write_xing", "0", "-id3v2_version", "0"];
    encode(&pcm, Encoding::Mp3(&bare), &file).expect("encoder");
    let media = std::fs::read(&file).expect("encoded");
    assert!(media.len() > CUTS * ROOM, "{} bytes", media.len());

    let (cuts, early) = std::thread::scope(|threads| {
        threads.spawn(|| publish(&relay, "/live.mp3", &media));
        relay.wait_for("/api/mounts", "\"state\":\"live\"", Duration::from_secs(20));
        let listeners: Vec<_> = (0..LISTENERS)
            .map(|number| {
                let (relay, media) = (&relay, &media);
                threads.spawn(move || {
                    let mut random = Seeded::new(number as u64 + 1);
                    let mut listener = Listener::default();
                    while !listener.ended {
                        let room = match listener.cuts {
                            // Some in the midst of the handshake.
                            CUTS.. => usize::MAX,
                            3 => 1 + random.below(400),
                            _ => 1 + random.below(ROOM),
                        };
                        listener.connect(relay, "/live.mp3", room);
                    }
                    assert!(
                        listener.media == *media,
                        "listener {number} got other bytes"
                    );
                    (listener.cuts, listener.early)
                })
            })
            .collect();
        let joined = listeners.into_iter().map(|l| l.join().expect("a listener"));
        joined.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    println!("{cuts} resets, {early} of them before the WebSocket was there");
    assert!(cuts >= LISTENERS * CUTS && early > 0, "{cuts}, {early}");
    // The relay has forgotten all of those connections.
    let until = Instant::now() + Duration::from_secs(20);
    while mount(&relay, "/live.mp3")["listeners"] != 0 {
        let state = mount(&relay, "/live.mp3");
        assert!(Instant::now() < until, "{state}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
