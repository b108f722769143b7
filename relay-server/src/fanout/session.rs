//! What a listener gets next.
//!
//! A session is a pure state machine of a few hundred bytes. Its owner calls
//! [`Session::prepare`]; on [`Next::Write`] it writes what [`Session::fill`]
//! yields and reports the bytes taken with [`Session::advance`], until
//! `prepare` says otherwise or the socket is full. Extra calls of `prepare`
//! are harmless.
//!
//! What goes out, in order: the rest of a half written entry, the session's
//! own messages, then entries of the log.

mod control;
mod icy;

use std::sync::Arc;

use bytes::Bytes;
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::close;
use seamcast_protocol::control::ServerMessage;

use super::client::Inbox;
use super::cursor::{Batch, Cursor, Queue, length};
use super::wire::{self, Framing};
use super::{ListenerRequest, Mode};
use crate::mount::log::{
    Chunk, Entry, Gap, Head, Join, JoinFrom, Kind, Log, Metadata, Status, json,
};
use icy::Icy;

/// Own messages queued at most; a peer that asks for more without reading is closed.
const MAX_QUEUE: usize = 16;
/// What a listener that joins in the past gets at once.
const PACE_AHEAD: MediaDuration = MediaDuration::from_millis(15_000);
/// How far ahead of its reported position such a listener is served.
const PACE_REPORTED: MediaDuration = MediaDuration::from_millis(8_000);
/// How much faster than real time it is served while it reports none.
const PACE_SPEED: u64 = 2;
/// How long such a report is believed.
const REPORT_AGE_MS: u64 = 15_000;

/// The clocks, read by the owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, ms.
    pub mono_ms: u64,
    /// Wall clock, µs since the Unix epoch.
    pub wall_us: u64,
}

/// The mount's log as of now, with a run of its entries.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The log, for joins.
    pub log: &'a Log,
    /// What it holds.
    pub head: Head,
    /// Consecutive entries, hopefully those that the session wants.
    pub window: &'a [Arc<Entry>],
}

impl<'a> View<'a> {
    /// The run's entries from `index` on; none if it does not hold `index`.
    fn from(&self, index: u64) -> &'a [Arc<Entry>] {
        let at = self
            .window
            .first()
            .and_then(|first| index.checked_sub(first.index))
            .and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.window.get(at..)).unwrap_or_default()
    }
}

/// What to do with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write what `fill` yields.
    Write,
    /// Call again with a window that begins at this entry. What memory does
    /// not hold is in the log's past; if it is not, say so with
    /// [`Session::pass`].
    Fetch(u64),
    /// Find the join point [`Session::sought`] in the log's past and call
    /// [`Session::located`].
    Locate,
    /// Nothing until the log grows or, if given, this many ms have passed.
    Wait(Option<u64>),
    /// All is written: shut the sending side down and wait for the peer's end.
    Linger,
    /// Over; drop the connection.
    Finished,
}

/// Times that apply to sessions, ms.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Nothing taken although there is something.
    pub stall: u64,
    /// From a close's begin to its end.
    pub close: u64,
    /// Silence after which a peer is pinged.
    pub ping: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// No entries any more, only what is queued.
    Closing {
        since: u64,
        /// The peer has said goodbye: no need to wait for it.
        answered: bool,
    },
    Finished,
}

/// Counters of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Bytes written.
    pub bytes: u64,
    /// Chunks begun.
    pub chunks: u64,
    /// Times moved past chunks.
    pub gaps: u32,
    /// Closed because it was too slow.
    pub too_slow: bool,
    /// Chunks missed so.
    pub lag_chunks: u64,
}

/// What a listener last reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Position audible.
    pub media_time: MediaTime,
    /// Buffered, ms.
    pub buffered_ms: f64,
    /// Underruns so far.
    pub underruns: u64,
    /// When it said so, monotonic ms.
    pub at_ms: u64,
}

/// Serving a listener that began in the past no faster than it plays:
/// browsers do not hold a WebSocket back.
#[derive(Debug)]
struct Pace {
    since_ms: u64,
    from: MediaTime,
}

/// A listener's state machine.
#[derive(Debug)]
pub struct Session {
    cursor: Cursor,
    queue: Queue,
    phase: Phase,
    framing: Framing,
    mode: Mode,
    need_sync: bool,
    pinged: bool,
    half_closed: bool,
    /// Generation whose headers the listener has; 0 is none.
    generation: u32,
    /// Version of the tags it has; 0 is none.
    tags: u32,
    /// Chunk it expects next.
    next_seq: u64,
    /// Bytes of the bit reservoir that its decoder has, while it begins;
    /// `None` once chunks can be decoded as they are.
    reservoir: Option<u16>,
    /// First chunk missed that it has not been told about.
    missed: Option<u64>,
    /// It was missed because nobody has it.
    lost: bool,
    /// A seek whose join point is being looked for.
    seeking: Option<Box<JoinFrom>>,
    max_latency: MediaDuration,
    min_chunk: MediaDuration,
    burst: MediaDuration,
    /// How far behind it is on purpose; shrinks as it catches up.
    shift: MediaDuration,
    /// Chunks from here on are held back for now.
    hold_from: MediaTime,
    /// When bytes were last taken, or the session began; monotonic ms.
    last_write: u64,
    last_read: u64,
    counters: Counters,
    inbox: Option<Box<Inbox>>,
    icy: Option<Box<Icy>>,
    pace: Option<Box<Pace>>,
    report: Option<Box<Report>>,
}

const FAR: MediaTime = MediaTime::from_ticks(u64::MAX);

impl Session {
    /// A session that begins where the request wants. `name` is the mount's.
    pub fn new(now: Now, name: &str, log: &Log, request: &ListenerRequest) -> Self {
        let found = request.join;
        let join = found.unwrap_or_else(|| log.join(&request.from, request.burst));
        let mut session = Self {
            cursor: Cursor::default(),
            queue: Queue::default(),
            phase: Phase::Open,
            framing: request.framing,
            mode: request.mode,
            need_sync: !join.recovered,
            pinged: false,
            half_closed: false,
            generation: 0,
            tags: 0,
            next_seq: join.seq,
            reservoir: None,
            missed: None,
            lost: false,
            seeking: None,
            max_latency: request.max_latency,
            min_chunk: request.min_chunk,
            burst: request.burst,
            shift: MediaDuration::ZERO,
            hold_from: FAR,
            last_write: now.mono_ms,
            last_read: now.mono_ms,
            counters: Counters::default(),
            inbox: None,
            icy: None,
            pace: None,
            report: None,
        };
        match request.framing {
            Framing::HttpIcy { interval } => {
                session.icy = Some(Box::new(Icy::new(interval, request.head.clone())));
            }
            _ => session.queue.push(request.head.clone()),
        }
        if request.framing.is_framed() {
            let head = log.head();
            session.tell(&ServerMessage::Welcome {
                mount: name.to_owned(),
                epoch: log.epoch().to_owned(),
                oldest: head.first().seq,
                head: head.next_seq,
                live: head.status != Status::Ended,
                from: join.seq,
                media_time: join.at.as_secs_f64(),
                server_time: now.wall_us as f64 / 1000.0,
                recovered: join.recovered,
                seekable: [head.first().at.as_secs_f64(), head.end.as_secs_f64()],
            });
        }
        session.enter(now, log, join);
        session
    }

    /// Moves to a join point.
    fn enter(&mut self, now: Now, log: &Log, join: Join) {
        self.cursor.index = join.index;
        self.next_seq = join.seq;
        self.need_sync = !join.recovered;
        self.reservoir = (!join.recovered).then_some(0);
        if let Some(gap) = join.gap {
            self.tell_gap(gap);
        }
        self.shift = log.head().end.since(join.at);
        self.pace = (self.framing.is_ws() && self.shift > self.burst && self.shift > PACE_AHEAD)
            .then(|| {
                Box::new(Pace {
                    since_ms: now.mono_ms,
                    from: join.at,
                })
            });
    }

    /// Decides what comes next.
    pub fn prepare(&mut self, now: Now, view: &View<'_>) -> Next {
        if self.phase == Phase::Open
            && let Some(next) = self.choose(now, view)
        {
            return next;
        }
        let own = self.has_own_output();
        match self.phase {
            Phase::Finished => Next::Finished,
            _ if own => Next::Write,
            Phase::Closing { answered: true, .. } => Next::Finished,
            Phase::Closing { .. } => Next::Linger,
            Phase::Open => Next::Wait(None),
        }
    }

    /// Chooses the next entry while open: `None` when there is none.
    fn choose(&mut self, now: Now, view: &View<'_>) -> Option<Next> {
        self.hold_from = FAR;
        if self.seeking.is_some() {
            return Some(if self.has_own_output() {
                Next::Write
            } else {
                Next::Locate
            });
        }
        loop {
            if self.cursor.index < view.head.first().index {
                if self.mode == Mode::Complete {
                    self.counters.too_slow = true;
                    self.close(
                        now,
                        close::TOO_SLOW,
                        "behind what the mount keeps; read faster or join in live mode",
                    );
                    return None;
                }
                self.skip(view);
            }
            if self.cursor.index >= view.head.next {
                // Caught up: what was behind on purpose has been served.
                self.shift = MediaDuration::ZERO;
                self.pace = None;
                return None;
            }
            let Some(entry) = view.from(self.cursor.index).first() else {
                return Some(Next::Fetch(self.cursor.index));
            };
            let behind = view.head.end.since(entry.at);
            self.shift = self.shift.min(behind);
            if self.mode == Mode::Live && behind > self.max_latency + self.shift && self.skip(view)
            {
                continue;
            }
            let Some(chunk) = entry.chunk() else {
                if length(entry, self.framing) == 0 {
                    self.begin(now, entry, 0);
                    if self.phase == Phase::Open {
                        continue;
                    }
                    return None;
                }
                // Whether the chunk after it may be sent is the next question.
                self.hold_from = MediaTime::ZERO;
                return Some(Next::Write);
            };
            if self.need_sync && !chunk.is_sync() {
                self.miss(entry.seq + 1);
                self.cursor.index = entry.index + 1;
                continue;
            }
            if let Some(wait) = self.hold(now, view, entry, behind) {
                return Some(if self.has_own_output() {
                    Next::Write
                } else {
                    Next::Wait(Some(wait))
                });
            }
            if entry.seq > self.next_seq {
                self.missed.get_or_insert(self.next_seq);
                self.lost = true;
                self.reservoir = Some(0);
                self.next_seq = entry.seq;
                self.counters.gaps += 1;
            }
            if let Some(from) = self.missed.take() {
                let lost = std::mem::take(&mut self.lost);
                self.tell_gap(Gap {
                    from,
                    to: entry.seq,
                    reason: if lost { "missing" } else { "lag" },
                });
            }
            if self.generation != chunk.generation.number {
                if self.generation != 0 {
                    // Another source's frames: none before them is theirs.
                    self.reservoir = Some(0);
                }
                self.generation = chunk.generation.number;
                let intro = chunk.generation.intro(chunk.wire.payload());
                self.queue.push(intro.bytes(self.framing).clone());
            }
            self.tell_tags(chunk.tags.as_ref());
            if let Some(have) = self.reservoir {
                self.open(now, entry, chunk, have);
            }
            return Some(Next::Write);
        }
    }

    /// Lets a decoder that begins here begin with what it can decode.
    fn open(&mut self, now: Now, entry: &Arc<Entry>, chunk: &Chunk, have: u16) {
        let opening = chunk.generation.opening(chunk, have);
        let bytes = opening.bytes(self.framing);
        if bytes.is_empty() {
            self.reservoir = opening.have;
        } else if self.has_own_output() {
            // First what comes before this chunk.
            self.hold_from = MediaTime::ZERO;
        } else {
            self.begin(now, entry, 0);
            self.cursor.open(entry, bytes);
            self.reservoir = opening.have;
        }
    }

    /// Whether the entry has to wait, and for how many ms at most.
    fn hold(
        &mut self,
        now: Now,
        view: &View<'_>,
        entry: &Entry,
        behind: MediaDuration,
    ) -> Option<u64> {
        if let Some(pace) = &self.pace {
            let believable = |report: &&Report| {
                (pace.from..=entry.at).contains(&report.media_time)
                    && now.mono_ms.saturating_sub(report.at_ms) < REPORT_AGE_MS
            };
            let limit = match self.report.as_deref().filter(believable) {
                Some(report) => report.media_time + PACE_REPORTED,
                None => {
                    let elapsed = now.mono_ms.saturating_sub(pace.since_ms);
                    pace.from + PACE_AHEAD + MediaDuration::from_millis(elapsed * PACE_SPEED)
                }
            };
            self.hold_from = limit;
            if entry.at >= limit {
                // Held back by us, so not lagging.
                self.shift = behind;
                return Some(250);
            }
        }
        if self.min_chunk > MediaDuration::ZERO
            && behind < self.min_chunk
            && let Some(chunk) = entry.chunk()
        {
            let pending = view.from(entry.index);
            let due = chunk.header.ingest_time / 1000 + self.min_chunk.as_millis() + 50;
            let wait = due.saturating_sub(now.wall_us / 1000);
            if wait > 0 && pending.iter().all(|entry| entry.chunk().is_some()) {
                self.hold_from = MediaTime::ZERO;
                return Some(wait.min(self.min_chunk.as_millis() + 50));
            }
        }
        None
    }

    /// Moves a listener that is too far behind towards the live edge; false
    /// if it is already as near as it gets.
    fn skip(&mut self, view: &View<'_>) -> bool {
        let half = MediaDuration::from_ticks(self.max_latency.ticks() / 2);
        let join = view.log.join(&JoinFrom::Live, self.burst.min(half));
        if join.index <= self.cursor.index {
            return false;
        }
        self.cursor.index = join.index;
        self.need_sync = true;
        self.reservoir = Some(0);
        self.shift = MediaDuration::ZERO;
        self.pace = None;
        self.miss(join.seq);
        true
    }

    /// Notes that chunks before `to` are not sent.
    fn miss(&mut self, to: u64) {
        let missed = to.saturating_sub(self.next_seq);
        if missed == 0 {
            return;
        }
        if self.missed.is_none() {
            self.missed = Some(self.next_seq);
            self.counters.gaps += 1;
        }
        self.counters.lag_chunks += missed;
        self.next_seq = to;
    }

    fn tell(&mut self, message: &ServerMessage) {
        self.queue.push(wire::text_frame(&json(message)));
    }

    fn tell_gap(&mut self, gap: Gap) {
        if self.framing.is_framed() {
            self.tell(&ServerMessage::Gap {
                from: gap.from,
                to: gap.to,
                reason: gap.reason.to_owned(),
            });
        }
    }

    /// Tells a listener that did not come past the tags' own entry.
    fn tell_tags(&mut self, tags: Option<&Arc<Metadata>>) {
        let Some(tags) = tags.filter(|tags| tags.version != self.tags) else {
            return;
        };
        self.tags = tags.version;
        if self.framing.is_framed() {
            self.queue.push(tags.frame.clone());
        }
        if let Some(icy) = &mut self.icy {
            icy.tags(tags);
        }
    }

    fn has_own_output(&self) -> bool {
        self.cursor.is_partial()
            || !self.queue.is_empty()
            || self.icy.as_ref().is_some_and(|icy| icy.is_inside())
    }

    /// The bytes to write next, after [`Next::Write`] with the same `view`.
    pub fn fill<'a>(&'a self, view: &View<'a>) -> Batch<'a> {
        let mut batch = match &self.icy {
            Some(icy) if icy.is_inside() => {
                let mut batch = Batch::new(usize::MAX);
                batch.push(icy.block());
                return batch;
            }
            Some(icy) => Batch::new(icy.left()),
            None => Batch::new(usize::MAX),
        };
        let own = self.cursor.fill_held(self.framing, &mut batch) && self.queue.fill(&mut batch);
        if !own || self.phase != Phase::Open || self.seeking.is_some() {
            return batch;
        }
        let mut total = batch.total();
        for entry in view.from(self.cursor.index) {
            if let Some(chunk) = entry.chunk() {
                let other = chunk.generation.number != self.generation;
                let held = entry.at >= self.hold_from || self.reservoir.is_some();
                if other || held || total >= Batch::BYTES {
                    break;
                }
                total += chunk.wire.len();
            }
            let [first, second] = entry.slices(self.framing);
            if !batch.push(first) || !batch.push(second) || matches!(entry.kind, Kind::End(_)) {
                break;
            }
        }
        batch
    }

    /// Counts `n` bytes of the last [`Session::fill`] as written.
    pub fn advance(&mut self, now: Now, view: &View<'_>, n: usize) {
        self.last_write = now.mono_ms;
        self.counters.bytes += n as u64;
        if let Some(icy) = &mut self.icy
            && icy.advance(n)
        {
            return;
        }
        let mut left = n - self.cursor.advance_held(self.framing, n);
        if left > 0 {
            left -= self.queue.advance(left);
        }
        for entry in view.from(self.cursor.index) {
            if left == 0 {
                break;
            }
            left -= self.begin(now, entry, left);
        }
    }

    /// After [`Next::Fetch`]: entries from `index` up to `next` are nowhere.
    pub fn pass(&mut self, index: u64, next: u64) {
        if self.cursor.index == index && next > index {
            self.cursor.index = next;
            self.need_sync = true;
        }
    }

    /// Backlog it wants when it joins near the live edge.
    pub const fn burst(&self) -> MediaDuration {
        self.burst
    }

    /// The join point to be located.
    pub fn sought(&self) -> Option<&JoinFrom> {
        self.seeking.as_deref()
    }

    /// Begins an entry, of which `n` or more bytes are written.
    fn begin(&mut self, now: Now, entry: &Arc<Entry>, n: usize) -> usize {
        let taken = self.cursor.begin(entry, self.framing, n);
        match &entry.kind {
            Kind::Chunk(_) => {
                self.next_seq = entry.seq + 1;
                self.need_sync = false;
                self.counters.chunks += 1;
            }
            Kind::Metadata(tags) => {
                self.tags = tags.version;
                if let Some(icy) = &mut self.icy {
                    icy.tags(tags);
                }
            }
            Kind::End(_) => {
                if !self.framing.is_ws() {
                    self.end_body();
                }
                self.close(now, close::ENDED, "the programme ended");
            }
            Kind::Offline(_) | Kind::Online(_) => {}
        }
        taken
    }

    /// Ends an HTTP body properly; without this the peer sees it cut off.
    fn end_body(&mut self) {
        if self.framing == Framing::HttpChunked {
            self.queue.push(Bytes::from_static(wire::HTTP_LAST_CHUNK));
        }
    }

    /// Begins to close: what is half written is finished, then a close frame
    /// goes out. Harmless when already closing.
    pub fn close(&mut self, now: Now, code: u16, reason: &str) {
        if self.phase != Phase::Open {
            return;
        }
        if self.framing.is_ws() {
            self.queue.push(wire::close_frame(code, reason));
        }
        self.phase = Phase::Closing {
            since: now.mono_ms,
            answered: false,
        };
    }

    /// Sends `goaway` and closes; HTTP bodies end properly.
    pub fn go_away(&mut self, now: Now, after_ms: u64, url: Option<&str>) {
        if self.phase != Phase::Open {
            return;
        }
        if self.framing.is_framed() {
            self.tell(&ServerMessage::Goaway {
                after_ms,
                url: url.map(str::to_owned),
            });
        }
        self.end_body();
        self.close(now, close::GOING_AWAY, "the relay restarts");
    }

    /// Looks at the clock, every second or so; `blocked` when the socket took
    /// nothing at the last attempt. True when there may be something to write.
    pub fn tick(&mut self, now: Now, head: &Head, timeouts: &Timeouts, blocked: bool) -> bool {
        let silent = now.mono_ms.saturating_sub(self.last_write);
        match self.phase {
            Phase::Finished => true,
            Phase::Closing { since, .. } => {
                // A slow peer that still takes bytes gets all of them.
                if now.mono_ms.saturating_sub(since) > timeouts.close && silent > timeouts.close {
                    self.phase = Phase::Finished;
                }
                self.phase == Phase::Finished
            }
            Phase::Open if blocked && silent > self.patience(timeouts) => {
                self.counters.too_slow = true;
                self.close(now, close::TOO_SLOW, "nothing was read for too long");
                true
            }
            Phase::Open if blocked => {
                let lost = self.cursor.index < head.first().index;
                lost && self.mode == Mode::Complete && {
                    // Its close does not wait until it reads again.
                    self.counters.too_slow = true;
                    self.close(now, close::TOO_SLOW, "behind what the mount keeps");
                    true
                }
            }
            Phase::Open if self.half_closed && silent > timeouts.close => {
                self.phase = Phase::Finished;
                true
            }
            Phase::Open if self.framing.is_ws() && silent > timeouts.ping => {
                let heard = now.mono_ms.saturating_sub(self.last_read);
                if self.pinged && heard > timeouts.ping * 2 {
                    self.phase = Phase::Finished;
                } else {
                    self.pinged = true;
                    self.queue.push(wire::ping_frame());
                }
                true
            }
            Phase::Open => false,
        }
    }

    /// How long it may take nothing. Listeners that never skip may pause for
    /// as long as history waits for them, but not for ever.
    const fn patience(&self, timeouts: &Timeouts) -> u64 {
        match self.mode {
            Mode::Live => timeouts.stall,
            Mode::Complete => timeouts.stall.saturating_mul(30),
        }
    }

    /// Counters so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Chunk it gets next.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Entry it gets next.
    pub const fn index(&self) -> u64 {
        self.cursor.index
    }

    /// What the listener last reported.
    pub fn report(&self) -> Option<Report> {
        self.report.as_deref().copied()
    }

    /// Whether it is over.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// How its bytes are framed.
    pub const fn framing(&self) -> Framing {
        self.framing
    }
}

#[cfg(test)]
#[path = "session/sim.rs"]
mod sim;
