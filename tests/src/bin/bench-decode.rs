//! Decoding speed: the player's wasm in Node beside npm decoders in the same
//! process, and native libopus, by processor time. `bench-decode [ROUNDS]`, after `cargo xtask
//! wasm` and `npm ci` in `tests/node`. Results also in `target/bench/decode.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use seamcast_media::demux::{Demuxer, Event};
use serde_json::{Value, json};
use tests::support::{Program, Scratch, artefact_dir, require, workspace_root};

/// Case, our decoder's peer, least ratio of medians wanted.
const TARGETS: [(&str, &str, f64); 6] = [
    ("opus music", "ogg-opus-decoder", 1.25),
    ("opus music", "@evan/opus", 1.0),
    ("opus music", "native libopus", 0.78),
    ("opus speech", "@evan/opus", 1.0),
    ("opus speech", "native libopus", 0.78),
    ("mp3 music", "mpg123-decoder", 1.9),
];

/// Broadband stereo of two minutes; `aevalsrc` and noise, so that any machine makes the same.
const MUSIC: &str = "aevalsrc='0.2*sin(220*2*PI*t)*(0.6+0.4*sin(3*t))+0.1*sin(1760*2*PI*t)*sin(5*t)+0.15*random(0)*exp(-8*mod(t,0.5))|0.2*sin(330*2*PI*t)+0.1*sin(2640*2*PI*t)*cos(4*t)+0.15*random(1)*exp(-8*mod(t+0.25,0.5))':s=48000:d=120";

fn main() -> Result<()> {
    let rounds: usize = match std::env::args().nth(1) {
        Some(text) => text.parse().context("ROUNDS must be a whole number")?,
        None => 7,
    };
    require(&["ffmpeg", "espeak-ng", "node"]);
    let package = workspace_root().join("web/dist/player");
    if !package.join("player.wasm").exists() {
        bail!(
            "{} is missing; run `cargo xtask wasm`",
            package.join("player.wasm").display()
        );
    }
    let node = workspace_root().join("tests/node");
    if !node.join("node_modules").exists() {
        Program::new("npm")
            .arg("ci")
            .in_dir(&node)
            .limit(Duration::from_secs(300))
            .run()?;
    }
    let scratch = Scratch::new("bench-decode");
    let (music, speech, mp3) = (
        scratch.file("m.opus"),
        scratch.file("s.opus"),
        scratch.file("m.mp3"),
    );
    make(
        &[
            "-f", "lavfi", "-i", MUSIC, "-c:a", "libopus", "-b:a", "128k",
        ],
        &music,
    )?;
    make(
        &[
            "-f",
            "lavfi",
            "-i",
            MUSIC,
            "-ar",
            "44100",
            "-c:a",
            "libmp3lame",
            "-b:a",
            "128k",
        ],
        &mp3,
    )?;
    let wav = scratch.file("s.wav");
    Program::new("espeak-ng")
        .arg("-w")
        .arg(&wav)
        .arg("The quick brown fox jumps over the lazy dog, and then it rests. ".repeat(20))
        .run()?;
    let wav = wav.to_string_lossy().into_owned();
    make(
        &[
            "-i",
            &wav,
            "-ac",
            "1",
            "-c:a",
            "libopus",
            "-b:a",
            "28k",
            "-application",
            "voip",
        ],
        &speech,
    )?;

    let out = Program::new("node")
        .arg("decode-bench.mjs")
        .arg(&package)
        .arg(rounds.to_string())
        .args([&music, &speech, &mp3])
        .in_dir(&node)
        .limit(Duration::from_secs(900))
        .run()?;
    let mut results: BTreeMap<String, BTreeMap<String, Vec<f64>>> =
        serde_json::from_slice(&out.stdout)?;
    for (case, path, channels) in [("opus music", &music, 2), ("opus speech", &speech, 1)] {
        let speeds = native(&std::fs::read(path)?, channels, rounds)?;
        results
            .entry(case.into())
            .or_default()
            .insert("native libopus".into(), speeds);
    }
    report(&results)
}

fn make(arguments: &[&str], path: &Path) -> Result<()> {
    Program::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments)
        .arg(path)
        .limit(Duration::from_secs(300))
        .run()?;
    Ok(())
}

/// Times real time of libopus itself, demuxing included.
fn native(bytes: &[u8], channels: usize, rounds: usize) -> Result<Vec<f64>> {
    let layout = if channels == 1 {
        opus::Channels::Mono
    } else {
        opus::Channels::Stereo
    };
    let mut speeds = Vec::new();
    let mut pcm = vec![0.0; 5_760 * channels];
    for round in 0..=rounds {
        let begin = busy()?;
        let mut decoder = opus::Decoder::new(48_000, layout)?;
        let mut demuxer = Demuxer::new();
        let mut frames = 0;
        for piece in bytes.chunks(64 * 1024) {
            demuxer.push(piece);
            while let Some(event) = demuxer.poll() {
                if let Event::Packet(packet) = event {
                    frames += decoder.decode_float(&packet.payload, &mut pcm, false)?;
                }
            }
        }
        if round > 0 {
            speeds.push(frames as f64 / 48_000.0 / (busy()? - begin));
        }
    }
    Ok(speeds)
}

/// Seconds of processor time this thread has used.
fn busy() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: f64 = text.split(' ').next().unwrap_or("").parse()?;
    Ok(nanos / 1e9)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(results: &BTreeMap<String, BTreeMap<String, Vec<f64>>>) -> Result<()> {
    println!(
        "{:<12} {:<18} {:>10}  {:>14}",
        "case", "decoder", "× real t.", "ours against it"
    );
    let mut rows = Vec::new();
    for (case, decoders) in results {
        let ours = decoders.get("seamcast").map_or(f64::NAN, |v| median(v));
        for (decoder, speeds) in decoders {
            let speed = median(speeds);
            println!(
                "{case:<12} {decoder:<18} {speed:>10.0}  {:>14.2}",
                ours / speed
            );
            rows.push(json!({"case": case, "decoder": decoder, "median": speed, "runs": speeds, "ours_against_it": ours / speed}));
        }
    }
    let mut missed = Vec::new();
    for (case, peer, least) in TARGETS {
        let of = |name: &str| {
            results
                .get(case)
                .and_then(|d| d.get(name))
                .map_or(f64::NAN, |v| median(v))
        };
        let ratio = of("seamcast") / of(peer);
        let verdict = if ratio >= least { "reached" } else { "missed" };
        println!("{case}: {ratio:.2} × {peer}, target {least}: {verdict}");
        if verdict == "missed" {
            missed.push(json!({"case": case, "peer": peer, "ratio": ratio, "target": least}));
        }
    }
    let value: Value =
        json!({"benchmark": "decode", "unit": "times real time", "rows": rows, "missed": missed});
    let path = artefact_dir("bench").join("decode.json");
    std::fs::write(&path, serde_json::to_string_pretty(&value)?)?;
    println!("results: {}", path.display());
    Ok(())
}
