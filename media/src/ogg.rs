//! Ogg pages (RFC 3533): reading with resync, packets across pages, writing.
//!
//! Header parsing and checksum verification are the `ogg` crate's; what it
//! leaves to its users is here: finding pages in damaged input, holes in the
//! page sequence, and bounds on what is kept.

mod packets;
mod reader;
mod write;

pub use packets::{Assembled, Assembler, Whole};
pub use reader::{Found, Reader};
#[cfg(test)]
pub(crate) use write::reseal;
pub(crate) use write::segments;
pub use write::{PageSpec, first_sequence, lead_in, page_count, write_packet_pages, write_page};

/// Bytes of a page's fixed header (RFC 3533 §6).
pub const HEADER_LEN: usize = 27;
/// Most segments in a page.
pub const MAX_SEGMENTS: usize = 255;
/// Longest page: header, 255 lacing values, 255 full segments.
pub const MAX_PAGE_LEN: usize = HEADER_LEN + MAX_SEGMENTS + MAX_SEGMENTS * 255;

/// The header-type bits (RFC 3533 §6, field 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageFlags {
    /// The first segment continues a packet of the page before.
    pub continued: bool,
    /// First page of its logical stream.
    pub bos: bool,
    /// Last page of its logical stream.
    pub eos: bool,
}

impl PageFlags {
    const fn from_bits(bits: u8) -> Self {
        Self {
            continued: bits & 1 != 0,
            bos: bits & 2 != 0,
            eos: bits & 4 != 0,
        }
    }

    const fn bits(self) -> u8 {
        self.continued as u8 | (self.bos as u8) << 1 | (self.eos as u8) << 2
    }
}

/// A page whose checksum was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it began, in bytes from the first byte pushed.
    pub offset: u64,
    /// Continued, BOS, EOS.
    pub flags: PageFlags,
    /// Granule position; `None` for −1 (no packet ends here) and for other
    /// negative values, which mean nothing.
    pub granule: Option<u64>,
    /// Serial number of the logical stream.
    pub serial: u32,
    /// Page sequence number within it.
    pub sequence: u32,
    /// Segment table.
    pub lacing: Vec<u8>,
    /// The segments' bytes.
    pub body: Vec<u8>,
}
