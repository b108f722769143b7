//! What the decode tests share: our decoder run natively, and the corpus.
#![allow(dead_code, unreachable_pub)]

use std::path::PathBuf;

use seamcast_player::stream::{Format, Item, StreamDecoder, StreamError};
use tests::support::{Pcm, Pieces};

/// What a decoder made of a file.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Planes as `StreamDecoder.decode` of the npm package joins them: as many
    /// as the widest link has, mono copied to the second, others silent.
    pub planes: Vec<Vec<f32>>,
    /// Formats in order of appearance.
    pub formats: Vec<Format>,
    /// Everything reported.
    pub errors: Vec<StreamError>,
    /// Tags in order of appearance.
    pub tags: Vec<(String, String)>,
    /// Frames made up.
    pub concealed: usize,
}

impl Decoded {
    pub fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    pub fn pcm(&self) -> Pcm {
        Pcm::from_planes(
            &self.planes,
            self.formats.first().map_or(48_000, |f| f.sample_rate),
        )
    }

    /// FNV-1a over all bits.
    pub fn hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for plane in &self.planes {
            for x in plane {
                for byte in x.to_bits().to_le_bytes() {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
                }
            }
        }
        hash
    }

    pub fn take(&mut self, decoder: &mut StreamDecoder) {
        while let Some(item) = decoder.poll() {
            match item {
                Item::Format(format) => self.formats.push(format),
                Item::Tags(tags) => self.tags.extend(tags),
                Item::Error(error) => self.errors.push(error),
                Item::LinkEnd => {}
                Item::Audio(audio) => {
                    let before = self.frames();
                    let count = audio.channels().max(self.planes.len());
                    if self.planes.len() == 1 && count > 1 {
                        self.planes.push(self.planes[0].clone());
                    }
                    self.planes.resize_with(count, || vec![0.0; before]);
                    for (index, plane) in self.planes.iter_mut().enumerate() {
                        let from = if index == 1 && audio.channels() == 1 {
                            0
                        } else {
                            index
                        };
                        plane.extend_from_slice(audio.channel(from));
                        plane.resize(before + audio.frames(), 0.0);
                    }
                    if audio.concealed {
                        self.concealed += audio.frames();
                    }
                }
            }
        }
    }
}

/// Decodes `bytes` cut as `seed` says; seed 0 is one piece, seed 1 single bytes.
pub fn decode(bytes: &[u8], seed: u64) -> Decoded {
    decode_with(&mut StreamDecoder::new(), bytes, seed)
}

/// As [`decode`], with a decoder that may have been used before.
pub fn decode_with(decoder: &mut StreamDecoder, bytes: &[u8], seed: u64) -> Decoded {
    let mut out = Decoded::default();
    let mut push = |piece: &[u8], decoder: &mut StreamDecoder| {
        decoder.push(piece);
        out.take(decoder);
    };
    match seed {
        0 => push(bytes, decoder),
        1 => bytes.chunks(1).for_each(|piece| push(piece, decoder)),
        _ => Pieces::new(bytes, seed, 16_384).for_each(|piece| push(piece, decoder)),
    }
    decoder.finish();
    out.take(decoder);
    out
}

/// A file of the corpus.
#[derive(Debug, Clone)]
pub struct CorpusFile {
    pub name: String,
    pub path: PathBuf,
    pub codec: String,
    pub class: String,
    pub sample_rate: u32,
    pub channels: usize,
    pub samples: usize,
    /// What two versions of libopus differ by, in dB, where they do.
    pub drift_db: Option<f64>,
}

/// The corpus that `SEAMCAST_CORPUS` names, or nothing, visibly.
///
/// # Panics
/// When it is named and cannot be read.
pub fn corpus() -> Option<Vec<CorpusFile>> {
    let Some(root) = std::env::var_os("SEAMCAST_CORPUS") else {
        eprintln!("SKIPPED: set SEAMCAST_CORPUS to the folder of a decode corpus to run this");
        return None;
    };
    let root = PathBuf::from(root);
    let manifest = std::fs::read_to_string(root.join("MANIFEST.tsv"))
        .unwrap_or_else(|e| panic!("cannot read MANIFEST.tsv in {}: {e}", root.display()));
    let mut lines = manifest.lines();
    let names: Vec<&str> = lines.next().unwrap_or("").split('\t').collect();
    let files = lines.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |name: &str| {
            let at = names
                .iter()
                .position(|n| *n == name)
                .expect("manifest column");
            fields.get(at).copied().unwrap_or("")
        };
        CorpusFile {
            name: field("file").to_owned(),
            path: root.join(field("file")),
            codec: field("codec").to_owned(),
            class: field("class").to_owned(),
            sample_rate: field("sample_rate").parse().unwrap_or(0),
            channels: field("channels").parse().unwrap_or(0),
            samples: field("samples").parse().unwrap_or(0),
            drift_db: field("libopus_drift_db").parse().ok(),
        }
    });
    Some(files.collect())
}

/// Runs `work` on every item on all cores and returns the results in order.
pub fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = std::sync::Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = work(item);
                    results.lock().expect("results").push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("results");
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
