//! Whether who asks may listen to a mount, or fetch its recordings.

use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{Connection, error};
use crate::auth::{self, Presented};
use crate::mount::{find, parse_query};

/// 401 for whoever has no token for the closed mount `name`; `None` for those who may come in.
pub(super) fn refuse(
    connection: &Connection,
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
    name: &str,
) -> Option<Response> {
    let config = connection.relay.config();
    let running = connection.relay.mounts.find(name);
    let settings = running.map_or_else(|| config.mount(name).into(), |mount| mount.settings());
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let query = parse_query(query.unwrap_or_default());
    let presented = Presented::from_request(header, find(&query, "token"));
    let why = auth::may_listen(&config, name, &settings, &presented).err()?;
    let mut response = error(StatusCode::UNAUTHORIZED, "unauthorized", &why);
    // Basic has browsers ask for a name and a password, which suits an address bar, an `<audio>`
    // and VLC; a page's script is to get its answer, and knows bearer tokens. What tells them apart
    // is sent to safe origins only, so a socket, and HEAD, by which scripts ask why, count as well.
    let script = *method == Method::HEAD
        || headers.contains_key(header::UPGRADE)
        || headers
            .get("sec-fetch-dest")
            .is_some_and(|dest| dest == "empty");
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(if script {
            "Bearer realm=\"Seamcast listener\""
        } else {
            "Basic realm=\"Seamcast listener\", charset=\"UTF-8\""
        }),
    );
    Some(response)
}
