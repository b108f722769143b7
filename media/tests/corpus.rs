//! Every `strict` file of the decode corpus has exactly the frames that
//! `opusdec` and `mpg123` deliver. The corpus is found through `SEAMCAST_CORPUS`.

use std::path::{Path, PathBuf};

use seamcast_media::demux::{Demuxer, Event};

struct Row {
    path: PathBuf,
    codec: String,
    class: String,
    frames: u64,
}

fn rows() -> Option<Vec<Row>> {
    let Some(root) = std::env::var_os("SEAMCAST_CORPUS") else {
        println!("skipped: SEAMCAST_CORPUS is not set");
        return None;
    };
    let root = Path::new(&root);
    let manifest = std::fs::read_to_string(root.join("MANIFEST.tsv")).expect("MANIFEST.tsv");
    let rows = manifest
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            Row {
                path: root.join(columns[0]),
                codec: columns[1].into(),
                class: columns[4].into(),
                frames: columns[7].parse().unwrap_or(0),
            }
        })
        .collect();
    Some(rows)
}

fn events(bytes: &[u8]) -> Vec<Event> {
    let mut demuxer = Demuxer::new();
    demuxer.push(bytes);
    demuxer.finish();
    std::iter::from_fn(|| demuxer.poll()).collect()
}

fn frames(events: &[Event]) -> u64 {
    events
        .iter()
        .map(|event| match event {
            Event::Packet(p) => u64::from(p.duration - p.trim_start - p.trim_end),
            _ => 0,
        })
        .sum()
}

#[test]
fn strict_files_have_the_reference_length() {
    let Some(rows) = rows() else { return };
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
