//! `relay-server publish`: folders of every kind as one stream, and packets.

use std::net::UdpSocket;
use std::time::Duration;

use tests::support::{
    Encoding, Pcm, Program, Relay, Scratch, align, encode, opusdec_decode, require,
};

const LIMIT: Duration = Duration::from_secs(60);

fn url(relay: &Relay, path: &str) -> String {
    let user = format!("://source:{}@", Relay::PASSWORD);
    relay.url(path).replace("://", &user)
}

fn heard(relay: &Relay, path: &str, scratch: &Scratch) -> Pcm {
    let file = scratch.file("heard");
    let _ = Program::new("curl")
        .args(["-sS", "--max-time", "5", "-o"])
        .arg(&file)
        .arg(relay.url(&format!("{path}?from=start")))
        .finish();
    opusdec_decode(&file).expect("opusdec")
}

#[test]
fn a_folder_of_every_kind_is_one_stream() {
    require(&["ffmpeg", "opusdec", "curl"]);
    let (scratch, folder) = (Scratch::new("publish"), Scratch::new("folder"));
    let sweep = Pcm::sweep(48_000, 300.0, 6_000.0, 48_000);
    sweep.write_wav(&folder.file("3.wav"));
    encode(
        &sweep,
        Encoding::Opus(&["-b:a", "96k"]),
        &folder.file("1.opus"),
    )
    .expect("opus");
    std::fs::write(folder.file("2.mp3"), "<html>".repeat(100)).expect("write");
    Program::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(folder.file("3.wav"))
        .args(["-c:a", "aac", "-b:a", "128k"])
        .arg(folder.file("4.m4a"))
        .run()
        .expect("ffmpeg");
    let relay = Relay::start();
    let published = Program::new(Relay::binary())
        .arg("publish")
        .arg(folder.path())
        .arg(url(&relay, "/p.opus"))
        .limit(LIMIT)
        .finish()
        .expect("publish ends");
    assert!(published.status.success(), "{}", published.stderr);
    assert!(published.stderr.contains("2.mp3"), "{}", published.stderr);
    relay.wait_for("/api/mounts/p.opus", "\"state\":\"ended\"", LIMIT);
    let heard = heard(&relay, "/p.opus", &scratch);
    assert_eq!(heard.frames(), 3 * 48_000, "sample-exact");
    for track in 0..3 {
        let part = heard.slice(track * 48_000, (track + 1) * 48_000);
        let found = align(&sweep, &part, 1200);
        assert!(
            found.lag.abs() <= 2 && found.correlation > 0.97,
            "{track}: {found:?}"
        );
    }
}

#[test]
fn packets_are_published_as_they_arrive() {
    require(&["opusdec", "curl"]);
    let scratch = Scratch::new("publish-udp");
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr());
    let port = port.expect("a free port").port();
    let relay = Relay::start();
    let mut publisher = Program::new(Relay::binary())
        .arg("publish")
        .arg(format!(
            "udp://127.0.0.1:{port}?format=s16le&rate=16000&channels=2&timeout=30s"
        ))
        .arg(url(&relay, "/u.opus"))
        .limit(LIMIT)
        .spawn()
        .expect("publish starts");
    let until = std::time::Instant::now() + LIMIT;
    while UdpSocket::bind(("127.0.0.1", port)).is_ok() && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let tone = Pcm::sine(16_000, 440.0, 16_000 * 4);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for packet in tone.samples.chunks(640) {
        let bytes = packet.iter().map(|s| (s * 32_767.0) as i16);
        let bytes: Vec<u8> = bytes.flat_map(i16::to_le_bytes).collect();
        socket.send_to(&bytes, ("127.0.0.1", port)).expect("send");
        std::thread::sleep(Duration::from_millis(20));
    }
    relay.wait_for("/api/mounts/u.opus", "\"live\":true", LIMIT);
    let heard = heard(&relay, "/u.opus", &scratch);
    publisher.signal(2);
    let plane = heard.plane(0);
    // The push joins the mount once it is there, and so misses its beginning.
    assert!(plane.len() > 48_000, "{} frames", plane.len());
    let middle = &plane[plane.len() - 40_000..plane.len() - 4_000];
    let rising = middle
        .windows(2)
        .filter(|w| w[0] < 0.0 && w[1] >= 0.0)
        .count();
    let hertz = rising as f64 / (36_000.0 / 48_000.0);
    assert!((hertz - 440.0).abs() < 4.0, "{hertz} Hz");
}
