//! Positions in Ogg/Opus files, by bisection on granule positions.

use std::fs::File;
use std::io;

use seamcast_media::ogg::{
    Found, MAX_PAGE_LEN, Page, PageFlags, PageSpec, Reader, lead_in, write_packet_pages,
};
use seamcast_media::opus;

use super::super::representation::read_full;
use super::{Cut, invalid};

/// Decoded before the wanted position so that it is right when it comes
/// (RFC 7845 §4.6): 80 ms at 48 kHz.
const PRE_ROLL: u64 = 3840;
/// Header pages may hold a picture; beyond this the file is refused.
const MAX_HEADERS: u64 = 16 << 20;
/// Bisection stops and scanning begins below this distance.
const NEAR: u64 = 4 * MAX_PAGE_LEN as u64;

/// One link of a chain: its header pages and where its audio begins.
struct Link {
    head: opus::Head,
    tags: Vec<u8>,
    serial: u32,
    audio: u64,
    /// Granule position at which the first audio page begins.
    base: u64,
}

pub(super) fn locate(file: &File, len: u64, pos: f64) -> io::Result<Cut> {
    let target = (pos * 48_000.0).round() as u64;
    let mut from = 0;
    let mut before = 0;
    loop {
        let link = read_link(file, from, len)?;
        // A position may be any number.
        let first = link.base + u64::from(link.head.pre_skip);
        let wanted = first.saturating_add(target - before);
        let last = last_page(file, len)?;
        // The common case: one link to the end of the file.
        if let Some(last) = last
            && last.serial == link.serial
            && is_one_link(file, &link, len, &last)?
        {
            return Ok(cut_at(&link, bisect(file, &link, len, wanted)?, wanted));
        }
        match scan(file, &link, len, wanted)? {
            Scanned::Page(place) => return Ok(cut_at(&link, place, wanted)),
            Scanned::NextLink { offset, end } => {
                let length = end.saturating_sub(first);
                before += length.min(target - before);
                from = offset;
            }
            Scanned::End => return Ok(cut_at(&link, None, wanted)),
        }
    }
}

/// A page, and the granule position at which it begins (the end of the one before).
struct Place {
    page: Page,
    begins: u64,
}

fn cut_at(link: &Link, place: Option<Place>, wanted: u64) -> Cut {
    let mut head = link.head.clone();
    let (start, sequence) = match &place {
        Some(place) => {
            // A longer pre-skip makes every player begin at the very sample.
            let skip = wanted
                .saturating_sub(place.begins)
                .max(u64::from(head.pre_skip));
            head.pre_skip = u16::try_from(skip).unwrap_or(u16::MAX);
            (place.page.offset, place.page.sequence)
        }
        None => (u64::MAX, 2),
    };
    let spec = |bos, sequence| PageSpec {
        flags: PageFlags {
            bos,
            ..PageFlags::default()
        },
        granule: Some(0),
        serial: link.serial,
        sequence,
    };
    let mut prefix = write_packet_pages(&spec(true, 0), &head.to_bytes());
    prefix.extend(write_packet_pages(&spec(false, 1), &link.tags));
    Cut {
        prefix: lead_in(&prefix, sequence),
        start,
        end: u64::MAX,
        content_type: None,
    }
}

/// Reads the headers of the link that begins at `from`.
fn read_link(file: &File, from: u64, len: u64) -> io::Result<Link> {
    let mut pages = Pages::new(file, from, len);
    let mut head: Option<(opus::Head, u32)> = None;
    let mut tags = Vec::new();
    let mut tags_complete = false;
    while let Some(page) = pages.next()? {
        if page.offset - from > MAX_HEADERS {
            return Err(invalid("Opus headers longer than 16 MiB"));
        }
        match &head {
            None if page.flags.bos && opus::Head::is_head(&page.body) => {
                let parsed =
                    opus::Head::parse(&page.body).map_err(|error| invalid(&error.to_string()))?;
                head = Some((parsed, page.serial));
            }
            Some((parsed, serial)) if page.serial == *serial => {
                if !tags_complete {
                    tags.extend_from_slice(&page.body);
                    tags_complete = page.lacing.iter().any(|&segment| segment < 255);
                    continue;
                }
                let audio = page.offset;
                let base = begins(&page).unwrap_or(0);
                return Ok(Link {
                    head: parsed.clone(),
                    tags,
                    serial: *serial,
                    audio,
                    base,
                });
            }
            _ => {}
        }
    }
    match head {
        Some((head, serial)) if tags_complete => Ok(Link {
            head,
            tags,
            serial,
            audio: len,
            base: 0,
        }),
        _ => Err(invalid("no Opus stream in this Ogg file")),
    }
}

/// Where a page's first whole packet begins: its granule position less the
/// packets that begin and end on it.
fn begins(page: &Page) -> Option<u64> {
    let mut frames = 0;
    let (mut start, mut end) = (0, 0);
    let mut continued = page.flags.continued;
    for &segment in &page.lacing {
        end += usize::from(segment);
        if segment == 255 {
            continue;
        }
        if !continued {
            let packet = page.body.get(start..end).unwrap_or_default();
            frames += u64::from(opus::packet_duration(packet).unwrap_or(0));
        }
        continued = false;
        start = end;
    }
    Some(page.granule?.saturating_sub(frames))
}

fn last_page(file: &File, len: u64) -> io::Result<Option<Page>> {
    let mut pages = Pages::new(file, len.saturating_sub(2 * MAX_PAGE_LEN as u64), len);
    let mut last = None;
    while let Some(page) = pages.next()? {
        last = Some(page);
    }
    Ok(last)
}

/// Whether pages are numbered and timed as those of one link from its first to
/// the file's `last`: a file may be a chain whose links have the same serial
/// number, such as one that was appended to itself. Looks at places that grow
/// farther apart by a quarter, so that pages that begin anew have low numbers
/// where the next look falls; only a look at every page could be sure.
fn is_one_link(file: &File, link: &Link, len: u64, last: &Page) -> io::Result<bool> {
    let mut known = (0, link.base);
    let mut follows = |page: &Page| {
        let before = known;
        known = (page.sequence, page.granule.unwrap_or(before.1));
        !page.flags.bos && known.0 >= before.0 && known.1 >= before.1
    };
    let mut at = len.min(link.audio + NEAR);
    let mut pages = Pages::new(file, link.audio, at);
    while let Some(page) = pages.next()? {
        if page.serial == link.serial && !follows(&page) {
            return Ok(false);
        }
    }
    while at < len {
        let mut pages = Pages::new(file, at, len.min(at + 2 * MAX_PAGE_LEN as u64));
        while let Some(page) = pages.next()? {
            if page.serial != link.serial || page.granule.is_none() {
                continue;
            }
            if !follows(&page) {
                return Ok(false);
            }
            break;
        }
        at += (at - link.audio) / 4;
    }
    Ok(follows(last))
}

/// The last page that begins at or before `wanted` less the pre-roll.
fn bisect(file: &File, link: &Link, len: u64, wanted: u64) -> io::Result<Option<Place>> {
    let aim = wanted.saturating_sub(PRE_ROLL);
    let (mut low, mut high) = (link.audio, len);
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        let mut pages = Pages::new(file, middle, high);
        let found = loop {
            match pages.next()? {
                Some(page) if page.serial == link.serial && page.granule.is_some() => {
                    break Some(page);
                }
                Some(_) => {}
                None => break None,
            }
        };
        match found {
            Some(page) if page.granule.is_some_and(|granule| granule <= aim) => low = page.offset,
            _ => high = middle,
        }
    }
    match scan_from(file, link, low, len, aim, wanted)? {
        Scanned::Page(place) => Ok(place),
        _ => Ok(None),
    }
}

enum Scanned {
    Page(Option<Place>),
    NextLink { offset: u64, end: u64 },
    End,
}

fn scan(file: &File, link: &Link, len: u64, wanted: u64) -> io::Result<Scanned> {
    scan_from(
        file,
        link,
        link.audio,
        len,
        wanted.saturating_sub(PRE_ROLL),
        wanted,
    )
}

/// Walks pages from `from` to the one to start with: the last that begins at
/// or before `aim`, provided that the link reaches beyond `wanted`.
fn scan_from(
    file: &File,
    link: &Link,
    from: u64,
    len: u64,
    aim: u64,
    wanted: u64,
) -> io::Result<Scanned> {
    let mut pages = Pages::new(file, from, len);
    let mut best: Option<Place> = None;
    let mut end = link.base;
    while let Some(page) = pages.next()? {
        if page.serial != link.serial {
            if page.flags.bos && opus::Head::is_head(&page.body) {
                return Ok(Scanned::NextLink {
                    offset: page.offset,
                    end,
                });
            }
            continue;
        }
        if page.flags.bos {
            return Ok(Scanned::NextLink {
                offset: page.offset,
                end,
            });
        }
        let Some(granule) = page.granule else {
            continue;
        };
        let begins = if page.flags.eos {
            end.max(link.base)
        } else {
            begins(&page).unwrap_or(end)
        };
        end = granule;
        if !page.flags.continued && (begins <= aim || best.is_none()) {
            best = Some(Place { page, begins });
        }
        if granule > wanted {
            return Ok(Scanned::Page(best));
        }
    }
    Ok(Scanned::End)
}

/// Good pages of a part of a file, read block by block.
struct Pages<'a> {
    file: &'a File,
    reader: Reader,
    start: u64,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl<'a> Pages<'a> {
    fn new(file: &'a File, start: u64, end: u64) -> Self {
        Self {
            file,
            reader: Reader::new(),
            start,
            at: start,
            end,
            buffer: vec![0; MAX_PAGE_LEN],
        }
    }

    /// The next page that ends before the part's end, its offset that of the file.
    fn next(&mut self) -> io::Result<Option<Page>> {
        loop {
            while let Some(found) = self.reader.poll() {
                if let Found::Page(mut page) = found {
                    page.offset += self.start;
                    return Ok(Some(page));
                }
            }
            let want = (self.end.saturating_sub(self.at)).min(self.buffer.len() as u64) as usize;
            let got = read_full(self.file, &mut self.buffer[..want], self.at)?;
            if got == 0 {
                return Ok(None);
            }
            self.at += got as u64;
            self.reader.push(&self.buffer[..got]);
        }
    }
}
