//! TLS on the port of plain HTTP: sources, listeners on every transport, and
//! certificates that change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tests::support::certificate::{Certificate, client, client_config};
use tests::support::{Encoding, Pcm, Program, Relay, RelayOptions, Scratch, encode, require};
use tokio_rustls::rustls::{ClientConnection, StreamOwned};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

const LIMIT: Duration = Duration::from_secs(60);

/// A relay's certificate in `scratch`.
fn certificate(scratch: &Scratch, name: &str) -> Certificate {
    Certificate::new(scratch.path(), name).expect("a certificate")
}

/// Takes the place of another.
fn replace(certificate: &Certificate, other: &Certificate) {
    std::fs::copy(&certificate.chain, &other.chain).expect("copied");
    std::fs::copy(&certificate.key, &other.key).expect("copied");
}

/// A connection that trusts this certificate alone.
fn connect(
    certificate: &Certificate,
    relay: &Relay,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = client_config(&certificate.chain).expect("sound");
    let mut connection = client(&config).expect("sound");
    let mut socket = TcpStream::connect(relay.address)?;
    socket.set_read_timeout(Some(LIMIT))?;
    connection.complete_io(&mut socket)?;
    Ok(StreamOwned::new(connection, socket))
}

/// Noise in MP3, which has no serial numbers that differ between joins.
fn noise(scratch: &Scratch, seconds: usize) -> PathBuf {
    require(&["ffmpeg", "curl"]);
    let file = scratch.file("noise.mp3");
    let pcm = Pcm::noise(44_100, 2, 44_100 * seconds, 0.3, 7);
    encode(&pcm, Encoding::Mp3(&["-b:a", "192k"]), &file).expect("encoded");
    file
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")
}

/// What follows the head.
fn body(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    &answer[head.expect("a head") + 4..]
}

/// Binary messages up to the close.
fn messages<S: Read + Write>(relay: &Relay, stream: S) -> Vec<Vec<u8>> {
    let url = relay.ws_url("/a.mp3?from=start&mode=complete");
    let mut request = url.into_client_request().expect("a request");
    let protocol = tungstenite::http::HeaderValue::from_static("seamcast.v1");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol);
    let (mut socket, _) = tungstenite::client(request, stream).expect("a handshake");
    let mut all = Vec::new();
    while let Ok(message) = socket.read() {
        match message {
            Message::Binary(bytes) => all.push(bytes.to_vec()),
            Message::Close(_) => break,
            _ => {}
        }
    }
    all
}

/// A source of `/a.mp3` that has sent `first`.
fn on_air(relay: &Relay, first: &[u8]) -> TcpStream {
    let mut source = TcpStream::connect(relay.address).expect("connected");
    let head = format!(
        "PUT /a.mp3 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        Relay::PASSWORD
    );
    source.write_all(head.as_bytes()).expect("asked");
    source.write_all(first).expect("sent");
    relay.wait_for("/api/mounts/a.mp3", "\"live\":true", LIMIT);
    source
}

#[test]
fn sources_and_listeners_over_tls_are_as_over_plain_tcp() {
    let scratch = Scratch::new("tls");
    let certificate = certificate(&scratch, "relay");
    let relay = Relay::with_config(&certificate.config());
    let file = noise(&scratch, 60);
    let length = std::fs::metadata(&file).expect("encoded").len() as usize;
    Program::new("curl")
        .args(["-sS", "--fail", "--cacert"])
        .arg(&certificate.chain)
        .arg("-T")
        .arg(&file)
        .args(["-u", &format!("source:{}", Relay::PASSWORD)])
        .arg(format!("https://{}/a.mp3", relay.address))
        .run()
        .expect("published over TLS");

    let mut plain = Vec::new();
    let mut socket = TcpStream::connect(relay.address).expect("connected");
    socket
        .write_all(get("/a.mp3?from=start&mode=complete").as_bytes())
        .expect("asked");
    socket.read_to_end(&mut plain).expect("an answer");
    assert!(body(&plain).len() > length * 9 / 10, "{}", plain.len());

    // Slow at first, so that writes are cut where TLS holds something back.
    let mut secret = Vec::new();
    let mut stream = connect(&certificate, &relay).expect("a handshake");
    stream
        .write_all(get("/a.mp3?from=start&mode=complete").as_bytes())
        .expect("asked");
    std::thread::sleep(Duration::from_millis(500));
    let mut piece = [0; 777];
    for _ in 0..100 {
        let read = stream.read(&mut piece).expect("more");
        secret.extend_from_slice(&piece[..read]);
        std::thread::sleep(Duration::from_millis(2));
    }
    // An end without close_notify would be an error here.
    stream.read_to_end(&mut secret).expect("a proper end");
    assert!(body(&secret) == body(&plain), "{} bytes", secret.len());

    let socket = TcpStream::connect(relay.address).expect("connected");
    let plain = messages(&relay, socket);
    let secret = messages(&relay, connect(&certificate, &relay).expect("a handshake"));
    assert!(plain.len() > 100, "{} messages", plain.len());
    assert!(plain == secret, "{} and {}", plain.len(), secret.len());
}

#[test]
fn a_new_certificate_is_served_after_a_hangup_and_nobody_is_dropped() {
    let scratch = Scratch::new("tls-reload");
    let used = certificate(&scratch, "used");
    let next = certificate(&scratch, "next");
    let old = certificate(&scratch, "old");
    replace(&old, &used);
    let mut relay = Relay::with_config(&used.config());
    let bytes = std::fs::read(noise(&scratch, 20)).expect("encoded");
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let mut source = on_air(&relay, first);

    let mut listener = connect(&old, &relay).expect("a handshake");
    listener
        .write_all(get("/a.mp3?from=start&mode=complete").as_bytes())
        .expect("asked");
    let mut heard = vec![0; 10_000];
    listener.read_exact(&mut heard).expect("heard");

    replace(&next, &used);
    relay.process.signal(1);
    let until = Instant::now() + LIMIT;
    while connect(&next, &relay).is_err() {
        assert!(Instant::now() < until, "{}", relay.process.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        connect(&old, &relay).is_err(),
        "the old one is still served"
    );

    std::fs::write(&used.key, "no key").expect("written");
    relay.process.signal(1);
    let kept = relay
        .process
        .wait_for_output("configuration kept as it was", LIMIT)
        .unwrap_or_else(|| relay.process.stderr());
    let log = format!("{kept}\n{}", relay.process.stderr());
    assert!(log.contains("tls_key"), "{log}");
    connect(&next, &relay).expect("the good one is still served");

    source.write_all(rest).expect("sent");
    source.shutdown(std::net::Shutdown::Write).expect("an end");
    let ended = listener.read_to_end(&mut heard);
    let log = relay.process.stderr();
    assert!(ended.is_ok(), "{} bytes, {ended:?}: {log}", heard.len());
    let heard = body(&heard).len();
    assert!(heard > bytes.len() * 9 / 10, "{heard} of {}", bytes.len());
}

#[test]
fn three_hundred_join_at_once_beside_handshakes_that_never_end() {
    let scratch = Scratch::new("tls-storm");
    let certificate = certificate(&scratch, "relay");
    let config = format!("head_timeout = \"8s\"\n{}", certificate.config());
    let relay = Relay::with_config(&config);
    let bytes = std::fs::read(noise(&scratch, 20)).expect("encoded");
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let mut source = on_air(&relay, first);
    let all = get("/a.mp3?from=start&mode=complete");
    let mut before = TcpStream::connect(relay.address).expect("connected");
    before.write_all(all.as_bytes()).expect("asked");

    // A record of 500 bytes is said to come, and does not.
    let stalled = || {
        let mut socket = TcpStream::connect(relay.address).expect("connected");
        socket.set_read_timeout(Some(LIMIT)).expect("set");
        socket.write_all(&[22, 3, 1, 1, 244, 1]).expect("sent");
        socket
    };
    let stalled: Vec<TcpStream> = (0..100).map(|_| stalled()).collect();
    let tls = client_config(&certificate.chain).expect("sound");
    let start = std::sync::Barrier::new(300);
    std::thread::scope(|threads| {
        for _ in 0..300 {
            threads.spawn(|| {
                start.wait();
                let mut socket = TcpStream::connect(relay.address).expect("connected");
                socket.set_read_timeout(Some(LIMIT)).expect("set");
                let mut connection = client(&tls).expect("sound");
                connection.complete_io(&mut socket).expect("a handshake");
                let mut stream = StreamOwned::new(connection, socket);
                stream.write_all(all.as_bytes()).expect("asked");
                let mut heard = vec![0; 20_000];
                stream.read_exact(&mut heard).expect("heard");
            });
        }
    });

    source.write_all(rest).expect("sent");
    source.shutdown(std::net::Shutdown::Write).expect("an end");
    let mut heard = Vec::new();
    before.read_to_end(&mut heard).expect("heard");
    let mut after = TcpStream::connect(relay.address).expect("connected");
    after.write_all(all.as_bytes()).expect("asked");
    let mut again = Vec::new();
    after.read_to_end(&mut again).expect("heard");
    assert!(body(&heard).len() > bytes.len() * 9 / 10, "{}", heard.len());
    assert!(body(&heard) == body(&again), "{}", again.len());
    for mut socket in stalled {
        let ended = socket.read(&mut [0]);
        assert!(matches!(ended, Ok(0)), "{ended:?}");
    }
}

#[test]
fn a_certificate_without_its_key_and_tls_without_a_certificate_are_told() {
    let scratch = Scratch::new("tls-faults");
    let certificate = certificate(&scratch, "relay");
    let config = scratch.file("relay.toml");
    let text = format!("tls_certificate = {:?}\n", certificate.chain);
    std::fs::write(&config, text).expect("written");
    let outcome = Program::new(Relay::binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&config)
        .limit(LIMIT)
        .run();
    let why = outcome.expect_err("must not start").to_string();
    assert!(why.contains("tls_key; set both"), "{why}");
    let outcome = Program::new(Relay::binary())
        .arg("check-config")
        .arg(&config)
        .limit(LIMIT)
        .run();
    let why = outcome.expect_err("not sound").to_string();
    assert!(why.contains("tls_key; set both"), "{why}");

    let relay = Relay::start_with(&RelayOptions::default());
    assert!(connect(&certificate, &relay).is_err());
    let until = Instant::now() + LIMIT;
    while !relay
        .process
        .stderr()
        .contains("set tls_certificate and tls_key")
    {
        assert!(Instant::now() < until, "{}", relay.process.stderr());
        std::thread::sleep(Duration::from_millis(20));
    }
}
