//! Listeners that join in the middle of a stream get one that ffmpeg decodes
//! without a word, over each transport and both codecs.

mod relay_common;

use std::time::Duration;

use relay_common::{
    decode_silently, listen_framed, listen_http, listen_http10, listen_ws, mpg123_is_content, rms,
    whole,
};
use seamcast_media::ogg::{Found, Reader};
use tests::support::{Pcm, Program, Relay, RelayOptions, Scratch, require};

const TIME: Duration = Duration::from_secs(2);

fn demo() -> Relay {
    let relay = Relay::start_with(&RelayOptions {
        args: vec!["--demo".into()],
        ..RelayOptions::default()
    });
    for path in ["/demo.opus", "/demo.mp3"] {
        relay.wait_for("/api/mounts", path, Duration::from_secs(20));
    }
    // In the middle, not at the start.
    std::thread::sleep(Duration::from_secs(3));
    relay
}

fn sounds(name: &str, bytes: &[u8], mp3: bool) {
    let pcm = decode_silently(&whole(bytes, mp3), mp3, 48_000, 2);
    assert!(pcm.frames() > 48_000, "{name}: {} frames", pcm.frames());
    assert!(rms(&pcm) > 0.01, "{name}: silence");
    if mp3 {
        mpg123_is_content(name, &whole(bytes, mp3));
    } else {
        headers_are_known(name, bytes);
    }
}

/// libogg's users (VLC, opusinfo) and codec-parser (icecast-metadata-player)
/// know header pages by their numbers; the first loses the page after a jump.
fn headers_are_known(name: &str, bytes: &[u8]) {
    let mut reader = Reader::new();
    reader.push(bytes);
    let pages: Vec<_> = std::iter::from_fn(|| reader.poll())
        .filter_map(|found| match found {
            Found::Page(page) => Some(page),
            Found::Junk { .. } => None,
        })
        .collect();
    let numbers: Vec<u32> = pages.iter().map(|page| page.sequence).collect();
    assert_eq!(numbers[..2], [0, 1], "{name}");
    let first = pages.iter().skip(2).position(|page| !page.body.is_empty());
    let first = first.expect("audio") + 2;
    assert_eq!(numbers[first - 1] + 1, numbers[first], "{name}");
    let scratch = Scratch::new("opusinfo");
    let file = scratch.file("joined.opus");
    std::fs::write(&file, bytes).expect("scratch file");
    // It ends in failure for any warning, and warns of every stream joined late.
    let found = Program::new("opusinfo").arg(&file).finish();
    let text = String::from_utf8_lossy(&found.expect("opusinfo").stdout).into_owned();
    assert!(text.contains("type opus"), "{name}: {text}");
    assert!(!text.contains("nvalid"), "{name}: {text}");
}

#[test]
fn every_transport_and_codec() {
    require(&["ffmpeg", "curl", "mpg123", "opusinfo"]);
    let relay = demo();
    for (path, mp3) in [("/demo.opus", false), ("/demo.mp3", true)] {
        sounds("http/1.1", &listen_http(&relay, path, TIME), mp3);
        sounds("http/1.0", &listen_http10(&relay, path, TIME), mp3);
        sounds("websocket", &listen_ws(&relay, path, TIME), mp3);
        sounds("seamcast.v1", &listen_framed(&relay, path, TIME), mp3);
    }
}

#[test]
fn joins_elsewhere() {
    require(&["ffmpeg", "curl", "opusinfo"]);
    let relay = demo();
    std::thread::sleep(Duration::from_secs(2));
    for from in ["start", "-3", "1.5", "live"] {
        let path = format!("/demo.opus?from={from}");
        sounds(from, &listen_framed(&relay, &path, TIME), false);
    }
    assert_eq!(relay.fetch("/demo.opus?from=middle").0, 400);
    assert_eq!(relay.fetch("/demo.opus?mode=fast").0, 400);
}

/// MP3 frames borrow from those before them, as much as they may at these rates,
/// and a chunk may be a single one.
#[test]
fn mp3_joins_in_the_bit_reservoir() {
    require(&["ffmpeg", "curl", "lame", "mpg123"]);
    let relay = Relay::with_config("[defaults]\nchunk_ms = 20\n");
    let scratch = Scratch::new("reservoir");
    // Loud after soft: what the soft frames saved is spent on the loud ones.
    let noise = Pcm::noise(48_000, 2, 4 * 48_000, 0.5, 5);
    let planes: Vec<Vec<f32>> = (0..2)
        .map(|channel| {
            let plane = noise.plane(channel).into_iter().enumerate();
            let gain = |at: usize| if at % 12_000 < 8000 { 0.02 } else { 1.0 };
            plane.map(|(at, x)| x * gain(at)).collect()
        })
        .collect();
    let wav = scratch.file("in.wav");
    Pcm::from_planes(&planes, 48_000).write_wav(&wav);
    for (name, rate, options) in [
        ("stereo", 48_000_u32, &["-b", "128"][..]),
        ("crc", 44_100, &["-b", "64", "-p"]),
        ("vbr", 48_000, &["-V", "4"]),
        ("mono", 24_000, &["-b", "16", "-m", "m"]),
    ] {
        let file = scratch.file(name);
        Program::new("lame")
            .args(["--quiet", "-t", "--resample", &rate.to_string()])
            .args(options)
            .args([&wav, &file])
            .run()
            .expect("lame");
        let path = format!("/{name}.mp3");
        Program::new("curl")
            .args(["-sS", "--fail", "-u"])
            .arg(format!("source:{}", Relay::PASSWORD))
            .arg("-T")
            .arg(&file)
            .arg(relay.url(&path))
            .run()
            .expect("curl publishes");
        let source = std::fs::read(&file).expect("file");
        for n in 0..3 {
            let path = format!("{path}?from={}", 0.7 + f64::from(n) * 0.113);
            let plain = match n {
                0 => listen_http(&relay, &path, TIME),
                1 => listen_ws(&relay, &path, TIME),
                _ => listen_framed(&relay, &path, TIME),
            };
            let pcm = decode_silently(&plain, true, rate, 2);
            mpg123_is_content(&path, &plain);
            assert!(
                pcm.frames() > 2 * rate as usize && rms(&pcm) > 0.01,
                "{path}"
            );
            // All but the first few frames are the source's.
            let tail = &plain[3000.min(plain.len() / 2)..];
            assert!(source.ends_with(tail), "{path}: altered");
        }
    }
}

#[test]
fn heads_say_what_the_stream_is() {
    require(&["curl"]);
    let relay = demo();
    let head = |path: &str, more: &[&str]| {
        let out = Program::new("curl")
            .args(["-sSI"])
            .args(more)
            .arg(relay.url(path))
            .run()
            .expect("curl");
        String::from_utf8_lossy(&out.stdout).to_ascii_lowercase()
    };
    let opus = head("/demo.opus", &["-H", "Origin: https://example.org"]);
    assert!(opus.contains("content-type: audio/ogg\r\n"), "{opus}");
    assert!(
        opus.contains("cache-control: no-store") && !opus.contains("\ncontent-length"),
        "{opus}"
    );
    assert!(opus.contains("access-control-allow-origin: *"), "{opus}");
    let mp3 = head("/demo.mp3", &[]);
    assert!(
        mp3.contains("content-type: audio/mpeg") && mp3.contains("icy-name: "),
        "{mp3}"
    );
    let (status, body) = relay.fetch("/nowhere.opus");
    assert!(
        status == 404 && body.contains("/nowhere.opus"),
        "{status} {body}"
    );
}

#[test]
fn origins_are_checked_when_they_are_listed() {
    require(&["curl"]);
    let relay = Relay::start_with(&RelayOptions {
        args: vec!["--demo".into()],
        config: Some("origins = [\"https://good.example\"]\n".into()),
        ..RelayOptions::default()
    });
    relay.wait_for("/api/mounts", "/demo.opus", Duration::from_secs(20));
    let upgrade = |origin: &str| {
        let request = format!(
            "GET /demo.opus HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Origin: {origin}\r\n\r\n",
            relay.address
        );
        let mut socket = std::net::TcpStream::connect(relay.address).expect("connect");
        std::io::Write::write_all(&mut socket, request.as_bytes()).expect("request");
        let answer = relay_common::read_for(&mut socket, Duration::from_millis(500));
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(upgrade("https://evil.example").starts_with("HTTP/1.1 403"));
    let good = upgrade("https://good.example");
    // The key and answer of RFC 6455 §1.3.
    assert!(good.starts_with("HTTP/1.1 101") && good.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(upgrade(&format!("http://{}", relay.address)).starts_with("HTTP/1.1 101"));
}

#[test]
fn one_too_many_is_told_whose_limit_it_is() {
    let relay = Relay::with_config(
        "demo = true\nmax_listeners = 2\n[[mount]]\npath = \"/demo.opus\"\nmax_listeners = 1\n",
    );
    // Who has a configuration is counted.
    let listen = |path: &str| {
        relay.wait_for("/api/mounts", path, Duration::from_secs(20));
        let mut socket = relay_common::Socket::open(&relay, path, Some("seamcast.v1"));
        socket.control("config");
        socket
    };
    let refused = |path: &str, why: &str| {
        let (status, body) = relay.fetch(path);
        assert!(status == 503 && body.contains(why), "{status} {body}");
    };
    let _first = listen("/demo.opus");
    refused("/demo.opus", "mount /demo.opus has 1 listeners, its most");
    let _second = listen("/demo.mp3");
    refused("/demo.mp3", "the relay has 2 listeners, its most");
}

#[test]
fn administrators_close_listeners_and_sources() {
    require(&["curl"]);
    let relay = demo();
    let mut listener = relay_common::Socket::open(&relay, "/demo.opus", Some("seamcast.v1"));
    listener.control("config");
    let token = format!("Authorization: Bearer {}", Relay::TOKEN);
    let curl = |more: &[&str], path: &str| {
        let out = Program::new("curl")
            .args(["-sS", "-w", "\n%{http_code}"])
            .args(more)
            .arg(relay.url(path))
            .run()
            .expect("curl");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let listeners = "/api/mounts/demo.opus/listeners";
    assert!(curl(&[], listeners).ends_with("401"));
    let listed = curl(&["-H", &token], listeners);
    let listed: serde_json::Value =
        serde_json::from_str(listed.lines().next().expect("body")).expect("JSON");
    let path = format!("{listeners}/{}", listed[0]["id"]);
    assert!(curl(&["-X", "DELETE", "-H", &token], &path).ends_with("204"));
    assert_eq!(
        listener.close_code(),
        Some(seamcast_protocol::close::KICKED)
    );
    let mount = "/api/mounts/demo.opus";
    assert!(
        !curl(&[], mount).contains("\"peer\""),
        "addresses are not for everybody"
    );
    assert!(curl(&["-H", &token], mount).contains("\"peer\""));
    let source = "/api/mounts/demo.opus/source";
    assert!(curl(&["-X", "DELETE"], source).ends_with("401"));
    let mut listener = relay_common::Socket::open(&relay, "/demo.opus", Some("seamcast.v1"));
    assert!(curl(&["-X", "DELETE", "-H", &token], source).ends_with("204"));
    assert_eq!(listener.control("end")["reason"], "removed");
}
