//! Files that are decoded and encoded again: AAC in MP4 and ADTS, Vorbis.

use std::path::Path;
use std::time::Duration;

use tests::support::http::request;
use tests::support::{Pcm, Program, Relay, Scratch, align, mpg123_decode, opusdec_decode, require};

const LIMIT: Duration = Duration::from_secs(60);

fn board(relay: &Relay) -> serde_json::Value {
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let answer = request(relay.address, "GET", "/api/inputs", &token);
    let all: serde_json::Value = serde_json::from_slice(&answer.body).expect("json");
    all[0].clone()
}

fn convert(wav: &Path, codec: &[&str], to: &Path) {
    Program::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-i"])
        .arg(wav)
        .args(codec)
        .arg(to)
        .run()
        .expect("ffmpeg");
}

#[test]
fn aac_and_vorbis_files_are_played_whole_one_after_the_other() {
    require(&["ffmpeg", "opusdec"]);
    let scratch = Scratch::new("decoded");
    let sweep = Pcm::sweep(48_000, 300.0, 6_000.0, 72_000);
    sweep.write_wav(&scratch.file("a.wav"));
    let tagged = [
        "-c:a",
        "aac",
        "-b:a",
        "128k",
        "-metadata",
        "title=Named inside",
    ];
    convert(&scratch.file("a.wav"), &tagged, &scratch.file("1.m4a"));
    let vorbis = ["-c:a", "libvorbis", "-q:a", "6"];
    convert(&scratch.file("a.wav"), &vorbis, &scratch.file("2.ogg"));
    let adts = ["-c:a", "aac", "-b:a", "128k", "-f", "adts"];
    convert(&scratch.file("a.wav"), &adts, &scratch.file("3.aac"));
    // A file that is cut off in its samples plays as far as it goes; one
    // without its index cannot be played.
    let whole = std::fs::read(scratch.file("1.m4a")).expect("read");
    std::fs::write(scratch.file("4.m4a"), &whole[..whole.len() / 2]).expect("write");
    std::fs::remove_file(scratch.file("a.wav")).expect("remove");
    let relay = Relay::with_config(&format!(
        "[[mount]]\npath = \"/d.opus\"\nbitrate = \"192k\"\n\
         [[input]]\nkind = \"file\"\nmount = \"/d.opus\"\npath = \"{}\"\n",
        scratch.path().display()
    ));
    relay.wait_for("/api/mounts/d.opus", "\"title\":\"Named inside\"", LIMIT);
    relay.wait_for("/api/mounts/d.opus", "\"state\":\"ended\"", LIMIT);
    let file = scratch.file("heard.opus");
    relay.download("/d.opus?from=start", &file);
    let heard = opusdec_decode(&file).expect("opusdec");
    let status = board(&relay);
    for (number, from) in [(1, 0), (2, 72_000), (3, 144_000)] {
        // ADTS cannot say how long its encoder's delay is.
        let extra = if number == 3 { 3072 } else { 0 };
        let end = (from + 72_000 + extra).min(heard.frames());
        let found = align(&sweep, &heard.slice(from, end), 1200);
        let late = if number == 3 { 1024 } else { 0 };
        assert_eq!(found.lag, late, "track {number}: {found:?}");
        assert!(found.correlation > 0.98, "track {number}: {found:?}");
        assert!(found.level_db.abs() < 0.5, "track {number}: {found:?}");
    }
    // The third has its encoder's delay and padding, all others none.
    let over = heard.frames() as i64 - 3 * 72_000;
    assert!(
        (1024..=3072).contains(&over),
        "{over} frames more; {status}"
    );
    assert_eq!(
        (&status["starts"], &status["malformed"]),
        (&3.into(), &1.into()),
        "{status}"
    );
    let error = status["error"].as_str().unwrap_or_default();
    assert!(error.contains("4.m4a"), "{status}");
}

#[test]
fn an_m4a_file_becomes_mp3_on_an_mp3_mount() {
    require(&["ffmpeg", "mpg123"]);
    let scratch = Scratch::new("m4a-mp3");
    let sweep = Pcm::sweep(44_100, 300.0, 6_000.0, 88_200);
    sweep.write_wav(&scratch.file("a.wav"));
    let m4a = scratch.file("a.m4a");
    convert(
        &scratch.file("a.wav"),
        &["-c:a", "aac", "-b:a", "160k"],
        &m4a,
    );
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"file\"\nmount = \"/d.mp3\"\npath = \"{}\"\n",
        m4a.display()
    ));
    relay.wait_for("/api/mounts/d.mp3", "\"state\":\"ended\"", LIMIT);
    let file = scratch.file("heard.mp3");
    relay.download("/d.mp3?from=start", &file);
    let heard = mpg123_decode(&file).expect("mpg123");
    let found = align(&sweep, &heard, 3000);
    assert!(
        found.correlation > 0.98 && found.level_db.abs() < 0.5,
        "{found:?}"
    );
    assert!((0..=3456).contains(&found.length_difference), "{found:?}");
}
