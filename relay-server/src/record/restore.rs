//! Mounts whose programme was going on when the relay stopped: their log goes
//! on from the recording, so that listeners resume where they were.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use seamcast_media::units::MediaDuration;

use super::journal::Kind;
use super::segment::beside;
use super::shelf::Shelf;
use super::spool::{EXTENSION, Found, Spool, Torn};
use crate::config;
use crate::mount::log::{JoinFrom, Limits, Log, Past, Reach, Restored};
use crate::mount::{Mount, State, duration};

/// How long ago the relay may have stopped.
const RECENT: Duration = Duration::from_secs(3600);
/// Numbers left out after a crash: a listener may have chunks that the
/// recording lost, and theirs must not be given twice.
const LEAP: u64 = 1 << 20;
/// What came in for so long before the end, and for two fsync intervals, is
/// read and compared with the journal: a power cut may have lost any part of it.
const DOUBTFUL: Duration = Duration::from_secs(60);
/// As much of the programme's time is left out, beyond the fsync interval.
const SLACK: MediaDuration = MediaDuration::from_millis(500);
/// Folders of folders that are looked through: mounts may have slashes.
const DEPTH: usize = 8;

/// A mount that goes on.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) mount: Arc<Mount>,
    pub(super) shelf: Arc<Shelf>,
}

/// Finds the mounts whose newest recording below `root` was not ended.
pub(crate) fn restore(root: &Path, config: &config::Config, now: SystemTime) -> Vec<Kept> {
    let mut folders = HashMap::new();
    walk(root, DEPTH, &mut folders);
    let mut kept = Vec::new();
    for (folder, mut recordings) in folders {
        recordings.sort();
        by_index(&mut recordings);
        let name = folder.strip_prefix(root).unwrap_or(&folder);
        let name = format!("/{}", name.display());
        match mount(&name, &recordings, config, now) {
            Ok(Some(found)) => kept.push(found),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "cannot go on from a recording");
            }
        }
    }
    kept
}

/// Recordings with a journal, by folder.
fn walk(folder: &Path, depth: usize, into: &mut HashMap<PathBuf, Vec<PathBuf>>) {
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = file.path();
        let Ok(kind) = file.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            walk(&path, depth - 1, into);
        } else if kind.is_file() && path.extension().is_some_and(|e| e == EXTENSION) {
            let list = into.entry(folder.to_path_buf()).or_default();
            list.push(path.with_extension(""));
        }
    }
}

/// Puts the recordings of the newest programme in the order in which they were
/// made: a clock that was set back gives a later one an earlier name.
fn by_index(recordings: &mut [PathBuf]) {
    let heads: Vec<_> = recordings.iter().map(|path| Spool::head(path)).collect();
    let Some((newest, _)) = heads.iter().rev().flatten().next() else {
        return;
    };
    let mut places = Vec::new();
    let mut made = Vec::new();
    for (place, head) in heads.iter().enumerate() {
        if let Some((title, index)) = head
            && title == newest
        {
            places.push(place);
            made.push((*index, recordings[place].clone()));
        }
    }
    made.sort();
    for (place, (_, path)) in places.into_iter().zip(made) {
        recordings[place] = path;
    }
}

fn mount(
    name: &str,
    recordings: &[PathBuf],
    config: &config::Config,
    now: SystemTime,
) -> io::Result<Option<Kept>> {
    let doubtful = config
        .mount(name)
        .recording
        .sync
        .saturating_mul(2)
        .saturating_add(DOUBTFUL);
    let mut newest: Option<Found> = None;
    let mut older = Vec::new();
    for path in recordings.iter().rev() {
        if newest.is_none() {
            let written = std::fs::metadata(beside(path, EXTENSION))?.modified()?;
            if now.duration_since(written).is_ok_and(|age| age > RECENT) {
                return Ok(None);
            }
        }
        let found = match Spool::open(path, doubtful) {
            Ok(Some(found)) => found,
            // A file that was just begun must not hide what came before it.
            Ok(None) => {
                tracing::warn!(recording = %path.display(), "nothing of a recording was written whole; it is no part of its mount's timeline");
                continue;
            }
            Err(error) => {
                tracing::warn!(recording = %path.display(), %error, "cannot read a recording; it is no part of its mount's timeline");
                continue;
            }
        };
        match &newest {
            None if found.last.kind == Kind::End || found.title.epoch.is_empty() => {
                return Ok(None);
            }
            Some(newest) if newest.title != found.title => break,
            _ => {}
        }
        let Torn { media, journal } = found.torn;
        if media > 0 || journal > 0 {
            let until = found.spool.next().at.as_secs_f64();
            tracing::warn!(recording = %path.display(), media_time = until, media_bytes = media, journal_bytes = journal, "the end of a recording was not written whole; it stays in the file and is no part of its mount's timeline");
        }
        match newest {
            None => newest = Some(found),
            Some(_) => older.push(found.spool),
        }
    }
    let Some(last) = newest else {
        return Ok(None);
    };
    let settings = config::Mount {
        record: true,
        ..config.mount(&last.title.mount)
    };
    let shelf = Arc::new(Shelf::default());
    for spool in older.into_iter().rev() {
        shelf.add(Arc::new(spool));
    }
    go_on(last, shelf, settings).map(Some)
}

fn go_on(last: Found, shelf: Arc<Shelf>, settings: config::Mount) -> io::Result<Kept> {
    let (generation, tags) = last.in_force()?;
    let clean = last.last.kind == Kind::Stop;
    let end = last.spool.next();
    let (title, limits) = (last.title, crate::mount::limits(&settings));
    shelf.add(Arc::new(last.spool));
    let mut next = end;
    if !clean {
        next.seq += LEAP;
        next.at = next.at + duration(settings.recording.sync) + SLACK;
    }
    let entries = history(&shelf, &title.epoch, end, limits)?;
    let log = Log::restored(
        title.epoch,
        limits,
        Restored {
            entries,
            next,
            generation: Some(generation),
            tags,
        },
    );
    log.keep_past(shelf.clone());
    log.set_reach(shelf.first());
    let state = State::restored(
        rand::random(),
        next.at,
        std::time::Instant::now() + settings.grace,
    );
    log.offline(u64::try_from(settings.grace.as_millis()).unwrap_or(u64::MAX));
    let mount = Mount::restored(&title.mount, settings, state, log);
    tracing::info!(mount = %title.mount, clean, media_time = next.at.as_secs_f64(), "programme goes on from its recording");
    Ok(Kept { mount, shelf })
}

/// The newest entries, as many as memory may hold.
fn history(
    shelf: &Shelf,
    epoch: &str,
    end: Reach,
    limits: Limits,
) -> io::Result<Vec<Arc<crate::mount::log::Entry>>> {
    // A log that is only asked where it ends.
    let probe = Log::restored(
        epoch,
        limits,
        Restored {
            next: end,
            ..Restored::default()
        },
    );
    let Some(join) = shelf.join(&JoinFrom::Back(limits.duration), &probe)? else {
        return Ok(Vec::new());
    };
    let mut entries = Vec::new();
    let mut at = join.index;
    while at < end.index {
        let run = shelf.read(at)?;
        let Some(first) = run.first() else { break };
        if first.index != at {
            // Memory holds no holes.
            entries.clear();
        }
        at = run.last().map_or(at, |last| last.index + 1);
        entries.extend(run);
        let bytes: usize = entries.iter().map(|entry| entry.cost()).sum();
        if bytes > limits.bytes {
            let half = entries.len() / 2;
            entries.drain(..half);
        }
    }
    if at != end.index {
        entries.clear();
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
