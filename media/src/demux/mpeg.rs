use super::Event;
use std::collections::VecDeque;
#[derive(Debug, Default)]
pub(super) struct MpegDemuxer {}
impl MpegDemuxer {
    pub(super) fn push(&mut self, _bytes: &[u8], _events: &mut VecDeque<Event>) {}
    pub(super) fn committed(&self) -> bool {
        false
    }
    pub(super) fn note_gap(&mut self, _events: &mut VecDeque<Event>) {}
    pub(super) fn finish(&mut self, _events: &mut VecDeque<Event>) {}
}
