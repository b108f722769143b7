use std::sync::Arc;

use bytes::Bytes;
use seamcast_media::chunk::{self, Chunker, Output};
use seamcast_media::demux::Demuxer;
use seamcast_media::units::{Frames, MediaDuration, MediaTime};
use seamcast_media::{ogg, opus};
use seamcast_protocol::chunk::Flags;

use super::super::index::{Rebuild, parse};
use super::super::segment::beside;
use super::*;
use crate::mount::log::{GenerationConfig, Limits, NewChunk};

pub(in crate::record) const POLICY: Policy = Policy {
    max_bytes: 0,
    max_duration: MediaDuration::ZERO,
    sync_interval: Duration::ZERO,
};

/// Appends `count` chunks of 100 ms (five CELT packets of 20 ms) as ingest does.
pub(in crate::record) struct Source {
    chunker: Chunker,
    pub(in crate::record) log: Arc<Log>,
}

impl Source {
    pub(in crate::record) fn new(limits: Limits) -> Self {
        Self::into_log(Log::new("e", limits))
    }

    pub(in crate::record) fn into_log(log: Arc<Log>) -> Self {
        let mut demuxer = Demuxer::new();
        let mut chunker = Chunker::new(chunk::Config::default());
        let spec = |bos, sequence| ogg::PageSpec {
            flags: ogg::PageFlags {
                bos,
                ..Default::default()
            },
            granule: Some(0),
            serial: 5,
            sequence,
        };
        demuxer.push(&ogg::write_packet_pages(
            &spec(true, 0),
            &opus::Head::simple(1, 312, 48_000).to_bytes(),
        ));
        demuxer.push(&ogg::write_packet_pages(
            &spec(false, 1),
            b"OpusTags\x01\0\0\0x\0\0\0\0",
        ));
        for sequence in 2u32..2002 {
            // TOC 0xFC: CELT fullband 20 ms, stereo bit clear.
            let page = ogg::PageSpec {
                flags: Default::default(),
                granule: Some(u64::from(sequence - 1) * 960),
                serial: 5,
                sequence,
            };
            demuxer.push(&ogg::write_packet_pages(&page, &[0xf8, sequence as u8, 3]));
        }
        while let Some(event) = demuxer.poll() {
            chunker.push_event(event);
        }
        Self { chunker, log }
    }

    pub(in crate::record) fn append(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            match self.chunker.poll().expect("enough audio") {
                Output::Generation { config, headers } => {
                    self.log.generation(GenerationConfig {
                        container: "ogg".into(),
                        codec: "opus".into(),
                        sample_rate: config.sample_rate,
                        channels: config.channels,
                        headers: Bytes::from(headers),
                    });
                }
                Output::Chunk(chunk) => {
                    let new = NewChunk {
                        media_time: chunk.media_time,
                        duration: chunk.duration,
                        flags: Flags::SYNC,
                        payload: &chunk.payload,
                    };
                    assert!(self.log.append(new, 0).is_some());
                    left -= 1;
                }
                _ => {}
            }
        }
    }
}

pub(in crate::record) fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("seamcast-tape-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn packets(bytes: &[u8]) -> (u64, Frames) {
    let mut demuxer = Demuxer::new();
    demuxer.push(bytes);
    demuxer.finish();
    let (mut count, mut lost) = (0, Frames(0));
    while let Some(event) = demuxer.poll() {
        match event {
            seamcast_media::demux::Event::Packet(_) => count += 1,
            seamcast_media::demux::Event::Hole(frames) => lost += frames,
            seamcast_media::demux::Event::Fault(fault) => {
                assert!(fault.message.contains("pages are missing"), "{fault:?}");
            }
            _ => {}
        }
    }
    (count, lost)
}

#[test]
fn the_recording_is_the_stream_and_its_index_can_be_rebuilt() {
    let folder = folder("whole");
    let mut source = Source::new(Limits::default());
    let now = Instant::now();
    let mut tape = Tape::new(source.log.clone(), "/a", &folder, Arc::default(), None, now);
    for _ in 0..10 {
        source.append(7);
        assert!(
            !tape
                .advance(now, &POLICY, |ext| format!("a.{ext}"))
                .expect("disk")
        );
    }
    source.log.end("source_ended");
    assert!(
        tape.advance(now, &POLICY, |ext| format!("a.{ext}"))
            .expect("disk")
    );
    let path = folder.join("a.opus");
    let bytes = std::fs::read(&path).expect("recording");
    assert_eq!(packets(&bytes), (350, Frames(0)));
    let (start, entries) =
        parse(&std::fs::read(beside(&path, "index")).expect("index")).expect("an index");
    assert_eq!(start, MediaTime::ZERO);
    assert_eq!(entries.len(), 7);
    for cut in [1, 1000, usize::MAX] {
        let mut rebuild = Rebuild::default();
        bytes
            .chunks(cut.min(bytes.len()))
            .for_each(|piece| rebuild.push(piece));
        assert_eq!(rebuild.finish(), entries);
    }
    let stats = tape.stats();
    assert_eq!(
        (stats.bytes, stats.files, stats.errors),
        (bytes.len() as u64, 1, 0)
    );
    assert_eq!(stats.recorded.as_millis(), 6993);
    std::fs::remove_dir_all(folder).expect("clean");
}

#[test]
fn a_turn_copies_what_was_there_when_it_began() {
    let folder = folder("turn");
    let mut source = Source::new(Limits::default());
    let log = source.log.clone();
    let now = Instant::now();
    let mut tape = Tape::new(log.clone(), "/a", &folder, Arc::default(), None, now);
    source.append(3);
    // The last of the programme comes while the file is made.
    let name = |ext: &str| {
        source.append(4);
        log.end("source_ended");
        format!("a.{ext}")
    };
    assert!(!tape.advance(now, &POLICY, name).expect("disk"));
    assert!(tape.stats().recorded.as_millis() < 300, "three chunks");
    let name = |ext: &str| format!("b.{ext}");
    assert!(tape.advance(now, &POLICY, name).expect("disk"), "complete");
    let recorded = std::fs::read(folder.join("a.opus")).expect("recording");
    assert_eq!(packets(&recorded), (35, Frames(0)));
    std::fs::remove_dir_all(&folder).expect("clean");
}

#[test]
fn rotation_makes_files_that_each_play() {
    let folder = folder("rotation");
    let mut source = Source::new(Limits::default());
    source.append(50);
    source.log.end("source_ended");
    let now = Instant::now();
    let mut tape = Tape::new(source.log.clone(), "/a", &folder, Arc::default(), None, now);
    let count = std::cell::Cell::new(0);
    let policy = Policy {
        max_duration: MediaDuration::from_millis(2000),
        ..POLICY
    };
    let name = |ext: &str| {
        count.set(count.get() + 1);
        format!("{}.{ext}", count.get())
    };
    assert!(tape.advance(now, &policy, name).expect("disk"));
    assert_eq!(count.get(), 3);
    let all: u64 = (1..=3)
        .map(|n| packets(&std::fs::read(folder.join(format!("{n}.opus"))).expect("file")).0)
        .sum();
    assert_eq!(all, 250);
    std::fs::remove_dir_all(folder).expect("clean");
}

#[test]
fn a_failed_disk_loses_nothing_that_history_still_holds() {
    let folder = folder("failing");
    let mut source = Source::new(Limits::default());
    let mut now = Instant::now();
    let mut tape = Tape::new(source.log.clone(), "/a", &folder, Arc::default(), None, now);
    source.append(10);
    // A folder that cannot be made, because a file has its name.
    std::fs::write(&folder, "in the way").expect("file");
    assert!(
        tape.advance(now, &POLICY, |ext| format!("a.{ext}"))
            .is_err()
    );
    std::fs::remove_file(&folder).expect("removed");
    source.append(10);
    assert!(
        !tape
            .advance(now, &POLICY, |ext| format!("a.{ext}"))
            .expect("left alone")
    );
    assert!(!folder.exists());
    now += RETRY;
    assert!(
        !tape
            .advance(now, &POLICY, |ext| format!("a.{ext}"))
            .expect("disk")
    );
    assert_eq!(
        packets(&std::fs::read(folder.join("a.opus")).expect("file")),
        (100, Frames(0))
    );
    assert_eq!(
        (tape.stats().errors, tape.stats().missed),
        (1, MediaDuration::ZERO)
    );
    std::fs::remove_dir_all(folder).expect("clean");
}

/// A disk that takes the names of files and nothing else: nothing is left of
/// the attempts, and what is recorded in the end can be gone on from.
#[test]
fn a_full_disk_is_not_littered() {
    let folder = folder("full");
    std::fs::create_dir(&folder).expect("folder");
    let mut source = Source::new(Limits::default());
    let mut tags = serde_json::Map::new();
    tags.insert("TITLE".into(), "first".into());
    source.append(1);
    source.log.metadata(source.log.head().end, tags);
    source.append(4);
    let shelf = Arc::<Shelf>::default();
    let mut now = Instant::now();
    let mut tape = Tape::new(source.log.clone(), "/a", &folder, shelf.clone(), None, now);
    for (turn, extension) in ["index", "journal"].into_iter().enumerate() {
        let path = folder.join(format!("{turn}.opus"));
        std::os::unix::fs::symlink("/dev/full", beside(&path, extension)).expect("link");
        let error = tape
            .advance(now, &POLICY, |ext| format!("{turn}.{ext}"))
            .expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        let left: Vec<_> = std::fs::read_dir(&folder).expect("folder").collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(tape.stats().errors, turn as u64 + 1);
        now += RETRY;
    }
    tape.advance(now, &POLICY, |ext| format!("2.{ext}"))
        .expect("disk");
    let path = folder.join("2.opus");
    assert_eq!(
        packets(&std::fs::read(&path).expect("file")),
        (25, Frames(0))
    );
    let titles = std::fs::read_to_string(beside(&path, "titles.json")).expect("titles");
    assert_eq!(titles.lines().count(), 1, "{titles}");
    let found = super::super::spool::Spool::open(&path, Duration::MAX).expect("disk");
    let found = found.expect("a recording with a head");
    assert_eq!(found.spool.next().seq, 5);
    assert_eq!(
        (tape.stats().missed, tape.stats().files),
        (MediaDuration::ZERO, 1)
    );
    std::fs::remove_dir_all(folder).expect("clean");
}

#[test]
fn what_history_drops_is_counted() {
    let folder = folder("slow");
    let limits = Limits {
        duration: MediaDuration::from_millis(1000),
        bytes: 5000,
    };
    let mut source = Source::new(limits);
    let now = Instant::now();
    let mut tape = Tape::new(source.log.clone(), "/a", &folder, Arc::default(), None, now);
    source.append(5);
    tape.advance(now, &POLICY, |ext| format!("a.{ext}"))
        .expect("disk");
    source.append(100);
    tape.advance(now, &POLICY, |ext| format!("a.{ext}"))
        .expect("disk");
    let (count, lost) = packets(&std::fs::read(folder.join("a.opus")).expect("file"));
    let missed = tape.stats().missed;
    assert_eq!(missed.to_frames(48_000), lost);
    assert_eq!(count * 960 + lost.0, 105 * 4800);
    assert!(missed.as_millis() > 8000);
    std::fs::remove_dir_all(folder).expect("clean");
}
