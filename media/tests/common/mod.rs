//! What several tests share. Each uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use seamcast_media::chunk::{Chunk, Chunker, Config, Output};
use seamcast_media::demux::{Demuxer, Event, LinkConfig, Packet};

/// One line of the corpus manifest.
pub struct Row {
    pub path: PathBuf,
    pub codec: String,
    pub class: String,
    pub frames: u64,
}

/// The corpus, or `None` with a line that says why not.
pub fn corpus() -> Option<Vec<Row>> {
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

/// Everything a demuxer says of `bytes`, pushed in pieces of `cut` bytes.
pub fn events_cut(bytes: &[u8], cut: usize) -> Vec<Event> {
    let mut demuxer = Demuxer::new();
    let mut events = Vec::new();
    for piece in bytes.chunks(cut.max(1)) {
        demuxer.push(piece);
        events.extend(std::iter::from_fn(|| demuxer.poll()));
    }
    demuxer.finish();
    events.extend(std::iter::from_fn(|| demuxer.poll()));
    events
}

/// Everything a demuxer says of `bytes`, pushed at once.
pub fn events(bytes: &[u8]) -> Vec<Event> {
    events_cut(bytes, usize::MAX)
}

/// Audible frames of some events.
pub fn frames(events: &[Event]) -> u64 {
    packets(events)
        .iter()
        .map(|p| u64::from(p.duration - p.trim_start - p.trim_end))
        .sum()
}

/// The packets of some events.
pub fn packets(events: &[Event]) -> Vec<Packet> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Packet(packet) => Some(packet.clone()),
            _ => None,
        })
        .collect()
}

/// One generation and its chunks.
pub struct Generation {
    pub config: LinkConfig,
    pub headers: Vec<u8>,
    pub chunks: Vec<Chunk>,
}

impl Generation {
    /// Headers and payloads from chunk `from` on, as a listener gets them.
    pub fn stream(&self, from: usize) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(chunk) = self.chunks.get(from) {
            out = match seamcast_media::ogg::first_sequence(&chunk.payload) {
                Some(sequence) => seamcast_media::ogg::lead_in(&self.headers, sequence),
                None => self.headers.clone(),
            };
        }
        for chunk in self.chunks.iter().skip(from) {
            out.extend_from_slice(&chunk.payload);
        }
        out
    }
}

/// Cuts events into chunks, polling after every event as a relay does.
pub fn chunk(events: &[Event], config: Config) -> Vec<Generation> {
    let mut chunker = Chunker::new(config);
    let mut generations: Vec<Generation> = Vec::new();
    let mut take = |chunker: &mut Chunker| {
        while let Some(output) = chunker.poll() {
            match output {
                Output::Generation { config, headers } => generations.push(Generation {
                    config,
                    headers,
                    chunks: Vec::new(),
                }),
                Output::Chunk(chunk) => generations
                    .last_mut()
                    .expect("a generation comes first")
                    .chunks
                    .push(chunk),
                Output::Tags { .. } | Output::Fault(_) => {}
            }
        }
    };
    for event in events {
        chunker.push_event(event.clone());
        take(&mut chunker);
    }
    chunker.finish();
    take(&mut chunker);
    generations
}

/// Whether `program` is installed; says so when not.
pub fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}
