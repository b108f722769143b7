//! How a session ends, and what the clock says to it.

use bytes::Bytes;
use seamcast_protocol::close;
use seamcast_protocol::control::ServerMessage;

use super::super::Mode;
use super::super::wire::{self, Framing};
use super::{Now, Phase, Session, Timeouts};
use crate::mount::log::Head;

impl Session {
    /// Ends an HTTP body properly; without this the peer sees it cut off.
    pub(super) fn end_body(&mut self) {
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
        if self.framing.has_close() {
            self.queue.push(wire::close_frame(code, reason));
        }
        self.phase = Phase::Closing {
            since: now.mono_ms,
            answered: false,
        };
    }

    /// Sends `goaway` and closes. An HTTP body is cut off: the programme goes on, and who is told that it
    /// was complete does not ask for the rest.
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
}
