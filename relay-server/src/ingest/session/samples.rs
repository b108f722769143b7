//! Samples: bare, or after a WAV header, which may lie about how many.

use super::super::pcm::{Error, Pipeline};

/// So much after a WAV file's samples may be its other chunks (tags, cues).
const OTHER_CHUNKS: u64 = 64 << 10;
/// What those begin with.
const CHUNK_NAMES: [&[u8]; 16] = [
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"inst", b"JUNK", b"PEAK", b"fact",
    b"iXML", b"_PMX", b"plst", b"afsp", b"DISP", b"PAD ",
];

/// A pipeline, and what a header promised to come through it.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) pipeline: Box<Pipeline>,
    /// Bytes of samples by the header, and how many of them are still to come.
    promised: Option<(u64, u64)>,
    /// Bytes that came after them.
    after: u64,
    /// Of a file that grows: the first bytes after what the header promised
    /// when it was read, until they tell what follows.
    beyond: Option<Vec<u8>>,
}

impl Samples {
    /// Samples to the end of the body, or as many as a header promised.
    pub(super) fn new(pipeline: Pipeline, promised: Option<u64>) -> Self {
        Self {
            pipeline: Box::new(pipeline),
            promised: promised.map(|bytes| (bytes, bytes)),
            after: 0,
            beyond: None,
        }
    }

    /// The header is older than the samples: who records into a file corrects
    /// it as it goes, or at the end.
    pub(super) fn growing(mut self) -> Self {
        self.beyond = Some(Vec::new());
        self
    }

    /// Takes the next bytes. Returns what is wrong with them, once.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<String>, Error> {
        let Some((promised, left)) = &mut self.promised else {
            self.pipeline.push(bytes)?;
            return Ok(None);
        };
        let taken = (*left).min(bytes.len() as u64);
        *left -= taken;
        let (samples, rest) = bytes.split_at(taken as usize);
        self.pipeline.push(samples)?;
        if let Some(beyond) = &mut self.beyond
            && !rest.is_empty()
        {
            beyond.extend_from_slice(rest);
            let is_chunk = |name: &&[u8]| beyond.iter().zip(*name).all(|(a, b)| a == b);
            let other = CHUNK_NAMES.iter().any(is_chunk);
            if other && beyond.len() < 4 {
                return Ok(None);
            }
            let beyond = self.beyond.take().unwrap_or_default();
            if !other {
                self.promised = None;
                self.pipeline.push(&beyond)?;
            }
            return Ok(None);
        }
        let before = self.after;
        self.after += rest.len() as u64;
        let lies = before <= OTHER_CHUNKS && self.after > OTHER_CHUNKS;
        Ok(lies.then(|| {
            format!(
                "the WAV header says {promised} bytes of samples, and more follow, which are not \
                 played; a header that does not know says 4294967295"
            )
        }))
    }

    /// What is wrong at the end of the body: how many of its bytes from the
    /// last, and what.
    pub(super) fn faults(&self) -> impl Iterator<Item = (u64, String)> {
        let odd = self.pipeline.odd_bytes() as u64;
        let odd = (odd > 0).then(|| {
            let why = format!("{odd} bytes at the end are less than one frame");
            (odd, why)
        });
        let missing = self.promised.filter(|(_, left)| *left > 0);
        let missing = missing.map(|(promised, left)| {
            let why = format!(
                "the WAV header says {promised} bytes of samples, and {left} of them never came"
            );
            (0, why)
        });
        odd.into_iter().chain(missing)
    }
}

/// What a body is that was declared as bare samples, and is not.
pub(super) fn misdeclared(first: &[u8]) -> Option<&'static str> {
    let kinds = [
        (&b"RIFF"[..], "a WAV file"),
        (b"OggS", "an Ogg stream"),
        (b"fLaC", "a FLAC file"),
        (b"ID3\x03", "an MP3 file"),
        (b"ID3\x04", "an MP3 file"),
    ];
    let mut kinds = kinds.into_iter();
    kinds.find_map(|(magic, kind)| first.starts_with(magic).then_some(kind))
}
