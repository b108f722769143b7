//! What sources add to a mount's log.

use std::time::SystemTime;

use bytes::Bytes;
use seamcast_media::chunk::{Chunk, Output};
use seamcast_media::demux::{Codec, Container, LinkConfig};
use seamcast_media::units::MediaDuration;
use seamcast_protocol::chunk::Flags;
use serde_json::Value;

use super::log::{GenerationConfig, NewChunk};
use super::{Inner, Mount, SourceId};
use crate::ingest::session::Session;
use crate::server::Counters;

/// Tags of a mount at most.
const MOST_TAGS: usize = 64;
/// Bytes of a mount's tags: every listener gets them, and a recording's journal
/// takes no longer text. What does not fit, such as a picture, is left out.
const TAG_BYTES: usize = 128 << 10;

impl Mount {
    /// Appends what a session has ready. False when the source is not on air.
    pub(crate) fn drain(&self, id: SourceId, session: &mut Session) -> bool {
        let mut on_air = true;
        while let Some(output) = session.poll() {
            if let crate::ingest::session::Output::Media(output) = output {
                on_air &= self.append(id, output, session.next_serial());
            }
        }
        on_air
    }

    /// Appends one output of the source `id`. False when it is not on air.
    pub(crate) fn append(&self, id: SourceId, output: Output, next_serial: Option<u32>) -> bool {
        let mut inner = self.inner();
        if !inner.state.is_current(id) {
            return false;
        }
        match output {
            Output::Generation { config, headers } => {
                self.log.generation(generation(&config, headers));
                inner.recent = (0, 0);
                self.ready.send_replace(true);
            }
            Output::Chunk(chunk) => self.append_chunk(&mut inner, &chunk, next_serial),
            Output::Tags { at, tags } => {
                let mut room = TAG_BYTES;
                let fits = |(name, value): &(String, String)| {
                    let left = room.checked_sub(name.len() + value.len());
                    room = left.unwrap_or(room);
                    left.is_some()
                };
                inner.tags = tags
                    .into_iter()
                    .filter(fits)
                    .take(MOST_TAGS)
                    .map(|(name, value)| (name.to_ascii_uppercase(), Value::String(value)))
                    .collect();
                self.log.metadata(at, inner.tags.clone());
            }
            Output::Fault(fault) => {
                inner.stats.faults += 1;
                let count = inner.stats.faults;
                if Counters::is_worth_a_line(count) {
                    tracing::warn!(mount = %self.name, offset = fault.offset, count,
                        "fault in the source's stream: {}", fault.message);
                }
            }
        }
        true
    }

    fn append_chunk(&self, inner: &mut Inner, chunk: &Chunk, next_serial: Option<u32>) {
        let mut flags = Flags::default();
        for (set, flag) in [
            (chunk.sync, Flags::SYNC),
            (chunk.discontinuity, Flags::DISCONTINUITY),
            (chunk.last, Flags::LAST),
        ] {
            if set {
                flags = flags.union(flag);
            }
        }
        let new = NewChunk {
            media_time: chunk.media_time,
            duration: chunk.duration,
            flags,
            payload: &chunk.payload,
        };
        let end = chunk.media_time + chunk.duration;
        if self.log.append(new, wall_clock_micros()).is_some() {
            inner.stats.chunks += 1;
            let (bytes, ticks) = &mut inner.recent;
            *bytes += chunk.payload.len() as u64;
            *ticks += chunk.duration.ticks();
            if *ticks > MediaDuration::from_millis(20_000).ticks() {
                *bytes /= 2;
                *ticks /= 2;
            }
        }
        let serial = next_serial.unwrap_or_default();
        inner.state.advance(end, serial);
    }

    /// Tags of what feeds it; of a source that has sent no audio yet, they wait
    /// for that. False when there is none.
    pub(crate) fn tell(&self, tags: [(String, String); 2]) -> bool {
        let mut inner = self.inner();
        if inner.state.is_live() {
            drop(inner);
            self.set_tags(tags);
            return true;
        }
        let awaited = inner.state.is_awaited();
        if awaited {
            inner.early_tags = tags.into();
        }
        awaited
    }

    /// What was told of a source before its audio, once.
    pub(crate) fn take_early_tags(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.inner().early_tags)
    }

    /// Sets tags from outside the stream, from the live edge on. An empty
    /// value removes the tag; what is too many or too long is left out.
    pub fn set_tags(&self, tags: impl IntoIterator<Item = (String, String)>) {
        let mut inner = self.inner();
        for (name, value) in tags.into_iter().take(MOST_TAGS) {
            let name: String = name
                .chars()
                .take(64)
                .collect::<String>()
                .to_ascii_uppercase();
            let value: String = value.chars().take(2048).collect();
            let others = inner.tags.iter().filter(|(other, _)| **other != name);
            let (count, bytes) = others.fold((0, 0), |(count, bytes), (name, value)| {
                let value = value.as_str().unwrap_or_default();
                (count + 1, bytes + name.len() + value.len())
            });
            if value.is_empty() {
                inner.tags.remove(&name);
            } else if count < MOST_TAGS && bytes + name.len() + value.len() <= TAG_BYTES {
                inner.tags.insert(name, Value::String(value));
            }
        }
        self.log
            .metadata(inner.state.position(), inner.tags.clone());
    }
}

fn generation(config: &LinkConfig, headers: Vec<u8>) -> GenerationConfig {
    let (container, codec) = names(config);
    GenerationConfig {
        container: container.to_owned(),
        codec: codec.to_owned(),
        sample_rate: config.sample_rate,
        channels: config.channels,
        headers: Bytes::from(headers),
    }
}

fn names(config: &LinkConfig) -> (&'static str, &'static str) {
    let container = match config.container {
        Container::Ogg => "ogg",
        Container::Mpeg => "mpeg",
    };
    let codec = match config.codec {
        Codec::Opus => "opus",
        Codec::Mp3 => "mp3",
    };
    (container, codec)
}

/// µs since the Unix epoch.
pub(crate) fn wall_clock_micros() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
}
