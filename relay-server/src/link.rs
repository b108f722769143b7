//! A connection before it is known what it wants: plain TCP or TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::fanout::Socket;
use crate::tls::TlsStream;

/// A connection's byte stream.
#[derive(Debug)]
pub(crate) enum Link {
    Tcp(TcpStream),
    Tls(TlsStream),
}

impl Link {
    /// Whether the peer gets what is written here as it is.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Acknowledges what has come at once.
    #[cfg(target_os = "linux")]
    pub(crate) fn acknowledge(&self) {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => stream.socket(),
        };
        // Without it acknowledgements only come later.
        let _ = socket.set_quickack(true);
    }

    /// Has the kernel tell of input when there are `bytes` of it, or the end; what is there can be
    /// read at any time. False when it cannot.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    pub(crate) fn low_water(&self, bytes: u16) -> bool {
        use std::os::fd::AsRawFd as _;
        // The end of a TLS record is not seen from outside.
        let Self::Tcp(socket) = self else {
            return false;
        };
        let mark = libc::c_int::from(bytes);
        // SAFETY: the descriptor is open for as long as `socket`, and the kernel reads the
        // c_int that it is told the length of (socket(7), SO_RCVLOWAT).
        let outcome = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                (&raw const mark).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        outcome == 0
    }

    /// Other systems tell of every byte.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn low_water(&self, _bytes: u16) -> bool {
        false
    }

    /// Leaves the runtime, for a shard. What was decrypted and not read is added to `received`:
    /// epoll will not tell of it.
    pub(crate) fn into_socket(self, received: &mut BytesMut) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => Ok(Socket::Tcp(socket.into_std()?)),
            Self::Tls(stream) => {
                let (socket, mut channel) = stream.into_parts();
                let mut buffer = [0; 4096];
                while let read @ 1.. = channel.read(&mut buffer) {
                    received.extend_from_slice(&buffer[..read]);
                }
                Ok(Socket::Tls(socket.into_std()?, channel))
            }
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
