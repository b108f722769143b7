//! TLS on a socket of the runtime.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConfig;

use super::Channel;

/// Bytes read from the socket at once: a record.
const READ: usize = 16 << 10;

/// A connection over TLS.
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: TcpStream,
    channel: Box<Channel>,
}

impl TlsStream {
    /// A connection before its handshake.
    pub(super) fn new(config: Arc<ServerConfig>, socket: TcpStream) -> io::Result<Self> {
        let channel = Channel::new(config).map_err(io::Error::other)?;
        Ok(Self {
            socket,
            channel: Box::new(channel),
        })
    }

    /// The socket below.
    pub(crate) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The socket and what is known about its peer.
    pub(crate) fn into_parts(self) -> (TcpStream, Box<Channel>) {
        (self.socket, self.channel)
    }

    /// Whether the peer's greeting has been answered.
    pub(super) fn has_answered(&self) -> bool {
        self.channel.has_answered()
    }

    /// Goes on with the handshake until it is done.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_sent(cx))?;
            if self.channel.is_open() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Sends what is held.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, channel } = self;
        later(channel.flush(&mut Now { socket, cx }))
    }

    /// Reads from the socket once.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What waits for room goes on even when nobody writes any more.
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        let outcome = match buffer.filled() {
            // Without close_notify it may be a cut (RFC 8446 §6.1).
            [] => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => self.channel.receive(bytes),
        };
        // Alerts and answers: when the socket is full, they go with the next write.
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(outcome.and(Err(error)));
        }
        Poll::Ready(outcome)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let n = self.channel.read(buf.initialize_unfilled());
            buf.advance(n);
            if n > 0 || self.channel.has_ended() || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx))?;
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, channel } = self.get_mut();
        later(channel.write(&mut Now { socket, cx }, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_sent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.channel.close();
        ready!(this.poll_sent(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

/// The socket as one that does not wait; the task is woken when it is worth another try.
struct Now<'a, 'b> {
    socket: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Write for Now<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.socket).poll_write(self.cx, bytes) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn later<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}
