use super::*;
use crate::demux::Demuxer;
use crate::ogg::{first_sequence, lead_in, page_count};
use crate::opus::Head;
use proptest::prelude::*;

const MS: u64 = 705_600;

fn opus_config() -> LinkConfig {
    LinkConfig {
        codec: Codec::Opus,
        container: Container::Ogg,
        sample_rate: 48_000,
        channels: 2,
        pre_skip: 312,
        output_gain: 0,
        headers: vec![
            Head::simple(2, 312, 48_000).to_bytes(),
            Tags::default().to_bytes(),
        ],
    }
}

fn mp3_config(headers: Vec<Vec<u8>>) -> LinkConfig {
    LinkConfig {
        codec: Codec::Mp3,
        container: Container::Mpeg,
        sample_rate: 44_100,
        channels: 2,
        pre_skip: 1105,
        output_gain: 0,
        headers,
    }
}

/// Packets of one length, the pre-skip dropped from the first.
fn packets(toc: u8, duration: u32, count: u64) -> Vec<Event> {
    (0..count)
        .map(|n| {
            Event::Packet(Packet {
                payload: vec![toc, n as u8],
                start: Frames(n * u64::from(duration)),
                duration,
                trim_start: if n == 0 { 312.min(duration) } else { 0 },
                trim_end: 0,
            })
        })
        .collect()
}

fn run(config: Config, events: impl IntoIterator<Item = Event>) -> Vec<Output> {
    let mut chunker = Chunker::new(config);
    let mut outputs = Vec::new();
    for event in events {
        chunker.push_event(event);
        outputs.extend(std::iter::from_fn(|| chunker.poll()));
    }
    outputs
}

fn chunks(outputs: &[Output]) -> Vec<&Chunk> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Chunk(chunk) => Some(chunk),
            _ => None,
        })
        .collect()
}

fn stream(outputs: &[Output]) -> Vec<u8> {
    outputs
        .iter()
        .flat_map(|output| match output {
            Output::Generation { headers, .. } => headers.clone(),
            Output::Chunk(chunk) => chunk.payload.clone(),
            _ => Vec::new(),
        })
        .collect()
}

fn demux(bytes: &[u8]) -> Vec<Event> {
    let mut demuxer = Demuxer::new();
    demuxer.push(bytes);
    demuxer.finish();
    std::iter::from_fn(|| demuxer.poll()).collect()
}

fn millis(outputs: &[Output]) -> Vec<u64> {
    chunks(outputs)
        .iter()
        .map(|c| (c.duration.ticks() + MS / 2) / MS)
        .collect()
}

#[test]
fn chunks_are_about_the_target_whatever_the_packets() {
    let cut = |toc: u8, duration: u32, target: u64| {
        let config = Config {
            target: MediaDuration::from_millis(target),
            ..Config::default()
        };
        let events = [Event::Config(opus_config())]
            .into_iter()
            .chain(packets(toc, duration, 200));
        millis(&run(config, events))[1]
    };
    assert_eq!(cut(31 << 3, 960, 100), 100);
    assert_eq!(cut(28 << 3, 120, 100), 100);
    assert_eq!(cut(3 << 3, 2880, 100), 120);
    assert_eq!(cut(3 << 3, 2880, 20), 60);
    assert_eq!(cut(31 << 3, 960, 20), 20);
    assert_eq!(cut(31 << 3, 960, 0), 20);
    assert_eq!(cut(31 << 3, 960, 1000), 1000);
}

#[test]
fn media_time_continues_over_links_and_starts_where_told() {
    let start = MediaTime::from_ticks(5_000 * MS);
    let config = Config {
        start,
        ..Config::default()
    };
    let link = |rate_config: LinkConfig, duration| {
        [Event::Config(rate_config)]
            .into_iter()
            .chain(packets(31 << 3, duration, 10))
            .chain([Event::LinkEnd])
            .collect::<Vec<_>>()
    };
    let outputs = run(
        config,
        [link(opus_config(), 960), link(opus_config(), 960)].concat(),
    );
    let mut at = start;
    for chunk in chunks(&outputs) {
        assert_eq!(chunk.media_time, at);
        at = chunk.media_time + chunk.duration;
    }
    let frames = at.since(start).to_frames(48_000);
    assert_eq!(frames, Frames(2 * (9600 - 312)));
    // Each link is a logical stream of its own.
    let serials: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Generation { headers, .. } => Some(headers[14]),
            _ => None,
        })
        .collect();
    assert_eq!(serials, [0x4d, 0x4e]);
}

#[test]
fn the_end_waits_for_nothing() {
    let events: Vec<_> = [Event::Config(opus_config())]
        .into_iter()
        .chain(packets(31 << 3, 960, 5))
        .chain([Event::LinkEnd])
        .collect();
    // Polled after every event, a full chunk is out before its end is known.
    let outputs = run(Config::default(), events.clone());
    let cut = chunks(&outputs);
    assert_eq!(cut.len(), 2);
    assert_eq!((cut[0].last, cut[1].last), (false, true));
    assert_eq!(cut[1].duration, MediaDuration::ZERO);
    assert_eq!(demux(&stream(&outputs)).last(), Some(&Event::LinkEnd));
    // Polled afterwards, the chunk carries the end itself.
    let mut chunker = Chunker::new(Config::default());
    for event in events {
        chunker.push_event(event);
    }
    let outputs: Vec<_> = std::iter::from_fn(|| chunker.poll()).collect();
    assert_eq!(chunks(&outputs).len(), 1);
    assert!(chunks(&outputs)[0].last);
}

#[test]
fn end_trim_is_on_the_last_page() {
    let mut events = packets(31 << 3, 960, 7);
    for (event, trim) in events.iter_mut().rev().zip([960, 500]) {
        if let Event::Packet(packet) = event {
            packet.trim_end = trim;
        }
    }
    let outputs = run(
        Config::default(),
        [Event::Config(opus_config())]
            .into_iter()
            .chain(events.clone())
            .chain([Event::LinkEnd]),
    );
    let found: Vec<_> = demux(&stream(&outputs))
        .into_iter()
        .filter(|e| matches!(e, Event::Packet(_)))
        .collect();
    assert_eq!(found, events);
    let sum: u64 = chunks(&outputs)
        .iter()
        .map(|c| c.duration.to_frames(48_000).0)
        .sum();
    assert_eq!(sum, 7 * 960 - 312 - 1460);
}

#[test]
fn a_hole_advances_media_time_and_is_visible_in_the_pages() {
    let mut events = packets(31 << 3, 960, 12);
    let lost = events.splice(4..7, [Event::Hole(Frames(2880))]).count();
    assert_eq!(lost, 3);
    let outputs = run(
        Config::default(),
        [Event::Config(opus_config())].into_iter().chain(events),
    );
    let cut = chunks(&outputs);
    assert_eq!(
        cut.iter().map(|c| c.discontinuity).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(
        cut[1].media_time.since(cut[0].media_time + cut[0].duration),
        MediaDuration::from_millis(60)
    );
    assert_eq!(first_sequence(&cut[0].payload), Some(2));
    assert_eq!(first_sequence(&cut[1].payload), Some(4));
    assert!(demux(&stream(&outputs)).contains(&Event::Hole(Frames(2880))));
    // An hour and more is a broken clock, not lost audio.
    let mut events = packets(31 << 3, 960, 10);
    events.insert(5, Event::Hole(Frames(u64::MAX / 2)));
    let outputs = run(
        Config::default(),
        [Event::Config(opus_config())].into_iter().chain(events),
    );
    let cut = chunks(&outputs);
    assert_eq!(cut[1].media_time, cut[0].media_time + cut[0].duration);
    assert!(cut[1].discontinuity);
}

#[test]
fn flush_emits_what_is_there() {
    let mut chunker = Chunker::new(Config::default());
    chunker.flush();
    chunker.push_event(Event::Config(opus_config()));
    for event in packets(31 << 3, 960, 2) {
        chunker.push_event(event);
    }
    assert_eq!(chunker.position().ticks(), (1920 - 312) * 14_700);
    assert!(matches!(chunker.poll(), Some(Output::Generation { .. })));
    assert_eq!(chunker.poll(), None);
    chunker.flush();
    let Some(Output::Chunk(chunk)) = chunker.poll() else {
        panic!("no chunk");
    };
    assert_eq!(chunk.duration.to_frames(48_000), Frames(1920 - 312));
    assert!(!chunk.last);
    chunker.flush();
    assert_eq!(chunker.poll(), None);
}

#[test]
fn tags_are_stamped_with_the_position_they_came_at() {
    let tags = vec![("TITLE".to_owned(), "x".to_owned())];
    let mut events = vec![Event::Config(opus_config())];
    events.extend(packets(31 << 3, 960, 7));
    events.push(Event::Tags(tags.clone()));
    let outputs = run(Config::default(), events);
    let at = MediaTime::from_ticks((7 * 960 - 312) * 14_700);
    assert_eq!(outputs.last(), Some(&Output::Tags { at, tags }));
}

#[test]
fn packets_longer_than_a_page_take_several() {
    let mut events = packets(31 << 3, 960, 3);
    if let Event::Packet(packet) = &mut events[1] {
        packet.payload.resize(100_000, 7);
    }
    let outputs = run(
        Config::default(),
        [Event::Config(opus_config())]
            .into_iter()
            .chain(events.clone())
            .chain([Event::LinkEnd]),
    );
    let pages: Vec<_> = chunks(&outputs)
        .iter()
        .map(|c| page_count(&c.payload))
        .collect();
    assert_eq!(pages, [1, 2, 1]);
    let found: Vec<_> = demux(&stream(&outputs))
        .into_iter()
        .filter(|e| matches!(e, Event::Packet(_)))
        .collect();
    assert_eq!(found, events);
}

#[test]
fn pictures_are_not_sent_to_every_listener() {
    let mut config = opus_config();
    let tags = Tags {
        vendor: "v".into(),
        comments: vec![
            ("METADATA_BLOCK_PICTURE".into(), "x".repeat(50_000)),
            ("TITLE".into(), "kept".into()),
        ],
        partial: false,
    };
    config.headers[1] = tags.to_bytes();
    let outputs = run(Config::default(), [Event::Config(config)]);
    let Output::Generation { headers, .. } = &outputs[0] else {
        panic!("{outputs:?}");
    };
    assert!(headers.len() < 200, "{}", headers.len());
    let title = ("TITLE".to_owned(), "kept".to_owned());
    let late = lead_in(headers, 500);
    let page = ogg::write_page(
        &PageSpec {
            granule: Some(960),
            serial: Config::default().serial,
            sequence: 500,
            ..PageSpec::default()
        },
        &[&[31 << 3, 0]],
    );
    assert!(demux(&[late, page].concat()).contains(&Event::Tags(vec![title])));
}

#[test]
fn mp3_chunks_are_whole_frames_after_the_information_frame() {
    let info = vec![0xff, 0xfb, 0x90, 0x64, 0];
    let frames = (0..20).map(|n| {
        Event::Packet(Packet {
            payload: vec![n; 417],
            start: Frames(u64::from(n) * 1152),
            duration: 1152,
            trim_start: if n == 0 { 1105 } else { 0 },
            trim_end: 0,
        })
    });
    let outputs = run(
        Config::default(),
        [Event::Config(mp3_config(vec![info.clone()]))]
            .into_iter()
            .chain(frames)
            .chain([Event::LinkEnd]),
    );
    let cut = chunks(&outputs);
    assert!(cut[0].payload.starts_with(&info));
    assert_eq!(cut[0].payload.len(), 5 + 4 * 417);
    assert_eq!(cut[1].payload.len(), 4 * 417);
    assert_eq!(cut[0].media_time, MediaTime::ZERO);
    // Frame 4 is heard 4 * 1152 - 1105 frames after the first audible one.
    assert_eq!(cut[1].media_time.ticks(), (4 * 1152 - 1105) * 16_000);
    let last = cut.last().expect("chunk");
    assert!(last.last && last.payload.is_empty());
}

proptest! {
    #[test]
    fn chunked_streams_demux_to_the_same_packets(
        sizes in prop::collection::vec((0_usize..1400, 0_u8..4), 1..60),
        target in 20_u64..400,
        origin in 0_u64..1_000_000_000,
        trim in 0_u32..2000,
    ) {
        let mut wanted = Vec::new();
        let mut at = origin;
        let mut skip = 312_u32;
        for (len, kind) in sizes {
            let duration = 120_u32 << kind;
            let mut payload = vec![(28 + kind) << 3];
            payload.resize(len + 1, kind);
            wanted.push(Packet { payload, start: Frames(at), duration, trim_start: 0, trim_end: 0 });
            at += u64::from(duration);
        }
        let mut trim = trim;
        for packet in wanted.iter_mut().rev().take(4) {
            packet.trim_end = trim.min(packet.duration);
            trim -= packet.trim_end;
        }
        for packet in &mut wanted {
            packet.trim_start = skip.min(packet.duration - packet.trim_end);
            skip -= packet.trim_start;
        }
        let config = Config { target: MediaDuration::from_millis(target), ..Config::default() };
        let events = [Event::Config(opus_config())].into_iter()
            .chain(wanted.iter().cloned().map(Event::Packet))
            .chain([Event::LinkEnd]);
        let outputs = run(config, events);
        let found = demux(&stream(&outputs));
        prop_assert!(!found.iter().any(|e| matches!(e, Event::Fault(_))), "{:?}", found);
        let got: Vec<_> = found.into_iter().filter_map(|e| match e {
            Event::Packet(packet) => Some(packet),
            _ => None,
        }).collect();
        for packet in &mut wanted {
            packet.start.0 -= origin;
        }
        prop_assert_eq!(got, wanted);
        let mut next = MediaTime::ZERO;
        for chunk in chunks(&outputs) {
            prop_assert_eq!(chunk.media_time, next);
            next = chunk.media_time + chunk.duration;
            prop_assert_eq!(page_count(&chunk.payload), 1);
        }
    }
}

/// A file's padding is dropped, and what was attached to the file goes on right there.
#[test]
fn media_time_leaves_out_padding_in_the_middle() {
    let length = |n| MediaDuration::from_frames(Frames(n), 44_100);
    let frames = (0..20).map(|n| {
        Event::Packet(Packet {
            payload: vec![n; 4],
            start: Frames(u64::from(n) * 1152),
            duration: 1152,
            trim_start: if n == 0 { 1105 } else { 0 },
            trim_end: [600, 1152]
                .get(usize::from(n).wrapping_sub(5))
                .copied()
                .unwrap_or(0),
        })
    });
    let events = [Event::Config(mp3_config(Vec::new()))]
        .into_iter()
        .chain(frames);
    let outputs = run(Config::default(), events.chain([Event::LinkEnd]));
    let mut end = MediaTime::ZERO;
    for chunk in chunks(&outputs) {
        assert_eq!((chunk.media_time, chunk.discontinuity), (end, false));
        end = end + chunk.duration;
    }
    assert_eq!(end.since(MediaTime::ZERO), length(20 * 1152 - 1105 - 1752));
}
