//! A source's bytes to chunks: media time never goes back nor leaves a gap that
//! it does not tell of; what was demuxed is all in the chunks, in order; other
//! cuts of the same bytes make no other chunks; and memory is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_server::ingest::media_type::Declared;
use relay_server::ingest::pcm::Settings;
use relay_server::ingest::session::{Config, Error, Output, Session};
use seamcast_fuzz::{Meter, Since};
use seamcast_media::chunk::Output as Media;
use seamcast_media::demux::{Codec, Container, Demuxer, Event};
use seamcast_media::pcm::SampleFormat;
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_media::wav;

#[global_allocator]
static METER: Meter = Meter;

/// What the first bytes are told by, so none of the cuts is shorter.
const LEAST: usize = 16;
/// A session holds a packet and a tag of 1 MiB, a page, and an encoder.
const HELD: usize = 4 << 20;
/// Besides, a run of decoded FLAC: a megabyte and a frame, as bytes, as samples and resampled.
const HELD_FLAC: usize = 32 << 20;
/// So many bytes of small chunks, packets and faults are made of one byte at most.
const MOST_PER_BYTE: usize = 512;
/// First byte of an input that is sent over and over.
const REPEAT: u8 = 0xfe;
/// Where the programme stands when the source comes.
const START: MediaTime = MediaTime::from_ticks(705_600_000);

/// What listeners get of one link, without how it is cut into chunks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Link {
    headers: Vec<u8>,
    /// The packets of an Ogg stream.
    packets: Vec<Vec<u8>>,
    /// The frames of an MPEG stream, and what came before them.
    frames: Vec<u8>,
    /// How many packets or bytes came before each discontinuity.
    breaks: Vec<usize>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Programme {
    links: Vec<Link>,
    tags: Vec<(MediaTime, Vec<(String, String)>)>,
    end: MediaTime,
}

struct Listener {
    programme: Programme,
    /// Begin and length of each chunk that holds audio.
    chunks: Vec<(MediaTime, MediaDuration)>,
    /// What an Ogg stream's reader makes of it.
    demuxer: Option<Demuxer>,
}

impl Listener {
    fn new() -> Self {
        Self {
            programme: Programme {
                end: START,
                ..Programme::default()
            },
            chunks: Vec::new(),
            demuxer: None,
        }
    }

    fn take(&mut self, media: Media) {
        let programme = &mut self.programme;
        match media {
            Media::Generation { config, headers } => {
                self.demuxer = (config.container == Container::Ogg).then(|| {
                    let mut demuxer = Demuxer::with_container(Container::Ogg);
                    demuxer.push(&headers);
                    demuxer
                });
                programme.links.push(Link {
                    headers,
                    ..Link::default()
                });
            }
            Media::Chunk(chunk) => {
                assert!(chunk.media_time >= programme.end, "time went back");
                if !chunk.discontinuity {
                    assert_eq!(chunk.media_time, programme.end, "a gap untold");
                }
                programme.end = chunk.media_time + chunk.duration;
                if chunk.duration > MediaDuration::ZERO {
                    self.chunks.push((chunk.media_time, chunk.duration));
                }
                let link = programme
                    .links
                    .last_mut()
                    .expect("a link before its chunks");
                if chunk.discontinuity {
                    link.breaks.push(link.packets.len() + link.frames.len());
                }
                let Some(demuxer) = &mut self.demuxer else {
                    return link.frames.extend_from_slice(&chunk.payload);
                };
                demuxer.push(&chunk.payload);
                link.packets.extend(packets(demuxer));
            }
            Media::Tags { at, tags } => {
                assert!(at >= programme.tags.last().map_or(START, |(at, _)| *at));
                programme.tags.push((at, tags));
            }
            Media::Fault(_) => {}
        }
    }
}

fn packets(demuxer: &mut Demuxer) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(|| demuxer.poll()).filter_map(|event| match event {
        Event::Packet(packet) => Some(packet.payload),
        _ => None,
    })
}

fn poll(session: &mut Session, listener: &mut Listener) {
    while let Some(output) = session.poll() {
        match output {
            Output::Begin => session.begin(START, 7),
            Output::Media(media) => listener.take(media),
        }
    }
}

fn session(declared: Declared) -> Session {
    Session::new(Config {
        declared,
        encode: Settings {
            codec: Codec::Opus,
            bitrate: 0,
            complexity: 0,
            chunk_ms: 100,
        },
        chunk: MediaDuration::from_millis(100),
    })
    .expect("settings")
}

/// What comes of the bytes in these pieces; `flush` as if the source paused after half of them.
fn publish(
    declared: Declared,
    bytes: &[u8],
    piece: usize,
    flush: bool,
) -> (Listener, Result<(), Error>) {
    let mut session = session(declared);
    let mut listener = Listener::new();
    let pieces = bytes.chunks(piece);
    let half = pieces.len() / 2;
    let mut run = || {
        for (index, piece) in pieces.enumerate() {
            session.push(piece)?;
            poll(&mut session, &mut listener);
            if flush && index == half {
                session.flush();
                poll(&mut session, &mut listener);
            }
        }
        session.finish()
    };
    let outcome = run();
    poll(&mut session, &mut listener);
    session.close();
    poll(&mut session, &mut listener);
    assert_eq!(session.bytes() > 0, !bytes.is_empty());
    (listener, outcome)
}

/// All audio that a demuxer finds, and whether any is trimmed at its end: there, whether the
/// last packets are a chunk of their own depends on what came with them.
fn reference(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut demuxer = Demuxer::new();
    demuxer.push(bytes);
    demuxer.finish();
    let (mut audio, mut trimmed) = (Vec::new(), false);
    while let Some(event) = demuxer.poll() {
        match event {
            Event::Packet(packet) => {
                trimmed |= packet.trim_end > 0;
                audio.extend(packet.payload);
            }
            // The information frame is sent before the others.
            Event::Config(config) if config.container == Container::Mpeg => {
                audio.extend(config.headers.concat());
            }
            _ => {}
        }
    }
    (audio, trimmed)
}

fn declared(kind: u8) -> Declared {
    let pcm = |sample, sample_rate, channels| {
        Declared::Pcm(wav::Format {
            sample,
            sample_rate,
            channels,
        })
    };
    match kind & 15 {
        0 => pcm(SampleFormat::F32le, 8_000, 1),
        1 => pcm(SampleFormat::S16be, 44_100, 2),
        2 => pcm(SampleFormat::U8, 11_025, 8),
        3 => Declared::Growing,
        _ => Declared::Sniff,
    }
}

/// The same stream over and over leaves nothing behind.
fn repeat(declared: Declared, bytes: &[u8]) {
    if !matches!(declared, Declared::Sniff) || bytes.len() < 64 || bytes.starts_with(b"fLaC") {
        return;
    }
    let since = Since::now();
    let mut session = session(declared);
    let mut listener = Listener::new();
    let mut pushed = 0;
    while pushed < 2 * HELD && session.push(bytes).is_ok() {
        pushed += bytes.len();
        poll(&mut session, &mut listener);
        let end = listener.programme.end;
        listener = Listener {
            programme: Programme {
                links: vec![Link::default()],
                end,
                ..Programme::default()
            },
            ..Listener::new()
        };
        if session
            .position()
            .is_some_and(|at| at.since(START) > MediaDuration::from_millis(600_000))
        {
            break;
        }
    }
    assert!(since.live() < HELD, "{} bytes held", since.live());
}

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, cut], bytes)) = input.split_first_chunk::<2>() else {
        return;
    };
    let what = declared(kind);
    let since = Since::now();
    let (whole, outcome) = publish(what, bytes, bytes.len().max(1), false);
    let held = if bytes.starts_with(b"fLaC") {
        HELD_FLAC
    } else {
        HELD
    };
    let most = held + MOST_PER_BYTE * bytes.len();
    assert!(
        since.peak() < most,
        "{} bytes for {}",
        since.peak(),
        bytes.len()
    );
    let piece = usize::from(cut) + LEAST;
    let (pieces, same) = publish(what, bytes, piece, false);
    assert_eq!(outcome.is_ok(), same.is_ok(), "{outcome:?} but {same:?}");
    if outcome.is_ok() {
        assert_eq!(
            whole.programme, pieces.programme,
            "cut changes what is heard"
        );
    }
    let _ = publish(what, bytes, piece, true);
    let is = |magic: &[&[u8]]| magic.iter().any(|magic| bytes.starts_with(magic));
    if matches!(what, Declared::Sniff)
        && !is(&[b"RIFF", b"RF64", b"BW64", b"fLaC"])
        && outcome.is_ok()
    {
        let (audio, trimmed) = reference(bytes);
        let links = whole.programme.links.iter();
        let sent = links.flat_map(|link| link.packets.iter().flatten().chain(&link.frames));
        assert!(
            audio.iter().eq(sent),
            "audio is missing or in another order"
        );
        if !trimmed {
            assert_eq!(whole.chunks, pieces.chunks, "cut elsewhere");
        }
        // Slow, so that few inputs ask for it.
        if kind == REPEAT {
            repeat(what, bytes);
        }
    }
});
