//! Files, folders and playlists: whatever they hold leaves as one stream of
//! Ogg/Opus or MP3, so that the relay sees no seam.

use std::io::{IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use seamcast_media::chunk::Output as Media;
use seamcast_media::ogg;
use seamcast_media::units::{MediaDuration, MediaTime};

use super::{BLOCK, Connection, Destination};
use crate::config::Encode;
use crate::decode::{Decoder, Kind};
use crate::ingest::media_type::Declared;
use crate::ingest::pcm::Settings;
use crate::ingest::session::{Config, Output, Session, codec_for};
use crate::input::playlist;

/// How far ahead of real time files are sent, so that listeners get a burst.
const LEAD: Duration = Duration::from_secs(1);
/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Sends them one after the other. What cannot be played is said and skipped.
pub(super) fn publish(path: &Path, to: &Destination, password: Option<&str>) -> Result<(), String> {
    let shown = path.display();
    let found = playlist::files(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    let session = Session::new(Config {
        declared: Declared::Sniff,
        encode: Settings {
            codec: codec_for(to.mount(), Encode::Auto),
            bitrate: 0,
            complexity: 9,
            chunk_ms: 100,
        },
        chunk: MediaDuration::from_millis(100),
    });
    let mut sender = Sender {
        relay: Connection::open(to, password)?,
        session: session.map_err(|error| error.to_string())?,
        headers: Vec::new(),
        origin: Instant::now(),
        progress: Progress::new(found.len()),
    };
    let mut last = None;
    for file in &found {
        if let Err(why) = sender.file(file)? {
            sender.progress.clear();
            let why = format!("{}: {why}", file.display());
            eprintln!("{why}");
            last = Some(why);
        }
    }
    sender.progress.clear();
    if sender.session.position().is_none() {
        return Err(last.unwrap_or_else(|| format!("{shown} holds nothing that can be played")));
    }
    sender.relay.finish()
}

struct Sender {
    relay: Connection,
    session: Session,
    /// Header pages that wait for the first chunk after them.
    headers: Vec<u8>,
    origin: Instant,
    progress: Progress,
}

impl Sender {
    /// The outer error ends it all, the inner one the file.
    fn file(&mut self, path: &Path) -> Result<Result<(), String>, String> {
        self.progress.begin(path);
        let opened = Kind::of(path).and_then(|kind| match kind {
            Kind::Other => Decoder::open(path).map(|decoder| Samples {
                decoder,
                waiting: Vec::new(),
                at: 0,
            }),
            _ => Err(String::new()),
        });
        let played = match opened {
            Ok(mut samples) => {
                let declared = Declared::Pcm(samples.decoder.format());
                match self.session.restart(declared) {
                    Ok(()) => self.read(&mut samples)?,
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(why) if why.is_empty() => match std::fs::File::open(path) {
                Ok(mut file) => self.read(&mut file)?,
                Err(error) => Err(format!("cannot be opened: {error}")),
            },
            Err(why) => Err(why),
        };
        let finished = self.session.finish().map_err(|error| error.to_string());
        self.leave()?;
        self.session.close();
        self.leave()?;
        let again = self.session.restart(Declared::Sniff);
        again.map_err(|error| error.to_string())?;
        Ok(played.and(finished))
    }

    fn read(&mut self, reader: &mut dyn Read) -> Result<Result<(), String>, String> {
        let mut block = vec![0; BLOCK];
        loop {
            let read = match reader.read(&mut block) {
                Ok(0) => return Ok(Ok(())),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(format!("cannot be read on: {error}"))),
            };
            self.progress.bytes += read as u64;
            let pushed = self.session.push(&block[..read]);
            self.leave()?;
            if let Err(error) = pushed {
                return Ok(Err(error.to_string()));
            }
            let position = self.session.position().unwrap_or(MediaTime::ZERO);
            self.progress.show(position);
            // Always against the start: waits never add up to a drift.
            let due = Duration::from_millis(position.since(MediaTime::ZERO).as_millis());
            let due = due.saturating_sub(LEAD);
            std::thread::sleep(due.saturating_sub(self.origin.elapsed()));
        }
    }

    /// Sends what the session has ready.
    fn leave(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Begin => self.session.begin(MediaTime::ZERO, rand::random()),
                Output::Media(Media::Generation { headers, .. }) => self.headers = headers,
                Output::Media(Media::Chunk(chunk)) => {
                    let headers = std::mem::take(&mut self.headers);
                    // What was lost before the first page is not the headers.
                    match ogg::first_sequence(&chunk.payload) {
                        Some(first) => bytes.extend(ogg::lead_in(&headers, first)),
                        None => bytes.extend(headers),
                    }
                    bytes.extend_from_slice(&chunk.payload);
                }
                Output::Media(_) => {}
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.relay.send(&bytes)
    }
}

/// Decoded samples as bytes.
struct Samples {
    decoder: Decoder,
    waiting: Vec<u8>,
    at: usize,
}

impl Read for Samples {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.waiting.len() {
            self.waiting.clear();
            self.at = 0;
            let more = self.decoder.next(&mut self.waiting);
            if !more.map_err(std::io::Error::other)? && self.waiting.is_empty() {
                return Ok(0);
            }
        }
        let len = into.len().min(self.waiting.len() - self.at);
        into[..len].copy_from_slice(&self.waiting[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// One line on a terminal: which file, how far in it, time sent.
struct Progress {
    shown: bool,
    files: usize,
    number: usize,
    name: String,
    len: u64,
    bytes: u64,
    last: Instant,
}

impl Progress {
    fn new(files: usize) -> Self {
        Self {
            shown: std::io::stderr().is_terminal(),
            files,
            number: 0,
            name: String::new(),
            len: 0,
            bytes: 0,
            last: Instant::now(),
        }
    }

    fn begin(&mut self, path: &Path) {
        self.number += 1;
        self.bytes = 0;
        self.len = path.metadata().map_or(0, |found| found.len());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.name = name.chars().filter(|c| !c.is_control()).take(40).collect();
    }

    fn show(&mut self, position: MediaTime) {
        if self.shown && self.last.elapsed() >= SHOW_EVERY {
            self.last = Instant::now();
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", self.line(position));
        }
    }

    fn line(&self, position: MediaTime) -> String {
        let part = self.bytes.min(self.len) * 20 / self.len.max(1);
        let seconds = position.as_secs_f64() as u64;
        format!(
            "{}/{} [{:<20}] {:>3}:{:02} {}",
            self.number,
            self.files,
            "#".repeat(part as usize),
            seconds / 60,
            seconds % 60,
            self.name
        )
    }

    fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_line() {
        let mut progress = Progress::new(3);
        progress.begin(Path::new("/music/a\x1b[0m song.mp3"));
        (progress.len, progress.bytes) = (200, 100);
        assert_eq!(
            progress.line(MediaTime::from_ticks(705_600_000 * 75)),
            "1/3 [##########          ]   1:15 a[0m song.mp3"
        );
    }
}
