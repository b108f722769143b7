//! What plays while a source is away, and how the source comes back.

use std::path::Path;
use std::time::Duration;

use tests::support::{Encoding, Pcm, Program, Relay, Scratch, encode, opusdec_decode, require};

const LIMIT: Duration = Duration::from_secs(60);

/// Publishes `file` as it is, at its own pace.
fn publish(relay: &Relay, file: &Path, path: &str) {
    relay
        .publishing(file, path)
        .run()
        .unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
}

/// Everything the mount has played, decoded.
fn heard(relay: &Relay, mount: &str, scratch: &Scratch) -> Pcm {
    let file = scratch.file("heard.opus");
    let _ = Program::new("curl")
        .args(["-sS", "--max-time", "2", "-o"])
        .arg(&file)
        .arg(relay.url(&format!("{mount}?from=start")))
        .finish();
    opusdec_decode(&file).expect("opusdec")
}

/// Which tone is heard in each tenth of a second, to 20 Hz.
fn tones(pcm: &Pcm) -> Vec<i32> {
    let plane = pcm.plane(0);
    let tenths = plane.chunks_exact(pcm.sample_rate as usize / 10);
    tenths
        .map(|tenth| {
            let rising = tenth.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0);
            (rising.count() as f64 * 10.0 / 20.0).round() as i32 * 20
        })
        .collect()
}

/// That `pcm` is 1000 Hz, then `seconds` of 440 Hz, then 1000 Hz again.
fn check(pcm: &Pcm, seconds: f64) {
    let tones = tones(pcm);
    let near = |tone: i32, wanted: i32| (tone - wanted).abs() <= 20;
    let source = tones.iter().filter(|tone| near(**tone, 440)).count();
    let wanted = (seconds * 10.0) as usize;
    assert!(
        (wanted - 2..=wanted).contains(&source),
        "{source}: {tones:?}"
    );
    let first = tones.iter().position(|tone| near(*tone, 440));
    let first = first.expect("the source");
    let before = tones[..first].iter().filter(|tone| near(**tone, 1000));
    assert!(before.count() + 2 >= first && first > 2, "{tones:?}");
    let last = tones.iter().rposition(|tone| near(*tone, 440));
    let rest = &tones[last.expect("the source") + 1..];
    let after = rest.iter().filter(|tone| near(**tone, 1000)).count();
    assert!(after > 3 && after + 3 >= rest.len(), "{tones:?}");
    // One run, without a hole: at most its two ends share a tenth.
    assert!(last.expect("there") - first < wanted + 1, "{tones:?}");
}

#[test]
fn a_file_plays_until_the_source_comes_and_after_it_left() {
    require(&["ffmpeg", "opusdec", "curl"]);
    let scratch = Scratch::new("fallback-file");
    // MP3 on an Opus mount: it is decoded and encoded.
    let standby = Pcm::sine(44_100, 1000.0, 44_100 * 2);
    encode(
        &standby,
        Encoding::Mp3(&["-b:a", "128k"]),
        &scratch.file("standby.mp3"),
    )
    .expect("mp3");
    let tone = Pcm::sine(48_000, 440.0, 48_000 * 3);
    encode(
        &tone,
        Encoding::Opus(&["-b:a", "96k"]),
        &scratch.file("a.opus"),
    )
    .expect("opus");
    let relay = Relay::with_config(&format!(
        "[[mount]]\npath = \"/radio.opus\"\ntakeover = false\nfallback = \"file:{}\"\n",
        scratch.file("standby.mp3").display()
    ));
    relay.wait_for("/api/mounts/radio.opus", "\"fallback\":true", LIMIT);
    std::thread::sleep(Duration::from_millis(1000));
    publish(&relay, &scratch.file("a.opus"), "/radio.opus");
    relay.wait_for("/api/mounts/radio.opus", "\"fallback\":true", LIMIT);
    std::thread::sleep(Duration::from_millis(1500));
    check(&heard(&relay, "/radio.opus", &scratch), 3.0);
}

#[test]
fn another_mount_plays_while_the_source_is_away() {
    require(&["ffmpeg", "opusdec", "curl"]);
    let scratch = Scratch::new("fallback-mount");
    let standby = Pcm::sine(48_000, 1000.0, 48_000 * 4);
    standby.write_wav(&scratch.file("standby.wav"));
    let tone = Pcm::sine(48_000, 440.0, 48_000 * 3);
    encode(
        &tone,
        Encoding::Opus(&["-b:a", "96k"]),
        &scratch.file("a.opus"),
    )
    .expect("opus");
    let relay = Relay::with_config(&format!(
        "[[mount]]\npath = \"/a.opus\"\nfallback = \"/standby.opus\"\n\
         [[input]]\nkind = \"file\"\nmount = \"/standby.opus\"\npath = \"{}\"\nloop = true\n",
        scratch.file("standby.wav").display()
    ));
    relay.wait_for("/api/mounts/a.opus", "\"fallback\":true", LIMIT);
    std::thread::sleep(Duration::from_millis(1000));
    publish(&relay, &scratch.file("a.opus"), "/a.opus");
    relay.wait_for("/api/mounts/a.opus", "\"fallback\":true", LIMIT);
    std::thread::sleep(Duration::from_millis(1500));
    check(&heard(&relay, "/a.opus", &scratch), 3.0);
}

#[test]
fn a_fallback_that_a_source_asked_for_plays_as_long_as_somebody_listens() {
    require(&["curl"]);
    let scratch = Scratch::new("fallback-asked");
    Pcm::sine(48_000, 1000.0, 48_000 * 2).write_wav(&scratch.file("standby.wav"));
    let relay = Relay::with_config(&format!(
        "[defaults]\ngrace = \"4s\"\n\
         [[input]]\nkind = \"file\"\nmount = \"/standby.opus\"\npath = \"{}\"\nloop = true\n",
        scratch.file("standby.wav").display()
    ));
    relay.wait_for("/api/mounts/standby.opus", "\"live\":true", LIMIT);
    Program::new("curl")
        .args(["-sS", "--fail", "-T", "-"])
        .args(["-u", &format!("source:{}", Relay::PASSWORD)])
        .args([
            "-H",
            "Content-Type: audio/x-raw;format=s16le;rate=48000;channels=1",
        ])
        .arg(relay.url("/guest.opus?fallback=/standby.opus"))
        .input(vec![0; 96_000])
        .run()
        .expect("curl publishes");
    // Longer than the grace: it is not let go of meanwhile.
    let listener = Program::new("curl")
        .args(["-sS", "--fail", "--max-time", "6", "-o"])
        .arg(scratch.file("heard.opus"))
        .arg(relay.url("/guest.opus"))
        .finish()
        .expect("curl");
    assert_eq!(listener.status.code(), Some(28), "{}", listener.stderr);
    relay.wait_for("/api/mounts/guest.opus", "\"state\":\"ended\"", LIMIT);
    std::thread::sleep(Duration::from_millis(500));
    relay.wait_for("/api/mounts/guest.opus", "\"state\":\"ended\"", LIMIT);
}
