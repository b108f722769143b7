//! A chunk is at its listener as soon as its last sample was written: the
//! encoder waits for no more.

mod relay_common;

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use relay_common::Socket;
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::chunk::Header;
use tests::support::Relay;
use tokio_tungstenite::tungstenite::Message;

/// Written at a time.
const PIECE: Duration = Duration::from_millis(10);
const PIECES: u32 = 400;
/// Half of all chunks must be faster. On an idle machine the slowest takes
/// 5 ms (`cargo xtask bench encode`); one that waits for the next chunk takes
/// 100 ms, but this machine may be busy.
const MOST: Duration = Duration::from_millis(80);

#[test]
fn a_chunk_leaves_with_its_last_sample() {
    let relay = Relay::start();
    let mut source = TcpStream::connect(relay.address).expect("connect");
    source.set_nodelay(true).expect("nodelay");
    let head = format!(
        "PUT /l.opus?format=s16le&rate=24000&channels=1 HTTP/1.1\r\nHost: x\r\n\
         Content-Type: audio/x-raw\r\nAuthorization: Bearer {}\r\n\r\n",
        Relay::PASSWORD
    );
    source.write_all(head.as_bytes()).expect("head");
    let sender = std::thread::spawn(move || {
        let start = Instant::now();
        let mut written = Vec::new();
        for piece in 0..PIECES {
            let due = start + PIECE * piece;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            source.write_all(&[0; 480]).expect("samples");
            written.push(Instant::now());
        }
        written
    });
    relay.wait_for(
        "/api/mounts/l.opus",
        "\"live\":true",
        Duration::from_secs(20),
    );
    let mut listener = Socket::open(&relay, "/l.opus?from=live", Some("seamcast.v1"));
    let mut heard = Vec::new();
    while let Some(message) = listener.next() {
        let now = Instant::now();
        if let Message::Binary(chunk) = message {
            let (header, _) = Header::decode(&chunk).expect("chunk");
            let end = MediaTime::from_ticks(header.media_time)
                + MediaDuration::from_ticks(header.duration);
            heard.push((end.as_secs_f64(), now));
        }
    }
    let written = sender.join().expect("the source");
    // What was there at the join came late by intent: the burst.
    let mut late: Vec<Duration> = heard
        .iter()
        .filter_map(|(end, at)| {
            let last = (end / PIECE.as_secs_f64()).ceil() as usize;
            let written = written.get(last.checked_sub(1)?)?;
            Some(at.saturating_duration_since(*written))
        })
        .skip(heard.len() / 4)
        .collect();
    late.sort();
    assert!(late.len() > 10, "{} chunks", late.len());
    let median = late[late.len() / 2];
    assert!(
        median < MOST,
        "half of the chunks took {median:?}: {late:?}"
    );
}
