//! One listener's socket.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use mio::event::Source as _;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use super::super::session::Session;
use super::super::{Config, Farewell, ListenerId, Seat, Socket};
use super::past::Reel;
use super::tls::Tls;

/// What is rarely looked at.
pub(super) struct Cold {
    pub(super) peer: SocketAddr,
    pub(super) user_agent: Box<str>,
    pub(super) joined_ms: u64,
    pub(super) farewell: Option<Farewell>,
    /// Its place where listeners are limited.
    pub(super) seat: Option<Seat>,
}

/// A listener.
pub(super) struct Conn {
    pub(super) pipe: Pipe,
    pub(super) session: Session,
    pub(super) id: ListenerId,
    /// Slot of its mount.
    pub(super) mount: u32,
    /// Where it is in its mount's list.
    pub(super) place: u32,
    /// The socket took no more; epoll says when it does.
    pub(super) blocked: bool,
    /// The sending side is shut down.
    pub(super) shut: bool,
    /// There may be more to read.
    pub(super) readable: bool,
    /// Queued for another turn.
    pub(super) again: bool,
    pub(super) cold: Box<Cold>,
    /// For a listener that is behind what memory holds.
    pub(super) reel: Option<Box<Reel>>,
}

/// The socket itself.
pub(super) enum Pipe {
    Tcp(TcpStream),
    Tls(Box<Tls>),
}

/// How a write went.
pub(super) enum Wrote {
    /// This many bytes; `full` when the socket takes no more now.
    Some { n: usize, full: bool },
    /// None, the socket is full.
    Full,
}

impl Pipe {
    /// Prepares a socket for the shard.
    pub(super) fn new(socket: Socket, config: &Config) -> io::Result<Self> {
        match socket {
            Socket::Tcp(socket) => Ok(Self::Tcp(prepare(socket, config)?)),
            Socket::Tls(socket, connection) => {
                let socket = prepare(socket, config)?;
                Ok(Self::Tls(Box::new(Tls::new(socket, connection))))
            }
        }
    }

    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(tls) => tls.socket(),
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.as_fd(),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.socket().register(registry, token, interest)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket().deregister(registry)
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Wrote> {
        loop {
            let outcome = match (&mut *self, slices) {
                (Self::Tcp(socket), [one]) => socket.write(one),
                (Self::Tcp(socket), _) => socket.write_vectored(slices),
                (Self::Tls(tls), _) => tls.write_vectored(slices),
            };
            match outcome {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    // A short write of a socket means that its buffer is full
                    // and that epoll will say when it is not (epoll(7)).
                    let total: usize = slices.iter().map(|slice| slice.len()).sum();
                    let full = match self {
                        Self::Tcp(_) => n < total,
                        Self::Tls(tls) => would_block(tls.flush())?,
                    };
                    return Ok(Wrote::Some { n, full });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Wrote::Full),
                Err(error) => return Err(error),
            }
        }
    }

    /// Pushes on what TLS holds; true when the socket is full.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) => Ok(false),
            Self::Tls(tls) => would_block(tls.flush()),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Ends the sending side; false when that has to wait for the socket.
    pub(super) fn shut_down(&mut self) -> bool {
        match self {
            Self::Tcp(socket) => {
                // It fails when the peer is gone, which reading will tell.
                let _ = socket.shutdown(std::net::Shutdown::Write);
                true
            }
            Self::Tls(tls) => tls.shut_down(),
        }
    }
}

/// A socket with the options of a listener's.
fn prepare(socket: std::net::TcpStream, config: &Config) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    let options = SockRef::from(&socket);
    // A chunk is one write; waiting for more to fill a segment only delays it.
    options.set_tcp_nodelay(true)?;
    options.set_send_buffer_size(config.send_buffer)?;
    // What has not left the host counts as not sent, so that a
    // slow listener's backlog stays in the log, where it can be skipped.
    options.set_tcp_notsent_lowat(config.send_buffer as u32)?;
    let interval = config.ping_interval.max(Duration::from_secs(1));
    options.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(interval)
            .with_interval(interval),
    )?;
    Ok(TcpStream::from_std(socket))
}

fn would_block(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_a_few_hundred_bytes() {
        let conn = std::mem::size_of::<Conn>();
        assert!(conn <= 400, "a listener takes {conn} bytes");
    }
}
