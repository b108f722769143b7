//! A 128 kb/s MP3 stream whose every frame says when it was sent.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a frame: MPEG-1 layer III, 128 kb/s, 48 kHz.
pub const FRAME_LEN: usize = 384;
/// Its length.
pub const FRAME: Duration = Duration::from_millis(24);
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

/// A frame that is valid and silent: no granule has any main data of its own,
/// so decoders skip what the stamp is in.
#[must_use]
pub fn frame(counter: u64, sent_us: u64) -> [u8; FRAME_LEN] {
    let mut frame = [0x55; FRAME_LEN];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x94, 0x04]);
    frame[4..36].fill(0);
    let stamp = &mut frame[STAMP_AT..STAMP_AT + STAMP_LEN];
    stamp[..4].copy_from_slice(&MAGIC);
    stamp[4..12].copy_from_slice(&counter.to_be_bytes());
    stamp[12..].copy_from_slice(&sent_us.to_be_bytes());
    frame
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
    pub fn next_frame(&mut self) -> [u8; FRAME_LEN] {
        let due = FRAME * self.counter as u32;
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
                on(number(4), number(12));
                // The next one is exactly a frame further, if no frame is lost.
                self.skip = FRAME_LEN;
            } else {
                let next = bytes[1..].iter().position(|byte| *byte == MAGIC[0]);
                self.skip = next.map_or(bytes.len(), |at| at + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_however_the_stream_is_cut() {
        let stream: Vec<u8> = (0..50).flat_map(|n| frame(n, n * 1000)).collect();
        for (from, piece) in [(0, 1), (100, 7), (77, 383), (5, 5000)] {
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
