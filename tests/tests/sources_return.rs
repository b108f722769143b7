//! Sources that are lost and come back, and those that take over.

mod relay_common;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use relay_common::{Socket, exchange, mount, read_for, tone};
use tests::support::{Program, Relay, require};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_lost_source_is_waited_for_and_may_return() {
    require(&["ffmpeg"]);
    let relay = Relay::with_config("[defaults]\ngrace = \"3s\"\n");
    let publish = || {
        let mut args = tone(60.0);
        args.insert(2, "-re".into());
        Program::new("ffmpeg")
            .args(args)
            .args([
                "-c:a",
                "libopus",
                "-f",
                "ogg",
                "-flush_packets",
                "1",
                "-page_duration",
                "20000",
            ])
            .arg(relay.icecast_url("/live.opus"))
            .spawn()
            .expect("ffmpeg")
    };
    let mut source = publish();
    relay.wait_for("/api/mounts", "/live.opus", LONG);
    let mut listener = Socket::open(&relay, "/live.opus", Some("seamcast.v1"));
    listener.control("config");
    source.kill();
    assert_eq!(listener.control("offline")["grace_ms"], 3000);
    assert_eq!(mount(&relay, "/live.opus")["state"], "offline");
    let mut source = publish();
    listener.control("online");
    assert_eq!(listener.control("config")["generation"], 2);
    source.kill();
    listener.control("offline");
    assert_eq!(listener.control("end")["reason"], "source_lost");
    assert_eq!(listener.close_code(), Some(seamcast_protocol::close::ENDED));
    assert_eq!(mount(&relay, "/live.opus")["state"], "ended");
}

#[test]
fn a_second_source_takes_over_or_is_told_to_wait() {
    let config = "[[mount]]\npath = \"/only.opus\"\ntakeover = false\n";
    let relay = Relay::with_config(config);
    let raw = "Content-Type: audio/x-raw;format=s16le;rate=48000;channels=1";
    let head = |path: &str| {
        format!(
            "SOURCE {path} HTTP/1.0\r\nAuthorization: Bearer {}\r\n{raw}\r\n\r\n",
            Relay::PASSWORD
        )
    };
    let start = |path: &str| {
        let mut socket = TcpStream::connect(relay.address).expect("connect");
        socket.write_all(head(path).as_bytes()).expect("head");
        socket.write_all(&[0; 48_000]).expect("audio");
        socket
    };
    let _first = start("/only.opus");
    relay.wait_for("/api/mounts", "/only.opus", LONG);
    let answer = exchange(&relay, head("/only.opus").as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 409 ") && answer.contains("/only.opus"),
        "{answer}"
    );

    // The source that is there may ask for it, too.
    let _first_of_asked = start("/asked.opus?takeover=false");
    relay.wait_for("/api/mounts", "/asked.opus", LONG);
    let answer = exchange(&relay, head("/asked.opus").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");

    let mut first = start("/both.opus");
    relay.wait_for("/api/mounts", "/both.opus", LONG);
    let _second = start("/both.opus");
    // The first one's connection is closed; its audio stays before the second's.
    let rest = read_for(&mut first, Duration::from_secs(5));
    assert!(String::from_utf8_lossy(&rest).starts_with("HTTP/1.0 200 OK"));
    let about = mount(&relay, "/both.opus");
    assert_eq!(
        (&about["generation"], &about["stats"]["sources"]),
        (&2.into(), &2.into())
    );
    assert_eq!(about["stats"]["losses"], 0);
}
