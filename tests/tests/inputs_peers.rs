//! Other programs' voice and samples: what a listener decodes is what they
//! sent, by cross-correlation, level and length.

use std::net::UdpSocket;
use std::time::Duration;

use tests::support::http::request;
use tests::support::{
    Alignment, Pcm, Program, Relay, Scratch, align, free_udp_port, mpg123_decode, opusdec_decode,
    require,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Where the Debian package `sip-tester` puts its call.
const CAPTURE: &str = "/usr/share/sip-tester/g711a.pcap";

/// A relay with one RTP input for `/call.opus`.
fn rtp_relay(port: u16, more: &str) -> Relay {
    Relay::with_config(&format!(
        "[[mount]]\npath = \"/call.opus\"\nbitrate = \"96k\"\nchunk_ms = 40\n\
             [[input]]\nkind = \"rtp\"\nmount = \"/call.opus\"\nlisten = \"127.0.0.1:{port}\"\n\
             timeout = \"2s\"\n{more}\n"
    ))
}

fn heard(relay: &Relay, scratch: &Scratch) -> (Pcm, serde_json::Value) {
    relay.wait_for("/api/mounts/call.opus", "\"state\":\"ended\"", LIMIT);
    let file = scratch.file("heard.opus");
    relay.download("/call.opus?from=start", &file);
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let answer = request(relay.address, "GET", "/api/inputs", &token);
    let all: serde_json::Value = serde_json::from_slice(&answer.body).expect("json");
    (opusdec_decode(&file).expect("opusdec"), all[0].clone())
}

/// GStreamer sends three seconds of a sweep.
fn from_gstreamer(payloader: &str, more: &str, alike: f64) {
    require(&["gst-launch-1.0", "opusdec", "curl"]);
    let scratch = Scratch::new("gst");
    let sweep = Pcm::sweep(48_000, 300.0, 2_800.0, 48_000 * 3);
    let wav = scratch.file("sweep.wav");
    sweep.write_wav(&wav);
    let port = free_udp_port();
    let relay = rtp_relay(port, more);
    let pipeline = format!(
        "filesrc location={} ! wavparse ! audioconvert ! audioresample ! {payloader} ! \
         udpsink host=127.0.0.1 port={port}",
        wav.display()
    );
    Program::new("gst-launch-1.0")
        .arg("-q")
        .args(pipeline.split_whitespace())
        .limit(LIMIT)
        .run()
        .unwrap_or_else(|error| panic!("{error}"));
    let (heard, status) = heard(&relay, &scratch);
    let found = align(&sweep, &heard, 2000);
    assert_eq!(status["rtp"]["lost"], 0, "{status}");
    assert_eq!(status["malformed"], 0, "{status}");
    // Codecs add up to a packet at the end, and Opus its look-ahead before.
    assert!(found.lag.abs() <= 400, "{payloader}: {found:?}");
    assert!(
        (-480..=2880).contains(&found.length_difference),
        "{payloader}: {found:?}"
    );
    assert!(found.correlation > alike, "{payloader}: {found:?}");
    assert!(found.level_db.abs() < 1.0, "{payloader}: {found:?}");
}

#[test]
fn gstreamer_sends_pcmu() {
    from_gstreamer(
        "audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay",
        "",
        0.97,
    );
}

#[test]
fn gstreamer_sends_pcma() {
    from_gstreamer(
        "audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay",
        "",
        0.97,
    );
}

#[test]
fn gstreamer_sends_l16() {
    from_gstreamer(
        "audio/x-raw,rate=48000,channels=1 ! rtpL16pay pt=96",
        "payload_types = [\"96=L16/48000/1\"]",
        0.98,
    );
}

#[test]
fn gstreamer_sends_opus() {
    from_gstreamer(
        "audio/x-raw,rate=48000,channels=1 ! opusenc bitrate=96000 ! rtpopuspay pt=97",
        "payload_types = [\"97=opus/48000/2\"]",
        0.97,
    );
}

/// The UDP payloads of a capture of Ethernet frames with IPv4.
fn datagrams(pcap: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = pcap.get(24..).expect("a header");
    while let Some(head) = rest.get(..16) {
        let len = u32::from_le_bytes(head[8..12].try_into().expect("4 bytes")) as usize;
        // Ethernet 14, IPv4 20, UDP 8.
        found.extend(rest.get(16 + 42..16 + len));
        rest = rest.get(16 + len..).unwrap_or_default();
    }
    found
}

#[test]
fn the_call_that_sipp_ships_is_heard_as_it_was_spoken() {
    require(&["ffmpeg", "opusdec", "curl"]);
    let scratch = Scratch::new("sipp");
    let pcap = std::fs::read(CAPTURE).expect("the Debian package sip-tester");
    let packets = datagrams(&pcap);
    assert_eq!(packets.len(), 236);
    let spoken: Vec<u8> = packets.iter().flat_map(|p| p[12..].to_vec()).collect();
    std::fs::write(scratch.file("call.al"), &spoken).expect("write");
    let out = Program::new("ffmpeg")
        .args(["-v", "error", "-f", "alaw", "-ar", "8000", "-ac", "1", "-i"])
        .arg(scratch.file("call.al"))
        .args(["-ar", "48000", "-f", "f32le", "pipe:1"])
        .run()
        .expect("ffmpeg");
    let reference = Pcm::from_f32le(&out.stdout, 48_000, 1);
    let port = free_udp_port();
    let relay = rtp_relay(port, "");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for packet in &packets {
        socket.send_to(packet, ("127.0.0.1", port)).expect("send");
        // Three times as fast as it was spoken.
        std::thread::sleep(Duration::from_millis(10));
    }
    let (heard, status) = heard(&relay, &scratch);
    let found = align(&reference, &heard, 1200);
    assert_eq!(heard.frames(), 236 * 240 * 6, "sample-exact; {status}");
    assert!(
        found.lag.abs() <= 48 && found.correlation > 0.97,
        "{found:?}"
    );
    assert!(found.level_db.abs() < 0.5, "{found:?}");
    assert_eq!(
        (&status["packets"], &status["rtp"]["lost"]),
        (&236.into(), &0.into()),
        "{status}"
    );
}

/// numpy's float32 blocks in bursts, first to one mount and then to the other.
const SPEECH: &str = r#"
import base64, http.client, sys, time
import numpy as np
rate, seconds = 24000, 3
t = np.arange(rate * seconds) / rate
wave = (0.5 * np.sin(2 * np.pi * (300 * t + (2800 - 300) * t * t / (2 * seconds)))).astype(np.float32)
def blocks():
    for burst in np.array_split(wave, 7):
        for block in np.array_split(burst, 11):
            yield block.tobytes()
        time.sleep(0.05)
for mount in ("/tts.opus", "/tts.mp3"):
    relay = http.client.HTTPConnection(sys.argv[1])
    relay.request("PUT", mount + "?bitrate=128k", blocks(), encode_chunked=True, headers={
        "Authorization": "Basic " + base64.b64encode(sys.argv[2].encode()).decode(),
        "Content-Type": "audio/x-raw;format=f32le;rate=24000;channels=1",
        "Transfer-Encoding": "chunked",
    })
    assert relay.getresponse().status == 200
"#;

fn alike(reference: &Pcm, heard: &Pcm, late: i64) -> Alignment {
    let found = align(reference, heard, 3000);
    assert!((0..=late).contains(&found.lag), "{found:?}");
    assert!(found.correlation > 0.98, "{found:?}");
    assert!(found.level_db.abs() < 0.5, "{found:?}");
    found
}

#[test]
fn numpy_blocks_become_opus_and_mp3() {
    require(&["/usr/bin/python3", "opusdec", "mpg123", "curl"]);
    let scratch = Scratch::new("numpy");
    let relay = Relay::start();
    // Debian's own, which has Debian's numpy.
    Program::new("/usr/bin/python3")
        .args(["-c", SPEECH])
        .arg(relay.address.to_string())
        .arg(format!("source:{}", Relay::PASSWORD))
        .limit(LIMIT)
        .run()
        .unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
    let opus = scratch.file("tts.opus");
    relay.download("/tts.opus?from=start", &opus);
    let reference = Pcm::sweep(48_000, 300.0, 2_800.0, 48_000 * 3);
    let heard = opusdec_decode(&opus).expect("opusdec");
    let found = alike(&reference, &heard, 2);
    assert_eq!(found.length_difference, 0, "sample-exact");
    let mp3 = scratch.file("tts.mp3");
    relay.download("/tts.mp3?from=start", &mp3);
    let heard = mpg123_decode(&mp3).expect("mpg123");
    let reference = Pcm::sweep(
        heard.sample_rate,
        300.0,
        2_800.0,
        heard.sample_rate as usize * 3,
    );
    // A stream of MP3 frames has its encoder's and decoder's delay in it.
    let found = alike(&reference, &heard, 1700);
    assert!((0..=3456).contains(&found.length_difference), "{found:?}");
}
