//! Joins and skips in MP3 whose frames borrow from those before them.

use super::*;
use bytes::Bytes;
use seamcast_media::mp3;

/// 384 bytes at 48 kHz, 348 of them main data, the first `begin` bytes of its
/// own main data being in the frames before.
fn frame(number: u64, begin: u16) -> Vec<u8> {
    let mut out = vec![
        0xff,
        0xfb,
        0x94,
        0x00,
        (begin >> 1) as u8,
        (begin << 7) as u8,
    ];
    out.resize(36, 0x11);
    out.extend((0..348).map(|i| (i + number) as u8));
    out
}

fn frames(bytes: &[u8], got: &mut Vec<Got>) {
    got.push(Got::Frames(bytes.to_vec()));
}

struct Case {
    source: Source,
    sent: Vec<Vec<u8>>,
}

impl Case {
    fn new() -> Self {
        let case = Self {
            source: Source::new(60_000),
            sent: Vec::new(),
        };
        case.source.log.generation(GenerationConfig {
            container: "mpeg".into(),
            codec: "mp3".into(),
            sample_rate: 48_000,
            channels: 2,
            headers: Bytes::new(),
        });
        case
    }

    /// A chunk of `count` frames.
    fn append(&mut self, count: u64, begin: u16) {
        let seq = self.sent.len() as u64;
        let payload: Vec<u8> = (0..count).flat_map(|n| frame(seq + n, begin)).collect();
        self.source.log.append(
            NewChunk {
                media_time: MediaTime::ZERO + MediaDuration::from_millis(seq * CHUNK_MS),
                duration: MediaDuration::from_millis(CHUNK_MS),
                flags: Flags::SYNC,
                payload: &payload,
            },
            0,
        );
        self.sent.push(payload);
    }

    /// What a listener gets who begins at `first` and ends before `end`.
    fn expected(&self, first: usize, end: usize) -> Vec<u8> {
        let mut have = Some(0);
        let mut out = Vec::new();
        for payload in &self.sent[first..end] {
            let mut head = Vec::new();
            if let Some(bytes) = have {
                let opening = mp3::open(payload, bytes);
                head = opening.head;
                have = opening.have;
            }
            let rest = head.len();
            out.extend(head);
            out.extend_from_slice(&payload[rest..]);
        }
        out
    }
}

fn payloads(peer: &Peer) -> Vec<u8> {
    receive_with(peer.framing, &peer.received, frames)
        .into_iter()
        .flat_map(|got| match got {
            Got::Frames(bytes) => bytes,
            _ => Vec::new(),
        })
        .collect()
}

proptest! {
    #[test]
    fn a_join_begins_with_what_can_be_decoded(
        framing in framing(),
        count in 1..4_u64,
        begin in 0..512_u16,
        piece in 1..900_usize,
        window in 1..5_usize,
    ) {
        let mut case = Case::new();
        for _ in 0..8 {
            case.append(count, begin);
        }
        let mut request = request(framing);
        request.from = "0.25".parse().expect("join point");
        let now = Now::default();
        let mut peer = Peer::new(now, &case.source, &request);
        while !peer.done && peer.session.next_seq() < 8 {
            peer.pump(now, &case.source.log, piece, piece, window);
        }
        peer.pump(now, &case.source.log, usize::MAX, usize::MAX, window);
        prop_assert_eq!(payloads(&peer), case.expected(2, 8));
    }

    #[test]
    fn so_does_what_follows_a_skip(
        framing in framing(),
        count in 1..4_u64,
        begin in 1..512_u16,
        taken in 0..5000_usize,
    ) {
        let mut case = Case::new();
        case.append(count, begin);
        let mut request = request(framing);
        request.max_latency = MediaDuration::from_millis(300);
        request.burst = MediaDuration::from_millis(100);
        let now = Now::default();
        let mut peer = Peer::new(now, &case.source, &request);
        // Wherever the socket is full, in the first chunk's opening too.
        peer.pump(now, &case.source.log, taken, taken, 4);
        let first = peer.session.next_seq() as usize;
        for _ in 0..20 {
            case.append(count, begin);
        }
        peer.pump(now, &case.source.log, usize::MAX, usize::MAX, 4);
        let got = payloads(&peer);
        let skipped = peer.session.counters().lag_chunks as usize;
        prop_assert!(skipped >= 15, "{skipped}");
        let mut expected = case.expected(0, first);
        expected.extend(case.expected(first + skipped, 21));
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn resuming_is_exact(framing in framing(), begin in 1..512_u16) {
        let mut case = Case::new();
        for _ in 0..8 {
            case.append(2, begin);
        }
        let mut request = request(framing);
        request.from = "e:3".parse().expect("join point");
        let now = Now::default();
        let mut peer = Peer::new(now, &case.source, &request);
        peer.pump(now, &case.source.log, usize::MAX, usize::MAX, 4);
        prop_assert_eq!(payloads(&peer), case.sent[3..].concat());
    }
}
