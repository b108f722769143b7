//! `file` inputs: files, folders and playlists, paced by their own media time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom as _;
use seamcast_media::pace::Pacer;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::sync::mpsc;

use super::play::enter;
use super::{Backoff, Status, playlist};
use crate::config::Input;
use crate::decode::{Decoder, Kind};
use crate::ingest::feed::Feed;
use crate::ingest::media_type::Declared;
use crate::server::Relay;

/// Bytes read of a file before its pace is looked at: 8 ms of CD audio, 60 ms
/// of MP3.
const PIECE: usize = 1024;
/// Decoded packets that wait; each is some 20 ms.
const DECODED: usize = 8;
/// How far ahead of its time a file's audio goes to the log.
pub(super) const LEAD: Duration = Duration::from_millis(100);

/// `kind = "file"`: one programme of all files, or again and again.
pub(super) async fn files(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    let mut backoff = Backoff::default();
    let play = async {
        loop {
            let began = Instant::now();
            match programme(relay, input, status).await {
                Ok(()) if !input.repeat => return,
                Ok(()) => {}
                Err(why) => status.failed(&why),
            }
            status.is("backing off");
            tokio::time::sleep(backoff.after(began.elapsed(), rand::random())).await;
        }
    };
    tokio::select! {
        () = play => status.is("ended"),
        () = relay.drained() => {}
    }
}

async fn programme(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) -> Result<(), String> {
    while let Some(mount) = relay.mounts.find(&input.mount)
        && mount.has_source()
    {
        status.is("barred");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let shown = input.path.display().to_string();
    let mut feed = enter(relay, input, &shown).map_err(|refusal| refusal.message)?;
    let origin = Instant::now();
    let mut pacer = Pacer::new(LEAD);
    // The programme's start is now, however long the first page is.
    pacer.due(Duration::ZERO, feed.mount.log.head().end);
    loop {
        let path = input.path.clone();
        let found = tokio::task::spawn_blocking(move || playlist::files(&path)).await;
        let found = found.map_err(|error| error.to_string())?;
        let mut found = found.map_err(|error| format!("cannot read {shown}: {error}"))?;
        if input.shuffle {
            found.shuffle(&mut rand::rng());
        }
        let before = feed.media_time();
        for file in &found {
            if let Err(why) = track(&mut feed, file, None, &mut pacer, origin, status).await? {
                status.malformed.fetch_add(1, Ordering::Relaxed);
                status.failed(&format!("{}: {why}", file.display()));
            }
        }
        if feed.media_time() == before {
            return Err(format!("{shown} holds nothing that can be played"));
        }
        if !input.repeat {
            feed.finish_tracks();
            return Ok(());
        }
    }
}

/// A file's bytes, or its samples.
enum Pieces {
    Bytes(BufReader<tokio::fs::File>),
    Samples(mpsc::Receiver<Result<Vec<u8>, String>>),
}

impl Pieces {
    /// The next piece, empty at the end.
    async fn next(&mut self) -> Result<Vec<u8>, String> {
        match self {
            Self::Bytes(file) => {
                let mut piece = vec![0; PIECE];
                let len = file.read(&mut piece).await;
                let len = len.map_err(|error| format!("reading failed: {error}"))?;
                piece.truncate(len);
                Ok(piece)
            }
            Self::Samples(samples) => samples.recv().await.unwrap_or(Ok(Vec::new())),
        }
    }
}

/// Decodes on a thread of its own, which blocks on the disk and for room.
async fn decoded(path: PathBuf) -> Result<(Declared, Vec<(String, String)>, Pieces), String> {
    let opened = tokio::task::spawn_blocking(move || {
        let mut decoder = Decoder::open(&path)?;
        let tags = decoder.tags();
        Ok::<_, String>((decoder, tags))
    });
    let (mut decoder, tags) = opened.await.map_err(|error| error.to_string())??;
    let format = decoder.format();
    let (send, samples) = mpsc::channel(DECODED);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = Vec::new();
            let outcome = decoder.next(&mut piece);
            let last = !matches!(outcome, Ok(true));
            let nothing = piece.is_empty() && outcome.is_ok();
            if !nothing && send.blocking_send(outcome.map(|_| piece)).is_err() {
                return;
            }
            if last {
                break;
            }
        }
        let skipped = decoder.skipped();
        if skipped > 0 {
            let why = format!("{skipped} broken packets were skipped");
            let _ = send.blocking_send(Err(why));
        }
    });
    Ok((Declared::Pcm(format), tags, Pieces::Samples(samples)))
}

/// Opens one file and tells `feed` what comes.
async fn open(
    feed: &mut Feed,
    path: &Path,
    transcode: Option<Kind>,
) -> Result<(Vec<(String, String)>, Pieces), String> {
    let own = path.to_owned();
    let kind = tokio::task::spawn_blocking(move || Kind::of(&own)).await;
    let kind = kind.map_err(|error| error.to_string())??;
    if kind == Kind::Other || Some(kind) == transcode {
        if kind == Kind::Opus {
            return Err(
                "it is Ogg/Opus, and the mount carries MP3; take an MP3, WAV or FLAC file".into(),
            );
        }
        let (declared, tags, pieces) = decoded(path.to_owned()).await?;
        feed.declare(declared).map_err(|refusal| refusal.message)?;
        return Ok((tags, pieces));
    }
    let file = tokio::fs::File::open(path).await;
    let file = file.map_err(|error| format!("cannot be opened: {error}"))?;
    let pieces = Pieces::Bytes(BufReader::with_capacity(64 * 1024, file));
    Ok((Vec::new(), pieces))
}

/// Plays one file. The outer error ends the programme, the inner one the track.
/// A file of the kind `transcode` is decoded and encoded for the mount.
pub(super) async fn track(
    feed: &mut Feed,
    path: &Path,
    transcode: Option<Kind>,
    pacer: &mut Pacer,
    origin: Instant,
    status: &Status,
) -> Result<Result<(), String>, String> {
    let (own, mut pieces) = match open(feed, path, transcode).await {
        Ok(opened) => opened,
        Err(why) => return Ok(Err(why)),
    };
    status.is("live");
    status.starts.fetch_add(1, Ordering::Relaxed);
    let title = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    // The file's own tags follow and win.
    let tags = [
        ("TITLE", title.unwrap_or_default()),
        ("ARTIST", String::new()),
        ("ALBUM", String::new()),
    ];
    let tags = tags.map(|(name, value)| (name.to_owned(), value));
    feed.mount.set_tags(tags.into_iter().chain(own));
    let mut outcome = Ok(());
    loop {
        let piece = match pieces.next().await {
            Ok(piece) if piece.is_empty() => break,
            Ok(piece) => piece,
            Err(why) => {
                outcome = Err(why);
                break;
            }
        };
        status
            .bytes
            .fetch_add(piece.len() as u64, Ordering::Relaxed);
        match feed.push(&piece) {
            Ok(()) => {}
            Err(refusal) if matches!(refusal.status, 415 | 501) => {
                outcome = Err(refusal.message);
                break;
            }
            Err(refusal) => return Err(refusal.message),
        }
        if let Some(position) = feed.media_time() {
            let due = origin + pacer.due(origin.elapsed(), position);
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
        }
    }
    match feed.next_track() {
        Ok(()) => {}
        Err(refusal) if matches!(refusal.status, 415 | 501) => {
            outcome = outcome.and(Err(refusal.message));
        }
        Err(refusal) => return Err(refusal.message),
    }
    Ok(outcome)
}
