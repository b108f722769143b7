//! What strangers and sources send takes no more of the relay's memory than it may.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::support::Relay;

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// The most memory that the relay has had, in bytes.
fn peak(relay: &Relay) -> u64 {
    let path = format!("/proc/{}/status", relay.process.id());
    let status = std::fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.expect("VmHWM").parse::<u64>().expect("a number") << 10
}

fn connect(relay: &Relay) -> TcpStream {
    let socket = TcpStream::connect(relay.address).expect("listens");
    socket.set_write_timeout(Some(LIMIT)).expect("a timeout");
    socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
    socket
}

#[test]
fn pongs_that_nobody_reads_are_not_kept() {
    let relay = Relay::start();
    let mut socket = connect(&relay);
    let path = format!("/a.opus?token={}", Relay::PASSWORD);
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: seamcast.source.v1\r\n\r\n"
    )
    .expect("sent");
    let mut first = [0; 12];
    socket.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 101");
    let before = peak(&relay);
    // The mask is zero.
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.resize(6 + 125, b'x');
    let pings = ping.repeat(8000);
    for _ in 0..24 {
        socket.write_all(&pings).expect("taken");
    }
    let more = peak(&relay).saturating_sub(before);
    assert!(more < 8 * MIB, "{more} bytes for 24 MiB of pings");
}

#[test]
fn few_long_bodies_are_read_at_once() {
    let relay = Relay::start();
    let before = peak(&relay);
    let len = MIB as usize;
    let mut sockets: Vec<TcpStream> = (0..128).map(|_| connect(&relay)).collect();
    for socket in &mut sockets {
        write!(
            socket,
            "POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"
        )
        .expect("sent");
        socket.set_nonblocking(true).expect("a socket");
    }
    // All but the last byte, as far as it is taken.
    let body = vec![b' '; len - 1];
    let mut sent = vec![0; sockets.len()];
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        for (socket, sent) in sockets.iter_mut().zip(&mut sent) {
            if let Ok(n) = socket.write(&body[*sent..]) {
                *sent += n;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let more = peak(&relay).saturating_sub(before);
    assert!(more < 72 * MIB, "{more} bytes for 128 bodies of 1 MiB");
    // Who waits for a place gets one.
    let last = sent.iter().position(|sent| *sent == body.len());
    drop(sockets.split_off(1 + last.expect("some are whole")));
    let mut socket = connect(&relay);
    write!(
        socket,
        "POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"
    )
    .expect("sent");
    socket.write_all(&vec![b' '; len]).expect("taken");
    let mut first = [0; 12];
    socket.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 404", "no speech service is configured");
}
