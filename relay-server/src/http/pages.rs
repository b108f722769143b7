//! The web page and the player's files: from a folder, or embedded when built
//! with the feature `embed`.

use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha1::{Digest, Sha1};

use crate::config::Config;

#[cfg(feature = "embed")]
static EMBEDDED: include_dir::Dir<'_> =
    include_dir::include_dir!("$CARGO_MANIFEST_DIR/../web/dist");

/// Largest file served from the folder.
const MAX_FILE: u64 = 16 << 20;

/// The file for `path` (decoded, with its leading slash), or `None` when the
/// page has none of that name.
pub(super) async fn file(config: &Config, path: &str, request: &HeaderMap) -> Option<Response> {
    for name in candidates(path) {
        let coding = codings(request);
        if let Some((bytes, coding)) = read(config, &name, &coding).await {
            return Some(answer(&name, bytes, coding, request));
        }
    }
    if path == "/" {
        return Some(placeholder());
    }
    None
}

/// Names to try, relative to the page's root.
fn candidates(path: &str) -> Vec<String> {
    let plain = path.trim_start_matches('/');
    // A version in the path (`/player/0.1.0/index.js`) pins what a page loads;
    // this relay has one version, its own.
    let version = concat!(env!("CARGO_PKG_VERSION"), "/");
    let plain = match plain.strip_prefix("player/") {
        Some(rest) => format!("player/{}", rest.strip_prefix(version).unwrap_or(rest)),
        None => plain.to_owned(),
    };
    if plain.is_empty() {
        return vec!["index.html".into()];
    }
    let clean = Path::new(&plain).components().all(
        |part| matches!(part, Component::Normal(name) if !name.to_string_lossy().starts_with('.')),
    );
    if !clean || plain.contains('\\') {
        return Vec::new();
    }
    let plain = plain.trim_end_matches('/').to_owned();
    if plain
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains('.'))
    {
        return vec![plain];
    }
    vec![format!("{plain}.html"), format!("{plain}/index.html")]
}

/// A content coding (RFC 9110 §8.4.1) and what its files' names end in.
type Coding = (&'static str, &'static str);

/// Smallest first.
const CODINGS: [Coding; 2] = [("br", ".br"), ("gzip", ".gz")];

/// The codings that a request accepts (RFC 9110 §12.5.3); `*` is not taken for one.
fn codings(request: &HeaderMap) -> Vec<Coding> {
    let accepted = |coding: &str| {
        let values = request.get_all(header::ACCEPT_ENCODING).into_iter();
        let mut items = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|v| v.split(','));
        items.any(|item| {
            let mut parts = item.split(';').map(str::trim);
            let named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(coding));
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            named && weight.unwrap_or(1.0) > 0.0
        })
    };
    CODINGS
        .into_iter()
        .filter(|(coding, _)| accepted(coding))
        .collect()
}

/// The file, in the first of `codings` that it was built in.
async fn read(
    config: &Config,
    name: &str,
    codings: &[Coding],
) -> Option<(Vec<u8>, Option<&'static str>)> {
    match web_dir(config) {
        Some(folder) => {
            let root = tokio::fs::canonicalize(&folder).await.ok()?;
            let (plain, changed) = find(&root, name).await?;
            for (coding, ending) in codings {
                // One that is older than the file is another file's.
                if let Some((path, made)) = find(&root, &format!("{name}{ending}")).await
                    && made >= changed
                {
                    return Some((tokio::fs::read(&path).await.ok()?, Some(*coding)));
                }
            }
            Some((tokio::fs::read(&plain).await.ok()?, None))
        }
        #[cfg(feature = "embed")]
        None => {
            let plain = EMBEDDED.get_file(name)?;
            let coded = codings.iter().find_map(|(coding, ending)| {
                let file = EMBEDDED.get_file(format!("{name}{ending}"))?;
                Some((file.contents().to_vec(), Some(*coding)))
            });
            Some(coded.unwrap_or_else(|| (plain.contents().to_vec(), None)))
        }
        #[cfg(not(feature = "embed"))]
        None => None,
    }
}

/// A file below `root` and when it was last changed.
async fn find(root: &Path, name: &str) -> Option<(PathBuf, SystemTime)> {
    let path = tokio::fs::canonicalize(root.join(name)).await.ok()?;
    let facts = tokio::fs::metadata(&path).await.ok()?;
    // A link that leads out of the folder is not followed.
    let served = path.starts_with(root) && facts.is_file() && facts.len() <= MAX_FILE;
    served.then_some((path, facts.modified().ok()?))
}

/// The folder of the page: as configured, or the source tree's when this
/// build has no page inside.
fn web_dir(config: &Config) -> Option<PathBuf> {
    if config.web_dir.is_some() {
        return config.web_dir.clone();
    }
    if cfg!(feature = "embed") {
        return None;
    }
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/dist");
    [PathBuf::from("web/dist"), tree]
        .into_iter()
        .find(|folder| folder.is_dir())
}

fn answer(
    name: &str,
    bytes: Vec<u8>,
    coding: Option<&'static str>,
    request: &HeaderMap,
) -> Response {
    let digest = Sha1::digest(&bytes);
    let etag: String = digest[..10]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let etag = format!("\"{etag}\"");
    let known = request
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(',')
                .any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == etag)
        });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(bytes).into_response()
    };
    let headers = response.headers_mut();
    if !known {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(content_type(name)),
        );
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
    }
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    // Revalidated each time: a new relay must never run with an old player.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        "txt" | "ts" | "md" => "text/plain; charset=utf-8",
        "opus" | "ogg" => "audio/ogg",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        _ => "application/octet-stream",
    }
}

/// What `/` shows when the relay was built without the page.
fn placeholder() -> Response {
    let body = "<!doctype html><meta charset=utf-8><title>Seamcast</title>\
        <p>This relay runs without its web page. Build it with <code>cargo xtask demo</code> \
        or point <code>--web-dir</code> at one. Mounts: <a href=\"/api/mounts\">/api/mounts</a>.";
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(candidates("/"), ["index.html"]);
        assert_eq!(candidates("/studio"), ["studio.html", "studio/index.html"]);
        let version = format!("/player/{}/index.js", env!("CARGO_PKG_VERSION"));
        assert_eq!(candidates(&version), ["player/index.js"]);
        for bad in ["/../x", "/a/../../b.js", "/.git/config.txt", "/a\\..\\b.js"] {
            assert!(candidates(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn unchanged_files_are_not_sent_again() {
        let first = answer("a.wasm", b"\0asm".to_vec(), None, &HeaderMap::new());
        assert_eq!(first.headers()[header::CONTENT_TYPE], "application/wasm");
        let mut request = HeaderMap::new();
        request.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let again = answer("a.wasm", b"\0asm".to_vec(), None, &request);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    fn accepting(value: &'static str) -> HeaderMap {
        let mut request = HeaderMap::new();
        request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        request
    }

    #[test]
    fn codings_are_those_accepted() {
        let names = |value| -> Vec<_> {
            let found = codings(&accepting(value));
            found.into_iter().map(|(coding, _)| coding).collect()
        };
        assert_eq!(names("gzip, deflate, br, zstd"), ["br", "gzip"]);
        assert_eq!(names("GZIP;q=0.5"), ["gzip"]);
        assert_eq!(names("br;q=0, gzip;q=1.0"), ["gzip"]);
        assert!(names("identity, *").is_empty());
        assert!(codings(&HeaderMap::new()).is_empty());
    }

    #[tokio::test]
    async fn a_file_is_sent_as_it_was_compressed_at_its_build() {
        let folder = std::env::temp_dir().join(format!("seamcast-pages-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text);
        write("page.js", "plain").expect("written");
        write("page.js.br", "small").expect("written");
        let config = Config {
            web_dir: Some(folder.clone()),
            ..Config::default()
        };
        let fetch = async |request: HeaderMap| {
            let response = file(&config, "/page.js", &request).await.expect("a file");
            let coding = response.headers().get(header::CONTENT_ENCODING).cloned();
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
            let kind = response.headers()[header::CONTENT_TYPE].clone();
            assert_eq!(kind, "text/javascript; charset=utf-8");
            let body = axum::body::to_bytes(response.into_body(), 100).await;
            (coding, body.expect("a body"))
        };
        let (coding, body) = fetch(accepting("gzip, br")).await;
        assert_eq!(coding.expect("compressed"), "br");
        assert_eq!(body, "small");
        assert_eq!(fetch(accepting("gzip")).await, (None, "plain".into()));

        // The page was changed by hand since.
        let old = SystemTime::now() - std::time::Duration::from_secs(60);
        let compressed = std::fs::File::options()
            .write(true)
            .open(folder.join("page.js.br"));
        compressed.expect("there").set_modified(old).expect("set");
        assert_eq!(fetch(accepting("br")).await, (None, "plain".into()));
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
