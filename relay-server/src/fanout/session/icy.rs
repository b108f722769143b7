//! ICY metadata between the bytes of a stream: a block after every interval.

use std::sync::Arc;

use bytes::Bytes;

use crate::mount::log::Metadata;

/// Where an ICY listener is between two blocks.
#[derive(Debug)]
pub(super) struct Icy {
    interval: u32,
    /// Stream bytes before the next block.
    left: u32,
    /// What is being written outside the stream: the response head, a block.
    block: Bytes,
    written: usize,
    tags: Option<Arc<Metadata>>,
    /// Whether `tags` has been sent.
    told: bool,
}

impl Icy {
    pub(super) fn new(interval: u32, head: Bytes) -> Self {
        let interval = interval.max(1);
        Self {
            interval,
            left: interval,
            block: head,
            written: 0,
            tags: None,
            told: false,
        }
    }

    /// Takes the tags in force from the next block on.
    pub(super) fn tags(&mut self, tags: &Arc<Metadata>) {
        let known = self.tags.as_ref().map(|tags| tags.version);
        if known != Some(tags.version) {
            self.tags = Some(tags.clone());
            self.told = false;
        }
    }

    /// Whether bytes outside the stream come next.
    pub(super) fn is_inside(&self) -> bool {
        self.written < self.block.len()
    }

    pub(super) fn block(&self) -> &[u8] {
        self.block.get(self.written..).unwrap_or_default()
    }

    /// Stream bytes that may be written before the next block.
    pub(super) fn left(&self) -> usize {
        self.left as usize
    }

    /// Counts written bytes; true when they were not the stream's.
    pub(super) fn advance(&mut self, n: usize) -> bool {
        if self.is_inside() {
            self.written += n;
            if !self.is_inside() {
                self.block = Bytes::new();
                self.written = 0;
            }
            return true;
        }
        self.left -= n as u32;
        if self.left == 0 {
            self.left = self.interval;
            self.block = match &self.tags {
                Some(tags) if !self.told => tags.icy.clone(),
                _ => Bytes::from_static(&[0]),
            };
            self.told = true;
        }
        false
    }
}
