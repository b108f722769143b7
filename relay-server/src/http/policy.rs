//! Headers that every answer carries: CORS, isolation, content policy.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Connection;
use crate::config::Config;
use crate::mount;

/// Request headers that pages may send, and answer headers they may read.
const ALLOW_HEADERS: &str =
    "Authorization, Content-Type, Range, If-Range, Icy-MetaData, X-Seamcast-Mount";
pub(super) const EXPOSE_HEADERS: &str = "Accept-Ranges, Content-Length, Content-Range, ETag, Retry-After, \
     icy-br, icy-description, icy-genre, icy-metaint, icy-name, icy-pub, icy-url, \
     X-Seamcast-Mount";
/// Bytes of a request's body that need no place, and bodies at once that have more.
const SHORT: usize = 16 << 10;
static LONG: Semaphore = Semaphore::const_new(32);
/// The page needs its own scripts and WebAssembly, sockets to any relay, and
/// nothing inline.
const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
     worker-src 'self' blob:; connect-src 'self' http: https: ws: wss:; media-src 'self' blob:; \
     img-src 'self' data: blob:; style-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'self'";

/// What `Access-Control-Allow-Origin` says to this request.
pub(super) fn allow_origin(config: &Config, headers: &HeaderMap) -> Option<HeaderValue> {
    if config.origins.iter().any(|origin| origin == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let origin = headers.get(header::ORIGIN)?;
    config
        .allows_origin(origin.to_str().ok()?)
        .then(|| origin.clone())
}

/// Whether a WebSocket request comes from a page that may open one. Programs
/// send no `Origin`; the relay's own page is always welcome.
pub(super) fn may_open_socket(config: &Config, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let own = host.is_some_and(|host| {
        origin
            .split_once("://")
            .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    });
    own || config.allows_origin(origin)
}

/// Reads a request's body before its handler runs, within the time that a head
/// may take: one that never comes must not hold a connection.
pub(super) async fn body_in_time(connection: Connection, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let limit = connection.relay.config().head_timeout;
    let whole = tokio::time::timeout(limit, collect(body)).await;
    let (status, code, why) = match whole {
        Ok(Ok((bytes, _place))) => {
            return next.run(Request::from_parts(parts, bytes.into())).await;
        }
        Ok(Err(error)) if is_limit(&error) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body has more than {} bytes", super::MAX_BODY),
        ),
        Ok(Err(error)) => (
            StatusCode::BAD_REQUEST,
            "bad_request",
            format!("the body broke: {error}; send it again"),
        ),
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!("the body did not arrive within {} s", limit.as_secs_f64()),
        ),
    };
    let mut response = super::error(status, code, &why);
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body of up to [`super::MAX_BODY`] bytes. Anybody may send one, so that few
/// may be long at once: the others wait for a place.
async fn collect(body: Body) -> Result<(Bytes, Option<SemaphorePermit<'static>>), axum::Error> {
    let mut body = Limited::new(body, super::MAX_BODY);
    let (mut whole, mut place) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(axum::Error::new)?;
        let data = frame.data_ref().map_or(&[][..], AsRef::as_ref);
        if place.is_none() && whole.len() + data.len() > SHORT {
            place = LONG.acquire().await.ok();
        }
        whole.extend_from_slice(data);
    }
    Ok((whole.freeze(), place))
}

fn is_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// RFC 9112 §3.2: a request of HTTP/1.1 has one Host header. Sources are let
/// through without: their clients are many, and no two alike.
fn host_fault(request: &Request) -> Option<String> {
    let source = matches!(request.method().as_str(), "PUT" | "POST" | "SOURCE")
        && !mount::is_reserved(request.uri().path());
    if source || request.version() != Version::HTTP_11 {
        return None;
    }
    match request.headers().get_all(header::HOST).iter().count() {
        1 => None,
        0 => Some("the request has no host header; send one, or use HTTP/1.0".to_owned()),
        n => Some(format!("the request has {n} host headers; send one")),
    }
}

/// Answers preflights and adds the headers to every answer.
pub(super) async fn headers(connection: Connection, request: Request, next: Next) -> Response {
    let config = connection.relay.config();
    let origin = allow_origin(&config, request.headers());
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if let Some(why) = host_fault(&request) {
        super::error(StatusCode::BAD_REQUEST, "bad_request", &why)
    } else if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if response.status() == StatusCode::NOT_MODIFIED {
        // A HEAD's would say the length of its body, which is none: that of the answer it stands for
        // must be said or nothing (RFC 9110 §8.6).
        *response.body_mut() = super::unsized_body();
    }
    let headers = response.headers_mut();
    let fixed = |name: &'static str| HeaderName::from_static(name);
    if let Some(origin) = origin {
        if origin != "*" {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSE_HEADERS),
        );
        if preflight {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE, OPTIONS"),
            );
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(ALLOW_HEADERS),
            );
            headers.insert(
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from_static("86400"),
            );
        }
    }
    if preflight {
        headers.insert(
            header::ALLOW,
            HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE, OPTIONS, SOURCE"),
        );
    }
    // Cross-origin isolation is what gives the page SharedArrayBuffer.
    headers.insert(
        fixed("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        fixed("cross-origin-embedder-policy"),
        HeaderValue::from_static("require-corp"),
    );
    headers.insert(
        fixed("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(CONTENT_POLICY));
    response
}
