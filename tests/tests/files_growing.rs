//! `/files/` while another program writes, and positions in time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::support::http::request;
use tests::support::{
    Encoding, Pcm, Program, Relay, Scratch, encode, ffmpeg_decode, opusdec_decode, require, snr_db,
};

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A writer of its own that appends `bytes` in ten pieces, 60 ms apart, keeping
/// the file open in between.
fn grow(path: &Path, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut file = std::fs::File::create(path).expect("create");
    std::thread::spawn(move || {
        for piece in bytes.chunks(bytes.len().div_ceil(10)) {
            file.write_all(piece).expect("append");
            std::thread::sleep(Duration::from_millis(60));
        }
    })
}

#[test]
fn waiting_follows_the_growth_to_the_end() {
    let relay = Relay::start();
    let bytes = pattern(500_000);
    let writer = grow(&relay.scratch.file("g.raw"), bytes.clone());
    let answer = request(relay.address, "GET", "/files/g.raw?wait=5", "");
    writer.join().expect("writer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-length"), None);
    assert!(
        answer.body == bytes,
        "{} of {} bytes",
        answer.body.len(),
        bytes.len()
    );
}

#[test]
fn the_total_is_unknown_until_the_writer_is_done() {
    let relay = Relay::start();
    let bytes = pattern(300_000);
    let path = relay.scratch.file("g.raw");
    let mut file = std::fs::File::create(&path).expect("create");
    file.write_all(&bytes[..100_000]).expect("write");
    let first = request(relay.address, "GET", "/files/g.raw", "Range: bytes=0-\r\n");
    assert_eq!(
        (first.status, first.header("content-range").as_deref()),
        (206, Some("bytes 0-99999/*"))
    );
    let tag = first.header("etag").expect("a tag");

    // A range at the end waits for growth and gets it.
    let address = relay.address;
    let waiting = std::thread::spawn(move || {
        let headers = format!("Range: bytes=100000-\r\nIf-Range: {tag}\r\n");
        request(address, "GET", "/files/g.raw?wait=20", &headers)
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished());
    file.write_all(&bytes[100_000..200_000]).expect("write");
    let second = waiting.join().expect("answer");
    assert_eq!(
        (second.status, second.header("content-range").as_deref()),
        (206, Some("bytes 100000-199999/*"))
    );
    assert!(second.body == bytes[100_000..200_000]);

    // One that waits when the writer finishes is told the true total at once.
    let waiting = std::thread::spawn(move || {
        let started = Instant::now();
        (
            request(
                address,
                "GET",
                "/files/g.raw?wait=20",
                "Range: bytes=200000-\r\n",
            ),
            started.elapsed(),
        )
    });
    std::thread::sleep(Duration::from_millis(300));
    drop(file);
    let (third, took) = waiting.join().expect("answer");
    assert_eq!(
        (third.status, third.header("content-range").as_deref()),
        (416, Some("bytes */200000"))
    );
    assert!(took < Duration::from_secs(15), "told after {took:?}");
    let fourth = request(relay.address, "GET", "/files/g.raw", "Range: bytes=-5\r\n");
    assert_eq!(
        fourth.header("content-range").as_deref(),
        Some("bytes 199995-199999/200000")
    );
}

#[test]
fn a_live_range_follows_as_in_rfc_8673() {
    let relay = Relay::start();
    let bytes = pattern(400_000);
    let writer = grow(&relay.scratch.file("g.raw"), bytes.clone());
    let answer = request(
        relay.address,
        "GET",
        "/files/g.raw",
        "Range: bytes=1000-9007199254740991\r\n",
    );
    writer.join().expect("writer");
    assert_eq!(answer.status, 206);
    assert_eq!(
        answer.header("content-range").as_deref(),
        Some("bytes 1000-9007199254740991/*")
    );
    assert!(answer.body == bytes[1000..]);
}

#[test]
fn what_a_live_range_begins_behind_is_not_sent_in_its_place() {
    let relay = Relay::start();
    let mut file = std::fs::File::create(relay.scratch.file("g.raw")).expect("create");
    file.write_all(&pattern(1000)).expect("write");
    let answer = request(
        relay.address,
        "GET",
        "/files/g.raw?wait=0.2",
        "Range: bytes=1001-9007199254740991\r\n",
    );
    assert_eq!(answer.status, 416, "{}", answer.head);
}

/// As Chromium and Firefox ask: an element that is told of an end takes the
/// file for finished, so its requests follow without being asked to.
#[test]
fn media_elements_follow_a_growing_file() {
    let relay = Relay::start();
    let bytes = pattern(300_000);
    for (name, from, marks) in [
        ("a.mp3", 0, "Sec-Fetch-Dest: audio\r\n"),
        ("b.mp3", 1000, "Sec-Fetch-Dest: video\r\n"),
        ("c.mp3", 0, "Accept-Encoding: identity;q=1, *;q=0\r\n"),
        (
            "d.mp3",
            7,
            "Accept: audio/webm,audio/ogg,audio/wav,*/*;q=0.5\r\n",
        ),
    ] {
        let writer = grow(&relay.scratch.file(name), bytes.clone());
        let range = format!("Range: bytes={from}-\r\n{marks}");
        let answer = request(relay.address, "GET", &format!("/files/{name}"), &range);
        writer.join().expect("writer");
        let live = format!("bytes {from}-9007199254740991/*");
        let expected = if from == 0 {
            (200, None)
        } else {
            (206, Some(live))
        };
        assert_eq!((answer.status, answer.header("content-range")), expected);
        assert_eq!(answer.header("content-length"), None);
        assert!(
            answer.body == bytes[from..],
            "{name}: {} bytes",
            answer.body.len()
        );
    }
    // What is finished has a length for elements, too.
    let headers = "Range: bytes=299990-\r\nSec-Fetch-Dest: audio\r\n";
    let answer = request(relay.address, "GET", "/files/a.mp3", headers);
    let range = answer.header("content-range");
    assert_eq!(range.as_deref(), Some("bytes 299990-299999/300000"));
}

/// Where in `whole` the audio of `part` begins, near `guess`: the offset at
/// which a stretch of both, past the first frames, is most alike.
fn landing(whole: &Pcm, part: &Pcm, guess: usize) -> i64 {
    const SKIP: usize = 4608;
    let window = part.slice(SKIP, SKIP + 512);
    let candidates = guess - 6000..guess + 1200;
    let alike = |start: usize| {
        let there = whole.slice(start + SKIP, start + SKIP + 512);
        snr_db(&there.samples, &window.samples)
    };
    let best = candidates.max_by(|&a, &b| alike(a).total_cmp(&alike(b)));
    let best = best.expect("candidates");
    assert!(alike(best) > 60.0, "no match: {:.1} dB", alike(best));
    best as i64
}

#[test]
fn positions_are_exact() {
    require(&["ffmpeg", "opusdec"]);
    let relay = Relay::start();
    let noise = Pcm::noise(48_000, 2, 48_000 * 20, 0.3, 7);
    let opus = relay.scratch.file("a.opus");
    let mp3 = relay.scratch.file("a.mp3");
    let wav = relay.scratch.file("a.wav");
    // Pages of one second, as speech services send them.
    encode(
        &noise,
        Encoding::Opus(&["-b:a", "128k", "-page_duration", "1000000"]),
        &opus,
    )
    .expect("opus");
    encode(&noise, Encoding::Mp3(&["-b:a", "192k"]), &mp3).expect("mp3");
    noise.write_wav(&wav);
    let scratch = Scratch::new("positions");
    for pos in [0.0, 0.5, 3.3, 7.777, 12.0, 19.5] {
        let cut = scratch.file("cut.opus");
        let answer = request(
            relay.address,
            "GET",
            &format!("/files/a.opus?pos={pos}"),
            "",
        );
        assert_eq!(answer.status, 200, "{}", answer.head);
        std::fs::write(&cut, &answer.body).expect("write");
        let whole = opusdec_decode(&opus).expect("opusdec");
        let part = opusdec_decode(&cut).expect("opusdec");
        let from = (pos * 48_000.0_f64).round() as usize;
        assert_eq!(part.frames(), whole.frames() - from, "pos={pos}");
        // 80 ms of pre-roll converge to within the codec's own noise.
        let expected = whole.slice(from, whole.frames());
        let snr = snr_db(&expected.samples, &part.samples);
        assert!(snr > 40.0, "pos={pos}: {snr:.1} dB");

        let answer = request(relay.address, "GET", &format!("/files/a.wav?pos={pos}"), "");
        let part = Pcm::from_wav(&answer.body).expect("wav");
        let expected = noise.slice(from, noise.frames());
        assert_eq!(part.samples.len(), expected.samples.len(), "pos={pos}");

        let cut = scratch.file("cut.mp3");
        let answer = request(relay.address, "GET", &format!("/files/a.mp3?pos={pos}"), "");
        std::fs::write(&cut, &answer.body).expect("write");
        // From a pipe, as a stream comes: without a guess at the duration.
        let warnings = Program::new("ffmpeg")
            .args(["-v", "warning", "-i", "pipe:0", "-f", "null", "-"])
            .input(answer.body)
            .run()
            .expect("ffmpeg");
        assert_eq!(warnings.stderr.trim(), "", "pos={pos}");
        let part = ffmpeg_decode(&cut, None, 48_000, 2).expect("ffmpeg");
        let whole = ffmpeg_decode(&mp3, None, 48_000, 2).expect("ffmpeg");
        // The cut begins at most one chunk (100 ms) early, never late.
        // At the very start that is the encoder's delay, which `whole` does not show.
        if pos == 0.0 {
            continue;
        }
        let early = from as i64 - landing(&whole, &part, from);
        assert!(
            (0..=4800).contains(&early),
            "pos={pos}: {early} frames early"
        );
    }
    for pos in ["100", "1e15", "1e300"] {
        let path = format!("/files/a.opus?pos={pos}");
        let beyond = request(relay.address, "GET", &path, "");
        assert_eq!(beyond.status, 200, "pos={pos}");
        assert!(beyond.body.len() < 1000, "pos={pos}");
    }
}

/// A file that was appended to another, or to itself: its links have one serial
/// number, and positions go on from link to link all the same.
#[test]
fn positions_in_a_chain_of_one_serial_number_are_exact() {
    require(&["ffmpeg", "opusdec"]);
    let relay = Relay::start();
    let scratch = Scratch::new("chain");
    let link = |name: &str, secs: usize, seed: u64| {
        let noise = Pcm::noise(48_000, 2, 48_000 * secs, 0.3, seed);
        let file = scratch.file(name);
        let serial = ["-fflags", "+bitexact", "-serial_offset", "7"];
        let options = [&["-b:a", "128k"][..], &serial].concat();
        encode(&noise, Encoding::Opus(&options), &file).expect("opus");
        (
            std::fs::read(&file).expect("read"),
            opusdec_decode(&file).expect("opusdec"),
        )
    };
    let (short, long) = (link("a.opus", 3, 1), link("b.opus", 30, 2));
    assert_eq!(short.0[14..18], long.0[14..18], "one serial number");
    let cut = scratch.file("cut.opus");
    for chain in [[&short, &long], [&long, &short], [&long, &long]] {
        let bytes = [&chain[0].0[..], &chain[1].0[..]].concat();
        std::fs::write(relay.scratch.file("chain.opus"), bytes).expect("write");
        let first = chain[0].1.frames() as f64 / 48_000.0;
        let end = first + chain[1].1.frames() as f64 / 48_000.0;
        for pos in [0.0, 1.5, first - 1.0, first + 1.25, end - 1.0] {
            let path = format!("/files/chain.opus?pos={pos}");
            let answer = request(relay.address, "GET", &path, "");
            assert_eq!(answer.status, 200, "{}", answer.head);
            let mut body = answer.body;
            let (link, within) = if pos < first {
                assert!(body.ends_with(&chain[1].0), "the second link is whole");
                body.truncate(body.len() - chain[1].0.len());
                (chain[0], pos)
            } else {
                (chain[1], pos - first)
            };
            std::fs::write(&cut, &body).expect("write");
            let part = opusdec_decode(&cut).expect("opusdec");
            let from = (within * 48_000.0).round() as usize;
            assert_eq!(part.frames(), link.1.frames() - from, "pos={pos}");
            let expected = link.1.slice(from, link.1.frames());
            let snr = snr_db(&expected.samples, &part.samples);
            assert!(snr > 40.0, "pos={pos}: {snr:.1} dB");
        }
    }
}

#[test]
fn raw_pcm_gets_a_wav_header() {
    let relay = Relay::start();
    let samples: Vec<u8> = (0..16_000i16).flat_map(i16::to_le_bytes).collect();
    std::fs::write(relay.scratch.file("voice.raw"), &samples).expect("write");
    let answer = request(
        relay.address,
        "GET",
        "/files/voice.raw?format=s16le&rate=8000&pos=0.5",
        "",
    );
    assert_eq!(answer.header("content-type").as_deref(), Some("audio/wav"));
    let wav = Pcm::from_wav(&answer.body).expect("wav");
    assert_eq!(
        (wav.sample_rate, wav.channels, wav.frames()),
        (8000, 1, 12_000)
    );
    assert!((wav.samples[0] - 4000.0 / 32_768.0).abs() < 1e-6);
}

#[test]
fn a_ten_gigabyte_file_costs_no_memory() {
    let relay = Relay::start();
    let path = relay.scratch.file("huge.raw");
    std::fs::File::create(&path)
        .and_then(|f| f.set_len(10 << 30))
        .expect("sparse file");
    let memory = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", relay.process.id()))
            .expect("status");
        let line = status
            .lines()
            .find(|l| l.starts_with("VmRSS"))
            .expect("VmRSS");
        line.split_whitespace()
            .nth(1)
            .and_then(|kb| kb.parse().ok())
            .expect("kB")
    };
    let before = memory();
    let mut socket = TcpStream::connect(relay.address).expect("connect");
    socket
        .write_all(b"GET /files/huge.raw HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("write");
    let mut buffer = vec![0; 1 << 20];
    let mut got = 0u64;
    let mut most = 0;
    while got < 2 << 30 {
        got += socket.read(&mut buffer).expect("read") as u64;
        if got % (64 << 20) < buffer.len() as u64 {
            most = most.max(memory());
        }
    }
    drop(socket);
    let tail = request(
        relay.address,
        "GET",
        "/files/huge.raw",
        "Range: bytes=-10\r\n",
    );
    assert_eq!(tail.body, [0; 10]);
    assert!(
        most.saturating_sub(before) < 16 * 1024,
        "grew by {} kB",
        most - before
    );
}
