//! Builds pages.

use super::{HEADER_LEN, MAX_SEGMENTS, PageFlags};

/// Everything in a page's header but its segment table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageSpec {
    /// Continued, BOS, EOS.
    pub flags: PageFlags,
    /// Granule position; `None` writes −1: no packet ends on the page.
    pub granule: Option<u64>,
    /// Serial number.
    pub serial: u32,
    /// Page sequence number.
    pub sequence: u32,
}

/// Segments that a packet of `len` bytes takes when it ends on its page.
pub(crate) const fn segments(len: usize) -> usize {
    len / 255 + 1
}

/// One page with these whole packets. Packets beyond the page's 255 segments
/// are left out, so the caller counts segments first.
pub fn write_page(spec: &PageSpec, packets: &[&[u8]]) -> Vec<u8> {
    let mut lacing = Vec::new();
    let mut fitting = Vec::new();
    for packet in packets {
        if lacing.len() + segments(packet.len()) > MAX_SEGMENTS {
            break;
        }
        lacing.resize(lacing.len() + packet.len() / 255, 255);
        lacing.push((packet.len() % 255) as u8);
        fitting.push(*packet);
    }
    assemble(spec, &lacing, &fitting)
}

/// One packet alone on as many pages as it needs, the first as in `spec`.
/// The granule position is on the page that ends it, −1 on those before.
pub fn write_packet_pages(spec: &PageSpec, packet: &[u8]) -> Vec<u8> {
    let mut lacing = vec![255; packet.len() / 255];
    lacing.push((packet.len() % 255) as u8);
    let pages = lacing.len().div_ceil(MAX_SEGMENTS);
    let bodies = packet
        .chunks(MAX_SEGMENTS * 255)
        // The last page may hold nothing but the empty segment that ends the packet.
        .chain(std::iter::once(&[][..]));
    let mut out = Vec::with_capacity(packet.len() + lacing.len() + pages * HEADER_LEN);
    for (index, (lacing, body)) in lacing.chunks(MAX_SEGMENTS).zip(bodies).enumerate() {
        let last = index + 1 == pages;
        let page = PageSpec {
            flags: PageFlags {
                continued: spec.flags.continued || index > 0,
                bos: spec.flags.bos && index == 0,
                eos: spec.flags.eos && last,
            },
            granule: if last { spec.granule } else { None },
            serial: spec.serial,
            sequence: spec.sequence.wrapping_add(index as u32),
        };
        out.append(&mut assemble(&page, lacing, &[body]));
    }
    out
}

fn assemble(spec: &PageSpec, lacing: &[u8], bodies: &[&[u8]]) -> Vec<u8> {
    let len: usize = bodies.iter().map(|body| body.len()).sum();
    let mut page = Vec::with_capacity(HEADER_LEN + lacing.len() + len);
    page.extend_from_slice(b"OggS\0");
    page.push(spec.flags.bits());
    page.extend_from_slice(&spec.granule.unwrap_or(u64::MAX).to_le_bytes());
    page.extend_from_slice(&spec.serial.to_le_bytes());
    page.extend_from_slice(&spec.sequence.to_le_bytes());
    page.extend_from_slice(&[0; 4]);
    page.push(lacing.len() as u8);
    page.extend_from_slice(lacing);
    for body in bodies {
        page.extend_from_slice(body);
    }
    seal(&mut page);
    page
}

/// Puts the checksum of a whole page into its header.
fn seal(page: &mut [u8]) {
    let sum = checksum(page);
    if let Some(field) = page.get_mut(22..26) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

/// Checksum of a whole page, its checksum field counted as zero: CRC-32 with
/// polynomial 0x04c11db7, neither reflected nor inverted (RFC 3533 §6, field 7).
pub(crate) fn checksum(page: &[u8]) -> u32 {
    let (head, rest) = page.split_at_checked(22).unwrap_or((page, &[]));
    let field = rest.len().min(4);
    let crc = update(update(0, head), &[0; 4][..field]);
    update(crc, rest.get(field..).unwrap_or_default())
}

fn update(crc: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(crc, |crc, &byte| {
        (crc << 8) ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)]
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc >> 31;
            crc = (crc << 1) ^ (carry * 0x04c1_1db7);
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

/// Makes the checksum of a page right that a test has changed.
#[cfg(test)]
pub(crate) fn reseal(page: &mut [u8]) {
    seal(page);
}

/// Sequence number of the first page in `pages`, if they begin with one.
pub fn first_sequence(pages: &[u8]) -> Option<u32> {
    let header = pages.first_chunk::<HEADER_LEN>()?;
    if !header.starts_with(b"OggS") {
        return None;
    }
    Some(u32::from_le_bytes([
        header[18], header[19], header[20], header[21],
    ]))
}

/// At most so many missing numbers are all given to pages without packets: a
/// jump as short as that looks like a loss, and not like a stream joined late.
const MAX_FILLED: u32 = 8;

/// What a listener that joins at page `first_page_seq` gets before it: the header
/// pages under their own numbers, 0, 1, …, and a page without packets under the
/// number before that page's (under each, when few are missing). Some demuxers
/// take header pages by their numbers, and some drop the first page after a
/// jump: so it is one that holds nothing.
pub fn lead_in(headers: &[u8], first_page_seq: u32) -> Vec<u8> {
    let mut out = headers.to_vec();
    let missing = first_page_seq.saturating_sub(page_count(headers));
    let serial = headers.get(14..18).and_then(<[u8]>::first_chunk);
    // Without a whole header nothing can follow it.
    let Some(serial) = serial.filter(|_| missing > 0 && first_sequence(headers).is_some()) else {
        return out;
    };
    let filled = if missing <= MAX_FILLED { missing } else { 1 };
    for sequence in first_page_seq - filled..first_page_seq {
        let empty = PageSpec {
            serial: u32::from_le_bytes(*serial),
            sequence,
            ..PageSpec::default()
        };
        out.extend(write_page(&empty, &[]));
    }
    out
}

/// How many pages a run of whole pages has.
pub fn page_count(pages: &[u8]) -> u32 {
    page_spans(pages).len() as u32
}

/// Where each page of a run of whole pages lies.
fn page_spans(pages: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(header) = pages
        .get(at..)
        .and_then(|rest| rest.first_chunk::<HEADER_LEN>())
    {
        let lacing_at = at + HEADER_LEN;
        let body_at = lacing_at + usize::from(header[26]);
        let Some(lacing) = pages.get(lacing_at..body_at) else {
            break;
        };
        let end = body_at + lacing.iter().map(|&v| usize::from(v)).sum::<usize>();
        if end > pages.len() {
            break;
        }
        spans.push(at..end);
        at = end;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::super::{Found, Page, Reader};
    use super::*;

    #[test]
    fn checksum_of_a_real_page() {
        // The page that the ogg crate's own test uses, from a Vorbis file.
        let page = [
            0x4f, 0x67, 0x67, 0x53, 0x00, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0x74, 0xa3, 0x90, 0x5b, 0,
            0, 0, 0, 0x6d, 0x94, 0x4e, 0x3d, 0x01, 0x1e, 0x01, 0x76, 0x6f, 0x72, 0x62, 0x69, 0x73,
            0, 0, 0, 0, 0x02, 0x44, 0xac, 0, 0, 0, 0, 0, 0, 0x80, 0xb5, 0x01, 0, 0, 0, 0, 0, 0xb8,
            0x01,
        ];
        assert_eq!(checksum(&page), 0x3d4e_946d);
    }

    #[test]
    fn headers_keep_their_numbers_and_an_empty_page_takes_the_jump() {
        let mut headers = write_packet_pages(
            &PageSpec {
                flags: PageFlags {
                    bos: true,
                    ..PageFlags::default()
                },
                granule: Some(0),
                serial: 5,
                sequence: 0,
            },
            b"OpusHead",
        );
        headers.extend(write_packet_pages(
            &PageSpec {
                granule: Some(0),
                serial: 5,
                sequence: 1,
                ..PageSpec::default()
            },
            &[b'T'; 70_000],
        ));
        let numbers = |first| {
            let mut reader = Reader::new();
            reader.push(&lead_in(&headers, first));
            let pages = std::iter::from_fn(|| reader.poll()).map(|found| match found {
                Found::Page(page) => page,
                Found::Junk { .. } => panic!("{found:?}"),
            });
            let (headers, empty): (Vec<_>, Vec<_>) =
                pages.partition(|page| page.granule.is_some() || !page.lacing.is_empty());
            let numbers =
                |pages: Vec<Page>| pages.iter().map(|page| page.sequence).collect::<Vec<_>>();
            assert!(empty.iter().all(|page| page.serial == 5));
            (numbers(headers), numbers(empty))
        };
        assert_eq!(numbers(1000), (vec![0, 1, 2], vec![999]));
        assert_eq!(numbers(5), (vec![0, 1, 2], vec![3, 4]));
        assert_eq!(numbers(12), (vec![0, 1, 2], vec![11]));
        assert_eq!(lead_in(&headers, 3), headers);
        assert_eq!(lead_in(&headers, 1), headers);
        assert!(lead_in(b"", 9).is_empty());
        assert_eq!(lead_in(b"OggS", 9), b"OggS");
    }

    #[test]
    fn what_is_no_page_leads_in_to_nothing() {
        let part = b"OggS\0\x02\0\0\0OggS\0\x02\0\0\xff\xff\xff\0";
        assert_eq!(lead_in(part, 7), part);
        assert_eq!(lead_in(b"", 7), b"");
    }
}
