//! Packets of one logical stream, put together from its pages.

use super::Page;

/// A packet that ended on a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Its bytes, up to the assembler's limit.
    pub payload: Vec<u8>,
    /// Whether it was longer than the limit and has lost its rest.
    pub cut: bool,
}

/// What one page added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// Pages missing before this one. The packet that was continued into them
    /// is lost too.
    pub missing: Option<u32>,
    /// Bytes of an unfinished packet that were dropped.
    pub dropped: usize,
    /// The packets that ended on the page.
    pub packets: Vec<Whole>,
}

/// Puts together the packets of one logical stream.
#[derive(Clone, Debug)]
pub struct Assembler {
    limit: usize,
    expected: Option<u32>,
    partial: Option<Whole>,
}

impl Assembler {
    /// Keeps at most `limit` bytes of a packet.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            expected: None,
            partial: None,
        }
    }

    /// Sequence number that the next page should have.
    pub fn expected(&self) -> Option<u32> {
        self.expected
    }

    /// Bytes were lost, so the next page's sequence number is as good as any.
    pub fn note_gap(&mut self) {
        self.partial = None;
        self.expected = None;
    }

    /// Drops the packet that no page has ended, telling its length.
    pub fn abandon(&mut self) -> usize {
        self.partial.take().map_or(0, |whole| whole.payload.len())
    }

    /// Takes the stream's next page.
    pub fn add(&mut self, page: &Page) -> Assembled {
        let mut result = Assembled::default();
        if let Some(expected) = self.expected
            && expected != page.sequence
        {
            result.missing = Some(page.sequence.wrapping_sub(expected));
            result.dropped += self.abandon();
        }
        self.expected = Some(page.sequence.wrapping_add(1));
        if !page.flags.continued {
            result.dropped += self.abandon();
        }
        // The rest of a packet whose beginning is not here is of no use.
        let mut orphan = page.flags.continued && self.partial.is_none();
        let mut body = page.body.as_slice();
        for run in page.lacing.split_inclusive(|&value| value < 255) {
            let len = run.iter().map(|&v| usize::from(v)).sum();
            let (bytes, rest) = body.split_at_checked(len).unwrap_or((body, &[]));
            body = rest;
            let ends = run.last().is_some_and(|&v| v < 255);
            if orphan {
                orphan = !ends;
                result.dropped += bytes.len();
                continue;
            }
            let mut whole = self.partial.take().unwrap_or_default();
            let room = self.limit.saturating_sub(whole.payload.len());
            whole.cut |= bytes.len() > room;
            whole
                .payload
                .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            if ends {
                result.packets.push(whole);
            } else {
                self.partial = Some(whole);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Found, PageSpec, Reader, write_packet_pages};
    use super::*;

    fn pages(packet: &[u8]) -> Vec<Page> {
        let bytes = write_packet_pages(&PageSpec::default(), packet);
        let mut reader = Reader::new();
        reader.push(&bytes);
        std::iter::from_fn(|| reader.poll())
            .map(|found| match found {
                Found::Page(page) => page,
                Found::Junk { .. } => panic!("{found:?}"),
            })
            .collect()
    }

    fn payloads(assembled: &Assembled) -> Vec<usize> {
        assembled.packets.iter().map(|p| p.payload.len()).collect()
    }

    #[test]
    fn packets_span_pages() {
        let packet: Vec<u8> = (0..150_000_u32).map(|n| n as u8).collect();
        let pages = pages(&packet);
        assert_eq!(pages.len(), 3);
        let mut assembler = Assembler::new(1 << 20);
        assert!(assembler.add(&pages[0]).packets.is_empty());
        assert!(assembler.add(&pages[1]).packets.is_empty());
        let last = assembler.add(&pages[2]);
        assert_eq!(last.packets[0].payload, packet);
        assert_eq!(last.dropped, 0);
    }

    #[test]
    fn a_multiple_of_255_ends_with_an_empty_segment() {
        for len in [0, 255, 510, 255 * 255, 255 * 256] {
            let pages = pages(&vec![1; len]);
            let mut assembler = Assembler::new(1 << 20);
            let ended: Vec<_> = pages
                .iter()
                .flat_map(|page| payloads(&assembler.add(page)))
                .collect();
            assert_eq!(ended, [len], "{len}");
        }
    }

    #[test]
    fn a_missing_page_drops_the_packet_only() {
        let pages = pages(&[1; 150_000]);
        let mut assembler = Assembler::new(1 << 20);
        assembler.add(&pages[0]);
        let after = assembler.add(&pages[2]);
        assert_eq!(after.missing, Some(1));
        assert!(after.packets.is_empty());
        assert_eq!(after.dropped, 255 * 255 + pages[2].body.len());
    }

    #[test]
    fn long_packets_are_cut_and_said_to_be() {
        let pages = pages(&[1; 150_000]);
        let mut assembler = Assembler::new(70_000);
        let whole: Vec<_> = pages
            .iter()
            .flat_map(|page| assembler.add(page).packets)
            .collect();
        assert_eq!((whole.len(), whole[0].payload.len()), (1, 70_000));
        assert!(whole[0].cut);
    }

    #[test]
    fn a_packet_not_continued_is_dropped() {
        let mut pages = pages(&[1; 70_000]);
        pages[1].flags.continued = false;
        let mut assembler = Assembler::new(1 << 20);
        assembler.add(&pages[0]);
        let after = assembler.add(&pages[1]);
        assert_eq!(after.dropped, 255 * 255);
        assert_eq!(after.packets.len(), 1);
    }
}
