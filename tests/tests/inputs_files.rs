//! `file`, `growing`, `command` and `stdin` inputs, and the push to Icecast.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use seamcast_media::pcm::SampleFormat;
use seamcast_media::wav;
use tests::support::http::request;
use tests::support::{
    Encoding, Pcm, Program, Relay, RelayOptions, Scratch, encode, opusdec_decode, require,
};

const LIMIT: Duration = Duration::from_secs(30);

fn inputs(relay: &Relay) -> serde_json::Value {
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let answer = request(relay.address, "GET", "/api/inputs", &token);
    serde_json::from_slice(&answer.body).expect("json")
}

/// Waits until the only input was opened so often.
fn wait_for_starts(relay: &Relay, starts: u64) {
    let until = Instant::now() + LIMIT;
    while inputs(relay)[0]["starts"].as_u64() < Some(starts) {
        assert!(Instant::now() < until, "{}", inputs(relay));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_playlist_of_every_kind_is_paced_and_whole() {
    require(&["ffmpeg", "opusdec"]);
    let scratch = Scratch::new("files");
    let one = Pcm::noise(48_000, 2, 96_000, 0.3, 1);
    encode(
        &one,
        Encoding::Opus(&["-b:a", "96k"]),
        &scratch.file("one.opus"),
    )
    .expect("opus");
    one.write_wav(&scratch.file("two.wav"));
    std::fs::write(
        scratch.file("broken.mp3"),
        "<html>not found</html>".repeat(20),
    )
    .expect("write");
    std::fs::write(
        scratch.file("list.m3u"),
        "#EXTM3U\none.opus\nmissing.mp3\nbroken.mp3\ntwo.wav\none.opus\n",
    )
    .expect("write");
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"file\"\nmount = \"/list.opus\"\npath = \"{}\"\n",
        scratch.file("list.m3u").display()
    ));
    let began = Instant::now();
    relay.wait_for("/api/mounts/list.opus", "\"state\":\"ended\"", LIMIT);
    let took = began.elapsed().as_secs_f64();
    assert!((5.2..9.0).contains(&took), "6 s were played in {took:.1} s");
    let heard = scratch.file("heard.opus");
    relay.download("/list.opus?from=start", &heard);
    let heard = opusdec_decode(&heard).expect("opusdec");
    assert_eq!(heard.frames(), 3 * 96_000, "gapless between tracks");
    // Passed through frame-exact: the decoder's output is the file's own.
    let own = opusdec_decode(&scratch.file("one.opus")).expect("opusdec");
    assert!(heard.slice(0, 96_000).samples == own.samples);
    assert!(heard.slice(192_000, 288_000).samples == own.samples);
    let status = inputs(&relay)[0].clone();
    assert_eq!(
        (&status["starts"], &status["malformed"]),
        (&4.into(), &2.into()),
        "{status}"
    );
}

#[test]
fn a_folder_is_played_again_and_again() {
    require(&["ffmpeg"]);
    let scratch = Scratch::new("folder");
    let tone = Pcm::sine(44_100, 440.0, 44_100);
    encode(
        &tone,
        Encoding::Mp3(&["-b:a", "128k"]),
        &scratch.file("a.mp3"),
    )
    .expect("mp3");
    std::fs::write(scratch.file("cover.jpg"), "x").expect("write");
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"file\"\nmount = \"/loop.mp3\"\npath = \"{}\"\nloop = true\nshuffle = true\n",
        scratch.path().display()
    ));
    let began = Instant::now();
    relay.wait_for("/api/mounts/loop.mp3", "\"title\":\"a\"", LIMIT);
    std::thread::sleep(Duration::from_secs(5));
    let (_, mount) = relay.fetch("/api/mounts/loop.mp3");
    let mount: serde_json::Value = serde_json::from_str(&mount).expect("json");
    let played = mount["media_time"].as_f64().expect("a position");
    let off = played - began.elapsed().as_secs_f64();
    assert!((-0.7..0.5).contains(&off), "{off:.2} s off: {mount}");
    assert!(mount["live"] == true && inputs(&relay)[0]["starts"].as_u64() > Some(3));
}

#[test]
fn a_growing_file_is_followed_to_its_end() {
    require(&["ffmpeg", "opusdec"]);
    let scratch = Scratch::new("growing");
    let tone = Pcm::sine(48_000, 440.0, 96_000);
    encode(
        &tone,
        Encoding::Opus(&["-b:a", "96k"]),
        &scratch.file("whole.opus"),
    )
    .expect("opus");
    let whole = std::fs::read(scratch.file("whole.opus")).expect("read");
    let path = scratch.file("grows.opus");
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"growing\"\nmount = \"/g.opus\"\npath = \"{}\"\ntimeout = \"1s\"\n",
        path.display()
    ));
    let mut file = std::fs::File::create(&path).expect("create");
    for piece in whole.chunks(whole.len().div_ceil(8)) {
        file.write_all(piece).expect("append");
        std::thread::sleep(Duration::from_millis(150));
    }
    relay.wait_for("/api/mounts/g.opus", "\"state\":\"ended\"", LIMIT);
    relay.download("/g.opus?from=start", &scratch.file("heard.opus"));
    let heard = opusdec_decode(&scratch.file("heard.opus")).expect("opusdec");
    let own = opusdec_decode(&scratch.file("whole.opus")).expect("opusdec");
    assert!(
        heard.samples == own.samples,
        "{} of {}",
        heard.frames(),
        own.frames()
    );
}

#[test]
fn a_growing_file_may_pause_as_long_as_its_own_timeout() {
    require(&["opusdec"]);
    let scratch = Scratch::new("pauses");
    let path = scratch.file("whole.opus");
    let tone = Pcm::sine(48_000, 440.0, 96_000);
    encode(&tone, Encoding::Opus(&["-b:a", "96k"]), &path).expect("opus");
    let whole = std::fs::read(&path).expect("read");
    let path = scratch.file("grows.opus");
    let relay = Relay::with_config(&format!(
        "[[mount]]\npath = \"/g.opus\"\nsource_timeout = \"500ms\"\n\
         [[input]]\nkind = \"growing\"\nmount = \"/g.opus\"\npath = \"{}\"\ntimeout = \"4s\"\n",
        path.display()
    ));
    let mut file = std::fs::File::create(&path).expect("create");
    let (first, second) = whole.split_at(whole.len() / 2);
    file.write_all(first).expect("append");
    relay.wait_for("/api/mounts/g.opus", "\"live\":true", LIMIT);
    std::thread::sleep(Duration::from_millis(1500));
    file.write_all(second).expect("append");
    relay.wait_for("/api/mounts/g.opus", "\"state\":\"ended\"", LIMIT);
    relay.download("/g.opus?from=start", &scratch.file("heard.opus"));
    let heard = opusdec_decode(&scratch.file("heard.opus")).expect("opusdec");
    assert_eq!(heard.frames(), 96_000);
    assert_eq!(inputs(&relay)[0]["starts"], 1, "{}", inputs(&relay));
}

#[test]
fn a_growing_wav_is_followed_beyond_what_its_header_says() {
    require(&["opusdec"]);
    let scratch = Scratch::new("growing-wav");
    let path = scratch.file("grows.wav");
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"growing\"\nmount = \"/g.opus\"\npath = \"{}\"\ntimeout = \"2s\"\n",
        path.display()
    ));
    let format = wav::Format {
        sample: SampleFormat::S16le,
        sample_rate: 8_000,
        channels: 1,
    };
    // As recorders do: the header says at each time what there is.
    let header = |seconds: u64| wav::header(format, Some(16_000 * seconds));
    let mut file = std::fs::File::create(&path).expect("create");
    let second: Vec<u8> = (0..16_000_u32).map(|i| (i * 7) as u8 & 0x3f).collect();
    file.write_all(&[header(1), second.clone()].concat())
        .expect("begin");
    for (seconds, there) in [(2, "\"live\":true"), (3, "\"media_time\":1.")] {
        relay.wait_for("/api/mounts/g.opus", there, LIMIT);
        file.write_all(&second).expect("append");
        file.write_all_at(&header(seconds), 0).expect("correct");
    }
    relay.wait_for("/api/mounts/g.opus", "\"state\":\"ended\"", LIMIT);
    relay.download("/g.opus?from=start", &scratch.file("heard.opus"));
    let heard = opusdec_decode(&scratch.file("heard.opus")).expect("opusdec");
    assert_eq!(heard.frames(), 48_000 * 3);
}

#[test]
fn other_content_in_a_growing_file_is_played_from_its_beginning() {
    require(&["opusdec"]);
    let scratch = Scratch::new("rewritten");
    let (first, second) = (scratch.file("first.opus"), scratch.file("second.opus"));
    for (file, hertz, seconds) in [(&first, 440.0, 2), (&second, 880.0, 3)] {
        let tone = Pcm::sine(48_000, hertz, 48_000 * seconds);
        encode(&tone, Encoding::Opus(&["-b:a", "96k"]), file).expect("opus");
    }
    let begun = std::fs::read(&first).expect("read");
    let begun = &begun[..begun.len() * 3 / 4];
    let path = scratch.file("grows.opus");
    std::fs::write(&path, begun).expect("write");
    let relay = Relay::with_config(&format!(
        "[[mount]]\npath = \"/g.opus\"\ngrace = \"60s\"\n\
         [[input]]\nkind = \"growing\"\nmount = \"/g.opus\"\npath = \"{}\"\ntimeout = \"4s\"\n",
        path.display()
    ));
    let until = Instant::now() + LIMIT;
    while inputs(&relay)[0]["bytes"].as_u64() != Some(begun.len() as u64) {
        assert!(Instant::now() < until, "{}", inputs(&relay));
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(200));
    // Longer than what was taken before anybody can see that it was shorter.
    std::fs::copy(&second, &path).expect("copy");
    wait_for_starts(&relay, 2);
    relay.wait_for("/api/mounts/g.opus", "\"state\":\"ended\"", LIMIT);
    relay.download("/g.opus?from=start", &scratch.file("heard.opus"));
    let heard = opusdec_decode(&scratch.file("heard.opus")).expect("opusdec");
    assert!(heard.frames() > 48_000 * 7 / 2, "{}", heard.frames());
}

#[test]
fn a_file_that_takes_the_place_of_a_growing_one_is_played_next() {
    require(&["opusdec"]);
    let scratch = Scratch::new("replaced");
    let (first, second) = (scratch.file("first.opus"), scratch.file("second.opus"));
    for (file, seconds) in [(&first, 1), (&second, 2)] {
        let tone = Pcm::sine(48_000, 440.0, 48_000 * seconds);
        encode(&tone, Encoding::Opus(&["-b:a", "96k"]), file).expect("opus");
    }
    let whole = opusdec_decode(&second).expect("opusdec");
    let path = scratch.file("grows.opus");
    std::fs::rename(&first, &path).expect("rename");
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"growing\"\nmount = \"/g.opus\"\npath = \"{}\"\ntimeout = \"2s\"\n",
        path.display()
    ));
    relay.wait_for("/api/mounts/g.opus", "\"live\":true", LIMIT);
    // It grows no more, but that is not known yet.
    std::fs::rename(&second, &path).expect("rename");
    wait_for_starts(&relay, 2);
    relay.wait_for("/api/mounts/g.opus", "\"state\":\"ended\"", LIMIT);
    relay.download("/g.opus?from=start", &scratch.file("heard.opus"));
    let heard = opusdec_decode(&scratch.file("heard.opus")).expect("opusdec");
    assert_eq!(heard.frames(), whole.frames());
}

#[test]
fn a_silent_standard_input_does_not_hold_up_the_end() {
    let mut relay = Relay::start_with(&RelayOptions {
        config: Some("[[input]]\nkind = \"stdin\"\nmount = \"/x.opus\"\n".to_owned()),
        // A pipe that somebody holds open.
        wrapper: [
            "sh",
            "-c",
            "mkfifo pipe && exec 3<>pipe && exec \"$@\" <pipe",
            "sh",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..RelayOptions::default()
    });
    wait_for_starts(&relay, 1);
    relay.process.signal(15);
    let ended = relay.process.wait(LIMIT).expect("it ends");
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn a_command_is_restarted_and_its_errors_are_logged() {
    require(&["ffmpeg"]);
    let relay = Relay::with_config(
        "[[mount]]\npath = \"/c.opus\"\ngrace = \"20s\"\n[[input]]\nkind = \"command\"\nmount = \"/c.opus\"\n\
         command = \"echo tuning in >&2; ffmpeg -v error -re -f lavfi -i sine=duration=1 -c:a libopus -f ogg -\"\n",
    );
    relay.wait_for("/api/mounts/c.opus", "\"live\":true", LIMIT);
    wait_for_starts(&relay, 2);
    let log = relay.process.stderr();
    assert!(log.contains("tuning in"), "{log}");
}

#[test]
fn a_mount_is_pushed_to_another_server() {
    require(&["ffmpeg", "opusdec"]);
    let there = Relay::start();
    let scratch = Scratch::new("push");
    let here = Relay::with_config(&format!(
        "[[forward]]\nkind = \"icecast\"\nmount = \"/live.opus\"\nurl = \"http://source:{}@{}/copy.opus?public=false\"\n",
        Relay::PASSWORD,
        there.address
    ));
    let mut source = Program::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:duration=20",
        ])
        .args([
            "-c:a",
            "libopus",
            "-content_type",
            "audio/ogg",
            "-f",
            "ogg",
            "-flush_packets",
            "1",
        ])
        .arg(here.icecast_url("/live.opus"))
        .spawn()
        .expect("ffmpeg");
    there.wait_for("/api/mounts/copy.opus", "\"live\":true", LIMIT);
    std::thread::sleep(Duration::from_secs(2));
    let (_, mount) = there.fetch("/api/mounts/copy.opus");
    assert!(mount.contains("\"faults\":0"), "{mount}");
    assert!(mount.contains("\"public\":false"), "its query: {mount}");
    source.kill();
    let done = Program::new("curl")
        .args(["-sS", "--max-time", "3", "-o"])
        .arg(scratch.file("heard.opus"))
        .arg(there.url("/copy.opus?from=start"))
        .finish()
        .expect("curl");
    assert!(
        matches!(done.status.code(), Some(0 | 28)),
        "{}",
        done.stderr
    );
    let heard = opusdec_decode(&scratch.file("heard.opus")).expect("opusdec");
    assert!(heard.frames() > 48_000, "{} frames", heard.frames());
}
