//! Another server's streaming answer into a mount: `POST …/pull`, `http`
//! inputs and the speech proxy.

mod copy;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use seamcast_media::icy::Deinterleaver;
use serde::Deserialize;

use super::client::Ask;
use super::packets::pause;
use super::{Backoff, Status};
use crate::config::{Input, Secret};
use crate::ingest::feed::{self, Body, Feed, Refusal};
use crate::ingest::media_type::{self, Declared};
use crate::mount::{Mount, SourceInfo};
use crate::server::Relay;
pub(crate) use copy::Copy;

/// Bytes of an upstream's error that are passed on.
const MAX_COMPLAINT: usize = 2048;
/// How long an answer that is only passed on may pause.
const SILENCE: Duration = Duration::from_secs(60);
/// A stream that nobody hears for this long is let go (`on_demand`).
const UNHEARD: Duration = Duration::from_secs(10);

/// The body of `POST /api/mounts/{m}/pull`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// Text as it is; anything else as JSON.
    #[serde(default)]
    body: serde_json::Value,
    /// What raw PCM is, when the upstream does not say.
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    rate: Option<u32>,
    #[serde(default)]
    channels: Option<u16>,
    /// How long the upstream's first answer may take.
    #[serde(default)]
    timeout_ms: Option<u64>,
}

impl Order {
    /// What to ask, and what the query of a source would say of raw PCM.
    pub(crate) fn ask(self) -> Result<(Ask, Vec<(String, String)>), String> {
        let has_body = !self.body.is_null();
        let method = self.method.as_deref();
        let method = method.unwrap_or(if has_body { "POST" } else { "GET" });
        let limit = self.timeout_ms.unwrap_or(30_000).clamp(100, 300_000);
        let mut ask = Ask::new(&self.url, method, Duration::from_millis(limit))?;
        let json = !matches!(self.body, serde_json::Value::String(_));
        if has_body && json {
            ask.header("Content-Type", "application/json")?;
        }
        for (name, value) in &self.headers {
            ask.header(name, value)?;
        }
        match self.body {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => ask.body(text.into()),
            other => ask.body(other.to_string().into()),
        }
        let mut query = Vec::new();
        query.extend(self.format.map(|format| ("format".to_owned(), format)));
        query.extend(self.rate.map(|rate| ("rate".to_owned(), rate.to_string())));
        query.extend(
            self.channels
                .map(|n| ("channels".to_owned(), n.to_string())),
        );
        if !query.is_empty() {
            // What is not said here comes from the upstream.
            declared(Some("audio/pcm"), query.clone()).map_err(|why| why.0)?;
        }
        Ok((ask, query))
    }
}

/// Why nothing is pulled.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Status for whoever asked.
    pub(crate) status: u16,
    /// The upstream's own status, if it answered.
    pub(crate) upstream: Option<u16>,
    /// Its `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// What is wrong, fit for the log.
    pub(crate) message: String,
    /// What the upstream said, for the caller only.
    pub(crate) complaint: String,
}

impl Failure {
    fn new(message: String) -> Self {
        Self {
            status: 502,
            upstream: None,
            retry_after: None,
            message,
            complaint: String::new(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status,
            ..Self::new(refusal.message)
        }
    }
}

/// Asks, and checks that the answer is a success.
pub(crate) async fn ask(ask: &Ask) -> Result<http::Response<Incoming>, Failure> {
    let answer = ask.send().await.map_err(Failure::new)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = answer.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut said = Vec::new();
    let mut body = answer.into_body();
    let reading = async {
        while said.len() < MAX_COMPLAINT
            && let Some(Ok(frame)) = body.frame().await
        {
            said.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), reading).await;
    said.truncate(MAX_COMPLAINT);
    Err(Failure {
        status: if status.as_u16() == 429 { 429 } else { 502 },
        upstream: Some(status.as_u16()),
        retry_after,
        complaint: ask.redact(&String::from_utf8_lossy(&said)),
        ..Failure::new(format!("{} answered {status}", ask.shown()))
    })
}

/// What an answer is, by its type and what the order says of it.
fn declared(
    kind: Option<&str>,
    mut query: Vec<(String, String)>,
) -> Result<Declared, media_type::Unsupported> {
    let bare = kind.and_then(|kind| kind.split(';').next());
    if bare.is_some_and(|bare| bare.trim().eq_ignore_ascii_case("audio/pcm")) {
        // What speech services send under this name. The first that says something counts.
        let usual = [("format", "s16le"), ("rate", "24000"), ("channels", "1")];
        query.extend(usual.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    media_type::declared(kind, &query)
}

/// A source on `mount` for a successful answer.
pub(crate) fn enter(
    relay: &Arc<Relay>,
    mount: &str,
    settings: crate::config::Mount,
    head: &HeaderMap,
    query: Vec<(String, String)>,
    protocol: &'static str,
    peer: String,
) -> Result<Feed, Failure> {
    let text = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
    let declared = declared(text("content-type"), query)
        .map_err(|why| Failure::new(format!("{peer} answered what is not audio: {why}")))?;
    let icy = |name: &str| text(&format!("icy-{name}")).unwrap_or_default().to_owned();
    let info = SourceInfo {
        peer,
        protocol,
        agent: text("server").unwrap_or_default().to_owned(),
        name: icy("name"),
        description: icy("description"),
        genre: icy("genre"),
        url: icy("url"),
    };
    Ok(Feed::with_settings(relay, mount, settings, declared, info)?)
}

/// An answer's body as a source: metadata taken out, copies passed on.
pub(crate) struct Upstream {
    body: Incoming,
    icy: Option<Deinterleaver>,
    mount: Option<Arc<Mount>>,
    status: Arc<Status>,
    /// Whom the same bytes are for.
    pub(crate) copy: Option<Copy>,
    /// Why the body broke off.
    pub(crate) broke: Option<String>,
    /// How long it may pause when it is only passed on.
    patience: Duration,
}

impl Upstream {
    pub(crate) fn new(
        answer: http::Response<Incoming>,
        mount: Option<Arc<Mount>>,
        status: Arc<Status>,
    ) -> Self {
        let interval = answer.headers().get("icy-metaint");
        let interval = interval.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self {
            icy: interval.filter(|n| *n > 0).map(Deinterleaver::new),
            body: answer.into_body(),
            mount,
            status,
            copy: None,
            broke: None,
            patience: SILENCE,
        }
    }
}

impl Upstream {
    /// The next piece for whoever asked; `None` when it does not come, and the
    /// rest will not: the answer is then cut short.
    pub(crate) async fn next_in_time(&mut self) -> Option<Body> {
        let patience = self.patience;
        let next = feed::Source::next(self);
        tokio::time::timeout(patience, next).await.ok()
    }
}

impl feed::Source for Upstream {
    async fn next(&mut self) -> Body {
        loop {
            let frame = match self.body.frame().await {
                None => {
                    if let Some(copy) = self.copy.take() {
                        copy.finish();
                    }
                    return Body::Closed;
                }
                Some(Err(error)) => {
                    let why = format!("the upstream's answer broke off: {error}");
                    self.copy = None;
                    self.broke = Some(why.clone());
                    return Body::Lost(why);
                }
                Some(Ok(frame)) => frame,
            };
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            self.status.packets.fetch_add(1, Ordering::Relaxed);
            let len = bytes.len() as u64;
            self.status.bytes.fetch_add(len, Ordering::Relaxed);
            if let Some(copy) = &self.copy
                && !copy.try_send(bytes.clone())
            {
                // Gone, or so slow that the mount would have to wait.
                self.copy = None;
            }
            let Some(icy) = &mut self.icy else {
                return Body::More(bytes);
            };
            let mut audio = Vec::with_capacity(bytes.len());
            icy.push(&bytes, &mut audio);
            for title in icy.titles() {
                if let Some(mount) = &self.mount {
                    mount.set_tags([("TITLE".to_owned(), title)]);
                }
            }
            if !audio.is_empty() {
                return Body::More(audio.into());
            }
        }
    }
}

/// Feeds to the end, and says what went wrong.
pub(crate) async fn carry(feed: Feed, mut upstream: Upstream) {
    let status = upstream.status.clone();
    status.is("live");
    status.starts.fetch_add(1, Ordering::Relaxed);
    let outcome = feed::run(feed, &mut upstream).await;
    if outcome.is_err() && upstream.copy.is_some() {
        // Whoever asked gets all of it, also when the mount is another's by now.
        upstream.mount = None;
        while upstream.copy.is_some()
            && let Some(Body::More(_)) = upstream.next_in_time().await
        {}
    }
    match (outcome, upstream.broke) {
        (Err(refusal), _) => status.failed(&refusal.message),
        (Ok(()), Some(why)) => status.failed(&why),
        (Ok(()), None) => {}
    }
    status.is("ended");
}

/// `kind = "http"`: again and again until the relay drains.
pub(super) async fn run(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    let mut backoff = Backoff::default();
    let asked = match input_ask(input) {
        Ok(asked) => asked,
        Err(why) => return status.failed(&why),
    };
    let wanted = input.on_demand.then(|| relay.board.on_demand(&input.mount));
    loop {
        if let Some(wanted) = &wanted {
            status.is("asleep");
            tokio::select! {
                () = relay.drained() => return,
                () = wanted.notified() => {}
            }
        }
        status.is("connecting");
        let began = Instant::now();
        let once = async {
            match once(relay, input, status, &asked).await {
                Ok((feed, upstream)) => {
                    let mount = feed.mount.clone();
                    tokio::select! {
                        () = carry(feed, upstream) => false,
                        () = unheard(&mount), if input.on_demand => {
                            mount.remove_source(Instant::now());
                            true
                        }
                    }
                }
                Err(failure) => {
                    status.failed(&failure.message);
                    false
                }
            }
        };
        let slept = tokio::select! {
            slept = once => slept,
            () = relay.drained() => return,
        };
        if slept {
            backoff = Backoff::default();
            continue;
        }
        status.is("backing off");
        if pause(relay, backoff.after(began.elapsed(), rand::random())).await {
            return;
        }
        // Whoever still waits for it, or listens within the grace, wants it.
        if let (Some(wanted), Some(mount)) = (&wanted, relay.mounts.find(&input.mount))
            && mount.shared.stats.listeners.load(Ordering::Relaxed) > 0
        {
            wanted.notify_one();
        }
    }
}

async fn once(
    relay: &Arc<Relay>,
    input: &Input,
    status: &Arc<Status>,
    asked: &Ask,
) -> Result<(Feed, Upstream), Failure> {
    let answer = ask(asked).await?;
    let settings = super::mount_settings(&relay.config(), input);
    let mut query = Vec::new();
    if let Some(format) = input.format {
        query.push(("format".to_owned(), format.name().to_owned()));
        query.push(("rate".to_owned(), input.rate.to_string()));
        query.push(("channels".to_owned(), input.channels.to_string()));
    }
    let (mount, head) = (&input.mount, answer.headers());
    let feed = enter(relay, mount, settings, head, query, "http", asked.shown())?;
    let upstream = Upstream::new(answer, Some(feed.mount.clone()), status.clone());
    Ok((feed, upstream))
}

fn input_ask(input: &Input) -> Result<Ask, String> {
    let mut ask = Ask::new(input.url.reveal(), &input.method, input.timeout)?;
    ask.header("Icy-MetaData", "1")?;
    for line in input.headers.iter().map(Secret::reveal) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        ask.header(name, value)?;
    }
    ask.body(input.body.reveal().to_owned().into());
    Ok(ask)
}

/// Resolves when nobody has listened for a while.
async fn unheard(mount: &Mount) {
    let mut since = Instant::now();
    while since.elapsed() < UNHEARD {
        tokio::time::sleep(Duration::from_millis(250)).await;
        if mount.shared.stats.listeners.load(Ordering::Relaxed) > 0 {
            since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use seamcast_media::pcm::SampleFormat;
    use seamcast_media::wav::Format;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn pcm_is_what_is_said_of_it_and_else_the_usual() {
        let query = |said: &[(&str, &str)]| -> Vec<(String, String)> {
            let own = said.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
            own.collect()
        };
        for (kind, said, sample, sample_rate) in [
            ("audio/pcm", &[][..], SampleFormat::S16le, 24_000),
            ("Audio/PCM; rate=16000", &[], SampleFormat::S16le, 16_000),
            ("audio/pcm", &[("rate", "8000")], SampleFormat::S16le, 8_000),
            (
                "audio/pcm",
                &[("format", "f32le")],
                SampleFormat::F32le,
                24_000,
            ),
        ] {
            let wanted = Format {
                sample,
                sample_rate,
                channels: 1,
            };
            let found = declared(Some(kind), query(said));
            assert_eq!(found, Ok(Declared::Pcm(wanted)), "{kind} {said:?}");
        }
        assert_eq!(declared(Some("audio/ogg"), query(&[])), Ok(Declared::Sniff));
        assert!(declared(Some("audio/x-raw"), query(&[])).is_err());
    }

    /// Its caller must not wait for ever, nor take what came for all of it.
    #[tokio::test]
    async fn an_answer_that_stops_coming_is_cut_short() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let silent = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("asked");
            let _ = socket.read(&mut [0; 1000]).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
            socket.write_all(answer).await.expect("sent");
            std::future::pending::<()>().await;
        });
        let asked = Ask::new(&url, "GET", Duration::from_secs(60)).expect("an address");
        let answer = ask(&asked).await.expect("answered");
        let mut upstream = Upstream::new(answer, None, Status::new("pull", "/m"));
        let (copy, copied) = Copy::new();
        upstream.copy = Some(copy);
        assert!(
            matches!(upstream.next_in_time().await, Some(Body::More(bytes)) if bytes == "half")
        );
        upstream.patience = Duration::from_millis(50);
        assert!(upstream.next_in_time().await.is_none());
        drop(upstream);
        let mut copied = Box::pin(copied);
        let mut frame = async || std::future::poll_fn(|cx| copied.as_mut().poll_frame(cx)).await;
        assert!(frame().await.is_some_and(|piece| piece.is_ok()));
        assert!(frame().await.is_some_and(|end| end.is_err()), "looks whole");
        silent.abort();
    }
}
