//! Time shift on a live mount: what memory has dropped comes out of the
//! recording, on every transport, as one timeline.

mod relay_common;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use relay_common::{
    Socket, decode_silently, listen_framed, listen_http, listen_ws, mount, rms, whole,
};
use tests::support::http::request;
use tests::support::{Encoding, Pcm, Relay, Scratch, encode, require};
use tokio_tungstenite::tungstenite::Message;

const TIME: Duration = Duration::from_millis(1500);
/// Length of the programme.
const SECONDS: f64 = 24.0;

/// A relay that keeps two seconds in memory and records everything.
fn relay() -> Relay {
    Relay::with_config("[defaults]\nrecord = true\nhistory = \"2s\"\nburst = \"1s\"\n")
}

/// A source that has sent all it had, and stays.
fn publish(relay: &Relay, path: &str, mp3: bool) -> TcpStream {
    let scratch = Scratch::new("time-shift");
    let file = scratch.file("source");
    let encoding = match mp3 {
        true => Encoding::Mp3(&["-b:a", "128k"]),
        false => Encoding::Opus(&["-b:a", "64k"]),
    };
    let pcm = Pcm::noise(48_000, 1, (SECONDS * 48_000.0) as usize, 0.2, 5);
    encode(&pcm, encoding, &file).expect("encoder");
    let media = std::fs::read(&file).expect("encoded");
    let (most, rest) = media.split_at(media.len() * 3 / 4);
    let mut socket = TcpStream::connect(relay.address).expect("connect");
    use base64::Engine as _;
    let user = format!("source:{}", Relay::PASSWORD);
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    write!(
        socket,
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\n\r\n"
    )
    .and_then(|()| socket.write_all(most))
    .expect("published");
    // Memory drops what is recorded when more comes.
    wait(relay, path, "/recording/seconds", SECONDS * 0.7);
    socket.write_all(rest).expect("published");
    wait(relay, path, "/recording/seconds", SECONDS - 1.0);
    socket
}

/// Waits until a number in the mount's description is `least`.
fn wait(relay: &Relay, path: &str, pointer: &str, least: f64) {
    relay.wait_for("/api/mounts", path, Duration::from_secs(30));
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let state = mount(relay, path);
        if state.pointer(pointer).and_then(|v| v.as_f64()) >= Some(least) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{pointer}: {state}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn seek(from: &str) -> Message {
    Message::text(format!("{{\"type\":\"seek\",\"from\":\"{from}\"}}"))
}

/// The next chunk's header.
fn chunk(socket: &mut Socket) -> seamcast_protocol::chunk::Header {
    loop {
        if let Message::Binary(bytes) = socket.next().expect("open") {
            return seamcast_protocol::chunk::Header::decode(&bytes)
                .expect("chunk")
                .0;
        }
    }
}

#[test]
fn joins_reach_back_into_the_recording() {
    require(&["ffmpeg", "curl", "opusenc", "lame"]);
    let relay = relay();
    for (path, is_mp3) in [("/a.opus", false), ("/a.mp3", true)] {
        let _source = publish(&relay, path, is_mp3);
        let state = mount(&relay, path);
        assert_eq!(state["seekable"][0], 0.0, "{state}");
        assert_eq!(state["oldest"], 0, "{state}");
        let start = format!("{path}?from=start&mode=complete");
        let middle = format!("{path}?from=-12");
        let end = state["media_time"].as_f64().expect("media_time");
        // Live while the first one listens; ended for the others, so that they end.
        let http = listen_http(&relay, &start, TIME);
        let admin = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
        let source = format!("/api/mounts{path}/source");
        let gone = request(relay.address, "DELETE", &source, &admin);
        assert_eq!(gone.status, 204);
        let long = Duration::from_secs(30);
        for (name, bytes, expected) in [
            ("http", http, end),
            ("websocket", listen_ws(&relay, &middle, long), 12.0),
            ("seamcast.v1", listen_framed(&relay, &middle, long), 12.0),
        ] {
            let pcm = decode_silently(&whole(&bytes, is_mp3), is_mp3, 48_000, 2);
            let seconds = pcm.frames() as f64 / 48_000.0;
            assert!(
                (expected - 0.5..expected + 0.5).contains(&seconds),
                "{name}: {seconds} s of {expected} s"
            );
            assert!(rms(&pcm) > 0.01, "{name}: silence");
        }
    }
}

#[test]
fn an_open_socket_seeks_into_the_recording_and_back_to_live() {
    let relay = relay();
    let _source = publish(&relay, "/a.opus", false);
    let mut socket = Socket::open(&relay, "/a.opus", Some("seamcast.v1"));
    let welcome = socket.control("welcome");
    assert_eq!(welcome["seekable"][0], 0.0, "{welcome}");
    assert_eq!(welcome["oldest"], 0, "{welcome}");
    let live = chunk(&mut socket).seq;
    assert!(live > 200);
    for target in [0.35, 13.05, 0.0, 7.77] {
        socket.send(seek(&target.to_string()));
        let gap = socket.control("gap");
        assert_eq!(gap["reason"], "seek");
        let header = chunk(&mut socket);
        assert_eq!(gap["to"], header.seq);
        let at = header.media_time as f64 / 705_600_000.0;
        let end = at + header.duration as f64 / 705_600_000.0;
        assert!(at <= target && target < end, "{target}: {at} to {end}");
    }
    socket.send(seek("live"));
    loop {
        let gap = socket.control("gap");
        if gap["to"].as_u64() >= Some(live) {
            break;
        }
    }
    assert!(chunk(&mut socket).seq >= live);
}

/// A listener has to know which of its seeks is answered: what comes before the last answer is not
/// from where it wants to be.
#[test]
fn each_of_many_seeks_into_the_recording_is_answered() {
    let relay = relay();
    let _source = publish(&relay, "/a.opus", false);
    let mut socket = Socket::open(&relay, "/a.opus", Some("seamcast.v1"));
    socket.control("welcome");
    for n in 0..40 {
        socket.send(seek(&format!("{}.0", n % 10)));
    }
    socket.send(Message::text("{\"type\":\"time\",\"t0\":1}"));
    let (mut answers, mut to) = (0, 0);
    while answers < 40 {
        let gap = socket.control("gap");
        assert_eq!(gap["reason"], "seek");
        to = gap["to"].as_u64().expect("number");
        answers += 1;
    }
    let header = chunk(&mut socket);
    assert_eq!(header.seq, to);
    let at = header.media_time as f64 / 705_600_000.0;
    assert!((8.8..=9.0).contains(&at), "{at}");
}

#[test]
fn catching_up_keeps_to_what_the_listener_reports() {
    let relay = relay();
    let _source = publish(&relay, "/a.opus", false);
    let mut socket = Socket::open(&relay, "/a.opus?from=start", Some("seamcast.v1"));
    socket.control("config");
    let report = |at: f64| {
        Message::text(format!(
            "{{\"type\":\"stats\",\"media_time\":{at},\"buffered_ms\":100,\"underruns\":0}}"
        ))
    };
    socket.send(report(0.1));
    // A silent listener gets 15 s at once; one that plays at 0.1 s and says so
    // gets no more, however long it takes.
    let mut last = 0.0;
    for _ in 0..20 {
        socket.send(report(0.1));
        socket.send(Message::text("{\"type\":\"time\",\"t0\":1}"));
        loop {
            match socket.next().expect("open") {
                Message::Binary(bytes) => {
                    let (header, _) =
                        seamcast_protocol::chunk::Header::decode(&bytes).expect("chunk");
                    last = header.media_time as f64 / 705_600_000.0;
                }
                Message::Text(text) if text.contains("\"time\"") => break,
                _ => {}
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(last < 15.5, "{last}");
    // When it has played on, it gets the few seconds that follow.
    socket.send(report(9.0));
    while last < 16.5 {
        last = chunk(&mut socket).media_time as f64 / 705_600_000.0;
    }
    assert!(last < 17.5, "{last}");
}
