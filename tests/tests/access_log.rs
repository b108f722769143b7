//! The access log tells who listened, for how long and to how many bytes, and loses nobody when
//! the relay ends.

mod relay_common;

use std::time::Duration;

use relay_common::Socket;
use tests::support::{Program, Relay, RelayOptions, Scratch, require};

/// The fields of a line: those in quotes or brackets are one.
fn fields(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut end = None;
    for c in line.chars() {
        match (end, c) {
            (None, ' ') => all.push(String::new()),
            (None, '"') => end = Some('"'),
            (None, '[') => end = Some(']'),
            (Some(closing), c) if c == closing => end = None,
            (_, c) => all.last_mut().expect("one at least").push(c),
        }
    }
    all
}

#[test]
fn who_listened_is_told_with_bytes_and_seconds() {
    require(&["curl"]);
    let scratch = Scratch::new("access-log");
    let file = scratch.file("access.log");
    let mut relay = Relay::start_with(&RelayOptions {
        args: vec![
            "--demo".into(),
            "--access-log".into(),
            file.display().to_string(),
            "--proxies".into(),
            "127.0.0.1".into(),
        ],
        ..RelayOptions::default()
    });
    relay.wait_for("/api/mounts", "/demo.opus", Duration::from_secs(20));
    let heard = Program::new("curl")
        .args(["-sS", "-m", "3", "-A", "Radio \"One\"/1.0"])
        .args(["-H", "X-Forwarded-For: 198.51.100.4, 203.0.113.9"])
        .args(["-e", "https://page.example/", "-u", "ann:secret"])
        .arg(relay.url("/demo.opus?token=secret&from=live"))
        .limit(Duration::from_secs(30))
        .finish()
        .expect("curl")
        .stdout
        .len();
    assert!(heard > 10_000, "{heard} bytes");
    let mut socket = Socket::open(&relay, "/demo.mp3", Some("seamcast.v1"));
    assert!(socket.next().is_some());
    // One is still there when the relay ends, and says nothing to its goodbye.
    let mut deaf = std::net::TcpStream::connect(relay.address).expect("connected");
    std::io::Write::write_all(&mut deaf, b"GET /demo.mp3 HTTP/1.0\r\n\r\n").expect("asked");
    std::io::Read::read_exact(&mut deaf, &mut [0; 1000]).expect("audio");
    relay.process.signal(15);
    let ended = relay
        .process
        .wait(Duration::from_secs(60))
        .expect("it ends");
    assert!(ended.status.success(), "{}", ended.stderr);

    let text = std::fs::read_to_string(&file).expect("the log");
    let lines: Vec<_> = text.lines().map(fields).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines.iter().all(|line| line.len() == 10), "{text}");
    let of = |target: &str, version: &str| {
        let request = format!("GET {target} {version}");
        let found = lines.iter().find(|line| line[4] == request);
        found.unwrap_or_else(|| panic!("no {request} in {text}"))
    };
    let curl = of("/demo.opus?from=live", "HTTP/1.1");
    assert_eq!([&curl[0], &curl[1], &curl[2]], ["203.0.113.9", "-", "ann"]);
    assert_eq!(curl[5], "200");
    let bytes: usize = curl[6].parse().expect("a number");
    // What curl took, the response's head, its chunks' sizes, and what was on its way.
    assert!(
        bytes >= heard && bytes < heard + heard / 10 + 40_000,
        "{bytes} of {heard}"
    );
    assert_eq!(curl[7], "https://page.example/");
    assert!(
        (2..=30).contains(&curl[9].parse::<u64>().expect("seconds")),
        "{text}"
    );
    let framed = of("/demo.mp3", "HTTP/1.1");
    assert_eq!([&framed[0], &framed[5]], ["127.0.0.1", "101"]);
    let plain = of("/demo.mp3", "HTTP/1.0");
    assert_eq!([&plain[5], &plain[8]], ["200", "-"]);
    assert!(!text.contains("secret"), "{text}");
}
