//! What the log holds: chunks, the generations they need, and control entries.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use bytes::Bytes;
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_media::{mp3, ogg};
use seamcast_protocol::chunk::{Flags, Header};
use seamcast_protocol::control::ServerMessage;
use serde_json::{Map, Value};

use crate::fanout::wire::{self, Framing, Wire};

/// A control message as text; these types always serialize.
pub(crate) fn json(message: &ServerMessage) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

/// What every chunk of a generation needs first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationConfig {
    /// `ogg` or `mpeg`.
    pub container: String,
    /// `opus` or `mp3`.
    pub codec: String,
    /// Rate in Hz at which the codec delivers.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Bytes that a listener of the plain stream gets first; may be empty.
    pub headers: Bytes,
}

/// A run of chunks that share headers.
#[derive(Debug)]
pub struct Generation {
    /// Counts up from 1 in each log.
    pub number: u32,
    /// Its configuration.
    pub config: GenerationConfig,
    /// The introduction last made: listeners that join at the same chunk, as
    /// in a join storm, share it.
    recent: Mutex<Option<(Option<u32>, Arc<Intro>)>>,
    /// The opening last made, and of which chunk; shared likewise.
    opening: Mutex<Option<(OpeningKey, Arc<Opening>)>>,
}

/// Sequence number of a chunk and the bytes at hand before it.
type OpeningKey = (u64, u16);

/// How a chunk begins for those who did not get the chunk before it.
#[derive(Debug, Default)]
pub struct Opening {
    framed: Bytes,
    ws: Bytes,
    http: Bytes,
    raw: Bytes,
    /// Bytes at hand for the next chunk's opening; `None` when the next chunk
    /// can be decoded as it is.
    pub have: Option<u16>,
}

impl Opening {
    fn new(wire: &Wire, have: u16) -> Self {
        let opening = mp3::open(wire.payload(), have);
        let head = |framing| match opening.head.as_slice() {
            [] => Bytes::new(),
            head => [wire.prefix(framing), head].concat().into(),
        };
        Self {
            framed: head(Framing::WsFramed),
            ws: head(Framing::WsPlain),
            http: head(Framing::HttpChunked),
            raw: head(Framing::HttpRaw),
            have: opening.have,
        }
    }

    /// What takes the place of the chunk's first bytes on the wire, as many as
    /// it has; empty when they stay.
    pub fn bytes(&self, framing: Framing) -> &Bytes {
        match framing {
            Framing::WsFramed | Framing::HttpFramed => &self.framed,
            Framing::WsPlain => &self.ws,
            Framing::HttpChunked => &self.http,
            Framing::HttpRaw | Framing::HttpIcy { .. } => &self.raw,
        }
    }
}

/// What introduces a generation, for each framing.
#[derive(Debug)]
pub struct Intro {
    config: Bytes,
    ws: Bytes,
    http: Bytes,
    raw: Bytes,
}

impl Intro {
    /// The bytes for `framing`; empty when nothing is needed.
    pub fn bytes(&self, framing: Framing) -> &Bytes {
        match framing {
            Framing::WsFramed | Framing::HttpFramed => &self.config,
            Framing::WsPlain => &self.ws,
            Framing::HttpChunked => &self.http,
            Framing::HttpRaw | Framing::HttpIcy { .. } => &self.raw,
        }
    }
}

impl Generation {
    pub(crate) fn new(number: u32, config: GenerationConfig) -> Arc<Self> {
        Arc::new(Self {
            number,
            config,
            recent: Mutex::new(None),
            opening: Mutex::new(None),
        })
    }

    /// How a decoder begins at `chunk` with the last `have` bytes of main data
    /// before it: MP3 frames that need more are made to decode nothing.
    pub fn opening(&self, chunk: &Chunk, have: u16) -> Arc<Opening> {
        let key = (chunk.header.seq, have);
        let mut recent = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, opening)) = &*recent
            && *of == key
        {
            return opening.clone();
        }
        let opening = Arc::new(match self.config.container.as_str() {
            "mpeg" => Opening::new(&chunk.wire, have),
            _ => Opening::default(),
        });
        *recent = Some((key, opening.clone()));
        opening
    }

    /// Bytes it holds: the headers, and what each framing makes of them.
    fn cost(&self) -> usize {
        512 + 6 * self.config.headers.len()
    }

    /// What a listener gets before a chunk with this payload: Ogg header
    /// pages, and a page that takes the jump to its first page's number.
    pub fn intro(&self, payload: &[u8]) -> Arc<Intro> {
        let first = (self.config.container == "ogg")
            .then(|| ogg::first_sequence(payload))
            .flatten();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((key, intro)) = &*recent
            && *key == first
        {
            return intro.clone();
        }
        let raw = match first {
            Some(sequence) => ogg::lead_in(&self.config.headers, sequence).into(),
            None => self.config.headers.clone(),
        };
        let config = json(&ServerMessage::Config {
            generation: self.number,
            container: self.config.container.clone(),
            codec: self.config.codec.clone(),
            sample_rate: self.config.sample_rate,
            channels: self.config.channels,
            headers: base64::engine::general_purpose::STANDARD.encode(&raw),
        });
        let intro = Arc::new(Intro {
            config: wire::text_frame(&config),
            ws: if raw.is_empty() {
                Bytes::new()
            } else {
                wire::binary_frame(&raw)
            },
            http: wire::http_chunk(&raw),
            raw,
        });
        *recent = Some((first, intro.clone()));
        intro
    }
}

/// Tags in force from a position of the programme on.
#[derive(Debug)]
pub struct Metadata {
    /// Counts up from 1 in each log.
    pub version: u32,
    /// Programme position they belong to.
    pub at: MediaTime,
    /// Tag names (upper case) and values.
    pub tags: Map<String, Value>,
    /// The `metadata` message as a WebSocket frame.
    pub frame: Bytes,
    /// The ICY block.
    pub icy: Bytes,
}

impl Metadata {
    pub(crate) fn new(version: u32, at: MediaTime, tags: Map<String, Value>) -> Arc<Self> {
        let text = |name: &str| {
            tags.iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .and_then(|(_, value)| value.as_str())
        };
        let title = match (text("ARTIST"), text("TITLE")) {
            (Some(artist), Some(title)) => format!("{artist} - {title}"),
            (one, other) => one.or(other).unwrap_or_default().to_owned(),
        };
        let icy = wire::icy_block(&title, text("URL"));
        let frame = wire::text_frame(&json(&ServerMessage::Metadata {
            at: at.as_secs_f64(),
            tags: tags.clone(),
        }));
        Arc::new(Self {
            version,
            at,
            tags,
            frame,
            icy,
        })
    }
}

/// A chunk as ingest delivers it.
#[derive(Clone, Copy, Debug)]
pub struct NewChunk<'a> {
    /// Programme position of the first frame.
    pub media_time: MediaTime,
    /// Playable length.
    pub duration: MediaDuration,
    /// Facts about it.
    pub flags: Flags,
    /// Whole pages or frames.
    pub payload: &'a [u8],
}

/// Whole pages or whole frames, immutable once in the log.
#[derive(Debug)]
pub struct Chunk {
    /// Position, flags and times, as in its `seamcast.v1` header.
    pub header: Header,
    /// What must be known to decode it.
    pub generation: Arc<Generation>,
    /// Tags in force at its start.
    pub tags: Option<Arc<Metadata>>,
    /// Payload and framing.
    pub wire: Wire,
    /// Whether it is the first of its generation, whose headers are held with it.
    pub begins: bool,
}

impl Chunk {
    /// A chunk made again from a recording.
    pub(crate) fn recorded(
        header: Header,
        generation: Arc<Generation>,
        tags: Option<Arc<Metadata>>,
        payload: &[u8],
    ) -> Self {
        Self {
            header,
            generation,
            tags,
            wire: Wire::new(&header, payload),
            begins: false,
        }
    }

    /// Programme position of the first frame.
    pub const fn media_time(&self) -> MediaTime {
        MediaTime::from_ticks(self.header.media_time)
    }

    /// Playable length.
    pub const fn duration(&self) -> MediaDuration {
        MediaDuration::from_ticks(self.header.duration)
    }

    /// Programme position after the last frame.
    pub fn end(&self) -> MediaTime {
        self.media_time() + self.duration()
    }

    /// Whether decoding may start here.
    pub const fn is_sync(&self) -> bool {
        self.header.flags.contains(Flags::SYNC)
    }
}

/// What an entry is.
#[derive(Debug)]
pub enum Kind {
    /// Media.
    Chunk(Chunk),
    /// New tags.
    Metadata(Arc<Metadata>),
    /// The source was lost; holds the `offline` message's frame.
    Offline(Bytes),
    /// The source is back; holds the `online` message's frame.
    Online(Bytes),
    /// The programme is over; holds the `end` message's frame.
    End(Bytes),
}

/// One entry of the log.
#[derive(Debug)]
pub struct Entry {
    /// Position among all entries; consecutive.
    pub index: u64,
    /// The chunk's sequence number; for others that of the next chunk.
    pub seq: u64,
    /// Programme position: the chunk's start, or where others take effect.
    pub at: MediaTime,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// The chunk, if it is one.
    pub const fn chunk(&self) -> Option<&Chunk> {
        match &self.kind {
            Kind::Chunk(chunk) => Some(chunk),
            _ => None,
        }
    }

    /// What goes out for `framing`, in order; empty when it does not concern it.
    pub fn slices(&self, framing: Framing) -> [&[u8]; 2] {
        match &self.kind {
            Kind::Chunk(chunk) => chunk.wire.slices(framing),
            Kind::Metadata(metadata) if framing.is_framed() => [&metadata.frame, &[]],
            Kind::Offline(frame) | Kind::Online(frame) | Kind::End(frame)
                if framing.is_framed() =>
            {
                [frame, &[]]
            }
            _ => [&[], &[]],
        }
    }

    /// Bytes it holds, for the log's bound.
    pub(crate) fn cost(&self) -> usize {
        const OVERHEAD: usize = 192;
        OVERHEAD
            + match &self.kind {
                Kind::Chunk(chunk) if chunk.begins => chunk.wire.len() + chunk.generation.cost(),
                Kind::Chunk(chunk) => chunk.wire.len(),
                Kind::Metadata(metadata) => metadata.frame.len() * 3,
                Kind::Offline(frame) | Kind::Online(frame) | Kind::End(frame) => frame.len(),
            }
    }
}
