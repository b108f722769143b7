//! Hostile and broken input gets a clear answer, and the relay lives on.

mod relay_common;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use relay_common::{exchange, mount, read_for};
use tests::support::{Relay, RelayOptions, Seeded};

fn relay() -> Relay {
    let config = "head_timeout = \"1s\"\n[defaults]\nsource_timeout = \"1s\"\ngrace = \"1s\"\n";
    let relay = Relay::start_with(&RelayOptions {
        args: vec!["--demo".into()],
        config: Some(config.into()),
        ..RelayOptions::default()
    });
    relay.wait_for("/api/mounts", "/demo.opus", Duration::from_secs(20));
    relay
}

fn lives_on(relay: &Relay) {
    let before = mount(relay, "/demo.opus")["head"].as_u64().expect("head");
    std::thread::sleep(Duration::from_millis(400));
    let after = mount(relay, "/demo.opus")["head"].as_u64().expect("head");
    assert!(after > before, "the demo stands still");
    let log = relay.process.stderr();
    assert!(!log.contains("panicked"), "{log}");
    assert!(
        !log.contains(Relay::PASSWORD) && !log.contains(Relay::TOKEN),
        "{log}"
    );
}

/// Waits until the log has `text`: it is read by a thread of the test's, which
/// may be late.
fn says(relay: &Relay, text: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while !relay.process.stderr().contains(text) {
        assert!(Instant::now() < until, "{text}: {}", relay.process.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn put(path: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{more}Content-Length: {}\r\n\r\n",
        Relay::PASSWORD,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

#[test]
fn bodies_that_are_no_audio() {
    let relay = relay();
    let mut random = Seeded::new(5);
    let noise: Vec<u8> = (0..400_000)
        .map(|_| (random.unit() * 127.0) as u8)
        .collect();
    let html = b"<!doctype html><title>Not here</title>".repeat(10);
    let lying_wav = [
        &b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\0\0"[..],
        &[0; 64],
    ]
    .concat();
    for (name, more, body, status) in [
        ("noise", "", &noise[..], "415"),
        ("html", "", &html[..], "415"),
        (
            "declared html",
            "Content-Type: text/html\r\n",
            &html[..],
            "415",
        ),
        ("flac", "", b"fLaC\0\0\0\x22", "415"),
        ("wav", "", &lying_wav[..], "415"),
        ("three bytes", "", b"Ogg", "415"),
        (
            "raw without rate",
            "Content-Type: audio/x-raw;format=u8\r\n",
            b"abc",
            "415",
        ),
        (
            "odd rate",
            "Content-Type: audio/L16;rate=7\r\n",
            b"abcd",
            "415",
        ),
        (
            "half a frame",
            "Content-Type: audio/L16;rate=8000\r\n",
            b"a",
            "415",
        ),
    ] {
        let answer = exchange(&relay, &put("/bad.opus", more, body));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {answer}"
        );
        assert!(answer.contains("\"message\":"), "{name}: {answer}");
    }
    let empty = exchange(&relay, &put("/bad.opus", "", b""));
    assert!(empty.contains("empty"), "{empty}");
    says(&relay, "mount=/bad.opus");
    says(&relay, "offset=");
    lives_on(&relay);
}

#[test]
fn a_truncated_stream_is_used_as_far_as_it_goes() {
    let relay = relay();
    let mut bytes = relay_common::listen_http(&relay, "/demo.opus", Duration::from_secs(2));
    bytes.truncate(bytes.len() * 2 / 3);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let answer = exchange(&relay, &put("/cut.opus", "", &bytes));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let about = mount(&relay, "/cut.opus");
    assert!(about["stats"]["faults"].as_u64() > Some(0), "{about}");
    assert!(about["media_time"].as_f64() > Some(0.5), "{about}");
    says(&relay, "fault in the source's stream");
    lives_on(&relay);
}

#[test]
fn heads_that_make_no_sense() {
    let relay = relay();
    let password = Relay::PASSWORD;
    let long = "a".repeat(20_000);
    let many = "a: b\r\n".repeat(200);
    for (name, request, status) in [
        (
            "no credentials",
            "SOURCE /m HTTP/1.0\r\n\r\n".to_owned(),
            "401",
        ),
        (
            "wrong ones",
            "PUT /m HTTP/1.1\r\nAuthorization: Basic eDp5\r\n\r\n".into(),
            "401",
        ),
        (
            "own route",
            "SOURCE /api/mounts HTTP/1.0\r\n\r\n".into(),
            "400",
        ),
        (
            "traversal",
            "SOURCE /../etc/passwd HTTP/1.0\r\n\r\n".into(),
            "400",
        ),
        ("no version", "SOURCE /m\r\n\r\n".into(), "400"),
        (
            "long",
            format!("SOURCE /m HTTP/1.0\r\nx: {long}\r\n\r\n"),
            "431",
        ),
        ("many", format!("SOURCE /m HTTP/1.0\r\n{many}\r\n"), "431"),
        (
            "two framings",
            format!(
                "PUT /m HTTP/1.1\r\nAuthorization: Bearer {password}\r\nContent-Length: 5\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            "400",
        ),
        (
            "bad query",
            format!("SOURCE /m?join=middle HTTP/1.0\r\nAuthorization: Bearer {password}\r\n\r\n"),
            "400",
        ),
        ("not HTTP", "\x16\x03\x01\x02\x00\x01\r\n\r\n".into(), "400"),
    ] {
        let answer = exchange(&relay, request.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {answer:?}"
        );
    }
    lives_on(&relay);
}

#[test]
fn slow_clients_are_let_go() {
    let relay = relay();
    for first in ["SOURCE /slow.opus HT", "GET /demo.opus HTTP/1.1\r\nHo"] {
        let mut socket = TcpStream::connect(relay.address).expect("connect");
        socket.write_all(first.as_bytes()).expect("bytes");
        let begin = Instant::now();
        let answer = read_for(&mut socket, Duration::from_secs(6));
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{first}: still open"
        );
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{answer}"
        );
    }
    // A source that falls silent before any audio, and one after.
    let mut socket = TcpStream::connect(relay.address).expect("connect");
    let head = format!(
        "SOURCE /mute.opus HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n",
        Relay::PASSWORD
    );
    socket.write_all(head.as_bytes()).expect("head");
    let begin = Instant::now();
    read_for(&mut socket, Duration::from_secs(6));
    assert!(begin.elapsed() < Duration::from_secs(5));
    says(&relay, "sent nothing");
    lives_on(&relay);
}

#[test]
fn random_bytes_at_the_door() {
    let relay = relay();
    let mut random = Seeded::new(11);
    let starts = [
        "",
        "PUT ",
        "SOURCE /x ",
        "OPTIONS * HTTP/1.1\r\n",
        "POST /y HTTP/1.1\r\n",
        "GET ",
    ];
    for round in 0..60 {
        let mut bytes = starts[round % starts.len()].as_bytes().to_vec();
        let length = (random.unit() * 3000.0) as usize;
        bytes.extend((0..length).map(|_| (random.unit() * 255.0) as u8));
        let mut socket = TcpStream::connect(relay.address).expect("connect");
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = read_for(&mut socket, Duration::from_millis(20));
    }
    lives_on(&relay);
}
