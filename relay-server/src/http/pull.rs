//! `…/pull` and the speech proxy: what another server streams, into a mount.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::{Connection, error};
use crate::auth::{self, Presented};
use crate::ingest::feed;
use crate::input::client::Ask;
use crate::input::pull::{self, Copy, Failure, Order, Upstream};
use crate::mount::{find, parse_query};

/// `POST …/pull`: answers once the upstream has, and relays in the background.
pub(super) async fn start(connection: &Connection, name: &str, body: &[u8]) -> Response {
    let bad = |why: &str| error(StatusCode::BAD_REQUEST, "bad_request", why);
    if let Err(why) = crate::mount::check_name(name) {
        return bad(&format!("{name:?}: {why}"));
    }
    let order: Order = match serde_json::from_slice(body) {
        Ok(order) => order,
        Err(error) => return bad(&format!("pull into mount {name}: {}", wrong(body, &error))),
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

/// What is wrong with an order. Values are not repeated: they may be secrets.
fn wrong(body: &[u8], error: &serde_json::Error) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        let (line, column) = (error.line(), error.column());
        return format!(
            "the body is not JSON, at line {line}, column {column}; \
             send {{\"url\": \"https://…\", \"method\": …, \"headers\": {{…}}, \"body\": …}}"
        );
    };
    let Some(order) = value.as_object() else {
        return "the body is not a JSON object; send {\"url\": \"https://…\"}".into();
    };
    for (key, value) in order {
        let (sound, kind) = match key.as_str() {
            "url" | "method" | "format" => (value.is_string(), "text"),
            "headers" => (
                value
                    .as_object()
                    .is_some_and(|all| all.values().all(serde_json::Value::is_string)),
                "an object of texts",
            ),
            "rate" | "channels" | "timeout_ms" => (value.is_u64(), "a whole number"),
            "body" => continue,
            other => {
                let other = crate::ingest::head::shorten(other);
                return format!(
                    "key {other:?} is unknown; there are url, method, headers, body, format, \
                     rate, channels and timeout_ms"
                );
            }
        };
        let optional = !matches!(key.as_str(), "url" | "headers");
        if !(sound || value.is_null() && optional) {
            return format!("{key} is not {kind}");
        }
    }
    if !order.contains_key("url") {
        return "url is missing; send {\"url\": \"https://…\"}".into();
    }
    "a number is out of range".into()
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
pub(super) async fn speech(
    connection: Connection,
    headers: HeaderMap,
    uri: http::Uri,
    body: Bytes,
) -> Response {
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
    let own_key = !config.speech_key.is_empty();
    let elsewhere = name != default;
    if own_key || elsewhere {
        let query = parse_query(uri.query().unwrap_or_default());
        // Without a key of the relay's own, this header is for the upstream alone.
        let header = authorization.filter(|_| own_key);
        let presented = Presented::from_request(header, find(&query, "token"));
        let admin = auth::is_admin(&config, &presented);
        if !admin && !auth::may_feed(&config, &settings, &presented) {
            let what = if own_key { "the api key" } else { "?token=" };
            let why = format!("{what} must be the source password of mount {name}");
            return error(StatusCode::UNAUTHORIZED, "unauthorized", &why);
        }
        if !admin && elsewhere && !config.may_create(&name) {
            let why = format!("mount {name} is not configured, and open_mounts is off");
            return error(StatusCode::FORBIDDEN, "forbidden", &why);
        }
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
    let (copy, copied) = Copy::new();
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
                    match upstream.next_in_time().await {
                        Some(feed::Body::More(bytes)) => {
                            if !copy.send(bytes).await {
                                return;
                            }
                        }
                        Some(feed::Body::End | feed::Body::Closed) => return copy.finish(),
                        Some(feed::Body::Lost(_)) | None => return,
                    }
                }
            });
        }
    }
    *response.body_mut() = Body::new(copied);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_cannot_be_read_say_why() {
        let why = |body: &str| {
            let order: Result<Order, _> = serde_json::from_str(body);
            wrong(body.as_bytes(), &order.err().expect("a wrong order"))
        };
        for (body, part) in [
            ("", "not JSON"),
            ("[1]", "not a JSON object"),
            (r#"{"url":1}"#, "url is not text"),
            (r#"{"method":"GET"}"#, "url is missing"),
            (r#"{"url":"http://x","foo":"s3cret"}"#, "\"foo\" is unknown"),
            (r#"{"url":"http://x","headers":{"a":1}}"#, "headers is not"),
            (r#"{"url":"http://x","rate":"8000"}"#, "rate is not"),
            (r#"{"url":"http://x","channels":70000}"#, "out of range"),
        ] {
            let why = why(body);
            assert!(
                why.contains(part) && !why.contains("s3cret"),
                "{body}: {why}"
            );
        }
    }

    #[test]
    fn orders_for_audio_that_cannot_be_are_refused_before_anybody_is_asked() {
        let ask = |more: &str| {
            let body = format!("{{\"url\":\"http://x/\"{more}}}");
            let order: Order = serde_json::from_str(&body).expect("an order");
            order.ask().map(|(_, query)| query.len())
        };
        assert_eq!(ask(""), Ok(0));
        assert_eq!(ask(r#","rate":16000"#), Ok(1));
        assert_eq!(ask(r#","format":"mulaw","rate":8000"#), Ok(2));
        for (more, part) in [
            (r#","format":"f33""#, "f33"),
            (r#","rate":1"#, "rate \"1\""),
            (r#","channels":9"#, "channels \"9\""),
        ] {
            let why = ask(more).expect_err(more);
            assert!(why.contains(part), "{more}: {why}");
        }
    }
}
