//! MPEG audio: frames to events, with `mpg123`'s gapless arithmetic.

use std::collections::VecDeque;

use super::{Codec, Container, Event, Fault, LinkConfig, Packet};
use crate::mp3::{Found, Framer, Header, Info, id3_tags};
use crate::units::Frames;

/// Longest part of a frame that a stream joined in its middle begins with.
const MAX_FRAME: u64 = 2881;

#[derive(Debug, Default)]
pub(super) struct MpegDemuxer {
    framer: Framer,
    link: Option<Link>,
    /// An information frame whose link has no packet yet.
    info: Option<(Header, Info, Vec<u8>)>,
    /// Tags that came before the link they belong to.
    tags: Vec<(String, String)>,
    committed: bool,
    /// Something is missing before the next frame.
    lost: bool,
}

#[derive(Debug)]
struct Link {
    header: Header,
    /// Decode position of the next frame.
    position: u64,
    /// Frames still to be dropped at the start.
    skip: u32,
    /// Where the audio ends and where the frames do that the encoder counted.
    /// Frames beyond the latter were attached later and are kept whole.
    end: Option<(u64, u64)>,
}

impl MpegDemuxer {
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut VecDeque<Event>) {
        self.framer.push(bytes);
        self.drain(events);
    }

    /// Bytes of the frame that is not yet complete.
    pub(super) fn held(&self) -> usize {
        self.framer.held()
    }

    /// Whether frames or a tag at the very start were found.
    pub(super) fn committed(&self) -> bool {
        self.committed
    }

    pub(super) fn note_gap(&mut self, events: &mut VecDeque<Event>) {
        self.drain(events);
        self.framer.note_gap();
        self.lost = true;
    }

    /// Frames that the transport lost count as passed.
    pub(super) fn advance(&mut self, lost: Frames) {
        if let Some(link) = &mut self.link {
            link.position = link.position.saturating_add(lost.0);
        }
    }

    pub(super) fn finish(&mut self, events: &mut VecDeque<Event>) {
        self.framer.finish();
        self.drain(events);
        self.end_link(events);
        self.info = None;
        self.lost = false;
        if !self.tags.is_empty() {
            events.push_back(Event::Tags(std::mem::take(&mut self.tags)));
        }
    }

    fn end_link(&mut self, events: &mut VecDeque<Event>) {
        if self.link.take().is_some() {
            events.push_back(Event::LinkEnd);
        }
    }

    fn drain(&mut self, events: &mut VecDeque<Event>) {
        while let Some(found) = self.framer.poll() {
            match found {
                Found::Frame {
                    header, payload, ..
                } => self.frame(header, payload, events),
                Found::Id3 { offset, tag } => {
                    self.committed |= offset == 0;
                    let tags = id3_tags(&tag);
                    if tags.is_empty() {
                        continue;
                    }
                    if self.link.is_some() {
                        events.push_back(Event::Tags(tags));
                    } else {
                        // Several tags in a row: the last one that names something wins.
                        self.tags = tags;
                    }
                }
                Found::Ogg { offset } => events.push_back(Event::Fault(Fault {
                    offset,
                    message: "ogg pages after mpeg frames are passed over; \
                              end this stream before another"
                        .into(),
                })),
                Found::Junk {
                    offset,
                    len,
                    trailing,
                } => {
                    // The rest of a frame whose beginning was missed is no fault,
                    // nor are the unknown tags and padding that end many files.
                    let joins = self.link.is_none() || self.lost;
                    self.lost |= self.link.is_some();
                    if !trailing && (!joins || len > MAX_FRAME) {
                        events.push_back(Event::Fault(Fault {
                            offset,
                            message: format!("{len} bytes are no mpeg frame"),
                        }));
                    }
                }
            }
        }
    }

    fn frame(&mut self, header: Header, payload: Vec<u8>, events: &mut VecDeque<Event>) {
        self.committed = true;
        if let Some(info) = Info::parse(&header, &payload) {
            // A new file begins, also when it was appended to another.
            self.end_link(events);
            self.lost = false;
            self.info = Some((header, info, payload));
            return;
        }
        let same = self.link.as_ref().is_some_and(|link| {
            link.header.sample_rate == header.sample_rate
                && link.header.channels() == header.channels()
        });
        if !same {
            self.begin(header, events);
        }
        let Some(link) = &mut self.link else { return };
        if std::mem::take(&mut self.lost) && link.position > 0 {
            events.push_back(Event::Hole(Frames(0)));
        }
        let duration = header.duration();
        let start = link.position;
        let stop = start.saturating_add(u64::from(duration));
        let trim_end = match link.end {
            Some((end, counted)) if start < counted => {
                stop.saturating_sub(end).min(u64::from(duration)) as u32
            }
            _ => 0,
        };
        let trim_start = link.skip.min(duration - trim_end);
        link.skip -= trim_start;
        link.position = stop;
        events.push_back(Event::Packet(Packet {
            payload,
            start: Frames(start),
            duration,
            trim_start,
            trim_end,
        }));
    }

    fn begin(&mut self, header: Header, events: &mut VecDeque<Event>) {
        let mut link = Link {
            header,
            position: 0,
            skip: 0,
            end: None,
        };
        let mut headers = Vec::new();
        if let Some((of, info, payload)) = self.info.take() {
            if let Some((skip, end)) = info.trims(&of) {
                let counted = u64::from(info.frames) * u64::from(of.duration());
                link.skip = skip;
                link.end = Some((end, counted));
            }
            headers.push(payload);
        }
        events.push_back(Event::Config(LinkConfig {
            codec: Codec::Mp3,
            container: Container::Mpeg,
            sample_rate: header.sample_rate,
            channels: header.channels(),
            pre_skip: link.skip,
            output_gain: 0,
            headers,
        }));
        if !self.tags.is_empty() {
            events.push_back(Event::Tags(std::mem::take(&mut self.tags)));
        }
        self.link = Some(link);
    }
}

#[cfg(test)]
mod tests;
