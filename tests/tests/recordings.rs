//! Recordings with the real relay: what is on disk is what was broadcast,
//! also when the relay is killed in the middle.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tests::support::http::request;
use tests::support::{
    Encoding, Pcm, Program, Relay, Running, Scratch, Seeded, encode, opusdec_decode, require,
    snr_db,
};

const CONFIG: &str = "[defaults]\nrecord = true\n";

fn relay() -> Relay {
    Relay::with_config(CONFIG)
}

/// The recordings of a mount, oldest first.
fn recordings(relay: &Relay, mount: &str) -> Vec<PathBuf> {
    let folder = relay.scratch.file(&format!("recordings/{mount}"));
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = files
        .map(|f| f.path())
        .filter(|p| p.extension().is_some_and(|e| e == "opus"))
        .collect();
    files.sort();
    files
}

/// ffmpeg publishing a file in real time.
fn publish(relay: &Relay, file: &std::path::Path, mount: &str) -> Running {
    relay.publishing(file, mount).spawn().expect("ffmpeg")
}

#[test]
fn a_recording_decodes_to_what_was_broadcast() {
    require(&["ffmpeg", "opusdec"]);
    let relay = relay();
    let scratch = Scratch::new("recording");
    let source = scratch.file("source.opus");
    encode(
        &Pcm::noise(48_000, 2, 48_000 * 3, 0.3, 1),
        Encoding::Opus(&["-b:a", "96k"]),
        &source,
    )
    .expect("encode");
    publish(&relay, &source, "/a.opus")
        .wait(Duration::from_secs(60))
        .expect("published");
    relay.wait_for(
        "/api/mounts/a.opus",
        "\"state\":\"ended\"",
        Duration::from_secs(20),
    );
    let until = Instant::now() + Duration::from_secs(10);
    let whole = opusdec_decode(&source).expect("opusdec");
    loop {
        let files = recordings(&relay, "a.opus");
        if let [file] = &files[..]
            && let Ok(recorded) = opusdec_decode(file)
            && recorded.frames() == whole.frames()
        {
            assert!(recorded.samples == whole.samples);
            // It is also served, as any file.
            let name = file
                .file_name()
                .expect("name")
                .to_string_lossy()
                .into_owned();
            let served = request(
                relay.address,
                "GET",
                &format!("/files/recordings/a.opus/{name}"),
                "",
            );
            assert!(served.body == std::fs::read(file).expect("file"));
            break;
        }
        assert!(Instant::now() < until, "not recorded: {files:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A disk that takes nothing for a while: listeners do not notice, and what
/// is missing is counted, logged and told.
#[test]
fn a_disk_that_fails_disturbs_no_listener() {
    require(&["ffmpeg", "opusdec", "curl"]);
    let relay = Relay::with_config(
        "[defaults]\nrecord = true\nhistory = \"1s\"\nburst = \"1s\"\nhistory_bytes = \"64KiB\"\n",
    );
    // No folder can be made where a file is.
    std::fs::create_dir(relay.scratch.file("recordings")).expect("folder");
    let obstacle = relay.scratch.file("recordings/a.opus");
    std::fs::write(&obstacle, "in the way").expect("write");
    let scratch = Scratch::new("recording-fails");
    let source = scratch.file("source.opus");
    let heard = scratch.file("heard.opus");
    encode(
        &Pcm::noise(48_000, 1, 48_000 * 9, 0.3, 5),
        Encoding::Opus(&["-b:a", "256k"]),
        &source,
    )
    .expect("encode");
    let mut publishing = publish(&relay, &source, "/a.opus");
    relay.wait_for("/api/mounts", "\"state\":\"live\"", Duration::from_secs(20));
    let state = || {
        let (_, api) = relay.fetch("/api/mounts/a.opus");
        serde_json::from_str::<serde_json::Value>(&api).expect("json")
    };
    std::thread::scope(|threads| {
        threads.spawn(|| relay.download("/a.opus?from=start", &heard));
        while state()["media_time"].as_f64() < Some(4.0) {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(
            state()["recording"]["errors"].as_u64() > Some(0),
            "{}",
            state()
        );
        std::fs::remove_file(&obstacle).expect("remove");
        publishing.wait(Duration::from_secs(60)).expect("published");
    });
    // The listener has every frame from where it joined on.
    let whole = opusdec_decode(&source).expect("opusdec");
    let heard = opusdec_decode(&heard).expect("opusdec");
    let seconds = heard.frames() as f64 / 48_000.0;
    assert!(seconds > 7.0, "heard {seconds} s");
    let tail = |pcm: &Pcm| pcm.samples[pcm.samples.len() - 48_000 * 4..].to_vec();
    // Joined in the middle, a decoder converges.
    let snr = snr_db(&tail(&whole), &tail(&heard));
    assert!(snr > 40.0, "the listener was disturbed: {snr} dB");
    let until = Instant::now() + Duration::from_secs(20);
    let recording = loop {
        let state = state();
        let recording = &state["recording"];
        let number = |key: &str| recording[key].as_f64().unwrap_or_default();
        // What was written last is counted after the end of the programme.
        if state["state"] == "ended" && number("seconds") + number("missed_seconds") > 8.9 {
            break recording.clone();
        }
        assert!(Instant::now() < until, "{state}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let number = |key: &str| recording[key].as_f64().unwrap_or_default();
    // Where nothing could be written yet is as much a gap as any other.
    let (seconds, missed) = (number("seconds"), number("missed_seconds"));
    assert!(missed > 1.0 && seconds < 8.0, "{recording}");
    assert!((seconds + missed - 9.0).abs() < 0.1, "{recording}");
    assert_eq!(recordings(&relay, "a.opus").len(), 1);
    let (_, metrics) = relay.fetch("/metrics");
    let failed = metrics
        .lines()
        .find(|line| line.starts_with("seamcast_mount_recording_errors_total{mount=\"/a.opus\"}"));
    assert!(
        failed.is_some_and(|line| !line.ends_with(" 0")),
        "{metrics}"
    );
    assert!(relay.process.stderr().contains("cannot record"));
}

/// Uploaded at once, and more than history holds: the source is held back
/// until it is on disk.
#[test]
fn an_upload_larger_than_history_is_recorded_whole() {
    require(&["ffmpeg", "opusdec"]);
    let relay = Relay::with_config(
        "[defaults]\nrecord = true\nhistory = \"1s\"\nburst = \"1s\"\nhistory_bytes = \"64KiB\"\n",
    );
    let scratch = Scratch::new("recording-upload");
    let source = scratch.file("source.opus");
    encode(
        &Pcm::noise(48_000, 1, 48_000 * 20, 0.3, 4),
        Encoding::Opus(&["-b:a", "128k"]),
        &source,
    )
    .expect("encode");
    Program::new("curl")
        .args([
            "-sS",
            "--fail",
            "-u",
            &format!("source:{}", Relay::PASSWORD),
        ])
        .arg("-T")
        .arg(&source)
        .arg(relay.url("/a.opus"))
        .run()
        .expect("published");
    let recording = || {
        let (_, api) = relay.fetch("/api/mounts/a.opus");
        serde_json::from_str::<serde_json::Value>(&api).expect("json")["recording"].clone()
    };
    let until = Instant::now() + Duration::from_secs(60);
    while recording()["seconds"].as_f64() < Some(19.9) {
        let state = recording();
        let missed = state["missed_seconds"].as_f64().unwrap_or_default();
        assert!(missed == 0.0, "{state}");
        assert!(Instant::now() < until, "{state}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let files = recordings(&relay, "a.opus");
    let recorded = opusdec_decode(&files[0]).expect("opusdec");
    assert!(recorded.samples == opusdec_decode(&source).expect("opusdec").samples);
}

/// How often the relay is killed; `SEAMCAST_KILLS` asks for more.
fn kills() -> usize {
    std::env::var("SEAMCAST_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(8)
}

#[test]
fn a_kill_loses_at_most_the_last_second() {
    require(&["ffmpeg", "opusdec"]);
    let scratch = Scratch::new("kills");
    let source = scratch.file("source.opus");
    encode(
        &Pcm::noise(48_000, 1, 48_000 * 30, 0.3, 2),
        Encoding::Opus(&["-b:a", "48k"]),
        &source,
    )
    .expect("encode");
    let whole = opusdec_decode(&source).expect("opusdec");
    let mut random = Seeded::new(77);
    for round in 0..kills() {
        let mut relay = relay();
        let mut client = publish(&relay, &source, "/a.opus");
        relay.wait_for("/api/mounts", "\"state\":\"live\"", Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1500 + random.below(1500) as u64));
        let (_, api) = relay.fetch("/api/mounts/a.opus");
        let api: serde_json::Value = serde_json::from_str(&api).expect("json");
        let taken = api["media_time"].as_f64().expect("media_time");
        relay.process.signal(9);
        let _ = relay.process.wait(Duration::from_secs(10));
        client.kill();
        let files = recordings(&relay, "a.opus");
        assert_eq!(files.len(), 1, "round {round}");
        let recorded = opusdec_decode(&files[0]).expect("the recording plays");
        let seconds = recorded.frames() as f64 / 48_000.0;
        assert!(
            seconds >= taken - 1.001,
            "round {round}: {seconds} s of {taken} s"
        );
        assert!(
            recorded.samples[..] == whole.samples[..recorded.samples.len()],
            "round {round}"
        );
        // The index agrees with one made from the recording alone.
        let index = PathBuf::from(format!("{}.index", files[0].display()));
        let kept = std::fs::read(&index).expect("index");
        assert!(relay_server::record::index::rebuild_file(&files[0]).expect("rebuilt") > 0);
        let rebuilt = std::fs::read(&index).expect("index");
        assert!(
            rebuilt.starts_with(&kept[..kept.len() / 16 * 16]),
            "round {round}"
        );
    }
}
