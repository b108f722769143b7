//! The servers under test, each with its own source.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::{self, Transport};
use super::process::Guard;
use super::stream::{Pacer, frames_per_chunk};
use crate::support::certificate::Certificate;
use crate::support::{Scratch, workspace_root};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The relay, listeners speaking `seamcast.v1`.
    Relay,
    /// The relay, listeners of the plain WebSocket.
    RelayWs,
    /// The relay, HTTP listeners.
    RelayHttp,
    /// The relay, listeners that ask for two chunks a message.
    RelayCoarse,
    /// The relay, listeners speaking `seamcast.v1` over TLS.
    RelayTls,
    /// Icecast 2, HTTP listeners.
    Icecast,
    /// The same over TLS.
    IcecastTls,
    /// nginx with nchan, WebSocket listeners.
    Nchan,
    /// The same over TLS, which nginx ends.
    NchanTls,
    /// One `send(2)` per listener and chunk.
    Floor,
}

impl Kind {
    /// All, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Relay,
        Self::RelayWs,
        Self::RelayHttp,
        Self::RelayCoarse,
        Self::RelayTls,
        Self::Icecast,
        Self::IcecastTls,
        Self::Nchan,
        Self::NchanTls,
        Self::Floor,
    ];

    /// Its name on the command line and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::RelayWs => "relay-ws",
            Self::RelayHttp => "relay-http",
            Self::RelayCoarse => "relay-coarse",
            Self::RelayTls => "relay-tls",
            Self::Icecast => "icecast",
            Self::IcecastTls => "icecast-tls",
            Self::Nchan => "nchan",
            Self::NchanTls => "nchan-tls",
            Self::Floor => "floor",
        }
    }

    /// Connects per second that it bears. Icecast's accept queue holds five,
    /// so that faster ones are lost and come again after seconds.
    #[must_use]
    pub const fn join_rate(self) -> usize {
        match self {
            Self::Icecast | Self::IcecastTls => 150,
            _ => 2000,
        }
    }

    /// Whether it is the relay.
    #[must_use]
    pub const fn is_relay(self) -> bool {
        matches!(
            self,
            Self::Relay | Self::RelayWs | Self::RelayHttp | Self::RelayCoarse | Self::RelayTls
        )
    }

    /// Whether its listeners come over TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::RelayTls | Self::IcecastTls | Self::NchanTls)
    }

    /// What its listeners speak.
    #[must_use]
    pub const fn transport(self) -> Transport {
        match self {
            Self::Relay | Self::RelayCoarse | Self::RelayTls => Transport::Framed,
            Self::RelayWs | Self::Nchan | Self::NchanTls => Transport::Ws,
            Self::RelayHttp | Self::Icecast | Self::IcecastTls | Self::Floor => Transport::Http,
        }
    }

    /// What its listeners ask for.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Nchan | Self::NchanTls => "/sub",
            Self::RelayCoarse => "/live.mp3?min_chunk=150",
            _ => "/live.mp3",
        }
    }
}

/// A running server that is being fed; ended when dropped.
#[derive(Debug)]
pub struct Server {
    /// Where listeners connect.
    pub address: SocketAddr,
    /// The process to measure.
    pub pid: u32,
    certificate: Option<Certificate>,
    feeding: Arc<AtomicBool>,
    _process: Guard,
    _scratch: Scratch,
}

impl Server {
    /// What its listeners trust, if they come over TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<PathBuf> {
        self.certificate.as_ref().map(|made| made.chain.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.feeding.store(false, Ordering::Relaxed);
    }
}

/// Starts a server on `address` and feeds it.
///
/// # Errors
/// When it is not installed or does not become ready.
pub fn start(kind: Kind, address: SocketAddr) -> Result<Server> {
    let scratch = Scratch::new(kind.name());
    let certificate = kind
        .is_tls()
        .then(|| Certificate::new(scratch.path(), "server"))
        .transpose()?;
    // The source's: not encrypted.
    let inlet = match kind {
        Kind::IcecastTls | Kind::NchanTls => free(address)?,
        _ => address,
    };
    let mut command = match kind {
        kind if kind.is_relay() => relay(address, scratch.path(), certificate.as_ref())?,
        Kind::Icecast | Kind::IcecastTls => {
            icecast(address, inlet, scratch.path(), certificate.as_ref())?
        }
        Kind::Nchan | Kind::NchanTls => {
            nchan(address, inlet, scratch.path(), certificate.as_ref())?
        }
        _ => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([
                "floor",
                &address.to_string(),
                &frames_per_chunk().to_string(),
            ]);
            command
        }
    };
    let log = std::fs::File::create(scratch.file("output.log"))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let process = Guard(child);
    let said = || std::fs::read_to_string(scratch.file("output.log")).unwrap_or_default();
    wait(address).with_context(said)?;
    let feeding = Arc::new(AtomicBool::new(true));
    match kind {
        Kind::Floor => {}
        Kind::Nchan | Kind::NchanTls => publish_messages(inlet, feeding.clone())?,
        _ => publish_stream(inlet, feeding.clone()).with_context(said)?,
    }
    Ok(Server {
        address,
        pid: process.0.id(),
        certificate,
        feeding,
        _process: process,
        _scratch: scratch,
    })
}

/// A hundred listeners that come and go, so that what a server makes once is
/// not counted as the listeners' of the measurement.
///
/// # Errors
/// When it does not take connections.
pub fn warm_up(server: &Server, kind: Kind) -> Result<()> {
    let plan = load::Plan {
        address: server.address,
        path: kind.path().to_owned(),
        transport: kind.transport(),
        certificate: server.certificate(),
        listeners: 100,
        rate: kind.join_rate(),
    };
    let mut child = Command::new(std::env::current_exe()?)
        .args(["load", &serde_json::to_string(&plan)?])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    std::thread::sleep(Duration::from_secs(2));
    // The end of its input makes it leave.
    drop(child.stdin.take());
    child.wait()?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

fn wait(address: SocketAddr) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            bail!("nothing listens on {address}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn relay(
    address: SocketAddr,
    scratch: &Path,
    certificate: Option<&Certificate>,
) -> Result<Command> {
    // The log is full before the first measurement of memory: what the stream
    // holds must not count as the listeners'.
    let config = scratch.join("relay.toml");
    let tls = certificate.map_or_else(String::new, Certificate::config);
    std::fs::write(&config, tls + "[defaults]\nhistory = \"5s\"\n")?;
    let mut command = Command::new(relay_binary()?);
    command
        .args(["serve", "--listen", &address.to_string(), "--data-dir"])
        .arg(scratch)
        .arg("--config")
        .arg(config)
        .env("SEAMCAST_SOURCE_PASSWORD", PASSWORD)
        .env("SEAMCAST_ADMIN_TOKEN", PASSWORD)
        .env("RUST_LOG", "warn");
    Ok(command)
}

const PASSWORD: &str = "of-the-benchmark";

/// `SEAMCAST_RELAY`, or the release build, made now.
fn relay_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SEAMCAST_RELAY") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(workspace_root())
        .args([
            "build",
            "--release",
            "-p",
            "relay-server",
            "--bin",
            "relay-server",
        ])
        .status()?;
    if !built.success() {
        bail!("the relay does not build");
    }
    let own = std::env::current_exe()?;
    Ok(own.with_file_name("relay-server"))
}

/// A port that nobody has, beside `address`.
fn free(address: SocketAddr) -> Result<SocketAddr> {
    let any = std::net::TcpListener::bind((address.ip(), 0))?;
    Ok(any.local_addr()?)
}

/// Listens for sources at `inlet`, which may be the same.
fn icecast(
    address: SocketAddr,
    inlet: SocketAddr,
    scratch: &Path,
    certificate: Option<&Certificate>,
) -> Result<Command> {
    // It refuses to run as root, so it needs a user and a folder to log to.
    let root = Command::new("id").arg("-u").output()?.stdout == b"0\n";
    let owner = if root {
        "<changeowner><user>icecast2</user><group>icecast</group></changeowner>"
    } else {
        ""
    };
    let (mut sockets, mut paths) = (String::new(), String::new());
    if let Some(certificate) = certificate {
        // It reads both from one file.
        let both = scratch.join("both.pem");
        let chain = std::fs::read_to_string(&certificate.chain)?;
        std::fs::write(&both, chain + &std::fs::read_to_string(&certificate.key)?)?;
        paths = format!("<ssl-certificate>{}</ssl-certificate>", both.display());
        sockets = icecast_socket(address, "<ssl>1</ssl>");
    }
    sockets += &icecast_socket(inlet, "");
    let text = format!(
        "<icecast><limits><clients>20000</clients><sources>4</sources>\
         <queue-size>524288</queue-size><burst-on-connect>1</burst-on-connect>\
         <burst-size>16384</burst-size></limits>\
         <authentication><source-password>{PASSWORD}</source-password>\
         <admin-user>admin</admin-user><admin-password>{PASSWORD}</admin-password></authentication>\
         <hostname>localhost</hostname>\
         {sockets}<paths>{paths}<logdir>{dir}</logdir><webroot>/usr/share/icecast2/web</webroot>\
         <adminroot>/usr/share/icecast2/admin</adminroot></paths>\
         <logging><accesslog>-</accesslog><errorlog>error.log</errorlog><loglevel>1</loglevel></logging>\
         <security><chroot>0</chroot>{owner}</security></icecast>",
        dir = scratch.display(),
    );
    let file = scratch.join("icecast.xml");
    std::fs::write(&file, text)?;
    if root {
        let given = Command::new("chown")
            .args(["-R", "icecast2"])
            .arg(scratch)
            .status()?;
        if !given.success() {
            bail!("there is no user icecast2; install icecast2");
        }
    }
    let mut command = Command::new("icecast2");
    command.arg("-c").arg(file);
    Ok(command)
}

fn icecast_socket(address: SocketAddr, more: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "<listen-socket><port>{port}</port><bind-address>{ip}</bind-address>{more}</listen-socket>"
    )
}

/// Listens for the publisher at `inlet`, which may be the same.
fn nchan(
    address: SocketAddr,
    inlet: SocketAddr,
    scratch: &Path,
    certificate: Option<&Certificate>,
) -> Result<Command> {
    let module = "/usr/lib/nginx/modules/ngx_nchan_module.so";
    if !Path::new(module).exists() {
        bail!("{module} is missing; install libnginx-mod-nchan");
    }
    let listen = match certificate {
        None => format!("listen {address} backlog=8192;"),
        Some(made) => format!(
            "listen {address} backlog=8192 ssl; listen {inlet};\n\
             ssl_certificate {}; ssl_certificate_key {};\n\
             ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers off;",
            made.chain.display(),
            made.key.display()
        ),
    };
    let text = format!(
        "load_module {module};\ndaemon off;\nworker_processes auto;\nworker_rlimit_nofile 30000;\n\
         pid {dir}/pid;\nerror_log {dir}/error.log error;\n\
         events {{ worker_connections 16000; }}\n\
         http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         nchan_shared_memory_size 256M;\n\
         server {{ {listen}\n\
         location = /pub {{ nchan_publisher; nchan_channel_id live; nchan_message_buffer_length 10; }}\n\
         location = /sub {{ nchan_subscriber websocket; nchan_channel_id live;\n\
         nchan_subscriber_first_message -10; }} }} }}\n",
        dir = scratch.display(),
    );
    let file = scratch.join("nginx.conf");
    std::fs::write(&file, text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(file).arg("-p").arg(scratch);
    Ok(command)
}

/// Publishes as an Icecast source until told to stop.
fn publish_stream(address: SocketAddr, feeding: Arc<AtomicBool>) -> Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    // "source:of-the-benchmark"
    socket.write_all(
        b"SOURCE /live.mp3?history=5s HTTP/1.0\r\n\
          Authorization: Basic c291cmNlOm9mLXRoZS1iZW5jaG1hcms=\r\n\
          Content-Type: audio/mpeg\r\n\r\n",
    )?;
    let mut answer = [0; 512];
    let n = socket.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    if !answer.contains(" 200") {
        bail!("the source was refused: {answer}");
    }
    std::thread::spawn(move || {
        let mut pacer = Pacer::new();
        while feeding.load(Ordering::Relaxed) {
            if let Err(error) = socket.write_all(&pacer.next_frame()) {
                eprintln!("the source was cut off: {error}");
                return;
            }
        }
    });
    // Long enough for a burst to be there.
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}

/// Publishes messages by POST until told to stop.
fn publish_messages(address: SocketAddr, feeding: Arc<AtomicBool>) -> Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    std::thread::spawn(move || {
        let mut pacer = Pacer::new();
        let frames = frames_per_chunk();
        let mut answer = [0; 4096];
        while feeding.load(Ordering::Relaxed) {
            let mut body = Vec::new();
            for _ in 0..frames {
                body.extend_from_slice(&pacer.next_frame());
            }
            let head = format!(
                "POST /pub HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            let message = [head.as_bytes(), &body].concat();
            let sent = socket.write_all(&message);
            if let Err(error) = sent.and_then(|()| socket.read(&mut answer)) {
                eprintln!("the publisher was cut off: {error}");
                return;
            }
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}
