//! Where a listener is in the log, to the byte.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use super::wire::Framing;
use crate::mount::log::Entry;

/// Slices for one `writev`.
pub struct Batch<'a> {
    slices: [IoSlice<'a>; Batch::SLICES],
    len: usize,
    /// Bytes that may still be added.
    room: usize,
}

impl<'a> Batch<'a> {
    /// Most slices in one write.
    pub const SLICES: usize = 24;
    /// Bytes after which no further entry is added: more than any socket takes at once.
    pub const BYTES: usize = 64 << 10;

    /// An empty batch that takes up to `room` bytes.
    pub fn new(room: usize) -> Self {
        Self {
            slices: [IoSlice::new(&[]); Self::SLICES],
            len: 0,
            room,
        }
    }

    /// A batch of these bytes.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let mut batch = Self::new(usize::MAX);
        batch.push(bytes);
        batch
    }

    /// What to write.
    pub fn slices(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.len]
    }

    /// Adds bytes; false when not all of them went in.
    pub(super) fn push(&mut self, bytes: &'a [u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        if self.len == Self::SLICES || self.room == 0 {
            return false;
        }
        let taken = &bytes[..bytes.len().min(self.room)];
        self.slices[self.len] = IoSlice::new(taken);
        self.len += 1;
        self.room -= taken.len();
        taken.len() == bytes.len()
    }

    /// Bytes in it.
    pub fn total(&self) -> usize {
        self.slices().iter().map(|slice| slice.len()).sum()
    }
}

/// A position in the log. An entry that is half written is held, so that it
/// can be finished whatever happens to the log and to the position.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The entry to begin next.
    pub(super) index: u64,
    /// The entry begun and the bytes of it that are written.
    held: Option<(Arc<Entry>, u32)>,
    /// What takes the place of that entry's first bytes.
    opening: Option<Box<Bytes>>,
}

impl Cursor {
    /// Whether an entry is half written.
    pub(super) const fn is_partial(&self) -> bool {
        self.held.is_some()
    }

    /// Adds what is left of the half written entry; false when it did not fit.
    pub(super) fn fill_held<'a>(&'a self, framing: Framing, batch: &mut Batch<'a>) -> bool {
        let Some((entry, written)) = &self.held else {
            return true;
        };
        let mut skip = *written as usize;
        if let Some(opening) = &self.opening
            && let Some(rest) = opening.get(skip..)
            && !rest.is_empty()
        {
            if !batch.push(rest) {
                return false;
            }
            skip = opening.len();
        }
        for slice in entry.slices(framing) {
            let at = skip.min(slice.len());
            skip -= at;
            if !batch.push(&slice[at..]) {
                return false;
            }
        }
        true
    }

    /// Counts up to `n` written bytes towards the half written entry; returns
    /// how many were its.
    pub(super) fn advance_held(&mut self, framing: Framing, n: usize) -> usize {
        let Some((entry, written)) = &mut self.held else {
            return 0;
        };
        let left = length(entry, framing) - *written as usize;
        if n >= left {
            self.held = None;
            self.opening = None;
            return left;
        }
        *written += n as u32;
        n
    }

    /// Begins `entry` with `opening` instead of as many of its own bytes.
    pub(super) fn open(&mut self, entry: &Arc<Entry>, opening: &Bytes) {
        self.index = entry.index + 1;
        self.held = Some((entry.clone(), 0));
        self.opening = Some(Box::new(opening.clone()));
    }

    /// Begins `entry`, of which `n` bytes are written; returns how many of
    /// them were its.
    pub(super) fn begin(&mut self, entry: &Arc<Entry>, framing: Framing, n: usize) -> usize {
        let len = length(entry, framing);
        self.index = entry.index + 1;
        if n >= len {
            return len;
        }
        self.held = Some((entry.clone(), n as u32));
        n
    }
}

/// Bytes of an entry on the wire.
pub(super) fn length(entry: &Entry, framing: Framing) -> usize {
    entry.slices(framing).iter().map(|slice| slice.len()).sum()
}

/// Bytes of a listener's own, sent between entries in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pieces: std::collections::VecDeque<Bytes>,
    written: usize,
}

impl Queue {
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn fill<'a>(&'a self, batch: &mut Batch<'a>) -> bool {
        let mut skip = self.written;
        for piece in &self.pieces {
            if !batch.push(&piece[skip..]) {
                return false;
            }
            skip = 0;
        }
        true
    }

    /// Counts written bytes; returns how many were the queue's. An empty
    /// queue keeps no memory.
    pub(super) fn advance(&mut self, n: usize) -> usize {
        if self.pieces.is_empty() {
            return 0;
        }
        let mut left = n;
        while let Some(piece) = self.pieces.front() {
            let rest = piece.len() - self.written;
            if left < rest {
                self.written += left;
                return n;
            }
            left -= rest;
            self.written = 0;
            self.pieces.pop_front();
        }
        self.pieces = std::collections::VecDeque::new();
        n - left
    }
}
