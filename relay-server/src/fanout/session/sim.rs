//! Simulated listeners: random sources, stalls and partial writes. What each
//! receives must be what the source sent, or say exactly what is missing.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use seamcast_protocol::chunk::Flags;
use serde_json::Map;

use super::*;
use crate::mount::log::{GenerationConfig, JoinFrom, Limits, NewChunk};

#[path = "sim_mp3.rs"]
mod mp3;
#[path = "sim_read.rs"]
mod read;

use read::{Got, marked, receive, receive_with};

const CHUNK_MS: u64 = 100;

struct Source {
    log: Arc<Log>,
    generation_of: Vec<u64>,
    generation: u64,
    ended: bool,
}

impl Source {
    fn new(history_ms: u64) -> Self {
        let log = Log::new(
            "e",
            Limits {
                bytes: 1 << 30,
                duration: MediaDuration::from_millis(history_ms),
            },
        );
        let mut source = Self {
            log,
            generation_of: Vec::new(),
            generation: 0,
            ended: false,
        };
        source.change();
        source
    }

    fn change(&mut self) {
        self.generation += 1;
        let number = self.log.generation(GenerationConfig {
            container: "mpeg".into(),
            codec: "mp3".into(),
            sample_rate: 48_000,
            channels: 2,
            headers: marked(b'H', self.generation, 30).into(),
        });
        assert_eq!(u64::from(number), self.generation);
    }

    fn append(&mut self, len: usize, sync: bool, wall_us: u64) {
        let seq = self.generation_of.len() as u64;
        let appended = self.log.append(
            NewChunk {
                media_time: MediaTime::ZERO + MediaDuration::from_millis(seq * CHUNK_MS),
                duration: MediaDuration::from_millis(CHUNK_MS),
                flags: if sync { Flags::SYNC } else { Flags(0) },
                payload: &marked(b'C', seq, len),
            },
            wall_us,
        );
        assert_eq!(appended, (!self.ended).then_some(seq));
        if !self.ended {
            self.generation_of.push(self.generation);
        }
    }
}

struct Peer {
    session: Session,
    framing: Framing,
    received: Vec<u8>,
    first: u64,
    done: bool,
}

impl Peer {
    fn new(now: Now, source: &Source, request: &ListenerRequest) -> Self {
        Self {
            session: Session::new(now, "/m", &source.log, request),
            framing: request.framing,
            received: Vec::new(),
            first: source.log.join(&request.from, request.burst).seq,
            done: false,
        }
    }

    /// Serves as a shard does, to a socket that takes `room` bytes, at most
    /// `piece` of them at once. Windows have `window` entries.
    fn pump(&mut self, now: Now, log: &Log, mut room: usize, piece: usize, window: usize) {
        let mut held = Vec::new();
        for _ in 0..1_000_000 {
            let view = View {
                log,
                head: log.head(),
                window: &held,
            };
            match self.session.prepare(now, &view) {
                Next::Write => {
                    let batch = self.session.fill(&view);
                    let bytes: Vec<u8> = batch.slices().iter().flat_map(|s| s.to_vec()).collect();
                    assert!(!bytes.is_empty(), "asked to write nothing");
                    let n = bytes.len().min(room).min(piece);
                    if n == 0 {
                        return;
                    }
                    self.received.extend_from_slice(&bytes[..n]);
                    room -= n;
                    self.session.advance(now, &view, n);
                }
                Next::Fetch(index) => {
                    held.clear();
                    assert!(log.read(index, window, &mut held), "fetch of what has left");
                }
                Next::Wait(_) => return,
                Next::Locate => panic!("nothing is recorded here"),
                Next::Linger | Next::Finished => {
                    self.done = true;
                    return;
                }
            }
        }
        panic!("never done");
    }

    fn check(&self, source: &Source, mode: Mode) {
        let got = receive(self.framing, &self.received);
        let counters = *self.session.counters();
        let total = source.generation_of.len() as u64;
        let mut next = self.first;
        let mut headers = 0;
        let mut missing = 0;
        let mut begun = false;
        let mut closed = None;
        for (place, item) in got.iter().enumerate() {
            assert!(closed.is_none(), "something after the close: {item:?}");
            match item {
                Got::Headers(generation) => headers = *generation,
                Got::Chunk(seq) => {
                    assert!(*seq >= next, "chunk {seq} again");
                    if self.framing.is_framed() {
                        assert_eq!(*seq, next, "missing without a gap");
                    }
                    if mode == Mode::Complete && begun {
                        assert_eq!(*seq, next, "complete listeners never skip");
                    }
                    begun = true;
                    missing += seq - next;
                    next = seq + 1;
                    assert_eq!(
                        headers, source.generation_of[*seq as usize],
                        "wrong headers"
                    );
                }
                Got::Text(message) => match message["type"].as_str() {
                    Some("welcome") => {
                        assert_eq!(place, 0);
                        assert_eq!(message["from"], next);
                    }
                    Some("config") => headers = message["generation"].as_u64().expect("number"),
                    Some("gap") => {
                        assert_eq!(message["from"], next, "gap begins elsewhere");
                        let to = message["to"].as_u64().expect("number");
                        assert!(to > next && !(mode == Mode::Complete && begun));
                        missing += to - next;
                        next = to;
                    }
                    Some("end") => assert_eq!(message["seq"], total),
                    _ => {}
                },
                Got::Close(code) => closed = Some(*code),
                Got::LastChunk => closed = Some(0),
                Got::Frames(_) => {}
            }
        }
        if counters.too_slow {
            assert!(
                self.framing.has_close() == (closed == Some(close::TOO_SLOW)),
                "{closed:?}"
            );
            return;
        }
        // What was skipped up to the very end is told by `end`.
        missing += total - next;
        assert_eq!(
            missing, counters.lag_chunks,
            "all that is missing is counted"
        );
        match self.framing {
            Framing::HttpChunked => assert_eq!(closed, Some(0)),
            framing if framing.has_close() => assert_eq!(closed, Some(close::ENDED)),
            _ => assert_eq!(closed, None),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { len: usize, sync: bool },
    Change,
    Tags,
    Offline,
    Online,
    Take { room: usize, piece: usize },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..400_usize, prop::bool::weighted(0.8))
            .prop_map(|(len, sync)| Step::Append { len, sync }),
        1 => Just(Step::Change),
        1 => Just(Step::Tags),
        1 => Just(Step::Offline),
        1 => Just(Step::Online),
        6 => (0..2000_usize, 1..700_usize).prop_map(|(room, piece)| Step::Take { room, piece }),
        2 => (0..3000_u64).prop_map(Step::Pass),
    ]
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::HttpChunked),
        Just(Framing::HttpRaw),
        (1..500_u32).prop_map(|interval| Framing::HttpIcy { interval }),
        Just(Framing::WsPlain),
        Just(Framing::WsFramed),
        Just(Framing::HttpFramed),
    ]
}

fn request(framing: Framing) -> ListenerRequest {
    let mut request = ListenerRequest::new(framing, ([127, 0, 0, 1], 1).into());
    request.head = Bytes::from_static(b"HEAD");
    request
}

fn run(source: &mut Source, peer: &mut Peer, now: &mut Now, steps: &[Step], window: usize) {
    for step in steps {
        match *step {
            Step::Append { len, sync } => {
                now.mono_ms += CHUNK_MS;
                now.wall_us += CHUNK_MS * 1000;
                source.append(len, sync, now.wall_us);
            }
            Step::Change => source.change(),
            Step::Tags => {
                let mut tags = Map::new();
                tags.insert("TITLE".into(), format!("t{}", now.mono_ms).into());
                source.log.metadata(source.log.head().end, tags);
            }
            Step::Offline => source.log.offline(1000),
            Step::Online => source.log.online(),
            Step::Take { room, piece } => peer.pump(*now, &source.log, room, piece, window),
            Step::Pass(ms) => {
                now.mono_ms += ms;
                now.wall_us += ms * 1000;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn every_listener_has_what_was_sent_or_a_gap(
        before in prop::collection::vec(step(), 0..40),
        after in prop::collection::vec(step(), 0..120),
        framing in framing(),
        complete: bool,
        from in prop_oneof![Just("live"), Just("start"), Just("-1"), Just("e:3"), Just("1.5")],
        history_ms in 500..6000_u64,
        max_latency_ms in 0..2000_u64,
        min_chunk_ms in prop_oneof![Just(0), 0..1000_u64],
        burst_ms in 0..1500_u64,
        window in 1..20_usize,
    ) {
        let mut source = Source::new(history_ms);
        let mut now = Now { mono_ms: 5000, wall_us: 1_000_000_000 };
        let mut request = request(framing);
        let mut idle = Peer::new(now, &source, &request);
        let before: Vec<Step> = before
            .into_iter()
            .filter(|step| !matches!(step, Step::Take { .. }))
            .collect();
        run(&mut source, &mut idle, &mut now, &before, 1);
        request.from = from.parse().expect("join point");
        if let JoinFrom::Chunk { seq, .. } = &request.from
            && *seq > source.log.head().next_seq
        {
            request.from = JoinFrom::Start;
        }
        request.mode = if complete { Mode::Complete } else { Mode::Live };
        request.max_latency = MediaDuration::from_millis(max_latency_ms);
        request.min_chunk = MediaDuration::from_millis(min_chunk_ms);
        request.burst = MediaDuration::from_millis(burst_ms);
        let mut peer = Peer::new(now, &source, &request);
        let join = source.log.join(&request.from, request.burst);
        if let Some(gap) = join.gap {
            // The peer learns of what a resume lost before anything else.
            peer.first = gap.to;
        }
        run(&mut source, &mut peer, &mut now, &after, window);
        source.log.end("source_ended");
        source.ended = true;
        for _ in 0..200 {
            peer.pump(now, &source.log, usize::MAX, usize::MAX, window);
            now.mono_ms += 1000;
            now.wall_us += 1_000_000;
        }
        prop_assert!(peer.done, "not over: {:?}", peer.session);
        if join.gap.is_some() && framing.is_framed() {
            return Ok(());
        }
        peer.check(&source, request.mode);
    }

    #[test]
    fn hostile_bytes_change_nothing_for_the_log(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        piece in 1..50_usize,
    ) {
        let mut source = Source::new(5000);
        let now = Now::default();
        source.append(10, true, 0);
        let mut peer = Peer::new(now, &source, &request(Framing::WsFramed));
        peer.pump(now, &source.log, usize::MAX, usize::MAX, 4);
        for piece in bytes.chunks(piece) {
            peer.session.receive(now, &source.log, piece);
            peer.pump(now, &source.log, usize::MAX, usize::MAX, 4);
        }
        receive(Framing::WsFramed, &peer.received);
    }
}

/// Who asks for coarser delivery than it may lag is not behind for that.
#[test]
fn what_is_held_back_on_purpose_is_no_lag() {
    let mut source = Source::new(60_000);
    let mut now = Now::default();
    let mut request = request(Framing::WsFramed);
    request.min_chunk = MediaDuration::from_millis(2000);
    request.max_latency = MediaDuration::from_millis(500);
    let mut peer = Peer::new(now, &source, &request);
    let append = Step::Append { len: 9, sync: true };
    let (room, piece) = (usize::MAX, usize::MAX);
    let steps = [append, Step::Take { room, piece }];
    for _ in 0..90 {
        run(&mut source, &mut peer, &mut now, &steps, 32);
    }
    assert_eq!(peer.session.counters().gaps, 0);
    assert!(peer.session.counters().chunks > 60);
}

#[test]
fn partial_writes_at_every_byte() {
    let framings = [
        Framing::HttpChunked,
        Framing::HttpRaw,
        Framing::HttpIcy { interval: 50 },
        Framing::WsPlain,
        Framing::WsFramed,
        Framing::HttpFramed,
    ];
    for framing in framings {
        let stream = |pieces: &dyn Fn(usize) -> usize| {
            let mut source = Source::new(60_000);
            let now = Now::default();
            let mut peer = Peer::new(now, &source, &request(framing));
            for n in 0..20 {
                if n == 10 {
                    source.change();
                }
                let mut tags = Map::new();
                tags.insert("TITLE".into(), n.into());
                source.log.metadata(source.log.head().end, tags);
                source.append(20 + n, true, 0);
                for turn in 0..3 {
                    peer.pump(now, &source.log, pieces(turn), pieces(turn), 3);
                }
            }
            source.log.end("source_ended");
            source.ended = true;
            while !peer.done {
                peer.pump(now, &source.log, pieces(0).max(1), pieces(0).max(1), 3);
            }
            peer.check(&source, Mode::Live);
            peer.received
        };
        let whole = stream(&|_| usize::MAX);
        // Cut once, at every byte; and a byte at a time.
        for cut in 0..whole.len().min(600) {
            let cut_once = stream(&|turn| if turn == 0 { cut } else { usize::MAX });
            if !matches!(framing, Framing::HttpIcy { .. }) {
                assert_eq!(cut_once.len(), whole.len(), "{framing:?} cut at {cut}");
            }
        }
        let trickle = stream(&|_| 1);
        // Which ICY block carries new tags depends on when it is begun.
        if !matches!(framing, Framing::HttpIcy { .. }) {
            assert_eq!(trickle.len(), whole.len(), "{framing:?}");
        }
    }
}
