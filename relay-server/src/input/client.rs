//! A small HTTP/1.1 client over hyper: TLS, redirects, and the `ICY 200 OK`
//! of old SHOUTcast servers. Addresses and secrets stay out of its errors.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::ingest::head;
use crate::remote;

/// Redirects followed.
const MAX_REDIRECTS: usize = 5;

/// What to ask for.
#[derive(Clone)]
pub(crate) struct Ask {
    url: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
}

impl Ask {
    /// Checks what people wrote.
    pub(crate) fn new(url: &str, method: &str, timeout: Duration) -> Result<Self, String> {
        let url = remote::url(url)?;
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| "method is no HTTP method".to_owned())?;
        let mut headers = HeaderMap::new();
        let agent = concat!("Seamcast/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        Ok(Self {
            url,
            method,
            headers,
            body: Bytes::new(),
            timeout,
        })
    }

    /// Adds a header, replacing one of that name.
    pub(crate) fn header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let (name, value) = remote::header(name, value)?;
        self.headers.insert(name, value);
        Ok(())
    }

    pub(crate) fn body(&mut self, body: Bytes) {
        self.body = body;
    }

    /// Where it goes, without credentials and query.
    pub(crate) fn shown(&self) -> String {
        shown(&self.url)
    }

    /// Replaces every secret that was sent and is repeated in `text`.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in self.headers.values().filter(|value| value.is_sensitive()) {
            let value = value.to_str().unwrap_or_default();
            for secret in [value, value.rsplit(' ').next().unwrap_or_default()] {
                if secret.len() >= 6 {
                    text = text.replace(secret, "…");
                }
            }
        }
        text
    }

    /// Sends it and waits for the answer's head.
    pub(crate) async fn send(&self) -> Result<http::Response<Incoming>, String> {
        let mut ask = self.clone();
        for _ in 0..=MAX_REDIRECTS {
            let limit = self.timeout;
            let answer = tokio::time::timeout(limit, ask.once())
                .await
                .map_err(|_| {
                    let secs = limit.as_secs_f64();
                    format!("{} did not answer within {secs} s", ask.shown())
                })??;
            let status = answer.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            ask = ask.redirected(status, answer.headers())?;
        }
        Err(format!(
            "{} redirects more than {MAX_REDIRECTS} times",
            self.shown()
        ))
    }

    fn redirected(&self, status: u16, headers: &HeaderMap) -> Result<Self, String> {
        let wrong = || format!("{} redirects without saying where to", self.shown());
        let location = headers.get(header::LOCATION).ok_or_else(wrong)?;
        let location = head::text(location.as_bytes());
        let mut next = self.clone();
        next.url = remote::resolve(&self.url, &location).map_err(|_| wrong())?;
        if let Some(user) = basic(&self.url)? {
            next.headers.entry(header::AUTHORIZATION).or_insert(user);
        }
        let down = self.url.scheme_str() == Some("https") && next.url.scheme_str() == Some("http");
        if down {
            return Err(format!("{} redirects away from https", self.shown()));
        }
        // Secrets are for the host that they were given for.
        if authority(&next.url) != authority(&self.url) {
            next.headers.remove(header::AUTHORIZATION);
            next.headers.remove(header::COOKIE);
            let sensitive: Vec<HeaderName> = next
                .headers
                .iter()
                .filter(|(_, value)| value.is_sensitive())
                .map(|(name, _)| name.clone())
                .collect();
            for name in sensitive {
                next.headers.remove(name);
            }
        }
        if status == 303 || (status != 307 && status != 308 && self.method == Method::POST) {
            next.method = Method::GET;
            next.body = Bytes::new();
        }
        Ok(next)
    }

    async fn once(&self) -> Result<http::Response<Incoming>, String> {
        let shown = self.shown();
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let tls = self.url.scheme_str() == Some("https");
        let port = self.url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let socket = TcpStream::connect((host, port))
            .await
            .map_err(|error| format!("cannot connect to {shown}: {error}"))?;
        let _ = socket.set_nodelay(true);
        let io: Box<dyn Stream> = if tls {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| format!("{shown} has no valid host name"))?;
            let stream = connector()?.connect(name, socket).await;
            Box::new(stream.map_err(|error| format!("tls with {shown} failed: {error}"))?)
        } else {
            Box::new(socket)
        };
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(Icy::new(io)))
            .await
            .map_err(|error| format!("{shown}: {error}"))?;
        // Ends with the answer's body, or when that is dropped.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = path.parse().map_err(|_| format!("{shown}: bad path"))?;
        *request.headers_mut() = self.headers.clone();
        let host = HeaderValue::from_str(authority(&self.url)).map_err(|e| e.to_string())?;
        request.headers_mut().insert(header::HOST, host);
        if let Some(user) = basic(&self.url)? {
            let headers = request.headers_mut();
            headers.entry(header::AUTHORIZATION).or_insert(user);
        }
        let answer = sender.send_request(request).await;
        answer.map_err(|error| format!("no answer from {shown}: {error}"))
    }
}

/// The credentials in a URL.
fn basic(url: &Uri) -> Result<Option<HeaderValue>, String> {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let Some((user, _)) = authority.rsplit_once('@') else {
        return Ok(None);
    };
    let user = crate::mount::percent_decode_bytes(user, false);
    let user = base64::engine::general_purpose::STANDARD.encode(user);
    let mut value = HeaderValue::from_str(&format!("Basic {user}")).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn authority(url: &Uri) -> &str {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    format!("{scheme}://{}{}", authority(url), url.path())
}

fn connector() -> Result<TlsConnector, String> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().ok()?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Some(Arc::new(config))
    });
    let config = config.clone().ok_or("this build has no usable TLS")?;
    Ok(TlsConnector::from(config))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes `ICY 200 OK` the `HTTP/1.0 200 OK` that it means.
struct Icy {
    inner: Box<dyn Stream>,
    /// What was read of the first four bytes, until they are passed on.
    first: Option<Vec<u8>>,
    pass: Vec<u8>,
}

impl Icy {
    fn new(inner: Box<dyn Stream>) -> Self {
        Self {
            inner,
            first: Some(Vec::new()),
            pass: Vec::new(),
        }
    }
}

impl AsyncRead for Icy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while let Some(first) = &mut this.first {
            let mut room = [0; 4];
            let mut part = ReadBuf::new(&mut room[..4 - first.len()]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
            let end = part.filled().is_empty();
            first.extend_from_slice(part.filled());
            if end || first.len() == 4 {
                this.pass = match first.as_slice() {
                    b"ICY " => b"HTTP/1.0 ".to_vec(),
                    other => other.to_vec(),
                };
                this.first = None;
            }
        }
        if this.pass.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let take = this.pass.len().min(buf.remaining());
        buf.put_slice(&this.pass[..take]);
        this.pass.drain(..take);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Icy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(url: &str) -> Ask {
        Ask::new(url, "POST", Duration::from_secs(1)).expect("sound")
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut one = ask("https://user:geheim@example.com:8443/a/b?key=geheim");
        assert_eq!(one.shown(), "https://example.com:8443/a/b");
        one.header("Authorization", "Bearer sk-123456")
            .expect("sound");
        assert_eq!(one.redact("bad key sk-123456!"), "bad key …!");
        assert!(Ask::new("ftp://x/", "GET", Duration::ZERO).is_err());
        assert!(one.header("Host", "elsewhere").is_err());
    }

    #[test]
    fn secrets_do_not_follow_to_another_host() {
        let mut one = ask("http://example.com/a");
        one.header("Authorization", "Bearer sk-123456")
            .expect("sound");
        let to = |location: &'static str, status| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(location));
            one.redirected(status, &headers)
        };
        let near = to("/b", 307).expect("sound");
        assert_eq!(
            (near.shown().as_str(), &near.method),
            ("http://example.com/b", &Method::POST)
        );
        assert!(near.headers.contains_key(header::AUTHORIZATION));
        let far = to("http://example.org/b", 302).expect("sound");
        assert!(!far.headers.contains_key(header::AUTHORIZATION) && far.method == Method::GET);
        assert!(to("gopher://x", 302).is_err());
        let other = to("//example.org/b", 307).expect("sound");
        assert_eq!(other.shown(), "http://example.org/b");
        assert!(!other.headers.contains_key(header::AUTHORIZATION));
    }

    #[test]
    fn credentials_of_a_url_follow_on_its_host() {
        let one = ask("http://user:geheim@example.com/live/stream1");
        let to = |location: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(location));
            one.redirected(302, &headers).expect("sound")
        };
        for near in ["stream2", "http://example.com/live/stream2"] {
            let near = to(near);
            assert_eq!(near.shown(), "http://example.com/live/stream2");
            let user = near.headers.get(header::AUTHORIZATION);
            assert_eq!(user.expect("kept"), "Basic dXNlcjpnZWhlaW0=");
        }
        let far = to("//example.org/live/stream2");
        assert!(!far.headers.contains_key(header::AUTHORIZATION));
    }

    #[tokio::test]
    async fn old_shoutcast_answers_are_read() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (client, mut server) = tokio::io::duplex(64);
        server.write_all(b"IC").await.expect("write");
        let mut icy = Icy::new(Box::new(client));
        let writer = async {
            server.write_all(b"Y 200 OK\r\n").await.expect("write");
            drop(server);
        };
        let mut text = String::new();
        let (_, read) = tokio::join!(writer, icy.read_to_string(&mut text));
        read.expect("read");
        assert_eq!(text, "HTTP/1.0 200 OK\r\n");
    }
}
