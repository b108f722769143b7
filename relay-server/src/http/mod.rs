//! What hyper and axum serve: API, health, page, framed source bodies; and the
//! hand-over of listener sockets.

mod admit;
mod api;
mod icecast;
mod listen;
mod metrics;
mod pages;
mod policy;
mod proxied;
mod pull;
mod upgrade;

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::BytesMut;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::files::Files;
use crate::front::{self, Rewind};
use crate::server::Relay;

pub(crate) use listen::TakeOver;

/// Most bytes of a request body that is not a source's.
const MAX_BODY: usize = 1 << 20;

/// Everything a handler may need.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) relay: Arc<Relay>,
    pub(crate) peer: SocketAddr,
    /// Whether the client speaks TLS, to us or to a proxy of ours.
    secure: bool,
    slot: Arc<Slot>,
}

/// Where a client reached the relay.
struct Origin {
    /// Name or address without a port.
    host: String,
    /// Scheme, host and port.
    url: String,
}

/// Where a handler leaves a plan that needs the connection itself.
#[derive(Debug, Default)]
struct Slot {
    plan: Mutex<Option<TakeOver>>,
    left: Notify,
}

impl Connection {
    /// The relay's address as the client knows it, such as `https://radio.example`. What it listens
    /// on is often none to connect to, such as 0.0.0.0.
    fn origin(&self, headers: &HeaderMap) -> Origin {
        let asked = headers.get(header::HOST);
        let asked = asked.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let listen = self.relay.config().listen;
        let of = |authority: &Authority| (authority.host().to_owned(), authority.to_string());
        let own = || (listen.ip().to_string(), listen.to_string());
        let (host, authority) = asked.as_ref().map_or_else(own, of);
        let scheme = if self.secure { "https" } else { "http" };
        Origin {
            host,
            url: format!("{scheme}://{authority}"),
        }
    }

    /// Takes the connection away from hyper; never returns, as hyper must not
    /// write an answer.
    pub(crate) async fn take_over(&self, plan: TakeOver) -> Response {
        *self
            .slot
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(plan);
        self.slot.left.notify_one();
        pending().await
    }
}

/// Serves one connection until it ends or is taken over.
pub(crate) async fn serve(relay: &Arc<Relay>, io: Rewind, peer: SocketAddr) -> io::Result<()> {
    let connection = Connection {
        relay: relay.clone(),
        peer,
        secure: io.is_tls(),
        slot: Arc::default(),
    };
    let slot = connection.slot.clone();
    let of = connection.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let mut of = of.clone();
        let config = of.relay.config();
        (of.peer, of.secure) =
            proxied::client(of.peer, of.secure, request.headers(), &config.proxies);
        request.extensions_mut().insert(of);
        ROUTER.clone().oneshot(request.map(Body::new))
    });
    let mut hyper = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(relay.config().head_timeout)
        .max_buf_size(64 * 1024)
        .half_close(true)
        .serve_connection(TokioIo::new(io), service);
    let mut left = false;
    let mut leaving = std::pin::pin!(front::leaving(relay));
    let done = loop {
        tokio::select! {
            // hyper first: told to end before it has read anything, it closes without an answer.
            biased;
            done = poll_fn(|cx| std::pin::Pin::new(&mut hyper).poll(cx)) => break Some(done),
            () = slot.left.notified() => break None,
            () = &mut leaving, if !left => {
                left = true;
                std::pin::Pin::new(&mut hyper).graceful_shutdown();
            }
        }
    };
    if let Some(done) = done {
        if let Err(error) = done {
            tracing::debug!(%peer, %error, "request not served");
        }
        return Ok(());
    }
    let Some(plan) = slot
        .plan
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
    else {
        return Ok(());
    };
    let parts = hyper.into_parts();
    let (socket, first) = parts.io.into_inner().into_parts();
    let mut received = BytesMut::from(&parts.read_buf[..]);
    received.unsplit(first);
    listen::enter(&connection, plan, socket, received).await
}

/// Made once; the connection comes with each request.
static ROUTER: LazyLock<Router> = LazyLock::new(router);

impl<S: Sync> FromRequestParts<S> for Connection {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let connection = parts.extensions.get().cloned();
        connection.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn router() -> Router {
    let api = Router::new()
        .route("/api/mounts", get(api::mounts))
        .route("/v1/audio/speech", axum::routing::post(pull::speech))
        .route("/api/inputs", get(api::inputs))
        .route("/api/forwards", get(api::forwards))
        .route("/api/mounts/{*rest}", any(api::mount))
        .route("/api/{*rest}", any(api::unknown))
        .route(
            "/admin/metadata",
            get(icecast::metadata).post(icecast::metadata),
        )
        .route("/admin.cgi", get(icecast::metadata))
        .route_layer(axum::middleware::from_fn(policy::body_in_time));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/files/{*path}", any(file))
        .route("/files/", any(file))
        .route("/status-json.xsl", get(icecast::status))
        .merge(api)
        .method_not_allowed_fallback(wrong_method)
        .fallback(listen::resource)
        .layer(axum::middleware::from_fn(policy::headers))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn file(connection: Connection, request: axum::extract::Request) -> Response {
    let Some(files) = &connection.relay.files else {
        let why = "this relay has no data folder; start it with --data-dir";
        return error(StatusCode::NOT_FOUND, "no_files", why);
    };
    let uri = request.uri();
    let raw_path = uri.path().strip_prefix("/files/").unwrap_or_default();
    let (method, headers) = (request.method(), request.headers());
    if let Some(mount) = Files::recorded_mount(raw_path)
        && let Some(refusal) = admit::refuse(&connection, method, headers, uri.query(), &mount)
    {
        return refusal;
    }
    files.respond(method, raw_path, uri.query(), headers).await
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(connection: Connection) -> Response {
    if connection.relay.is_draining() {
        return error(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "the relay is shutting down",
        );
    }
    "ready\n".into_response()
}

/// An empty body of unknown length, for answers that must claim no `Content-Length`.
fn unsized_body() -> Body {
    type Frame = Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>;
    let frames = futures_util::stream::empty::<Frame>();
    Body::new(http_body_util::StreamBody::new(frames))
}

/// An error as JSON, for API clients and people alike.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "error": code, "message": message });
    let mut response = (status, axum::Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    response
}

/// 405 of a route that does not take every method; the router adds `Allow`.
async fn wrong_method(request: axum::extract::Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let path = crate::ingest::head::shorten(path);
    let why = format!("{method} makes no sense for {path:?}; Allow says what does");
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &why)
}

/// 405 with what would be allowed.
pub(crate) fn method_not_allowed(method: &Method, allowed: &'static str) -> Response {
    let why = format!("{method} makes no sense here; use {allowed}");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &why);
    response
        .headers_mut()
        .insert(header::ALLOW, http::HeaderValue::from_static(allowed));
    response
}
