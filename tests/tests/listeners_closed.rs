//! Closed mounts: whoever has no token hears nothing, on no transport, and gets no recording.

mod relay_common;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_common::Socket;
use tests::support::http::{Answer, request};
use tests::support::{Encoding, Pcm, Program, Relay, Running, Scratch, encode, require};

const KEY: &str = "6e1f0c8a5d0b4c7e9a2f3d4b5c6a7e8f";
const CONFIG: &str = r#"
[defaults]
record = true

[[mount]]
path = "/calls/one.opus"
listen_tokens = ["hear", "also"]
listen_key = "6e1f0c8a5d0b4c7e9a2f3d4b5c6a7e8f"
public = false
"#;

/// As anybody would make one, without our code.
const SIGN: &str = r"
import base64, hashlib, hmac, json, sys, time
def part(data): return base64.urlsafe_b64encode(data).rstrip(b'=')
key, mount, seconds = sys.argv[1:]
claims = {'aud': mount, 'exp': int(time.time()) + int(seconds)}
message = part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode()) + b'.' + part(json.dumps(claims).encode())
print((message + b'.' + part(hmac.new(key.encode(), message, hashlib.sha256).digest())).decode())
";

fn signed(key: &str, mount: &str, seconds: i32) -> String {
    let made = Program::new("python3").args(["-c", SIGN, key, mount, &seconds.to_string()]);
    let out = made.run().expect("python3").stdout;
    String::from_utf8(out).expect("text").trim().to_owned()
}

/// Two mounts on air, of which one is closed.
fn on_air(relay: &Relay, scratch: &Scratch) -> Vec<Running> {
    let source = scratch.file("source.opus");
    let noise = Pcm::noise(48_000, 1, 48_000 * 60, 0.3, 1);
    encode(&noise, Encoding::Opus(&["-b:a", "32k"]), &source).expect("encode");
    let mounts = ["/calls/one.opus", "/open.opus"];
    let sources = mounts.map(|mount| relay.publishing(&source, mount).spawn().expect("ffmpeg"));
    for mount in mounts {
        let told = format!("/api/mounts{mount}?token=hear");
        relay.wait_for(&told, "\"state\":\"live\"", Duration::from_secs(20));
    }
    sources.into()
}

/// HEAD, whose answer is that of GET without the stream.
fn head(relay: &Relay, path: &str, headers: &str) -> Answer {
    request(relay.address, "HEAD", path, headers)
}

fn basic(user: &str, password: &str) -> String {
    let pair = STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}

#[test]
fn a_closed_mount_opens_for_its_tokens_only() {
    require(&["ffmpeg", "python3"]);
    let relay = Relay::with_config(CONFIG);
    let scratch = Scratch::new("closed");
    let _sources = on_air(&relay, &scratch);
    let mount = "/calls/one.opus";

    assert_eq!(head(&relay, "/open.opus", "").status, 200);
    let refused = request(relay.address, "GET", mount, "");
    assert_eq!(refused.status, 401);
    let asks = refused.header("www-authenticate").unwrap_or_default();
    assert!(asks.starts_with("Basic "), "{asks}");
    let why = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(why.contains(mount) && why.contains("?token="), "{why}");
    // A script's request must not have the browser ask for a password.
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (method, headers) in [
        ("HEAD", ""),
        ("GET", "Sec-Fetch-Dest: empty\r\n"),
        ("GET", upgrade),
    ] {
        let script = request(relay.address, method, mount, headers);
        let asks = script.header("www-authenticate").unwrap_or_default();
        assert_eq!(script.status, 401);
        assert!(asks.starts_with("Bearer "), "{asks}");
    }

    let good = signed(KEY, mount, 60);
    for token in ["hear", "also", &good, Relay::PASSWORD] {
        let by_query = format!("{mount}?token={token}");
        assert_eq!(head(&relay, &by_query, "").status, 200, "?token={token}");
        let bearer = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(head(&relay, mount, &bearer).status, 200, "{bearer}");
    }
    assert_eq!(head(&relay, mount, &basic("me", "hear")).status, 200);
    assert_eq!(head(&relay, mount, &basic("", &good)).status, 200);
    for (token, why) in [
        (signed(KEY, mount, -60), "expired"),
        (signed(KEY, "/open.opus", 60), "other mounts"),
        (signed("another key", mount, 60), "not signed"),
        ("hea".to_owned(), "none of"),
        (String::new(), "token"),
    ] {
        let refused = request(relay.address, "GET", &format!("{mount}?token={token}"), "");
        let body = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!(refused.status, 401, "{token}");
        assert!(body.contains(why), "{token}: {body}");
    }

    // Not listed, so that strangers do not learn of it either.
    let told = |path: &str| {
        let answer = request(relay.address, "GET", path, "");
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    let admin = format!("?token={}", Relay::TOKEN);
    for path in ["/api/mounts", "/metrics", "/status-json.xsl"] {
        let said = told(path);
        assert!(
            said.contains("/open.opus") && !said.contains("calls"),
            "{path}: {said}"
        );
    }
    assert!(told(&format!("/metrics{admin}")).contains(mount));
    let of_it = format!("/api/mounts{mount}");
    assert!(told(&of_it).contains("unauthorized"));
    assert!(told(&format!("{of_it}?token=hear")).contains("\"closed\":true"));

    // Over WebSocket, framed and plain, and as frames in a body.
    for subprotocol in [None, Some("seamcast.v1")] {
        let mut socket = Socket::open(&relay, &format!("{mount}?token=hear"), subprotocol);
        assert!(socket.next().is_some(), "{subprotocol:?}");
    }
    let frames = "Accept: application/vnd.seamcast.v1\r\n";
    for headers in [upgrade, frames, "Icy-MetaData: 1\r\n"] {
        assert_eq!(request(relay.address, "GET", mount, headers).status, 401);
    }
}

#[test]
fn recordings_of_a_closed_mount_are_closed() {
    require(&["ffmpeg"]);
    let relay = Relay::with_config(CONFIG);
    let scratch = Scratch::new("closed-recordings");
    let _sources = on_air(&relay, &scratch);
    for (mount, closed) in [("/calls/one.opus", true), ("/open.opus", false)] {
        let folder = relay.scratch.file(&format!("recordings{mount}"));
        let until = Instant::now() + Duration::from_secs(20);
        let files = loop {
            let files: Vec<_> = std::fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            if !files.is_empty() || Instant::now() > until {
                break files;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(!files.is_empty(), "no recordings in {}", folder.display());
        for file in files {
            let name = file.file_name().to_string_lossy().into_owned();
            let plain = format!("/files/recordings{mount}/{name}");
            let encoded = plain.replace('c', "%63");
            for path in [plain.clone(), encoded] {
                let anybody = head(&relay, &path, "").status;
                assert_eq!(anybody == 401, closed, "{path}: {anybody}");
            }
            let with = head(&relay, &format!("{plain}?token=hear"), "").status;
            assert_ne!(with, 401, "{plain}");
        }
    }
}

#[test]
fn a_key_that_is_too_short_is_refused_with_what_makes_one() {
    let scratch = Scratch::new("short-key");
    let file = scratch.file("relay.toml");
    std::fs::write(
        &file,
        "[[mount]]\npath = \"/a.opus\"\nlisten_key = \"short\"\n",
    )
    .expect("file");
    let checked = Program::new(Relay::binary())
        .arg("check-config")
        .arg(&file)
        .finish()
        .expect("the relay's program");
    let said = format!(
        "{}{}",
        checked.stderr,
        String::from_utf8_lossy(&checked.stdout)
    );
    assert!(!checked.status.success(), "{said}");
    assert!(
        said.contains("listen_key") && said.contains("openssl rand"),
        "{said}"
    );
    assert!(said.contains('3'), "the line: {said}");
}
