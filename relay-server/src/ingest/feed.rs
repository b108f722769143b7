//! A source's way into its mount: credentials, session, timers. Every
//! transport (raw socket, framed body, WebSocket, the demo) uses it.

mod body;
mod request;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seamcast_media::demux::Event;
use seamcast_media::units::MediaTime;
use tokio::sync::watch;

use super::brake::{self, Brake};
use super::media_type::{self, Declared};
use super::pcm::Settings;
use super::session::{self, Config, Output, Session};
use crate::auth::{self, Presented};
use crate::mount::{self, Mount, SourceId, SourceInfo, Stop};
use crate::server::{Counters, Relay};
pub use body::{Body, Source, run};
pub use request::{Refusal, Request};

/// Tags kept for the moment the audio begins.
const MAX_EARLY_TAGS: usize = 256;

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
    /// Tags that were told before there was audio to hang them on.
    early_tags: Vec<(String, String)>,
    /// Faults that were told before there was audio.
    early_faults: u64,
    done: bool,
    clamped: u64,
    brake: Brake,
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
            let (info, asked) = (request.info.clone(), &request.target.query);
            Self::source(relay, &name, settings, asked, declared, info)
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
        Self::source(relay, name, settings, &[], declared, info)
    }

    fn source(
        relay: &Arc<Relay>,
        name: &str,
        settings: crate::config::Mount,
        asked: &[(String, String)],
        declared: Declared,
        info: SourceInfo,
    ) -> Result<Self, Refusal> {
        let takeover = settings.takeover;
        // Its newcomer and the source that is there may each rule it out.
        let connect = |mount: &Mount| mount.connect(takeover && mount.settings().takeover);
        let feed = Self::admit(relay, name, settings.clone(), declared, info, connect)?;
        feed.mount.adopt(settings, asked);
        Ok(feed)
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
            early_tags: Vec::new(),
            early_faults: 0,
            done: false,
            clamped: 0,
            brake: Brake::default(),
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

    /// As [`Feed::push`], held back while the recorder cannot follow.
    ///
    /// # Errors
    /// As there.
    pub async fn push_held_back(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        for piece in bytes.chunks(brake::PIECE) {
            self.brake.wait(&self.mount).await;
            self.push(piece)?;
        }
        Ok(())
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
                    self.early_tags.extend(self.mount.take_early_tags());
                    tracing::info!(mount = %self.mount.name, peer = %self.info.peer,
                        media_time = begin.start.as_secs_f64(), "source on air");
                }
                Some(Output::Media(output)) => {
                    if !self.begun {
                        if let seamcast_media::chunk::Output::Fault(fault) = output {
                            Counters::add(&self.relay.counters.faults);
                            self.early_faults += 1;
                            let count = self.early_faults;
                            if Counters::is_worth_a_line(count) {
                                tracing::warn!(mount = %self.mount.name, peer = %self.info.peer,
                                    offset = fault.offset, count, "fault before any audio: {}", fault.message);
                            }
                        }
                        continue;
                    }
                    // After the stream's own, which come with its headers.
                    let audio = matches!(output, seamcast_media::chunk::Output::Chunk(_));
                    if audio && !self.early_tags.is_empty() {
                        self.mount.set_tags(std::mem::take(&mut self.early_tags));
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

    /// Tags from outside the stream, from here on.
    pub fn set_tags(&mut self, tags: impl IntoIterator<Item = (String, String)>) {
        if self.begun && self.early_tags.is_empty() {
            self.mount.set_tags(tags);
        } else {
            let room = MAX_EARLY_TAGS.saturating_sub(self.early_tags.len());
            self.early_tags.extend(tags.into_iter().take(room));
        }
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

    /// What the source calls itself.
    pub(super) fn agent(&self) -> &str {
        &self.info.agent
    }

    /// Bytes before which it is of little use to look at the source again; see
    /// [`Session::wanted`].
    fn wanted(&self) -> usize {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.wanted()
    }

    /// How long a pause must be for [`Feed::flush`].
    pub fn flush_after(&self) -> Duration {
        self.mount.settings().chunk.max(Duration::from_millis(20))
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
