//! The messages of `seamcast.v1` as the body of a response: the very frames that
//! a WebSocket gets after the same join, to its close.

mod relay_common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use relay_common::mount;
use seamcast_protocol::{LISTENER_MEDIA_TYPE, LISTENER_SUBPROTOCOL, close};
use tests::support::http::request;
use tests::support::{Encoding, Pcm, Relay, Scratch, encode, require};

const SECONDS: f64 = 6.0;
/// A start, a late join, the live edge, and a resume that cannot be: a gap.
const JOINS: [&str; 4] = [
    "?from=start&mode=complete",
    "?from=1.5",
    "",
    "?from=elsewhere:0&burst=500ms",
];

fn connect(relay: &Relay) -> TcpStream {
    let socket = TcpStream::connect(relay.address).expect("connect");
    let limit = Some(Duration::from_secs(60));
    socket.set_read_timeout(limit).expect("timeout");
    socket
}

/// Sends a request and returns the head of its answer.
fn ask(socket: &mut TcpStream, request: &str) -> String {
    socket.write_all(request.as_bytes()).expect("request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("head")
}

fn over_http(relay: &Relay, path: &str) -> TcpStream {
    let mut socket = connect(relay);
    let accept = format!("text/html;q=0.1, {LISTENER_MEDIA_TYPE}");
    let head = ask(
        &mut socket,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"),
    );
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for line in [
        &format!("Content-Type: {LISTENER_MEDIA_TYPE}"),
        "Vary: Accept",
        "Cache-Control: no-store, no-cache",
        "Connection: close",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    assert!(!head.contains("Transfer-Encoding"), "{head}");
    socket
}

fn over_websocket(relay: &Relay, path: &str) -> TcpStream {
    let mut socket = connect(relay);
    let head = ask(
        &mut socket,
        &format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Protocol: {LISTENER_SUBPROTOCOL}\r\n\r\n"
        ),
    );
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    socket
}

/// All frames up to a close but pings; of `welcome` without the time of day.
fn frames(socket: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut all: Vec<(u8, Vec<u8>)> = Vec::new();
    while all.last().is_none_or(|(kind, _)| *kind != 0x88) {
        let mut begin = [0; 2];
        socket.read_exact(&mut begin).expect("a frame");
        let len = match begin[1] {
            126 => {
                let mut len = [0; 2];
                socket.read_exact(&mut len).expect("length");
                usize::from(u16::from_be_bytes(len))
            }
            127 => {
                let mut len = [0; 8];
                socket.read_exact(&mut len).expect("length");
                usize::try_from(u64::from_be_bytes(len)).expect("length")
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; len];
        socket.read_exact(&mut payload).expect("payload");
        if all.is_empty() {
            let mut welcome: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
            assert_eq!(welcome["type"], "welcome");
            assert!(welcome["server_time"].take().is_f64());
            payload = welcome.to_string().into_bytes();
        }
        if begin[0] != 0x89 {
            all.push((begin[0], payload));
        }
    }
    all
}

fn texts(frames: &[(u8, Vec<u8>)]) -> Vec<serde_json::Value> {
    let texts = frames.iter().filter(|(kind, _)| *kind == 0x81);
    texts
        .map(|(_, payload)| serde_json::from_slice(payload).expect("JSON"))
        .collect()
}

#[test]
fn both_transports_carry_the_same_frames() {
    require(&["opusenc"]);
    let relay = Relay::start();
    let scratch = Scratch::new("framed-http");
    let file = scratch.file("source.opus");
    let pcm = Pcm::noise(48_000, 1, (SECONDS * 48_000.0) as usize, 0.2, 9);
    encode(&pcm, Encoding::Opus(&["-b:a", "96k"]), &file).expect("encoder");
    let media = std::fs::read(&file).expect("encoded");
    let (most, rest) = media.split_at(media.len() * 2 / 3);
    let user = format!("source:{}", Relay::PASSWORD);
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    let mut source = connect(&relay);
    let len = media.len();
    write!(
        source,
        "PUT /a.opus HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\nContent-Length: {len}\r\n\r\n"
    )
    .and_then(|()| source.write_all(most))
    .expect("published");
    relay.wait_for("/api/mounts", "/a.opus", Duration::from_secs(30));
    let until = Instant::now() + Duration::from_secs(30);
    while mount(&relay, "/a.opus")["media_time"].as_f64() < Some(SECONDS * 0.6) {
        assert!(Instant::now() < until, "{}", mount(&relay, "/a.opus"));
        thread::sleep(Duration::from_millis(20));
    }
    // What is in the relay comes to rest, so that all join at the same place.
    thread::sleep(Duration::from_millis(500));

    let peers: Vec<_> = JOINS
        .iter()
        .map(|join| {
            let path = format!("/a.opus{join}");
            let sockets = [over_websocket(&relay, &path), over_http(&relay, &path)];
            sockets.map(|mut socket| thread::spawn(move || (frames(&mut socket), socket)))
        })
        .collect();
    source.write_all(rest).expect("published");

    let mut starts = Vec::new();
    for (join, [websocket, http]) in JOINS.iter().zip(peers) {
        let (expected, _open) = websocket.join().expect("websocket");
        let (got, mut socket) = http.join().expect("http");
        assert_eq!(socket.read(&mut [0]).expect("the end"), 0, "{join}");
        assert!(expected == got, "{join}: other frames");
        let (kind, reason) = got.last().expect("frames");
        assert_eq!(
            (*kind, &reason[..2]),
            (0x88, &close::ENDED.to_be_bytes()[..])
        );
        let said = texts(&got);
        assert_eq!(said.last().expect("texts")["type"], "end", "{join}");
        let gaps = said.iter().filter(|message| message["type"] == "gap");
        assert_eq!(
            gaps.count(),
            usize::from(join.contains("elsewhere")),
            "{join}"
        );
        let chunks = got.iter().filter(|(kind, _)| *kind == 0x82).count();
        assert!(chunks > 10, "{join}: {chunks} chunks");
        starts.push(said[0]["media_time"].as_f64().expect("media_time"));
    }
    assert_eq!(starts[0], 0.0);
    assert!(
        (1.0..=1.5).contains(&starts[1]) && starts[2] > 1.5,
        "{starts:?}"
    );
}

#[test]
fn what_is_refused_has_a_status() {
    let relay = Relay::start();
    let accept = format!("Accept: {LISTENER_MEDIA_TYPE}\r\n");
    let missing = request(relay.address, "GET", "/nothing.opus", &accept);
    assert_eq!(missing.status, 404);
}
