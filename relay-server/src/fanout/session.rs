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

mod choose;
mod control;
mod end;
mod icy;
mod types;

use std::sync::Arc;

use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::close;
use seamcast_protocol::control::ServerMessage;

use super::client::Inbox;
use super::cursor::{Batch, Cursor, Queue};
use super::wire::{self, Framing};
use super::{ListenerRequest, Mode};
use crate::mount::log::{Entry, Gap, Join, JoinFrom, Kind, Log, Metadata, Status, json};
use icy::Icy;
pub(super) use types::entries_from;
pub use types::{Counters, Next, Now, Report, Timeouts, View};

/// Own messages queued at most, 40 kB at that; a peer that asks for more without reading is closed.
/// What a stalled network brings at once are fewer, such as the seeks of a slider that is drawn.
const MAX_QUEUE: usize = 256;
/// What a listener that joins in the past gets at once.
const PACE_AHEAD: MediaDuration = MediaDuration::from_millis(15_000);

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
    /// Whether that is in Ogg.
    ogg: bool,
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
            ogg: false,
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
