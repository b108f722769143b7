//! The built wasm, both modules of it, in Node, on generated files of every kind and on
//! the corpus: the samples of the native decode, which the other decode tests hold
//! against the references, the same for every cutting, nothing thrown, memory bounded.

mod decode_common;

use std::path::PathBuf;
use std::time::Duration;

use decode_common::{Decoded, corpus, decode, on_all_cores};
use tests::support::{Encoding, Pcm, Program, Scratch, encode, require, snr_db, workspace_root};

const MOST_MEMORY: u64 = 32 << 20;
/// libopus's C is compiled by another compiler here, without its x86 kernels, and
/// nanomp3's lanes are other registers: the last bits of floats differ.
const LEAST_SNR_DB: f64 = 110.0;
/// For what is CELT alone, whose transform and filters are vectorised by hand.
const LEAST_CELT_SNR_DB: f64 = 120.0;
const CELT_FILES: [&str; 3] = ["celt.opus", "short.opus", "surround.opus"];
/// Differences in what is as good as silent say nothing.
const INAUDIBLE: f32 = 1.0 / 8_388_608.0;

/// What the two builds may differ by and still be the same audio.
fn alike(native: &Decoded, wasm: &[Vec<f32>], celt: bool) -> Result<(), String> {
    let (ours, theirs) = (native.planes.concat(), wasm.concat());
    if ours.len() != theirs.len() {
        return Err(format!("{} samples, {} native", theirs.len(), ours.len()));
    }
    let worst = ours
        .iter()
        .zip(&theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    let snr = snr_db(&ours, &theirs);
    let bad = if celt {
        snr < LEAST_CELT_SNR_DB
    } else {
        worst > INAUDIBLE && snr < LEAST_SNR_DB
    };
    if bad {
        return Err(format!("{snr:.1} dB from native, at most {worst}"));
    }
    Ok(())
}

/// Decodes the files with a module and returns what differs from native, and how
/// many there were.
fn differing(module: &str, files: &[PathBuf]) -> Vec<String> {
    require(&["node"]);
    let package = workspace_root().join("web/dist/player");
    assert!(
        package.join(module).exists(),
        "{module} is not built; run `cargo xtask wasm`"
    );
    let scratch = Scratch::new("decode-wasm");
    let list: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    let out = Program::new("node")
        .arg("decode-files.mjs")
        .args([&package, &PathBuf::from(module)])
        .arg(scratch.path())
        .in_dir(&workspace_root().join("tests/node"))
        .input(list.join("\n").into_bytes())
        .limit(Duration::from_secs(600))
        .run()
        .expect("decode-files.mjs");
    let text = String::from_utf8(out.stdout).expect("JSON lines");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), files.len());
    let work: Vec<_> = files.iter().zip(&lines).enumerate().collect();
    let wrong = on_all_cores(&work, |(index, (path, line))| {
        let native = decode(&std::fs::read(path).expect("media file"), 0);
        let count = native.planes.len();
        let pcm = std::fs::read(scratch.file(&format!("{index}.f32"))).expect("its PCM");
        let samples = Pcm::from_f32le(&pcm, 48_000, 1).samples;
        let frames = samples.len() / count.max(1);
        let planes: Vec<Vec<f32>> = samples.chunks(frames.max(1)).map(<[f32]>::to_vec).collect();
        let mut wrong = Vec::new();
        let mut expect = |right: bool, what: String| {
            if !right {
                wrong.push(format!("{} in {module}: {what}", path.display()));
            }
        };
        expect(
            line["frames"] == native.frames(),
            format!("{} frames, {} native", line["frames"], native.frames()),
        );
        expect(
            line["errors"] == native.errors.len(),
            format!("{} errors, {} native", line["errors"], native.errors.len()),
        );
        expect(line["same"] == true, "the cutting mattered".into());
        expect(line["finite"] == true, "no number".into());
        let memory = line["memory"].as_u64().unwrap_or(u64::MAX);
        expect(memory <= MOST_MEMORY, format!("{memory} bytes of memory"));
        let name = path.file_name().unwrap_or_default();
        let celt = CELT_FILES.iter().any(|file| name == *file);
        if let Err(e) = alike(&native, &planes, celt) {
            expect(false, e);
        }
        wrong
    });
    wrong.concat()
}

const MODULES: [&str; 2] = ["player.wasm", "player-nosimd.wasm"];

#[test]
fn node_decodes_generated_files_like_native() {
    require(&["ffmpeg"]);
    let scratch = Scratch::new("decode-wasm-files");
    let kinds: [(&str, u32, usize, Encoding<'_>); 9] = [
        ("celt.opus", 48_000, 2, Encoding::Opus(&["-b:a", "128k"])),
        (
            "short.opus",
            48_000,
            2,
            Encoding::Opus(&[
                "-b:a",
                "64k",
                "-frame_duration",
                "2.5",
                "-application",
                "lowdelay",
            ]),
        ),
        (
            "silk.opus",
            16_000,
            1,
            Encoding::Opus(&[
                "-b:a",
                "12k",
                "-application",
                "voip",
                "-frame_duration",
                "60",
            ]),
        ),
        (
            "hybrid.opus",
            48_000,
            1,
            Encoding::Opus(&["-b:a", "28k", "-application", "voip"]),
        ),
        (
            "surround.opus",
            48_000,
            6,
            Encoding::Opus(&["-b:a", "256k", "-mapping_family", "1"]),
        ),
        ("cbr.mp3", 44_100, 2, Encoding::Mp3(&["-b:a", "128k"])),
        ("vbr.mp3", 48_000, 2, Encoding::Mp3(&["-q:a", "2"])),
        ("mono.mp3", 32_000, 1, Encoding::Mp3(&["-b:a", "64k"])),
        ("low.mp3", 8_000, 1, Encoding::Mp3(&["-b:a", "16k"])),
    ];
    let mut files = Vec::new();
    for (name, rate, channels, encoding) in kinds {
        let pcm = Pcm::noise(rate, channels, rate as usize * 2, 0.2, 5);
        let path = scratch.file(name);
        encode(&pcm, encoding, &path).expect(name);
        files.push(path);
    }
    // Two links, the second of them mono.
    let mut chained = std::fs::read(&files[0]).expect("file");
    chained.extend(std::fs::read(&files[3]).expect("file"));
    files.push(scratch.file("chained.opus"));
    std::fs::write(&files[9], chained).expect("file");
    for module in MODULES {
        assert_eq!(differing(module, &files), Vec::<String>::new());
    }
}

#[test]
fn node_decodes_the_corpus_like_native() {
    let Some(files) = corpus() else { return };
    let files: Vec<PathBuf> = files.into_iter().map(|f| f.path).collect();
    for module in MODULES {
        assert_eq!(differing(module, &files), Vec::<String>::new());
    }
}
