//! Source requests whose body hyper de-frames: Content-Length or chunked.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt as _;

use super::feed::{self, Feed, Refusal};
use crate::http::{Connection, error};
use crate::mount::Target;

/// What a request says about a source.
///
/// # Errors
/// When its path cannot be a mount.
pub(crate) fn source_request(
    connection: &Connection,
    request: &Parts,
    protocol: &'static str,
) -> Result<feed::Request, String> {
    let path = request.uri.path_and_query();
    let target = Target::parse(path.map_or("/", |path| path.as_str()))?;
    let headers = &request.headers;
    Ok(feed::Request::new(
        target,
        connection.peer.to_string(),
        protocol,
        |name| headers.get(name).and_then(|value| value.to_str().ok()),
    ))
}

/// Takes the body of a PUT or POST.
pub(crate) async fn serve(connection: &Connection, request: Request<Body>) -> Response {
    let (request, body) = request.into_parts();
    let protocol = if request.method == http::Method::PUT {
        "PUT"
    } else {
        "POST"
    };
    let source = match source_request(connection, &request, protocol) {
        Ok(source) => source,
        Err(why) => return closing(error(StatusCode::BAD_REQUEST, "bad_request", &why)),
    };
    let feed = match Feed::open(&connection.relay, source) {
        Ok(feed) => feed,
        Err(refusal) => return refuse(&refusal),
    };
    let name = feed.mount.name.clone();
    let mut body = Framed(body, None);
    let outcome = feed::run(feed, &mut body).await;
    match outcome {
        Ok(()) => match body.1 {
            None => closing(StatusCode::OK.into_response()),
            Some(why) => {
                let why = format!("the body of mount {name} broke: {why}; send it again");
                refuse(&Refusal::new(400, why))
            }
        },
        Err(refusal) => {
            linger(&mut body.0).await;
            refuse(&refusal)
        }
    }
}

/// A body, and why it broke.
struct Framed(Body, Option<String>);

impl feed::Source for Framed {
    async fn next(&mut self) -> feed::Body {
        match self.0.frame().await {
            None => feed::Body::End,
            Some(Ok(frame)) => feed::Body::More(frame.into_data().unwrap_or_else(|_| Bytes::new())),
            Some(Err(error)) => {
                self.1 = Some(error.to_string());
                feed::Body::Lost(error.to_string())
            }
        }
    }
}

/// Reads on for a moment so that a client that only writes gets to its answer.
async fn linger(body: &mut Body) {
    let drain = async {
        let mut left = 1_usize << 20;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(250), drain).await;
}

fn refuse(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = error(status, refusal.code(), &refusal.message);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"Seamcast source\", charset=\"UTF-8\""),
        );
    }
    closing(response)
}

/// An ingest connection closes after its body.
fn closing(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
