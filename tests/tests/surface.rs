//! What users of the relay meet first: answers to mistakes, metrics, the
//! source socket, recordings of whole files.

mod relay_common;

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use relay_common::{Socket, exchange, read_for};
use seamcast_protocol::{LISTENER_SUBPROTOCOL, SOURCE_SUBPROTOCOL};
use tests::support::{Encoding, Pcm, Program, Relay, RelayOptions, Scratch, encode, require};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// A second of Ogg/Opus.
fn opus() -> Vec<u8> {
    require(&["ffmpeg"]);
    let scratch = Scratch::new("surface");
    let file = scratch.file("a.opus");
    encode(
        &Pcm::noise(48_000, 1, 48_000, 0.3, 3),
        Encoding::Opus(&["-b:a", "64k"]),
        &file,
    )
    .expect("encode");
    std::fs::read(file).expect("file")
}

fn put(target: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "PUT {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n{more}\
         Content-Length: {}\r\n\r\n",
        Relay::PASSWORD,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Every mistake is answered with its mount, its value and a remedy.
#[test]
fn errors_name_mount_value_and_remedy() {
    let relay = Relay::with_config("");
    let admin = format!(
        "Authorization: Bearer {}\r\nConnection: close\r\n",
        Relay::TOKEN
    );
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: x\r\n{admin}Content-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    };
    let noise = [0x55; 70_000];
    for (request, status, parts) in [
        (put("/a%22b", "", b"x"), 400, &["a\\", "leave them out"][..]),
        (put("/a//b", "", b"x"), 400, &["/a//b", "/live.opus"]),
        (
            put("/n.opus", "", &noise),
            415,
            &["mount /n.opus", "Ogg/Opus, MP3, WAV or FLAC"],
        ),
        (
            put("/n.opus?rate=8000&format=f33le", "", b"x"),
            415,
            &["mount /n.opus", "f33le", "f32le"],
        ),
        (
            put("/n.opus?join=middle", "", b"x"),
            400,
            &["mount /n.opus", "middle", "live"],
        ),
        (
            post("/api/mounts/p.opus/pull", r#"{"url":1}"#),
            400,
            &["mount /p.opus", "url is not text"],
        ),
        (
            post("/api/mounts/p.opus/pull", r#"{"uri":"http://x"}"#),
            400,
            &["uri", "there are url"],
        ),
        (
            post("/admin/metadata?mode=updinfo&mount=/x.mp3&song=a", ""),
            404,
            &["/x.mp3", "has no source now"],
        ),
        (
            post("/api/mounts", ""),
            405,
            &["method_not_allowed", "/api/mounts", "allow: GET"],
        ),
    ] {
        let answer = exchange(&relay, &request);
        let first = String::from_utf8_lossy(&request[..40]).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{first}: {answer}"
        );
        for part in parts {
            assert!(answer.contains(part), "{first}: no {part:?} in {answer}");
        }
    }
    // A chunked body whose framing breaks is not taken for a complete one.
    let mut broken = format!(
        "PUT /b.opus HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\nOggS\r\nzz\r\n",
        Relay::PASSWORD
    )
    .into_bytes();
    broken.extend_from_slice(&noise);
    let answer = exchange(&relay, &broken);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// Heads that no handler sees are answered with the reason, too.
#[test]
fn heads_out_of_order_are_told_why() {
    let relay = Relay::with_config("");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000));
    for (head, status, part) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400, "no host header"),
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            400,
            "2 host headers",
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200, "ok"),
        ("GET /healthz HTTP/9.1\r\n\r\n", 400, "HTTP/9.1"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            400,
            "no colon",
        ),
        (&many, 431, "at most 100"),
        (&long, 431, "longer than 16384"),
    ] {
        let answer = exchange(&relay, head.as_bytes());
        let first = &head[..30.min(head.len())];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} "))
                || answer.starts_with(&format!("HTTP/1.0 {status} ")),
            "{first}: {answer}"
        );
        assert!(answer.contains(part), "{first}: {answer}");
    }
}

/// A client or proxy that keeps connections alive may publish on one that has
/// served other requests.
#[test]
fn a_source_request_may_follow_others() {
    let relay = Relay::with_config("");
    let audio = opus();
    let password = Relay::PASSWORD;
    for (request, name) in [
        ("SOURCE /late.opus HTTP/1.0", "/late.opus"),
        ("PUT /later.opus HTTP/1.1", "/later.opus"),
    ] {
        let mut socket = TcpStream::connect(relay.address).expect("connect");
        socket
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("first");
        let mut first = [0; 4];
        std::io::Read::read_exact(&mut socket, &mut first).expect("answer");
        // The body follows at once, as that of a client in a hurry.
        let head = format!("{request}\r\nAuthorization: Bearer {password}\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("head");
        socket.write_all(&audio).expect("body");
        socket.shutdown(std::net::Shutdown::Write).expect("end");
        let answer = read_for(&mut socket, Duration::from_secs(20));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains(" 200 OK\r\nServer: Seamcast"), "{answer}");
        let mount = relay_common::mount(&relay, name);
        assert!(mount["media_time"].as_f64() > Some(0.99), "{mount}");
    }
}

/// A body that never comes holds a connection no longer than a head may take.
#[test]
fn bodies_of_api_requests_have_a_time_limit() {
    let relay = Relay::with_config("head_timeout = \"1s\"\n");
    for path in [
        "/api/mounts/x/pull",
        "/v1/audio/speech",
        "/admin/metadata?mode=updinfo",
    ] {
        let mut socket = TcpStream::connect(relay.address).expect("connect");
        write!(
            socket,
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        )
        .expect("request");
        let answer = read_for(&mut socket, Duration::from_secs(15));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer:?}");
    }
}

/// An address that is taken is told with its key.
#[test]
fn an_address_that_is_taken_is_told_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|at| (at, taken)).expect("bound");
    let (address, _listener) = (taken.0.to_string(), taken.1);
    for (listen, shoutcast) in [("127.0.0.1:0", &address), (&address, &"127.0.0.1:0".into())] {
        let ended = Program::new(Relay::binary())
            .args(["serve", "--listen", listen, "--shoutcast-listen", shoutcast])
            .limit(Duration::from_secs(30))
            .run();
        let why = ended.expect_err("taken").to_string();
        assert!(
            why.contains(&format!("cannot listen on {address}")),
            "{why}"
        );
        let key = if listen == address {
            "--listen"
        } else {
            "shoutcast_listen"
        };
        assert!(why.contains(key), "{why}");
    }
}

/// The text format of Prometheus: each family once, with help and type,
/// samples right below, names that `promtool check metrics` accepts.
#[test]
fn metrics_are_sound_prometheus_text() {
    let relay = Relay::with_config("");
    let body = opus();
    for name in ["/one.opus", "/%E2%82%AC%27.opus"] {
        let answer = exchange(&relay, &put(name, "", &body));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let (status, text) = relay.fetch("/metrics");
    assert_eq!(status, 200);
    let mut kinds = HashMap::new();
    let mut seen = HashSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("name");
            assert!(rest.len() > family.len() + 4, "no help: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("kind");
            assert_eq!(name, family, "type without help");
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "{name} comes twice");
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("value");
            let name = sample.split('{').next().expect("name");
            assert_eq!(name, family, "sample away from its family");
            assert!(kinds.contains_key(name), "{line}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            assert!(seen.insert(sample), "{sample} comes twice");
        }
    }
    assert!(seen.contains("seamcast_mount_live{mount=\"/€'.opus\"}"));
    assert!(seen.contains("seamcast_listeners"), "{seen:?}");
}

/// A file that arrives whole, faster than the recorder looks, is recorded too.
#[test]
fn a_programme_that_arrives_at_once_is_recorded() {
    let relay = Relay::with_config("");
    let body = opus();
    for _ in 0..2 {
        let answer = exchange(&relay, &put("/short.opus?record=true", "", &body));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let limit = Duration::from_secs(20);
        relay.wait_for("/api/mounts/short.opus", "\"seconds\":1.0", limit);
    }
    // Looked at again and again, each is recorded once.
    std::thread::sleep(Duration::from_secs(1));
    let folder = relay.scratch.file("recordings/short.opus");
    let files = std::fs::read_dir(folder).expect("recordings").flatten();
    let files = files.filter(|file| file.path().extension().is_some_and(|e| e == "opus"));
    assert_eq!(files.count(), 2);
}

/// The status page names an address that its reader can connect to, and HEAD what GET would.
#[test]
fn the_status_page_points_to_where_it_was_asked_for() {
    let relay = Relay::start_with(&RelayOptions {
        args: vec!["--demo".into(), "--proxies".into(), "127.0.0.1".into()],
        ..RelayOptions::default()
    });
    relay.wait_for("/api/mounts", "/demo.mp3", Duration::from_secs(30));
    // HEAD says what GET would (RFC 9110 §9.3.2).
    let head = "HEAD /demo.mp3 HTTP/1.0\r\nIcy-MetaData: 1\r\n\r\n";
    let head = exchange(&relay, head.as_bytes());
    assert!(head.contains("icy-metaint: 16000\r\n"), "{head}");
    let ask = |host: &str| {
        let request = format!("GET /status-json.xsl HTTP/1.0\r\n{host}\r\n");
        exchange(&relay, request.as_bytes())
    };
    let named = ask("Host: radio.example:8443\r\n");
    assert!(
        named.contains("\"http://radio.example:8443/demo.mp3\""),
        "{named}"
    );
    let address = relay.address;
    let bare = ask("");
    assert!(
        bare.contains(&format!("\"http://{address}/demo.mp3\"")),
        "{bare}"
    );
    // A playlist of one mount, as Icecast has; through a proxy that speaks TLS for us.
    let playlist = |headers: &str| {
        let request = format!("GET /demo.mp3.m3u?from=-5 HTTP/1.0\r\n{headers}\r\n");
        exchange(&relay, request.as_bytes())
    };
    let told = playlist("Host: radio.example\r\n");
    assert!(told.contains("audio/x-mpegurl"), "{told}");
    let body = told.split_once("\r\n\r\n").expect("a head").1;
    assert_eq!(body, "http://radio.example/demo.mp3?from=-5\r\n");
    let told = playlist("Host: radio.example\r\nX-Forwarded-Proto: https\r\n");
    assert!(
        told.ends_with("https://radio.example/demo.mp3?from=-5\r\n"),
        "{told}"
    );
    let (status, _) = relay.fetch("/nothing.mp3.m3u");
    assert_eq!(status, 404);
    // One mount alone, as Icecast's page gives it.
    let (_, one) = relay.fetch("/status-json.xsl?mount=/demo.mp3");
    assert!(
        one.contains("/demo.mp3") && !one.contains("/demo.opus"),
        "{one}"
    );
}

/// A body is of the type that its head says: when another source brings another
/// codec, it is cut off, so that the listener asks again.
#[test]
fn a_body_ends_before_another_codec() {
    let relay = Relay::with_config("");
    let scratch = Scratch::new("codecs");
    let file = scratch.file("a.mp3");
    let noise = Pcm::noise(48_000, 2, 48_000, 0.3, 4);
    encode(&noise, Encoding::Mp3(&["-b:a", "64k"]), &file).expect("encode");
    let mp3 = std::fs::read(file).expect("file");
    let source = |body: &[u8]| {
        let mut socket = TcpStream::connect(relay.address).expect("connect");
        let bearer = Relay::PASSWORD;
        let head = format!("SOURCE /either HTTP/1.0\r\nAuthorization: Bearer {bearer}\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("head");
        socket.write_all(body).expect("audio");
        socket
    };
    let _first = source(&mp3);
    let limit = Duration::from_secs(30);
    relay.wait_for("/api/mounts/either", "\"state\":\"live\"", limit);
    let mut listener = TcpStream::connect(relay.address).expect("connect");
    let request = b"GET /either?from=start HTTP/1.1\r\nHost: x\r\n\r\n";
    listener.write_all(request).expect("request");
    relay.wait_for("/api/mounts/either", "\"listeners\":1", limit);
    let _second = source(&opus());
    let body = read_for(&mut listener, limit);
    let holds = |what: &[u8]| body.windows(what.len()).any(|bytes| bytes == what);
    assert!(holds(b"Content-Type: audio/mpeg"));
    assert!(body.len() > mp3.len() && !holds(b"OggS"));
    assert!(!body.ends_with(b"\r\n0\r\n\r\n"), "not complete");
    let again = b"GET /either HTTP/1.0\r\n\r\n";
    let mut listener = TcpStream::connect(relay.address).expect("connect");
    listener.write_all(again).expect("request");
    let body = read_for(&mut listener, Duration::from_secs(2));
    assert!(String::from_utf8_lossy(&body).contains("Content-Type: audio/ogg"));
}

/// A title told before the audio is not undone by the stream's own comments.
#[test]
fn a_title_before_the_audio_stays() {
    let relay = Relay::with_config("");
    let path = format!("/named.opus?token={}", Relay::PASSWORD);
    let mut source = Socket::open(&relay, &path, Some(SOURCE_SUBPROTOCOL));
    let title = r#"{"type":"metadata","tags":{"TITLE":"Before"}}"#;
    source.send(Message::text(title));
    source.send(Message::binary(opus()));
    source.send(Message::text(r#"{"type":"end"}"#));
    assert_eq!(source.close_code(), Some(1000));
    let path = "/named.opus?from=start";
    let mut listener = Socket::open(&relay, path, Some(LISTENER_SUBPROTOCOL));
    let told = listener.control("metadata");
    assert_eq!(
        (&told["at"], &told["tags"]["TITLE"]),
        (&0.0.into(), &"Before".into())
    );
    assert!(told["tags"]["ENCODER"].is_string(), "{told}");
}

/// Raw PCM by its properties, acknowledged to the last byte; a Close without
/// `end` is answered, so that browsers do not report a broken connection.
#[test]
fn a_source_socket_takes_a_format_and_answers_a_close() {
    let relay = Relay::with_config("");
    let path = format!("/s.opus?token={}", Relay::PASSWORD);
    let mut socket = Socket::open(&relay, &path, Some(SOURCE_SUBPROTOCOL));
    let format = r#"{"type":"format","format":"s16le","rate":24000,"channels":1}"#;
    socket.send(Message::text(format));
    socket.send(Message::binary(vec![0; 48_000]));
    socket.send(Message::text(r#"{"type":"end"}"#));
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let ack = socket.control("ack");
        assert_eq!(ack["bytes"], 48_000);
        if ack["media_time"] == 1.0 {
            break;
        }
        assert!(Instant::now() < until, "{ack}");
    }
    assert_eq!(socket.close_code(), Some(1000));

    let mut socket = Socket::open(&relay, &path, Some(SOURCE_SUBPROTOCOL));
    socket.send(Message::binary(opus()));
    socket.control("ack");
    let close = CloseFrame {
        code: 1000.into(),
        reason: "".into(),
    };
    socket.send(Message::Close(Some(close)));
    assert_eq!(
        socket.close_code(),
        Some(1000),
        "the Close was not answered"
    );

    let mut socket = Socket::open(&relay, "/s.opus?token=wrong", Some(SOURCE_SUBPROTOCOL));
    let error = socket.control("error");
    assert_eq!(error["code"], "unauthorized", "{error}");
    assert_eq!(socket.close_code(), Some(4501));
}
