//! `udp` and `rtp` inputs and their forwards: what a listener decodes is what
//! the sender sent, with its time kept.

use std::net::UdpSocket;
use std::time::Duration;

use seamcast_media::rtp::Packet;
use tests::support::http::request;
use tests::support::{
    Pcm, Program, Relay, Scratch, free_udp_port, opusdec_decode, require, snr_db,
};

const LIMIT: Duration = Duration::from_secs(30);

/// The whole programme of a mount that has ended, decoded by opusdec at 48 kHz.
fn heard(relay: &Relay, mount: &str, scratch: &Scratch) -> Pcm {
    relay.wait_for(&format!("/api/mounts{mount}"), "\"state\":\"ended\"", LIMIT);
    let file = scratch.file("heard.opus");
    Program::new("curl")
        .args(["-sS", "--fail", "--max-time", "20", "-o"])
        .arg(&file)
        .arg(relay.url(&format!("{mount}?from=start")))
        .run()
        .unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
    opusdec_decode(&file).expect("opusdec")
}

/// The first input's or forward's entry.
fn board(relay: &Relay, what: &str) -> serde_json::Value {
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let answer = request(relay.address, "GET", &format!("/api/{what}"), &token);
    let all: serde_json::Value = serde_json::from_slice(&answer.body).expect("json");
    all[0].clone()
}

/// Power of `pcm`'s first channel in dB, between two positions in seconds.
fn level(pcm: &Pcm, from: f64, to: f64) -> f64 {
    let at = |secs: f64| (secs * f64::from(pcm.sample_rate)) as usize;
    let plane = pcm.slice(at(from), at(to)).plane(0);
    let power: f64 = plane.iter().map(|s| f64::from(*s) * f64::from(*s)).sum();
    10.0 * (power / plane.len().max(1) as f64).max(1e-12).log10()
}

/// The frequency whose zero crossings `pcm` has.
fn hertz(pcm: &Pcm, from: f64, to: f64) -> f64 {
    let at = |secs: f64| (secs * f64::from(pcm.sample_rate)) as usize;
    let plane = pcm.slice(at(from), at(to)).plane(0);
    let crossings = plane
        .windows(2)
        .filter(|w| (w[0] < 0.0) != (w[1] < 0.0))
        .count();
    crossings as f64 / 2.0 / (to - from)
}

fn s16le(pcm: &Pcm) -> Vec<u8> {
    let samples = pcm.samples.iter();
    samples
        .flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes())
        .collect()
}

#[test]
fn raw_datagrams_of_any_size_and_speed_are_one_stream() {
    require(&["opusdec"]);
    let (port, copy) = (
        free_udp_port(),
        UdpSocket::bind("127.0.0.1:0").expect("a socket"),
    );
    let to = copy.local_addr().expect("bound");
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"udp\"\nmount = \"/voice.opus\"\nlisten = \"127.0.0.1:{port}\"\n\
         format = \"s16le\"\nrate = 16000\nchannels = 2\ntimeout = \"1s\"\n\
         [[forward]]\nkind = \"udp\"\nmount = \"/voice.opus\"\nto = [\"{to}\"]\n"
    ));
    let pcm = Pcm::sine(16_000, 440.0, 16_000 * 4);
    let bytes = s16le(&pcm);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // 320 bytes and odd remainders, twice as fast as real time.
    let sizes = [320, 320, 127, 320, 1, 999];
    let (mut at, mut sent) = (0, 0_usize);
    while at < bytes.len() {
        let end = (at + sizes[sent % sizes.len()]).min(bytes.len());
        socket
            .send_to(&bytes[at..end], ("127.0.0.1", port))
            .expect("send");
        std::thread::sleep(Duration::from_secs_f64((end - at) as f64 / 128_000.0));
        (at, sent) = (end, sent + 1);
    }
    let heard = heard(&relay, "/voice.opus", &Scratch::new("udp"));
    assert_eq!(heard.frames(), 48_000 * 4, "sample-exact length");
    let reference = Pcm::sine(48_000, 440.0, 48_000 * 4);
    let snr = snr_db(
        &reference.plane(0)[9600..180_000],
        &heard.plane(0)[9600..180_000],
    );
    assert!(snr > 15.0, "{snr:.1} dB");
    let status = board(&relay, "inputs");
    assert_eq!(status["packets"], sent as u64, "{status}");
    let forward = board(&relay, "forwards");
    assert_eq!(
        (&forward["packets"], &forward["bytes"]),
        (&status["packets"], &status["bytes"])
    );
    let mut first = [0; 2000];
    let len = copy.recv(&mut first).expect("a copy");
    assert_eq!(first[..len], bytes[..320]);
}

#[test]
fn only_allowed_senders_are_heard() {
    let port = free_udp_port();
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"udp\"\nmount = \"/voice.opus\"\nlisten = \"127.0.0.1:{port}\"\n\
         format = \"s16le\"\nallow = [\"127.0.0.2\"]\n"
    ));
    let send = |from: &str| {
        let socket = UdpSocket::bind((from, 0)).expect("a socket");
        for _ in 0..20 {
            socket
                .send_to(&[0; 320], ("127.0.0.1", port))
                .expect("send");
        }
    };
    send("127.0.0.1");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(relay.fetch("/api/mounts/voice.opus").0, 404);
    let status = board(&relay, "inputs");
    assert_eq!(
        (&status["refused"], &status["packets"]),
        (&20.into(), &0.into())
    );
    assert!(
        status["error"]
            .as_str()
            .is_some_and(|e| e.contains("127.0.0.1")),
        "{status}"
    );
    send("127.0.0.2");
    relay.wait_for("/api/mounts/voice.opus", "\"live\":true", LIMIT);
    assert!(
        relay
            .fetch("/api/mounts/voice.opus")
            .1
            .contains("\"prebuffer\":1.0")
    );
}

/// ffmpeg sends three seconds of a tone as RTP and writes its SDP.
fn from_ffmpeg(codec: &[&str], seconds: f64) {
    require(&["ffmpeg", "opusdec"]);
    let scratch = Scratch::new("rtp");
    let (port, sdp) = (free_udp_port(), scratch.file("voice.sdp"));
    let args = |program: Program| {
        program
            .args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i"])
            .arg(format!(
                "sine=frequency=440:sample_rate=48000:duration={seconds}"
            ))
            .args(codec)
            .args(["-f", "rtp", "-sdp_file"])
            .arg(&sdp)
            .arg(format!("rtp://127.0.0.1:{port}"))
    };
    let mut sender = args(Program::new("ffmpeg")).spawn().expect("ffmpeg");
    let until = std::time::Instant::now() + LIMIT;
    while !sdp.exists() && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    sender.kill();
    let _ = sender.wait(LIMIT);
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"rtp\"\nmount = \"/voice.opus\"\nlisten = \"127.0.0.1:{port}\"\n\
         sdp = \"{}\"\ntimeout = \"1s\"\n",
        sdp.display()
    ));
    args(Program::new("ffmpeg"))
        .arg("-y")
        .run()
        .expect("ffmpeg");
    let heard = heard(&relay, "/voice.opus", &scratch);
    let status = board(&relay, "inputs");
    let length = heard.frames() as f64 / 48_000.0;
    assert!(
        (seconds - 0.03..seconds + 0.03).contains(&length),
        "{length} s; {status}"
    );
    assert_eq!(status["rtp"]["lost"], 0, "{status}");
    assert_eq!(status["rtp"]["discontinuities"], 0, "{status}");
    let tone = hertz(&heard, 0.5, 2.5);
    assert!((tone - 440.0).abs() < 2.0, "{tone} Hz");
    // lavfi's sine is at an eighth of full scale: -21 dB of power; 3 dB less
    // when ffmpeg spreads it over two channels.
    let power = level(&heard, 0.5, 2.5);
    let expected = if codec.contains(&"2") { -24.1 } else { -21.1 };
    assert!((power - expected).abs() < 1.5, "{power:.1} dB");
}

#[test]
fn rtp_pcmu() {
    from_ffmpeg(&["-ar", "8000", "-ac", "1", "-c:a", "pcm_mulaw"], 3.0);
}

#[test]
fn rtp_pcma() {
    from_ffmpeg(&["-ar", "8000", "-ac", "1", "-c:a", "pcm_alaw"], 3.0);
}

#[test]
fn rtp_l16() {
    from_ffmpeg(&["-ar", "16000", "-ac", "2", "-c:a", "pcm_s16be"], 3.0);
}

#[test]
fn rtp_opus() {
    from_ffmpeg(&["-c:a", "libopus", "-b:a", "64k"], 3.0);
}

/// PCMA packets of 20 ms of a tone, from packet `from` to packet `to`.
struct Sender {
    socket: UdpSocket,
    port: u16,
    ssrc: u32,
    tone: Vec<u8>,
}

impl Sender {
    fn new(port: u16, ssrc: u32) -> Self {
        let out = Program::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:sample_rate=8000",
            ])
            .args(["-t", "4", "-f", "alaw", "pipe:1"])
            .run()
            .expect("ffmpeg");
        Self {
            socket: UdpSocket::bind("127.0.0.1:0").expect("a socket"),
            port,
            ssrc,
            tone: out.stdout,
        }
    }

    fn bytes(&self, number: usize) -> Vec<u8> {
        let at = number * 160;
        Packet {
            payload_type: 8,
            marker: number == 0,
            sequence: 65_500_u16.wrapping_add(number as u16),
            rtp_time: 0xffff_f000_u32.wrapping_add(at as u32),
            ssrc: self.ssrc,
            payload: &self.tone[at..at + 160],
        }
        .to_bytes()
    }

    fn send(&self, bytes: &[u8]) {
        self.socket
            .send_to(bytes, ("127.0.0.1", self.port))
            .expect("send");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn loss_copies_and_disorder_keep_the_time_and_are_counted() {
    require(&["ffmpeg", "opusdec"]);
    let port = free_udp_port();
    let copy = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = copy.local_addr().expect("bound");
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"rtp\"\nmount = \"/voice.opus\"\nlisten = \"127.0.0.1:{port}\"\n\
         [[forward]]\nkind = \"rtp\"\nmount = \"/voice.opus\"\nto = [\"{to}\"]\n"
    ));
    let sender = Sender::new(port, 7);
    for number in 0..100 {
        match number {
            // Lost: two packets. Out of order: 50 and 51. Twice: 70.
            30 | 31 => {}
            50 => sender.send(&sender.bytes(51)),
            51 => sender.send(&sender.bytes(50)),
            70 => (0..2).for_each(|_| sender.send(&sender.bytes(70))),
            _ => sender.send(&sender.bytes(number)),
        }
    }
    // What is no RTP: too short, version 1, no payload.
    sender.send(&[]);
    sender.send(&[0x40; 40]);
    sender.send(
        &Packet {
            payload: &[],
            ..Packet::parse(&sender.bytes(100)).expect("own")
        }
        .to_bytes(),
    );
    // Receiver report, then BYE for SSRC 7, on the port above.
    let bye = [0x80, 201, 0, 1, 0, 0, 0, 9, 0x81, 203, 0, 1, 0, 0, 0, 7];
    std::thread::sleep(Duration::from_millis(100));
    sender
        .socket
        .send_to(&bye, ("127.0.0.1", port + 1))
        .expect("send");
    let heard = heard(&relay, "/voice.opus", &Scratch::new("loss"));
    assert_eq!(heard.frames(), 48_000 * 2, "time is kept over the loss");
    let rtp = board(&relay, "inputs");
    let counted = &rtp["rtp"];
    assert_eq!(counted["lost"], 2, "{rtp}");
    assert_eq!(counted["concealed_frames"], 320, "{rtp}");
    assert_eq!(counted["reordered"], 1, "{rtp}");
    assert_eq!(
        counted["duplicates"].as_u64().unwrap_or(0) + counted["late"].as_u64().unwrap_or(0),
        1,
        "{rtp}"
    );
    assert_eq!(rtp["malformed"], 2, "{rtp}");
    // Copies are unchanged, whatever they hold.
    let mut first = [0; 2000];
    let len = copy.recv(&mut first).expect("a copy");
    assert_eq!(first[..len], sender.bytes(0)[..]);
}

#[test]
fn another_ssrc_is_a_discontinuity_of_the_same_programme() {
    require(&["ffmpeg", "opusdec"]);
    let port = free_udp_port();
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"rtp\"\nmount = \"/voice.opus\"\nlisten = \"127.0.0.1:{port}\"\ntimeout = \"1s\"\n"
    ));
    let mut sender = Sender::new(port, 7);
    (0..50).for_each(|number| sender.send(&sender.bytes(number)));
    sender.ssrc = 8;
    (20..70).for_each(|number| sender.send(&sender.bytes(number)));
    let heard = heard(&relay, "/voice.opus", &Scratch::new("ssrc"));
    assert_eq!(heard.frames(), 96_000, "each voice to its last sample");
    let status = board(&relay, "inputs");
    assert_eq!(status["rtp"]["discontinuities"], 1, "{status}");
    assert_eq!(status["starts"], 2, "{status}");
}

#[test]
fn rtp_is_made_from_any_opus_mount() {
    require(&["ffmpeg"]);
    let copy = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    copy.set_read_timeout(Some(LIMIT)).expect("timeout");
    let to = copy.local_addr().expect("bound");
    let relay = Relay::with_config(&format!(
        "[[forward]]\nkind = \"rtp\"\nmount = \"/live.opus\"\nto = [\"{to}\"]\npayload_type = 111\n"
    ));
    let url = relay.icecast_url("/live.opus");
    let mut source = Program::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:duration=4",
        ])
        .args([
            "-c:a",
            "libopus",
            "-content_type",
            "audio/ogg",
            "-f",
            "ogg",
            "-flush_packets",
            "1",
            &url,
        ])
        .spawn()
        .expect("ffmpeg");
    let mut buffer = [0; 2000];
    let mut before: Option<(u16, u32)> = None;
    for _ in 0..80 {
        let len = copy.recv(&mut buffer).expect("rtp");
        let packet = Packet::parse(&buffer[..len]).expect("rtp");
        assert_eq!(packet.payload_type, 111);
        if let Some((sequence, time)) = before {
            assert_eq!(packet.sequence, sequence.wrapping_add(1));
            assert_eq!(packet.rtp_time, time.wrapping_add(960));
        }
        before = Some((packet.sequence, packet.rtp_time));
    }
    source.kill();
}

#[test]
fn rtp_is_made_from_any_mp3_mount() {
    require(&["ffmpeg"]);
    let scratch = Scratch::new("rtp-mp3");
    let file = scratch.file("tone.mp3");
    Program::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:duration=120",
        ])
        .args([
            "-ar",
            "44100",
            "-c:a",
            "libmp3lame",
            "-b:a",
            "96k",
            "-write_xing",
            "0",
        ])
        .args(["-id3v2_version", "0"])
        .arg(&file)
        .run()
        .expect("ffmpeg");
    let copy = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    copy.set_read_timeout(Some(LIMIT)).expect("timeout");
    let (to, port) = (copy.local_addr().expect("bound"), free_udp_port());
    let _relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"file\"\nmount = \"/tone.mp3\"\npath = \"{}\"\n\
         [[forward]]\nkind = \"rtp\"\nmount = \"/tone.mp3\"\nto = [\"{to}\", \"127.0.0.1:{port}\"]\n",
        file.display()
    ));
    let mut buffer = [0; 2000];
    let (mut frames, mut first) = (Vec::new(), None);
    for n in 0..60_u32 {
        let len = copy.recv(&mut buffer).expect("rtp");
        let packet = Packet::parse(&buffer[..len]).expect("rtp");
        let (sequence, time) = *first.get_or_insert((packet.sequence, packet.rtp_time));
        assert_eq!(packet.payload_type, 14);
        assert_eq!(packet.sequence.wrapping_sub(sequence), n as u16);
        // 1,152 frames at 44.1 kHz by a clock of 90 kHz, without drift.
        let due = u64::from(n) * 1152 * 90_000 / 44_100;
        let off = u64::from(packet.rtp_time.wrapping_sub(time)).abs_diff(due);
        assert!(off <= 1, "packet {n} is {off} off");
        assert_eq!(packet.payload[..4], [0; 4]);
        frames.extend_from_slice(&packet.payload[4..]);
    }
    let sent = std::fs::read(&file).expect("the file");
    let found = sent.windows(frames.len()).any(|part| part == frames);
    assert!(found, "{} bytes are not the file's", frames.len());

    let sdp = scratch.file("tone.sdp");
    let text = format!("v=0\nc=IN IP4 127.0.0.1\nm=audio {port} RTP/AVP 14\n");
    std::fs::write(&sdp, text).expect("written");
    let out = scratch.file("heard.wav");
    Program::new("ffmpeg")
        .args(["-v", "error", "-protocol_whitelist", "file,udp,rtp", "-i"])
        .arg(&sdp)
        .args(["-t", "2", "-ar", "48000"])
        .arg(&out)
        .limit(Duration::from_secs(60))
        .run()
        .expect("ffmpeg");
    let heard = Pcm::read_wav(&out).expect("wav");
    let frequency = hertz(&heard, 0.5, 1.5);
    assert!((435.0..445.0).contains(&frequency), "{frequency} Hz");
}
