//! A relay of the test's own: the real binary on a free loopback port.

use super::{Program, Running, Scratch, workspace_root};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How to start a relay.
#[derive(Debug, Clone, Default)]
pub struct RelayOptions {
    /// Further arguments of `relay-server serve`.
    pub args: Vec<String>,
    /// A configuration file's text.
    pub config: Option<String>,
    /// Where to listen; a free port of 127.0.0.1 otherwise. For a relay that
    /// has to come back at the same address.
    pub listen: Option<SocketAddr>,
    /// A program and its arguments that makes itself the relay (`exec "$@"`)
    /// whose command follows; it runs in the data folder.
    pub wrapper: Vec<String>,
}

/// A running relay, ended when dropped.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    /// The process, for its output and for signals.
    pub process: Running,
    /// Its data folder, also where the configuration file is.
    pub scratch: Scratch,
}

impl Relay {
    /// The password of `source`.
    pub const PASSWORD: &'static str = "source-of-the-tests";
    /// The admin token.
    pub const TOKEN: &'static str = "token-of-the-tests";

    /// Starts one with default options.
    ///
    /// # Panics
    /// When it is not ready within 30 s; the message has its log.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&RelayOptions::default())
    }

    /// Starts one with this configuration file.
    ///
    /// # Panics
    /// When it is not ready within 30 s; the message has its log.
    #[must_use]
    pub fn with_config(config: &str) -> Self {
        Self::start_with(&RelayOptions {
            config: Some(config.to_owned()),
            ..RelayOptions::default()
        })
    }

    /// Starts one and waits until `/healthz` answers.
    ///
    /// # Panics
    /// When it is not ready within 30 s; the message has its log.
    #[must_use]
    pub fn start_with(options: &RelayOptions) -> Self {
        let mut said = String::new();
        // Another process may take the free port before the relay does.
        for _ in 0..3 {
            match Self::attempt(options) {
                Ok(relay) => return relay,
                Err(log) => said = log,
            }
        }
        panic!("the relay did not become ready: {said}");
    }

    fn attempt(options: &RelayOptions) -> Result<Self, String> {
        let scratch = Scratch::new("relay");
        let address = options.listen.unwrap_or_else(free_address);
        let mut command = options.wrapper.clone();
        command.push(binary().to_string_lossy().into_owned());
        let mut program = Program::new(&command[0])
            .args(&command[1..])
            .in_dir(scratch.path())
            .arg("serve")
            .args(["--listen", &address.to_string()])
            .arg("--data-dir")
            .arg(scratch.path())
            .args(&options.args)
            .env("SEAMCAST_SOURCE_PASSWORD", Self::PASSWORD)
            .env("SEAMCAST_ADMIN_TOKEN", Self::TOKEN);
        if let Some(config) = &options.config {
            let file = scratch.file("relay.toml");
            std::fs::write(&file, config).map_err(|e| e.to_string())?;
            program = program.arg("--config").arg(file);
        }
        let mut process = program.spawn().map_err(|e| e.to_string())?;
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until && process.ended().is_none() {
            let healthy = http_request(address, "GET /healthz HTTP/1.0\r\n\r\n")
                .is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"));
            let listens = || udp_ports(options).all(is_bound);
            if healthy && process.ended().is_none() && listens() {
                return Ok(Self {
                    address,
                    process,
                    scratch,
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        process.kill();
        let _ = process.wait(Duration::ZERO);
        Err(process.stderr() + &String::from_utf8_lossy(&process.stdout()))
    }

    /// The program, as the tests start it.
    #[must_use]
    pub fn binary() -> PathBuf {
        binary()
    }

    /// Has curl write what `path` answers, to its end, to `file`.
    ///
    /// # Panics
    /// When that takes 30 s or is refused; the message has the relay's log.
    pub fn download(&self, path: &str, file: &Path) {
        Program::new("curl")
            .args(["-sS", "--fail", "--max-time", "30", "-o"])
            .arg(file)
            .arg(self.url(path))
            .run()
            .unwrap_or_else(|error| panic!("{error}\nrelay: {}", self.process.stderr()));
    }

    /// ffmpeg, about to publish an Ogg/Opus file as it is, at its own pace, a
    /// packet a page.
    #[must_use]
    pub fn publishing(&self, file: &Path, mount: &str) -> Program {
        Program::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-re", "-i"])
            .arg(file)
            .args(["-c", "copy", "-content_type", "audio/ogg"])
            .args(["-flush_packets", "1", "-page_duration", "20000"])
            .args(["-f", "ogg"])
            .arg(self.icecast_url(mount))
    }

    /// `http://HOST:PORT` and `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `ws://HOST:PORT` and `path`, which begins with a slash.
    #[must_use]
    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// ffmpeg's URL for publishing to the mount `path`, which begins with a slash.
    #[must_use]
    pub fn icecast_url(&self, path: &str) -> String {
        format!("icecast://source:{}@{}{path}", Self::PASSWORD, self.address)
    }

    /// A GET of `path`: status and body.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn fetch(&self, path: &str) -> (u16, String) {
        let head = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        let answer = http_request(self.address, &head)
            .unwrap_or_else(|e| panic!("no answer to GET {path}: {e}"));
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }

    /// Polls `path` until its body contains `text`.
    ///
    /// # Panics
    /// When that does not happen within `limit`.
    pub fn wait_for(&self, path: &str, text: &str, limit: Duration) {
        let until = Instant::now() + limit;
        loop {
            let (status, body) = self.fetch(path);
            if status == 200 && body.contains(text) {
                return;
            }
            assert!(
                Instant::now() < until,
                "{path} did not contain {text:?} within {limit:?}; the last answer was {status} {body}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sends `request` as it is and reads to the end of the connection, at most 10 s.
///
/// # Errors
/// What the socket says.
pub fn http_request(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let limit = Duration::from_secs(10);
    let mut socket = TcpStream::connect_timeout(&address, limit)?;
    socket.set_read_timeout(Some(limit))?;
    socket.set_write_timeout(Some(limit))?;
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where the inputs of the configuration receive datagrams.
fn udp_ports(options: &RelayOptions) -> impl Iterator<Item = u16> {
    let config = options.config.as_deref().unwrap_or_default();
    let inputs = config.split("[[").filter_map(|s| s.strip_prefix("input]]"));
    let lines = inputs
        .flat_map(str::lines)
        .filter(|line| line.starts_with("listen"));
    lines.filter_map(|line| line.rsplit(':').next()?.trim_end_matches('"').parse().ok())
}

/// Packets that are sent before that are lost.
fn is_bound(port: u16) -> bool {
    std::net::UdpSocket::bind(("127.0.0.1", port)).is_err()
}

/// A port of 127.0.0.1 that nobody listens on right now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0");
    listener
        .and_then(|l| l.local_addr())
        .unwrap_or_else(|e| panic!("no free port on 127.0.0.1: {e}"))
}

/// The relay binary: `SEAMCAST_RELAY`, or else built now in the tests' profile,
/// so that it can never be older than the sources.
fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| {
            if let Some(path) = std::env::var_os("SEAMCAST_RELAY") {
                return path.into();
            }
            let release = !cfg!(debug_assertions);
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Program::new(cargo)
                .in_dir(&workspace_root())
                .args([
                    "build",
                    "--quiet",
                    "-p",
                    "relay-server",
                    "--bin",
                    "relay-server",
                ])
                .limit(Duration::from_secs(1800));
            if release {
                build = build.arg("--release");
            }
            build
                .run()
                .unwrap_or_else(|e| panic!("cannot build the relay: {e}"));
            let target = std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| workspace_root().join("target"), PathBuf::from);
            target
                .join(if release { "release" } else { "debug" })
                .join("relay-server")
        })
        .clone()
}

/// An even UDP port that is free together with the one above it, as RTP wants it.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_udp_port() -> u16 {
    for _ in 0..200 {
        let first = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = first.local_addr().expect("bound").port();
        if port.is_multiple_of(2) && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no free pair of UDP ports");
}
