//! Requests for a mount: listeners leave hyper here, sources with a framed
//! body or over WebSocket come in. What is no mount may be a file of the page.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use seamcast_protocol::{LISTENER_MEDIA_TYPE, LISTENER_SUBPROTOCOL, SOURCE_SUBPROTOCOL};

use super::upgrade::{Upgrade, list};
use super::{Connection, admit, api, error, icecast, method_not_allowed, pages, policy};
use crate::access::{Visit, without_tokens};
use crate::auth::Presented;
use crate::config::{self, JoinDefault};
use crate::fanout::{Framing, Full, ListenerRequest, Mode, Seat};
use crate::front;
use crate::ingest::head::Head;
use crate::ingest::{framed, raw, socket};
use crate::link::Link;
use crate::mount::log::JoinFrom;
use crate::mount::{self, Mount, container_type, find, parse_query, percent_decode};

/// How long a listener waits for a source that has connected but not sent
/// audio yet.
const FIRST_AUDIO: Duration = Duration::from_secs(5);
/// Bytes between ICY metadata blocks, the customary number.
const ICY_INTERVAL: u32 = 16_000;

/// What a connection becomes when it leaves hyper.
#[derive(Debug)]
pub(crate) enum TakeOver {
    /// A listener.
    Listener {
        mount: std::sync::Arc<Mount>,
        request: Box<ListenerRequest>,
    },
    /// A source over WebSocket: the head to write first, and its request.
    Source {
        head: String,
        request: Box<crate::ingest::feed::Request>,
    },
    /// A source whose body has no framing that hyper knows.
    Unframed(Box<Head>),
}

/// Goes on with a connection that left hyper.
pub(super) async fn enter(
    connection: &Connection,
    plan: TakeOver,
    socket: Link,
    mut received: BytesMut,
) -> io::Result<()> {
    match plan {
        TakeOver::Listener { mount, mut request } => {
            let socket = socket.into_socket(&mut received)?;
            request.unread = received.freeze();
            let fanout = &connection.relay.fanout;
            fanout.attach(socket, mount.shared.clone(), *request);
            Ok(())
        }
        TakeOver::Source { head, request } => {
            socket::serve(&connection.relay, socket, received, &head, *request).await
        }
        TakeOver::Unframed(head) => {
            let Connection { relay, peer, .. } = connection;
            match raw::serve_head(relay, socket, received, &head, *peer).await? {
                Some((socket, rest)) => Box::pin(front::requests(relay, socket, rest, *peer)).await,
                None => Ok(()),
            }
        }
    }
}

/// Anything that is no route: a mount or a file.
pub(super) async fn resource(connection: Connection, request: Request<Body>) -> Response {
    let Some(path) = percent_decode(request.uri().path(), false) else {
        return api::no_such_mount(request.uri().path());
    };
    let (parts, body) = request.into_parts();
    match Head::of(&parts) {
        Some(Ok(head)) => {
            let plan = TakeOver::Unframed(Box::new(head));
            return connection.take_over(plan).await;
        }
        Some(Err(why)) => return error(StatusCode::BAD_REQUEST, "bad_request", &why.to_string()),
        None => {}
    }
    let request = Request::from_parts(parts, body);
    match *request.method() {
        Method::GET | Method::HEAD => get(&connection, &path, &request.into_parts().0).await,
        Method::PUT | Method::POST => framed::serve(&connection, request).await,
        ref method => method_not_allowed(method, "GET, HEAD, PUT, POST, SOURCE"),
    }
}

async fn get(connection: &Connection, path: &str, request: &Parts) -> Response {
    let headers = &request.headers;
    let upgrade = match Upgrade::asked(request) {
        Ok(upgrade) => upgrade,
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    let config = connection.relay.config();
    if let Some(upgrade) = &upgrade {
        if !policy::may_open_socket(&config, headers) {
            let why = "pages of this origin may not connect; add it to origins";
            return error(StatusCode::FORBIDDEN, "origin", why);
        }
        if upgrade.subprotocol == Some(SOURCE_SUBPROTOCOL) {
            return source(connection, request, upgrade).await;
        }
    }
    let relay = &connection.relay;
    if (relay.mounts.find(path).is_some() || relay.board.fetches(path))
        && let Some(refusal) = admit::refuse(
            connection,
            &request.method,
            headers,
            request.uri.query(),
            path,
        )
    {
        return refusal;
    }
    if relay.board.want(path) {
        fetched(connection, path).await;
    }
    let Some(mount) = connection.relay.mounts.find(path) else {
        if upgrade.is_none()
            && let Some(playlist) = icecast::playlist(connection, path, request)
        {
            return playlist;
        }
        if upgrade.is_none()
            && let Some(file) = pages::file(&config, path, headers).await
        {
            return file;
        }
        return api::no_such_mount(path);
    };
    if !mount.is_ready() && !mount.wait_ready(FIRST_AUDIO).await {
        let why = format!("mount {} has no audio yet; retry", mount.name);
        let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "no_audio", &why);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    let query = parse_query(request.uri.query().unwrap_or_default());
    let mut listener = match Listener::read(&query, &mount.settings()) {
        Ok(listener) => listener,
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    let seat = match seat(connection, &mount) {
        Ok(seat) => seat,
        Err(why) => {
            let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "full", &why);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            return response;
        }
    };
    let icy = headers
        .get("icy-metadata")
        .is_some_and(|value| value == "1");
    let framing = match (&upgrade, request.version) {
        (Some(upgrade), _) if upgrade.subprotocol == Some(LISTENER_SUBPROTOCOL) => {
            Framing::WsFramed
        }
        (Some(_), _) => Framing::WsPlain,
        (None, _) if wants_frames(headers) => Framing::HttpFramed,
        (None, _) if icy && codec(&mount) == "mp3" => Framing::HttpIcy {
            interval: ICY_INTERVAL,
        },
        (None, Version::HTTP_11) => Framing::HttpChunked,
        (None, _) => Framing::HttpRaw,
    };
    let head = match &upgrade {
        Some(upgrade) => upgrade.head(),
        None => {
            let origin = policy::allow_origin(&config, headers);
            stream_head(&mount, framing, origin.as_ref())
        }
    };
    if request.method == Method::HEAD {
        return head_only(&mount, framing);
    }
    listener.agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let access = relay.access.as_ref();
    let farewell =
        access.map(|access| access.farewell(visit(connection, request, upgrade.is_some())));
    let mut request = listener.request(framing, connection, head);
    request.farewell = farewell;
    request.seat = Some(seat);
    if mount.shared.log.is_past(&request.from) {
        let (shared, from, burst) = (mount.shared.clone(), request.from.clone(), request.burst);
        let find = tokio::task::spawn_blocking(move || shared.join_past(&from, burst));
        request.join = find.await.ok();
    }
    connection
        .take_over(TakeOver::Listener {
            mount,
            request: Box::new(request),
        })
        .await
}

/// What the access log says of a request.
fn visit(connection: &Connection, request: &Parts, socket: bool) -> Visit {
    let text = |name: header::HeaderName| {
        let value = request.headers.get(name).map(HeaderValue::as_bytes);
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    let user = match Presented::from_header(Some(&text(header::AUTHORIZATION))) {
        Presented::Basic { user, .. } => user,
        _ => String::new(),
    };
    let query = without_tokens(request.uri.query().unwrap_or_default());
    let mark = if query.is_empty() { "" } else { "?" };
    Visit {
        peer: Some(connection.peer.ip().to_canonical()),
        user,
        target: format!("{}{mark}{query}", request.uri.path()),
        version: match request.version {
            Version::HTTP_11 => "HTTP/1.1",
            _ => "HTTP/1.0",
        },
        status: if socket { 101 } else { 200 },
        referer: text(header::REFERER),
        agent: text(header::USER_AGENT),
    }
}

/// A place for one more listener, or why there is none.
fn seat(connection: &Connection, mount: &Mount) -> Result<Seat, String> {
    let relay = &connection.relay;
    let (here, all) = (mount.settings().max_listeners, relay.config().max_listeners);
    Seat::take(&relay.fanout, &mount.shared, here, all).map_err(|full| match full {
        Full::Mount(most) => {
            let name = &mount.name;
            format!("mount {name} has {most} listeners, its most (max_listeners); retry later")
        }
        Full::Relay(most) => {
            format!("the relay has {most} listeners, its most (max_listeners); retry later")
        }
    })
}

/// Whether a request asks for the messages of `seamcast.v1` as a body.
fn wants_frames(headers: &HeaderMap) -> bool {
    list(headers, &header::ACCEPT).any(|item| {
        let media_type = item.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case(LISTENER_MEDIA_TYPE)
    })
}

fn codec(mount: &Mount) -> String {
    mount
        .log
        .current_generation()
        .map_or_else(String::new, |generation| generation.config.codec.clone())
}

fn content_type(mount: &Mount) -> &'static str {
    let generation = mount.log.current_generation();
    container_type(generation.as_ref().map_or("ogg", |g| &g.config.container))
}

/// What a query asks of a join.
struct Listener {
    from: JoinFrom,
    burst: Option<Duration>,
    mode: Mode,
    max_latency: Duration,
    min_chunk: Duration,
    settings_burst: Duration,
    agent: String,
}

impl Listener {
    fn read(query: &[(String, String)], settings: &config::Mount) -> Result<Self, String> {
        let from = match find(query, "from") {
            Some(from) => from.parse()?,
            None => match settings.join {
                JoinDefault::Live => JoinFrom::Live,
                JoinDefault::Start => JoinFrom::Start,
            },
        };
        let mode = find(query, "mode").map_or(Ok(Mode::Live), str::parse)?;
        let max_latency = match find(query, "max_latency") {
            None => settings.max_latency,
            Some(text) => {
                let value = config::Value::Text(text.to_owned());
                let millis = value
                    .integer(20..=86_400_000)
                    .map_err(|why| format!("max_latency={why}"))?;
                Duration::from_millis(millis)
            }
        };
        let min_chunk = match find(query, "min_chunk") {
            None => Duration::ZERO,
            Some(text) => {
                let value = config::Value::Text(text.to_owned());
                let millis = value
                    .integer(0..=10_000)
                    .map_err(|why| format!("min_chunk={why}"))?;
                Duration::from_millis(millis)
            }
        };
        let burst = find(query, "burst")
            .map(|text| config::Value::Text(text.to_owned()).duration())
            .transpose()
            .map_err(|why| format!("burst={why}"))?;
        Ok(Self {
            from,
            burst,
            mode,
            max_latency,
            min_chunk,
            settings_burst: settings.burst,
            agent: String::new(),
        })
    }

    fn request(self, framing: Framing, connection: &Connection, head: String) -> ListenerRequest {
        let burst = self.burst.unwrap_or(self.settings_burst);
        ListenerRequest {
            from: self.from,
            burst: mount::duration(burst),
            mode: self.mode,
            // A burst that lies within the limit must not count as lag.
            max_latency: mount::duration(self.max_latency.max(burst)),
            min_chunk: mount::duration(self.min_chunk),
            user_agent: self.agent,
            head: Bytes::from(head),
            ..ListenerRequest::new(framing, connection.peer)
        }
    }
}

/// Header lines that describe the stream, for GET and HEAD alike.
fn stream_headers(mount: &Mount, framing: Framing) -> Vec<(&'static str, String)> {
    let media_type = match framing {
        Framing::HttpFramed => LISTENER_MEDIA_TYPE,
        _ => content_type(mount),
    };
    let clean = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).collect() };
    let mut lines = vec![
        ("Content-Type", media_type.to_owned()),
        ("Vary", "Accept".to_owned()),
        ("Cache-Control", "no-store, no-cache".to_owned()),
        ("Pragma", "no-cache".to_owned()),
        ("Accept-Ranges", "none".to_owned()),
        ("Cross-Origin-Resource-Policy", "cross-origin".to_owned()),
        ("X-Content-Type-Options", "nosniff".to_owned()),
    ];
    if let Some(source) = mount.source() {
        let public = u8::from(mount.settings().public).to_string();
        for (name, value) in [
            ("icy-name", source.name),
            ("icy-description", source.description),
            ("icy-genre", source.genre),
            ("icy-url", source.url),
            ("icy-pub", public),
        ] {
            if !value.is_empty() {
                lines.push((name, clean(&value)));
            }
        }
    }
    let bitrate = mount.bitrate() / 1000;
    if bitrate > 0 {
        lines.push(("icy-br", bitrate.to_string()));
    }
    if let Framing::HttpIcy { interval } = framing {
        lines.push(("icy-metaint", interval.to_string()));
    }
    lines
}

/// The whole head of a body that is a stream.
fn stream_head(mount: &Mount, framing: Framing, origin: Option<&HeaderValue>) -> String {
    let mut head = String::from("HTTP/1.1 200 OK\r\nServer: Seamcast\r\n");
    if framing == Framing::HttpRaw {
        head = String::from("HTTP/1.0 200 OK\r\nServer: Seamcast\r\n");
    }
    for (name, value) in stream_headers(mount, framing) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(origin) = origin.and_then(|origin| origin.to_str().ok()) {
        head.push_str(&format!("Access-Control-Allow-Origin: {origin}\r\n"));
        if origin != "*" {
            head.push_str("Vary: Origin\r\n");
        }
        let exposed = policy::EXPOSE_HEADERS;
        head.push_str(&format!("Access-Control-Expose-Headers: {exposed}\r\n"));
    }
    head.push_str(match framing {
        Framing::HttpChunked => "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        _ => "Connection: close\r\n\r\n",
    });
    head
}

fn head_only(mount: &Mount, framing: Framing) -> Response {
    let mut response = super::unsized_body().into_response();
    for (name, value) in stream_headers(mount, framing) {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn source(connection: &Connection, request: &Parts, upgrade: &Upgrade) -> Response {
    match framed::source_request(connection, request, "websocket") {
        Ok(source) => {
            connection
                .take_over(TakeOver::Source {
                    head: upgrade.head(),
                    request: Box::new(source),
                })
                .await
        }
        Err(why) => error(StatusCode::BAD_REQUEST, "bad_request", &why),
    }
}

/// Waits for a mount that is fetched on demand.
async fn fetched(connection: &Connection, path: &str) {
    let until = tokio::time::Instant::now() + FIRST_AUDIO;
    let there = |mount: std::sync::Arc<crate::mount::Mount>| mount.is_ready() && !mount.is_over();
    while !connection.relay.mounts.find(path).is_some_and(there)
        && tokio::time::Instant::now() < until
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
