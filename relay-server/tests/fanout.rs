//! Two thousand listeners on loopback sockets: stalls, half-closes, resets.
//! What each one received is checked to the byte.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use relay_server::fanout::{Config, Fanout, Framing, ListenerRequest, MountShared};
use relay_server::mount::log::{GenerationConfig, Limits, Log, NewChunk};
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_protocol::chunk::{Flags, Header};

const LISTENERS: usize = 2000;
const CHUNKS: u64 = 150;
const CHUNK_MS: u64 = 40;
const HEADERS: &[u8] = b"Hheaders";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// `C`, the number, the length, filler that depends on the number.
fn payload(seq: u64) -> Vec<u8> {
    let len = 1200 + (seq * 97 % 800) as usize;
    let mut out = vec![b'C'];
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.extend((out.len()..len).map(|i| (i as u64 * 7 + seq * 13) as u8));
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Steady,
    /// Does not read for a while, now and then.
    Stalls,
    /// Ends its sending side early; an HTTP peer may.
    HalfCloses,
    /// Vanishes with a reset.
    Resets,
    /// Closes in order.
    Leaves,
}

struct Peer {
    socket: Option<TcpStream>,
    framing: Framing,
    habit: Habit,
    pending: Vec<u8>,
    begun: bool,
    next: Option<u64>,
    chunks: u64,
    missing: u64,
    gaps: u64,
    closed: Option<u16>,
    stalled_until: Instant,
    acts_at: u64,
}

impl Peer {
    /// Takes whole messages off the front of what was received; true when
    /// nothing more is to come.
    fn parse(&mut self, payloads: &[Vec<u8>]) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        if !self.begun {
            if pending.len() < RESPONSE.len() {
                self.pending = pending;
                return false;
            }
            assert!(pending.starts_with(RESPONSE));
            self.begun = true;
            at = RESPONSE.len();
        }
        let mut over = false;
        while let Some((len, last)) = self.message(&pending[at..], payloads) {
            at += len;
            over |= last;
        }
        self.pending = pending[at..].to_vec();
        over
    }

    fn message(&mut self, bytes: &[u8], payloads: &[Vec<u8>]) -> Option<(usize, bool)> {
        match self.framing {
            Framing::WsFramed | Framing::WsPlain | Framing::HttpFramed => {
                let (len, at) = match *bytes.get(1)? {
                    126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?), 4),
                    short => (u16::from(short), 2),
                };
                let end = at + usize::from(len);
                let message = bytes.get(at..end)?;
                match bytes[0] {
                    0x81 => self.control(message),
                    0x82 if self.framing.is_framed() => {
                        let (header, payload) = Header::decode(message).expect("chunk");
                        self.chunk(payload, payloads);
                        assert_eq!(self.next, Some(header.seq + 1));
                    }
                    0x82 => self.chunk(message, payloads),
                    0x88 => {
                        self.closed = Some(u16::from_be_bytes([message[0], message[1]]));
                        return Some((end, true));
                    }
                    0x89 => {}
                    other => panic!("opcode {other:x}"),
                }
                Some((end, false))
            }
            Framing::HttpChunked => {
                let line = bytes.iter().take(12).position(|b| *b == b'\r')?;
                let size = std::str::from_utf8(&bytes[..line]).expect("hex");
                let size = usize::from_str_radix(size, 16).expect("hex");
                let end = line + 2 + size + 2;
                let body = bytes.get(line + 2..end)?.strip_suffix(b"\r\n")?;
                if size > 0 {
                    self.chunk(body, payloads);
                }
                Some((end, size == 0))
            }
            _ => {
                let len = match *bytes.first()? {
                    b'H' => HEADERS.len(),
                    b'C' => u32::from_be_bytes(bytes.get(9..13)?.try_into().ok()?) as usize,
                    other => panic!("kind {other}"),
                };
                self.chunk(bytes.get(..len)?, payloads);
                Some((len, false))
            }
        }
    }

    fn chunk(&mut self, body: &[u8], payloads: &[Vec<u8>]) {
        if body == HEADERS {
            assert_eq!(self.chunks, 0, "headers once, first");
            return;
        }
        let seq = u64::from_be_bytes(body[1..9].try_into().expect("marked"));
        assert_eq!(body, payloads[seq as usize], "altered");
        let next = *self.next.get_or_insert(seq);
        assert!(seq >= next, "again");
        if self.framing.is_framed() {
            assert_eq!(seq, next, "missing without a gap");
        }
        self.missing += seq - next;
        self.chunks += 1;
        self.next = Some(seq + 1);
    }

    fn control(&mut self, text: &[u8]) {
        let message: serde_json::Value = serde_json::from_slice(text).expect("JSON");
        let number = |name: &str| message[name].as_u64().expect("number");
        match message["type"].as_str() {
            Some("welcome") => self.next = Some(number("from")),
            Some("gap") => {
                assert_eq!(self.next, Some(number("from")), "gap begins elsewhere");
                self.missing += number("to") - number("from");
                self.gaps += 1;
                self.next = Some(number("to"));
            }
            Some("end") => assert_eq!(number("seq"), CHUNKS),
            Some("config") => assert_eq!(self.chunks, 0),
            other => panic!("{other:?}"),
        }
    }

    /// Acts on its habit once it has come far enough.
    fn act(&mut self, random: &mut StdRng) {
        let Some(next) = self.next.filter(|next| *next >= self.acts_at) else {
            return;
        };
        self.acts_at = u64::MAX;
        let Some(socket) = &mut self.socket else {
            return;
        };
        match self.habit {
            Habit::Steady => {}
            Habit::Stalls => {
                let stall = Duration::from_millis(random.random_range(1000..5000));
                self.stalled_until = Instant::now() + stall;
                self.acts_at = next + random.random_range(10..100);
            }
            Habit::HalfCloses => socket.shutdown(Shutdown::Write).expect("half-close"),
            Habit::Resets => {
                let options = socket2::SockRef::from(&*socket);
                options.set_linger(Some(Duration::ZERO)).expect("reset");
                self.socket = None;
            }
            Habit::Leaves if self.framing.is_ws() => {
                let close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
                socket.write_all(&close).expect("close frame");
            }
            Habit::Leaves => self.socket = None,
        }
    }
}

fn log() -> Arc<Log> {
    let log = Log::new(
        "e",
        Limits {
            bytes: 1 << 30,
            duration: MediaDuration::from_millis(3_600_000),
        },
    );
    log.generation(GenerationConfig {
        container: "mpeg".into(),
        codec: "mp3".into(),
        sample_rate: 48_000,
        channels: 2,
        headers: HEADERS.into(),
    });
    log
}

fn append(log: &Log, seq: u64, payload: &[u8]) {
    let duration = MediaDuration::from_millis(CHUNK_MS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
    let chunk = NewChunk {
        media_time: MediaTime::from_ticks(duration.ticks() * seq),
        duration,
        flags: Flags::SYNC,
        payload,
    };
    assert_eq!(log.append(chunk, now.as_micros() as u64), Some(seq));
}

fn pair(listener: &TcpListener, small: bool) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().expect("bound");
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    if small {
        socket.set_recv_buffer_size(4096).expect("buffer");
    }
    socket.connect(&address.into()).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (socket.into(), server)
}

fn peers(fanout: &Fanout, mount: &Arc<MountShared>, random: &mut StdRng) -> Vec<Peer> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let framings = [
        Framing::WsFramed,
        Framing::WsPlain,
        Framing::HttpFramed,
        Framing::HttpChunked,
        Framing::HttpRaw,
    ];
    let peer = |n: usize| {
        let framing = framings[n % framings.len()];
        let habit = match random.random_range(0..10) {
            0..=1 => Habit::Stalls,
            2 if !framing.is_ws() => Habit::HalfCloses,
            3 => Habit::Resets,
            4 => Habit::Leaves,
            _ => Habit::Steady,
        };
        let (socket, server) = pair(&listener, habit == Habit::Stalls);
        let mut request = ListenerRequest::new(framing, socket.local_addr().expect("address"));
        request.head = RESPONSE.into();
        // Short for a stall. The others may be late by all there is, as the
        // machine may be busy with other things for seconds.
        request.max_latency = MediaDuration::from_millis(match habit {
            Habit::Stalls => 1500,
            _ => 60_000,
        });
        fanout.attach(server.into(), mount.clone(), request);
        socket.set_nonblocking(true).expect("non-blocking");
        Peer {
            socket: Some(socket),
            framing,
            habit,
            pending: Vec::new(),
            begun: false,
            next: None,
            chunks: 0,
            missing: 0,
            gaps: 0,
            closed: None,
            stalled_until: Instant::now(),
            acts_at: random.random_range(10..CHUNKS / 2),
        }
    };
    (0..LISTENERS).map(peer).collect()
}

#[test]
fn two_thousand_listeners_of_every_habit() {
    two_thousand_listeners(Config::default());
}

#[test]
fn two_thousand_listeners_where_io_uring_is_not_to_be_had() {
    two_thousand_listeners(Config {
        io_uring: false,
        ..Config::default()
    });
}

fn two_thousand_listeners(config: Config) {
    let mut random = StdRng::seed_from_u64(7);
    let fanout = Fanout::new(config).expect("threads");
    let mount = MountShared::new("/m", log());
    let payloads: Vec<Vec<u8>> = (0..CHUNKS).map(payload).collect();
    append(&mount.log, 0, &payloads[0]);
    let mut peers = peers(&fanout, &mount, &mut random);

    let source = {
        let (mount, payloads) = (mount.clone(), payloads.clone());
        std::thread::spawn(move || {
            let begin = Instant::now();
            for seq in 1..CHUNKS {
                let due = Duration::from_millis(CHUNK_MS * seq);
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
                append(&mount.log, seq, &payloads[seq as usize]);
            }
            mount.log.end("source_ended");
        })
    };

    let mut buffer = vec![0; 64 << 10];
    let give_up = Instant::now() + Duration::from_secs(90);
    while peers.iter().any(|peer| peer.socket.is_some()) {
        assert!(Instant::now() < give_up, "listeners that never end");
        std::thread::sleep(Duration::from_millis(5));
        for peer in &mut peers {
            let Some(socket) = &mut peer.socket else {
                continue;
            };
            if Instant::now() < peer.stalled_until {
                continue;
            }
            match socket.read(&mut buffer) {
                Ok(0) => peer.socket = None,
                Ok(n) => {
                    peer.pending.extend_from_slice(&buffer[..n]);
                    if peer.parse(&payloads) {
                        peer.socket = None;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{:?} after {} chunks: {error}", peer.habit, peer.chunks),
            }
            peer.act(&mut random);
        }
    }
    source.join().expect("source");

    let (mut skipped, mut with_gaps) = (0, 0);
    for peer in &peers {
        let next = peer.next.expect("something was received");
        match peer.habit {
            // A prefix; a reset may cut a message anywhere.
            Habit::Resets => continue,
            Habit::Leaves => {
                // On a busy machine the programme may end before it leaves.
                let left = matches!(peer.closed, Some(1000 | 4500));
                assert_eq!(left, peer.framing.is_ws(), "{:?}", peer.closed);
                continue;
            }
            Habit::Steady | Habit::HalfCloses => {
                assert_eq!(
                    (peer.missing, next),
                    (0, CHUNKS),
                    "{:?} misses none",
                    peer.habit
                );
            }
            Habit::Stalls => {
                skipped += peer.missing + (CHUNKS - next);
                with_gaps += u64::from(peer.missing > 0);
                if peer.framing.is_framed() {
                    assert_eq!(peer.gaps > 0, peer.missing > 0);
                }
            }
        }
        assert!(peer.pending.is_empty(), "the last message is whole");
        assert_eq!(peer.closed, peer.framing.has_close().then_some(4500));
    }
    let counted = mount.stats.lag_chunks.load(Ordering::Relaxed);
    println!("{skipped} chunks skipped by {with_gaps} listeners, {counted} counted");
    assert!(skipped > 0, "stalls of seconds lead to gaps");
    assert_eq!(counted, skipped, "every chunk skipped is counted");

    let give_up = Instant::now() + Duration::from_secs(20);
    while fanout.count() > 0 {
        assert!(
            Instant::now() < give_up,
            "{} listeners stay",
            fanout.count()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let stats = &mount.stats;
    assert_eq!(stats.listeners.load(Ordering::Relaxed), 0);
    assert_eq!(stats.joins.load(Ordering::Relaxed), LISTENERS as u64);
    assert_eq!(stats.leaves.load(Ordering::Relaxed), LISTENERS as u64);
}
