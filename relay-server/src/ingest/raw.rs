//! Source requests on the raw socket: exactly the answers that each client
//! waits for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::feed::{self, Body, Feed, Refusal, Request, Source as _};
use super::head::{self, Head, Method, Version};
use crate::auth::{self, Presented};
use crate::front;
use crate::link::Link;
use crate::mount::Target;
use crate::server::{Counters, Relay};

/// What libshout looks for: without PUT in it, it falls back to `SOURCE`.
const ALLOW: &str = "Allow: GET, PUT, OPTIONS, SOURCE\r\n";
/// Bytes left in the kernel at most.
const MOST_LEFT: usize = 8 << 10;
const REALM: &str = "WWW-Authenticate: Basic realm=\"Seamcast source\", charset=\"UTF-8\"\r\n";

/// A whole answer with a body that says why; `more` are further header lines.
pub(crate) fn answer(status: u16, why: &str, more: &str) -> String {
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let body = if why.is_empty() {
        String::new()
    } else {
        format!("{why}\n")
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nServer: Seamcast\r\n{more}Content-Type: text/plain; \
         charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A short answer after which the client may send its next request.
fn interim(status: &str, more: &str, keep: bool) -> String {
    let connection = if keep { "keep-alive" } else { "close" };
    format!(
        "HTTP/1.1 {status}\r\nServer: Seamcast\r\n{ALLOW}{more}Content-Length: 0\r\n\
         Connection: {connection}\r\n\r\n"
    )
}

/// What to send first, and what then.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Answer and wait for the next request on this connection, or close.
    Interim { answer: String, keep: bool },
    /// Take the body.
    Feed,
}

fn plan(head: &Head) -> Plan {
    let keep = head.keeps_alive();
    if head.method == Method::Options {
        let answer = interim("405 Method Not Allowed", "", keep);
        return Plan::Interim { answer, keep };
    }
    if head.is_poke() && head.header("authorization").is_none() {
        let answer = interim("401 Unauthorized", REALM, keep);
        return Plan::Interim { answer, keep };
    }
    Plan::Feed
}

/// What a client must see before it sends its body.
fn go_ahead(head: &Head) -> &'static str {
    match (head.method, head.version) {
        // Clients in SOURCE mode wait for 200, if for anything.
        (Method::Source, Version::Http11) => "HTTP/1.1 200 OK\r\nServer: Seamcast\r\n\r\n",
        (Method::Source, _) => "HTTP/1.0 200 OK\r\nServer: Seamcast\r\n\r\n",
        _ if head.expects_continue() => "HTTP/1.1 100 Continue\r\n\r\n",
        // Old butt sends no Expect and waits for 200.
        _ => "HTTP/1.1 200 OK\r\nServer: Seamcast\r\nConnection: close\r\n\r\n",
    }
}

/// Serves one source request. Returns the socket when another request may
/// follow on it.
pub(crate) async fn serve(
    relay: &Arc<Relay>,
    socket: Link,
    received: BytesMut,
    head: &[u8],
    peer: SocketAddr,
) -> io::Result<Option<(Link, BytesMut)>> {
    match Head::parse(head) {
        Ok(head) => serve_head(relay, socket, received, &head, peer).await,
        Err(error) => {
            tracing::warn!(%peer, "source request refused: {error}");
            front::refuse(socket, error.status(), &error.to_string()).await?;
            Ok(None)
        }
    }
}

/// The same for a head that has been read.
pub(crate) async fn serve_head(
    relay: &Arc<Relay>,
    mut socket: Link,
    received: BytesMut,
    head: &Head,
    peer: SocketAddr,
) -> io::Result<Option<(Link, BytesMut)>> {
    if let Plan::Interim { answer, keep } = plan(head) {
        socket.write_all(answer.as_bytes()).await?;
        if keep {
            return Ok(Some((socket, received)));
        }
        front::linger(socket).await?;
        return Ok(None);
    }
    let protocol = match head.method {
        Method::Source => "SOURCE",
        Method::Put => "PUT",
        Method::Post | Method::Options => "POST",
    };
    let request = Request::new(head.target.clone(), peer.to_string(), protocol, |name| {
        head.header(name)
    });
    let feed = match Feed::open(relay, request) {
        Ok(feed) => feed,
        Err(refusal) => {
            refuse(socket, &refusal).await?;
            return Ok(None);
        }
    };
    if head.is_poke() {
        if let Err(refusal) = feed.finish() {
            refuse(socket, &refusal).await?;
        }
        return Ok(None);
    }
    socket.write_all(go_ahead(head).as_bytes()).await?;
    let outcome = take(feed, &mut socket, received).await;
    // Only a client that was told to continue still waits for its answer.
    let answered = !head.expects_continue() || head.method == Method::Source;
    match outcome {
        Ok(()) if answered => {}
        Ok(()) => socket.write_all(answer(200, "", "").as_bytes()).await?,
        Err(refusal) if !answered => {
            refuse(socket, &refusal).await?;
            return Ok(None);
        }
        Err(_) => {}
    }
    front::linger(socket).await?;
    Ok(None)
}

/// Serves a SHOUTcast source: its password, our go-ahead, its headers, audio.
pub(crate) async fn serve_icy(
    relay: &Arc<Relay>,
    mut socket: Link,
    peer: SocketAddr,
    limit: Duration,
) -> io::Result<()> {
    let mut received = BytesMut::with_capacity(2048);
    let login = async {
        let mut greeted = false;
        loop {
            if !greeted && let Some((password, _)) = head::icy_password(&received) {
                let config = relay.config();
                let settings = config.mount(&config.shoutcast_mount);
                let presented = Presented::Token(password);
                if !auth::may_feed(&config, &settings, &presented) {
                    Counters::add(&relay.counters.refused_sources);
                    tracing::warn!(%peer, "shoutcast source refused: wrong password");
                    socket.write_all(b"invalid password\r\n").await?;
                    return Ok(None);
                }
                // The client waits for this before it sends its headers.
                socket.write_all(b"OK2\r\nicy-caps:11\r\n\r\n").await?;
                greeted = true;
            }
            if let Some(parsed) = head::parse_icy(&received) {
                return Ok(parsed.ok());
            }
            if received.len() > head::MAX_HEAD || socket.read_buf(&mut received).await? == 0 {
                return Ok::<_, io::Error>(None);
            }
        }
    };
    let login = tokio::select! {
        login = tokio::time::timeout(limit, login) => login,
        () = front::leaving(relay) => return Ok(()),
    };
    let Ok(login) = login else {
        return Ok(());
    };
    let Some((icy, len)) = login? else {
        return front::linger(socket).await;
    };
    let first = received.split_off(len);
    let target = Target {
        path: relay.config().shoutcast_mount.clone(),
        query: Vec::new(),
    };
    let header = |name: &str| crate::mount::find(&icy.headers, name);
    let mut request = Request::new(target, peer.to_string(), "ICY", header);
    request.presented = Presented::Token(icy.password.clone());
    if let Ok(feed) = Feed::open(relay, request) {
        let _ = take(feed, &mut socket, first).await;
    }
    Ok(())
}

/// Reads the body to its end; `first` came with the head.
async fn take(feed: Feed, socket: &mut Link, first: BytesMut) -> Result<(), Refusal> {
    // ffmpeg's unacknowledged bytes are lost at its end; see `ToEnd::next`.
    let patient = !feed.agent().starts_with("Lavf");
    let mut body = ToEnd {
        socket,
        first,
        patient,
        mark: 1,
    };
    let outcome = feed::run(feed, &mut body).await;
    body.wait_for(0);
    outcome
}

/// A body that ends with the connection.
struct ToEnd<'s> {
    socket: &'s mut Link,
    /// What came with the head.
    first: BytesMut,
    /// Bytes may wait in the kernel, acknowledged late.
    patient: bool,
    /// How many must be there for the kernel to tell.
    mark: u16,
}

impl feed::Source for ToEnd<'_> {
    fn wait_for(&mut self, bytes: usize) -> bool {
        let mark = bytes.clamp(1, MOST_LEFT) as u16;
        if self.patient && mark != self.mark {
            if self.socket.low_water(mark) {
                self.mark = mark;
            } else {
                self.patient = false;
            }
        }
        self.mark > 1
    }

    async fn next(&mut self) -> Body {
        if !self.first.is_empty() {
            return Body::More(self.first.split().freeze());
        }
        // A client that closes with our answer unread (ffmpeg in SOURCE mode)
        // drops what its kernel still holds back for want of an acknowledgement.
        #[cfg(target_os = "linux")]
        self.socket.acknowledge();
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        match self.socket.read_buf(&mut buffer).await {
            Ok(0) => Body::Closed,
            Ok(_) => Body::More(buffer.freeze()),
            Err(error) => ended_by(&error),
        }
    }
}

/// ffmpeg in SOURCE mode leaves the answer unread, which resets the connection
/// at its proper end.
fn ended_by(error: &io::Error) -> Body {
    if error.kind() == io::ErrorKind::ConnectionReset {
        Body::Closed
    } else {
        Body::Lost(error.to_string())
    }
}

/// Says why, closes, and lets the client read it.
async fn refuse(mut socket: Link, refusal: &Refusal) -> io::Result<()> {
    let more = match refusal.status {
        401 => format!("{REALM}{ALLOW}"),
        503 => "Retry-After: 5\r\n".to_owned(),
        _ => String::new(),
    };
    let answer = answer(refusal.status, &refusal.message, &more);
    socket.write_all(answer.as_bytes()).await?;
    front::linger(socket).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes()).expect("sound")
    }

    #[test]
    fn libshout_gets_what_it_waits_for() {
        let Plan::Interim { answer, keep } = plan(&head("OPTIONS * HTTP/1.1\r\n\r\n")) else {
            panic!("options feeds nothing");
        };
        assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && keep);
        assert!(answer.contains("\r\nAllow: GET, PUT, OPTIONS, SOURCE\r\n"));
        assert!(answer.contains("\r\nContent-Length: 0\r\n"));
        let poke = "SOURCE /m HTTP/1.0\r\nContent-Length: 0\r\n\r\n";
        let Plan::Interim { answer, keep } = plan(&head(poke)) else {
            panic!("a poke feeds nothing");
        };
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n") && !keep);
        assert!(
            answer.contains("\r\nAllow: GET, PUT") && answer.contains("\r\nWWW-Authenticate: ")
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_no_chunk_yet_stays_in_the_kernel() {
        use super::feed::Source as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut client = tokio::net::TcpStream::connect(address)
            .await
            .expect("listens");
        let mut socket = Link::Tcp(listener.accept().await.expect("a connection").0);
        let mut body = ToEnd {
            socket: &mut socket,
            first: BytesMut::new(),
            patient: true,
            mark: 1,
        };
        let len = |body: Body| match body {
            Body::More(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        };
        // The first look goes without being told.
        client.write_all(&[0; 3]).await.expect("room");
        assert_eq!(len(body.next().await), 3);
        assert!(body.wait_for(1000));
        client.write_all(&[1; 999]).await.expect("room");
        let early = tokio::time::timeout(Duration::from_millis(50), body.next()).await;
        assert!(early.is_err(), "999 bytes are not 1000");
        client.write_all(&[1]).await.expect("room");
        assert_eq!(len(body.next().await), 1000);
        client.write_all(&[2; 5]).await.expect("room");
        assert!(!body.wait_for(0), "all of it is asked for");
        assert_eq!(len(body.next().await), 5);
        assert!(body.wait_for(1000));
        client.write_all(&[3; 7]).await.expect("room");
        drop(client);
        assert_eq!(len(body.next().await), 7);
        assert!(matches!(body.next().await, Body::Closed));
    }

    #[test]
    fn each_client_gets_its_go_ahead() {
        let first = |text: &str| go_ahead(&head(text)).lines().next().unwrap_or_default();
        let expect = "Expect: 100-continue\r\n\r\n";
        assert_eq!(
            first(&format!("PUT /m HTTP/1.1\r\n{expect}")),
            "HTTP/1.1 100 Continue"
        );
        assert_eq!(first("PUT /m HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK");
        assert_eq!(first("SOURCE /m HTTP/1.0\n\n"), "HTTP/1.0 200 OK");
        assert_eq!(
            first(&format!("SOURCE /m HTTP/1.1\r\n{expect}")),
            "HTTP/1.1 200 OK"
        );
    }
}
