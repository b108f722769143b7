//! Single listeners on loopback sockets: control messages, closes, listing.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use relay_server::fanout::{
    Config, Fanout, Framing, Full, ListenerId, ListenerRequest, MountShared, Seat,
};
use relay_server::mount::log::{GenerationConfig, Limits, Log, NewChunk};
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::chunk::{Flags, Header};
use serde_json::{Value, json};

fn log(chunks: u64) -> Arc<Log> {
    let log = Log::new("e1", Limits::default());
    log.generation(GenerationConfig {
        container: "mpeg".into(),
        codec: "mp3".into(),
        sample_rate: 48_000,
        channels: 2,
        headers: "H".into(),
    });
    for seq in 0..chunks {
        append(&log, seq);
    }
    log
}

fn append(log: &Log, seq: u64) {
    let duration = MediaDuration::from_millis(100);
    let payload = format!("chunk {seq}");
    let chunk = NewChunk {
        media_time: MediaTime::from_ticks(duration.ticks() * seq),
        duration,
        flags: Flags::SYNC,
        payload: payload.as_bytes(),
    };
    assert_eq!(log.append(chunk, wall_us()), Some(seq));
}

fn wall_us() -> u64 {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    wall.expect("clock").as_micros() as u64
}

struct Listener {
    socket: TcpStream,
    id: ListenerId,
}

impl Listener {
    fn new(
        fanout: &Fanout,
        mount: &Arc<MountShared>,
        framing: Framing,
        set: impl FnOnce(&mut ListenerRequest),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let socket = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
        let (server, peer) = listener.accept().expect("accept");
        let mut request = ListenerRequest::new(framing, peer);
        request.user_agent = "test/1".into();
        set(&mut request);
        let timeout = Some(Duration::from_secs(20));
        socket.set_read_timeout(timeout).expect("timeout");
        let id = fanout.attach(server.into(), mount.clone(), request);
        Self { socket, id }
    }

    /// The next message: opcode and payload.
    fn message(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.socket.read_exact(&mut head).expect("header");
        let mut len = usize::from(head[1]);
        if len == 126 {
            let mut long = [0; 2];
            self.socket.read_exact(&mut long).expect("length");
            len = usize::from(u16::from_be_bytes(long));
        }
        let mut payload = vec![0; len];
        self.socket.read_exact(&mut payload).expect("payload");
        (head[0] & 0x0f, payload)
    }

    fn text(&mut self) -> Value {
        let (opcode, payload) = self.message();
        assert_eq!(opcode, 1, "{payload:?}");
        serde_json::from_slice(&payload).expect("JSON")
    }

    fn chunk(&mut self) -> u64 {
        let (opcode, payload) = self.message();
        assert_eq!(opcode, 2, "{}", String::from_utf8_lossy(&payload));
        let (header, payload) = Header::decode(&payload).expect("chunk");
        assert_eq!(payload, format!("chunk {}", header.seq).as_bytes());
        header.seq
    }

    /// Skips to the close, answers it and checks that the connection ends then.
    fn closed(&mut self) -> u16 {
        let code = self.close_code();
        // Refused where ours had begun the closing: the connection has ended already.
        let mut goodbye = vec![0x88, 0x82, 0, 0, 0, 0];
        goodbye.extend(code.to_be_bytes());
        let _ = self.socket.write_all(&goodbye);
        match self.socket.read(&mut [0]) {
            Ok(n) => assert_eq!(n, 0, "something after the close"),
            // It ended before it took the goodbye.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        code
    }

    fn close_code(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.message();
            if opcode == 8 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }

    fn say(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
        assert!(payload.len() < 126);
        let mask = [1, 2, 3, 4];
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        self.socket.write_all(&frame).expect("send");
    }

    fn tell(&mut self, message: &Value) {
        self.say(0x81, message.to_string().as_bytes());
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < give_up, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn welcome_seek_time_and_ping() {
    let fanout = Fanout::new(Config::default()).expect("threads");
    let mount = MountShared::new("/m", log(100));
    let mut listener = Listener::new(&fanout, &mount, Framing::WsFramed, |_| {});
    let welcome = listener.text();
    assert_eq!(welcome["type"], "welcome");
    assert_eq!(welcome["mount"], "/m");
    assert_eq!(welcome["epoch"], "e1");
    assert_eq!(welcome["from"], 90, "one second of burst");
    assert_eq!(welcome["seekable"], json!([0.0, 10.0]));
    assert_eq!(listener.text()["type"], "config");
    for seq in 90..100 {
        assert_eq!(listener.chunk(), seq);
    }
    append(&mount.log, 100);
    assert_eq!(listener.chunk(), 100);

    listener.tell(&json!({"type": "seek", "from": "5.0"}));
    let gap = listener.text();
    assert_eq!(
        gap,
        json!({"type": "gap", "from": 101, "to": 50, "reason": "seek"})
    );
    assert_eq!(listener.text()["type"], "config");
    for seq in 50..101 {
        assert_eq!(listener.chunk(), seq);
    }
    listener.tell(&json!({"type": "time", "t0": 7.5}));
    let time = listener.text();
    assert_eq!(time["t0"], 7.5);
    assert!((time["t1"].as_f64().expect("number") * 1000.0 - wall_us() as f64).abs() < 20e6);
    listener.say(0x89, b"marco");
    assert_eq!(listener.message(), (10, b"marco".to_vec()));
    listener.tell(&json!({"type": "seek", "from": "nowhere"}));
    assert_eq!(listener.text()["code"], "bad_seek");
    listener.tell(&json!({"type": "dance"}));
    assert_eq!(listener.text()["code"], "unknown_message");
    listener.say(0x88, &1001_u16.to_be_bytes());
    assert_eq!(listener.closed(), 1001);
    until("left", || fanout.count() == 0);
}

#[test]
fn resuming_is_exact() {
    let fanout = Fanout::new(Config::default()).expect("threads");
    let mount = MountShared::new("/m", log(100));
    let mut listener = Listener::new(&fanout, &mount, Framing::WsFramed, |request| {
        request.from = "e1:42".parse().expect("join point");
    });
    let welcome = listener.text();
    assert_eq!(
        (&welcome["from"], &welcome["recovered"]),
        (&json!(42), &json!(true))
    );
    listener.text();
    assert_eq!(listener.chunk(), 42);
    let mut other = Listener::new(&fanout, &mount, Framing::WsFramed, |request| {
        request.from = "e0:42".parse().expect("join point");
    });
    assert_eq!(other.text()["recovered"], false);
    assert_eq!(other.text()["reason"], "epoch");
}

#[test]
fn mistakes_are_told() {
    let fanout = Fanout::new(Config::default()).expect("threads");
    let mount = MountShared::new("/m", log(10));
    let code = |bytes: &[u8]| {
        let mut listener = Listener::new(&fanout, &mount, Framing::WsFramed, |_| {});
        listener.socket.write_all(bytes).expect("send");
        listener.closed()
    };
    assert_eq!(code(&[0x81, 1, b'x']), 1002);
    assert_eq!(code(&[0x81, 0xfe, 0xff, 0xff]), 1009);
    assert_eq!(code(&[0x81, 0x81, 0, 0, 0, 0, b'x']), 4502);
    assert_eq!(code(&[0x82, 0x81, 0, 0, 0, 0, b'x']), 4502);
    until("left", || {
        mount.stats.listeners.load(Ordering::Relaxed) == 0
    });
}

/// A network that stood still brings what was said meanwhile in one piece.
#[test]
fn many_seeks_at_once_are_each_answered() {
    let fanout = Fanout::new(Config::default()).expect("threads");
    let mount = MountShared::new("/m", log(100));
    let mut listener = Listener::new(&fanout, &mount, Framing::WsFramed, |_| {});
    assert_eq!(listener.text()["type"], "welcome");
    let mut said = Vec::new();
    for second in (0..60).map(|n| n % 10) {
        let text = format!(r#"{{"type":"seek","from":"{second}.0"}}"#);
        said.extend([0x81, 0x80 | text.len() as u8, 0, 0, 0, 0]);
        said.extend(text.into_bytes());
    }
    listener.socket.write_all(&said).expect("send");
    let mut answers = 0;
    while answers < 60 {
        let (opcode, payload) = listener.message();
        assert_ne!(opcode, 8, "closed: {}", String::from_utf8_lossy(&payload));
        answers += u64::from(opcode == 1 && payload.windows(6).any(|part| part == b"\"seek\""));
    }
    assert_eq!(listener.text()["type"], "config");
    assert_eq!(listener.chunk(), 90);
}

/// What listeners miss is in their mount's counters, whichever way they are written to.
#[test]
fn what_listeners_miss_adds_up() {
    let fanout = Fanout::new(Config {
        shards: 1,
        ..Config::default()
    })
    .expect("threads");
    let mount = MountShared::new("/m", log(10));
    let _listeners: Vec<_> = (0..20)
        .map(|_| {
            Listener::new(&fanout, &mount, Framing::WsFramed, |request| {
                request.burst = MediaDuration::from_millis(100);
                request.max_latency = MediaDuration::from_millis(500);
            })
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    let listed = || runtime.block_on(fanout.listeners(&mount));
    let mut seq = 10;
    until("listeners that missed something", || {
        // A source that sends faster than it plays, by as much as a shard has at hand.
        for _ in 0..25 {
            append(&mount.log, seq);
            seq += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
        listed().iter().all(|listener| listener.gaps > 0)
    });
    until("all told", || {
        listed().iter().all(|listener| listener.next_seq == seq)
    });
    let listed = listed();
    let counted = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let stats = &mount.stats;
    let sum = |of: fn(&relay_server::fanout::ListenerInfo) -> u64| listed.iter().map(of).sum();
    assert_eq!(
        (
            counted(&stats.gaps),
            counted(&stats.lag_chunks),
            counted(&stats.bytes)
        ),
        (
            sum(|one| one.gaps.into()),
            sum(|one| one.lag_chunks),
            sum(|one| one.bytes)
        ),
    );
}

#[test]
fn kicked_drained_and_listed() {
    let fanout = Fanout::new(Config::default()).expect("threads");
    let mount = MountShared::new("/m", log(10));
    let other = MountShared::new("/n", log(10));
    let seat = |here| Seat::take(&fanout, &mount, here, 2);
    let taken = seat(1).expect("free");
    assert_eq!(seat(1).err(), Some(Full::Mount(1)));
    let mut first = Listener::new(&fanout, &mount, Framing::WsFramed, |request| {
        request.seat = Some(taken);
        request.unread = {
            let mut frame = vec![0x81, 0x80 | 60, 0, 0, 0, 0];
            let text = r#"{"type":"stats","media_time":0.1,"buffered_ms":5,"underruns":3}"#;
            frame[1] = 0x80 | text.len() as u8;
            frame.extend_from_slice(text.as_bytes());
            frame.into()
        };
    });
    let mut second = Listener::new(&fanout, &mount, Framing::WsPlain, |_| {});
    let _third = Listener::new(&fanout, &other, Framing::WsPlain, |_| {});
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    let listed = runtime.block_on(fanout.listeners(&mount));
    assert_eq!(
        listed.iter().map(|l| l.id).collect::<Vec<_>>(),
        [first.id, second.id]
    );
    assert_eq!(listed[0].transport, "seamcast.v1");
    assert_eq!(listed[0].user_agent, "test/1");
    assert_eq!(listed[0].underruns, 3);
    assert_eq!(listed[1].next_seq, 10);

    fanout.kick(first.id, 4002, "closed by an administrator");
    assert_eq!(first.closed(), 4002);
    drop(first);
    until("the place is free", || seat(1).is_ok());
    let both = [seat(0).expect("no limit"), seat(0).expect("no limit")];
    assert_eq!(seat(0).err(), Some(Full::Relay(2)));
    assert_eq!(seat(3).err(), Some(Full::Relay(2)));
    drop(both);
    drop(seat(1).expect("nothing is kept of what was refused"));
    assert_eq!(second.message(), (2, b"H".to_vec()));
    assert_eq!(second.message(), (2, b"chunk 0".to_vec()));

    let mut framed = Listener::new(&fanout, &mount, Framing::WsFramed, |_| {});
    let mut body = Listener::new(&fanout, &mount, Framing::HttpChunked, |_| {});
    until("joined", || fanout.count() == 4);
    fanout.drain(
        Duration::from_millis(500),
        Duration::from_millis(200),
        Some("ws://b/m"),
    );
    let goaway = loop {
        let (opcode, payload) = framed.message();
        let message: Option<Value> = serde_json::from_slice(&payload).ok();
        if opcode == 1 && message.as_ref().is_some_and(|m| m["type"] == "goaway") {
            break message.expect("some");
        }
    };
    assert!((500..=700).contains(&goaway["after_ms"].as_u64().expect("number")));
    assert_eq!(goaway["url"], "ws://b/m");
    assert_eq!(framed.closed(), 4000);
    let mut rest = Vec::new();
    body.socket.read_to_end(&mut rest).expect("end");
    // It is not complete: who fetches it is to come back.
    assert!(rest.ends_with(b"chunk 9\r\n"), "{rest:?}");
    assert_eq!(second.closed(), 4000);
}

#[test]
fn coarse_delivery_waits_and_then_does_not() {
    let fanout = Fanout::new(Config::default()).expect("threads");
    let mount = MountShared::new("/m", log(1));
    let mut listener = Listener::new(&fanout, &mount, Framing::WsFramed, |request| {
        request.min_chunk = MediaDuration::from_millis(400);
    });
    assert_eq!(listener.text()["type"], "welcome");
    // Less than 400 ms is there: it comes when it has waited that long.
    let begin = Instant::now();
    assert_eq!(listener.text()["type"], "config");
    assert_eq!(listener.chunk(), 0);
    assert!(
        begin.elapsed() > Duration::from_millis(200),
        "{:?}",
        begin.elapsed()
    );
    // With enough there is no wait at all.
    for seq in 1..5 {
        append(&mount.log, seq);
    }
    for seq in 1..5 {
        assert_eq!(listener.chunk(), seq);
    }
    // Nor before a control entry.
    append(&mount.log, 5);
    mount.log.end("source_ended");
    assert_eq!(listener.chunk(), 5);
    assert_eq!(listener.text()["type"], "end");
    assert_eq!(listener.closed(), 4500);
}

#[test]
fn a_thousand_mounts() {
    let fanout = Fanout::new(Config::default()).expect("threads");
    let mounts: Vec<_> = (0..1000)
        .map(|n| MountShared::new(&format!("/{n}"), log(1)))
        .collect();
    let mut listeners: Vec<_> = mounts
        .iter()
        .map(|mount| Listener::new(&fanout, mount, Framing::WsPlain, |_| {}))
        .collect();
    for (mount, listener) in mounts.iter().zip(&mut listeners) {
        append(&mount.log, 1);
        for expected in ["H", "chunk 0", "chunk 1"] {
            assert_eq!(listener.message(), (2, expected.as_bytes().to_vec()));
        }
    }
    drop(listeners);
    until("left", || fanout.count() == 0);
}

/// RFC 6455 §7.1.1. Firefox forgets everything when the end of the connection is
/// there before it has read the handshake.
#[test]
fn the_connection_outlives_the_close_until_it_is_answered() {
    let fanout = Fanout::new(Config::default()).expect("threads");
    let mount = MountShared::new("/m", log(3));
    mount.log.end("source_ended");
    for framing in [Framing::WsFramed, Framing::WsPlain] {
        let mut listener = Listener::new(&fanout, &mount, framing, |_| {});
        assert_eq!(listener.close_code(), 4500);
        let short = Some(Duration::from_millis(150));
        listener.socket.set_read_timeout(short).expect("timeout");
        let silence = listener.socket.read(&mut [0]).expect_err("still open");
        assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(fanout.count(), 1);
        listener.say(0x88, &4500_u16.to_be_bytes());
        assert_eq!(listener.socket.read(&mut [0]).expect("end"), 0);
        until("left", || fanout.count() == 0);
    }
}
