//! Pages that are lost, cut, swapped or flipped.

use super::*;
use proptest::prelude::*;

#[test]
fn a_missing_page_is_a_hole_of_known_length() {
    let pages = audio(1, 4, 0);
    let found = events(
        &[&headers(1), &pages[0], &pages[2], &pages[3]]
            .map(|p| p.as_slice())
            .concat(),
    );
    assert_eq!(shape(&found), "CTppfhppppE");
    assert!(found.contains(&Event::Hole(Frames(1920))), "{found:?}");
    assert_eq!(starts(&found), [0, 960, 3840, 4800, 5760, 6720]);
    assert_eq!(faults(&found), ["1 page is missing before page 4"]);
}

#[test]
fn dropped_pages_leave_the_time_alone() {
    let pages = audio(1, 6, 0);
    for from in 0..5 {
        for count in 1..=2 {
            let mut left = pages.clone();
            left.drain(from..(from + count).min(5));
            let found = events(&[headers(1), left.concat()].concat());
            let heard: u64 = found
                .iter()
                .map(|event| match event {
                    Event::Packet(p) => u64::from(p.duration - p.trim_start - p.trim_end),
                    Event::Hole(frames) => frames.0,
                    _ => 0,
                })
                .sum();
            assert_eq!(heard, 12 * 960 - 312, "{count} from {from}");
        }
    }
}

#[test]
fn a_damaged_page_is_a_hole_too() {
    let mut pages = audio(1, 4, 0);
    let at = pages[1].len() - 1;
    pages[1][at] ^= 1;
    let found = events(&[headers(1), pages.concat()].concat());
    assert_eq!(shape(&found), "CTppffhppppE");
    assert!(faults(&found)[0].contains("checksum"), "{found:?}");
}

#[test]
fn a_hole_before_the_end_leaves_the_trim() {
    let pages = audio(1, 4, 0);
    let last = page(1, 5, 7000, true, &[packet(6), packet(7)]);
    let found = events(
        &[&headers(1), &pages[0], &pages[1], &last]
            .map(|p| p.as_slice())
            .concat(),
    );
    // Two packets are lost; where exactly the last two lie nobody can tell, but
    // they end where the granule position says.
    assert_eq!(found.last(), Some(&Event::LinkEnd));
    let last = packets(&found)
        .into_iter()
        .next_back()
        .cloned()
        .expect("packet");
    assert_eq!(
        last.start.0 + u64::from(last.duration - last.trim_end),
        7000
    );
}

/// A stream with pages dropped, swapped, flipped and cut.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    prop::collection::vec(change, 0..5).prop_map(|changes| {
        let mut pages = vec![opus_bos(1), tags_page(1, "one")];
        pages.extend(audio(1, 6, 0));
        pages.push(opus_bos(2));
        pages.push(tags_page(2, "two"));
        pages.extend(audio(2, 3, 500));
        for (at, value, kind) in changes {
            let at = at.index(pages.len());
            match kind {
                0 => drop(pages.remove(at)),
                1 => pages.swap(at, 0),
                2 => {
                    let len = pages[at].len();
                    pages[at].truncate(len * usize::from(value) / 256);
                }
                _ => {
                    // A lying header whose checksum is right.
                    let len = pages[at].len().max(1);
                    if let Some(byte) = pages[at].get_mut(usize::from(value) % len) {
                        *byte ^= value | 1;
                    }
                    crate::ogg::reseal(&mut pages[at]);
                }
            }
            if pages.is_empty() {
                break;
            }
        }
        pages.concat()
    })
}

proptest! {
    #[test]
    fn cutting_damaged_streams_changes_nothing(bytes in damaged(), cut in 1_usize..200) {
        let whole = events(&bytes);
        let mut demuxer = Demuxer::new();
        let mut found = Vec::new();
        for piece in bytes.chunks(cut) {
            demuxer.push(piece);
            found.extend(std::iter::from_fn(|| demuxer.poll()));
        }
        demuxer.finish();
        found.extend(std::iter::from_fn(|| demuxer.poll()));
        for p in packets(&found) {
            prop_assert!(p.trim_start + p.trim_end <= p.duration);
        }
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = events(&bytes);
    }
}
