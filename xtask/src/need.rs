//! What a fresh machine lacks: found out, said, asked about, installed.
//!
//! Every system package the project uses is listed here, by purpose.

use crate::sh::{cmd, output, root, run, step, which};
use crate::stamp::{self, Fingerprint};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The oldest Node that the build scripts run on.
const NODE_MAJOR: u32 = 18;

/// How one sees that something is there.
enum Probe {
    /// All of these programs are on `PATH`.
    Programs(&'static [&'static str]),
    /// These Debian packages are installed (libraries and plugins that are no programs).
    Packages,
    /// Node of at least [`NODE_MAJOR`].
    Node,
    /// Any of these programs, or the one that the environment variable names.
    Browser(&'static str, &'static [&'static str]),
}

/// Something the machine must have, and the Debian packages that bring it.
struct Need {
    what: &'static str,
    probe: Probe,
    packages: &'static [&'static str],
}

const fn need(
    what: &'static str,
    programs: &'static [&'static str],
    packages: &'static [&'static str],
) -> Need {
    Need {
        what,
        probe: Probe::Programs(programs),
        packages,
    }
}

/// To build the relay, the player and the page.
const BUILD: &[Need] = &[
    need("a C and C++ compiler", &["cc", "c++"], &["build-essential"]),
    need("clang (libopus for WebAssembly)", &["clang"], &["clang"]),
    need("llvm-ar (libopus for WebAssembly)", &["llvm-ar"], &["llvm"]),
    need(
        "cmake and make (libopus)",
        &["cmake", "make"],
        &["cmake", "make"],
    ),
    Need {
        what: "node 18 or newer",
        probe: Probe::Node,
        packages: &["nodejs"],
    },
    need("npm", &["npm"], &["npm"]),
];

/// To test: the browsers and the sound server they play into.
const BROWSERS: &[Need] = &[
    Need {
        what: "Chromium (not a snap; where apt has none, install one and set CHROMIUM to it)",
        probe: Probe::Browser("CHROMIUM", &["chromium"]),
        packages: &["chromium"],
    },
    Need {
        what: "Firefox (not a snap; where apt has none, install one and set FIREFOX to it)",
        probe: Probe::Browser("FIREFOX", &["firefox-esr"]),
        packages: &["firefox-esr"],
    },
    need(
        "WebKit's driver",
        &["WebKitWebDriver"],
        &["webkit2gtk-driver"],
    ),
    Need {
        what: "GStreamer plugins (WebKit's audio)",
        probe: Probe::Packages,
        packages: &[
            "gstreamer1.0-plugins-good",
            "gstreamer1.0-plugins-bad",
            "gstreamer1.0-libav",
            "gstreamer1.0-pulseaudio",
        ],
    },
    need("a virtual display", &["Xvfb"], &["xvfb", "xauth"]),
    need("D-Bus", &["dbus-daemon"], &["dbus"]),
    need(
        "PulseAudio and its tools",
        &["pulseaudio", "pactl", "parec"],
        &["pulseaudio", "pulseaudio-utils"],
    ),
];

/// To test: the sources, listeners, reference decoders and peers.
const CLIENTS: &[Need] = &[
    need("ffmpeg", &["ffmpeg", "ffprobe"], &["ffmpeg"]),
    need("curl", &["curl"], &["curl"]),
    need("mpv (a listener)", &["mpv"], &["mpv"]),
    need(
        "openssl (certificates for tests)",
        &["openssl"],
        &["openssl"],
    ),
    need("oggfwd (libshout)", &["oggfwd"], &["oggfwd"]),
    need("ezstream (libshout)", &["ezstream"], &["ezstream"]),
    need("liquidsoap", &["liquidsoap"], &["liquidsoap"]),
    need("Python", &["python3"], &["python3"]),
    Need {
        what: "numpy (float samples), sipp's call and GStreamer's codecs",
        probe: Probe::Packages,
        packages: &[
            "python3-numpy",
            "sip-tester",
            "gstreamer1.0-plugins-base",
            "gstreamer1.0-plugins-good",
        ],
    },
    need(
        "gst-launch (RTP senders)",
        &["gst-launch-1.0"],
        &["gstreamer1.0-tools"],
    ),
    need(
        "opusenc and opusdec (reference Opus)",
        &["opusenc", "opusdec"],
        &["opus-tools"],
    ),
    need("mpg123 (reference MP3)", &["mpg123"], &["mpg123"]),
    need("lame (MP3 test material)", &["lame"], &["lame"]),
    need("sox (test material)", &["sox"], &["sox"]),
    need(
        "espeak-ng (speech test material)",
        &["espeak-ng"],
        &["espeak-ng"],
    ),
    need(
        "nginx (as a reverse proxy and a peer)",
        &["nginx"],
        &["nginx-light"],
    ),
    need("icecast2 (a peer)", &["icecast2"], &["icecast2"]),
];

/// To measure the fan-out beside its peers.
const PEERS: &[Need] = &[
    need("nginx (a peer)", &["nginx"], &["nginx-light"]),
    need("icecast2 (a peer)", &["icecast2"], &["icecast2"]),
    Need {
        what: "nchan (a peer, in nginx)",
        probe: Probe::Packages,
        packages: &["libnginx-mod-nchan"],
    },
];

/// What the caller is about to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Build and run.
    Build,
    /// Lint: rustfmt and clippy as well.
    Check,
    /// Run the fuzz targets: no WebAssembly, no page.
    Fuzz,
    /// Measure the fan-out: native code and its peers, no page.
    Fanout,
    /// Run every test: browsers and client programs as well.
    Test,
}

/// What is missing, in the order it is to be installed.
struct Missing {
    system: Vec<&'static Need>,
    rustup: Vec<Vec<&'static str>>,
    npm: Vec<PathBuf>,
}

/// Finds out what is missing, says so, asks on a terminal unless `yes`, installs it.
pub(crate) fn ensure(purpose: Purpose, yes: bool) -> Result<()> {
    let missing = look(purpose)?;
    let lines = missing.lines();
    if lines.is_empty() {
        return Ok(());
    }
    eprintln!("Missing on this machine:");
    for line in &lines {
        eprintln!("  - {line}");
    }
    missing.can_be_installed()?;
    if !yes && std::io::stdin().is_terminal() && !agreed()? {
        bail!("nothing was installed; install the above yourself, or answer yes");
    }
    missing.install()
}

fn agreed() -> Result<bool> {
    eprint!("Install it now? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    // End of input (Ctrl-D) is not a yes; an empty line is.
    Ok(matches!(
        answer.to_lowercase().as_str(),
        "\n" | "\r\n" | "y\n" | "yes\n" | "y\r\n" | "yes\r\n"
    ))
}

fn look(purpose: Purpose) -> Result<Missing> {
    let mut needs: Vec<&Need> = BUILD.iter().collect();
    let native = matches!(purpose, Purpose::Fuzz | Purpose::Fanout);
    if native {
        needs.retain(|need| need.for_native_code());
    }
    if purpose == Purpose::Fanout {
        needs.extend(PEERS);
    }
    if purpose == Purpose::Test {
        needs.extend(BROWSERS.iter().chain(CLIENTS));
    }
    let mut rustup = Vec::new();
    let sysroot = output(cmd("rustc").args(["--print", "sysroot"]))?;
    let wasm32 = Path::new(sysroot.trim()).join("lib/rustlib/wasm32-unknown-unknown");
    if !native && !wasm32.is_dir() {
        rustup.push(vec!["target", "add", "wasm32-unknown-unknown"]);
    }
    if matches!(purpose, Purpose::Check | Purpose::Test) {
        let bin = Path::new(sysroot.trim()).join("bin");
        for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
            if !bin.join(program).is_file() {
                rustup.push(vec!["component", "add", component]);
            }
        }
    }
    let mut npm = Vec::new();
    for dir in npm_dirs(purpose) {
        if dir.join("package-lock.json").is_file()
            && !(dir.join("node_modules").is_dir()
                && stamp::is_fresh(&npm_stamp(&dir), &npm_inputs(&dir)?))
        {
            npm.push(dir);
        }
    }
    Ok(Missing {
        system: needs.into_iter().filter(|need| !need.is_met()).collect(),
        rustup,
        npm,
    })
}

fn npm_dirs(purpose: Purpose) -> Vec<PathBuf> {
    let mut dirs = match purpose {
        Purpose::Fuzz | Purpose::Fanout => Vec::new(),
        Purpose::Build | Purpose::Check | Purpose::Test => crate::wasm::npm_dirs().to_vec(),
    };
    if purpose == Purpose::Test {
        // Browser drivers and peers: whatever the tests keep a lock file for.
        let folders = std::fs::read_dir(root().join("tests"))
            .into_iter()
            .flatten();
        let mut of_tests: Vec<PathBuf> = folders.filter_map(|e| Some(e.ok()?.path())).collect();
        of_tests.sort();
        dirs.extend(of_tests);
    }
    dirs
}

fn npm_inputs(dir: &Path) -> Result<Fingerprint> {
    Fingerprint::of(&[dir.join("package.json"), dir.join("package-lock.json")])
}

fn npm_stamp(dir: &Path) -> String {
    let relative = dir.strip_prefix(root()).unwrap_or(dir).to_string_lossy();
    format!("npm-{}", relative.replace('/', "-"))
}

impl Need {
    fn for_native_code(&self) -> bool {
        self.packages
            .iter()
            .any(|package| matches!(*package, "build-essential" | "cmake"))
    }

    fn is_met(&self) -> bool {
        match self.probe {
            Probe::Programs(programs) => programs.iter().all(|program| which(program).is_some()),
            Probe::Packages => self.packages.iter().all(|package| {
                output(cmd("dpkg-query").args(["-W", "-f=${Status}", package]))
                    .is_ok_and(|status| status.ends_with("ok installed"))
            }),
            Probe::Browser(variable, programs) => {
                std::env::var_os(variable).is_some_and(|path| Path::new(&path).is_file())
                    || programs.iter().any(|program| which(program).is_some())
            }
            Probe::Node => node_major().is_some_and(|major| major >= NODE_MAJOR),
        }
    }
}

fn node_major() -> Option<u32> {
    let version = output(cmd("node").arg("--version")).ok()?;
    version
        .trim_start_matches('v')
        .split('.')
        .next()?
        .parse()
        .ok()
}

impl Missing {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .system
            .iter()
            .map(|need| format!("{} — Debian: {}", need.what, need.packages.join(" ")))
            .collect();
        lines.extend(
            self.rustup
                .iter()
                .map(|args| format!("a part of the Rust toolchain — rustup {}", args.join(" "))),
        );
        lines.extend(self.npm.iter().map(|dir| {
            let dir = dir.strip_prefix(root()).unwrap_or(dir);
            format!("npm packages — npm ci, in {}", dir.display())
        }));
        lines
    }

    fn can_be_installed(&self) -> Result<()> {
        if !self.system.is_empty() && (which("apt-get").is_none() || which("dpkg").is_none()) {
            bail!(
                "this is not Debian or Ubuntu: install the above with your system's own tools, \
                 then start again"
            );
        }
        if !self.system.is_empty() && !is_root() && which("sudo").is_none() {
            bail!("installing Debian packages needs root or sudo: install the above as root");
        }
        if !self.rustup.is_empty() && which("rustup").is_none() {
            bail!("rustup is not on PATH: add the above to your Rust toolchain by hand");
        }
        Ok(())
    }

    fn install(&self) -> Result<()> {
        if !self.system.is_empty() {
            let mut packages: Vec<&str> = self
                .system
                .iter()
                .flat_map(|need| need.packages.iter().copied())
                .collect();
            packages.sort_unstable();
            packages.dedup();
            step(
                &format!("Installing Debian packages: {}", packages.join(" ")),
                || apt(&packages),
            )?;
            if let Some(need) = self.system.iter().find(|need| !need.is_met()) {
                bail!(
                    "{} is still missing after installing {}",
                    need.what,
                    need.packages.join(" ")
                );
            }
        }
        for args in &self.rustup {
            step(&format!("rustup {}", args.join(" ")), || {
                // Without a toolchain named, rustup takes the pinned one.
                run(cmd("rustup").args(args))
            })?;
        }
        for dir in &self.npm {
            let shown = dir.strip_prefix(root()).unwrap_or(dir).display();
            step(&format!("npm ci, in {shown}"), || {
                run(cmd("npm")
                    .args(["ci", "--no-audit", "--no-fund"])
                    .current_dir(dir))
            })?;
            stamp::remember(&npm_stamp(dir), &npm_inputs(dir)?)?;
        }
        Ok(())
    }
}

fn is_root() -> bool {
    output(cmd("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn apt_get(args: &[&str]) -> Command {
    let mut command;
    if is_root() {
        command = cmd("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
    } else {
        command = cmd("sudo");
        command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    // Another apt may be at work on a machine that has just started.
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(args);
    command
}

fn apt(packages: &[&str]) -> Result<()> {
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    if package_lists_are_recent() && run(&mut apt_get(&install)).is_ok() {
        return Ok(());
    }
    run(&mut apt_get(&["update"])).context("cannot refresh the package lists")?;
    run(&mut apt_get(&install))
}

/// Whether apt's lists are there and younger than a day.
fn package_lists_are_recent() -> bool {
    let Ok(lists) = std::fs::read_dir("/var/lib/apt/lists") else {
        return false;
    };
    lists.filter_map(Result::ok).any(|entry| {
        entry.file_name().to_string_lossy().contains("_Packages")
            && entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|modified| {
                    modified
                        .elapsed()
                        .is_ok_and(|age| age < Duration::from_secs(24 * 3600))
                })
    })
}
