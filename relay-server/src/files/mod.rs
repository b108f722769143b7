//! `/files/{path}`: finished and growing files over HTTP, with ranges, time
//! positions and waiting for growth.
//!
//! | Request | Answer |
//! |---|---|
//! | finished file | as any web server: 200, or 206 with the exact total |
//! | growing file | what there is now; the total in `Content-Range` is `*` |
//! | growing file, for a browser's `<audio>` or `<video>` | follows the growth as with `?wait=30`, from wherever the element begins: what ends early it takes for all there is, and refuses to seek from then on |
//! | growing file, `?wait=S` | without a range: follows the growth until the writer is done or pauses for `S` seconds. A range that begins at the end waits for growth, or says the true total (416) |
//! | growing file, `Range: bytes=N-9007199254740991` | RFC 8673: from `N` on, following the growth |
//! | `?pos=SECONDS` | a valid stream that begins at that time |

mod body;
mod growth;
mod path;
mod range;
mod representation;
mod seek;
mod validators;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use body::{FileBody, Follow, Piece};
use growth::Growth;
use range::Selection;
use representation::{Query, Representation};
use validators::Condition;

/// Longest `?wait=` honoured.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// How long a live range (RFC 8673) may pause when no `?wait=` says otherwise.
const LIVE_WAIT: Duration = Duration::from_secs(30);

/// Settings of the file service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory whose files are served.
    pub root: PathBuf,
    /// Time after its last write at which a file whose writer was not seen to
    /// close it counts as finished.
    pub idle: Duration,
    /// Files that are never served, wherever they are: the configuration.
    pub hidden: Vec<PathBuf>,
}

/// The file service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Files {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: path::Root,
    growth: Growth,
}

/// A file opened for one request.
struct Opened {
    file: Arc<File>,
    full_path: PathBuf,
    len: u64,
    modified: SystemTime,
}

impl Files {
    /// Opens the root and begins to watch it.
    ///
    /// # Errors
    /// When the root is not a readable directory.
    pub fn new(config: &Config) -> io::Result<Self> {
        let root = path::Root::open(&config.root, &config.hidden)?;
        let (growth, error) = Growth::watch(root.path(), config.idle);
        if let Some(error) = error {
            tracing::warn!(root = %root.path().display(), %error, "no file notifications: growing files are judged by their age");
        }
        Ok(Self {
            shared: Arc::new(Shared { root, growth }),
        })
    }

    /// The mount whose recording a request is for; `raw_path` as in [`Files::respond`].
    pub(crate) fn recorded_mount(raw_path: &str) -> Option<String> {
        let relative = path::relative(raw_path)?;
        let folder = relative.parent()?.strip_prefix("recordings").ok()?;
        Some(format!("/{}", folder.display()))
    }

    /// Answers one request. `raw_path` is the still percent-encoded part below
    /// `/files/`, `query` the raw query string.
    pub async fn respond(
        &self,
        method: &Method,
        raw_path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Response {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "files take GET and HEAD");
            refusal
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let query = match Query::parse(query.unwrap_or_default()) {
            Ok(query) => query,
            Err(message) => return text(StatusCode::BAD_REQUEST, &message),
        };
        let Some(relative) = path::relative(raw_path) else {
            return not_found();
        };
        let result = match self.open(&relative).await {
            Ok(opened) => self.serve(method, &relative, opened, &query, headers).await,
            Err(error) => Err(error),
        };
        result.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => not_found(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                text(StatusCode::BAD_REQUEST, &error.to_string())
            }
            _ => {
                tracing::error!(path = %relative.display(), %error, "cannot serve file");
                text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the file cannot be read now; try again",
                )
            }
        })
    }

    async fn open(&self, relative: &Path) -> io::Result<Opened> {
        let shared = Arc::clone(&self.shared);
        let relative = relative.to_path_buf();
        blocking(move || {
            let file = shared.root.open_file(&relative)?;
            let metadata = file.metadata()?;
            Ok(Opened {
                full_path: shared.root.path_of(&file, &relative),
                file: Arc::new(file),
                len: metadata.len(),
                modified: metadata.modified()?,
            })
        })
        .await
    }

    async fn serve(
        &self,
        method: &Method,
        relative: &Path,
        mut opened: Opened,
        query: &Query,
        headers: &HeaderMap,
    ) -> io::Result<Response> {
        let element = is_media_element(headers);
        let wait = query.wait.map(|wait| wait.min(MAX_WAIT));
        let wait = wait.or(element.then_some(LIVE_WAIT));
        let range_text = headers
            .get(header::RANGE)
            .and_then(|v| v.to_str().ok())
            .filter(|_| method == Method::GET);
        let deadline = Instant::now() + wait.unwrap_or_default();
        loop {
            let growing = self.is_growing(&opened)?;
            let metadata = opened.file.metadata()?;
            (opened.len, opened.modified) = (metadata.len(), metadata.modified()?);
            let representation = self.represent(relative, &opened, query, growing).await?;
            let validators = representation.validators(&opened.file, &metadata, growing)?;
            match validators.evaluate(headers) {
                Condition::Proceed => {}
                Condition::NotModified => {
                    let mut response = bare(StatusCode::NOT_MODIFIED, &validators);
                    // As the 200 would have it (RFC 9110 §15.4.5).
                    let caching = HeaderValue::from_static(caching(growing));
                    response
                        .headers_mut()
                        .insert(header::CACHE_CONTROL, caching);
                    return Ok(response);
                }
                Condition::Failed => return Ok(bare(StatusCode::PRECONDITION_FAILED, &validators)),
            }
            let if_range = headers.get(header::IF_RANGE).and_then(|v| v.to_str().ok());
            let applies =
                representation.if_range_applies(if_range, &validators, &opened.file, &metadata)?;
            let range_text = range_text.filter(|_| applies);
            let follows = growing && wait.is_some_and(|wait| !wait.is_zero());
            let selection = match range_text.and_then(range::open_ended) {
                Some(start) if element && follows && start > 0 => Selection::Live {
                    start,
                    last: range::VERY_LARGE,
                },
                _ => range::select(range_text, representation.len(), growing),
            };
            let nothing_yet = match &selection {
                Selection::Unsatisfiable => true,
                Selection::Live { start, .. } => *start > representation.len(),
                _ => false,
            };
            if growing && nothing_yet && Instant::now() < deadline {
                self.grown(&opened, opened.len, deadline).await;
                continue;
            }
            let selection = if nothing_yet {
                Selection::Unsatisfiable
            } else {
                selection
            };
            let whole_file =
                selection == Selection::Whole || range_text.and_then(range::open_ended) == Some(0);
            let follow = match &selection {
                Selection::Live { .. } => Some(wait.unwrap_or(LIVE_WAIT)),
                _ => wait.filter(|_| follows && whole_file),
            };
            let selection = if follow.is_some() && whole_file {
                Selection::Whole
            } else {
                selection
            };
            let mut response = self.answer(&opened, &representation, selection, growing, follow);
            validators.write(response.headers_mut());
            if method == Method::HEAD {
                let (parts, body) = response.into_parts();
                let exact = http_body::Body::size_hint(&body).exact();
                response = Response::from_parts(parts, Body::empty());
                if let Some(len) = exact {
                    response
                        .headers_mut()
                        .insert(header::CONTENT_LENGTH, len.into());
                }
            }
            return Ok(response);
        }
    }

    /// Whether more may come. What was renamed, removed or replaced has ended:
    /// nobody would be told of its growth.
    fn is_growing(&self, opened: &Opened) -> io::Result<bool> {
        let growth = &self.shared.growth;
        if !growth.is_growing(&opened.full_path, opened.modified, SystemTime::now()) {
            return Ok(false);
        }
        let inode = opened.file.metadata()?.ino();
        let there = std::fs::metadata(&opened.full_path);
        Ok(there.is_ok_and(|there| there.ino() == inode))
    }

    async fn represent(
        &self,
        relative: &Path,
        opened: &Opened,
        query: &Query,
        growing: bool,
    ) -> io::Result<Representation> {
        let (file, len, query, relative) = (
            Arc::clone(&opened.file),
            opened.len,
            query.clone(),
            relative.to_path_buf(),
        );
        blocking(move || Representation::new(&file, &relative, len, growing, &query)).await
    }

    /// Waits until the file is longer than `len`, has finished, or the deadline.
    async fn grown(&self, opened: &Opened, len: u64, deadline: Instant) {
        let growth = &self.shared.growth;
        let waiter = growth.waiter(&opened.full_path);
        let notified = waiter.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if opened.file.metadata().is_ok_and(|m| m.len() > len) {
            return;
        }
        let Some(finishes_in) =
            growth.finishes_in(&opened.full_path, opened.modified, SystemTime::now())
        else {
            return;
        };
        let until = deadline.min(Instant::now() + finishes_in);
        // A timeout only means that the caller looks again.
        let _ = tokio::time::timeout_at(until.into(), notified).await;
    }

    fn answer(
        &self,
        opened: &Opened,
        representation: &Representation,
        selection: Selection,
        growing: bool,
        follow: Option<Duration>,
    ) -> Response {
        let len = representation.len();
        let mut response = Response::builder()
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CACHE_CONTROL, caching(growing))
            .header("X-Content-Type-Options", "nosniff");
        let total = if growing {
            "*".to_owned()
        } else {
            len.to_string()
        };
        let content_type = representation.content_type;
        let (status, pieces, follow_from) = match selection {
            Selection::Whole => {
                response = response.header(header::CONTENT_TYPE, content_type);
                (StatusCode::OK, representation.pieces(0..len), Some(len))
            }
            Selection::Live { start, last } => {
                response = response
                    .header(header::CONTENT_TYPE, content_type)
                    .header(header::CONTENT_RANGE, format!("bytes {start}-{last}/*"));
                (
                    StatusCode::PARTIAL_CONTENT,
                    representation.pieces(start.min(len)..len),
                    Some(len),
                )
            }
            Selection::Parts(parts) if parts.len() == 1 => {
                let part = parts.into_iter().next().unwrap_or(0..len);
                let range = format!("bytes {}-{}/{total}", part.start, part.end - 1);
                response = response
                    .header(header::CONTENT_TYPE, content_type)
                    .header(header::CONTENT_RANGE, range);
                (
                    StatusCode::PARTIAL_CONTENT,
                    representation.pieces(part),
                    None,
                )
            }
            Selection::Parts(parts) => {
                let boundary = format!("{:016x}", rand::random::<u64>());
                response = response.header(
                    header::CONTENT_TYPE,
                    format!("multipart/byteranges; boundary={boundary}"),
                );
                let mut pieces = Vec::new();
                for part in parts {
                    let head = format!(
                        "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {}-{}/{total}\r\n\r\n",
                        part.start,
                        part.end - 1
                    );
                    pieces.push(Piece::Bytes(Bytes::from(head)));
                    pieces.extend(representation.pieces(part));
                }
                pieces.push(Piece::Bytes(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
                (StatusCode::PARTIAL_CONTENT, pieces, None)
            }
            Selection::Unsatisfiable => {
                let mut refusal = text(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    &format!(
                        "no such range: the file has {len} bytes{}",
                        if growing { " so far" } else { "" }
                    ),
                );
                if let Ok(range) = HeaderValue::from_str(&format!("bytes */{len}")) {
                    refusal.headers_mut().insert(header::CONTENT_RANGE, range);
                }
                return refusal;
            }
            Selection::TooMany => {
                return text(
                    StatusCode::BAD_REQUEST,
                    &format!(
                        "more than {} ranges in one request; ask for fewer",
                        range::MAX_RANGES
                    ),
                );
            }
        };
        let follow = follow.zip(follow_from).map(|(wait, from)| {
            let offset = representation.file_offset(from);
            (offset, self.follow(opened, wait))
        });
        let body = FileBody::new(Arc::clone(&opened.file), pieces, follow);
        response
            .status(status)
            .body(Body::new(body))
            .unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
    }

    fn follow(&self, opened: &Opened, wait: Duration) -> Follow {
        let this = self.clone();
        let (file, full_path) = (Arc::clone(&opened.file), opened.full_path.clone());
        Box::new(move |position| {
            let this = this.clone();
            let (file, full_path) = (Arc::clone(&file), full_path.clone());
            Box::pin(async move {
                let deadline = Instant::now() + wait;
                loop {
                    let mut opened = Opened {
                        file: Arc::clone(&file),
                        full_path: full_path.clone(),
                        len: position,
                        modified: file.metadata().ok()?.modified().ok()?,
                    };
                    // Judged before the length is read, so that the last write is not missed.
                    let growing = this.is_growing(&opened).ok()?;
                    opened.len = file.metadata().ok()?.len();
                    if opened.len > position {
                        return Some(opened.len);
                    }
                    if !growing || Instant::now() >= deadline || opened.len < position {
                        return None;
                    }
                    this.grown(&opened, position, deadline).await;
                }
            })
        })
    }
}

/// Whether a browser's media element asks: these say so themselves in secure
/// contexts, and by what they accept elsewhere.
fn is_media_element(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-dest") {
        Some(destination) => matches!(destination, "audio" | "video"),
        // Chromium and Firefox, in this order.
        None => {
            text("accept-encoding") == Some("identity;q=1, *;q=0")
                || text("accept").is_some_and(|types| types.starts_with("audio/webm,audio/ogg,"))
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

fn text(status: StatusCode, message: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// Says nothing about why: a refused path and a missing file look the same.
fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "no such file")
}

/// `Cache-Control`: what still grows is not kept by caches, the rest is asked for again.
fn caching(growing: bool) -> &'static str {
    if growing { "no-store" } else { "no-cache" }
}

fn bare(status: StatusCode, validators: &validators::Validators) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    validators.write(response.headers_mut());
    response
}
