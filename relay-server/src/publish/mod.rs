//! A source client: sends files at the pace of their media time, standard input
//! as it comes, or packets that arrive, to a relay.

mod files;
mod packets;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;

pub use crate::remote::Destination;

/// Bytes sent at a time.
const BLOCK: usize = 4096;
/// How long the relay may take to answer or to accept bytes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// `user:password`, from the URL or made of `password`.
fn credentials(to: &Destination, password: Option<&str>) -> Result<Vec<u8>, String> {
    to.credentials()
        .map(<[u8]>::to_vec)
        .or_else(|| password.map(|password| format!("source:{password}").into_bytes()))
        .ok_or_else(|| {
            "no credentials; write http://source:PASSWORD@… or set SEAMCAST_SOURCE_PASSWORD"
                .to_owned()
        })
}

/// Publishes `input` until it ends: a file, folder or playlist at its own pace,
/// `-` for standard input as it comes, `rtp://` or `udp://` for packets that
/// arrive. `password` is used when the URL has none.
///
/// # Errors
/// When the input cannot be read, or the relay refuses or goes away.
pub fn publish(input: &str, to: &Destination, password: Option<&str>) -> Result<(), String> {
    if input.starts_with("rtp://") || input.starts_with("udp://") {
        return packets::publish(input, to, password);
    }
    if input != "-" {
        return files::publish(Path::new(input), to, password);
    }
    let mut reader = io::stdin().lock();
    let mut relay = Connection::open(to, password)?;
    let mut block = vec![0; BLOCK];
    loop {
        match reader.read(&mut block) {
            Ok(0) => break,
            Ok(read) => relay.send(&block[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("cannot read standard input: {error}")),
        }
    }
    relay.finish()
}

struct Connection {
    socket: TcpStream,
    name: String,
}

impl Connection {
    fn open(to: &Destination, password: Option<&str>) -> Result<Self, String> {
        let name = format!("{to:?}");
        let failed = |error: io::Error| format!("{name}: {error}");
        let mut socket = TcpStream::connect(to.authority())
            .map_err(|error| format!("cannot connect to {}: {error}", to.authority()))?;
        socket.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        socket.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
        let credentials = credentials(to, password)?;
        let basic = base64::engine::general_purpose::STANDARD.encode(credentials);
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {basic}\r\nUser-Agent: \
             relay-server/{}\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
            to.path(),
            to.authority(),
            env!("CARGO_PKG_VERSION")
        );
        socket.write_all(head.as_bytes()).map_err(failed)?;
        let mut relay = Self { socket, name };
        match relay.answer()? {
            100 => Ok(relay),
            status => Err(format!("{}: the relay answered {status}", relay.name)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.socket.write_all(&chunk).map_err(|error| {
            // The relay says why before it closes.
            match self.answer() {
                Ok(status) => format!("{}: the relay answered {status}", self.name),
                Err(why) if why.contains("answered") => why,
                Err(_) => format!("{}: {error}", self.name),
            }
        })
    }

    fn finish(mut self) -> Result<(), String> {
        let ended = self.socket.write_all(b"0\r\n\r\n");
        ended.map_err(|error| format!("{}: {error}", self.name))?;
        match self.answer()? {
            200 => Ok(()),
            status => Err(format!("{}: the relay answered {status}", self.name)),
        }
    }

    /// Reads a response head; for an error its body is the message.
    fn answer(&mut self) -> Result<u16, String> {
        let failed = |error: io::Error| format!("{}: no answer: {error}", self.name);
        let limited = self.socket.try_clone().map_err(failed)?.take(64 * 1024);
        let mut lines = BufReader::new(limited);
        let mut first = String::new();
        lines.read_line(&mut first).map_err(failed)?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let Some(status) = status else {
            return Err(format!("{}: the relay closed the connection", self.name));
        };
        let mut line = String::new();
        while lines.read_line(&mut line).map_err(failed)? > 0 && !line.trim().is_empty() {
            line.clear();
        }
        if status < 400 {
            return Ok(status);
        }
        let mut body = String::new();
        let _ = lines.read_line(&mut body);
        Err(format!(
            "{}: the relay answered {status}: {}",
            self.name,
            body.trim()
        ))
    }
}
