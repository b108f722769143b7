//! Measures time shift and recording: where seeks land and how soon they
//! play, and what recording a hundred mounts costs.
//!
//! ```text
//! bench-time [--seeks N] [--mounts N] [--secs S]
//! ```
//!
//! Results go to `target/bench/time.json`. `SEAMCAST_RELAY` names the relay
//! binary, else it is built now. The cost of recording is that of the same
//! relay with the same sources less that without recording.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use tests::support::{Encoding, Pcm, Relay, Scratch, Seeded, artefact_dir, encode};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// Length of the programme that is sought in, seconds.
const PROGRAMME: usize = 120;
const TICKS: f64 = 705_600_000.0;

fn main() -> Result<()> {
    let (mut seeks, mut mounts, mut secs) = (200, 100, 20);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{flag} needs a number"))?;
        match flag.as_str() {
            "--seeks" => seeks = value.parse()?,
            "--mounts" => mounts = value.parse()?,
            "--secs" => secs = value.parse()?,
            other => bail!("unknown option {other}; see the head of this program"),
        }
    }
    let rows = seek_rows(seeks)?;
    println!("| seek | n | error, median | worst | chunk | first chunk, median | p95 | worst |");
    println!("|---|---|---|---|---|---|---|---|");
    for row in &rows {
        let number = |name: &str| row[name].as_f64().unwrap_or_default();
        println!(
            "| {} | {} | {:.1} ms | {:.1} ms | {:.0} ms | {:.1} ms | {:.1} ms | {:.1} ms |",
            row["name"].as_str().unwrap_or_default(),
            row["n"],
            number("error_median_ms"),
            number("error_worst_ms"),
            number("chunk_ms"),
            number("wait_median_ms"),
            number("wait_p95_ms"),
            number("wait_worst_ms"),
        );
    }
    let without = cost(mounts, secs, false)?;
    let with = cost(mounts, secs, true)?;
    let recording = with - without;
    println!("\n{mounts} mounts at 128 kb/s for {secs} s: {with:.2} % of a core with recording,");
    println!("{without:.2} % without: recording costs {recording:.2} %");
    let folder = artefact_dir("bench");
    let results = json!({ "seeks": rows, "recording": {
        "mounts": mounts, "with_percent": with, "without_percent": without,
        "percent_of_a_core": recording,
    }});
    std::fs::write(folder.join("time.json"), results.to_string())?;
    Ok(())
}

fn media(seconds: usize, bitrate: &str) -> Result<Vec<u8>> {
    let scratch = Scratch::new("bench-time");
    let file = scratch.file("source.opus");
    let pcm = Pcm::noise(48_000, 2, 48_000 * seconds, 0.2, 3);
    encode(&pcm, Encoding::Opus(&["-b:a", bitrate]), &file).map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(std::fs::read(file)?)
}

fn source(relay: &Relay, path: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(relay.address)?;
    let user = format!("source:{}", Relay::PASSWORD);
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    write!(
        socket,
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\n\r\n"
    )?;
    Ok(socket)
}

fn state(relay: &Relay, path: &str) -> Result<Value> {
    Ok(serde_json::from_str(
        &relay.fetch(&format!("/api/mounts{path}")).1,
    )?)
}

fn recorded(relay: &Relay, path: &str, seconds: f64) -> Result<()> {
    relay.wait_for("/api/mounts", path, Duration::from_secs(30));
    let until = Instant::now() + Duration::from_secs(60);
    while state(relay, path)?["recording"]["seconds"].as_f64() < Some(seconds) {
        ensure!(Instant::now() < until, "{path} is not recorded");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

// ---- seeks ----

fn seek_rows(n: usize) -> Result<Vec<Value>> {
    let relay = Relay::with_config("[defaults]\nrecord = true\nhistory = \"30s\"\n");
    let media = media(PROGRAMME, "128k")?;
    let (most, rest) = media.split_at(media.len() * 9 / 10);
    let mut socket = source(&relay, "/a.opus")?;
    socket.write_all(most)?;
    recorded(&relay, "/a.opus", PROGRAMME as f64 * 0.85)?;
    socket.write_all(rest)?;
    recorded(&relay, "/a.opus", PROGRAMME as f64 - 1.0)?;
    let mut random = Seeded::new(11);
    let mut target =
        |from: usize, to: usize| from as f64 + random.below((to - from) * 1000) as f64 / 1000.0;
    let end = PROGRAMME;
    let mut rows = Vec::new();
    let mut open = connect(&relay, "/a.opus")?;
    for (name, from, to) in [
        ("`seek`, recording", 0, end - 40),
        ("`seek`, memory", end - 25, end - 2),
    ] {
        let mut landed = Vec::new();
        for _ in 0..n {
            let target = target(from, to);
            let began = Instant::now();
            open.send(Message::text(
                json!({ "type": "seek", "from": format!("{target:.3}") }).to_string(),
            ))?;
            landed.push(first_chunk(&mut open, target, began, true)?);
        }
        rows.push(row(name, &landed));
    }
    for (name, from, to) in [
        ("`?from=`, WebSocket, recording", 0, end - 40),
        ("`?from=`, WebSocket, memory", end - 25, end - 2),
    ] {
        let mut landed = Vec::new();
        for _ in 0..n {
            let target = target(from, to);
            let began = Instant::now();
            let mut socket = connect(&relay, &format!("/a.opus?from={target:.3}"))?;
            landed.push(first_chunk(&mut socket, target, began, false)?);
        }
        rows.push(row(name, &landed));
    }
    rows.push(row(
        "`?from=`, HTTP, recording",
        &http(&relay, n, || target(0, end - 40))?,
    ));
    Ok(rows)
}

/// Where a seek landed: error, length of the chunk, time it took.
struct Landed {
    error_ms: f64,
    chunk_ms: f64,
    wait_ms: f64,
}

fn connect(relay: &Relay, path: &str) -> Result<WebSocket<TcpStream>> {
    let mut request = relay.ws_url(path).into_client_request()?;
    let name = seamcast_protocol::LISTENER_SUBPROTOCOL.parse()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", name);
    let stream = TcpStream::connect(relay.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (socket, _) = tungstenite::client(request, stream).map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(socket)
}

/// The first chunk, after the seek's gap if there was a `seek`.
fn first_chunk(
    socket: &mut WebSocket<TcpStream>,
    target: f64,
    began: Instant,
    mut sought: bool,
) -> Result<Landed> {
    loop {
        match socket.read()? {
            Message::Text(text) if text.contains("\"reason\":\"seek\"") => sought = false,
            Message::Binary(bytes) if !sought => {
                let wait_ms = began.elapsed().as_secs_f64() * 1000.0;
                let (header, _) = seamcast_protocol::chunk::Header::decode(&bytes)?;
                let at = header.media_time as f64 / TICKS;
                let length = header.duration as f64 / TICKS;
                ensure!(
                    at <= target && target < at + length,
                    "{target} s led to the chunk from {at} s on, {length} s long"
                );
                return Ok(Landed {
                    error_ms: (target - at) * 1000.0,
                    chunk_ms: length * 1000.0,
                    wait_ms,
                });
            }
            _ => {}
        }
    }
}

/// Joins by plain HTTP: the time to the first page of audio.
fn http(relay: &Relay, n: usize, mut target: impl FnMut() -> f64) -> Result<Vec<Landed>> {
    let mut landed = Vec::new();
    for _ in 0..n {
        let target = target();
        let began = Instant::now();
        let mut socket = TcpStream::connect(relay.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(socket, "GET /a.opus?from={target:.3} HTTP/1.0\r\n\r\n")?;
        let mut got = Vec::new();
        let mut block = [0; 4096];
        // Identification, tags, audio.
        let (at, granule) = loop {
            let read = socket.read(&mut block)?;
            ensure!(read > 0, "the stream ended");
            got.extend_from_slice(&block[..read]);
            let mut pages = got
                .windows(14)
                .enumerate()
                .filter(|(_, w)| w.starts_with(b"OggS"));
            if let Some((_, page)) = pages.nth(2) {
                let granule = page[6..14].try_into().map(u64::from_le_bytes)?;
                break (began.elapsed(), granule);
            }
        };
        // A page's granule is its end; it has 100 ms, and the pre-skip is 312 frames.
        let end = granule.saturating_sub(312) as f64 / 48_000.0;
        landed.push(Landed {
            error_ms: (target - (end - 0.1)).max(0.0) * 1000.0,
            chunk_ms: 100.0,
            wait_ms: at.as_secs_f64() * 1000.0,
        });
    }
    Ok(landed)
}

fn row(name: &str, landed: &[Landed]) -> Value {
    let sorted = |of: fn(&Landed) -> f64| {
        let mut all: Vec<f64> = landed.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (errors, waits) = (sorted(|l| l.error_ms), sorted(|l| l.wait_ms));
    let at = |all: &[f64], part: f64| {
        let last = all.len().saturating_sub(1);
        all.get((last as f64 * part) as usize)
            .copied()
            .unwrap_or(0.0)
    };
    json!({
        "name": name,
        "n": landed.len(),
        "error_median_ms": at(&errors, 0.5),
        "error_worst_ms": at(&errors, 1.0),
        "chunk_ms": at(&sorted(|l| l.chunk_ms), 1.0),
        "wait_median_ms": at(&waits, 0.5),
        "wait_p95_ms": at(&waits, 0.95),
        "wait_worst_ms": at(&waits, 1.0),
    })
}

// ---- the cost of recording ----

/// Share of a core, in percent, that the relay takes with so many sources.
fn cost(mounts: usize, secs: u64, record: bool) -> Result<f64> {
    let relay = Relay::with_config(&format!(
        "max_mounts = {}\n[defaults]\nrecord = {record}\nhistory = \"5s\"\n",
        mounts + 10
    ));
    let seconds = secs as usize + 15;
    let media = media(seconds, "128k")?;
    let mut sockets = Vec::new();
    for mount in 0..mounts {
        sockets.push(source(&relay, &format!("/m{mount}.opus"))?);
    }
    // In real time, a tenth of a second at a time, all alike.
    let piece = media.len() / (seconds * 10);
    let began = Instant::now();
    let mut from = None;
    for (turn, bytes) in media.chunks(piece).enumerate() {
        let due = Duration::from_millis(turn as u64 * 100);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        for socket in &mut sockets {
            socket.write_all(bytes)?;
        }
        // The start, with its files made and headers read, is not measured.
        if turn == 50 {
            from = Some((Instant::now(), used(&relay)?));
        }
        if let Some((since, before)) = from
            && since.elapsed() >= Duration::from_secs(secs)
        {
            let used = used(&relay)? - before;
            return Ok(used / since.elapsed().as_secs_f64() * 100.0);
        }
    }
    bail!("the sources ran dry")
}

/// Processor seconds of the relay so far.
fn used(relay: &Relay) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", relay.process.id()))?;
    let fields = stat.rsplit_once(')').context("no stat")?.1;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    // 100 a second on Linux.
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
