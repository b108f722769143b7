//! Real source clients publish unchanged, and what they sent comes out again.

mod relay_common;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use relay_common::{Socket, decode_silently, listen_http, mount, read_for, rms, tone};
use tests::support::{
    Encoding, Pcm, Program, Relay, RelayOptions, Scratch, align, encode, require,
};
use tokio_tungstenite::tungstenite::Message;

const LONG: Duration = Duration::from_secs(30);

/// Everything the mount holds, from its start to its end.
fn whole_programme(relay: &Relay, path: &str) -> Vec<u8> {
    relay.wait_for(&format!("/api/mounts{path}"), "\"state\":\"ended\"", LONG);
    listen_http(relay, &format!("{path}?from=start"), LONG)
}

fn tone_file(scratch: &Scratch, name: &str, mp3: bool, frames: usize) -> std::path::PathBuf {
    let path = scratch.file(name);
    let pcm = Pcm::sine(48_000, 440.0, frames);
    let encoding = if mp3 {
        Encoding::Mp3(&["-b:a", "128k"])
    } else {
        Encoding::Opus(&["-b:a", "96k"])
    };
    encode(&pcm, encoding, &path).expect("encoder");
    path
}

fn user() -> String {
    format!("source:{}", Relay::PASSWORD)
}

#[test]
fn ffmpeg_puts_ogg_that_comes_out_to_the_sample() {
    require(&["ffmpeg", "curl"]);
    let relay = Relay::start();
    Program::new("ffmpeg")
        .args(tone(3.0))
        .args(["-c:a", "libopus", "-b:a", "96k", "-f", "ogg"])
        .arg(relay.icecast_url("/put.opus"))
        .run()
        .expect("ffmpeg publishes");
    let pcm = decode_silently(&whole_programme(&relay, "/put.opus"), false, 48_000, 2);
    assert_eq!(pcm.frames(), 3 * 48_000);
    assert!(rms(&pcm) > 0.05);
    assert_eq!(mount(&relay, "/put.opus")["media_time"], 3.0);
}

#[test]
fn ffmpeg_legacy_sends_mp3_by_source() {
    require(&["ffmpeg", "curl"]);
    let relay = Relay::start();
    Program::new("ffmpeg")
        // Paced, so that little is on its way at the end.
        .arg("-re")
        .args(tone(3.0))
        .args(["-c:a", "libmp3lame", "-b:a", "128k", "-f", "mp3"])
        .args(["-legacy_icecast", "1"])
        .arg(relay.icecast_url("/legacy.mp3"))
        .run()
        .expect("ffmpeg publishes");
    let pcm = decode_silently(&whole_programme(&relay, "/legacy.mp3"), true, 48_000, 2);
    // Without the LAME tag's trim there is up to a frame more. At the end, ffmpeg
    // closes with our answer unread (SOURCE clients want one before they send,
    // but ffmpeg never looks), for which its own kernel resets the connection and
    // drops the bytes of the last writes: with a stand-in server that only reads,
    // the same three or four frames are missing, none when it does not answer.
    let expected = 144_000 - 8 * 1152..=144_000 + 3 * 1152;
    assert!(expected.contains(&pcm.frames()), "{}", pcm.frames());
    assert!(rms(&pcm) > 0.05);
}

#[test]
fn curl_uploads_chunked_and_with_a_length() {
    require(&["ffmpeg", "curl"]);
    let relay = Relay::start();
    let scratch = Scratch::new("curl");
    let file = tone_file(&scratch, "a.opus", false, 2 * 48_000);
    for (path, length) in [("/chunked.opus", false), ("/length.opus", true)] {
        let mut curl = Program::new("curl").args(["-sS", "--fail", "-u", &user()]);
        if length {
            curl = curl.arg("-T").arg(&file);
        } else {
            curl = curl
                .args(["-T", "-"])
                .input(std::fs::read(&file).expect("file"));
        }
        curl.arg(relay.url(path)).run().expect("curl publishes");
        let pcm = decode_silently(&whole_programme(&relay, path), false, 48_000, 2);
        assert_eq!(pcm.frames(), 2 * 48_000, "{path}");
    }
}

#[test]
fn chained_ogg_is_one_programme() {
    require(&["ffmpeg", "curl"]);
    let relay = Relay::start();
    let scratch = Scratch::new("chained");
    let mut bytes = std::fs::read(tone_file(&scratch, "a.opus", false, 50_001)).expect("file");
    bytes.extend(std::fs::read(tone_file(&scratch, "b.opus", false, 70_003)).expect("file"));
    Program::new("curl")
        .args(["-sS", "--fail", "-u", &user(), "-T", "-"])
        .arg(relay.url("/chain.opus"))
        .input(bytes)
        .run()
        .expect("curl publishes");
    let pcm = decode_silently(&whole_programme(&relay, "/chain.opus"), false, 48_000, 2);
    assert_eq!(pcm.frames(), 50_001 + 70_003);
    let about = mount(&relay, "/chain.opus");
    assert_eq!(
        (&about["generation"], &about["stats"]["faults"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn oggfwd_publishes_by_libshout() {
    require(&["ffmpeg", "curl", "oggfwd"]);
    let relay = Relay::start();
    let scratch = Scratch::new("oggfwd");
    let file = tone_file(&scratch, "a.opus", false, 3 * 48_000);
    Program::new("oggfwd")
        .args([
            "127.0.0.1",
            &relay.address.port().to_string(),
            Relay::PASSWORD,
            "/fwd.opus",
        ])
        .input(std::fs::read(&file).expect("file"))
        .run()
        .expect("oggfwd publishes");
    let pcm = decode_silently(&whole_programme(&relay, "/fwd.opus"), false, 48_000, 2);
    assert_eq!(pcm.frames(), 3 * 48_000);
}

#[test]
fn ezstream_publishes_by_libshout() {
    require(&["ffmpeg", "curl", "ezstream"]);
    let relay = Relay::start();
    let scratch = Scratch::new("ezstream");
    let bare = tone_file(&scratch, "bare.mp3", true, 3 * 48_000);
    let file = scratch.file("a.mp3");
    Program::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(&bare)
        .args(["-c", "copy", "-metadata", "title=First of all"])
        .args(["-metadata", "artist=Somebody"])
        .arg(&file)
        .run()
        .expect("ffmpeg");
    let config = scratch.file("ezstream.xml");
    let text = format!(
        "<ezstream><servers><server><hostname>127.0.0.1</hostname><port>{}</port>\
         <password>{}</password><tls>none</tls></server></servers>\
         <streams><stream><mountpoint>/ez.mp3</mountpoint><format>MP3</format></stream></streams>\
         <intakes><intake><type>file</type><filename>{}</filename><stream_once>yes</stream_once>\
         </intake></intakes></ezstream>",
        relay.address.port(),
        Relay::PASSWORD,
        file.display()
    );
    std::fs::write(&config, text).expect("config");
    let out = Program::new("ezstream")
        .arg("-vv")
        .arg("-c")
        .arg(&config)
        .finish();
    let said = out.expect("ezstream ends").stderr;
    relay.wait_for("/api/mounts", "/ez.mp3", Duration::from_secs(5));
    let pcm = decode_silently(&whole_programme(&relay, "/ez.mp3"), true, 48_000, 2);
    assert!(
        pcm.frames() >= 3 * 48_000 - 1152,
        "{} frames; {said}",
        pcm.frames()
    );
    // It is told before any audio.
    let about = mount(&relay, "/ez.mp3");
    assert_eq!(
        (&about["artist"], &about["title"]),
        (&"Somebody".into(), &"First of all".into()),
        "{said}"
    );
}

#[test]
fn liquidsoap_publishes_by_source() {
    require(&["ffmpeg", "curl", "liquidsoap"]);
    let relay = Relay::start();
    let scratch = Scratch::new("liquidsoap");
    let sweep = Pcm::sweep(44_100, 300.0, 2_800.0, 44_100 * 4);
    let file = scratch.file("sweep.wav");
    sweep.write_wav(&file);
    let script = format!(
        "set(\"init.allow_root\", true)\n\
         output.icecast(%mp3(bitrate=128), host=\"127.0.0.1\", port={}, password=\"{}\", \
         mount=\"liq.mp3\", fallible=true, on_stop=shutdown, once(single(\"{}\")))",
        relay.address.port(),
        Relay::PASSWORD,
        file.display()
    );
    // Its start alone takes seconds of a processor.
    let mut running = Program::new("liquidsoap")
        .arg(&script)
        .limit(4 * LONG)
        .spawn()
        .expect("liquidsoap");
    let until = std::time::Instant::now() + 4 * LONG;
    while !relay.fetch("/api/mounts").1.contains("/liq.mp3") {
        let said = String::from_utf8_lossy(&running.stdout()).into_owned() + &running.stderr();
        assert!(
            running.ended().is_none() && std::time::Instant::now() < until,
            "{said}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let bytes = whole_programme(&relay, "/liq.mp3");
    let heard = decode_silently(&bytes, true, 44_100, 1);
    let found = align(&sweep, &heard, 4000);
    // Liquidsoap's own clock and LAME's look-ahead are before the first sample.
    assert!(
        found.correlation > 0.98 && found.level_db.abs() < 1.0,
        "{found:?}"
    );
    // It leaves with its last frames unsent.
    assert!(
        (-22_050..=13_230).contains(&found.length_difference),
        "{found:?}"
    );
}

#[test]
fn shoutcast_sources_log_in_on_their_port() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("port");
    let relay = Relay::start_with(&RelayOptions {
        args: vec!["--shoutcast-listen".into(), port.to_string()],
        ..RelayOptions::default()
    });
    let scratch = Scratch::new("icy");
    let file = std::fs::read(tone_file(&scratch, "a.mp3", true, 48_000)).expect("file");
    let mut socket = TcpStream::connect(port).expect("connect");
    write!(socket, "wrong\r\n").expect("login");
    let refused = read_for(&mut socket, Duration::from_secs(2));
    assert!(refused.starts_with(b"invalid password"));
    let mut socket = TcpStream::connect(port).expect("connect");
    write!(socket, "{}\r\n", Relay::PASSWORD).expect("login");
    let welcome = read_for(&mut socket, Duration::from_millis(500));
    assert_eq!(welcome, b"OK2\r\nicy-caps:11\r\n\r\n");
    write!(
        socket,
        "icy-name:Old Radio\r\ncontent-type:audio/mpeg\r\n\r\n"
    )
    .expect("headers");
    socket.write_all(&file).expect("audio");
    drop(socket);
    let pcm = decode_silently(&whole_programme(&relay, "/stream"), true, 48_000, 2);
    assert!(pcm.frames() >= 48_000);
    assert_eq!(mount(&relay, "/stream")["name"], "Old Radio");
}

#[test]
fn raw_pcm_is_encoded_to_the_sample() {
    require(&["ffmpeg", "curl"]);
    let relay = Relay::start();
    for (rate, frames) in [
        (24_000_u32, 24_000_usize + 7),
        (48_000, 96_001),
        (22_050, 30_000),
    ] {
        let bytes: Vec<u8> = (0..frames)
            .map(|i| (f64::from(i as u32) * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin())
            .flat_map(|x| ((x * 0.5) as f32).to_le_bytes())
            .collect();
        let kind = format!("Content-Type: audio/x-raw;format=f32le;rate={rate};channels=1");
        let expected = (frames as f64 * 48_000.0 / f64::from(rate)).round() as usize;
        for (path, mp3) in [
            (format!("/{rate}.opus"), false),
            (format!("/{rate}.mp3"), true),
        ] {
            Program::new("curl")
                .args(["-sS", "--fail", "-u", &user(), "-H", &kind, "-T", "-"])
                .arg(relay.url(&path))
                .input(bytes.clone())
                .run()
                .expect("curl publishes");
            let stream = whole_programme(&relay, &path);
            let secs = mount(&relay, &path)["media_time"]
                .as_f64()
                .expect("seconds");
            let exact = frames as f64 / f64::from(rate);
            assert!(
                (secs - exact).abs() < 1.0 / 40_000.0,
                "{path}: {secs} s, not {exact}"
            );
            let pcm = decode_silently(&stream, mp3, if mp3 { rate } else { 48_000 }, 1);
            assert!(rms(&pcm) > 0.3, "{path}");
            if !mp3 {
                assert_eq!(pcm.frames(), expected, "{path}");
            }
        }
    }
}

#[test]
fn a_source_over_websocket_is_acknowledged() {
    let relay = Relay::start();
    let path = format!(
        "/ws.opus?token={}&type=audio/x-raw;format=s16le;rate=16000;channels=1",
        Relay::PASSWORD
    );
    let protocol = Some(seamcast_protocol::SOURCE_SUBPROTOCOL);
    let mut socket = Socket::open(&relay, &path.replace(';', "%3B"), protocol);
    for _ in 0..10 {
        socket.send(Message::binary(vec![0_u8; 3200]));
    }
    socket.send(Message::text(
        r#"{"type":"metadata","tags":{"TITLE":"Hello"}}"#,
    ));
    socket.send(Message::text(r#"{"type":"end"}"#));
    loop {
        let ack = socket.control("ack");
        if ack["bytes"] == 32_000 && ack["media_time"] == 1.0 {
            break;
        }
    }
    assert_eq!(socket.close_code(), Some(1000));
    let about = mount(&relay, "/ws.opus");
    assert_eq!(
        (&about["title"], &about["state"]),
        (&"Hello".into(), &"ended".into())
    );
    let mut wrong = Socket::open(&relay, "/ws.opus?token=no", protocol);
    wrong.send(Message::binary(vec![0_u8; 8]));
    assert_eq!(
        wrong.close_code(),
        Some(seamcast_protocol::close::UNAUTHORIZED)
    );
}

#[test]
fn titles_reach_the_api_and_framed_listeners() {
    let relay = Relay::start_with(&RelayOptions {
        args: vec!["--demo".into()],
        ..RelayOptions::default()
    });
    relay.wait_for("/api/mounts", "/demo.mp3", LONG);
    let mut listener = Socket::open(&relay, "/demo.mp3", Some("seamcast.v1"));
    listener.control("config");
    let path = "/admin/metadata?mode=updinfo&mount=/demo.mp3&song=Caf%E9+-+Na%EFve";
    assert_eq!(relay.fetch(path).0, 401);
    let out = Program::new("curl")
        .args(["-sS", "--fail", "-u", &user(), &relay.url(path)])
        .run()
        .expect("curl");
    assert!(String::from_utf8_lossy(&out.stdout).contains("successful"));
    let about = mount(&relay, "/demo.mp3");
    assert_eq!(
        (&about["artist"], &about["title"]),
        (&"Café".into(), &"Naïve".into())
    );
    while listener.control("metadata")["tags"]["TITLE"] != "Naïve" {}
    let (_, status) = relay.fetch("/status-json.xsl");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let sources = status["icestats"]["source"].as_array().expect("an array");
    assert_eq!(sources.len(), 2);
    // When it began, as Icecast writes it: 2026-01-31T12:00:00+0000.
    let since = mount(&relay, "/demo.mp3")["source"]["connected_at"].as_f64();
    let date = Program::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S+0000", "-d"])
        .arg(format!("@{}", since.expect("seconds").floor()))
        .run()
        .expect("date");
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    let of_mount = |source: &&serde_json::Value| {
        source["listenurl"]
            .as_str()
            .is_some_and(|url| url.ends_with("/demo.mp3"))
    };
    let source = sources.iter().find(of_mount).expect("the mount");
    assert_eq!(source["stream_start_iso8601"], date.as_str());
    let long = source["stream_start"].as_str().unwrap_or_default();
    assert!(long.ends_with(" +0000") && long.len() == 31, "{source}");
    let began = status["icestats"]["server_start_iso8601"].as_str();
    assert!(began.is_some_and(|began| *began <= *date), "{status}");
}

#[test]
fn our_own_client_paces_a_file() {
    require(&["ffmpeg", "curl"]);
    let relay = Relay::start();
    let scratch = Scratch::new("publish");
    let binary = std::env::var_os("SEAMCAST_RELAY").map_or_else(
        || {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
                || tests::support::workspace_root().join("target"),
                Into::into,
            );
            let profile = if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            };
            target.join(profile).join("relay-server")
        },
        std::path::PathBuf::from,
    );
    for (name, mp3) in [("a.opus", false), ("a.mp3", true)] {
        let file = tone_file(&scratch, name, mp3, 3 * 48_000);
        let url = relay
            .url(&format!("/{name}"))
            .replace("://", &format!("://{}@", user()));
        let begin = std::time::Instant::now();
        let publish = |url: &str| {
            Program::new(&binary)
                .arg("publish")
                .arg(&file)
                .arg(url)
                .finish()
        };
        let out = publish(&url).expect("publish ends");
        assert!(out.status.success(), "{}", out.stderr);
        // Three seconds less the lead of one.
        let took = begin.elapsed().as_secs_f64();
        assert!((1.5..6.0).contains(&took), "{took} s");
        let pcm = decode_silently(
            &whole_programme(&relay, &format!("/{name}")),
            mp3,
            48_000,
            2,
        );
        assert!(pcm.frames() >= 3 * 48_000, "{} frames", pcm.frames());
        let refused = publish(&url.replace(Relay::PASSWORD, "wrong")).expect("publish ends");
        assert!(
            !refused.status.success() && refused.stderr.contains("401"),
            "{}",
            refused.stderr
        );
    }
}
