//! Demuxes and decodes a whole file, packet by packet.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use seamcast_media::pcm::SampleFormat;
use seamcast_media::wav::Format;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::{MetadataOptions, StandardTag};

use super::edits::{self, Edit};

/// A `moov` box of this length holds the index of more than a day.
const MAX_MOOV: u64 = 64 << 20;
/// Packets without samples in a row after which a file is given up.
const MAX_BROKEN: u64 = 1000;

/// A file in, interleaved `f32le` out. Blocks on the disk.
pub struct Decoder {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    format: Format,
    edit: Edit,
    skipped: u64,
    samples: Vec<f32>,
    /// Samples of the first packet, which told the format.
    first: bool,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("format", &self.format)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Opens a file and decodes its first packet.
    ///
    /// # Errors
    /// When it cannot be read, or is of no kind that can be decoded.
    pub fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot be opened: {error}");
        let mut file = File::open(path).map_err(failed)?;
        let edit = moov(&mut file).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
            hint.with_extension(extension);
        }
        let source = MediaSourceStream::new(Box::new(file), Default::default());
        let (formats, metadata) = (FormatOptions::default(), MetadataOptions::default());
        let reader = symphonia::default::get_probe().probe(&hint, source, formats, metadata);
        let reader = reader.map_err(|error| format!("cannot be demuxed: {error}"))?;
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or("there is no audio track in it")?;
        let parameters = track.codec_params.as_ref().and_then(|p| p.audio());
        let parameters = parameters.ok_or("its audio track is not described")?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|error| format!("cannot be decoded: {error}"))?;
        let mut this = Self {
            track: track.id,
            reader,
            decoder,
            format: Format {
                sample: SampleFormat::F32le,
                sample_rate: 0,
                channels: 0,
            },
            edit: edit.unwrap_or_default(),
            skipped: 0,
            samples: Vec::new(),
            first: false,
        };
        if !this.packet()? {
            return Err("there is no audio in it".to_owned());
        }
        this.first = true;
        Ok(this)
    }

    /// What comes out.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The file's tags: title, artist, album.
    pub fn tags(&mut self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut metadata = self.reader.metadata();
        let Some(revision) = metadata.skip_to_latest() else {
            return found;
        };
        let per_track = revision.per_track.iter().flat_map(|t| &t.metadata.tags);
        for tag in revision.media.tags.iter().chain(per_track) {
            let (name, value) = match &tag.std {
                Some(StandardTag::TrackTitle(title)) => ("TITLE", title),
                Some(StandardTag::Artist(artist)) => ("ARTIST", artist),
                Some(StandardTag::Album(album)) => ("ALBUM", album),
                _ => continue,
            };
            if !found.iter().any(|(known, _)| known == name) {
                found.push((name.to_owned(), value.to_string()));
            }
        }
        found
    }

    /// Packets that were skipped because they are broken.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Appends the next samples to `out`. False at the end.
    ///
    /// # Errors
    /// When the file changes its format or cannot be read on.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        if !std::mem::take(&mut self.first) && !self.packet()? {
            return Ok(false);
        }
        let channels = usize::from(self.format.channels);
        let frames = (self.samples.len() / channels) as u64;
        let skip = self.edit.skip.min(frames);
        self.edit.skip -= skip;
        let mut keep = frames - skip;
        if let Some(left) = &mut self.edit.keep {
            keep = keep.min(*left);
            *left -= keep;
        }
        let from = skip as usize * channels;
        let kept = &self.samples[from..from + keep as usize * channels];
        out.extend(kept.iter().flat_map(|sample| sample.to_le_bytes()));
        Ok(self.edit.keep != Some(0) || keep > 0)
    }

    /// Decodes the next packet that has samples. False at the end.
    fn packet(&mut self) -> Result<bool, String> {
        let mut broken = 0;
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => packet,
                Ok(Some(_)) => continue,
                // A file that is cut off ends there.
                Ok(None) | Err(Error::IoError(_)) => return Ok(false),
                Err(error) => return Err(format!("cannot be read on: {error}")),
            };
            match self.decoder.decode(&packet) {
                Ok(audio) if audio.frames() > 0 => {
                    let spec = audio.spec();
                    let format = Format {
                        sample: SampleFormat::F32le,
                        sample_rate: spec.rate(),
                        channels: u16::try_from(spec.channels().count()).unwrap_or(u16::MAX),
                    };
                    let rates = crate::ingest::media_type::RATES;
                    let most = crate::ingest::media_type::MAX_CHANNELS;
                    if !rates.contains(&format.sample_rate)
                        || !(1..=most).contains(&format.channels)
                    {
                        return Err(format!(
                            "{} Hz in {} channels is not taken; {} to {} Hz and 1 to {most} channels are",
                            format.sample_rate,
                            format.channels,
                            rates.start(),
                            rates.end()
                        ));
                    }
                    if self.format.channels == 0 {
                        self.format = format;
                    } else if self.format != format {
                        return Err(format!(
                            "it changes to {} Hz and {} channels in the middle",
                            format.sample_rate, format.channels
                        ));
                    }
                    audio.copy_to_vec_interleaved(&mut self.samples);
                    return Ok(true);
                }
                Ok(_) => {}
                Err(Error::DecodeError(_) | Error::ResetRequired) => {
                    self.skipped += 1;
                    broken += 1;
                    if broken > MAX_BROKEN {
                        return Err(format!("{broken} packets in a row are broken"));
                    }
                }
                Err(error) => return Err(format!("cannot be decoded: {error}")),
            }
        }
    }
}

/// The edit of an MP4 file, if it is one.
fn moov(file: &mut File) -> std::io::Result<Option<Edit>> {
    let len = file.metadata()?.len();
    let mut at = 0;
    while at + 8 <= len {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        let read = file.by_ref().take(16).read(&mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        let size = u64::from(u32::from_be_bytes([a, b, c, d]));
        let (header, size) = match size {
            0 => (8, len - at),
            1 if read == 16 => {
                let [_, _, _, _, large @ ..] = kind;
                (16, u64::from_be_bytes(large))
            }
            size => (8, size),
        };
        if at == 0 && !kind.starts_with(b"ftyp") {
            return Ok(None);
        }
        if kind.starts_with(b"moov") && size <= MAX_MOOV {
            let mut body = Vec::new();
            file.seek(SeekFrom::Start(at + header))?;
            file.by_ref()
                .take(size.saturating_sub(header))
                .read_to_end(&mut body)?;
            return Ok(Some(edits::of_moov(&body)));
        }
        at = match at.checked_add(size) {
            Some(next) if size >= header => next,
            _ => return Ok(None),
        };
    }
    Ok(None)
}
