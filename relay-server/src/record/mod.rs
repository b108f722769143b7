//! Recordings: a mount with `record` is copied, page by page and frame by
//! frame as its listeners get it, into `recordings/MOUNT/` of the data folder.
//!
//! One thread serves all mounts: several times a second it reads what their
//! logs have got and writes it. It never makes anyone wait; the log is its queue.
//! A fault in the turn of one mount ends that mount's recording only.

pub mod index;
mod journal;
mod restore;
mod retention;
mod segment;
mod shelf;
mod spool;
mod sync;
mod tape;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::mount::{Mount, duration};
use crate::server::Relay;
use sync::Syncer;
use tape::{Policy, Tape};

pub use tape::Stats;

/// How often logs are copied.
const INTERVAL: Duration = Duration::from_millis(200);
/// How often old recordings are looked for.
const RETENTION_INTERVAL: Duration = Duration::from_secs(30);

/// Settings of one mount's recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most bytes of one file; 0 for no limit.
    pub max_bytes: u64,
    /// Most time in one file; zero for no limit.
    pub max_time: Duration,
    /// How much a power cut may lose.
    pub sync: Duration,
    /// How long recordings are kept; zero for ever.
    pub keep: Duration,
    /// Most bytes of a mount's finished recordings; 0 for no limit.
    pub keep_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_bytes: 0,
            max_time: Duration::from_secs(3600),
            sync: Duration::from_secs(1),
            keep: Duration::ZERO,
            keep_bytes: 0,
        }
    }
}

/// The recording thread; it writes what is left when told to stop.
#[derive(Debug)]
pub struct Recorder {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

struct Reel {
    mount: Arc<Mount>,
    tape: Tape,
    pruned: Instant,
    failing: bool,
}

impl Recorder {
    /// Starts it; recordings go below `root`. Programmes that were going on
    /// when the relay stopped go on: their mounts are there before it returns.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(relay: &Arc<Relay>, root: &Path) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let root = root.join("recordings");
        let syncer = Syncer::start()?;
        let mut reels = HashMap::new();
        for kept in restore::restore(&root, &relay.config(), SystemTime::now()) {
            let mount = kept.mount;
            if relay.mounts.insert(&mount) {
                let epoch = mount.log.epoch().to_owned();
                reels.insert(
                    epoch,
                    Reel::new(mount, &root, kept.shelf, &syncer, Instant::now()),
                );
            }
        }
        let relay = Arc::downgrade(relay);
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || run(&relay, &root, reels, &syncer, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Writes everything there is and ends.
    pub fn finish(self) {
        // An error only means that the thread has ended already.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the recording thread had failed; recordings may lack their end");
        }
    }
}

fn run(
    relay: &Weak<Relay>,
    root: &Path,
    mut reels: HashMap<String, Reel>,
    syncer: &Syncer,
    stopped: &mpsc::Receiver<()>,
) {
    let mut names = Names::default();
    let mut behind = false;
    loop {
        let last = !matches!(
            stopped.recv_timeout(if behind { Duration::ZERO } else { INTERVAL }),
            Err(mpsc::RecvTimeoutError::Timeout)
        );
        let Some(relay) = relay.upgrade() else { return };
        let now = Instant::now();
        // Also those that are over already: a whole file may arrive between two looks.
        let gone = relay.mounts.take_unseen();
        for mount in gone.into_iter().chain(relay.mounts.all()) {
            if mount.awaits_recorder() && !reels.contains_key(mount.log.epoch()) {
                let epoch = mount.log.epoch().to_owned();
                reels.insert(epoch, Reel::new(mount, root, Arc::default(), syncer, now));
            }
        }
        take_turns(&mut reels, |reel| reel.turn(root, now, last, &mut names));
        behind = reels.values().any(|reel| reel.tape.is_behind());
        if last {
            return;
        }
    }
}

/// Gives each its turn, and lets go of those that are done. One that panics
/// must not end the recordings of the others; it goes on counting what it misses.
fn take_turns(reels: &mut HashMap<String, Reel>, mut turn: impl FnMut(&mut Reel) -> bool) {
    reels.retain(|_, reel| {
        // Nothing is done with its state but to end it.
        let done = catch_unwind(AssertUnwindSafe(|| turn(reel)));
        done.map_or_else(
            |_| {
                let first = !reel.tape.is_abandoned();
                reel.abandon();
                first
            },
            |done| !done,
        )
    });
}

impl Reel {
    fn new(
        mount: Arc<Mount>,
        root: &Path,
        shelf: Arc<shelf::Shelf>,
        syncer: &Syncer,
        now: Instant,
    ) -> Self {
        let folder = folder(root, &mount.name);
        Self {
            tape: Tape::new(
                mount.log.clone(),
                &mount.name,
                &folder,
                shelf,
                Some(syncer.clone()),
                now,
            ),
            mount,
            pruned: now,
            failing: false,
        }
    }

    /// Copies what is new; true when the recording is complete.
    fn turn(&mut self, root: &Path, now: Instant, last: bool, names: &mut Names) -> bool {
        let settings = &self.mount.settings().recording;
        let policy = Policy {
            max_bytes: settings.max_bytes,
            max_duration: duration(settings.max_time),
            sync_interval: if last { Duration::ZERO } else { settings.sync },
        };
        let name = |extension: &str| names.next(SystemTime::now(), extension);
        let outcome = self.tape.advance(now, &policy, name);
        if last
            && matches!(outcome, Ok(false))
            && let Err(error) = self.tape.stop()
        {
            tracing::warn!(mount = %self.mount.name, %error, "cannot finish a recording");
        }
        self.mount
            .note_recording(self.tape.stats(), self.tape.path());
        let name = &self.mount.name;
        match &outcome {
            Err(error) if !self.failing => {
                let (folder, remedy) = (folder(root, name), remedy(error));
                tracing::error!(mount = %name, folder = %folder.display(), %error, remedy, "cannot record; trying again every second");
                self.failing = true;
            }
            Ok(over) if self.tape.is_abandoned() && (*over || last) => {
                let missed = self.tape.stats().missed.as_secs_f64();
                tracing::error!(mount = %name, missed_seconds = missed, "the rest of the programme was not recorded, for the fault that ended its recording");
            }
            Ok(_) if self.failing && !self.tape.is_failing() => {
                let missed = self.tape.stats().missed.as_secs_f64();
                tracing::info!(mount = %name, missed_seconds = missed, "recording goes on");
                self.failing = false;
            }
            _ => {}
        }
        if now.saturating_duration_since(self.pruned) >= RETENTION_INTERVAL
            || matches!(outcome, Ok(true))
        {
            self.pruned = now;
            let folder = folder(root, name);
            if let Err(error) =
                retention::prune(&folder, settings, self.tape.path(), SystemTime::now())
            {
                tracing::warn!(mount = %name, %error, "cannot remove old recordings");
            }
            self.tape.pruned();
        }
        matches!(outcome, Ok(true))
    }

    /// Closes the recording after a panic.
    fn abandon(&mut self) {
        let recording = self.tape.path().map(|path| path.display().to_string());
        self.tape.abandon();
        self.mount.note_recording(self.tape.stats(), None);
        tracing::error!(mount = %self.mount.name, recording, "a fault of the relay ended this recording; the mount's next programme is recorded again; report the panic above");
    }
}

/// What to do about a disk that fails.
fn remedy(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on that disk; record_keep and record_keep_bytes let old recordings go"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "let the relay's user write to that folder, or choose another with data_dir"
        }
        _ => "look at the disk and at what is in that folder",
    }
}

/// Where a mount's recordings are.
fn folder(root: &Path, mount: &str) -> PathBuf {
    root.join(mount.trim_start_matches('/'))
}

/// Names of recordings: each sorts after the one before, also when the clock
/// is set back or several begin in the same millisecond.
#[derive(Debug, Default)]
struct Names {
    /// Since the Unix epoch, of the newest name.
    last: Duration,
}

impl Names {
    fn next(&mut self, now: SystemTime, extension: &str) -> String {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let after = self.last + Duration::from_millis(1);
        self.last = since.unwrap_or_default().max(after);
        let stamp = stamp(SystemTime::UNIX_EPOCH + self.last);
        format!("{stamp}.{extension}")
    }
}

/// UTC with milliseconds, sortable and without characters that a URL escapes.
fn stamp(time: SystemTime) -> String {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days to a civil date, by counting years of 400, as in Howard Hinnant's
    // `civil_from_days`.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{:03}Z",
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::tape::tests::{Source, folder as scratch};
    use super::*;
    use crate::config;
    use crate::mount::State;

    #[test]
    fn a_panic_ends_the_recording_of_its_mount_only() {
        let root = scratch("panic");
        let now = Instant::now();
        let settings = config::Mount {
            record: true,
            ..config::Mount::default()
        };
        let mount = |name| Mount::new(name, settings.clone(), State::new(7, now), None);
        let mounts = ["/a", "/b"].map(mount);
        let mut sources = mounts.each_ref().map(|m| Source::into_log(m.log.clone()));
        let syncer = Syncer::start().expect("threads");
        let mut reels: HashMap<String, Reel> = mounts
            .iter()
            .map(|mount| {
                let reel = Reel::new(mount.clone(), &root, Arc::default(), &syncer, now);
                (mount.log.epoch().to_owned(), reel)
            })
            .collect();
        let mut names = Names::default();
        for round in 0..3 {
            sources.iter_mut().for_each(|source| source.append(1));
            take_turns(&mut reels, |reel| {
                let sound = round != 1 || reel.mount.name != "/a";
                assert!(sound, "what a bug would do");
                reel.turn(&root, now, false, &mut names)
            });
        }
        let [a, b] = mounts.each_ref().map(|mount| mount.recorded());
        assert_eq!((a.errors, b.errors), (1, 0));
        // The first chunk lacks the pre-skip of 312 frames.
        assert_eq!(a.recorded.to_frames(48_000).0, 4800 - 312);
        assert_eq!(b.recorded.to_frames(48_000).0, 3 * 4800 - 312);
        let bytes = |stats: Stats, folder: &str| {
            let files = std::fs::read_dir(root.join(folder)).expect("folder");
            let files = files.map(|file| file.expect("file").path());
            let mut media = files.filter(|path| path.extension().is_some_and(|e| e == "opus"));
            let only = media.next().expect("a recording");
            assert!(media.next().is_none());
            assert_eq!(std::fs::metadata(only).expect("file").len(), stats.bytes);
        };
        bytes(a, "a");
        bytes(b, "b");
        // Not gone on with in its middle: the chunk that was not written is
        // missed, and the one after it.
        assert_eq!(a.missed.to_frames(48_000).0, 2 * 4800);
        sources.iter_mut().for_each(|source| source.append(5));
        mounts
            .iter()
            .for_each(|mount| mount.log.end("source_ended"));
        take_turns(&mut reels, |reel| reel.turn(&root, now, false, &mut names));
        assert!(reels.is_empty(), "both are over");
        let [a, b] = mounts.each_ref().map(|mount| mount.recorded());
        assert_eq!(a.missed.to_frames(48_000).0, 7 * 4800);
        assert_eq!(a.recorded.to_frames(48_000).0, 4800 - 312);
        assert_eq!(b.missed, seamcast_media::units::MediaDuration::ZERO);
        std::fs::remove_dir_all(root).expect("clean");
    }

    #[test]
    fn names_sort_as_the_recordings_follow() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let mut names = Names::default();
        let made = [7000, 7000, 3000, 7001, 9000].map(|millis| names.next(at(millis), "opus"));
        assert_eq!(made[0], "19700101T000007.000Z.opus");
        assert_eq!(made[3], "19700101T000007.003Z.opus");
        assert_eq!(made[4], "19700101T000009.000Z.opus");
        assert!(made.is_sorted());
    }

    #[test]
    fn stamps_are_civil_time() {
        let at = |seconds| stamp(SystemTime::UNIX_EPOCH + Duration::from_millis(seconds));
        assert_eq!(at(0), "19700101T000000.000Z");
        assert_eq!(at(951_782_399_999), "20000228T235959.999Z");
        assert_eq!(at(951_782_400_000), "20000229T000000.000Z");
        assert_eq!(at(1_795_256_435_120), "20261121T102035.120Z");
    }
}
