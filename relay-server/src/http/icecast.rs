//! Routes that Icecast's clients know: titles and the status page.

use std::time::{Duration, SystemTime};

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::{Connection, error};
use crate::auth::{self, Presented};
use crate::ingest::head;
use crate::mount::{Mount, percent_decode_bytes};

/// `/status-json.xsl`. Icecast gives an object for one source and an array for
/// several; an array always is what its clients understand, too. `?mount=/live.mp3` picks one.
pub(super) async fn status(connection: Connection, headers: HeaderMap, uri: http::Uri) -> Response {
    let picked = Fields::read(uri.query().unwrap_or_default()).text("mount");
    let relay = &connection.relay;
    let origin = connection.origin(&headers);
    let sources: Vec<_> = relay
        .mounts
        .all()
        .iter()
        .filter(|mount| mount.settings().public && mount.is_live())
        .filter(|mount| picked.as_ref().is_none_or(|name| *name == mount.name))
        .map(|mount| source(mount, &origin.url))
        .collect();
    let body = json!({
        "icestats": {
            "admin": "",
            "host": origin.host,
            "location": "",
            "server_id": concat!("Seamcast ", env!("CARGO_PKG_VERSION")),
            "server_start": icecast_date(relay.since),
            "server_start_iso8601": iso8601(relay.since),
            "source": sources,
        }
    });
    let mut response = axum::Json(body).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `Sun, 06 Nov 1994 08:49:37 +0000`, as Icecast writes it.
fn icecast_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time).replace("GMT", "+0000")
}

/// `1994-11-06T08:49:37+0000`, as Icecast writes it.
fn iso8601(time: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // RFC 9110 §5.6.7: Sun, 06 Nov 1994 08:49:37 GMT
    let date = httpdate::fmt_http_date(time);
    let (day, month, year, clock) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    let month = MONTHS.find(month).map_or(0, |at| at / 3 + 1);
    format!("{year}-{month:02}-{day}T{clock}+0000")
}

fn source(mount: &Mount, origin: &str) -> serde_json::Value {
    let about = mount.describe(false);
    let (artist, title) = (&about["artist"], &about["title"]);
    // A fallback has no source.
    let since = about["source"]["connected_at"].as_f64();
    let since = since.or(about["created_at"].as_f64()).unwrap_or(0.0);
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(since.max(0.0));
    json!({
        "listenurl": format!("{origin}{}", mount.name),
        "server_name": about["name"],
        "server_description": about["description"],
        "server_type": about["content_type"],
        "server_url": about["url"],
        "genre": about["genre"],
        "artist": artist,
        "title": title,
        "bitrate": about["bitrate"].as_u64().unwrap_or(0) / 1000,
        "samplerate": about["sample_rate"],
        "channels": about["channels"],
        "listeners": about["listeners"],
        "listener_peak": about["peak_listeners"],
        "max_listeners": about["max_listeners"],
        "stream_start": icecast_date(since),
        "stream_start_iso8601": iso8601(since),
        "dummy": null,
    })
}

/// `/live.mp3.m3u`: a playlist of one mount, for programs that are opened by a file. `None` when `path` is
/// not that of a mount with `.m3u` behind it. What the query asks (a token, `from`) is asked of the mount.
pub(super) fn playlist(connection: &Connection, path: &str, request: &Parts) -> Option<Response> {
    connection.relay.mounts.find(path.strip_suffix(".m3u")?)?;
    // As it came: its odd letters are encoded.
    let raw = request.uri.path().strip_suffix(".m3u")?;
    let query = request.uri.query().map(|query| format!("?{query}"));
    let origin = connection.origin(&request.headers).url;
    let body = format!("{origin}{raw}{}\r\n", query.unwrap_or_default());
    let mut response = body.into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "audio/x-mpegurl"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"listen.m3u\"",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// `/admin/metadata?mode=updinfo&mount=…&song=…` and SHOUTcast's `/admin.cgi`.
pub(super) async fn metadata(
    connection: Connection,
    headers: HeaderMap,
    uri: http::Uri,
    body: String,
) -> Response {
    let mut pairs = uri.query().unwrap_or_default().to_owned();
    let form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    if form {
        pairs.push('&');
        pairs.push_str(body.trim());
    }
    let fields = Fields::read(&pairs);
    if fields.raw("mode").is_some_and(|mode| mode != b"updinfo") {
        let mode = head::shorten(&fields.text("mode").unwrap_or_default());
        let why = format!("mode {mode:?} is unknown; use mode=updinfo");
        return error(StatusCode::BAD_REQUEST, "bad_request", &why);
    }
    let relay = &connection.relay;
    let config = relay.config();
    let name = match fields.text("mount") {
        Some(mount) if mount.starts_with('/') => mount,
        Some(mount) => format!("/{mount}"),
        None => config.shoutcast_mount.clone(),
    };
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let pass = fields.text("pass").or_else(|| fields.text("token"));
    let presented = Presented::from_request(header, pass.as_deref());
    let settings = config.mount(&name);
    if !auth::may_feed(&config, &settings, &presented) && !auth::is_admin(&config, &presented) {
        let why = format!("titles of {name:?} need its source's credentials");
        let mut response = error(StatusCode::UNAUTHORIZED, "unauthorized", &why);
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"Seamcast source\", charset=\"UTF-8\""),
        );
        return response;
    }
    let (artist, title) = (fields.text("artist"), fields.text("title"));
    let song = fields.text("song");
    if artist.is_none() && title.is_none() && song.is_none() {
        let why = "song is missing; use mode=updinfo&mount=/live.mp3&song=Artist+-+Title";
        return error(StatusCode::BAD_REQUEST, "bad_request", why);
    }
    let tags = match song {
        // The conventional form, as every source client sends it.
        Some(song) => match song.split_once(" - ") {
            Some((artist, title)) => [artist.to_owned(), title.to_owned()],
            None => [String::new(), song],
        },
        None => [artist.unwrap_or_default(), title.unwrap_or_default()],
    };
    let [artist, title] = tags;
    // libshout's clients tell the first one before they send any audio.
    let tags = [
        ("ARTIST".to_owned(), artist.clone()),
        ("TITLE".to_owned(), title.clone()),
    ];
    let Some(mount) = relay.mounts.find(&name).filter(|mount| mount.tell(tags)) else {
        let shown = head::shorten(&name);
        let why = format!("mount {shown:?} has no source now; titles are taken while one feeds it");
        return error(StatusCode::NOT_FOUND, "no_source", &why);
    };
    tracing::info!(mount = %mount.name, title = %title, artist = %artist, "title");
    let answer = "<?xml version=\"1.0\"?>\n<iceresponse><message>Metadata update successful\
        </message><return>1</return></iceresponse>\n";
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], answer).into_response()
}

/// Query fields as bytes, because their charset is a field, too.
struct Fields {
    pairs: Vec<(String, Vec<u8>)>,
    charset: Option<String>,
}

impl Fields {
    fn read(query: &str) -> Self {
        let pairs: Vec<(String, Vec<u8>)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(64)
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name.to_owned(), percent_decode_bytes(value, true))
            })
            .collect();
        let mut fields = Self {
            pairs,
            charset: None,
        };
        fields.charset = fields.text("charset").map(|name| name.to_ascii_lowercase());
        fields
    }

    fn raw(&self, name: &str) -> Option<&[u8]> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_slice())
    }

    /// In the declared charset, else UTF-8, else Latin-1.
    fn text(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        let latin = self.charset.as_deref().is_some_and(|charset| {
            charset.contains("8859-1") || charset.contains("latin1") || charset == "latin-1"
        });
        Some(if latin {
            raw.iter().map(|byte| char::from(*byte)).collect()
        } else {
            head::text(raw)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_icecasts() {
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        assert_eq!(
            icecast_date(at(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 +0000"
        );
        assert_eq!(iso8601(at(784_111_777)), "1994-11-06T08:49:37+0000");
        assert_eq!(iso8601(at(1_709_164_800)), "2024-02-29T00:00:00+0000");
    }

    #[test]
    fn titles_come_in_three_charsets() {
        let song = |query: &str| Fields::read(query).text("song");
        assert_eq!(song("song=caf%C3%A9+x").as_deref(), Some("café x"));
        assert_eq!(song("song=caf%E9").as_deref(), Some("café"));
        let declared = "song=%C3%A9&charset=ISO-8859-1";
        assert_eq!(song(declared).as_deref(), Some("Ã©"));
        assert_eq!(song("mode=x"), None);
    }
}
