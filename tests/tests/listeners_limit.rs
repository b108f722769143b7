//! `max_listeners` under a storm of joins: never one more, and every place
//! comes back, however its listener left.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::support::{Program, Relay};

const LIMIT: Duration = Duration::from_secs(60);
const STORM: usize = 120;

/// Who joins at once with [`STORM`] others: those who were let in.
fn storm(relay: &Relay, request: &str) -> Vec<TcpStream> {
    let mut sockets: Vec<TcpStream> = (0..STORM)
        .map(|_| TcpStream::connect(relay.address).expect("accepted"))
        .collect();
    for socket in &mut sockets {
        socket.set_read_timeout(Some(LIMIT)).expect("timeout");
        socket.write_all(request.as_bytes()).expect("asked");
    }
    sockets.retain_mut(|socket| {
        let mut status = [0; 12];
        socket.read_exact(&mut status).expect("an answer");
        match &status[9..] {
            b"200" | b"101" => true,
            b"503" => false,
            other => panic!("{:?}", String::from_utf8_lossy(other)),
        }
    });
    sockets
}

fn listeners(relay: &Relay, count: usize) {
    let wanted = format!("\"listeners\":{count},");
    relay.wait_for("/api/mounts/a.mp3", &wanted, LIMIT);
}

#[test]
fn a_storm_of_joins_does_not_pass_the_limit() {
    let relay = Relay::with_config(
        "max_listeners = 9\n[[mount]]\npath = \"/a.mp3\"\nmax_listeners = 5\n\
         [[mount]]\npath = \"/b.mp3\"\n",
    );
    let _sources = ["/a.mp3", "/b.mp3"].map(|name| {
        let source = Program::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i"])
            .args(["sine=440:r=44100:d=600", "-f", "mp3"])
            .arg(relay.icecast_url(name))
            .spawn()
            .expect("ffmpeg");
        relay.wait_for(&format!("/api/mounts{name}"), "\"state\":\"live\"", LIMIT);
        source
    });
    let plain = "GET /a.mp3 HTTP/1.1\r\nHost: x\r\n\r\n";
    let socket = "GET /a.mp3 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for request in [plain, socket, plain] {
        let let_in = storm(&relay, request);
        assert_eq!(let_in.len(), 5);
        listeners(&relay, 5);
        // A question takes no place.
        let head = storm(&relay, &plain.replace("GET", "HEAD"));
        assert!(head.is_empty());
        drop(let_in);
        listeners(&relay, 0);
    }
    // Nor does one that is not answered: bad questions, and who leaves at once.
    let bad = plain.replace("a.mp3", "a.mp3?from=nowhere");
    for _ in 0..20 {
        let mut socket = TcpStream::connect(relay.address).expect("accepted");
        socket.write_all(bad.as_bytes()).expect("asked");
        let mut socket = TcpStream::connect(relay.address).expect("accepted");
        socket.write_all(plain.as_bytes()).expect("asked");
    }
    let until = Instant::now() + LIMIT;
    let full = loop {
        let let_in = storm(&relay, plain);
        assert!(let_in.len() <= 5);
        if let_in.len() == 5 {
            break let_in;
        }
        assert!(Instant::now() < until, "{} places are free", let_in.len());
        drop(let_in);
        listeners(&relay, 0);
    };
    // The relay's own limit: four more on all other mounts.
    let others = storm(&relay, &plain.replace("a.mp3", "b.mp3"));
    assert_eq!((full.len(), others.len()), (5, 4));
    assert_eq!(storm(&relay, plain).len(), 0);
    drop(others);
    drop(full);
    listeners(&relay, 0);
}
