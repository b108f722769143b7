//! Ogg/Opus: pages to events (RFC 7845 §3, §4).

use std::collections::VecDeque;

use super::{Codec, Container, Event, Fault, LinkConfig, Packet};
use crate::ogg::{Assembler, Found, Page, Reader, Whole};
use crate::opus::{self, Head, Tags};
use crate::units::Frames;

/// Most bytes kept of a packet. Comment headers may be longer and are then cut;
/// audio packets never are in practice.
const MAX_PACKET: usize = 1 << 20;

/// Of a stream's first pages so many may be lost, with so many frames, for the
/// stream to count as damaged and not as joined in its middle.
const FIRST_PAGES: u32 = 2;
const FIRST_FRAMES: u64 = 2 * opus::SAMPLE_RATE as u64;

/// Follows one Opus stream at a time through chain links and other streams.
#[derive(Debug, Default)]
pub(super) struct OggDemuxer {
    reader: Reader,
    link: Option<Link>,
    /// A second Opus stream that began before the first had a page besides its
    /// header: followed instead if the first never gets one.
    spare: Option<Link>,
    /// Stream whose pages are being ignored, and said to be.
    ignored: Option<u32>,
    /// Why pages without a link are ignored.
    foreign: Option<&'static str>,
    pages: u64,
}

#[derive(Debug)]
struct Link {
    serial: u32,
    assembler: Assembler,
    head: Head,
    head_packet: Vec<u8>,
    stage: Stage,
    /// Decode position of the next packet; unknown before the first granule position.
    position: Option<u64>,
    /// Pages were lost, so the next granule position says where we are.
    lost: bool,
    /// Frames of pre-skip still to be dropped.
    skip: u64,
    /// Whether a granule position that contradicts the durations was reported.
    contradicted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Only the BOS page was seen.
    Head,
    /// The comment header is being read.
    Tags,
    Audio,
}

impl OggDemuxer {
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut VecDeque<Event>) {
        self.reader.push(bytes);
        self.drain(events);
    }

    /// Whether a page was found.
    pub(super) fn committed(&self) -> bool {
        self.pages > 0
    }

    pub(super) fn note_gap(&mut self, events: &mut VecDeque<Event>) {
        self.reader.finish();
        self.drain(events);
        if let Some(link) = &mut self.link {
            link.assembler.note_gap();
            link.lost = true;
        }
    }

    pub(super) fn finish(&mut self, events: &mut VecDeque<Event>) {
        self.reader.finish();
        self.drain(events);
        if let Some(mut link) = self.link.take() {
            let dropped = link.assembler.abandon();
            if dropped > 0 {
                events.push_back(fault(
                    self.reader.offset(),
                    format!("input ends inside a packet, after {dropped} bytes of it"),
                ));
            }
            if link.stage == Stage::Audio {
                events.push_back(Event::LinkEnd);
            } else {
                events.push_back(fault(
                    self.reader.offset(),
                    "input ends before the opus comment header does".into(),
                ));
            }
        }
        self.spare = None;
        self.ignored = None;
    }

    fn drain(&mut self, events: &mut VecDeque<Event>) {
        while let Some(found) = self.reader.poll() {
            match found {
                Found::Page(page) => self.page(&page, events),
                Found::Junk { offset, len, why } => {
                    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                    events.push_back(fault(offset, format!("{len} bytes are no ogg page{why}")));
                }
            }
        }
    }

    fn page(&mut self, page: &Page, events: &mut VecDeque<Event>) {
        self.pages += 1;
        if page.flags.bos {
            self.begin(page, events);
            return;
        }
        if self.spare.as_ref().is_some_and(|s| s.serial == page.serial)
            && self.link.as_ref().is_some_and(|l| l.stage == Stage::Head)
        {
            self.link = self.spare.take();
        }
        let Some(link) = self.link.as_mut().filter(|l| l.serial == page.serial) else {
            // Beside a link, other streams are none of our business.
            if self.link.is_none() && self.ignored != Some(page.serial) {
                self.ignored = Some(page.serial);
                let why = self
                    .foreign
                    .unwrap_or("its first page was missed or it has ended");
                events.push_back(fault(
                    page.offset,
                    format!("pages of stream {:#010x} are ignored: {why}", page.serial),
                ));
            }
            return;
        };
        self.spare = None;
        if link.page(page, events) {
            self.link = None;
            self.foreign = None;
        }
    }

    /// A new logical stream (RFC 3533 §4: chained or multiplexed).
    fn begin(&mut self, page: &Page, events: &mut VecDeque<Event>) {
        let mut assembler = Assembler::new(MAX_PACKET);
        let first = assembler.add(page).packets.into_iter().next();
        let packet = first.map(|whole| whole.payload).unwrap_or_default();
        if !Head::is_head(&packet) {
            if self.link.as_ref().is_some_and(|l| l.serial == page.serial) {
                self.link = None;
            }
            self.foreign = Some(codec_name(&packet));
            return;
        }
        let head = match Head::parse(&packet) {
            Ok(head) => head,
            Err(err) => {
                events.push_back(fault(page.offset, err.to_string()));
                self.foreign = Some("its opus header is not usable");
                // Its pages must not be taken for those of an earlier link.
                if self.link.as_ref().is_some_and(|l| l.stage != Stage::Head) {
                    self.link = None;
                }
                return;
            }
        };
        let link = Link {
            serial: page.serial,
            assembler,
            skip: u64::from(head.pre_skip),
            head,
            head_packet: packet,
            stage: Stage::Head,
            position: None,
            lost: false,
            contradicted: false,
        };
        match &self.link {
            Some(current) if current.stage == Stage::Head && current.serial != page.serial => {
                self.spare = Some(link);
            }
            _ => {
                self.link = Some(link);
                self.spare = None;
            }
        }
        self.ignored = None;
    }
}

impl Link {
    /// Takes the link's next page; true when it was the last.
    fn page(&mut self, page: &Page, events: &mut VecDeque<Event>) -> bool {
        if self.repeated(page) {
            events.push_back(fault(
                page.offset,
                format!("page {} came again, or late", page.sequence),
            ));
            return false;
        }
        let assembled = self.assembler.add(page);
        // A jump between the headers and the first audio is a stream joined in
        // its middle, not a loss, unless it is tiny.
        let first = self.stage == Stage::Audio && self.position.is_none();
        let joins = |&missing: &u32| first && missing > FIRST_PAGES;
        if let Some(missing) = assembled.missing.filter(|missing| !joins(missing)) {
            self.lost = true;
            events.push_back(fault(
                page.offset,
                match i32::try_from(missing) {
                    Ok(1) => format!("1 page is missing before page {}", page.sequence),
                    Ok(n) => format!("{n} pages are missing before page {}", page.sequence),
                    Err(_) => format!("page numbers went back to {}", page.sequence),
                },
            ));
        }
        let mut packets = assembled.packets;
        if self.stage != Stage::Audio {
            self.stage = Stage::Tags;
            if self.lost || !packets.is_empty() {
                self.tags(page, &mut packets, events);
            }
        }
        if self.stage == Stage::Audio {
            self.audio(page, packets, events);
        }
        if page.flags.eos {
            if self.stage == Stage::Audio {
                events.push_back(Event::LinkEnd);
            }
            return true;
        }
        false
    }

    /// A page sent twice or out of order, as opposed to one after a hole.
    fn repeated(&self, page: &Page) -> bool {
        let Some(expected) = self.assembler.expected() else {
            return false;
        };
        let behind = expected.wrapping_sub(page.sequence);
        (1..=64).contains(&behind)
            && match (page.granule, self.position) {
                (Some(granule), Some(position)) => granule <= position,
                _ => true,
            }
    }

    /// The comment header, and with it the link's configuration. Audio plays
    /// even when it is unreadable.
    fn tags(&mut self, page: &Page, packets: &mut Vec<Whole>, events: &mut VecDeque<Event>) {
        let is_tags = packets.first().is_some_and(|p| Tags::is_tags(&p.payload));
        let mut wrong = None;
        let mut comments = Tags {
            vendor: "unknown".into(),
            ..Tags::default()
        };
        let mut packet = None;
        if is_tags {
            let whole = packets.remove(0);
            match Tags::parse(&whole.payload) {
                Ok(tags) => {
                    comments = tags;
                    // Every late joiner gets it: pictures stay out.
                    let small = !whole.cut && whole.payload.len() <= Tags::MAX_COMMENT;
                    packet = small.then_some(whole.payload);
                }
                Err(err) => wrong = Some(err.to_string()),
            }
        } else if self.lost {
            wrong = Some("opus comment header was lost".into());
        } else {
            // A header page's granule position is 0 (RFC 7845 §3), so anything
            // else is audio whose comment header was left out.
            if page.granule.unwrap_or(0) == 0 && !packets.is_empty() {
                packets.remove(0);
            }
            wrong = Some("packet after OpusHead is no OpusTags".into());
        }
        self.stage = Stage::Audio;
        events.push_back(Event::Config(LinkConfig {
            codec: Codec::Opus,
            container: Container::Ogg,
            sample_rate: opus::SAMPLE_RATE,
            channels: self.head.channels,
            pre_skip: u32::from(self.head.pre_skip),
            output_gain: self.head.output_gain,
            headers: vec![
                std::mem::take(&mut self.head_packet),
                packet.unwrap_or_else(|| comments.to_bytes()),
            ],
        }));
        if let Some(wrong) = wrong {
            events.push_back(fault(page.offset, wrong));
        }
        if !comments.comments.is_empty() {
            events.push_back(Event::Tags(comments.comments));
        }
    }

    /// Gives a page's packets their positions and trims (RFC 7845 §4).
    fn audio(&mut self, page: &Page, packets: Vec<Whole>, events: &mut VecDeque<Event>) {
        let mut timed = Vec::with_capacity(packets.len());
        let mut total = 0_u64;
        for Whole { payload, cut } in packets {
            // Some muxers send the headers twice.
            if Head::is_head(&payload) || Tags::is_tags(&payload) {
                continue;
            }
            match opus::packet_duration(&payload) {
                Ok(duration) if !cut => {
                    total += u64::from(duration);
                    timed.push((payload, duration));
                }
                Ok(_) => events.push_back(fault(
                    page.offset,
                    format!("opus packet is longer than {MAX_PACKET} bytes"),
                )),
                Err(err) => events.push_back(fault(page.offset, err.to_string())),
            }
        }
        if timed.is_empty() {
            return;
        }
        let (start, hole) = self.locate(page, total, events);
        if hole > 0 {
            // What would have been skipped is not missed.
            let skipped = self.skip.min(hole);
            self.skip -= skipped;
            events.push_back(Event::Hole(Frames(hole - skipped)));
        }
        let end = start.saturating_add(total);
        self.position = Some(end);
        // End trim (RFC 7845 §4.4) may reach over several packets.
        let mut trim = match page.granule {
            Some(granule) if page.flags.eos => end.saturating_sub(granule).min(total),
            _ => 0,
        };
        let mut trims = vec![0_u32; timed.len()];
        for (slot, (_, duration)) in trims.iter_mut().zip(&timed).rev() {
            let part = trim.min(u64::from(*duration));
            *slot = part as u32;
            trim -= part;
        }
        let mut at = start;
        for ((payload, duration), trim_end) in timed.into_iter().zip(trims) {
            let trim_start = self.skip.min(u64::from(duration - trim_end));
            self.skip -= trim_start;
            events.push_back(Event::Packet(Packet {
                payload,
                start: Frames(at),
                duration,
                trim_start: trim_start as u32,
                trim_end,
            }));
            at += u64::from(duration);
        }
    }

    /// Decode position of a page's first packet, and frames lost before it.
    fn locate(&mut self, page: &Page, total: u64, events: &mut VecDeque<Event>) -> (u64, u64) {
        let expected = self.position.unwrap_or(0);
        let Some(granule) = page.granule else {
            events.push_back(fault(
                page.offset,
                "packets end on a page without a granule position".into(),
            ));
            return (expected, 0);
        };
        let by_granule = granule.checked_sub(total);
        let first = self.position.is_none();
        let lost = std::mem::take(&mut self.lost);
        match by_granule {
            Some(start) if first && lost && start <= FIRST_FRAMES => (start, start),
            Some(start) if first => (start, 0),
            Some(start) if lost && start >= expected => (start, start - expected),
            // An end trim makes the granule position smaller than the durations say.
            _ if page.flags.eos && granule <= expected + total => (expected, 0),
            Some(start) if start == expected => (start, 0),
            _ => {
                if !self.contradicted {
                    self.contradicted = true;
                    events.push_back(fault(
                        page.offset,
                        format!(
                            "granule position is {granule}, the packets end at {}",
                            expected + total
                        ),
                    ));
                }
                (expected, 0)
            }
        }
    }
}

fn fault(offset: u64, message: String) -> Event {
    Event::Fault(Fault { offset, message })
}

/// What a stream that is not Opus is, by its first packet.
fn codec_name(packet: &[u8]) -> &'static str {
    let known: [(&[u8], &'static str); 6] = [
        (b"\x01vorbis", "it is Vorbis, not Opus"),
        (b"\x7fFLAC", "it is FLAC, not Opus"),
        (b"Speex   ", "it is Speex, not Opus"),
        (b"\x80theora", "it is Theora, not Opus"),
        (b"fishead\0", "it is a skeleton, not Opus"),
        (b"CELT    ", "it is CELT, not Opus"),
    ];
    known
        .iter()
        .find(|(magic, _)| packet.starts_with(magic))
        .map_or("it is not Opus", |(_, name)| name)
}

#[cfg(test)]
mod tests;
