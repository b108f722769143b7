//! The load generator: many listeners on one epoll thread, in a process of
//! its own. It says `joined` once all have audio, measures when told to, and
//! leaves when told to.

use std::io::{self, BufRead, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::histogram::Histogram;
use super::line::Line;
use super::stream::{Scanner, wall_us};
use crate::support::certificate;

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// HTTP/1.0 body.
    Http,
    /// WebSocket without a subprotocol.
    Ws,
    /// WebSocket with `seamcast.v1`.
    Framed,
}

/// What to do; one JSON object as the only argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Request target.
    pub path: String,
    /// What to speak.
    pub transport: Transport,
    /// Over TLS, trusting this certificate.
    pub certificate: Option<PathBuf>,
    /// Listeners.
    pub listeners: usize,
    /// Connects per second at most.
    pub rate: usize,
}

/// A request for a measurement, as a line of JSON on standard input.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Window {
    /// Frames sent from then on count; µs since the Unix epoch.
    pub from: u64,
    /// Frames sent from then on do not.
    pub to: u64,
}

#[derive(Debug, Default)]
struct Messages {
    header: Vec<u8>,
    left: usize,
    binary: bool,
    /// Bytes of `seamcast.v1` header still to skip.
    prefix: usize,
}

#[derive(Debug)]
struct Listener {
    line: Line,
    asked: bool,
    ear: Ear,
}

/// What a listener makes of what it gets.
#[derive(Debug)]
struct Ear {
    head: Option<Vec<u8>>,
    messages: Messages,
    scanner: Scanner,
    connected: Instant,
    first_audio: Option<Duration>,
    next: Option<u64>,
}

#[derive(Debug, Default)]
struct Totals {
    window: Option<Window>,
    latency: Histogram,
    joins: Histogram,
    heard: usize,
    gone: usize,
    refused: usize,
    holes: u64,
    messages: u64,
    bytes: u64,
    /// First and last frame seen of those in the window.
    frames: Option<(u64, u64)>,
    begin: Option<Instant>,
    /// From the first connect to the last first audio.
    last_join: Duration,
}

/// How long joins may take after the last connect.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the plan, controlled by standard input.
///
/// # Errors
/// When sockets cannot be had.
pub fn run(plan: &Plan) -> Result<()> {
    let (said, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                return;
            }
        }
    });
    let tls = plan.certificate.as_deref();
    let tls = tls.map(certificate::client_config).transpose()?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4096);
    let mut listeners: Vec<Option<Listener>> = Vec::with_capacity(plan.listeners);
    let mut totals = Totals::default();
    let mut buffer = vec![0; 256 << 10];
    let begin = Instant::now();
    totals.begin = Some(begin);
    let mut told = false;
    let mut all_connected = Duration::ZERO;
    loop {
        let due = (begin.elapsed().as_secs_f64() * plan.rate as f64) as usize + 1;
        // A few at a time, so that those who are there are read meanwhile.
        let until = due.min(plan.listeners).min(listeners.len() + 50);
        while listeners.len() < until {
            let mut socket = connect(plan.address, listeners.len())?;
            let token = Token(listeners.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, token, interest)?;
            listeners.push(Some(Listener {
                line: Line::new(socket, tls.as_ref())?,
                asked: false,
                ear: Ear {
                    head: Some(Vec::new()),
                    messages: Messages::default(),
                    scanner: Scanner::default(),
                    connected: Instant::now(),
                    first_audio: None,
                    next: None,
                },
            }));
            all_connected = begin.elapsed();
        }
        let connecting = listeners.len() < plan.listeners;
        let wait = Duration::from_millis(if connecting { 1 } else { 20 });
        poll.poll(&mut events, Some(wait))?;
        for event in &events {
            let slot = &mut listeners[event.token().0];
            let Some(listener) = slot else { continue };
            let outcome = listener.event(plan, &mut buffer, &mut totals);
            if let Err(error) = outcome {
                if totals.gone + totals.refused < 3 {
                    eprintln!("listener {}: {error}", event.token().0);
                }
                match listener.ear.first_audio {
                    Some(_) => totals.gone += 1,
                    None => totals.refused += 1,
                }
                *slot = None;
            }
        }
        let settled = totals.heard + totals.refused + totals.gone >= plan.listeners;
        let late = !connecting && begin.elapsed() > all_connected + PATIENCE;
        if !told && (settled || late) {
            told = true;
            let secs = totals.last_join.as_secs_f64();
            println!(
                "{}",
                json!({
                    "heard": totals.heard,
                    "refused": listeners.len() - totals.heard,
                    "connect_secs": all_connected.as_secs_f64(),
                    "joins_per_sec": totals.heard as f64 / secs,
                    "first_audio": totals.joins.summary(),
                })
            );
        }
        match lines.try_recv() {
            Ok(line) => {
                let window: Window = serde_json::from_str(&line).context("no window")?;
                totals.window = Some(window);
                totals.messages = 0;
                totals.bytes = 0;
            }
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
        }
        // A second for what was sent at the end to arrive.
        if let Some(window) = totals.window.filter(|w| wall_us() > w.to + 1_500_000) {
            println!(
                "{}",
                json!({
                    "latency": totals.latency.summary(),
                    "gone": totals.gone,
                    "frames": totals.frames.map_or(0, |(first, last)| last - first + 1),
                    "holes": totals.holes,
                    "messages": totals.messages,
                    "bytes": totals.bytes,
                    "secs": (window.to - window.from) as f64 / 1e6,
                })
            );
            totals.window = None;
        }
    }
}

fn connect(address: SocketAddr, index: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // One source address has 28 000 ports; several also spread the hash.
    let source = Ipv4Addr::new(127, 0, 0, 2 + (index % 8) as u8);
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(115) => {}
        Err(error) => bail!("cannot connect to {address}: {error}"),
    }
    Ok(TcpStream::from_std(socket.into()))
}

impl Listener {
    fn event(&mut self, plan: &Plan, buffer: &mut [u8], totals: &mut Totals) -> io::Result<()> {
        if !self.asked {
            if let Some(error) = self.line.socket().take_error()? {
                return Err(error);
            }
            match self.line.socket().peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
            self.asked = true;
            self.line.ask(request(plan).as_bytes())?;
        }
        let Self { line, ear, .. } = self;
        line.read(buffer, |bytes| ear.take(plan.transport, bytes, totals))
    }
}

impl Ear {
    fn take(&mut self, transport: Transport, bytes: &[u8], totals: &mut Totals) -> io::Result<()> {
        totals.bytes += bytes.len() as u64;
        let Some(head) = &mut self.head else {
            self.body(transport, bytes, totals);
            return Ok(());
        };
        head.extend_from_slice(bytes);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(());
        };
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        if !(line.contains(" 200") || line.contains(" 101")) {
            return Err(io::Error::other(line));
        }
        let rest = head.split_off(end + 4);
        self.head = None;
        self.body(transport, &rest, totals);
        Ok(())
    }

    fn body(&mut self, transport: Transport, mut bytes: &[u8], totals: &mut Totals) {
        if transport == Transport::Http {
            totals.messages += 1;
            self.audio(bytes, totals);
            return;
        }
        while !bytes.is_empty() {
            let messages = &mut self.messages;
            if messages.left == 0 {
                // Two bytes, and more if the length needs them.
                let wanted = match messages.header.get(1) {
                    None => 2,
                    Some(126) => 4,
                    Some(127) => 10,
                    Some(_) => 2,
                };
                if messages.header.len() < wanted {
                    messages.header.push(bytes[0]);
                    bytes = &bytes[1..];
                    if messages.header.len() < 2 {
                        continue;
                    }
                }
                let header = &messages.header;
                let len = match (header[1], header.len()) {
                    (126, 4) => usize::from(u16::from_be_bytes([header[2], header[3]])),
                    (127, 10) => header[2..].iter().fold(0, |n, b| n << 8 | usize::from(*b)),
                    (126 | 127, _) => continue,
                    (short, _) => usize::from(short),
                };
                messages.binary = header[0] & 0x0f == 2;
                messages.left = len;
                messages.prefix = if transport == Transport::Framed {
                    40
                } else {
                    0
                };
                messages.header.clear();
                totals.messages += u64::from(messages.binary);
                continue;
            }
            let (part, rest) = bytes.split_at(messages.left.min(bytes.len()));
            messages.left -= part.len();
            let skip = messages.prefix.min(part.len());
            messages.prefix -= skip;
            bytes = rest;
            if messages.binary {
                self.audio(&part[skip..], totals);
            }
        }
    }

    fn audio(&mut self, bytes: &[u8], totals: &mut Totals) {
        let now = wall_us();
        let Self {
            scanner,
            next,
            first_audio,
            connected,
            ..
        } = self;
        scanner.push(bytes, |counter, sent| {
            if first_audio.is_none() {
                let took = connected.elapsed();
                *first_audio = Some(took);
                totals.joins.add(took.as_micros() as u64);
                totals.heard += 1;
                totals.last_join = totals.begin.map_or(took, |begin| begin.elapsed());
            }
            if let Some(window) = totals.window
                && (window.from..window.to).contains(&sent)
            {
                totals.latency.add(now.saturating_sub(sent));
                let (first, last) = totals.frames.unwrap_or((counter, counter));
                totals.frames = Some((first.min(counter), last.max(counter)));
                if next.is_some_and(|next| next != counter) {
                    totals.holes += 1;
                }
            }
            *next = Some(counter + 1);
        });
    }
}

fn request(plan: &Plan) -> String {
    let Plan { path, address, .. } = plan;
    match plan.transport {
        Transport::Http => format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"),
        Transport::Ws | Transport::Framed => format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
            if plan.transport == Transport::Framed {
                "Sec-WebSocket-Protocol: seamcast.v1\r\n"
            } else {
                ""
            }
        ),
    }
}
