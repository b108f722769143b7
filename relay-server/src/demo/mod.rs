//! The demo mounts: one endless piece, synthesized as float PCM in real time
//! and encoded live as Opus and as MP3.

mod effects;
mod score;
mod synth;
mod voices;

use std::sync::Arc;
use std::time::Duration;

use seamcast_media::pcm::SampleFormat;
use seamcast_media::wav::Format;
use tokio::time::Instant;

use crate::ingest::feed::Feed;
use crate::ingest::media_type::Declared;
use crate::mount::SourceInfo;
use crate::server::Relay;

pub use synth::{SAMPLE_RATE, Synth};

/// The mounts and what they are encoded to.
pub const MOUNTS: [&str; 2] = ["/demo.opus", "/demo.mp3"];
/// Frames rendered at a time: 20 ms.
const BLOCK: usize = SAMPLE_RATE as usize / 50;
/// A machine that was this far behind does not catch up.
const LATE: Duration = Duration::from_secs(2);

/// Plays until the relay drains.
pub(crate) async fn play(relay: Arc<Relay>) {
    let mut synth = Synth::new(0x5ea3_ca57);
    let mut feeds: [Option<Feed>; MOUNTS.len()] = Default::default();
    let mut block = vec![0.0_f32; BLOCK * 2];
    let mut bytes = Vec::with_capacity(block.len() * 4);
    // Deadlines derive from the start and a count of blocks, so that rounding
    // and late wake-ups never add up.
    let mut start = Instant::now();
    let mut blocks = 0_u64;
    loop {
        let due = start
            + Duration::from_micros(blocks * BLOCK as u64 * 1_000_000 / u64::from(SAMPLE_RATE));
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = relay.drained() => break,
        }
        if due.elapsed() > LATE {
            tracing::warn!(
                late_ms = due.elapsed().as_millis() as u64,
                "the demo was held up"
            );
            start = Instant::now();
            blocks = 0;
        }
        synth.render(&mut block);
        bytes.clear();
        bytes.extend(block.iter().flat_map(|sample| sample.to_le_bytes()));
        let title = synth.new_title();
        for (slot, name) in feeds.iter_mut().zip(MOUNTS) {
            let fresh = slot.is_none();
            if fresh {
                if blocks.is_multiple_of(50) {
                    *slot = enter(&relay, name);
                }
                if slot.is_none() {
                    continue;
                }
            }
            let Some(feed) = slot else { continue };
            if let Err(refusal) = feed.push(&bytes) {
                tracing::info!(mount = name, "the demo steps aside: {refusal}");
                *slot = None;
                continue;
            }
            if title.is_some() || fresh {
                let title = title.unwrap_or(synth.title());
                feed.set_tags([
                    ("ARTIST".to_owned(), "Seamcast".to_owned()),
                    ("TITLE".to_owned(), title.to_owned()),
                ]);
            }
        }
        blocks += 1;
    }
    // Dropped, not finished: listeners are told that the relay restarts.
}

/// Feeds the mount unless somebody else does.
fn enter(relay: &Arc<Relay>, name: &'static str) -> Option<Feed> {
    if relay
        .mounts
        .find(name)
        .is_some_and(|mount| mount.has_source())
    {
        return None;
    }
    let declared = Declared::Pcm(Format {
        sample: SampleFormat::F32le,
        sample_rate: SAMPLE_RATE,
        channels: 2,
    });
    let info = SourceInfo {
        peer: "demo".to_owned(),
        protocol: "internal",
        name: "Seamcast demo".to_owned(),
        description: "An endless piece, synthesized and encoded live by this relay".to_owned(),
        genre: "Ambient".to_owned(),
        ..SourceInfo::default()
    };
    match Feed::internal(relay, name, declared, info) {
        Ok(feed) => Some(feed),
        Err(refusal) => {
            tracing::warn!(mount = name, "no demo: {refusal}");
            None
        }
    }
}
