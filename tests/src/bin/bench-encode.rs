//! Encoding speed of the ingest beside ffmpeg's libopus and libmp3lame, by
//! processor time, and how many live PCM mounts one core carries; the way from
//! a source's last sample to a listener; many RTP inputs at once.
//! `bench-encode [ROUNDS] [--inputs N]`. Results also in `target/bench/encode.json`.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use relay_server::ingest::media_type::Declared;
use relay_server::ingest::pcm::{Pipeline, Settings};
use relay_server::ingest::session::{Config, Output, Session};
use seamcast_media::demux::{Codec, Demuxer, Event};
use seamcast_media::pcm::SampleFormat;
use seamcast_media::rtp::Packet;
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_media::wav;
use serde_json::{Value, json};
use tests::support::http::request;
use tests::support::{Program, Relay, Scratch, artefact_dir, require};

/// Broadband stereo of one minute, as the decoding benchmark's.
const MUSIC: &str = "aevalsrc='0.2*sin(220*2*PI*t)*(0.6+0.4*sin(3*t))+0.1*sin(1760*2*PI*t)*sin(5*t)+0.15*random(0)*exp(-8*mod(t,0.5))|0.2*sin(330*2*PI*t)+0.1*sin(2640*2*PI*t)*cos(4*t)+0.15*random(1)*exp(-8*mod(t+0.25,0.5))':s=48000:d=60";
/// The least ratio of medians wanted.
const TARGET: f64 = 0.95;
/// A chunk's way may take this much more than its duration.
const TARGET_LATENCY_MS: f64 = 30.0;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rounds = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(5);
    let inputs = args.iter().position(|arg| arg == "--inputs");
    let inputs = inputs.and_then(|at| args.get(at + 1)?.parse().ok());
    require(&["ffmpeg"]);
    let scratch = Scratch::new("bench-encode");
    let pcm = scratch.file("music.raw");
    Program::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", MUSIC, "-f", "s16le"])
        .arg(&pcm)
        .run()?;
    let mut rows = Vec::new();
    for (name, codec, encoder, more) in [
        ("opus", Codec::Opus, "libopus", ["-compression_level", "9"]),
        ("mp3", Codec::Mp3, "libmp3lame", ["-compression_level", "5"]),
    ] {
        rows.push(encode(name, codec, encoder, &more, &pcm, rounds)?);
    }
    let latency = latency()?;
    let rtp = rtp(inputs.unwrap_or(500))?;
    let value = json!({"benchmark": "encode", "rows": rows, "latency": latency, "rtp": rtp});
    let path = artefact_dir("bench").join("encode.json");
    std::fs::write(&path, serde_json::to_string_pretty(&value)?)?;
    println!("results: {}", path.display());
    Ok(())
}

const BITRATE: u32 = 128_000;

fn settings(codec: Codec, bitrate: u32) -> Settings {
    Settings {
        codec,
        bitrate,
        complexity: 9,
        chunk_ms: 100,
    }
}

fn format(sample_rate: u32, channels: u16) -> wav::Format {
    wav::Format {
        sample: SampleFormat::S16le,
        sample_rate,
        channels,
    }
}

/// Times real time of one codec, ours and ffmpeg's, turn by turn.
fn encode(
    name: &str,
    codec: Codec,
    encoder: &str,
    more: &[&str],
    file: &Path,
    rounds: usize,
) -> Result<Value> {
    let pcm = std::fs::read(file)?;
    let seconds = pcm.len() as f64 / (48_000.0 * 4.0);
    let (mut ours, mut theirs, mut carried) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        let begin = busy()?;
        let mut pipeline = Pipeline::new(format(48_000, 2), settings(codec, BITRATE))?;
        let mut packets = 0_usize;
        // 20 ms at a time, as a live source sends.
        for piece in pcm.chunks(48 * 20 * 4) {
            pipeline.push(piece)?;
            while pipeline.poll().is_some() {
                packets += 1;
            }
        }
        pipeline.finish()?;
        ensure!(packets > 100, "nothing was encoded");
        ours.push(seconds / (busy()? - begin));
        let alone = ffmpeg(file, &["-c:a", "pcm_s16le"])?;
        let bitrate = (BITRATE / 1000).to_string() + "k";
        let arguments = [&["-c:a", encoder, "-b:a", &bitrate][..], more].concat();
        // Without what reading the file costs it.
        theirs.push(seconds / (ffmpeg(file, &arguments)? - alone).max(1e-3));
        carried.push(speech_mount(codec, &pcm)?);
    }
    let (ours_m, theirs_m, carried_m) = (median(&ours), median(&theirs), median(&carried));
    let ratio = ours_m / theirs_m;
    let verdict = if ratio >= TARGET { "reached" } else { "missed" };
    println!(
        "{name}: 48 kHz stereo {BITRATE} bit/s: {ours_m:.0} × real time per core; ffmpeg's {encoder} \
         {theirs_m:.0} ×; ratio {ratio:.2}, target {TARGET}: {verdict}"
    );
    println!("{name}: one core carries {carried_m:.0} live mounts of 24 kHz mono PCM");
    Ok(json!({
        "codec": name, "ours": ours_m, "ffmpeg": theirs_m, "ratio": ratio, "target": TARGET,
        "runs": { "ours": ours, "ffmpeg": theirs }, "mounts_per_core": carried_m,
    }))
}

/// Processor seconds of ffmpeg.
fn ffmpeg(file: &Path, codec: &[&str]) -> Result<f64> {
    let done = Program::new("ffmpeg")
        .args(["-nostdin", "-benchmark", "-threads", "1"])
        .args(["-f", "s16le", "-ar", "48000", "-ac", "2", "-i"])
        .arg(file)
        .args(codec)
        .args(["-f", "null", "-"])
        .run()?;
    let said = done.stderr;
    let field = |name: &str| {
        let (_, rest) = said.rsplit_once(name)?;
        rest.split('s').next()?.parse::<f64>().ok()
    };
    let user = field("utime=").context("ffmpeg said no utime")?;
    Ok(user + field("stime=").unwrap_or(0.0))
}

/// How many sources of speech, from bytes to chunks, fit in one core.
fn speech_mount(codec: Codec, pcm: &[u8]) -> Result<f64> {
    // Every fourth sample of both channels: 24 kHz mono.
    let mono: Vec<u8> = pcm.chunks_exact(8).flat_map(|f| [f[0], f[1]]).collect();
    let seconds = mono.len() as f64 / 48_000.0;
    let begin = busy()?;
    let mut session = Session::new(Config {
        declared: Declared::Pcm(format(24_000, 1)),
        encode: settings(codec, 0),
        chunk: MediaDuration::from_millis(100),
    })?;
    let mut chunks = 0;
    for piece in mono.chunks(24 * 20 * 2) {
        session.push(piece)?;
        while let Some(output) = session.poll() {
            match output {
                Output::Begin => session.begin(MediaTime::ZERO, 1),
                Output::Media(_) => chunks += 1,
            }
        }
    }
    ensure!(chunks > 100, "{chunks} chunks");
    Ok(seconds / (busy()? - begin))
}

/// From the last sample of a chunk that is written to the chunk at a listener.
fn latency() -> Result<Value> {
    const RATE: usize = 24_000;
    const SECONDS: usize = 10;
    let relay = Relay::start();
    let mut source = TcpStream::connect(relay.address)?;
    source.set_nodelay(true)?;
    let user = format!("source:{}", Relay::PASSWORD);
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    write!(
        source,
        "PUT /l.opus?format=s16le&rate={RATE}&channels=1 HTTP/1.1\r\nHost: x\r\n\
         Content-Type: audio/x-raw\r\nAuthorization: Basic {user}\r\n\r\n"
    )?;
    let address = relay.address;
    let listener = std::thread::spawn(move || listen(address));
    let start = Instant::now();
    let mut written = Vec::new();
    for piece in 0..SECONDS * 100 {
        // 10 ms at a time.
        let due = start + Duration::from_millis(10) * piece as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let samples = (0..RATE / 100).map(|n| {
            let t = (piece * RATE / 100 + n) as f64 / RATE as f64;
            (8000.0 * (std::f64::consts::TAU * 300.0 * t).sin()) as i16
        });
        let bytes: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
        source.write_all(&bytes)?;
        written.push(Instant::now());
    }
    drop(source);
    let heard = listener.join().map_err(|_| anyhow::anyhow!("listener"))??;
    let mut over: Vec<f64> = Vec::new();
    for (end_ms, at) in heard {
        // The piece that holds the last sample before `end_ms`.
        let piece = (end_ms / 10.0).ceil() as usize;
        if let Some(written) = piece.checked_sub(1).and_then(|p| written.get(p)) {
            over.push(at.saturating_duration_since(*written).as_secs_f64() * 1e3);
        }
    }
    ensure!(over.len() > 50, "{} chunks came", over.len());
    over.sort_by(f64::total_cmp);
    let at = |part: f64| over[((over.len() - 1) as f64 * part) as usize];
    let verdict = if at(0.95) <= TARGET_LATENCY_MS {
        "reached"
    } else {
        "missed"
    };
    println!(
        "latency: last sample written to chunk of 100 ms at a listener: median {:.1} ms, p95 {:.1} ms, \
         max {:.1} ms; target {TARGET_LATENCY_MS} ms: {verdict}",
        at(0.5),
        at(0.95),
        at(1.0)
    );
    Ok(
        json!({"chunks": over.len(), "median_ms": at(0.5), "p95_ms": at(0.95), "max_ms": at(1.0), "target_ms": TARGET_LATENCY_MS}),
    )
}

/// Ends of what has come so far in ms of the programme, and when each came.
fn listen(address: std::net::SocketAddr) -> Result<Vec<(f64, Instant)>> {
    let mut socket = loop {
        let mut socket = TcpStream::connect(address)?;
        write!(socket, "GET /l.opus?from=start HTTP/1.0\r\n\r\n")?;
        let mut first = [0; 12];
        socket.read_exact(&mut first)?;
        if &first == b"HTTP/1.0 200" || &first == b"HTTP/1.1 200" {
            break socket;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut demuxer = Demuxer::new();
    let mut head = Vec::new();
    let mut in_body = false;
    let (mut buffer, mut heard, mut skip) = ([0; 16_384], Vec::new(), 0);
    loop {
        let len = socket.read(&mut buffer)?;
        let now = Instant::now();
        if len == 0 {
            return Ok(heard);
        }
        if in_body {
            demuxer.push(&buffer[..len]);
        } else {
            head.extend_from_slice(&buffer[..len]);
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                demuxer.push(&head[at + 4..]);
                in_body = true;
            }
        }
        let mut end = None;
        while let Some(event) = demuxer.poll() {
            match event {
                Event::Config(config) => skip = u64::from(config.pre_skip),
                Event::Packet(packet) => end = Some(packet.start.0 + u64::from(packet.duration)),
                _ => {}
            }
        }
        if let Some(end) = end {
            heard.push((end.saturating_sub(skip) as f64 / 48.0, now));
        }
    }
}

/// `count` RTP inputs of Opus at 50 packets a second each.
fn rtp(count: usize) -> Result<Value> {
    const SECONDS: usize = 10;
    let ports: Vec<u16> = (0..count).map(|n| 23_000 + 2 * n as u16).collect();
    let config: String = ports
        .iter()
        .enumerate()
        .map(|(n, port)| {
            format!(
                "[[input]]\nkind = \"rtp\"\nmount = \"/r{n}.opus\"\nlisten = \"127.0.0.1:{port}\"\n\
                 payload_types = [\"97=opus/48000/2\"]\ntimeout = \"60s\"\n"
            )
        })
        .collect();
    let relay = Relay::with_config(&format!("max_mounts = 2000\n{config}"));
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let begin = process_busy(relay.process.id())?;
    let backlog = backlog_drops()?;
    let start = Instant::now();
    for number in 0..SECONDS * 50 {
        for (n, port) in ports.iter().enumerate() {
            // Spread over the 20 ms, as calls are.
            if n % 25 == 0 {
                let due = start
                    + Duration::from_millis(20) * number as u32
                    + Duration::from_micros(20_000 * n as u64 / count as u64);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            // 20 ms of CELT, some 96 kbit/s.
            let mut payload = [0x5a; 240];
            payload[0] = 0xf8;
            let packet = Packet {
                payload_type: 97,
                marker: number == 0,
                sequence: number as u16,
                rtp_time: number as u32 * 960,
                ssrc: n as u32 + 1,
                payload: &payload,
            };
            socket.send_to(&packet.to_bytes(), ("127.0.0.1", *port))?;
        }
    }
    let took = start.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(500));
    let cores = (process_busy(relay.process.id())? - begin) / took;
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let answer = request(relay.address, "GET", "/api/inputs", &token);
    let all: Value = serde_json::from_slice(&answer.body)?;
    let sum = |pointer: &str| -> u64 {
        let inputs = all.as_array().into_iter().flatten();
        inputs.filter_map(|i| i.pointer(pointer)?.as_u64()).sum()
    };
    let sent = (SECONDS * 50 * count) as u64;
    let (received, lost) = (sum("/packets"), sum("/rtp/lost"));
    // Where they were lost: at the relay's sockets, or in the kernel before them
    // (its queue per core, when this sender caught up after it had to wait).
    let (at_sockets, before) = (socket_drops(&ports)?, backlog_drops()? - backlog);
    let verdict = if received == sent && lost == 0 {
        "reached"
    } else {
        "missed"
    };
    println!(
        "rtp: {count} inputs × 50 packets/s for {took:.1} s: {sent} sent, {received} received, \
         {lost} lost ({at_sockets} at the relay's sockets, {before} in the kernel's queue before), \
         {cores:.2} cores; target no loss: {verdict}"
    );
    Ok(
        json!({"inputs": count, "sent": sent, "received": received, "lost": lost, "dropped_at_sockets": at_sockets, "dropped_before": before, "seconds": took, "cores": cores}),
    )
}

/// Datagrams that found the buffers of these ports full.
fn socket_drops(ports: &[u16]) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/udp")?;
    let drops = text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let drops: u64 = fields.last()?.parse().ok()?;
        ports.contains(&port).then_some(drops)
    });
    Ok(drops.sum())
}

/// Packets that the kernel's queues of all cores had no room for.
fn backlog_drops() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/softnet_stat")?;
    let second = text.lines().filter_map(|line| line.split(' ').nth(1));
    let drops = second.filter_map(|field| u64::from_str_radix(field, 16).ok());
    Ok(drops.sum())
}

/// Seconds of processor time this thread has used.
fn busy() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: f64 = text.split(' ').next().unwrap_or("").parse()?;
    Ok(nanos / 1e9)
}

/// Seconds of processor time a process has used, in hundredths.
fn process_busy(id: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, rest) = text.rsplit_once(')').context("no stat")?;
    let fields: Vec<f64> = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .flat_map(str::parse)
        .collect();
    Ok(fields.iter().sum::<f64>() / 100.0)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
