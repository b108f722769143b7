use super::super::{Container, Demuxer, Event, Packet};
use crate::units::Frames;
use proptest::prelude::*;

/// A frame at 44.1 kHz with 128 kbit/s (417 bytes), filled with `fill`.
fn frame(mode: u8, fill: u8) -> Vec<u8> {
    let mut out = vec![0xff, 0xfb, 0x90, mode];
    out.resize(417, fill & 0x7f);
    out
}

fn frames(count: u8) -> Vec<u8> {
    (0..count).flat_map(|n| frame(0x64, n)).collect()
}

/// An information frame as LAME writes it.
fn info(count: u32, delay: u16, padding: u16) -> Vec<u8> {
    let mut out = vec![0xff, 0xfb, 0x90, 0x64];
    out.resize(36, 0);
    out.extend_from_slice(b"Info\0\0\0\x01");
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(b"LAME3.100");
    out.resize(out.len() + 12, 0);
    let both = u32::from(delay) << 12 | u32::from(padding);
    out.extend_from_slice(&both.to_be_bytes()[1..]);
    out.resize(417, 0);
    out
}

fn id3(title: &str, body_len: usize) -> Vec<u8> {
    let mut body = b"TIT2".to_vec();
    body.extend_from_slice(&(title.len() as u32 + 1).to_be_bytes());
    body.extend_from_slice(b"\0\0\x03");
    body.extend_from_slice(title.as_bytes());
    body.resize(body.len().max(body_len), 0);
    let size = [21, 14, 7, 0].map(|shift| (body.len() >> shift & 0x7f) as u8);
    [b"ID3\x03\0\0".as_slice(), &size, &body].concat()
}

fn events_cut(bytes: &[u8], cut: usize) -> Vec<Event> {
    let mut demuxer = Demuxer::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(cut) {
        demuxer.push(piece);
        found.extend(std::iter::from_fn(|| demuxer.poll()));
    }
    demuxer.finish();
    found.extend(std::iter::from_fn(|| demuxer.poll()));
    found
}

fn events(bytes: &[u8]) -> Vec<Event> {
    let found = events_cut(bytes, usize::MAX);
    assert_eq!(events_cut(bytes, 1), found);
    found
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

fn audible(events: &[Event]) -> Vec<u32> {
    packets(events)
        .iter()
        .map(|p| p.duration - p.trim_start - p.trim_end)
        .collect()
}

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
fn frames_follow_their_tags() {
    let found = events(&[id3("song", 0), frames(4)].concat());
    assert_eq!(shape(&found), "CTppppE");
    assert_eq!(found[1], Event::Tags(vec![("TITLE".into(), "song".into())]));
    let starts: Vec<_> = packets(&found).iter().map(|p| p.start.0).collect();
    assert_eq!(starts, [0, 1152, 2304, 3456]);
}

#[test]
fn gapless_as_mpg123_does_it() {
    // Delay 576 + 529 is one frame less 47; padding 1500 less 529 ends in the last.
    let found = events(&[info(4, 576, 1500), frames(4)].concat());
    assert_eq!(shape(&found), "CppppE");
    assert_eq!(audible(&found), [47, 1152, 1152, 1152 - 971]);
    let Event::Config(config) = &found[0] else {
        panic!("{found:?}");
    };
    assert_eq!((config.pre_skip, config.headers.len()), (1105, 1));
    // Padding over several frames.
    let found = events(&[info(4, 576, 529 + 1200), frames(4)].concat());
    assert_eq!(audible(&found), [47, 1152, 1104, 0]);
    // Frames beyond those counted were attached later and stay whole.
    let found = events(&[info(3, 576, 1500), frames(5)].concat());
    assert_eq!(audible(&found), [47, 1152, 1152 - 971, 1152, 1152]);
    // No frame count, no trims.
    let found = events(&[info(0, 576, 1500), frames(3)].concat());
    assert_eq!(audible(&found), [1152, 1152, 1152]);
}

#[test]
fn an_appended_file_is_a_new_link() {
    let one = [id3("one", 0), info(3, 576, 1000), frames(3)].concat();
    let two = [id3("two", 0), info(3, 576, 1000), frames(3)].concat();
    let found = events(&[one, two].concat());
    assert_eq!(shape(&found), "CTpppTECpppE");
    assert_eq!(audible(&found)[..3], audible(&found)[3..]);
}

#[test]
fn a_stream_may_be_joined_in_its_middle() {
    let all = frames(6);
    let found = events(&all[100..]);
    assert_eq!(shape(&found), "CpppppE");
    assert_eq!(packets(&found)[0].payload[4], 1);
}

#[test]
fn junk_between_frames_is_a_fault_and_a_hole() {
    let found = events(&[frames(3), vec![0x55; 700], frames(4)].concat());
    assert_eq!(shape(&found), "CpppfhppppE");
    assert!(found.contains(&Event::Hole(Frames(0))));
    let Event::Fault(fault) = &found[4] else {
        panic!("{found:?}");
    };
    assert_eq!(fault.offset, 3 * 417);
    assert_eq!(fault.message, "700 bytes are no mpeg frame");
}

#[test]
fn ogg_pages_are_told_of_once() {
    let page = b"OggS\0\x02\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0".as_slice();
    let found = events(&[frames(3), page.repeat(4)].concat());
    assert_eq!(shape(&found), "CpppfE");
    let Event::Fault(fault) = &found[4] else {
        panic!("{found:?}");
    };
    assert_eq!(fault.offset, 3 * 417);
    assert!(fault.message.contains("ogg"), "{fault:?}");
    // Also when the last frame is cut off.
    let found = events(&[&frames(4)[..4 * 417 - 20], &page.repeat(30)].concat());
    assert!(shape(&found).contains('f'), "{found:?}");
    // Its first bytes alone are nothing.
    assert_eq!(shape(&events(&[&frames(3), &page[..4]].concat())), "CpppE");
}

#[test]
fn a_cut_off_last_frame_is_dropped() {
    let all = frames(5);
    for len in 4 * 417..5 * 417 {
        assert_eq!(shape(&events_cut(&all[..len], 999)), "CppppE", "{len}");
    }
}

#[test]
fn one_frame_alone_is_enough_at_the_end_of_input() {
    assert_eq!(shape(&events(&frames(1))), "CpE");
    assert_eq!(shape(&events(&frames(2))), "CppE");
    let tagged = [frames(1), b"TAG".to_vec(), vec![0; 125]].concat();
    assert_eq!(shape(&events(&tagged)), "CpE");
}

#[test]
fn tags_in_every_place_are_no_fault() {
    let ape = b"APETAGEX\xd0\x07\0\0\x2a\0\0\0\x01\0\0\0\0\0\0\xa0\0\0\0\0\0\0\0\0";
    let mut ape_tag = ape.to_vec();
    ape_tag.extend_from_slice(b"\x01\0\0\0\0\0\0\0k\0");
    ape_tag.extend_from_slice(ape);
    ape_tag[23] = 0xa0;
    let at = ape_tag.len() - 9;
    ape_tag[at] = 0x80;
    let lyrics = [b"LYRICSBEGIN".as_slice(), &[b'x'; 300], b"000311LYRICS200"].concat();
    let v1 = [b"TAG".as_slice(), &[b' '; 125]].concat();
    let file = [frames(3), ape_tag, lyrics, v1].concat();
    let found = events(&[file.as_slice(), &file].concat());
    assert_eq!(shape(&found), "CppppppE");
}

#[test]
fn several_id3_tags_large_ones_too() {
    let big = id3("big", 3 << 20);
    let found = events_cut(&[id3("first", 0), big, frames(3)].concat(), 5000);
    assert_eq!(shape(&found), "CTpppE");
    assert_eq!(found[1], Event::Tags(vec![("TITLE".into(), "big".into())]));
}

#[test]
fn a_change_of_channels_or_rate_is_a_new_link() {
    let mono: Vec<u8> = (0..3).flat_map(|n| frame(0xc4, n)).collect();
    let found = events(&[frames(3), mono, frames(2)].concat());
    assert_eq!(shape(&found), "CpppCpppCppE");
    let mut low = Vec::new();
    for _ in 0..3 {
        // 64 kbit/s at 22.05 kHz: 208 bytes, 576 frames.
        let mut frame = vec![0xff, 0xf3, 0x80, 0xc4];
        frame.resize(208, 1);
        low.extend(frame);
    }
    let found = events(&[frames(3), low].concat());
    assert_eq!(shape(&found), "CpppCpppE");
    assert_eq!(audible(&found)[3..], [576; 3]);
    // A damaged mode field in one frame is not a change.
    let mut bytes = frames(5);
    bytes[2 * 417 + 3] = 0xc4;
    assert_eq!(shape(&events(&bytes)), "CppfhppE");
}

#[test]
fn free_format_lengths_are_discovered() {
    let mut bytes = Vec::new();
    for n in 0_u8..40 {
        let padding = n % 3 == 0;
        let mut frame = vec![0xff, 0xfb, if padding { 2 } else { 0 }, 0x64];
        frame.resize(361 + usize::from(padding), n & 0x7f);
        bytes.extend(frame);
    }
    let found = events(&bytes);
    assert_eq!(packets(&found).len(), 40, "{}", shape(&found));
    assert_eq!(packets(&found)[1].payload.len(), 361);
}

#[test]
fn a_gap_in_the_transport_drops_the_frame() {
    let all = frames(8);
    let mut demuxer = Demuxer::with_container(Container::Mpeg);
    demuxer.push(&all[..3 * 417 + 50]);
    demuxer.note_gap();
    demuxer.push(&all[4 * 417 + 20..]);
    demuxer.finish();
    let found: Vec<_> = std::iter::from_fn(|| demuxer.poll()).collect();
    assert_eq!(shape(&found), "CppphpppE");
}

#[test]
fn neither_is_said_so() {
    let found = events(&vec![0x20; 200_000]);
    assert_eq!(shape(&found), "ffff");
    let Some(Event::Fault(last)) = found.last() else {
        panic!("{found:?}");
    };
    assert_eq!(
        last.message,
        "200000 bytes are neither ogg pages nor mpeg frames; send Ogg/Opus or MP3"
    );
}

proptest! {
    #[test]
    fn cutting_damaged_streams_changes_nothing(
        parts in prop::collection::vec((0_u8..8, any::<u8>(), 1_u8..5), 1..8),
        flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4),
        cut in 1_usize..900,
    ) {
        let mut bytes = Vec::new();
        for (kind, value, count) in parts {
            match kind {
                0 => bytes.extend(id3("t", usize::from(value))),
                1 => bytes.extend(info(u32::from(value), 576, 1000)),
                2 => bytes.extend((0..count).flat_map(|n| frame(0xc4, n))),
                3 => bytes.extend(vec![value; usize::from(count) * 50]),
                4 => bytes.extend([b"TAG".as_slice(), &[value; 60]].concat()),
                _ => bytes.extend(frames(count)),
            }
        }
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let whole = events_cut(&bytes, usize::MAX);
        prop_assert_eq!(&events_cut(&bytes, cut), &whole);
        for p in packets(&whole) {
            prop_assert!(p.trim_start + p.trim_end <= p.duration);
        }
    }
}
