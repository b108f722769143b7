use super::super::{Demuxer, Event, Packet};
use crate::ogg::{PageFlags, PageSpec, write_packet_pages, write_page};
use crate::opus::{Head, Tags};
use crate::units::Frames;

mod damage;

/// A CELT packet of 20 ms (configuration 31) that says which one it is.
fn packet(n: u8) -> Vec<u8> {
    vec![31 << 3, n]
}

fn page(serial: u32, sequence: u32, granule: u64, eos: bool, packets: &[Vec<u8>]) -> Vec<u8> {
    let spec = PageSpec {
        flags: PageFlags {
            eos,
            ..PageFlags::default()
        },
        granule: Some(granule),
        serial,
        sequence,
    };
    let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    write_page(&spec, &packets)
}

fn bos(serial: u32, packet: &[u8]) -> Vec<u8> {
    let spec = PageSpec {
        flags: PageFlags {
            bos: true,
            ..PageFlags::default()
        },
        granule: Some(0),
        serial,
        sequence: 0,
    };
    write_page(&spec, &[packet])
}

fn opus_bos(serial: u32) -> Vec<u8> {
    bos(serial, &Head::simple(2, 312, 48_000).to_bytes())
}

fn tags_page(serial: u32, title: &str) -> Vec<u8> {
    let tags = Tags {
        vendor: "test".into(),
        comments: vec![("TITLE".into(), title.into())],
        partial: false,
    };
    let spec = PageSpec {
        granule: Some(0),
        serial,
        sequence: 1,
        ..PageSpec::default()
    };
    write_packet_pages(&spec, &tags.to_bytes())
}

fn headers(serial: u32) -> Vec<u8> {
    [opus_bos(serial), tags_page(serial, "song")].concat()
}

/// Pages of two packets each, from sequence number 2, `first` packets in.
fn audio(serial: u32, pages: u32, first: u64) -> Vec<Vec<u8>> {
    (0..pages)
        .map(|n| {
            let granule = (first + 2 * u64::from(n) + 2) * 960;
            let at = 2 * n as u8;
            page(
                serial,
                n + 2,
                granule,
                n + 1 == pages,
                &[packet(at), packet(at + 1)],
            )
        })
        .collect()
}

fn events(bytes: &[u8]) -> Vec<Event> {
    let mut demuxer = Demuxer::new();
    demuxer.push(bytes);
    demuxer.finish();
    std::iter::from_fn(|| demuxer.poll()).collect()
}

fn packets(events: &[Event]) -> Vec<&Packet> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Packet(packet) => Some(packet),
            _ => None,
        })
        .collect()
}

fn starts(events: &[Event]) -> Vec<u64> {
    packets(events).iter().map(|p| p.start.0).collect()
}

fn trims(events: &[Event]) -> Vec<(u32, u32)> {
    packets(events)
        .iter()
        .map(|p| (p.trim_start, p.trim_end))
        .collect()
}

fn faults(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Fault(fault) => Some(fault.message.as_str()),
            _ => None,
        })
        .collect()
}

/// Events by their first letters, packets counted.
fn shape(events: &[Event]) -> String {
    events
        .iter()
        .map(|event| match event {
            Event::Config(_) => 'C',
            Event::Tags(_) => 'T',
            Event::Packet(_) => 'p',
            Event::Hole(_) => 'h',
            Event::LinkEnd => 'E',
            Event::Fault(_) => 'f',
        })
        .collect()
}

#[test]
fn a_link_is_config_tags_packets_end() {
    let found = events(&[headers(1), audio(1, 2, 0).concat()].concat());
    assert_eq!(shape(&found), "CTppppE");
    assert_eq!(starts(&found), [0, 960, 1920, 2880]);
    assert_eq!(trims(&found), [(312, 0), (0, 0), (0, 0), (0, 0)]);
    let Event::Config(config) = &found[0] else {
        panic!("{found:?}");
    };
    assert_eq!((config.channels, config.pre_skip), (2, 312));
    assert_eq!(config.headers.len(), 2);
}

#[test]
fn end_trim_reaches_over_packets() {
    // RFC 7845 §4.4: the EOS page's granule position is the end.
    let last = page(1, 2, 1000, true, &[packet(0), packet(1), packet(2)]);
    let found = events(&[headers(1), last].concat());
    assert_eq!(trims(&found), [(312, 0), (0, 920), (0, 960)]);
    // Shorter than the pre-skip: nothing is heard, nothing wraps.
    let last = page(1, 2, 100, true, &[packet(0)]);
    let found = events(&[headers(1), last].concat());
    assert_eq!(trims(&found), [(100, 860)]);
    assert!(faults(&found).is_empty());
}

#[test]
fn a_live_stream_starts_at_its_granule_position() {
    let found = events(&[headers(1), audio(1, 2, 1_000).concat()].concat());
    assert_eq!(starts(&found)[0], 960_000);
    assert_eq!(trims(&found)[0], (312, 0));
    // Joined with the encoder's own page numbers: not a hole.
    let late = audio(1, 5, 1_000)[3..].concat();
    let found = events(&[headers(1), late].concat());
    assert_eq!(shape(&found), "CTppppE");
    assert_eq!(starts(&found)[0], 960 * 1_006);
}

#[test]
fn a_first_granule_position_that_is_too_small_is_a_fault() {
    let first = page(1, 2, 100, false, &[packet(0), packet(1)]);
    let second = page(1, 3, 3840, true, &[packet(2), packet(3)]);
    let found = events(&[headers(1), first, second].concat());
    assert_eq!(starts(&found), [0, 960, 1920, 2880]);
    assert_eq!(
        faults(&found),
        ["granule position is 100, the packets end at 1920"]
    );
}

#[test]
fn chains_begin_new_links() {
    let one = [headers(1), audio(1, 1, 0).concat()].concat();
    let same_serial = events(&[one.as_slice(), &one].concat());
    assert_eq!(shape(&same_serial), "CTppECTppE");
    assert_eq!(starts(&same_serial), [0, 960, 0, 960]);
    // Without an EOS page the next link ends this one.
    let open = [headers(1), page(1, 2, 960, false, &[packet(0)])].concat();
    assert_eq!(
        shape(&events(&[open.as_slice(), &one].concat())),
        "CTpCTppE"
    );
    // Ten thousand links leave nothing behind.
    let mut demuxer = Demuxer::new();
    let mut links = 0;
    for serial in 0..10_000 {
        demuxer.push(&headers(serial));
        demuxer.push(&page(serial, 2, 960, true, &[packet(0)]));
        while let Some(event) = demuxer.poll() {
            links += usize::from(event == Event::LinkEnd);
        }
    }
    assert_eq!(links, 10_000);
}

#[test]
fn other_streams_beside_opus_are_ignored() {
    let pages = audio(1, 2, 0);
    let found = events(
        &[
            bos(7, b"fishead\0"),
            opus_bos(1),
            page(7, 1, 0, false, &[b"fisbone".to_vec()]),
            tags_page(1, "song"),
            pages[0].clone(),
            page(7, 2, 9, true, &[b"more".to_vec()]),
            pages[1].clone(),
        ]
        .concat(),
    );
    assert_eq!(shape(&found), "CTppppE");
}

#[test]
fn a_second_opus_stream_counts_only_if_the_first_is_empty() {
    let restarted = [opus_bos(1), headers(2), audio(2, 1, 0).concat()].concat();
    assert_eq!(shape(&events(&restarted)), "CTppE");
    let beside = [
        opus_bos(1),
        opus_bos(2),
        tags_page(1, "one"),
        tags_page(2, "two"),
        audio(1, 1, 0).concat(),
        audio(2, 1, 0).concat(),
    ]
    .concat();
    let found = events(&beside);
    assert_eq!(&shape(&found)[..5], "CTppE");
}

#[test]
fn says_what_it_cannot_play() {
    let found = events(
        &[
            bos(1, b"\x01vorbis"),
            page(1, 1, 0, false, &[packet(0)]),
            page(1, 2, 0, false, &[packet(0)]),
        ]
        .concat(),
    );
    assert_eq!(
        faults(&found),
        ["pages of stream 0x00000001 are ignored: it is Vorbis, not Opus"]
    );
    let mut head = Head::simple(2, 0, 48_000).to_bytes();
    head[8] = 0x10;
    let found = events(&[bos(1, &head), tags_page(1, "x")].concat());
    assert_eq!(
        faults(&found)[0],
        "opus header version 16, this build reads 0 to 15"
    );
    // No beginning at all.
    let found = events(&audio(1, 3, 0).concat());
    assert_eq!(shape(&found), "f");
}

#[test]
fn unreadable_tags_cost_no_audio() {
    let audio = audio(1, 1, 0).concat();
    let damaged = page(1, 1, 0, false, &[b"OpusTags\xff".to_vec()]);
    let found = events(&[opus_bos(1), damaged, audio.clone()].concat());
    assert_eq!(shape(&found), "CfppE");
    // The page with the tags was lost.
    let found = events(&[opus_bos(1), audio.clone()].concat());
    assert_eq!(shape(&found), "fCfppE");
    // They were never sent.
    let first = page(1, 1, 1920, true, &[packet(0), packet(1)]);
    let found = events(&[opus_bos(1), first].concat());
    assert_eq!(shape(&found), "CfppE");
    // They came twice.
    let again = page(1, 2, 0, false, &[Head::simple(2, 312, 48_000).to_bytes()]);
    let renumbered = page(1, 3, 1920, true, &[packet(0), packet(1)]);
    let found = events(&[headers(1), again, renumbered].concat());
    assert_eq!(shape(&found), "CTppE");
}

#[test]
fn huge_comment_headers_are_read_and_cut() {
    // 3 MiB of picture over 48 pages; only the first MiB is kept.
    let mut tags = Tags {
        vendor: "test".into(),
        comments: vec![("TITLE".into(), "kept".into())],
        partial: false,
    };
    tags.comments
        .push(("METADATA_BLOCK_PICTURE".into(), "x".repeat(3 << 20)));
    let spec = PageSpec {
        granule: Some(0),
        serial: 1,
        sequence: 1,
        ..PageSpec::default()
    };
    let pages = write_packet_pages(&spec, &tags.to_bytes());
    let next = crate::ogg::page_count(&pages) + 1;
    let audio = page(1, next, 1920, true, &[packet(0), packet(1)]);
    let found = events(&[opus_bos(1), pages, audio].concat());
    assert_eq!(shape(&found), "CTppE");
    assert_eq!(found[1], Event::Tags(vec![("TITLE".into(), "kept".into())]));
    let Event::Config(config) = &found[0] else {
        panic!("{found:?}");
    };
    assert!(config.headers[1].len() < 100);
}

#[test]
fn malformed_packets_are_left_out() {
    let mixed = page(
        1,
        2,
        1920,
        true,
        &[packet(0), vec![], vec![3, 0], packet(1)],
    );
    let found = events(&[headers(1), mixed].concat());
    assert_eq!(shape(&found), "CTffppE");
    assert_eq!(starts(&found), [0, 960]);
}

#[test]
fn repeated_pages_are_dropped() {
    let pages = audio(1, 3, 0);
    let twice = [
        &headers(1),
        &pages[0],
        &pages[1],
        &pages[0],
        &pages[1],
        &pages[2],
    ];
    let found = events(&twice.map(|p| p.as_slice()).concat());
    assert_eq!(shape(&found), "CTppppffppE");
    assert_eq!(starts(&found), [0, 960, 1920, 2880, 3840, 4800]);
}

#[test]
fn numbers_that_start_again_are_a_hole() {
    // An encoder that was restarted without a new BOS page.
    let mut all = headers(1);
    all.extend(page(1, 500, 960, false, &[packet(0)]));
    all.extend(page(1, 3, 2880, false, &[packet(1)]));
    all.extend(page(1, 4, 960, false, &[packet(2)]));
    let found = events(&all);
    assert_eq!(
        faults(&found),
        [
            "page numbers went back to 3",
            "granule position is 960, the packets end at 3840"
        ]
    );
    assert_eq!(starts(&found), [0, 1920, 2880]);
}

#[test]
fn input_may_end_anywhere() {
    let bytes = [headers(1), audio(1, 3, 0).concat()].concat();
    let full = events(&bytes);
    for len in 0..bytes.len() {
        let found = events(&bytes[..len]);
        let packets = packets(&found);
        assert!(
            packets
                .iter()
                .zip(self::packets(&full))
                .all(|(a, b)| a.payload == b.payload)
        );
        if packets.len() >= 2 {
            assert_eq!(found.last(), Some(&Event::LinkEnd), "{len}");
        }
    }
}

#[test]
fn a_gap_in_the_transport_is_a_hole() {
    let pages = audio(1, 4, 0);
    let mut demuxer = Demuxer::new();
    demuxer.push(&headers(1));
    demuxer.push(&pages[0]);
    demuxer.push(&pages[1][..20]);
    demuxer.note_gap();
    demuxer.push(&pages[2][30..]);
    demuxer.push(&pages[3]);
    let found: Vec<_> = std::iter::from_fn(|| demuxer.poll()).collect();
    assert!(found.contains(&Event::Hole(Frames(3840))), "{found:?}");
    assert_eq!(starts(&found), [0, 960, 5760, 6720]);
}

#[test]
fn reset_forgets_everything() {
    let bytes = [headers(1), audio(1, 2, 0).concat()].concat();
    let mut demuxer = Demuxer::new();
    demuxer.push(&bytes[..150]);
    demuxer.reset();
    demuxer.push(&bytes);
    demuxer.finish();
    let found: Vec<_> = std::iter::from_fn(|| demuxer.poll()).collect();
    assert_eq!(found, events(&bytes));
}
