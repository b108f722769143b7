//! A 128 kb/s MP3 stream whose every frame says when it was sent.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seamcast_media::chunk::{Chunker, Config, Output};
use seamcast_media::demux::Demuxer;

/// MPEG-1 layer III, 128 kb/s, 44.1 kHz.
const RATE: u64 = 44_100;
/// Samples of a frame, 26.1 ms.
const SAMPLES: u64 = 1152;
/// Bytes of `RATE` frames. Their mean is no whole number: some frames are padded by a byte.
const BYTES: u64 = SAMPLES / 8 * 128_000;
/// Where in a frame the stamp is: in the main data, behind where a Xing tag would be.
const STAMP_AT: usize = 64;
const MAGIC: [u8; 4] = *b"SCst";
const STAMP_LEN: usize = 20;

/// The wall clock in µs since the Unix epoch.
#[must_use]
pub fn wall_us() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    wall.map_or(0, |wall| wall.as_micros() as u64)
}

/// How long `frames` frames play.
#[must_use]
pub fn length(frames: u64) -> Duration {
    Duration::from_nanos(frames * SAMPLES * 1_000_000_000 / RATE)
}

/// Bytes of a frame.
fn frame_len(counter: u64) -> usize {
    // It all repeats, and whatever a stamp says cannot overflow.
    let counter = counter % RATE;
    ((counter + 1) * BYTES / RATE - counter * BYTES / RATE) as usize
}

/// A frame that is valid and silent: no granule has any main data of its own,
/// so decoders skip what the stamp is in.
#[must_use]
pub fn frame(counter: u64, sent_us: u64) -> Vec<u8> {
    let len = frame_len(counter);
    let padded = u8::from(len as u64 > BYTES / RATE);
    let mut frame = vec![0x55; len];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90 | padded << 1, 0x04]);
    frame[4..36].fill(0);
    let stamp = &mut frame[STAMP_AT..STAMP_AT + STAMP_LEN];
    stamp[..4].copy_from_slice(&MAGIC);
    stamp[4..12].copy_from_slice(&counter.to_be_bytes());
    stamp[12..].copy_from_slice(&sent_us.to_be_bytes());
    frame
}

/// Frames in a chunk of the relay's, by the code that cuts it and the default of 100 ms.
#[must_use]
pub fn frames_per_chunk() -> usize {
    let mut demuxer = Demuxer::new();
    let mut chunker = Chunker::new(Config::default());
    let mut last = 0;
    for counter in 0..100 {
        demuxer.push(&frame(counter, 0));
        while let Some(event) = demuxer.poll() {
            chunker.push_event(event);
        }
        while let Some(output) = chunker.poll() {
            if let Output::Chunk(chunk) = output {
                last = 0;
                Scanner::default().push(&chunk.payload, |_, _| last += 1);
            }
        }
    }
    last
}

/// Sleeps until each frame is due.
#[derive(Debug)]
pub struct Pacer {
    begin: Instant,
    /// Frames so far.
    pub counter: u64,
}

impl Pacer {
    /// Begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            counter: 0,
        }
    }

    /// The next frame, when it is due.
    pub fn next_frame(&mut self) -> Vec<u8> {
        let due = length(self.counter);
        std::thread::sleep(due.saturating_sub(self.begin.elapsed()));
        let frame = frame(self.counter, wall_us());
        self.counter += 1;
        frame
    }
}

impl Default for Pacer {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds stamps in a stream cut anywhere.
#[derive(Debug, Default)]
pub struct Scanner {
    skip: usize,
    carry: Vec<u8>,
}

impl Scanner {
    /// Takes stream bytes and calls `on` with each stamp's counter and time.
    pub fn push(&mut self, bytes: &[u8], mut on: impl FnMut(u64, u64)) {
        let joined;
        let mut bytes = if self.carry.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.carry).as_slice(), bytes].concat();
            &joined
        };
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.len() < STAMP_LEN {
                self.carry.extend_from_slice(bytes);
                return;
            }
            if bytes.starts_with(&MAGIC) {
                let number = |at: usize| {
                    let mut number = [0; 8];
                    number.copy_from_slice(&bytes[at..at + 8]);
                    u64::from_be_bytes(number)
                };
                let counter = number(4);
                on(counter, number(12));
                // The next one is exactly a frame further, if no frame is lost.
                self.skip = frame_len(counter);
            } else {
                let next = bytes[1..].iter().position(|byte| *byte == MAGIC[0]);
                self.skip = next.map_or(bytes.len(), |at| at + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use seamcast_media::demux::Event;

    use super::*;

    #[test]
    fn it_is_what_its_headers_say() {
        let stream: Vec<u8> = (0..1000).flat_map(|n| frame(n, 0)).collect();
        let second = stream.len() as f64 / length(1000).as_secs_f64();
        assert!((second - 16_000.0).abs() < 1.0, "{second} bytes a second");
        let mut demuxer = Demuxer::new();
        demuxer.push(&stream);
        demuxer.finish();
        let packets = std::iter::from_fn(|| demuxer.poll()).filter(|event| {
            assert!(!matches!(event, Event::Fault(_)), "{event:?}");
            matches!(event, Event::Packet(_))
        });
        assert_eq!(packets.count(), 1000);
        assert_eq!(frames_per_chunk(), 4);
    }

    #[test]
    fn stamps_are_found_however_the_stream_is_cut() {
        let stream: Vec<u8> = (0..50).flat_map(|n| frame(n, n * 1000)).collect();
        for (from, piece) in [(0, 1), (100, 7), (77, 416), (5, 5000)] {
            let mut scanner = Scanner::default();
            let mut seen = Vec::new();
            for piece in stream[from..].chunks(piece) {
                scanner.push(piece, |counter, sent| {
                    assert_eq!(sent, counter * 1000);
                    seen.push(counter);
                });
            }
            let first = u64::from(from > STAMP_AT);
            assert_eq!(seen, (first..50).collect::<Vec<_>>());
        }
    }
}
