//! Bodies that are decoded and encoded live: FLAC, and WAV that does not know
//! its length.

use std::time::Duration;

use tests::support::{Pcm, Program, Relay, Scratch, align, opusdec_decode, require, snr_db};

/// Publishes `file` with curl, chunked and in real pieces, and decodes what a
/// listener gets.
fn round_trip(file: &std::path::Path, content_type: &str) -> Pcm {
    let relay = Relay::start();
    let scratch = Scratch::new("bodies");
    let sent = Program::new("curl")
        .args(["-sS", "--fail", "-T"])
        .arg(file)
        .args(["-H", &format!("Content-Type: {content_type}")])
        .args(["-H", "Transfer-Encoding: chunked", "--limit-rate", "4M"])
        .args(["-u", &format!("source:{}", Relay::PASSWORD)])
        .arg(relay.url("/x.opus?bitrate=256k"))
        .limit(Duration::from_secs(60))
        .run();
    sent.unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
    let heard = scratch.file("heard.opus");
    Program::new("curl")
        .args(["-sS", "--fail", "--max-time", "20", "-o"])
        .arg(&heard)
        .arg(relay.url("/x.opus?from=start"))
        .run()
        .unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
    opusdec_decode(&heard).expect("opusdec")
}

fn check(heard: &Pcm, reference: &Pcm) {
    assert_eq!(heard.frames(), reference.frames(), "sample-exact length");
    let inner = 9600..reference.frames() - 9600;
    let snr = snr_db(&reference.plane(0)[inner.clone()], &heard.plane(0)[inner]);
    assert!(snr > 20.0, "{snr:.1} dB");
}

#[test]
fn flac_is_decoded_and_encoded_live() {
    require(&["ffmpeg", "opusdec", "curl"]);
    let scratch = Scratch::new("flac");
    let pcm = Pcm::sine(48_000, 440.0, 48_000 * 5 + 123);
    pcm.write_wav(&scratch.file("a.wav"));
    for (name, more) in [
        ("plain.flac", &["-sample_fmt", "s16"][..]),
        (
            "deep.flac",
            &["-sample_fmt", "s32", "-compression_level", "12"][..],
        ),
    ] {
        let file = scratch.file(name);
        Program::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(scratch.file("a.wav"))
            .args(more)
            .arg(&file)
            .run()
            .expect("ffmpeg");
        check(&round_trip(&file, "audio/flac"), &pcm);
    }
    // As some taggers leave it; flac and ffmpeg skip it too.
    let mut tagged = b"ID3\x04\0\0\0\0\x10\0".to_vec();
    tagged.resize(10 + 2048, 0);
    tagged.extend(std::fs::read(scratch.file("plain.flac")).expect("read"));
    std::fs::write(scratch.file("tagged.flac"), tagged).expect("write");
    let file = scratch.file("tagged.flac");
    check(&round_trip(&file, "audio/flac"), &pcm);
}

/// Files one after the other, in one body or in a folder, each of its own rate
/// and channels.
#[test]
fn flac_of_another_rate_follows_without_a_seam() {
    require(&["ffmpeg", "opusdec", "curl"]);
    let scratch = Scratch::new("flacs");
    let folder = scratch.file("folder");
    std::fs::create_dir(&folder).expect("folder");
    let (mut all, mut every) = (Vec::new(), Vec::new());
    let parts = [(44_100, 1, 440.0), (32_000, 1, 880.0), (32_000, 2, 660.0)];
    for (number, (rate, channels, hertz)) in parts.iter().enumerate() {
        Pcm::sine(*rate, *hertz, *rate as usize * 2).write_wav(&scratch.file("a.wav"));
        let file = folder.join(format!("{number}.flac"));
        let layout = match channels {
            1 => "pan=mono|c0=c0",
            _ => "anull",
        };
        Program::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(scratch.file("a.wav"))
            .args(["-af", layout])
            .arg(&file)
            .run()
            .expect("ffmpeg");
        let bytes = std::fs::read(&file).expect("read");
        every.extend_from_slice(&bytes);
        // opusdec takes no change of channels.
        if *channels == 1 {
            all.extend(bytes);
        }
    }
    let file = scratch.file("all.flac");
    std::fs::write(&file, &all).expect("write");
    let heard = round_trip(&file, "audio/flac");
    assert_eq!(heard.frames(), 2 * 96_000, "sample-exact length");
    for (number, (_, _, hertz)) in parts[..2].iter().enumerate() {
        let part = heard.slice(number * 96_000, (number + 1) * 96_000);
        let found = align(&Pcm::sine(48_000, *hertz, 96_000), &part, 20);
        assert!(
            found.lag.abs() <= 1 && found.correlation > 0.98,
            "{found:?}"
        );
    }

    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"file\"\nmount = \"/p.opus\"\npath = {folder:?}\n"
    ));
    Program::new("curl")
        .args(["-sS", "--fail", "-u"])
        .args([&format!("source:{}", Relay::PASSWORD), "-T", "-"])
        .arg(relay.url("/c.mp3"))
        .input(every)
        .run()
        .expect("curl");
    for name in ["/api/mounts/p.opus", "/api/mounts/c.mp3"] {
        relay.wait_for(name, "\"media_time\":6.0", Duration::from_secs(60));
        let (_, about) = relay.fetch(name);
        let about: serde_json::Value = serde_json::from_str(&about).expect("JSON");
        assert_eq!(about["stats"]["faults"], 0, "{about}");
    }
}

#[test]
fn wav_that_does_not_know_its_length_is_read_to_its_end() {
    require(&["opusdec", "curl"]);
    let scratch = Scratch::new("wav");
    let file = scratch.file("a.wav");
    let pcm = Pcm::sine(48_000, 440.0, 48_000 * 3 + 7);
    pcm.write_wav(&file);
    let mut bytes = std::fs::read(&file).expect("read");
    let data = bytes.windows(4).position(|w| w == b"data").expect("data");
    for size in [u32::MAX, 0] {
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        bytes[data + 4..data + 8].copy_from_slice(&size.to_le_bytes());
        std::fs::write(&file, &bytes).expect("write");
        check(&round_trip(&file, "audio/wav"), &pcm);
    }
}
