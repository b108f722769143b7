//! Input that lies about itself, is cut short or is no audio at all: a clear
//! error that names mount, value and remedy, or a count of what is missing.

mod relay_common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use relay_common::{decode_silently, listen_http, mount};
use seamcast_media::rtp::Packet;
use serde_json::Value;
use tests::support::http::request;
use tests::support::{Encoding, Pcm, Program, Relay, Scratch, encode, require};

const LIMIT: Duration = Duration::from_secs(60);

fn inputs(relay: &Relay) -> Value {
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let answer = request(relay.address, "GET", "/api/inputs", &token);
    serde_json::from_slice(&answer.body).expect("an array")
}

/// Waits until the log has `text`: it is read by a thread of the test's, which
/// may be late.
fn logs(relay: &Relay, text: &str) {
    let until = Instant::now() + LIMIT;
    while !relay.process.stderr().contains(text) {
        assert!(Instant::now() < until, "{text}: {}", relay.process.stderr());
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Waits until an input says `text`.
fn says(relay: &Relay, text: &str) {
    let until = Instant::now() + LIMIT;
    while !inputs(relay).to_string().contains(text) {
        assert!(Instant::now() < until, "{text}: {}", inputs(relay));
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// PUTs `body` with curl: status and what the relay said.
fn put(relay: &Relay, path: &str, content_type: &str, body: &[u8]) -> (String, String) {
    let done = Program::new("curl")
        .args(["-sS", "-T", "-", "-w", "\n%{http_code}"])
        .args(["-u", &format!("source:{}", Relay::PASSWORD)])
        .args(["-H", &format!("Content-Type: {content_type}")])
        .arg(relay.url(path))
        .input(body.to_vec())
        .limit(LIMIT)
        .run()
        .unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let (said, status) = said.rsplit_once('\n').expect("a status");
    (status.to_owned(), said.to_owned())
}

fn faults(relay: &Relay, path: &str) -> u64 {
    let faults = &mount(relay, path)["stats"]["faults"];
    faults.as_u64().expect("a number")
}

fn seconds(relay: &Relay, path: &str) -> f64 {
    let position = &mount(relay, path)["media_time"];
    position.as_f64().expect("seconds")
}

/// A WAV file of these samples; `change` makes its header lie.
fn wav(frames: usize, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let scratch = Scratch::new("lies");
    let file = scratch.file("a.wav");
    Pcm::sine(48_000, 440.0, frames).write_wav(&file);
    let mut bytes = std::fs::read(&file).expect("read");
    change(&mut bytes);
    bytes
}

fn find(bytes: &[u8], name: &[u8]) -> usize {
    let at = bytes.windows(name.len()).position(|w| w == name);
    at.expect("the chunk")
}

#[test]
fn a_declared_format_that_is_wrong_is_refused_by_name() {
    require(&["curl", "ffmpeg"]);
    let relay = Relay::start();
    let raw = |more: &str| format!("audio/x-raw;{more}");
    for (declared, value) in [
        (raw("format=s16le;rate=0;channels=1"), "0"),
        (raw("format=s16le;rate=7;channels=1"), "7"),
        (raw("format=s16le;rate=999999999;channels=1"), "999999999"),
        (raw("format=s16le;rate=fast;channels=1"), "fast"),
        (raw("format=s16le;rate=48000;channels=0"), "0"),
        (raw("format=s16le;rate=48000;channels=9"), "9"),
        (raw("format=s17le;rate=48000;channels=1"), "s17le"),
        ("audio/L16;rate=48000;channels=99".into(), "99"),
    ] {
        let (status, said) = put(&relay, "/w.opus", &declared, &[0; 4800]);
        assert_eq!(status, "415", "{declared}: {said}");
        assert!(
            said.contains(value) && said.contains("/w.opus"),
            "{declared}: {said}"
        );
    }
    // Declared as samples, and a file that says itself what it is.
    let scratch = Scratch::new("declared");
    let ogg = scratch.file("a.opus");
    let tone = Pcm::sine(48_000, 440.0, 48_000);
    encode(&tone, Encoding::Opus(&["-b:a", "96k"]), &ogg).expect("opus");
    let ogg = std::fs::read(&ogg).expect("read");
    for (body, kind) in [(&ogg, "Ogg"), (&wav(48_000, |_| {}), "WAV")] {
        let declared = raw("format=s16le;rate=48000;channels=1");
        let (status, said) = put(&relay, "/w.opus", &declared, body);
        assert_eq!(status, "415", "{said}");
        assert!(
            said.contains(kind) && said.contains("leave the format out"),
            "{said}"
        );
    }
    // A wrong media type of a stream that says itself what it is does no harm.
    let (status, said) = put(&relay, "/sniffed.opus", "audio/mpeg", &ogg);
    assert_eq!(status, "200", "{said}");
    assert_eq!(
        (
            seconds(&relay, "/sniffed.opus"),
            faults(&relay, "/sniffed.opus")
        ),
        (1.0, 0)
    );
    // Nothing at all.
    for declared in ["audio/ogg", &raw("format=s16le;rate=48000;channels=1")] {
        let (status, said) = put(&relay, "/w.opus", declared, b"");
        assert_eq!(status, "415", "{said}");
        assert!(
            said.contains("/w.opus") && said.contains("send audio"),
            "{said}"
        );
    }
}

#[test]
fn odd_byte_counts_keep_every_whole_frame_and_are_counted() {
    require(&["curl"]);
    let relay = Relay::start();
    for (name, declared, frame) in [
        (
            "/a.opus",
            "audio/x-raw;format=s16le;rate=48000;channels=2",
            4,
        ),
        (
            "/b.opus",
            "audio/x-raw;format=s24le;rate=48000;channels=1",
            3,
        ),
        (
            "/c.opus",
            "audio/x-raw;format=f32le;rate=48000;channels=2",
            8,
        ),
    ] {
        let (status, said) = put(&relay, name, declared, &vec![0; 24_000 * frame + 1]);
        assert_eq!(status, "200", "{said}");
        assert_eq!(
            (seconds(&relay, name), faults(&relay, name)),
            (0.5, 1),
            "{name}"
        );
    }
    logs(&relay, "1 bytes at the end are less than one frame");
}

#[test]
fn wav_headers_that_lie_are_found_out() {
    require(&["curl"]);
    let relay = Relay::start();
    let size = |len: u32| {
        move |bytes: &mut Vec<u8>| {
            let at = find(bytes, b"data") + 4;
            bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
        }
    };
    let field = |offset: usize, value: u16| {
        move |bytes: &mut Vec<u8>| {
            let at = find(bytes, b"fmt ") + 8 + offset;
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
    };
    // More than comes: what came is played, and the rest is counted.
    let (status, said) = put(
        &relay,
        "/more.opus",
        "audio/wav",
        &wav(48_000, size(9_999_996)),
    );
    assert_eq!(status, "200", "{said}");
    assert_eq!(
        (seconds(&relay, "/more.opus"), faults(&relay, "/more.opus")),
        (1.0, 1)
    );
    // Less than comes.
    let (status, said) = put(
        &relay,
        "/less.opus",
        "audio/wav",
        &wav(96_000, size(48_000)),
    );
    assert_eq!(status, "200", "{said}");
    assert!(seconds(&relay, "/less.opus") < 1.0);
    assert_eq!(faults(&relay, "/less.opus"), 1);
    for said in ["of them never came", "more follow, which are not played"] {
        logs(&relay, said);
    }
    // Formats that cannot be.
    let no_format = |bytes: &mut Vec<u8>| {
        let at = find(bytes, b"fmt ");
        bytes[at..at + 4].copy_from_slice(b"junk");
    };
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(20);
    let bodies = [
        ("no channels", wav(4800, field(2, 0)), "0 channels"),
        ("ADPCM", wav(4800, field(0, 2)), "format tag 2"),
        ("17 bits", wav(4800, field(14, 17)), "17 bits"),
        ("no format", wav(4800, no_format), "before fmt"),
        ("no samples", wav(4800, cut), "not complete"),
    ];
    for (name, body, value) in bodies {
        let (status, said) = put(&relay, "/w.opus", "audio/wav", &body);
        assert_eq!(status, "415", "{name}: {said}");
        assert!(
            said.contains(value) && said.contains("/w.opus"),
            "{name}: {said}"
        );
    }
}

#[test]
fn rtp_padding_and_extensions_are_no_audio_and_lies_are_counted() {
    require(&["ffmpeg", "curl"]);
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = port.expect("a free port").port();
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"rtp\"\nmount = \"/voice.opus\"\nlisten = \"127.0.0.1:{port}\"\n"
    ));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let send = |bytes: &[u8]| {
        socket.send_to(bytes, ("127.0.0.1", port)).expect("send");
        std::thread::sleep(Duration::from_millis(2));
    };
    const PACKETS: usize = 50;
    for number in 0..PACKETS {
        let payload = [0x55 + (number % 2) as u8; 160];
        let packet = Packet {
            payload_type: 8,
            marker: number == 0,
            sequence: 100 + number as u16,
            rtp_time: 160 * number as u32,
            ssrc: 5,
            payload: &payload,
        };
        let mut bytes = packet.to_bytes();
        match number % 4 {
            // Four bytes of padding, the last of which says so.
            1 => {
                bytes[0] |= 0x20;
                bytes.extend_from_slice(&[0, 0, 0, 4]);
            }
            // A header extension of two words.
            2 => {
                bytes[0] |= 0x10;
                let extension = [0xbe, 0xde, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
                bytes.splice(12..12, extension);
            }
            // Two contributing sources.
            3 => {
                bytes[0] |= 2;
                bytes.splice(12..12, [9; 8]);
            }
            _ => {}
        }
        send(&bytes);
        // What is none: of another version, or longer than itself.
        if number % 10 == 5 {
            for version in [0x00, 0x40, 0xc0] {
                let mut wrong = packet.to_bytes();
                wrong[0] = version;
                send(&wrong);
            }
            let mut padded = packet.to_bytes();
            padded[0] |= 0x20;
            *padded.last_mut().expect("a byte") = 255;
            send(&padded);
            let mut extended = packet.to_bytes()[..16].to_vec();
            extended[0] |= 0x10;
            extended[14..16].fill(0xff);
            send(&extended);
            send(&[]);
        }
    }
    // RTCP BYE of SSRC 5, on the same port (RFC 5761).
    std::thread::sleep(Duration::from_millis(200));
    send(&[0x81, 203, 0, 1, 0, 0, 0, 5]);
    relay.wait_for("/api/mounts/voice.opus", "\"state\":\"ended\"", LIMIT);
    let stream = listen_http(&relay, "/voice.opus?from=start", LIMIT);
    let heard = decode_silently(&stream, false, 48_000, 1);
    assert_eq!(
        heard.frames(),
        PACKETS * 960,
        "every packet, and nothing else"
    );
    let status = &inputs(&relay)[0];
    assert_eq!(status["malformed"], 5 * 6, "{status}");
    for (key, count) in [("received", PACKETS), ("lost", 0), ("concealed_frames", 0)] {
        assert_eq!(status["rtp"][key], count, "{status}");
    }
}

/// Answers every request with this.
fn serve(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let answer = answer.clone();
            std::thread::spawn(move || {
                let _ = socket.read(&mut [0; 4096]);
                let _ = socket.write_all(&answer);
            });
        }
    });
    address
}

#[test]
fn an_upstream_that_sends_html_is_named_and_asked_again() {
    let page = "<!doctype html><title>Not here</title>".repeat(100);
    let answer = |kind: &str| {
        let head = format!("HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n{page}");
        serve(head.into_bytes())
    };
    let (honest, lying) = (answer("text/html"), answer("audio/mpeg"));
    let input = |mount: &str, url: SocketAddr| {
        format!("[[input]]\nkind = \"http\"\nmount = \"{mount}\"\nurl = \"http://{url}/live\"\n")
    };
    let relay = Relay::with_config(&(input("/honest.mp3", honest) + &input("/lying.mp3", lying)));
    says(&relay, "answered what is not audio");
    says(&relay, "text/html");
    says(&relay, "mount /lying.mp3");
    logs(&relay, "/honest.mp3");
    logs(&relay, "/lying.mp3");
    let log = relay.process.stderr();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_playlist_without_any_file_says_which_are_missing() {
    let scratch = Scratch::new("missing");
    let list = scratch.file("list.m3u");
    std::fs::write(&list, "gone.mp3\nalso/gone.opus\n").expect("write");
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"file\"\nmount = \"/list.opus\"\npath = \"{}\"\n",
        list.display()
    ));
    says(&relay, "holds nothing that can be played");
    logs(&relay, "gone.mp3");
    logs(&relay, "also/gone.opus");
    assert!(
        inputs(&relay)[0]["malformed"].as_u64() >= Some(2),
        "{}",
        inputs(&relay)
    );
}

/// Replaces what is in a file, without making another.
fn rewrite(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("write");
}

#[test]
fn a_file_that_shrinks_is_said_and_read_again() {
    require(&["ffmpeg", "curl"]);
    let scratch = Scratch::new("shrinks");
    let file = scratch.file("whole.opus");
    let tone = Pcm::sine(48_000, 440.0, 96_000);
    encode(&tone, Encoding::Opus(&["-b:a", "96k"]), &file).expect("opus");
    let whole = std::fs::read(&file).expect("read");
    let path = scratch.file("grows.opus");
    rewrite(&path, &whole[..whole.len() * 3 / 4]);
    let relay = Relay::with_config(&format!(
        "[[mount]]\npath = \"/g.opus\"\ngrace = \"60s\"\n\
         [[input]]\nkind = \"growing\"\nmount = \"/g.opus\"\npath = \"{}\"\ntimeout = \"50s\"\n",
        path.display()
    ));
    relay.wait_for("/api/mounts/g.opus", "\"live\":true", LIMIT);
    // All of it is taken.
    let taken = format!("\"bytes\":{}", whole.len() * 3 / 4);
    says(&relay, &taken);
    rewrite(&path, &whole[..1000]);
    says(&relay, "shrank from");
    relay.wait_for("/api/mounts/g.opus", "\"state\":\"offline\"", LIMIT);
    rewrite(&path, &whole);
    relay.wait_for("/api/mounts/g.opus", "\"live\":true", LIMIT);
    assert_eq!(mount(&relay, "/g.opus")["stats"]["losses"], 1);
    assert!(
        inputs(&relay)[0]["starts"].as_u64() >= Some(2),
        "{}",
        inputs(&relay)
    );
}
