//! Streams by real encoders, chunked, are to real decoders the streams they
//! were: the same samples, and no warning, from the start and from the middle.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Generation, chunk, events, frames, installed};
use seamcast_media::chunk::Config;
use seamcast_media::units::MediaDuration;

/// A directory that is gone after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("seamcast-media-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("scratch directory");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, bytes).expect("scratch file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command line in which `{in}` and `{out}` are files.
fn run(line: &str, input: &Path, output: &Path) -> (Vec<u8>, String) {
    let mut words = line.split_whitespace().map(|word| match word {
        "{in}" => input.as_os_str().to_owned(),
        "{out}" => output.as_os_str().to_owned(),
        _ => word.into(),
    });
    let program = words.next().expect("program");
    let result = Command::new(program).args(words).output().expect("run");
    let err = String::from_utf8_lossy(&result.stderr)
        .lines()
        // ffmpeg says this of every MP3 file without an information frame.
        .filter(|line| !line.contains("Estimating duration"))
        .collect();
    assert!(result.status.success(), "{line}: {err}");
    (result.stdout, err)
}

/// Three seconds of 16-bit PCM as WAV: a sweep with noise bursts, each channel its own.
fn wav(rate: u32, channels: u16) -> Vec<u8> {
    let frames = rate * 3;
    let mut pcm = Vec::new();
    let mut seed = 1_u32;
    for n in 0..frames {
        let t = f64::from(n) / f64::from(rate);
        for channel in 0..channels {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(seed >> 16) / 65_536.0 - 0.5;
            let burst = if (n / (rate / 8)) % 4 == u32::from(channel) % 4 {
                0.3
            } else {
                0.0
            };
            let tone =
                (t * (200.0 + 300.0 * t) * std::f64::consts::TAU * f64::from(channel + 1)).sin();
            pcm.extend_from_slice(&((9_000.0 * (tone + burst * noise)) as i16).to_le_bytes());
        }
    }
    let mut out = b"RIFF".to_vec();
    out.extend_from_slice(&(36 + pcm.len() as u32).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
    out.extend_from_slice(&channels.to_le_bytes());
    out.extend_from_slice(&rate.to_le_bytes());
    out.extend_from_slice(&(rate * u32::from(channels) * 2).to_le_bytes());
    out.extend_from_slice(&(channels * 2).to_le_bytes());
    out.extend_from_slice(b"\x10\0data");
    out.extend_from_slice(&(pcm.len() as u32).to_le_bytes());
    out.extend_from_slice(&pcm);
    out
}

fn config(millis: u64) -> Config {
    Config {
        target: MediaDuration::from_millis(millis),
        ..Config::default()
    }
}

/// Encodes, chunks to `millis`, and hands over original file and generation.
fn encode(
    scratch: &Scratch,
    line: &str,
    rate: u32,
    channels: u16,
    millis: u64,
) -> (PathBuf, Generation) {
    let input = scratch.write("in.wav", &wav(rate, channels));
    let name = if line.contains("lame") {
        "encoded.mp3"
    } else {
        "encoded.opus"
    };
    let encoded = scratch.file(name);
    run(line, &input, &encoded);
    let bytes = std::fs::read(&encoded).expect("encoded");
    let mut generations = chunk(&events(&bytes), config(millis));
    assert_eq!(generations.len(), 1, "{line}");
    (encoded, generations.remove(0))
}

const FFMPEG: &str = "ffmpeg -nostdin -v warning -i {in} -f s16le -";

#[test]
fn opus_is_the_same_to_opusdec_and_ffmpeg() {
    if !["opusenc", "opusdec", "ffmpeg"].into_iter().all(installed) {
        return;
    }
    let scratch = Scratch::new("opus");
    let cases = [
        ("opusenc --quiet --bitrate 96 {in} {out}", 48_000, 2),
        (
            "opusenc --quiet --max-delay 1000 --comment TITLE=x {in} {out}",
            44_100,
            2,
        ),
        ("opusenc --quiet --framesize 2.5 {in} {out}", 48_000, 2),
        (
            "opusenc --quiet --framesize 60 --speech --bitrate 12 {in} {out}",
            16_000,
            1,
        ),
        (
            "opusenc --quiet --framesize 40 --speech --bitrate 24 {in} {out}",
            48_000,
            1,
        ),
        ("opusenc --quiet {in} {out}", 48_000, 6),
        (
            "ffmpeg -nostdin -y -v error -i {in} -c:a libopus -page_duration 1000000 {out}",
            48_000,
            2,
        ),
        (
            "ffmpeg -nostdin -y -v error -i {in} -c:a libopus -frame_duration 20 -vbr off {out}",
            24_000,
            1,
        ),
    ];
    for (line, rate, channels) in cases {
        // Every target with one encoder, the usual one with all.
        let targets: &[u64] = match line.contains("--bitrate 96") {
            true => &[20, 100, 250],
            false => &[100],
        };
        for &millis in targets {
            let (original, generation) = encode(&scratch, line, rate, channels, millis);
            let ours = scratch.write("ours.opus", &generation.stream(0));
            let (wanted, _) = run(
                "opusdec --quiet --float --no-dither {in} -",
                &original,
                &ours,
            );
            let (got, said) = run("opusdec --quiet --float --no-dither {in} -", &ours, &ours);
            assert!(
                got == wanted,
                "{line}: opusdec delivers {} bytes, not {}",
                got.len(),
                wanted.len()
            );
            assert_eq!(said, "", "{line}");
            let (wanted, _) = run(FFMPEG, &original, &ours);
            let (got, said) = run(FFMPEG, &ours, &ours);
            assert!(
                got == wanted,
                "{line}: ffmpeg delivers {} bytes, not {}",
                got.len(),
                wanted.len()
            );
            assert_eq!(said, "", "{line}");
            let longest = generation
                .chunks
                .iter()
                .map(|c| c.duration.as_millis())
                .max();
            assert!(
                longest <= Some(millis.max(60) + 30),
                "{line}: {longest:?} ms"
            );
            // Late joiners.
            for from in [1, generation.chunks.len() / 2, generation.chunks.len() - 2] {
                let joined = scratch.write("joined.opus", &generation.stream(from));
                let (pcm, said) = run(FFMPEG, &joined, &joined);
                assert_eq!(said, "", "{line} from chunk {from}");
                assert!(!pcm.is_empty(), "{line} from chunk {from}");
                let (_, said) = run("opusdec --quiet --float {in} -", &joined, &joined);
                assert_eq!(said, "", "{line} from chunk {from}");
            }
        }
    }
}

#[test]
fn mp3_is_the_same_to_mpg123_and_ffmpeg() {
    if !["lame", "mpg123", "ffmpeg"].into_iter().all(installed) {
        return;
    }
    let scratch = Scratch::new("mp3");
    let cases = [
        ("lame --quiet -b 128 {in} {out}", 44_100, 2),
        ("lame --quiet -V 4 {in} {out}", 48_000, 2),
        ("lame --quiet -b 64 -m m {in} {out}", 22_050, 1),
        ("lame --quiet -b 24 -m m {in} {out}", 8_000, 1),
        (
            "lame --quiet -b 320 --add-id3v2 --tt title {in} {out}",
            32_000,
            2,
        ),
        ("lame --quiet -t -b 96 {in} {out}", 44_100, 2),
        ("lame --quiet --freeformat -b 100 {in} {out}", 44_100, 2),
    ];
    for (line, rate, channels) in cases {
        let (original, generation) = encode(&scratch, line, rate, channels, 100);
        let ours = scratch.write("ours.mp3", &generation.stream(0));
        let mpg123 = "mpg123 -q -e f32 -s {in}";
        let (wanted, _) = run(mpg123, &original, &ours);
        let (got, said) = run(mpg123, &ours, &ours);
        assert!(
            got == wanted,
            "{line}: mpg123 delivers {} bytes, not {}",
            got.len(),
            wanted.len()
        );
        assert_eq!(said, "", "{line}");
        let frames: u64 = generation
            .chunks
            .iter()
            .map(|c| c.duration.to_frames(generation.config.sample_rate).0)
            .sum();
        assert_eq!(
            frames * u64::from(generation.config.channels) * 4,
            wanted.len() as u64,
            "{line}"
        );
        if line.contains("freeformat") {
            // ffmpeg 5.1 does not read it.
            continue;
        }
        let (wanted, _) = run(FFMPEG, &original, &ours);
        let (got, said) = run(FFMPEG, &ours, &ours);
        assert!(
            got == wanted,
            "{line}: ffmpeg delivers {} bytes, not {}",
            got.len(),
            wanted.len()
        );
        assert_eq!(said, "", "{line}");
        for from in [1, 5, generation.chunks.len() / 2] {
            let joined = scratch.write("joined.mp3", &generation.stream(from));
            let (pcm, said) = run(FFMPEG, &joined, &joined);
            assert_eq!(said, "", "{line} from chunk {from}");
            assert!(!pcm.is_empty(), "{line} from chunk {from}");
        }
    }
}

/// Frames a decoder delivers, of 16-bit PCM; 0 when it refuses the file.
fn decoded(program: &str, args: &[&str], input: &Path, channels: usize) -> usize {
    let result = Command::new(program)
        .args(args)
        .arg(input)
        .args(match program {
            "opusdec" => &["-"][..],
            _ => &[],
        })
        .output()
        .expect("run");
    result.stdout.len() / 2 / channels
}

#[test]
fn cut_files_have_the_length_their_decoders_say() {
    if !["opusenc", "opusdec", "lame", "mpg123"]
        .into_iter()
        .all(installed)
    {
        return;
    }
    let scratch = Scratch::new("cut");
    let input = scratch.write("in.wav", &wav(48_000, 2));
    let mut seed = 7_usize;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let opus = scratch.file("a.opus");
    run("opusenc --quiet --max-delay 100 {in} {out}", &input, &opus);
    let opus = std::fs::read(opus).expect("opus");
    for _ in 0..12 {
        let len = 3_000 + random(opus.len() - 3_000);
        let chained = [&opus[..], &opus[..len]].concat();
        for bytes in [&opus[..len], &chained] {
            let path = scratch.write("cut.opus", bytes);
            let wanted = decoded("opusdec", &["--quiet"], &path, 2);
            assert_eq!(frames(&events(bytes)), wanted as u64, "opus cut at {len}");
        }
    }
    for line in [
        "lame --quiet -b 128 {in} {out}",
        "lame --quiet -t -V 3 {in} {out}",
    ] {
        let mp3 = scratch.file("a.mp3");
        run(line, &input, &mp3);
        let mp3 = std::fs::read(mp3).expect("mp3");
        for _ in 0..12 {
            let len = 5_000 + random(mp3.len() - 5_000);
            let from = 1_500 + random(len - 4_000);
            for bytes in [&mp3[..len], &mp3[from..]] {
                let path = scratch.write("cut.mp3", bytes);
                let wanted = decoded("mpg123", &["-q", "-e", "s16", "-s"], &path, 2);
                let got = frames(&events(bytes));
                assert_eq!(got, wanted as u64, "{line}: {from} {len} of {}", mp3.len());
            }
        }
    }
}
