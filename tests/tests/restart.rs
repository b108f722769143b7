//! A graceful restart under load: no connection is refused, on no port, and
//! listeners go on at the very chunk where they were.

mod relay_common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use relay_common::Socket;
use seamcast_protocol::chunk::Header;
use tests::support::{Encoding, Pcm, Program, Relay, RelayOptions, Scratch, encode, require};
use tokio_tungstenite::tungstenite::Message;

const USER_DEFINED_2: i32 = 12;

/// A source in real time that comes back as often as it is closed.
fn source(address: SocketAddr, media: &[u8], stop: &AtomicBool) {
    let user = format!("source:{}", Relay::PASSWORD);
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    while !stop.load(Ordering::Relaxed) {
        let mut socket = TcpStream::connect(address).expect("a source is refused");
        let head =
            format!("PUT /a.opus HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\n\r\n");
        let mut pieces = media.chunks(800);
        let mut sent = socket.write_all(head.as_bytes()).is_ok();
        while sent && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            let piece = pieces.next().expect("more media than the test takes");
            sent = socket.write_all(piece).is_ok();
        }
    }
}

/// Connects and asks for as long as it is let: how often it was answered, and
/// what else happened.
fn knock(address: SocketAddr, stop: &AtomicBool, answered: &AtomicU64) -> Vec<String> {
    let mut wrong = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let ask = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect(address)?;
            socket.set_read_timeout(Some(Duration::from_secs(20)))?;
            socket.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        match ask() {
            Ok(answer) if answer.contains(" 200 ") => {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            other => wrong.push(format!("{other:?}")),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    wrong
}

/// Ends a process that is not our child.
struct Process(String);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Program::new("kill").args(["-9", &self.0]).run();
    }
}

#[test]
fn nobody_is_refused_and_listeners_go_on_where_they_were() {
    require(&["opusenc"]);
    let scratch = Scratch::new("restart");
    let file = scratch.file("source.opus");
    let pcm = Pcm::noise(48_000, 1, 48_000 * 60, 0.2, 9);
    encode(&pcm, Encoding::Opus(&["-b:a", "64k"]), &file).expect("encoder");
    let media = std::fs::read(&file).expect("encoded");
    let mut relay =
        Relay::with_config("drain = \"10s\"\n[defaults]\nrecord = true\ngrace = \"60s\"\n");
    let address = relay.address;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = AtomicU64::new(0);
    std::thread::scope(|threads| {
        // Also when the test fails.
        struct Stop(Arc<AtomicBool>);
        impl Drop for Stop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stopping = Stop(stop.clone());
        threads.spawn(|| source(address, &media, &stop));
        let knocking: Vec<_> = (0..2)
            .map(|_| threads.spawn(|| knock(address, &stop, &answered)))
            .collect();
        relay.wait_for("/api/mounts", "\"state\":\"live\"", Duration::from_secs(30));
        let mut listener = Socket::open(&relay, "/a.opus?from=start", Some("seamcast.v1"));
        let epoch = listener.control("welcome")["epoch"].clone();
        let epoch = epoch.as_str().expect("epoch").to_owned();
        let mut next = 0;
        let mut goaway = None;
        while let Some(message) = listener.next() {
            match message {
                Message::Binary(bytes) => {
                    let (header, _) = Header::decode(&bytes).expect("chunk");
                    assert_eq!(header.seq, next);
                    next += 1;
                    if next == 10 {
                        relay.process.signal(USER_DEFINED_2);
                    }
                }
                Message::Text(text) if text.contains("goaway") => goaway = Some(text),
                _ => {}
            }
        }
        assert!(
            goaway.is_some(),
            "closed without goaway after {next} chunks"
        );
        let line = relay
            .process
            .wait_for_output("successor: ", Duration::from_secs(30))
            .expect("a successor");
        let successor = Process(line.replace("successor: ", "").trim().to_owned());
        // The same programme, at the very next chunk.
        let path = format!("/a.opus?from={epoch}:{next}");
        let mut listener = Socket::open(&relay, &path, Some("seamcast.v1"));
        let welcome = listener.control("welcome");
        assert_eq!(welcome["recovered"], true, "{welcome}");
        assert_eq!(welcome["epoch"], epoch.as_str());
        assert_eq!(welcome["from"], next);
        let (mut at, mut generation) = (0, 0);
        while generation < 2 {
            match listener.next().expect("open") {
                Message::Binary(bytes) => {
                    let (header, _) = Header::decode(&bytes).expect("chunk");
                    assert_eq!(header.seq, next, "numbers go on");
                    assert!(header.media_time >= at, "time goes on");
                    (at, generation) = (header.media_time, header.generation);
                    next += 1;
                }
                Message::Text(text) => assert!(!text.contains("\"gap\""), "{text}"),
                _ => {}
            }
        }
        relay
            .process
            .wait(Duration::from_secs(30))
            .expect("the first process leaves");
        drop(stopping);
        for thread in knocking {
            let wrong = thread.join().expect("thread");
            assert!(wrong.is_empty(), "{wrong:?}");
        }
        drop(successor);
    });
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered > 50, "{answered} answers");
}

/// SHOUTcast sources have a port of their own, and it is handed over, too.
#[test]
fn shoutcast_sources_are_not_refused_either() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let port = port.expect("a port");
    let mut relay = Relay::start_with(&RelayOptions {
        args: vec!["--shoutcast-listen".into(), port.to_string()],
        ..RelayOptions::default()
    });
    let login = || -> std::io::Result<TcpStream> {
        let mut socket = TcpStream::connect(port)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(socket, "{}\r\n", Relay::PASSWORD)?;
        let mut welcome = [0; 20];
        socket.read_exact(&mut welcome)?;
        assert_eq!(&welcome, b"OK2\r\nicy-caps:11\r\n\r\n");
        Ok(socket)
    };
    let accepted = |relay: &Relay| -> u64 {
        let (_, text) = relay.fetch("/metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("seamcast_connections_accepted_total "));
        line.and_then(|count| count.parse().ok()).expect("a count")
    };
    let before = accepted(&relay);
    for _ in 0..10 {
        login().expect("taken");
    }
    // With the question itself.
    assert_eq!(accepted(&relay), before + 11);
    let stop = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    std::thread::scope(|threads| {
        struct Stop<'s>(&'s AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stopping = Stop(&stop);
        let knocking = threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                login().expect("not refused");
                answered.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        relay.process.signal(USER_DEFINED_2);
        let line = relay
            .process
            .wait_for_output("successor: ", Duration::from_secs(30))
            .expect("a successor");
        let successor = Process(line.replace("successor: ", "").trim().to_owned());
        relay
            .process
            .wait(Duration::from_secs(30))
            .expect("the first process leaves");
        let until = answered.load(Ordering::Relaxed) + 20;
        while answered.load(Ordering::Relaxed) < until && !knocking.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(stopping);
        knocking.join().expect("nobody was refused");
        let mut source = login().expect("taken");
        let noise = Pcm::noise(48_000, 2, 48_000, 0.2, 9);
        let file = relay.scratch.file("a.mp3");
        encode(&noise, Encoding::Mp3(&["-b:a", "64k"]), &file).expect("encoder");
        source.write_all(b"icy-name:x\r\n\r\n").expect("headers");
        source
            .write_all(&std::fs::read(&file).expect("file"))
            .expect("audio");
        relay.wait_for(
            "/api/mounts/stream",
            "\"protocol\":\"ICY\"",
            Duration::from_secs(30),
        );
        drop(successor);
    });
}
