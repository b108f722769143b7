//! Damaged input: at least 5,000 seeded mutations of good streams. No panic, no
//! NaN, bounded output, and afterwards `reset()` makes a decoder as good as new.

mod decode_common;

use decode_common::{Decoded, corpus, decode, decode_with, on_all_cores};
use seamcast_player::stream::StreamDecoder;
use tests::support::{Encoding, Pcm, Scratch, Seeded, encode, require};

const MUTATIONS: usize = 5_200;
/// Damage inserts at most the longest hole that is filled, a few times over.
const MOST_FRAMES: usize = 48_000 * 600;

/// Pages of an Ogg stream as ranges.
fn pages(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    while bytes.len() >= at + 27 && bytes[at..].starts_with(b"OggS") {
        let segments = usize::from(bytes[at + 26]);
        let Some(table) = bytes.get(at + 27..at + 27 + segments) else {
            break;
        };
        let end = at + 27 + segments + table.iter().map(|b| usize::from(*b)).sum::<usize>();
        if end > bytes.len() {
            break;
        }
        out.push((at, end));
        at = end;
    }
    out
}

/// Makes a page's checksum right again.
fn repair(page: &mut [u8]) {
    page[22..26].fill(0);
    let mut crc = 0u32;
    for byte in page.iter() {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
    }
    page[22..26].copy_from_slice(&crc.to_le_bytes());
}

fn mutate(original: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let mut bytes = original.to_vec();
    let pages = pages(&bytes);
    let flip = |bytes: &mut [u8], random: &mut Seeded, count: usize| {
        for _ in 0..count {
            let at = random.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    };
    match seed % 8 {
        0 => bytes.truncate(random.below(original.len())),
        1 => {
            let count = 1 + random.below(40);
            flip(&mut bytes, &mut random, count);
        }
        // Damage that checksums do not show.
        2 | 3 if !pages.is_empty() => {
            for _ in 0..1 + random.below(6) {
                let (from, to) = pages[random.below(pages.len())];
                let count = 1 + random.below(8);
                flip(&mut bytes[from + 27..to], &mut random, count);
                repair(&mut bytes[from..to]);
            }
        }
        // Dropped pages.
        4 if pages.len() > 3 => {
            for _ in 0..1 + random.below(4) {
                let (from, to) = pages[random.below(pages.len())];
                bytes[from..to].fill(0);
            }
            bytes = pages
                .iter()
                .filter(|(from, _)| bytes[*from] != 0)
                .flat_map(|(from, to)| bytes[*from..*to].to_vec())
                .collect();
        }
        // Lying page headers: flags, granule positions, serials, sequence numbers.
        5 if !pages.is_empty() => {
            for _ in 0..1 + random.below(3) {
                let (from, to) = pages[random.below(pages.len())];
                let field = 5 + random.below(17);
                bytes[from + field] = random.bits() as u8;
                repair(&mut bytes[from..to]);
            }
        }
        // Lying codec headers.
        6 if !pages.is_empty() => {
            let (from, to) = pages[random.below(2.min(pages.len()))];
            for _ in 0..1 + random.below(4) {
                let at = from + 28 + random.below(to - from - 28);
                bytes[at] = random.bits() as u8;
            }
            repair(&mut bytes[from..to]);
        }
        // A piece missing, doubled or foreign.
        _ => {
            let from = random.below(bytes.len());
            let to = (from + random.below(5_000)).min(bytes.len());
            let piece = bytes[from..to].to_vec();
            match random.below(3) {
                0 => drop(bytes.drain(from..to)),
                1 => drop(bytes.splice(from..from, piece)),
                _ => bytes[from..to]
                    .iter_mut()
                    .for_each(|b| *b = random.bits() as u8),
            }
        }
    }
    bytes
}

/// Good streams: small generated ones, and small files of the corpus if there is one.
fn seeds() -> Vec<Vec<u8>> {
    require(&["ffmpeg"]);
    let scratch = Scratch::new("mutations");
    let path = scratch.file("a");
    let mut out = Vec::new();
    let sine = Pcm::sine(48_000, 440.0, 24_000);
    let noise = Pcm::noise(48_000, 1, 20_000, 0.2, 3);
    for (pcm, encoding) in [
        (
            &sine,
            Encoding::Opus(&["-b:a", "96k", "-page_duration", "100000"]),
        ),
        (
            &noise,
            Encoding::Opus(&[
                "-b:a",
                "20k",
                "-application",
                "voip",
                "-page_duration",
                "60000",
            ]),
        ),
        (&sine, Encoding::Mp3(&["-b:a", "96k"])),
        (&noise, Encoding::Mp3(&["-q:a", "6"])),
    ] {
        encode(pcm, encoding, &path).expect("encode");
        out.push(std::fs::read(&path).expect("file"));
    }
    for file in corpus().unwrap_or_default() {
        let bytes = std::fs::read(&file.path).expect("corpus file");
        if file.class == "strict" && bytes.len() < 9_000 {
            out.push(bytes);
        }
    }
    out
}

#[test]
fn damaged_streams_do_no_harm() {
    let seeds = seeds();
    let good: Vec<Decoded> = seeds.iter().map(|bytes| decode(bytes, 0)).collect();
    let numbers: Vec<usize> = (0..MUTATIONS).collect();
    let wrong: Vec<String> = on_all_cores(&numbers, |&number| {
        let which = number % seeds.len();
        let bytes = mutate(&seeds[which], number as u64);
        let mut decoder = StreamDecoder::new();
        let damaged = decode_with(&mut decoder, &bytes, 2 + number as u64);
        if damaged.planes.iter().flatten().any(|x| !x.is_finite()) {
            return Some(format!("{number}: not finite"));
        }
        if damaged.frames() > MOST_FRAMES {
            return Some(format!("{number}: {} frames", damaged.frames()));
        }
        decoder.reset();
        let after = decode_with(&mut decoder, &seeds[which], 3);
        let same = after.planes == good[which].planes && after.errors == good[which].errors;
        (!same).then(|| format!("{number}: not as new after reset()"))
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{MUTATIONS} mutations of {} streams", seeds.len());
}

#[test]
fn dropped_pages_keep_the_time() {
    require(&["ffmpeg"]);
    let scratch = Scratch::new("dropped");
    let path = scratch.file("a.opus");
    let source = Pcm::sine(48_000, 440.0, 96_000);
    encode(
        &source,
        Encoding::Opus(&["-b:a", "96k", "-page_duration", "100000"]),
        &path,
    )
    .expect("encode");
    let bytes = std::fs::read(&path).expect("file");
    let pages = pages(&bytes);
    let inner = pages.len() - 4;
    for (gone, &(from, to)) in pages.iter().enumerate().skip(3).take(inner) {
        let rest = [&bytes[..from], &bytes[to..]].concat();
        let ours = decode(&rest, 5);
        assert_eq!(ours.frames(), 96_000, "page {gone}");
        assert!(
            !ours.errors.is_empty() && ours.concealed > 0,
            "page {gone}: {:?}",
            ours.errors
        );
    }
}
