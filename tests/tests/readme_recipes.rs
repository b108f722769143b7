//! The README's recipes, run as they stand there: only the port and the password differ.

use std::collections::BTreeMap;
use std::time::Duration;
use tests::support::{Program, Relay, RelayOptions, Scratch, workspace_root};

/// A named code block: ```` ```LANGUAGE recipe=NAME mount=/PATH ````.
#[derive(Debug, Clone)]
struct Recipe {
    language: String,
    mount: Option<String>,
    code: String,
}

/// All named blocks of the README.
fn recipes() -> BTreeMap<String, Recipe> {
    let readme = workspace_root().join("README.md");
    let text = std::fs::read_to_string(&readme).expect("README.md can be read");
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let value = |key: &str| {
            info.split_whitespace()
                .find_map(|word| word.strip_prefix(key).map(str::to_owned))
        };
        if let Some(name) = value("recipe=") {
            let recipe = Recipe {
                language: info.split(' ').next().unwrap_or_default().to_owned(),
                mount: value("mount="),
                code: code.join("\n") + "\n",
            };
            assert!(
                found.insert(name.clone(), recipe).is_none(),
                "two recipes are named {name}"
            );
        }
    }
    found
}

fn recipe(name: &str) -> Recipe {
    recipes()
        .remove(name)
        .unwrap_or_else(|| panic!("README.md has no recipe named {name}"))
}

impl Recipe {
    /// Runs it in `folder` as one would paste it, against this relay.
    fn run(&self, relay: &Relay, folder: &Scratch) {
        let code = self
            .code
            .replace("127.0.0.1:8000", &relay.address.to_string())
            .replace("source:secret", &format!("source:{}", Relay::PASSWORD))
            .replace("Bearer admin", &format!("Bearer {}", Relay::TOKEN));
        let (program, flag) = match self.language.as_str() {
            "sh" => ("bash", "-c"),
            "python" => ("python3", "-c"),
            other => panic!("no way to run a recipe in {other}"),
        };
        // As if the relay were installed.
        let binary = Relay::binary();
        let own = binary.parent().expect("a folder").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        Program::new(program)
            .args([flag, &code])
            .env("PATH", format!("{own}:{path}"))
            .in_dir(folder.path())
            .limit(Duration::from_secs(60))
            .run()
            .unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
    }
}

/// What ffprobe says of the first audio stream of `input`.
fn probe(input: &str, entries: &str) -> String {
    let done = Program::new("ffprobe")
        .args(["-v", "error", "-select_streams", "a:0"])
        .args(["-show_entries", entries, "-of", "csv=p=0", input])
        .run()
        .unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// `music.flac` and `song.mp3`, three seconds each.
fn material() -> Scratch {
    let folder = Scratch::new("recipes");
    for file in ["music.flac", "song.mp3"] {
        Program::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i"])
            .args([
                "sine=frequency=440:sample_rate=44100:duration=3",
                "-ac",
                "2",
            ])
            .args(["-b:a", "128k"])
            .arg(folder.file(file))
            .run()
            .unwrap_or_else(|error| panic!("{error}"));
    }
    folder
}

/// Publishes by the recipe, then hears the mount from its start.
fn publishes(name: &str, codec: &str) {
    let relay = Relay::start();
    let folder = material();
    let recipe = recipe(name);
    recipe.run(&relay, &folder);
    let mount = recipe.mount.expect("a publishing recipe names its mount");
    hears(&relay, &folder, &mount, codec);
}

/// What `mount` carries is 3 s of `codec`.
fn hears(relay: &Relay, folder: &Scratch, mount: &str, codec: &str) {
    let heard = folder.file("heard");
    Program::new("curl")
        .args(["-sS", "--fail", "--max-time", "20", "-o"])
        .arg(&heard)
        .arg(relay.url(&format!("{mount}?from=start")))
        .run()
        .unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
    let heard = heard.to_string_lossy().into_owned();
    assert_eq!(probe(&heard, "stream=codec_name"), codec);
    let seconds = length(&heard);
    assert!(
        (2.9..3.3).contains(&seconds),
        "3 s were published to {mount}, {seconds} s came back"
    );
}

/// Seconds of packets in a file.
fn length(file: &str) -> f64 {
    let packets = probe(file, "packet=duration_time");
    let lines = packets.lines().map(|line| line.trim_end_matches(','));
    lines.filter_map(|line| line.parse::<f64>().ok()).sum()
}

/// A relay with a recipe's configuration, its ports and files replaced.
fn configured(name: &str, replace: &[(&str, &str)]) -> Relay {
    let mut config = recipe(name).code;
    for (from, to) in replace {
        assert!(config.contains(from), "{name} has no {from}");
        config = config.replace(from, to);
    }
    Relay::with_config(&config)
}

#[test]
fn a_gateway_is_heard_and_copied() {
    let copies = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    copies
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    let copies_to = copies.local_addr().expect("address").to_string();
    let port = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr());
    let port = port.expect("a port").to_string();
    let relay = configured(
        "udp-config",
        &[("127.0.0.1:5004", &port), ("127.0.0.1:6004", &copies_to)],
    );
    let folder = material();
    let mut recipe = recipe("udp");
    recipe.code = recipe.code.replace("127.0.0.1:5004", &port);
    recipe.run(&relay, &folder);
    hears(&relay, &folder, "/call.opus", "opus");
    let mut packet = [0; 2000];
    let mut copied = 0;
    while copied < 2 * 8000 * 2 {
        copied += copies.recv(&mut packet).expect("a copy");
    }
}

#[test]
fn a_growing_file_is_followed_and_sought_in() {
    let relay = Relay::start();
    let folder = material();
    let whole = folder.file("whole.opus");
    Program::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(folder.file("music.flac"))
        .args(["-c:a", "libopus", "-page_duration", "100000"])
        .arg(&whole)
        .run()
        .unwrap_or_else(|error| panic!("{error}"));
    let bytes = std::fs::read(&whole).expect("file");
    let target = relay.scratch.file("growing.opus");
    let mut growing = std::fs::File::create(target).expect("create");
    let writer = std::thread::spawn(move || {
        for piece in bytes.chunks(bytes.len().div_ceil(10)) {
            std::io::Write::write_all(&mut growing, piece).expect("append");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    recipe("growing").run(&relay, &folder);
    writer.join().expect("writer");
    let heard = std::fs::read(folder.file("heard.opus")).expect("heard");
    assert!(heard == std::fs::read(&whole).expect("whole"));
    let rest = length(&folder.file("from-there.opus").to_string_lossy());
    assert!((1.4..1.9).contains(&rest), "{rest} s");
}

#[test]
fn a_file_becomes_a_live_stream() {
    let folder = material();
    let music = folder.file("music.flac").to_string_lossy().into_owned();
    let relay = configured("file-config", &[("music.flac", &music)]);
    relay.wait_for("/api/mounts", "music.opus", Duration::from_secs(20));
    hears(&relay, &folder, "/music.opus", "opus");
}

#[test]
fn a_phone_call_is_heard() {
    // The RTP port, and the one above for RTCP.
    let port = std::iter::repeat_with(|| {
        let first = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        first.local_addr().expect("address").port()
    })
    .find(|port| std::net::UdpSocket::bind(("127.0.0.1", port.wrapping_add(1))).is_ok());
    let port = format!("127.0.0.1:{}", port.expect("a pair of ports"));
    let relay = configured("rtp-config", &[("127.0.0.1:5006", &port)]);
    let folder = material();
    let mut recipe = recipe("rtp");
    recipe.code = recipe.code.replace("127.0.0.1:5006", &port);
    recipe.run(&relay, &folder);
    hears(&relay, &folder, "/phone.opus", "opus");
}

#[test]
fn a_program_is_heard() {
    let folder = material();
    let music = folder.file("music.flac").to_string_lossy().into_owned();
    let relay = configured("command-config", &[("music.flac", &music)]);
    relay.wait_for("/api/mounts", "program.opus", Duration::from_secs(20));
    hears(&relay, &folder, "/program.opus", "opus");
}

#[test]
fn a_radio_is_fetched_and_pushed_on() {
    let limit = Duration::from_secs(30);
    let radio = Relay::start_with(&RelayOptions {
        args: vec!["--demo".to_owned()],
        ..RelayOptions::default()
    });
    radio.wait_for("/api/mounts", "demo.opus", limit);
    let backup = Relay::start();
    let config = recipe("http-config").code + &recipe("push-config").code;
    let config = config
        .replace(
            "radio.example:8000/live",
            &format!("{}/demo", radio.address),
        )
        .replace("backup.example:8000", &backup.address.to_string())
        .replace("source:secret", &format!("source:{}", Relay::PASSWORD));
    let relay = Relay::with_config(&config);
    relay.wait_for("/api/mounts/radio.opus", "\"live\":true", limit);
    backup.wait_for("/api/mounts/radio.opus", "\"live\":true", limit);
}

#[test]
fn a_file_plays_while_the_source_is_away() {
    let folder = material();
    let song = folder.file("song.mp3").to_string_lossy().into_owned();
    let relay = configured("fallback-config", &[("song.mp3", &song)]);
    let limit = Duration::from_secs(30);
    relay.wait_for("/api/mounts/show.opus", "\"fallback\":true", limit);
    relay.wait_for("/api/mounts/show.opus", "\"live\":true", limit);
}

#[test]
fn the_relays_own_client_publishes() {
    publishes("publish", "opus");
}

#[test]
fn a_speech_api_is_pulled() {
    let folder = material();
    let answer = folder.file("answer.opus");
    Program::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(folder.file("music.flac"))
        .args(["-c:a", "libopus", "-page_duration", "1000000"])
        .arg(&answer)
        .run()
        .unwrap_or_else(|error| panic!("{error}"));
    let body = std::fs::read(&answer).expect("answer");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("address").to_string();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut socket, _) = listener.accept().expect("the relay asks");
        let mut request = [0; 4096];
        let got = socket.read(&mut request).expect("a request");
        assert!(String::from_utf8_lossy(&request[..got]).contains("Bearer KEY"));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: audio/ogg\r\nConnection: close\r\n\r\n";
        socket.write_all(head.as_bytes()).expect("head");
        // In bursts, as such services answer.
        for piece in body.chunks(20_000) {
            socket.write_all(piece).expect("body");
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let relay = Relay::start();
    let mut recipe = recipe("pull");
    recipe.code = recipe.code.replace("speech.example", &address);
    recipe.run(&relay, &folder);
    hears(&relay, &folder, "/say.opus", "opus");
}

#[test]
fn ffmpeg_publishes_opus() {
    publishes("ffmpeg-opus", "opus");
}

#[test]
fn ffmpeg_publishes_mp3() {
    publishes("ffmpeg-mp3", "mp3");
}

#[test]
fn curl_publishes_a_file() {
    publishes("curl-mp3", "mp3");
}

#[test]
fn python_publishes_raw_samples() {
    publishes("python-pcm", "opus");
}

#[test]
fn listeners_hear_the_demo() {
    let relay = Relay::start_with(&RelayOptions {
        args: vec!["--demo".to_owned()],
        ..RelayOptions::default()
    });
    for mount in ["demo.opus", "demo.mp3"] {
        relay.wait_for("/api/mounts", mount, Duration::from_secs(20));
    }
    let folder = Scratch::new("listen");
    for (name, file, codec) in [
        ("listen-curl", "listened.mp3", "mp3"),
        ("listen-ffmpeg", "listened.wav", "pcm_s16le"),
    ] {
        recipe(name).run(&relay, &folder);
        let path = folder.file(file).to_string_lossy().into_owned();
        assert_eq!(probe(&path, "stream=codec_name"), codec, "{name}");
    }
}

/// A recipe that no test runs would rot.
#[test]
fn every_recipe_is_run() {
    let tested = [
        "command-config",
        "curl-mp3",
        "fallback-config",
        "ffmpeg-mp3",
        "ffmpeg-opus",
        "file-config",
        "growing",
        "http-config",
        "listen-curl",
        "listen-ffmpeg",
        "publish",
        "pull",
        "push-config",
        "python-pcm",
        "rtp",
        "rtp-config",
        "udp",
        "udp-config",
    ];
    assert_eq!(recipes().into_keys().collect::<Vec<_>>(), tested);
}
