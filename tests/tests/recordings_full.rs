//! Recording to a disk that is really full: a file system of two megabytes,
//! mounted in a namespace of the relay's own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tests::support::{
    Encoding, Pcm, Program, Relay, RelayOptions, Running, Scratch, encode, opusdec_decode, require,
};

const MOUNT: &str = "mkdir -p recordings && mount -t tmpfs -o size=2m none recordings";

/// A relay whose recordings are on a disk of 2 MB; `None`, said aloud, where
/// nobody may mount one.
fn relay() -> Option<Relay> {
    let scratch = Scratch::new("may-mount");
    let probe = Program::new("unshare")
        .args(["-rm", "sh", "-c", MOUNT])
        .in_dir(scratch.path());
    if let Err(error) = probe.run() {
        eprintln!("SKIPPED: neither root nor a user namespace may mount a tmpfs here: {error}");
        return None;
    }
    let script = format!("{MOUNT} && exec \"$@\"");
    let wrapper = ["unshare", "-rm", "sh", "-c", &script, "relay"];
    Some(Relay::start_with(&RelayOptions {
        config: Some("[defaults]\nrecord = true\n".to_owned()),
        wrapper: wrapper.map(str::to_owned).to_vec(),
        ..RelayOptions::default()
    }))
}

/// What the relay sees as its folder of recordings.
fn disk(relay: &Relay) -> PathBuf {
    let recordings = relay.scratch.file("recordings");
    let recordings = recordings.strip_prefix("/").expect("absolute");
    Path::new(&format!("/proc/{}/root", relay.process.id())).join(recordings)
}

fn files(relay: &Relay, mount: &str, extension: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(disk(relay).join(mount));
    let paths = folder.into_iter().flatten().flatten().map(|f| f.path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

fn publish(relay: &Relay, file: &Path, mount: &str) -> Running {
    relay.publishing(file, mount).spawn().expect("ffmpeg")
}

fn state(relay: &Relay, mount: &str) -> serde_json::Value {
    let (_, api) = relay.fetch(&format!("/api/mounts/{mount}"));
    serde_json::from_str(&api).unwrap_or_default()
}

fn wait(relay: &Relay, mount: &str, what: &str, until: impl Fn(&serde_json::Value) -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let state = state(relay, mount);
        if until(&state) {
            return;
        }
        let log = relay.process.stderr();
        assert!(
            Instant::now() < limit,
            "{mount}: not {what}: {state}\n{log}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_full_disk_disturbs_nobody_and_loses_nothing_that_memory_holds() {
    require(&["ffmpeg", "opusdec", "curl", "unshare"]);
    let Some(relay) = relay() else { return };
    let scratch = Scratch::new("full-disk");
    let noise = |seconds: usize, name: &str| {
        let file = scratch.file(name);
        let pcm = Pcm::noise(48_000, 1, 48_000 * seconds, 0.3, seconds as u64);
        encode(&pcm, Encoding::Opus(&["-b:a", "256k"]), &file).expect("encode");
        file
    };
    let (long, short) = (noise(6, "long.opus"), noise(2, "short.opus"));
    let heard = scratch.file("heard.opus");
    // Room for about two seconds.
    let filler = disk(&relay).join("filler");
    std::fs::write(&filler, vec![1; (2 << 20) - (80 << 10)]).expect("a filler");

    let mut publishing = publish(&relay, &long, "/a.opus");
    wait(&relay, "a.opus", "live", |state| state["state"] == "live");
    std::thread::scope(|threads| {
        threads.spawn(|| relay.download("/a.opus?from=start", &heard));
        wait(&relay, "a.opus", "out of room", |state| {
            state["recording"]["errors"].as_u64() > Some(0)
        });
        // What was written before is still there, and plays.
        let written = files(&relay, "a.opus", "opus");
        let before = std::fs::read(&written[0]).expect("a recording");
        assert!(before.len() > 10_000, "{} bytes", before.len());
        // One that begins on a full disk finds no room for a file.
        let mut second = publish(&relay, &short, "/b.opus");
        wait(&relay, "b.opus", "out of room", |state| {
            state["recording"]["errors"].as_u64() > Some(1)
        });
        second.wait(Duration::from_secs(60)).expect("published");
        assert!(files(&relay, "b.opus", "opus").len() <= 1);
        std::fs::remove_file(&filler).expect("room");
        publishing.wait(Duration::from_secs(60)).expect("published");
        let after = std::fs::read(&written[0]).expect("a recording");
        assert!(after.starts_with(&before), "written data was lost");
    });
    // The listener heard everything, and so did the disk in the end.
    let whole = opusdec_decode(&long).expect("opusdec");
    let heard = opusdec_decode(&heard).expect("opusdec");
    assert!(heard.samples == whole.samples, "the listener was disturbed");
    for (mount, source) in [("a.opus", &long), ("b.opus", &short)] {
        let whole = opusdec_decode(source).expect("opusdec");
        let seconds = whole.frames() as f64 / 48_000.0;
        wait(&relay, mount, "recorded", |state| {
            let number = |key: &str| state["recording"][key].as_f64().unwrap_or_default();
            assert!(number("missed_seconds") == 0.0, "{state}");
            number("seconds") > seconds - 0.01
        });
        let recorded = files(&relay, mount, "opus");
        assert_eq!(recorded.len(), 1, "{recorded:?}");
        let (index, journal) = (
            files(&relay, mount, "index"),
            files(&relay, mount, "journal"),
        );
        assert_eq!((index.len(), journal.len()), (1, 1));
        // As another program would: a copy that grows no more.
        let copy = scratch.file(mount);
        std::fs::copy(&recorded[0], &copy).expect("copied");
        let again = opusdec_decode(&copy).expect("opusdec");
        assert!(
            again.samples == whole.samples,
            "{mount}: recorded otherwise"
        );
        let kept = std::fs::read(&index[0]).expect("index");
        let rebuilt = scratch.file(&format!("{mount}.index"));
        std::fs::copy(&index[0], &rebuilt).expect("copied");
        relay_server::record::index::rebuild_file(&copy).expect("rebuilt");
        assert!(std::fs::read(&rebuilt).expect("index") == kept, "{mount}");
        // What was on the full disk is served like any past.
        let past = scratch.file(&format!("past.{mount}"));
        relay.download(&format!("/{mount}?from=start"), &past);
        let past = opusdec_decode(&past).expect("opusdec");
        assert!(past.samples == whole.samples, "{mount}: served otherwise");
        let (_, metrics) = relay.fetch("/metrics");
        let name = format!("seamcast_mount_recording_errors_total{{mount=\"/{mount}\"}}");
        let line = metrics.lines().find(|line| line.starts_with(&name));
        assert!(line.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
        let log = relay.process.stderr();
        let said = |text: &str| {
            let about = |line: &&str| line.contains(text) && line.contains(&format!("/{mount}"));
            log.lines().filter(about).count()
        };
        // Not with every attempt; the last room there was may have been found twice.
        for text in [
            "cannot record",
            "recording goes on",
            "No space left on device",
            "make room",
        ] {
            assert!((1..=2).contains(&said(text)), "{text}: {log}");
        }
    }
}
