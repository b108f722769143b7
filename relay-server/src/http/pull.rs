//! `…/pull` and the speech proxy: what another server streams, into a mount.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Frame;
use serde_json::json;
use tokio::sync::mpsc;

use super::{Connection, error};
use crate::ingest::auth::{self, Presented};
use crate::ingest::feed::Source as _;
use crate::input::client::Ask;
use crate::input::pull::{self, Failure, Order, Upstream};

/// Pieces of an answer that wait for a slow caller.
const PIECES: usize = 4096;

/// `POST …/pull`: answers once the upstream has, and relays in the background.
pub(super) async fn start(connection: &Connection, name: &str, body: &[u8]) -> Response {
    let bad = |why: &str| error(StatusCode::BAD_REQUEST, "bad_request", why);
    if let Err(why) = crate::mount::check_name(name) {
        return bad(&format!("{name:?}: {why}"));
    }
    let order: Order = match serde_json::from_slice(body) {
        Ok(order) => order,
        // The message must not repeat the body: it may hold secrets.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return bad(&format!(
                "the body is not {{url, method, headers, body}} as JSON, at line {line}, column {column}"
            ));
        }
    };
    let (ask, query) = match order.ask() {
        Ok(asked) => asked,
        Err(why) => return bad(&why),
    };
    let relay = &connection.relay;
    let opened = async {
        let answer = pull::ask(&ask).await?;
        let mut settings = relay.config().mount(name);
        settings
            .apply_query(&query)
            .map_err(|why| Failure::from(crate::ingest::feed::Refusal::new(400, why)))?;
        let head = answer.headers();
        let feed = pull::enter(
            relay,
            name,
            settings,
            head,
            query.clone(),
            "pull",
            ask.shown(),
        )?;
        Ok((feed, answer))
    };
    let (feed, answer) = match opened.await {
        Ok(opened) => opened,
        Err(failure) => return failed(name, &failure),
    };
    let status = relay.board.pull(name);
    let upstream = Upstream::new(answer, Some(feed.mount.clone()), status);
    tokio::spawn(pull::carry(feed, upstream));
    let told = json!({ "mount": name, "upstream": ask.shown() });
    (StatusCode::ACCEPTED, axum::Json(told)).into_response()
}

/// `DELETE …/pull`.
pub(super) fn stop(connection: &Connection, name: &str) -> Response {
    let mount = connection.relay.mounts.find(name);
    let pulled = mount.filter(|mount| {
        mount.has_source()
            && mount
                .source()
                .is_some_and(|source| source.protocol == "pull")
    });
    match pulled {
        Some(mount) if mount.remove_source(Instant::now()) => {
            StatusCode::NO_CONTENT.into_response()
        }
        _ => {
            let why = format!("nothing is pulled into mount {name} now");
            error(StatusCode::NOT_FOUND, "no_pull", &why)
        }
    }
}

fn failed(name: &str, failure: &Failure) -> Response {
    tracing::warn!(mount = name, "pull: {}", failure.message);
    let body = json!({
        "error": "upstream",
        "message": failure.message,
        "upstream_status": failure.upstream,
        "upstream_body": failure.complaint,
    });
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, axum::Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let retry = failure.retry_after.as_deref();
    if let Some(after) = retry.and_then(|after| HeaderValue::from_str(after).ok()) {
        headers.insert(header::RETRY_AFTER, after);
    }
    response
}

/// `POST /v1/audio/speech`: to the configured upstream, back to the caller,
/// and into a mount at the same time.
pub(super) async fn speech(connection: Connection, headers: HeaderMap, body: Bytes) -> Response {
    let relay = &connection.relay;
    let config = relay.config();
    if config.speech_url.is_empty() {
        let why = "no speech service is configured; set speech_url";
        return error(StatusCode::NOT_FOUND, "no_speech", why);
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let extension = match asked["response_format"].as_str().unwrap_or("mp3") {
        "opus" => "opus",
        "mp3" => "mp3",
        // Decoded here and encoded for the mount.
        _ => "opus",
    };
    let default = format!("{}.{extension}", config.speech_mount);
    let name = text("x-seamcast-mount").unwrap_or(&default).to_owned();
    if let Err(why) = crate::mount::check_name(&name) {
        let why = format!("x-seamcast-mount {name:?}: {why}");
        return error(StatusCode::BAD_REQUEST, "bad_request", &why);
    }
    let settings = config.mount(&name);
    let authorization = text("authorization");
    let presented = Presented::from_header(authorization);
    let own_key = !config.speech_key.is_empty();
    if own_key
        && !auth::may_feed(&config, &settings, &presented)
        && !auth::is_admin(&config, &presented)
    {
        let why = format!("the api key must be the source password of mount {name}");
        return error(StatusCode::UNAUTHORIZED, "unauthorized", &why);
    }
    let made = Ask::new(config.speech_url.reveal(), "POST", Duration::from_secs(60)).and_then(
        |mut ask| {
            ask.header(
                "Content-Type",
                text("content-type").unwrap_or("application/json"),
            )?;
            let key = format!("Bearer {}", config.speech_key.reveal());
            if let Some(value) = if own_key {
                Some(key.as_str())
            } else {
                authorization
            } {
                ask.header("Authorization", value)?;
            }
            ask.body(body);
            Ok(ask)
        },
    );
    let ask = match made {
        Ok(ask) => ask,
        Err(why) => return error(StatusCode::INTERNAL_SERVER_ERROR, "speech_url", &why),
    };
    let answer = match pull::ask(&ask).await {
        Ok(answer) => answer,
        Err(failure) => return passed_on(&name, &failure),
    };
    let mut response = Response::new(Body::empty());
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    let entered = pull::enter(
        relay,
        &name,
        settings,
        answer.headers(),
        Vec::new(),
        "speech",
        ask.shown(),
    );
    let mount = entered.as_ref().ok().map(|feed| feed.mount.clone());
    let mut upstream = Upstream::new(answer, mount, relay.board.pull(&name));
    let (copy, pieces) = mpsc::channel(PIECES);
    match entered {
        Ok(feed) => {
            upstream.copy = Some(copy);
            tokio::spawn(pull::carry(feed, upstream));
            if let Ok(name) = HeaderValue::from_str(&name) {
                response.headers_mut().insert("x-seamcast-mount", name);
            }
        }
        // The caller gets its speech also when the mount cannot.
        Err(failure) => {
            tracing::warn!(mount = %name, "speech: {}", failure.message);
            tokio::spawn(async move {
                loop {
                    let piece = match upstream.next().await {
                        crate::ingest::feed::Body::More(bytes) => Ok(bytes),
                        crate::ingest::feed::Body::Lost(why) => Err(std::io::Error::other(why)),
                        _ => return,
                    };
                    if copy.send(piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
    *response.body_mut() = Body::new(Pieces(pieces));
    response
}

/// The upstream's own error, as its clients know it.
fn passed_on(name: &str, failure: &Failure) -> Response {
    let Some(status) = failure
        .upstream
        .and_then(|code| StatusCode::from_u16(code).ok())
    else {
        return failed(name, failure);
    };
    tracing::warn!(mount = name, "speech: {}", failure.message);
    let kind = if failure.complaint.trim_start().starts_with('{') {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut response = (status, failure.complaint.clone()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let retry = failure.retry_after.as_deref();
    if let Some(after) = retry.and_then(|after| HeaderValue::from_str(after).ok()) {
        headers.insert(header::RETRY_AFTER, after);
    }
    response
}

struct Pieces(mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
