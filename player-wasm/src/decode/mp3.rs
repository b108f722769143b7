//! MPEG audio frames through `nanomp3-core`, one whole frame a call.

use nanomp3_core::{DecodeError, Decoder, FrameInfo, MAX_SAMPLES_PER_FRAME};

use super::Planes;

/// Fade per concealed frame; after four of them silence is the honest answer.
const FADE: [f32; 5] = [1.0, 0.7, 0.4, 0.15, 0.0];

pub(super) struct Mp3 {
    decoder: Decoder,
    pcm: [f32; MAX_SAMPLES_PER_FRAME],
    scratch: Vec<u8>,
    /// Frames concealed in a row.
    concealed: usize,
    /// Whether a frame was decoded since the start.
    heard: bool,
}

impl std::fmt::Debug for Mp3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mp3").finish_non_exhaustive()
    }
}

impl Mp3 {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            pcm: [0.0; MAX_SAMPLES_PER_FRAME],
            scratch: Vec::new(),
            concealed: 0,
            heard: false,
        }
    }

    pub(super) fn decode(
        &mut self,
        frame: &[u8],
        duration: usize,
        out: &mut Planes,
    ) -> Result<(), String> {
        // The decoder would forget its bit reservoir over a frame it refuses,
        // and lose the next ones too.
        let broken = side_info(frame).filter(|info| !info.plausible);
        let problem = if let Some(info) = broken {
            if let Some(info) = self.run_silent(frame, info) {
                self.deliver(info, duration, out);
            } else {
                self.conceal(duration, out);
            }
            "its side information is corrupt".to_owned()
        } else {
            match self.run(frame) {
                Ok(info) => {
                    self.heard = true;
                    self.concealed = 0;
                    self.deliver(info, duration, out);
                    return Ok(());
                }
                // The start of a stream cut from a longer one: its first frames
                // refer to data before the cut. Silence keeps the time.
                Err(Some(DecodeError::ReservoirUnavailable(_))) if !self.heard => {
                    out.silence(duration);
                    return Ok(());
                }
                Err(e) => {
                    self.conceal(duration, out);
                    match e {
                        Some(e) => e.to_string(),
                        None => "its length is not what its header says".to_owned(),
                    }
                }
            }
        };
        Err(format!("mp3 frame of {} bytes: {problem}", frame.len()))
    }

    /// Decodes one whole frame.
    fn run(&mut self, frame: &[u8]) -> Result<FrameInfo, Option<DecodeError>> {
        // A free-format frame (bitrate index 0) does not tell its length: the
        // decoder measures the distance to the next two headers. Ours is known
        // to be whole, so its own copies serve as those.
        let free = frame.get(2).is_some_and(|b| b >> 4 == 0);
        let (consumed, result) = if free {
            self.scratch.clear();
            for _ in 0..3 {
                self.scratch.extend_from_slice(frame);
            }
            self.decoder.decode(&self.scratch, &mut self.pcm)
        } else {
            self.decoder.decode(frame, &mut self.pcm)
        };
        match result {
            Ok(info) if consumed == frame.len() => Ok(info),
            Ok(_) => Err(None),
            Err(e) => Err(Some(e)),
        }
    }

    /// Plays the frame as if it held silence: what overlaps from the frame
    /// before is heard, and its main data still fills the bit reservoir for
    /// the frames after.
    fn run_silent(&mut self, frame: &[u8], info: SideInfo) -> Option<FrameInfo> {
        let mut silent = frame.to_vec();
        let fields = silent.get_mut(info.from..info.to)?;
        // All but `main_data_begin`, 9 bits in MPEG-1 and 8 in the others.
        let (_, rest) = fields.split_first_mut()?;
        rest.fill(0);
        if frame.get(1)? & 0x08 != 0 {
            let second = frame.get(info.from + 1)?;
            *rest.first_mut()? = second & 0x80;
        }
        self.run(&silent).ok()
    }

    /// Repeats what was heard last, fading out.
    pub(super) fn conceal(&mut self, frames: usize, out: &mut Planes) {
        let at = self.concealed.min(FADE.len() - 2);
        self.concealed += 1;
        if !self.heard || self.concealed >= FADE.len() {
            out.silence(frames);
            return;
        }
        let had = out.frames.max(1);
        for plane in &mut out.planes {
            for i in had..frames.max(had) {
                let again = plane.get(i - had).copied().unwrap_or(0.0);
                match plane.get_mut(i) {
                    Some(x) => *x = again,
                    None => plane.push(again),
                }
            }
        }
        out.resize(frames);
        let step = (FADE[at + 1] / FADE[at].max(0.1) - 1.0) / frames.max(1) as f32;
        for plane in &mut out.planes {
            for (i, x) in plane[..frames].iter_mut().enumerate() {
                *x *= 1.0 + step * i as f32;
            }
        }
    }

    fn deliver(&mut self, info: FrameInfo, duration: usize, out: &mut Planes) {
        let frames = info.samples_produced.min(duration);
        let have = usize::from(info.channels.num());
        let want = out.channels();
        let pcm = &mut self.pcm[..];
        // A frame may be mono in a stereo stream or the other way round.
        if have == 1 && want == 2 {
            for i in (0..frames).rev() {
                let x = pcm[i];
                pcm[2 * i] = x;
                pcm[2 * i + 1] = x;
            }
        } else if have == 2 && want == 1 {
            for i in 0..frames {
                pcm[i] = 0.5 * (pcm[2 * i] + pcm[2 * i + 1]);
            }
        }
        if out.deinterleave(pcm, frames) {
            self.decoder = Decoder::new();
        }
        if frames < duration {
            out.resize(duration);
            for plane in &mut out.planes {
                plane[frames..duration].fill(0.0);
            }
        }
    }
}

/// Where a Layer III frame's side information lies, and whether a decoder can
/// follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SideInfo {
    from: usize,
    to: usize,
    plausible: bool,
}

/// ISO/IEC 11172-3 §2.4.1.7 and 13818-3 §2.4.1.7; none for other layers and
/// cut frames.
fn side_info(frame: &[u8]) -> Option<SideInfo> {
    let &[_, version, _, mode, ..] = frame else {
        return None;
    };
    if (version >> 1) & 3 != 1 {
        return None;
    }
    let mpeg1 = version & 0x08 != 0;
    let channels = if mode >> 6 == 3 { 1 } else { 2 };
    let from = if version & 1 == 0 { 6 } else { 4 };
    let len = match (mpeg1, channels) {
        (true, 1) => 17,
        (true, _) => 32,
        (false, 1) => 9,
        (false, _) => 17,
    };
    let bytes = frame.get(from..from + len)?;
    let mut at = match (mpeg1, channels) {
        (true, 1) => 9 + 5 + 4,
        (true, _) => 9 + 3 + 8,
        (false, 1) => 8 + 1,
        (false, _) => 8 + 2,
    };
    let mut bits = |count: usize| {
        let mut value = 0u32;
        for _ in 0..count {
            let byte = bytes.get(at / 8).copied().unwrap_or(0);
            value = value << 1 | u32::from(byte >> (7 - at % 8) & 1);
            at += 1;
        }
        value
    };
    let granules = if mpeg1 { 2 } else { 1 };
    let mut plausible = true;
    for _ in 0..granules * channels {
        bits(12);
        // More than 288 pairs would not fit into a granule of 576.
        plausible &= bits(9) <= 288;
        bits(8);
        bits(if mpeg1 { 4 } else { 9 });
        let switched = bits(1) == 1;
        // A switched window of type 0 is forbidden.
        plausible &= !(switched && bits(2) == 0);
        bits(if switched { 20 } else { 22 });
        bits(if mpeg1 { 3 } else { 2 });
    }
    Some(SideInfo {
        from,
        to: from + len,
        plausible,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_side_information() {
        // MPEG-1 Layer III, 128 kbit/s, 48 kHz, mono, no CRC.
        let mut frame = vec![0; 384];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x94, 0xc0]);
        let info = SideInfo {
            from: 4,
            to: 21,
            plausible: true,
        };
        assert_eq!(side_info(&frame), Some(info));
        // big_values of the first granule: bits 30 to 38 of the side information.
        frame[4 + 3] |= 0x03;
        frame[4 + 4] |= 0xff;
        let info = SideInfo {
            plausible: false,
            ..info
        };
        assert_eq!(side_info(&frame), Some(info));
        assert_eq!(side_info(&frame[..20]), None);
        frame[1] = 0xfd;
        assert_eq!(side_info(&frame), None, "layer II");
    }

    #[test]
    fn a_frame_of_nonsense_keeps_the_time() {
        let mut mp3 = Mp3::new();
        let mut out = Planes::new(2);
        assert!(mp3.decode(&[0xff; 100], 1152, &mut out).is_err());
        assert_eq!(out.frames(), 1152);
        assert!(mp3.decode(&[], 576, &mut out).is_err());
        assert_eq!(out.frames(), 576);
    }
}
