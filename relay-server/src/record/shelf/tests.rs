use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use seamcast_media::units::MediaDuration;
use seamcast_protocol::chunk::Header;
use serde_json::{Map, Value};

use super::super::restore::restore;
use super::super::tape::tests::{POLICY, Source, folder};
use super::super::tape::{Policy, Tape};
use super::*;
use crate::config::Config;
use crate::fanout::session::{Next, Now, Session, View};
use crate::fanout::{Framing, ListenerRequest, Mode};
use crate::mount::log::Limits;

const FRAMINGS: [Framing; 4] = [
    Framing::WsFramed,
    Framing::WsPlain,
    Framing::HttpChunked,
    Framing::HttpRaw,
];

pub(in crate::record) fn ms(ms: u64) -> MediaDuration {
    MediaDuration::from_millis(ms)
}

/// A random number below `below`.
pub(in crate::record) fn random(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// A mount that is recorded, and every entry that its log ever had.
pub(in crate::record) struct Broadcast {
    source: Source,
    tape: Tape,
    pub(in crate::record) folder: PathBuf,
    pub(in crate::record) all: Vec<Arc<Entry>>,
    files: u32,
}

impl Broadcast {
    /// With two seconds of memory; files of `cut` ms.
    pub(in crate::record) fn new(name: &str, cut: u64) -> (Self, Policy) {
        let limits = Limits {
            duration: ms(2000),
            ..Limits::default()
        };
        let source = Source::new(limits);
        let root = folder(name);
        let inside = root.join("recordings/a.opus");
        let tape = Tape::new(
            source.log.clone(),
            "/a.opus",
            &inside,
            Arc::default(),
            None,
            Instant::now(),
        );
        let policy = Policy {
            max_duration: ms(cut),
            ..POLICY
        };
        let broadcast = Self {
            source,
            tape,
            folder: root,
            all: Vec::new(),
            files: 0,
        };
        (broadcast, policy)
    }

    pub(in crate::record) fn append(&mut self, policy: &Policy, chunks: usize) {
        for _ in 0..chunks {
            self.source.append(1);
            let log = &self.source.log;
            if self.all.len().is_multiple_of(23) {
                let mut tags = Map::new();
                let title = format!("{:0>200}", self.all.len());
                tags.insert("TITLE".into(), Value::String(title));
                log.metadata(log.head().end, tags);
            }
            let next = self.all.len() as u64;
            assert!(log.read(next, usize::MAX, &mut self.all));
            let files = std::cell::Cell::new(self.files);
            let name = |extension: &str| {
                files.set(files.get() + 1);
                format!("{:04}.{extension}", files.get())
            };
            self.tape
                .advance(Instant::now(), policy, name)
                .expect("disk");
            self.files = files.get();
        }
    }
}

impl Drop for Broadcast {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(in crate::record) fn same(live: &Entry, again: &Entry) {
    assert_eq!(
        (live.index, live.seq, live.at),
        (again.index, again.seq, again.at)
    );
    for framing in FRAMINGS {
        assert_eq!(live.slices(framing), again.slices(framing), "{live:?}");
    }
    if let (Some(live), Some(again)) = (live.chunk(), again.chunk()) {
        assert_eq!(live.header, again.header);
        assert_eq!(live.generation.number, again.generation.number);
        for framing in FRAMINGS {
            let intro = live.generation.intro(live.wire.payload());
            let recorded = again.generation.intro(again.wire.payload());
            assert_eq!(intro.bytes(framing), recorded.bytes(framing));
        }
        let version = |chunk: &Chunk| chunk.tags.as_ref().map(|tags| tags.version);
        assert_eq!(version(live), version(again));
    }
}

#[test]
fn what_memory_has_dropped_is_read_again_byte_for_byte() {
    let (mut broadcast, policy) = Broadcast::new("shelf", 3000);
    broadcast.append(&policy, 150);
    assert!(broadcast.files > 3 && broadcast.source.log.head().oldest > 100);
    let past = broadcast.source.log.past().expect("recorded").clone();
    for from in 0..broadcast.all.len() as u64 {
        let run = past.read(from).expect("disk");
        assert!(!run.is_empty() && run[0].index == from);
        for (place, entry) in run.iter().enumerate() {
            assert_eq!(entry.index, from + place as u64, "consecutive");
            same(&broadcast.all[entry.index as usize], entry);
        }
    }
    assert!(
        past.read(broadcast.all.len() as u64)
            .expect("disk")
            .is_empty()
    );
}

#[test]
fn a_join_is_the_chunk_that_holds_the_time() {
    let (mut broadcast, policy) = Broadcast::new("join", 3000);
    broadcast.append(&policy, 120);
    let log = &broadcast.source.log;
    let chunks: Vec<&Chunk> = broadcast.all.iter().filter_map(|e| e.chunk()).collect();
    for tenth in 0..90_u64 {
        let target = MediaTime::ZERO + ms(tenth * 100 + 37);
        let from = JoinFrom::At(target);
        assert!(log.is_past(&from), "{target:?}");
        let join = log.join_past(&from, ms(0)).expect("disk");
        let chunk = chunks[join.seq as usize];
        assert!(chunk.media_time() <= target && target < chunk.end());
        assert_eq!(join.at, chunk.media_time());
        let back = JoinFrom::Back(log.head().end.since(target));
        assert_eq!(log.join_past(&back, ms(0)).expect("disk"), join);
    }
    assert_eq!(log.join_past(&JoinFrom::Start, ms(0)).expect("disk").seq, 0);
    for seq in 0..120 {
        let from = format!("e:{seq}").parse().expect("join point");
        let join = log.join_past(&from, ms(0)).expect("disk");
        assert_eq!((join.seq, join.recovered, join.gap), (seq, true, None));
    }
    assert!(!log.is_past(&JoinFrom::Live) && !log.is_past(&JoinFrom::Back(ms(500))));
    // A seek on an open socket is located by its owner.
    assert_eq!(log.head().first().seq, 0);
}

/// A listener whose connection takes `room` bytes and then breaks.
fn connect(log: &Log, from: JoinFrom, framing: Framing, room: usize) -> (Vec<u8>, Session) {
    let peer = ([127, 0, 0, 1], 1).into();
    let request = ListenerRequest {
        join: log
            .is_past(&from)
            .then(|| log.join_past(&from, ms(0)).expect("disk")),
        from,
        mode: Mode::Complete,
        ..ListenerRequest::new(framing, peer)
    };
    let mut session = Session::new(Now::default(), "/a.opus", log, &request);
    let mut out = Vec::new();
    let mut held: Vec<Arc<Entry>> = Vec::new();
    // Time passes, so that pacing holds nothing back for long.
    for turn in 0..100_000 {
        let now = Now {
            mono_ms: turn * 1000,
            wall_us: 0,
        };
        let view = View {
            log,
            head: log.head(),
            window: &held,
        };
        match session.prepare(now, &view) {
            Next::Write => {
                let batch = session.fill(&view);
                let bytes: Vec<u8> = batch.slices().iter().flat_map(|s| s.to_vec()).collect();
                let n = bytes.len().min(room - out.len());
                out.extend_from_slice(&bytes[..n]);
                if out.len() == room {
                    break;
                }
                session.advance(now, &view, n);
            }
            Next::Fetch(index) => {
                held.clear();
                if !log.read(index, 32, &mut held) {
                    held = log.past().expect("recorded").read(index).expect("disk");
                    assert_eq!(held.first().map(|first| first.index), Some(index));
                }
            }
            Next::Wait(Some(_)) => {}
            _ => break,
        }
    }
    (out, session)
}

/// The whole messages in what a WebSocket delivered: text, and chunks.
fn messages(mut bytes: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut all = Vec::new();
    while bytes.len() > 4 {
        let (len, at) = match bytes[1] {
            126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            short => (usize::from(short), 2),
        };
        let Some(payload) = bytes[at..].get(..len) else {
            break;
        };
        all.push((bytes[0] == 0x82, payload.to_vec()));
        bytes = &bytes[at + len..];
    }
    all
}

/// Every chunk exactly once, in order, through `cuts` broken connections.
fn resume(log: &Log, all: &[Arc<Entry>], cuts: usize, seed: &mut u64) -> usize {
    let mut got: Vec<Bytes> = Vec::new();
    let mut connections = 0;
    let last = all.iter().filter(|e| e.chunk().is_some()).count();
    while got.len() < last {
        let room = match connections < cuts {
            true => 1 + random(seed, 3000) as usize,
            false => usize::MAX,
        };
        let from = match connections {
            0 => JoinFrom::Start,
            _ => format!("e:{}", got.len()).parse().expect("join point"),
        };
        connections += 1;
        let (bytes, _) = connect(log, from, Framing::WsFramed, room);
        for (binary, message) in messages(&bytes) {
            if binary {
                let (header, _) = Header::decode(&message).expect("chunk");
                assert_eq!(header.seq, got.len() as u64);
                got.push(message.into());
                continue;
            }
            let message: Value = serde_json::from_slice(&message).expect("JSON");
            assert_ne!(message["type"], "gap", "{message}");
            if message["type"] == "welcome" && connections > 1 {
                assert_eq!(message["recovered"], true, "{message}");
            }
        }
    }
    let live = all.iter().filter_map(|entry| entry.chunk());
    for (live, got) in live.zip(&got) {
        let mut bytes = live.header.encode().to_vec();
        bytes.extend_from_slice(live.wire.payload());
        assert!(*got == bytes, "chunk {} differs", live.header.seq);
    }
    connections
}

#[test]
fn five_hundred_disconnects_are_resumed_byte_for_byte() {
    let (mut broadcast, policy) = Broadcast::new("resume", 5000);
    broadcast.append(&policy, 390);
    let mut seed = 7;
    let mut cuts = 0;
    while cuts < 500 {
        cuts += resume(&broadcast.source.log, &broadcast.all, 60, &mut seed) - 1;
    }
}

#[test]
fn every_transport_gets_one_stream_out_of_recording_and_memory() {
    let (mut broadcast, policy) = Broadcast::new("transports", 5000);
    broadcast.append(&policy, 200);
    let log = &broadcast.source.log;
    let first = broadcast.all[0].chunk().expect("chunk");
    let intro = first.generation.intro(first.wire.payload());
    for framing in [Framing::HttpRaw, Framing::HttpChunked, Framing::WsPlain] {
        let (bytes, _) = connect(log, JoinFrom::Start, framing, usize::MAX);
        let mut live = intro.bytes(framing).to_vec();
        for entry in &broadcast.all {
            live.extend_from_slice(&entry.slices(framing).concat());
        }
        assert!(bytes == live, "{framing:?}: {} {}", bytes.len(), live.len());
    }
}

#[test]
fn a_programme_goes_on_after_a_restart() {
    let (mut broadcast, policy) = Broadcast::new("restart", 3000);
    broadcast.append(&policy, 120);
    broadcast.tape.stop().expect("disk");
    let recordings = broadcast.folder.join("recordings");
    let config = Config::default();
    let kept = restore(&recordings, &config, SystemTime::now());
    let [kept] = &kept[..] else {
        panic!("{kept:?}")
    };
    let (before, log) = (broadcast.source.log.head(), &kept.mount.log);
    let after = log.head();
    assert_eq!((log.epoch(), kept.mount.name.as_str()), ("e", "/a.opus"));
    assert_eq!((after.next_seq, after.end), (before.next_seq, before.end));
    // Memory has what it would have held, plus the news that the source is away.
    assert_eq!(after.next, before.next + 1);
    resume(log, &broadcast.all, 40, &mut 3);
    // A source returns: numbers, generations and time go on.
    let mut more = Source::into_log(log.clone());
    more.append(1);
    let mut held = Vec::new();
    assert!(log.read(after.next, 9, &mut held));
    let chunk = held[0].chunk().expect("chunk");
    assert_eq!(chunk.header.seq, before.next_seq);
    assert_eq!(chunk.header.generation, 2);
}

#[test]
fn after_a_crash_no_number_is_given_twice() {
    let (mut broadcast, policy) = Broadcast::new("crash", 0);
    broadcast.append(&policy, 50);
    let inside = broadcast.folder.join("recordings/a.opus/0001.opus");
    let journal = crate::record::segment::beside(&inside, "journal");
    // The last chunk's page was not written whole, nor was the last note.
    let media = std::fs::read(&inside).expect("recording");
    std::fs::write(&inside, &media[..media.len() - 5]).expect("cut");
    let blocks = std::fs::read(&journal).expect("journal");
    std::fs::write(&journal, &blocks[..blocks.len() - 33]).expect("cut");
    let recordings = broadcast.folder.join("recordings");
    let kept = restore(&recordings, &Config::default(), SystemTime::now());
    let log = &kept.first().expect("kept").mount.log;
    let before = broadcast.source.log.head();
    assert!(log.head().next_seq > before.next_seq + 1000);
    assert!(log.head().end > before.end);
    // A listener that had everything is told that what it wants never came.
    let from = format!("e:{}", before.next_seq)
        .parse()
        .expect("join point");
    let join = log.join_past(&from, ms(0)).expect("disk");
    assert!(!join.recovered);
    let gap = join.gap.expect("gap");
    assert_eq!((gap.from, gap.to), (before.next_seq, log.head().next_seq));
    assert_eq!(gap.reason, "missing");
    let from = "e:30".parse().expect("join point");
    assert!(log.join_past(&from, ms(0)).expect("disk").recovered);
    // An old one is not gone on with.
    let later = SystemTime::now() + std::time::Duration::from_secs(7200);
    assert!(restore(&recordings, &Config::default(), later).is_empty());
}
