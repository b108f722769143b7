//! A source's way into its mount: credentials, session, timers. Every
//! transport (raw socket, framed body, WebSocket, the demo) uses it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seamcast_media::demux::Event;
use seamcast_media::units::MediaTime;
use tokio::sync::watch;

use super::auth::{self, Presented};
use super::media_type::{self, Declared};
use super::pcm::Settings;
use super::session::{self, Config, Output, Session};
use crate::mount::{self, Mount, SourceId, SourceInfo, Stop, Target};
use crate::server::{Counters, Relay};

/// What a source asks for, whatever carried the request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Mount and query.
    pub target: Target,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Credentials.
    pub presented: Presented,
    /// Who it is.
    pub info: SourceInfo,
}

impl Request {
    /// Reads the headers that describe a source; `header` looks one up by its
    /// lower-case name.
    pub fn new<'h>(
        target: Target,
        peer: String,
        protocol: &'static str,
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> Self {
        let ice = |name: &str| {
            let value = header(&format!("ice-{name}")).or_else(|| header(&format!("icy-{name}")));
            value.unwrap_or_default().chars().take(512).collect()
        };
        let info = SourceInfo {
            peer,
            protocol,
            agent: header("user-agent")
                .unwrap_or_default()
                .chars()
                .take(256)
                .collect(),
            name: ice("name"),
            description: ice("description"),
            genre: ice("genre"),
            url: ice("url"),
        };
        Self {
            presented: Presented::from_request(header("authorization"), target.query("token")),
            content_type: header("content-type").map(str::to_owned),
            target,
            info,
        }
    }
}

/// Why a source is not taken, or not any longer. Says whose fault it is by its
/// status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The same, naming the mount it is about.
    pub(crate) fn about(mut self, mount: &str) -> Self {
        if !self.message.contains(mount) {
            self.message = format!("mount {mount}: {}", self.message);
        }
        self
    }

    /// A stable identifier for programs.
    pub fn code(&self) -> &'static str {
        match self.status {
            401 => "unauthorized",
            403 => "forbidden",
            408 => "timeout",
            409 => "conflict",
            410 => "taken_over",
            415 => "unsupported_media",
            501 => "not_implemented",
            503 => "overloaded",
            _ => "bad_request",
        }
    }

    /// The WebSocket close code that says it.
    pub fn close_code(&self) -> u16 {
        use seamcast_protocol::close;
        match self.status {
            401 | 403 => close::UNAUTHORIZED,
            409 => close::CONFLICT,
            415 => close::UNSUPPORTED_MEDIA,
            410 => close::TAKEN_OVER,
            408 => close::TOO_SLOW,
            503 => close::OVERLOADED,
            _ => close::BAD_REQUEST,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<session::Error> for Refusal {
    fn from(error: session::Error) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

/// A source that is connected. Dropping it says that the source was lost.
#[derive(Debug)]
pub struct Feed {
    relay: Arc<Relay>,
    /// The mount it feeds.
    pub mount: Arc<Mount>,
    id: SourceId,
    info: SourceInfo,
    declared: Declared,
    session: Arc<Mutex<Session>>,
    stop: watch::Sender<Stop>,
    begun: bool,
    done: bool,
    clamped: u64,
}

impl Feed {
    /// Checks credentials, before anything is waited for.
    ///
    /// # Errors
    /// 401 or 403.
    pub fn check(relay: &Relay, request: &Request) -> Result<(), Refusal> {
        let config = relay.config();
        let name = &request.target.path;
        let settings = config.mount(name);
        if !auth::may_feed(&config, &settings, &request.presented) {
            let why = if request.presented == Presented::Nothing {
                format!("mount {name} needs credentials: Basic source:PASSWORD or Bearer TOKEN")
            } else {
                format!("the credentials are not those of mount {name}")
            };
            return Err(refused(relay, request, Refusal::new(401, why)));
        }
        if !config.may_create(name) {
            let why = format!("mount {name} is not configured, and open_mounts is off");
            return Err(refused(relay, request, Refusal::new(403, why)));
        }
        Ok(())
    }

    /// Checks credentials and takes the source in.
    ///
    /// # Errors
    /// 401, 403, 409, 415, 400 or 503, in this order of precedence.
    pub fn open(relay: &Arc<Relay>, request: Request) -> Result<Self, Refusal> {
        Self::check(relay, &request)?;
        let name = request.target.path.clone();
        let mut settings = relay.config().mount(&name);
        let declared = settings
            .apply_query(&request.target.query)
            .map_err(|why| Refusal::new(400, why))
            .and_then(|()| {
                media_type::declared(request.content_type.as_deref(), &request.target.query)
                    .map_err(|why| Refusal::new(415, why.0))
            });
        let feed = declared.and_then(|declared| {
            Self::with_settings(relay, &name, settings, declared, request.info.clone())
        });
        feed.map_err(|refusal| refused(relay, &request, refusal))
    }

    /// A source inside the relay, such as the demo, which needs no credentials.
    ///
    /// # Errors
    /// When the mount cannot be made or is taken.
    pub fn internal(
        relay: &Arc<Relay>,
        name: &str,
        declared: Declared,
        info: SourceInfo,
    ) -> Result<Self, Refusal> {
        let settings = relay.config().mount(name);
        Self::with_settings(relay, name, settings, declared, info)
    }

    /// As [`Feed::internal`], with properties of the mount's own.
    ///
    /// # Errors
    /// As there.
    pub fn with_settings(
        relay: &Arc<Relay>,
        name: &str,
        settings: crate::config::Mount,
        declared: Declared,
        info: SourceInfo,
    ) -> Result<Self, Refusal> {
        let takeover = settings.takeover;
        let connect = |mount: &Mount| mount.connect(takeover);
        Self::admit(relay, name, settings, declared, info, connect)
    }

    /// What plays on the mount while no source is there.
    ///
    /// # Errors
    /// As [`Feed::internal`]; 409 when a source is there.
    pub fn fallback(
        relay: &Arc<Relay>,
        name: &str,
        settings: crate::config::Mount,
        declared: Declared,
        info: SourceInfo,
    ) -> Result<Self, Refusal> {
        Self::admit(
            relay,
            name,
            settings,
            declared,
            info,
            Mount::connect_fallback,
        )
    }

    fn admit(
        relay: &Arc<Relay>,
        name: &str,
        mut settings: crate::config::Mount,
        declared: Declared,
        info: SourceInfo,
        connect: impl FnOnce(&Mount) -> Option<SourceId>,
    ) -> Result<Self, Refusal> {
        // Without a folder there is nobody for whom to keep what is to be recorded.
        settings.record &= relay.config().data_dir.is_some();
        let chunk_ms = u32::try_from(settings.chunk.as_millis()).unwrap_or(100);
        let session = Session::new(Config {
            declared,
            encode: Settings {
                codec: session::codec_for(name, settings.encode),
                bitrate: settings.bitrate,
                complexity: settings.complexity,
                chunk_ms,
            },
            chunk: mount::duration(settings.chunk),
        })?;
        let most = usize::try_from(relay.config().max_mounts).unwrap_or(usize::MAX);
        if relay.is_draining() {
            return Err(Refusal::new(503, "the relay is shutting down; retry later"));
        }
        let now = Instant::now();
        let mount = relay
            .mounts
            .open(name, &settings, most, now)
            .map_err(|full| {
                let count = full.mounts;
                Refusal::new(
                    503,
                    format!("the relay has {count} mounts, its most (max_mounts)"),
                )
            })?;
        let id = connect(&mount).ok_or_else(|| {
            let why =
                format!("mount {name} has a source, and takeover is off; stop that one first");
            Refusal::new(409, why)
        })?;
        tracing::info!(mount = %name, peer = %info.peer, agent = %info.agent, protocol = info.protocol, "source connected");
        Ok(Self {
            relay: relay.clone(),
            mount,
            id,
            info,
            declared,
            session: Arc::new(Mutex::new(session)),
            stop: watch::Sender::new(Stop::No),
            begun: false,
            done: false,
            clamped: 0,
        })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they can no longer become audio (415), or the source was replaced
    /// (410).
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.count(bytes.len() as u64);
        let session = self.session.clone();
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = session.push(bytes);
        // What came before the fault is sound and belongs to the listeners.
        let drained = self.drain(&mut session);
        let clamped = session.clamped();
        let offset = session.bytes();
        drop(session);
        let clamped = clamped.nan + clamped.over;
        self.mount.count_clamped(clamped - self.clamped);
        self.clamped = clamped;
        outcome.map_err(|error| self.unusable(error, offset))?;
        drained
    }

    /// Takes packets, holes and faults that were found elsewhere in `bytes`
    /// bytes of input.
    ///
    /// # Errors
    /// When the source was replaced (410).
    pub fn push_events(
        &mut self,
        bytes: u64,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), Refusal> {
        self.count(bytes);
        let session = self.session.clone();
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        session.push_events(bytes, events);
        self.drain(&mut session)
    }

    fn count(&self, bytes: u64) {
        let total = &self.relay.counters.source_bytes;
        total.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        self.mount.count_source_bytes(bytes);
    }

    fn unusable(&self, error: session::Error, offset: u64) -> Refusal {
        tracing::warn!(mount = %self.mount.name, peer = %self.info.peer, offset,
            "source refused: {error}");
        Counters::add(&self.relay.counters.refused_sources);
        Refusal::from(error).about(&self.mount.name)
    }

    fn drain(&mut self, session: &mut Session) -> Result<(), Refusal> {
        loop {
            match session.poll() {
                None => return Ok(()),
                Some(Output::Begin) => {
                    let begin = self
                        .mount
                        .begin(self.id, self.info.clone(), &self.session, self.stop.clone())
                        .ok_or_else(|| self.stopped(Stop::TakenOver))?;
                    session.begin(begin.start, begin.serial);
                    self.begun = true;
                    tracing::info!(mount = %self.mount.name, peer = %self.info.peer,
                        media_time = begin.start.as_secs_f64(), "source on air");
                }
                Some(Output::Media(output)) => {
                    if !self.begun {
                        if let seamcast_media::chunk::Output::Fault(fault) = output {
                            Counters::add(&self.relay.counters.faults);
                            tracing::warn!(mount = %self.mount.name, peer = %self.info.peer,
                                offset = fault.offset, "fault before any audio: {}", fault.message);
                        }
                        continue;
                    }
                    if matches!(output, seamcast_media::chunk::Output::Fault(_)) {
                        Counters::add(&self.relay.counters.faults);
                    }
                    if !self.mount.append(self.id, output, session.next_serial()) {
                        return Err(self.stopped(*self.stop.borrow()));
                    }
                }
            }
        }
    }

    fn stopped(&self, stop: Stop) -> Refusal {
        let name = &self.mount.name;
        match stop {
            Stop::Removed => Refusal::new(403, format!("an administrator ended mount {name}")),
            Stop::No | Stop::TakenOver => {
                Refusal::new(410, format!("another source took mount {name} over"))
            }
        }
    }

    /// The source pauses: what is pending leaves.
    pub fn flush(&mut self) {
        let session = self.session.clone();
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        session.flush();
        let _ = self.drain(&mut session);
    }

    /// Tags from outside the stream.
    pub fn set_tags(&self, tags: impl IntoIterator<Item = (String, String)>) {
        self.mount.set_tags(tags);
    }

    /// Programme position after what was appended.
    pub fn position(&self) -> f64 {
        self.mount.log.head().end.as_secs_f64()
    }

    /// Whether the stream has begun and not said that it ends.
    pub fn is_unfinished(&self) -> bool {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.is_unfinished()
    }

    /// The body is complete: the programme ends.
    ///
    /// # Errors
    /// When there was no audio in it.
    pub fn finish(mut self) -> Result<(), Refusal> {
        let session = self.session.clone();
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = session.finish();
        let _ = self.drain(&mut session);
        session.close();
        let _ = self.drain(&mut session);
        let offset = session.bytes();
        drop(session);
        self.done = true;
        if let Err(error) = outcome {
            self.mount.lost(self.id, Instant::now());
            return Err(self.unusable(error, offset));
        }
        self.mount.finish(self.id, Instant::now());
        Ok(())
    }

    /// Programme position after everything pushed, once on air.
    pub fn media_time(&self) -> Option<MediaTime> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.position()
    }

    /// One file is complete and another follows in the same programme.
    ///
    /// # Errors
    /// 415 when there was no audio in it, which does not matter to the next;
    /// 410 or 403 when the source must stop.
    pub fn next_track(&mut self) -> Result<(), Refusal> {
        let session = self.session.clone();
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = session.finish();
        let drained = self.drain(&mut session);
        session.close();
        let drained = drained.and_then(|()| self.drain(&mut session));
        session.restart(self.declared)?;
        self.clamped = 0;
        drained?;
        outcome.map_err(Refusal::from)
    }

    /// The file that begins now is this, whatever the others are.
    ///
    /// # Errors
    /// 501 when it cannot be encoded.
    pub fn declare(&mut self, declared: Declared) -> Result<(), Refusal> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(session.restart(declared)?)
    }

    /// The last file was complete: the programme ends.
    pub fn finish_tracks(mut self) {
        self.done = true;
        self.mount.finish(self.id, Instant::now());
    }

    /// Resolves when the source must stop, with the reason.
    pub async fn must_stop(&self) -> Refusal {
        let mut stop = self.stop.subscribe();
        let why = stop.wait_for(|stop| *stop != Stop::No).await;
        let why = why.map_or(Stop::Removed, |stop| *stop);
        self.stopped(why)
    }

    /// How long a pause must be for [`Feed::flush`].
    pub fn flush_after(&self) -> Duration {
        self.mount.settings.chunk.max(Duration::from_millis(20))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        {
            let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            session.close();
            self.mount.drain(self.id, &mut session);
        }
        self.mount.lost(self.id, Instant::now());
    }
}

fn refused(relay: &Relay, request: &Request, refusal: Refusal) -> Refusal {
    let refusal = refusal.about(&request.target.path);
    Counters::add(&relay.counters.refused_sources);
    tracing::warn!(mount = %request.target.path, peer = %request.info.peer,
        status = refusal.status, "source refused: {refusal}");
    refusal
}

/// How a body went on.
#[derive(Debug)]
pub enum Body {
    /// More of it.
    More(Bytes),
    /// It is complete.
    End,
    /// The connection ended, which for a body without framing may mean either.
    Closed,
    /// The connection broke.
    Lost(String),
}

/// Where a body comes from.
pub trait Source: Send {
    /// The next piece; must be safe to cancel.
    fn next(&mut self) -> impl Future<Output = Body> + Send;
}

/// Feeds a body until it ends. Returns once the feed is finished or lost.
///
/// # Errors
/// When the source sent what cannot be carried, nothing for too long, or had
/// to stop.
pub async fn run(mut feed: Feed, source: &mut impl Source) -> Result<(), Refusal> {
    let timeout = feed.mount.settings.source_timeout;
    let flush_after = feed.flush_after();
    let relay = feed.relay.clone();
    let mut idle = false;
    let mut since = tokio::time::Instant::now();
    loop {
        let wake = if idle {
            since + timeout
        } else {
            since + flush_after.min(timeout)
        };
        let body = tokio::select! {
            body = source.next() => body,
            refusal = feed.must_stop() => return Err(refusal),
            () = relay.drained() => return Err(Refusal::new(503, "the relay is shutting down")),
            () = tokio::time::sleep_until(wake) => {
                if since.elapsed() >= timeout {
                    let secs = timeout.as_secs_f64();
                    let name = &feed.mount.name;
                    let why = format!("the source of mount {name} sent nothing for {secs} s");
                    tracing::warn!(mount = %name, "{why}");
                    return Err(Refusal::new(408, why));
                }
                feed.flush();
                idle = true;
                continue;
            }
        };
        match body {
            Body::More(bytes) => {
                feed.push(&bytes)?;
                since = tokio::time::Instant::now();
                idle = false;
            }
            Body::End => return feed.finish(),
            // An Ogg stream says when it ends; when it did not, the source is lost.
            Body::Closed if feed.is_unfinished() => {
                tracing::info!(mount = %feed.mount.name, "source closed in the middle of its stream");
                return Ok(());
            }
            Body::Closed => return feed.finish(),
            Body::Lost(why) => {
                tracing::info!(mount = %feed.mount.name, "source connection broke: {why}");
                return Ok(());
            }
        }
    }
}
