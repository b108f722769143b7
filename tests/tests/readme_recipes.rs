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
            .replace("source:secret", &format!("source:{}", Relay::PASSWORD));
        let (program, flag) = match self.language.as_str() {
            "sh" => ("bash", "-c"),
            "python" => ("python3", "-c"),
            other => panic!("no way to run a recipe in {other}"),
        };
        Program::new(program)
            .args([flag, &code])
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
    let mount = recipe
        .mount
        .clone()
        .expect("a publishing recipe names its mount");
    recipe.run(&relay, &folder);

    let heard = folder.file("heard");
    Program::new("curl")
        .args(["-sS", "--fail", "--max-time", "20", "-o"])
        .arg(&heard)
        .arg(relay.url(&format!("{mount}?from=start")))
        .run()
        .unwrap_or_else(|error| panic!("{error}\nrelay: {}", relay.process.stderr()));
    let heard = heard.to_string_lossy().into_owned();
    assert_eq!(probe(&heard, "stream=codec_name"), codec);
    let packets = probe(&heard, "packet=duration_time");
    let seconds: f64 = packets
        .lines()
        .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok())
        .sum();
    assert!(
        (2.9..3.3).contains(&seconds),
        "3 s were published to {mount}, {seconds} s came back"
    );
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
        "curl-mp3",
        "ffmpeg-mp3",
        "ffmpeg-opus",
        "listen-curl",
        "listen-ffmpeg",
        "python-pcm",
    ];
    assert_eq!(recipes().into_keys().collect::<Vec<_>>(), tested);
}
