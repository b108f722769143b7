//! The player in Chromium against a relay of its own, beside `<audio>` and
//! icecast-metadata-player: time to the first sound, live latency, processor
//! time, memory. `bench-player [--rounds N] [--seconds S] [--soak MINUTES] [--only WHAT]…`,
//! after `cargo xtask wasm`. Results also in `target/bench/player.json`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tests::support::{Program, Relay, artefact_dir, require, workspace_root};

fn main() -> Result<()> {
    require(&["node", "chromium", "ffmpeg", "pulseaudio", "parec"]);
    let root = workspace_root();
    if !root.join("web/dist/player/index.js").exists() {
        bail!("web/dist/player is missing; run `cargo xtask wasm`");
    }
    // The driver of the browser, and the peer.
    for folder in ["tests/browser", "tests/node"] {
        let folder = root.join(folder);
        if !folder.join("node_modules").exists() {
            Program::new("npm")
                .arg("ci")
                .in_dir(&folder)
                .limit(Duration::from_secs(300))
                .run()?;
        }
    }
    let results = artefact_dir("bench").join("player.json");
    let status = Command::new("node")
        .arg(root.join("tests/browser/bench/player.mjs"))
        .arg("--json")
        .arg(&results)
        .args(std::env::args().skip(1))
        .env("SEAMCAST_RELAY", Relay::binary())
        .status()
        .context("cannot start node")?;
    if !status.success() {
        bail!("tests/browser/bench/player.mjs failed ({status})");
    }
    println!("results: {}", results.display());
    Ok(())
}
