//! What a listener says: WebSocket control frames and JSON messages.

use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::close;
use seamcast_protocol::control::{ClientMessage, ServerMessage};

use super::{MAX_QUEUE, Now, Phase, Report, Session};
use crate::fanout::client::Event;
use crate::fanout::wire;
use crate::mount::log::{Gap, Join, JoinFrom, Log};

impl Session {
    /// Takes bytes that the listener sent. HTTP listeners have nothing to
    /// say; what they send is dropped.
    pub fn receive(&mut self, now: Now, log: &Log, bytes: &[u8]) {
        self.last_read = now.mono_ms;
        self.pinged = false;
        let over = matches!(
            self.phase,
            Phase::Finished | Phase::Closing { answered: true, .. }
        );
        if !self.framing.is_ws() || over {
            return;
        }
        let mut inbox = self.inbox.take().unwrap_or_default();
        let mut events = Vec::new();
        let outcome = inbox.push(bytes, |event| events.push(event));
        self.inbox = (!inbox.is_idle()).then_some(inbox);
        for event in events {
            self.event(now, log, event);
        }
        if let Err(violation) = outcome {
            self.inbox = None;
            self.close(now, violation.code, violation.reason);
        }
    }

    fn event(&mut self, now: Now, log: &Log, event: Event) {
        match event {
            Event::Close(code) => match self.phase {
                Phase::Open => {
                    // Echoing the code is the whole handshake (RFC 6455 §5.5.1).
                    self.close(now, code.unwrap_or(1000), "");
                    self.answered(now);
                }
                _ => self.answered(now),
            },
            _ if self.phase != Phase::Open => {}
            Event::Pong => {}
            // A peer that does not read its pongs needs no more of them.
            Event::Ping(payload) if self.queue.len() < MAX_QUEUE => {
                self.queue.push(wire::pong_frame(&payload));
            }
            Event::Ping(_) => {}
            // Plain listeners may say what they like.
            Event::Text(_) | Event::Binary if !self.framing.is_framed() => {}
            Event::Binary => self.close(
                now,
                close::BAD_REQUEST,
                "binary messages make no sense here; control is JSON text",
            ),
            Event::Text(text) => self.message(now, log, &text),
        }
    }

    fn message(&mut self, now: Now, log: &Log, text: &str) {
        if self.queue.len() >= MAX_QUEUE {
            self.close(now, close::BAD_REQUEST, "too many messages without reading");
            return;
        }
        match serde_json::from_str(text) {
            Ok(ClientMessage::Seek { from }) => match from.parse() {
                Ok(from) => self.seek(now, log, &from),
                Err(message) => self.complain("bad_seek", message),
            },
            Ok(ClientMessage::Stats {
                media_time,
                buffered_ms,
                underruns,
            }) => {
                let report = Report {
                    media_time: MediaTime::ZERO + MediaDuration::from_secs_f64(media_time),
                    buffered_ms,
                    underruns,
                    at_ms: now.mono_ms,
                };
                match &mut self.report {
                    Some(last) => **last = report,
                    None => self.report = Some(Box::new(report)),
                }
            }
            Ok(ClientMessage::Time { t0 }) => self.tell(&ServerMessage::Time {
                t0,
                t1: now.wall_us as f64 / 1000.0,
            }),
            // Newer players may say more; what is no object is a mistake.
            Err(_) => match serde_json::from_str::<serde_json::Value>(text) {
                Ok(serde_json::Value::Object(object)) => {
                    let kind = object.get("type").and_then(|kind| kind.as_str());
                    let kind: String = kind.unwrap_or("nothing").chars().take(32).collect();
                    self.complain(
                        "unknown_message",
                        format!("a message of type {kind:?} with these fields is not understood"),
                    );
                }
                _ => self.close(now, close::BAD_REQUEST, "control messages are JSON objects"),
            },
        }
    }

    fn complain(&mut self, code: &str, message: String) {
        self.tell(&ServerMessage::Error {
            code: code.to_owned(),
            message,
        });
    }

    /// Continues elsewhere: a gap with the reason `seek` says where, then the
    /// headers come again.
    fn seek(&mut self, now: Now, log: &Log, from: &JoinFrom) {
        if self.seeking.is_some() {
            // Another one comes before it was found: each has its answer, so that a listener can count them.
            let at = self.missed.unwrap_or(self.next_seq);
            self.tell_gap(Gap {
                from: at,
                to: at,
                reason: "seek",
            });
        }
        if log.is_past(from) {
            self.seeking = Some(Box::new(from.clone()));
        } else {
            self.seeking = None;
            self.go(now, log, log.join(from, self.burst));
        }
    }

    /// After [`Next::Locate`](super::Next::Locate): where `from` was found.
    /// Another seek may have come meanwhile; then this changes nothing.
    pub fn located(&mut self, now: Now, log: &Log, from: &JoinFrom, join: Join) {
        if self.phase == Phase::Open && self.seeking.as_deref() == Some(from) {
            self.seeking = None;
            self.go(now, log, join);
        }
    }

    fn go(&mut self, now: Now, log: &Log, mut join: Join) {
        join.gap = Some(Gap {
            from: self.missed.take().unwrap_or(self.next_seq),
            to: join.seq,
            reason: "seek",
        });
        self.lost = false;
        self.generation = 0;
        self.tags = 0;
        // What it reported was about where it was.
        self.report = None;
        self.enter(now, log, join);
    }

    /// The peer closed its sending side. True when the connection is over.
    pub fn end_of_input(&mut self, now: Now) -> bool {
        self.half_closed = true;
        if self.framing.is_ws() {
            self.phase = Phase::Finished;
        } else if self.phase != Phase::Open {
            self.answered(now);
        }
        self.phase == Phase::Finished
    }

    fn answered(&mut self, now: Now) {
        self.phase = Phase::Closing {
            since: match self.phase {
                Phase::Closing { since, .. } => since,
                _ => now.mono_ms,
            },
            answered: true,
        };
    }
}
