//! `/api/mounts`: what is on air, and its administration.

use std::time::Instant;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use seamcast_protocol::close;
use serde_json::{Value, json};

use super::{Connection, admit, error, method_not_allowed};
use crate::auth::{self, Presented};
use crate::fanout::ListenerId;
use crate::mount::{Mount, find, parse_query};

/// Whether a request carries the administrator's credentials.
pub(super) fn is_admin(connection: &Connection, headers: &HeaderMap, query: Option<&str>) -> bool {
    let query = parse_query(query.unwrap_or_default());
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let presented = Presented::from_request(header, find(&query, "token"));
    auth::is_admin(&connection.relay.config(), &presented)
}

fn fresh(body: &Value) -> Response {
    let mut response = axum::Json(body).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Every mount that is listed: an array, also of none or one.
pub(super) async fn mounts(connection: Connection, headers: HeaderMap, uri: http::Uri) -> Response {
    let admin = is_admin(&connection, &headers, uri.query());
    let mounts: Vec<Value> = connection
        .relay
        .mounts
        .all()
        .iter()
        .filter(|mount| admin || mount.settings().public)
        .filter(|mount| mount.is_ready())
        .map(|mount| mount.describe(admin))
        .collect();
    fresh(&Value::Array(mounts))
}

/// What is below `/api/mounts/`: mount names may hold slashes, so the last
/// segments decide.
pub(super) async fn mount(
    connection: Connection,
    Path(rest): Path<String>,
    method: Method,
    headers: HeaderMap,
    uri: http::Uri,
    body: axum::body::Bytes,
) -> Response {
    if let Some(name) = rest.strip_suffix("/pull") {
        if !is_admin(&connection, &headers, uri.query()) {
            return unauthorized();
        }
        let name = format!("/{}", name.trim_matches('/'));
        return match method {
            Method::POST => super::pull::start(&connection, &name, &body).await,
            Method::DELETE => super::pull::stop(&connection, &name),
            _ => method_not_allowed(&method, "POST, DELETE"),
        };
    }
    let registry = &connection.relay.mounts;
    let named = |name: &str| registry.find(&format!("/{}", name.trim_matches('/')));
    if let Some(mount) = named(&rest) {
        return match method {
            Method::GET | Method::HEAD => {
                // Of a closed mount that is not listed, strangers learn nothing.
                let settings = mount.settings();
                if !settings.public
                    && let Some(refusal) =
                        admit::refuse(&connection, &method, &headers, uri.query(), &mount.name)
                {
                    return refusal;
                }
                let admin = is_admin(&connection, &headers, uri.query());
                one(&connection, &mount, admin).await
            }
            _ => method_not_allowed(&method, "GET, HEAD"),
        };
    }
    if let Some(name) = rest.strip_suffix("/source")
        && let Some(mount) = named(name)
    {
        if method != Method::DELETE {
            return method_not_allowed(&method, "DELETE");
        }
        if !is_admin(&connection, &headers, uri.query()) {
            return unauthorized();
        }
        if mount.remove_source(Instant::now()) {
            return StatusCode::NO_CONTENT.into_response();
        }
        let why = format!("mount {} has no source now", mount.name);
        return error(StatusCode::NOT_FOUND, "no_source", &why);
    }
    if let Some((name, id)) = rest.rsplit_once("/listeners/")
        && let Some(mount) = named(name)
    {
        if method != Method::DELETE {
            return method_not_allowed(&method, "DELETE");
        }
        if !is_admin(&connection, &headers, uri.query()) {
            return unauthorized();
        }
        return kick(&connection, &mount, id).await;
    }
    if let Some(name) = rest.strip_suffix("/listeners")
        && let Some(mount) = named(name)
    {
        if method != Method::GET && method != Method::HEAD {
            return method_not_allowed(&method, "GET, HEAD");
        }
        if !is_admin(&connection, &headers, uri.query()) {
            return unauthorized();
        }
        let listeners = connection.relay.fanout.listeners(&mount.shared).await;
        return fresh(&json!(listeners));
    }
    no_such_mount(&format!("/{rest}"))
}

async fn one(connection: &Connection, mount: &Mount, admin: bool) -> Response {
    let mut body = mount.describe(admin);
    if admin && let Value::Object(body) = &mut body {
        let listeners = connection.relay.fanout.listeners(&mount.shared).await;
        body.insert("listener_list".into(), json!(listeners));
    }
    fresh(&body)
}

async fn kick(connection: &Connection, mount: &Mount, id: &str) -> Response {
    let fanout = &connection.relay.fanout;
    let known = fanout.listeners(&mount.shared).await;
    let found = id
        .parse()
        .ok()
        .map(ListenerId)
        .filter(|id| known.iter().any(|listener| listener.id == *id));
    match found {
        Some(id) => {
            fanout.kick(id, close::KICKED, "closed by an administrator");
            StatusCode::NO_CONTENT.into_response()
        }
        None => {
            let id = crate::ingest::head::shorten(id);
            let why = format!("mount {} has no listener {id:?}", mount.name);
            error(StatusCode::NOT_FOUND, "no_listener", &why)
        }
    }
}

/// What the relay opens itself: an array, for the administrator only, because
/// it names addresses.
pub(super) async fn inputs(connection: Connection, headers: HeaderMap, uri: http::Uri) -> Response {
    if !is_admin(&connection, &headers, uri.query()) {
        return unauthorized();
    }
    fresh(&connection.relay.board.inputs())
}

/// Where audio is passed on to: an array, for the administrator only.
pub(super) async fn forwards(
    connection: Connection,
    headers: HeaderMap,
    uri: http::Uri,
) -> Response {
    if !is_admin(&connection, &headers, uri.query()) {
        return unauthorized();
    }
    fresh(&connection.relay.board.forwards())
}

/// 401 for administration.
pub(super) fn unauthorized() -> Response {
    let why = "this needs the admin token: Authorization: Bearer TOKEN";
    let mut response = error(StatusCode::UNAUTHORIZED, "unauthorized", why);
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"Seamcast administration\""),
    );
    response
}

/// 404 that names what was looked for.
pub(super) fn no_such_mount(name: &str) -> Response {
    let name = crate::ingest::head::shorten(name);
    let why = if crate::mount::is_reserved(&name) {
        format!("there is nothing at {name:?}; the page is at /, the mounts are at /api/mounts")
    } else {
        format!("there is no mount {name:?}; GET /api/mounts lists those on air")
    };
    error(StatusCode::NOT_FOUND, "not_found", &why)
}

/// Anything else below `/api`.
pub(super) async fn unknown(uri: http::Uri) -> Response {
    let path = crate::ingest::head::shorten(uri.path());
    let why = format!("there is no route {path:?}; try /api/mounts");
    error(StatusCode::NOT_FOUND, "not_found", &why)
}
