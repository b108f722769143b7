//! The accept loop. It looks at a connection's first bytes: source requests
//! that hyper cannot read go to the ingest parser, all else is replayed to
//! hyper.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use crate::http;
use crate::ingest::head::{self, Verdict};
use crate::ingest::raw;
use crate::link::Link;
use crate::server::{Counters, Relay};
use crate::tls;

/// How long a peer may take nothing of an answer, as a listener may.
const UNREAD: Duration = Duration::from_secs(60);
/// How long a request may take that is on its way when the relay leaves.
const JUST_CONNECTED: Duration = Duration::from_millis(500);

/// Accepts connections for ever.
pub(crate) async fn accept(relay: Arc<Relay>, listener: TcpListener) {
    loop {
        let Some((socket, peer, guard)) = next(&relay, &listener).await else {
            continue;
        };
        tokio::spawn(async move {
            if let Err(error) = greet(&guard.0, socket, peer).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
}

/// The next connection, counted; `None` when it cannot be had or served.
async fn next(
    relay: &Arc<Relay>,
    listener: &TcpListener,
) -> Option<(TcpStream, SocketAddr, Guard)> {
    let (socket, peer) = match listener.accept().await {
        Ok(accepted) => accepted,
        Err(error) => {
            // Out of descriptors or memory: others must close first.
            tracing::warn!(%error, "cannot accept");
            tokio::time::sleep(Duration::from_millis(50)).await;
            return None;
        }
    };
    Counters::add(&relay.counters.accepted);
    let Some(guard) = Guard::enter(relay) else {
        let count = 1 + relay.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        if Counters::is_worth_a_line(count) {
            tracing::warn!(%peer, count, "too many connections (max_connections); turned away");
        }
        return None;
    };
    let _ = socket.set_nodelay(true);
    Some((socket, peer, guard))
}

/// Accepts SHOUTcast sources for ever.
pub(crate) async fn accept_shoutcast(relay: Arc<Relay>, listener: TcpListener) {
    loop {
        let Some((socket, peer, guard)) = next(&relay, &listener).await else {
            continue;
        };
        tokio::spawn(async move {
            let limit = guard.0.config().head_timeout;
            if let Err(error) = raw::serve_icy(&guard.0, Link::Tcp(socket), peer, limit).await {
                tracing::debug!(%peer, %error, "shoutcast connection ended");
            }
        });
    }
}

/// Counts a connection as long as it lives.
struct Guard(Arc<Relay>);

impl Guard {
    fn enter(relay: &Arc<Relay>) -> Option<Self> {
        let before = relay.connections.fetch_add(1, Ordering::Relaxed);
        let guard = Self(relay.clone());
        (before < relay.config().max_connections).then_some(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// TLS and plain HTTP come to the same port.
async fn greet(relay: &Arc<Relay>, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let Some(acceptor) = relay.tls() else {
        return connection(relay, Link::Tcp(socket), peer).await;
    };
    let handshake = async {
        let mut first = [0];
        socket.peek(&mut first).await?;
        if first[0] != tls::HANDSHAKE {
            return Ok::<_, io::Error>(Link::Tcp(socket));
        }
        let stream = relay.handshakes.accept(acceptor, socket).await?;
        Ok(Link::Tls(stream))
    };
    let limit = relay.config().head_timeout;
    let handshake = tokio::select! {
        outcome = tokio::time::timeout(limit, handshake) => outcome,
        () = leaving(relay) => return Ok(()),
    };
    match handshake {
        // In a box, so that who waits for a handshake is small.
        Ok(link) => Box::pin(connection(relay, link?, peer)).await,
        Err(_) => Ok(()),
    }
}

async fn connection(relay: &Arc<Relay>, socket: Link, peer: SocketAddr) -> io::Result<()> {
    requests(relay, socket, BytesMut::with_capacity(2048), peer).await
}

/// Serves what comes on a connection, of which `received` has been read.
pub(crate) async fn requests(
    relay: &Arc<Relay>,
    mut socket: Link,
    mut received: BytesMut,
    peer: SocketAddr,
) -> io::Result<()> {
    // libshout asks with `OPTIONS *` and a poke before it sends its request.
    for _ in 0..8 {
        let limit = relay.config().head_timeout;
        let sniffed = tokio::select! {
            sniffed = tokio::time::timeout(limit, sniff(&mut socket, &mut received)) => sniffed,
            () = leaving(relay) => return Ok(()),
        };
        let verdict = match sniffed {
            Ok(verdict) => verdict?,
            Err(_) if received.is_empty() => return Ok(()),
            Err(_) => {
                let why = format!(
                    "the request head did not arrive within {} s",
                    limit.as_secs_f64()
                );
                return refuse(socket, 408, &why).await;
            }
        };
        match verdict {
            Verdict::Source(len) => {
                let head = received.split_to(len);
                match raw::serve(relay, socket, received, &head, peer).await? {
                    Some((again, rest)) => (socket, received) = (again, rest),
                    None => return Ok(()),
                }
            }
            Verdict::TooLong => {
                let why = format!("the request head is longer than {} bytes", head::MAX_HEAD);
                return refuse(socket, 431, &why).await;
            }
            // Nothing more can come: the peer closed early.
            Verdict::More => return Ok(()),
            Verdict::Http if !socket.is_tls() && received.first() == Some(&tls::HANDSHAKE) => {
                let why = "this is TLS, and the relay has no certificate; \
                           set tls_certificate and tls_key, or use http://";
                tracing::warn!(%peer, "{why}");
                return refuse(socket, 400, why).await;
            }
            Verdict::Http => {
                if let Err(fault) = head::check(&received) {
                    tracing::warn!(%peer, "request refused: {fault}");
                    return refuse(socket, fault.status(), &fault.to_string()).await;
                }
                return http::serve(relay, Rewind::new(socket, received), peer).await;
            }
        }
    }
    Ok(())
}

/// Resolves when the relay has been leaving for a moment: who has just
/// connected is still answered.
pub(crate) async fn leaving(relay: &Relay) {
    relay.drained().await;
    tokio::time::sleep(JUST_CONNECTED).await;
}

/// Reads until it is clear whose the request is.
async fn sniff(socket: &mut Link, received: &mut BytesMut) -> io::Result<Verdict> {
    loop {
        let verdict = if received.is_empty() {
            Verdict::More
        } else {
            head::sniff(received)
        };
        if verdict != Verdict::More || socket.read_buf(received).await? == 0 {
            return Ok(verdict);
        }
    }
}

/// Answers with an error and closes so that the client sees the answer.
pub(crate) async fn refuse(mut socket: Link, status: u16, why: &str) -> io::Result<()> {
    let answer = raw::answer(status, why, "");
    socket.write_all(answer.as_bytes()).await?;
    linger(socket).await
}

/// Closes after the peer has read what was written: a close with unread input
/// would reset the connection and take the answer with it.
pub(crate) async fn linger(mut socket: Link) -> io::Result<()> {
    const TIME: Duration = Duration::from_secs(2);
    const BYTES: usize = 1 << 20;
    socket.shutdown().await?;
    let drain = async {
        let mut sink = [0; 4096];
        let mut left = BYTES;
        while let Ok(read @ 1..) = socket.read(&mut sink).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(TIME, drain).await;
    Ok(())
}

/// A socket whose first bytes were already read, and which fails when its peer
/// takes nothing of an answer for too long: it would hold a connection for ever.
#[derive(Debug)]
pub(crate) struct Rewind {
    socket: Link,
    first: BytesMut,
    patience: Duration,
    /// The end of the patience, while the socket takes no more.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Rewind {
    pub(crate) fn new(socket: Link, first: BytesMut) -> Self {
        Self {
            socket,
            first,
            patience: UNREAD,
            stalled: None,
        }
    }

    /// Whether it is TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.socket.is_tls()
    }

    /// The socket and what of the first bytes nobody has read.
    pub(crate) fn into_parts(self) -> (Link, BytesMut) {
        (self.socket, self.first)
    }

    /// Lets a write wait, but not for ever.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the answer is not read",
            ))
        })
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let len = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..len]);
            self.first.advance(len);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.in_time(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        self.in_time(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.in_time(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_read_an_answer_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut peer = TcpStream::connect(address).await.expect("listens");
        let (socket, _) = listener.accept().await.expect("a connection");
        let mut answer = Rewind::new(Link::Tcp(socket), BytesMut::new());
        let piece = [0; 1 << 16];
        // One that is slow, but reads, gets everything.
        let writing = async {
            for _ in 0..100 {
                answer.write_all(&piece).await?;
            }
            Ok::<_, io::Error>(())
        };
        let reading = async {
            let mut sink = vec![0; 1 << 20];
            let mut left = 100 * piece.len();
            while left > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                left -= peer.read(&mut sink).await.expect("sent");
            }
        };
        let (written, ()) = tokio::join!(writing, reading);
        written.expect("it was read");
        answer.patience = Duration::from_millis(50);
        let error = loop {
            if let Err(error) = answer.write_all(&piece).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
