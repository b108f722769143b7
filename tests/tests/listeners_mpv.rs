//! mpv, on a live mount, on its recording while that grows, and on finished
//! files, with seeking: it hears what the reference decoders make of the source.

use std::path::Path;
use std::time::{Duration, Instant};

use tests::support::{
    Encoding, Pcm, Program, Relay, Scratch, align, encode, mpg123_decode, opusdec_decode, require,
};

const RATE: usize = 48_000;
const SECONDS: usize = 5;

/// What mpv plays of `path` from `start` seconds on.
fn mpv(relay: &Relay, path: &str, start: f64) -> Pcm {
    let scratch = Scratch::new("mpv");
    let heard = scratch.file("heard.wav");
    Program::new("mpv")
        .args(["--no-config", "--msg-level=all=warn", "--vo=null"])
        .args(["--ao=pcm", "--audio-format=float"])
        .arg(format!("--ao-pcm-file={}", heard.display()))
        .arg(format!("--start={start}"))
        .arg(relay.url(path))
        .limit(Duration::from_secs(60))
        .run()
        .unwrap_or_else(|error| panic!("{path}: {error}\nrelay: {}", relay.process.stderr()));
    Pcm::read_wav(&heard).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `heard` is all of `whole` from `start` on, within so many frames: live MP3
/// says nothing of its encoder's delay.
fn same(what: &str, whole: &Pcm, heard: &Pcm, start: f64, delay: usize) {
    let from = (start * RATE as f64) as usize;
    let wanted = whole.slice(from, whole.frames());
    let found = align(&wanted, heard, delay + 200);
    println!("{what} from {start} s: {found:?}");
    assert!(found.correlation > 0.98, "{what}: {found:?}");
    assert!(found.level_db.abs() < 0.2, "{what}: {found:?}");
    let most = delay as i64 + 2;
    assert!(found.lag.abs() <= most, "{what}: {found:?}");
    // Nor does it say how much the encoder added at the end to fill its frames.
    let padded = most + delay as i64;
    assert!(found.length_difference.abs() <= padded, "{what}: {found:?}");
}

fn publish(relay: &Relay, file: &Path, mount: &str) {
    let (format, mime) = match mount.ends_with("opus") {
        true => ("ogg", "audio/ogg"),
        false => ("mp3", "audio/mpeg"),
    };
    let mut program = Program::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-re", "-i"])
        .arg(file)
        .args(["-c", "copy", "-flush_packets", "1", "-content_type", mime]);
    if format == "ogg" {
        program = program.args(["-page_duration", "20000"]);
    }
    let program = program.args(["-f", format]).arg(relay.icecast_url(mount));
    program.run().expect("published");
}

/// The mount's recording, as soon as it holds `least` seconds.
fn recording(relay: &Relay, mount: &str, least: f64) -> String {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, api) = relay.fetch(&format!("/api/mounts{mount}"));
        let api: serde_json::Value = serde_json::from_str(&api).unwrap_or_default();
        let recording = &api["recording"];
        if recording["seconds"].as_f64() >= Some(least)
            && let Some(file) = recording["file"].as_str()
        {
            let name = file.rsplit('/').next().expect("a name");
            return format!("/files/recordings{mount}/{name}");
        }
        assert!(Instant::now() < until, "{api}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn plays(extension: &str, encoding: Encoding<'_>, decode: fn(&Path) -> Pcm, delay: usize) {
    let relay = Relay::with_config("[defaults]\nrecord = true\n");
    let scratch = Scratch::new("for-mpv");
    let source = scratch.file(&format!("source.{extension}"));
    let pcm = Pcm::noise(RATE as u32, 1, RATE * SECONDS, 0.3, 3);
    encode(&pcm, encoding, &source).expect("encode");
    let whole = decode(&source);
    let file = format!("finished.{extension}");
    std::fs::copy(&source, relay.scratch.file(&file)).expect("a file");
    let mount = format!("/live.{extension}");
    let file = format!("/files/{file}");
    std::thread::scope(|threads| {
        let (relay, whole) = (&relay, &whole);
        let (source, mount) = (&source, mount.as_str());
        threads.spawn(move || publish(relay, source, mount));
        relay.wait_for("/api/mounts", "\"state\":\"live\"", Duration::from_secs(20));
        let live = threads.spawn(move || mpv(relay, &format!("{mount}?from=start"), 0.0));
        let growing = recording(relay, mount, 1.6);
        let followed = mpv(relay, &format!("{growing}?wait=20"), 1.25);
        same("growing", whole, &followed, 1.25, delay);
        same("live", whole, &live.join().expect("mpv"), 0.0, delay);
        for start in [0.0, 3.777] {
            same("file", whole, &mpv(relay, &file, start), start, 0);
            let recorded = mpv(relay, &growing, start);
            same("recording", whole, &recorded, start, delay);
        }
    });
}

#[test]
fn mpv_hears_opus_live_growing_and_after_seeks() {
    require(&["mpv", "ffmpeg", "opusdec"]);
    let decode = |path: &Path| opusdec_decode(path).expect("opusdec");
    plays("opus", Encoding::Opus(&["-b:a", "128k"]), decode, 0);
}

#[test]
fn mpv_hears_mp3_live_growing_and_after_seeks() {
    require(&["mpv", "ffmpeg", "mpg123"]);
    let decode = |path: &Path| mpg123_decode(path).expect("mpg123");
    plays("mp3", Encoding::Mp3(&["-b:a", "128k"]), decode, 1152);
}
