//! A listener's connection in the load generator: TCP, or TLS over it.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use anyhow::Result;
use mio::net::TcpStream;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use crate::support::certificate::client;

/// A connection that may be encrypted.
#[derive(Debug)]
pub enum Line {
    /// Nothing between.
    Tcp(TcpStream),
    /// TLS, whose handshake reading drives.
    Tls(TcpStream, Box<ClientConnection>),
}

impl Line {
    /// Over a socket; with TLS if there is a configuration of it.
    ///
    /// # Errors
    /// When the configuration does not allow any connection.
    pub fn new(socket: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        Ok(match tls {
            None => Self::Tcp(socket),
            Some(config) => Self::Tls(socket, Box::new(client(config)?)),
        })
    }

    /// The socket below.
    #[must_use]
    pub const fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) | Self::Tls(socket, _) => socket,
        }
    }

    /// Writes a request; with TLS it leaves with the end of the handshake.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.write_all(request),
            Self::Tls(socket, tls) => {
                tls.writer().write_all(request)?;
                flush(socket, tls)
            }
        }
    }

    /// Calls `on` with all that has come.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        mut on: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            // A short read of a socket means that it is empty (epoll(7)).
            let drained = match self {
                Self::Tcp(socket) => match socket.read(buffer) {
                    Ok(0) => return Err(io::Error::other("closed by the server")),
                    Ok(n) => {
                        on(&buffer[..n])?;
                        n < buffer.len()
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                    Err(error) => return Err(error),
                },
                Self::Tls(socket, tls) => {
                    let mut short = Short {
                        socket,
                        drained: false,
                    };
                    match tls.read_tls(&mut short) {
                        Ok(0) => return Err(io::Error::other("closed by the server")),
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                        Err(error) => return Err(error),
                    }
                    let drained = short.drained;
                    tls.process_new_packets().map_err(io::Error::other)?;
                    flush(socket, tls)?;
                    loop {
                        match tls.reader().read(buffer) {
                            Ok(0) => return Err(io::Error::other("ended by the server")),
                            Ok(n) => on(&buffer[..n])?,
                            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                            Err(error) => return Err(error),
                        }
                    }
                    drained
                }
            };
            if drained {
                return Ok(());
            }
        }
    }
}

/// The client says so little that it fits into any socket's buffer.
fn flush(socket: &mut TcpStream, tls: &mut ClientConnection) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

/// Notes whether a read took all there was.
struct Short<'a> {
    socket: &'a mut TcpStream,
    drained: bool,
}

impl Read for Short<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.socket.read(buffer)?;
        self.drained = n < buffer.len();
        Ok(n)
    }
}
