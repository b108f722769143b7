//! Which entry comes next, and what has to come before it.

use std::sync::Arc;

use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::close;

use super::super::Mode;
use super::super::cursor::length;
use super::{FAR, Next, Now, PACE_AHEAD, Phase, Report, Session, View};
use crate::mount::log::{Chunk, Entry, Gap, JoinFrom};

/// How far ahead of its reported position a listener that joined in the past is served.
const PACE_REPORTED: MediaDuration = MediaDuration::from_millis(8_000);
/// How much faster than real time it is served while it reports none.
const PACE_SPEED: u64 = 2;
/// How long such a report is believed.
const REPORT_AGE_MS: u64 = 15_000;

impl Session {
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
                let ogg = chunk.generation.config.container == "ogg";
                let before = std::mem::replace(&mut self.ogg, ogg);
                if self.generation != 0 && before != ogg && !self.framing.has_close() {
                    // A body is of one type: cut off, the listener asks again.
                    self.close(now, close::GOING_AWAY, "the codec changed");
                    return None;
                }
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
                // Held back as it wished, so not lagging.
                self.shift = behind;
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
}
