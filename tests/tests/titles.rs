//! Titles carry the media time they belong to: live, in the past, after a
//! seek, beside the recording and after a restart.

mod relay_common;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use relay_common::{Socket, mount};
use seamcast_protocol::chunk::Header;
use serde_json::Value;
use tests::support::http::request;
use tests::support::{Encoding, Pcm, Program, Relay, Scratch, encode, require};
use tokio_tungstenite::tungstenite::Message;

const USER_DEFINED_2: i32 = 12;
const TICKS: f64 = 705_600_000.0;

/// Waits until so much of the programme is recorded.
fn recorded(relay: &Relay, seconds: f64) {
    relay.wait_for("/api/mounts", "/a.opus", Duration::from_secs(30));
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let state = mount(relay, "/a.opus");
        if state["recording"]["seconds"].as_f64() >= Some(seconds) {
            return;
        }
        assert!(Instant::now() < until, "{state}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The titles and chunks up to a position, in order: `Err` is a title with its
/// time, `Ok` a chunk's.
fn until(socket: &mut Socket, position: f64) -> Vec<Result<f64, (f64, String)>> {
    let mut all = Vec::new();
    loop {
        match socket.next().expect("open") {
            Message::Binary(bytes) => {
                let (header, _) = Header::decode(&bytes).expect("chunk");
                let at = header.media_time as f64 / TICKS;
                all.push(Ok(at));
                if at >= position {
                    return all;
                }
            }
            Message::Text(text) => {
                let value: Value = serde_json::from_str(&text).expect("JSON");
                if value["type"] == "metadata" {
                    let title = value["tags"]["TITLE"].as_str().unwrap_or_default();
                    all.push(Err((value["at"].as_f64().expect("at"), title.to_owned())));
                }
            }
            _ => {}
        }
    }
}

/// Each title comes right before the first chunk that ends after its time.
fn in_place(told: &[Result<f64, (f64, String)>]) {
    for (n, title) in told.iter().enumerate() {
        if let Err((at, title)) = title {
            let before = told[..n].iter().rev().find_map(|one| one.as_ref().ok());
            let after = told[n..].iter().find_map(|one| one.as_ref().ok());
            assert!(before.is_none_or(|before| before < at), "{title}: {told:?}");
            assert!(
                after.is_none_or(|after| *after + 0.2 > *at),
                "{title}: {told:?}"
            );
        }
    }
}

fn titles(told: &[Result<f64, (f64, String)>]) -> Vec<(f64, String)> {
    told.iter().filter_map(|one| one.clone().err()).collect()
}

#[test]
fn they_keep_their_time_from_the_source_to_after_a_restart() {
    require(&["ffmpeg"]);
    let scratch = Scratch::new("titles");
    let file = scratch.file("source.opus");
    let pcm = Pcm::noise(48_000, 1, 48_000 * 12, 0.2, 6);
    encode(
        &pcm,
        Encoding::Opus(&[
            "-b:a",
            "64k",
            "-page_duration",
            "100000",
            "-metadata",
            "title=First",
        ]),
        &file,
    )
    .expect("encoder");
    let media = std::fs::read(&file).expect("encoded");
    let (most, rest) = media.split_at(media.len() / 2);
    let mut relay = Relay::with_config(
        "drain = \"10s\"\n[defaults]\nrecord = true\nhistory = \"2s\"\nburst = \"1s\"\ngrace = \"60s\"\n",
    );
    let user = format!("source:{}", Relay::PASSWORD);
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    let basic = format!("Authorization: Basic {user}\r\n");
    let mut source = TcpStream::connect(relay.address).expect("connect");
    write!(source, "PUT /a.opus HTTP/1.1\r\nHost: x\r\n{basic}\r\n")
        .and_then(|()| source.write_all(most))
        .expect("published");
    recorded(&relay, 4.0);
    // What is pending has left by now, so that the title's place is known.
    std::thread::sleep(Duration::from_millis(500));
    let changed = mount(&relay, "/a.opus")["media_time"]
        .as_f64()
        .expect("time");
    let path = "/admin/metadata?mode=updinfo&mount=/a.opus&song=Second";
    assert_eq!(request(relay.address, "GET", path, &basic).status, 200);
    source.write_all(rest).expect("published");
    recorded(&relay, 11.0);

    let from_start = |relay: &Relay| {
        let mut socket = Socket::open(
            relay,
            "/a.opus?from=start&mode=complete",
            Some("seamcast.v1"),
        );
        let told = until(&mut socket, 10.5);
        in_place(&told);
        (socket, titles(&told))
    };
    let (mut socket, told) = from_start(&relay);
    assert_eq!(told[0], (0.0, "First".to_owned()));
    let (at, title) = &told[told.len() - 1];
    assert!(title.contains("Second") && told.len() == 2, "{told:?}");
    assert!((at - changed).abs() < 0.2, "at {at}, changed at {changed}");

    // After a seek the title of the place comes before its first chunk.
    for (target, expected) in [(9.0, 1), (2.0, 0), (8.0, 1)] {
        socket.send(Message::text(format!(
            "{{\"type\":\"seek\",\"from\":\"{target}\"}}"
        )));
        assert_eq!(socket.control("gap")["reason"], "seek");
        let here = until(&mut socket, 0.0);
        assert_eq!(titles(&here), [told[expected].clone()], "seek to {target}");
    }

    // Beside the recording, a line each.
    let folder = relay.scratch.file("recordings/a.opus");
    let beside = std::fs::read_dir(folder).expect("folder").flatten();
    let beside = beside.map(|entry| entry.path());
    let kept = beside.filter(|path| path.to_string_lossy().ends_with(".titles.json"));
    let kept: String = kept
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect();
    let kept: Vec<(f64, String)> = kept
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let title = line["tags"]["TITLE"].as_str().unwrap_or_default();
            (line["at"].as_f64().expect("at"), title.to_owned())
        })
        .collect();
    assert_eq!(kept, told);

    // And by the relay that comes after this one.
    relay.process.signal(USER_DEFINED_2);
    let line = relay
        .process
        .wait_for_output("successor: ", Duration::from_secs(30))
        .expect("a successor");
    let _successor = Successor(line.replace("successor: ", "").trim().to_owned());
    relay
        .process
        .wait(Duration::from_secs(30))
        .expect("the first process leaves");
    assert_eq!(from_start(&relay).1, told);
}

/// Ends a process that is not our child.
struct Successor(String);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = Program::new("kill").args(["-9", &self.0]).run();
    }
}
