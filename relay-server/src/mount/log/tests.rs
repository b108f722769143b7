use super::*;
use seamcast_protocol::chunk::Flags;

fn log(limits: Limits) -> Arc<Log> {
    let log = Log::new("e1", limits);
    log.generation(GenerationConfig {
        container: "mpeg".into(),
        codec: "mp3".into(),
        sample_rate: 44_100,
        channels: 2,
        headers: Bytes::new(),
    });
    log
}

fn ms(ms: u64) -> MediaDuration {
    MediaDuration::from_millis(ms)
}

fn append(log: &Log, n: u64, sync: bool) {
    let chunk = NewChunk {
        media_time: MediaTime::ZERO + ms(100 * n),
        duration: ms(100),
        flags: if sync { Flags::SYNC } else { Flags(0) },
        payload: &[n as u8; 100],
    };
    assert_eq!(log.append(chunk, 0), Some(n));
}

#[test]
fn bounds_hold_in_time_and_bytes() {
    let long = log(Limits {
        bytes: usize::MAX,
        duration: ms(1000),
    });
    for n in 0..50 {
        append(&long, n, true);
    }
    let head = long.head();
    assert_eq!(
        (head.oldest_seq, head.next_seq, head.oldest, head.next),
        (39, 50, 39, 50)
    );
    let small = log(Limits {
        bytes: 2000,
        duration: ms(1_000_000),
    });
    for n in 0..50 {
        append(&small, n, true);
    }
    assert!(small.head().bytes <= 2000 && small.head().oldest_seq > 40);
    let tiny = log(Limits {
        bytes: 0,
        duration: ms(0),
    });
    for n in 0..3 {
        append(&tiny, n, true);
        tiny.metadata(MediaTime::ZERO, Map::new());
    }
    assert_eq!(tiny.head().oldest_seq, 2);
    let mut held = Vec::new();
    assert!(!tiny.read(0, 9, &mut held) && held.is_empty());
    assert!(tiny.read(tiny.head().oldest, 9, &mut held));
    assert_eq!(held.len(), 2);
}

/// A chain of short links, each with long headers.
#[test]
fn headers_count_as_what_they_take() {
    let bytes = 1 << 20;
    let log = log(Limits {
        bytes,
        duration: ms(1_000_000),
    });
    for n in 0..100 {
        log.generation(GenerationConfig {
            container: "ogg".into(),
            codec: "opus".into(),
            sample_rate: 48_000,
            channels: 2,
            headers: vec![0; 16 << 10].into(),
        });
        append(&log, 2 * n, true);
        append(&log, 2 * n + 1, true);
    }
    let mut held = Vec::new();
    assert!(log.read(log.head().oldest, usize::MAX, &mut held));
    let chunks = held.iter().filter_map(|entry| entry.chunk());
    let mut generations: Vec<u32> = chunks.map(|chunk| chunk.generation.number).collect();
    generations.dedup();
    assert!((5..=bytes / (5 * (16 << 10))).contains(&generations.len()));
    assert!(log.head().bytes <= bytes);
}

#[test]
fn joins_land_on_sync_points() {
    let log = log(Limits::default());
    for n in 0..100 {
        append(&log, n, n % 4 == 1);
    }
    let join = |from: &str| {
        let from = from.parse().expect("join point");
        log.join(&from, ms(1000))
    };
    assert_eq!(join("live").seq, 89);
    assert_eq!(join("start").seq, 1);
    assert_eq!(join("-5").seq, 49);
    assert_eq!(join("-500").seq, 1);
    assert_eq!(join("2.05").seq, 17);
    assert_eq!(join("1000").seq, 89);
    assert!(join("e1:50").recovered);
    assert_eq!(join("e1:50").seq, 50);
    assert_eq!(join("e1:100").seq, 100);
    let other = join("e0:7");
    assert!(!other.recovered);
    assert_eq!(
        other.gap,
        Some(Gap {
            from: 7,
            to: 89,
            reason: "epoch"
        })
    );
}

#[test]
fn resuming_what_has_expired_says_what_is_missing() {
    let log = log(Limits {
        bytes: usize::MAX,
        duration: ms(1000),
    });
    for n in 0..50 {
        append(&log, n, true);
    }
    let join = log.join(&"e1:5".parse().expect("join point"), ms(0));
    assert!(!join.recovered);
    assert_eq!(
        join.gap,
        Some(Gap {
            from: 5,
            to: 39,
            reason: "expired"
        })
    );
}

#[test]
fn resuming_past_the_head_is_no_other_log() {
    let log = log(Limits::default());
    for n in 0..50 {
        append(&log, n, true);
    }
    let past = || log.join(&"e1:70".parse().expect("join point"), ms(1000));
    let gap = |to| Gap {
        from: 70,
        to,
        reason: "missing",
    };
    assert_eq!((past().seq, past().recovered), (40, false));
    assert_eq!(past().gap, Some(gap(40)));
    // Only the end is left to be told.
    log.end("source_ended");
    assert_eq!((past().index, past().seq), (50, 50));
    assert_eq!(past().gap, Some(gap(50)));
}

#[test]
fn nothing_follows_the_end() {
    let log = log(Limits::default());
    assert_eq!(log.join(&JoinFrom::Live, ms(500)).index, 0);
    append(&log, 0, true);
    log.end("source_ended");
    log.end("removed");
    append_refused(&log);
    let head = log.head();
    assert_eq!((head.next, head.status), (2, Status::Ended));
    // Even a join without a burst comes past the end.
    assert_eq!(log.join(&JoinFrom::Live, ms(0)).index, 1);
}

fn append_refused(log: &Log) {
    let before = log.head();
    let late = NewChunk {
        media_time: MediaTime::ZERO,
        duration: ms(1),
        flags: Flags::SYNC,
        payload: b"x",
    };
    assert_eq!(log.append(late, 0), None);
    assert_eq!(log.head(), before);
}

#[test]
fn refuses_what_cannot_be_framed() {
    let log = Log::new("e", Limits::default());
    let chunk = |payload| NewChunk {
        media_time: MediaTime::ZERO,
        duration: ms(1),
        flags: Flags::SYNC,
        payload,
    };
    assert_eq!(log.append(chunk(b"x"), 0), None, "no generation");
    log.generation(GenerationConfig {
        container: "mpeg".into(),
        codec: "mp3".into(),
        sample_rate: 8000,
        channels: 1,
        headers: Bytes::new(),
    });
    assert_eq!(log.append(chunk(b""), 0), None);
    assert_eq!(log.append(chunk(b"x"), 0), Some(0));
}

#[test]
fn chunks_of_every_length_come_out_of_the_blocks_as_they_went_in() {
    let log = log(Limits {
        bytes: 300_000,
        ..Limits::default()
    });
    let lengths = [1, 1000, 30_000, 40_000, 65_536, 70_000, 5, 64_000, 1500];
    let payload = |n: usize| vec![n as u8; lengths[n % lengths.len()]];
    for n in 0..60 {
        let chunk = NewChunk {
            media_time: MediaTime::ZERO + ms(n as u64 * 100),
            duration: ms(100),
            flags: Flags::SYNC,
            payload: &payload(n),
        };
        assert_eq!(log.append(chunk, 0), Some(n as u64));
        let mut held = Vec::new();
        assert!(log.read(log.head().oldest, 99, &mut held));
        for chunk in held.iter().filter_map(|entry| entry.chunk()) {
            let wanted = payload(chunk.header.seq as usize);
            assert_eq!(chunk.wire.payload(), wanted);
        }
    }
}
