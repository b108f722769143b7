//! Every `strict` file of the decode corpus has exactly the frames that
//! `opusdec` and `mpg123` deliver, however it is cut, also after chunking.
//! The corpus is found through `SEAMCAST_CORPUS`.

mod common;

use common::{chunk, corpus, events, events_cut, frames, packets};
use seamcast_media::chunk::Config;
use seamcast_media::demux::{Container, Event, Packet};
use seamcast_media::units::MediaDuration;

#[test]
fn strict_files_have_the_reference_length() {
    let Some(rows) = corpus() else { return };
    let mut wrong = Vec::new();
    let mut right = 0;
    for row in &rows {
        let bytes = std::fs::read(&row.path).expect("corpus file");
        let found = events(&bytes);
        let faults: Vec<_> = found
            .iter()
            .filter(|e| matches!(e, Event::Fault(_) | Event::Hole(_)))
            .collect();
        let name = row.path.file_name().unwrap_or_default().to_string_lossy();
        let line = format!(
            "{} {} {name}: {} frames, the reference has {}; {faults:?}",
            row.codec,
            row.class,
            frames(&found),
            row.frames
        );
        if row.class != "strict" {
            println!("{line}");
        } else if frames(&found) == row.frames && faults.is_empty() {
            right += 1;
        } else {
            wrong.push(line);
        }
    }
    println!("{right} strict files are exact");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn cutting_changes_nothing() {
    let Some(rows) = corpus() else { return };
    for row in rows {
        let bytes = std::fs::read(&row.path).expect("corpus file");
        let whole = events(&bytes);
        for cut in [1, 7, 1000, 4096] {
            assert!(
                events_cut(&bytes, cut) == whole,
                "{} in pieces of {cut}",
                row.path.display()
            );
        }
    }
}

#[test]
fn chunks_hold_the_same_packets() {
    let Some(rows) = corpus() else { return };
    for row in rows {
        let name = row.path.display().to_string();
        let bytes = std::fs::read(&row.path).expect("corpus file");
        let source = events(&bytes);
        let target = MediaDuration::from_millis(100);
        let mut links: Vec<Vec<Event>> = Vec::new();
        for event in &source {
            if matches!(event, Event::Config(_)) {
                links.push(Vec::new());
            }
            if let Some(link) = links.last_mut() {
                link.push(event.clone());
            }
        }
        let generations = chunk(&source, Config::default());
        // Frames found between junk may be framed otherwise without it.
        if source.iter().any(|e| matches!(e, Event::Fault(_))) {
            continue;
        }
        assert_eq!(generations.len(), links.len(), "{name}");
        let mut at = Config::default().start;
        for (generation, link) in generations.iter().zip(&links) {
            let wanted = packets(link);
            let chunked = events(&generation.stream(0));
            let got = packets(&chunked);
            if wanted.len() < 3 && generation.config.container == Container::Mpeg {
                // Two frames alone are not enough to be recognised again.
                if let Some(part) = generation.chunks.last() {
                    at = part.media_time + part.duration;
                }
                continue;
            }
            assert_eq!(frames(&chunked), frames(link), "{name}");
            assert_eq!(got.len(), wanted.len(), "{name}");
            let origin = wanted.first().map_or(0, |p| p.start.0);
            for (a, b) in got.iter().zip(&wanted) {
                assert_eq!(a.payload, b.payload, "{name}");
                assert_eq!(a.start.0, b.start.0 - origin, "{name}");
                assert_eq!(
                    (a.duration, a.trim_start, a.trim_end),
                    (b.duration, b.trim_start, b.trim_end),
                    "{name}"
                );
            }
            assert!(
                !chunked.iter().any(|e| matches!(e, Event::Fault(_))),
                "{name}"
            );
            // Media time has no gap and no overlap, and is as long as the audio.
            let begin = at;
            for (index, part) in generation.chunks.iter().enumerate() {
                if !part.discontinuity {
                    assert_eq!(part.media_time, at, "{name} chunk {index}");
                }
                assert_eq!(part.last, index + 1 == generation.chunks.len(), "{name}");
                assert!(part.duration <= target + target, "{name}");
                at = part.media_time + part.duration;
            }
            let rate = generation.config.sample_rate;
            if !link.iter().any(|e| matches!(e, Event::Hole(_))) {
                assert_eq!(at.since(begin).to_frames(rate).0, frames(link), "{name}");
            }
            // A listener may join at any chunk.
            let step = generation.chunks.len() / 4 + 1;
            let mut skipped = 0;
            for (from, part) in generation.chunks.iter().enumerate() {
                if from % step == 1 && generation.chunks.len() - from > 3 {
                    let joined = events(&generation.stream(from));
                    let late = packets(&joined);
                    let same = late
                        .iter()
                        .map(|p| &p.payload)
                        .eq(wanted.iter().skip(skipped).map(|p| &p.payload));
                    assert!(same, "{name} joined at {from}");
                    assert!(
                        !joined.iter().any(|e| matches!(e, Event::Fault(_))),
                        "{name} joined at {from}: {joined:?}"
                    );
                }
                let alone = [
                    generation.stream(from)[..generation.headers.len()].to_vec(),
                    part.payload.clone(),
                ]
                .concat();
                skipped += match generation.config.container {
                    Container::Ogg => packets(&events(&alone)).len(),
                    Container::Mpeg => {
                        let prefix = match from {
                            0 => generation.config.headers.concat().len(),
                            _ => 0,
                        };
                        count_frames(&part.payload, prefix, &wanted[skipped..])
                    }
                };
            }
        }
    }
}

/// Damage of every kind, seeded: nothing panics, trims fit, and what is found does
/// not depend on how the input was cut.
#[test]
fn damaged_files_are_survived() {
    let Some(rows) = corpus() else { return };
    let mut seed = 1_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let mut tried = 0;
    for row in rows {
        let mut bytes = std::fs::read(&row.path).expect("corpus file");
        bytes.truncate(30_000);
        for _ in 0..20 {
            let mut bad = bytes.clone();
            for _ in 0..=random(4) {
                let at = random(bad.len());
                match random(4) {
                    0 => bad.truncate(at),
                    1 => drop(bad.drain(at..(at + random(3000)).min(bad.len()))),
                    2 => drop(bad.splice(at..at, vec![random(256) as u8; random(2000)])),
                    _ => {
                        if let Some(byte) = bad.get_mut(at) {
                            *byte ^= 1 << random(8);
                        }
                    }
                }
            }
            let whole = events(&bad);
            assert!(
                events_cut(&bad, 1 + random(500)) == whole,
                "{}",
                row.path.display()
            );
            for p in packets(&whole) {
                assert!(p.trim_start + p.trim_end <= p.duration);
            }
            chunk(&whole, Config::default());
            tried += 1;
        }
    }
    println!("{tried} damaged files");
}

/// How many of these packets make up a chunk of MPEG audio with `prefix` in front.
fn count_frames(payload: &[u8], prefix: usize, packets: &[Packet]) -> usize {
    let mut left = payload.len().saturating_sub(prefix);
    packets
        .iter()
        .take_while(|packet| {
            let fits = left >= packet.payload.len();
            left = left.saturating_sub(packet.payload.len());
            fits
        })
        .count()
}
