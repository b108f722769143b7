//! Which files still grow, and a wake-up when they do, from file
//! notifications of the whole root (no polling).

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RemoveKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Files whose state is remembered; beyond it the least recently changed are
/// forgotten and judged by their modification time again.
const MAX_FILES: usize = 4096;

/// What notifications told about one file.
#[derive(Clone, Copy, Debug)]
struct FileState {
    /// Last write seen.
    written: SystemTime,
    /// A writer had it open and has not closed it.
    open: bool,
    /// Times a writer closed it: appending programs open and close for each write.
    closes: u32,
}

#[derive(Debug, Default)]
struct Shared {
    files: HashMap<PathBuf, FileState>,
    waiters: HashMap<PathBuf, Arc<Notify>>,
}

/// Watches a root.
#[derive(Debug)]
pub(crate) struct Growth {
    shared: Arc<Mutex<Shared>>,
    idle: Duration,
    /// Dropping it stops the notifications.
    _watcher: Option<RecommendedWatcher>,
}

impl Growth {
    /// Watches `root` and everything below it. A file is taken to be finished
    /// when its writer closed it, or, where no close was seen or the writer
    /// opens and closes it for every write, `idle` after its last write.
    ///
    /// Without notifications (their number is limited by the system) files are
    /// judged by their modification time; the error is returned for the log.
    pub(crate) fn watch(root: &Path, idle: Duration) -> (Self, Option<notify::Error>) {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let sink = Arc::clone(&shared);
        let handler = move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event {
                note(&sink, &event);
            }
        };
        let watching = notify::recommended_watcher(handler).and_then(|mut watcher| {
            watcher
                .watch(root, RecursiveMode::Recursive)
                .map(|()| watcher)
        });
        let (watcher, error) = match watching {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error)),
        };
        (
            Self {
                shared,
                idle,
                _watcher: watcher,
            },
            error,
        )
    }

    /// Whether the file may still grow; unknown files are judged by `modified`.
    pub(crate) fn is_growing(&self, path: &Path, modified: SystemTime, now: SystemTime) -> bool {
        self.finishes_in(path, modified, now).is_some()
    }

    /// How long until the file counts as finished if nothing more happens;
    /// `None` when it is finished. An open writer is asked about again after
    /// `idle`.
    pub(crate) fn finishes_in(
        &self,
        path: &Path,
        modified: SystemTime,
        now: SystemTime,
    ) -> Option<Duration> {
        let state = self.lock().files.get(path).copied();
        let last = match state {
            Some(FileState { open: true, .. }) => return Some(self.idle),
            Some(FileState { closes: 1, .. }) => return None,
            Some(state) => state.written.max(modified),
            None => modified,
        };
        let since = now.duration_since(last).unwrap_or_default();
        self.idle.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// Something that is notified at each change of the file. Register
    /// (`notified().enable()`) before looking at the file's length, or a write
    /// in between is missed.
    pub(crate) fn waiter(&self, path: &Path) -> Arc<Notify> {
        let mut shared = self.lock();
        // Forget waiters nobody holds any more.
        shared
            .waiters
            .retain(|_, waiter| Arc::strong_count(waiter) > 1);
        Arc::clone(shared.waiters.entry(path.to_path_buf()).or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(shared: &Mutex<Shared>, event: &notify::Event) {
    let now = SystemTime::now();
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if event.need_rescan() {
        // Notifications were lost, maybe that a writer is done: nothing is known any more.
        shared.files.clear();
        shared.waiters.values().for_each(|w| w.notify_waiters());
    }
    for path in &event.paths {
        match event.kind {
            // Another name for what is there: nobody writes by it.
            EventKind::Create(_) if is_link(path) => {}
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) | EventKind::Create(_) => {
                let state = shared.files.entry(path.clone()).or_insert(FileState {
                    written: now,
                    open: true,
                    closes: 0,
                });
                state.written = now;
                state.open = true;
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                // Opened for writing before the watch began, or closed without a write.
                let state = shared.files.entry(path.clone()).or_insert(FileState {
                    written: now,
                    open: false,
                    closes: 0,
                });
                state.open = false;
                state.closes = state.closes.saturating_add(1);
            }
            EventKind::Remove(RemoveKind::File | RemoveKind::Any)
            | EventKind::Modify(ModifyKind::Name(_)) => {
                shared.files.remove(path);
            }
            _ => continue,
        }
        if let Some(waiter) = shared.waiters.get(path) {
            waiter.notify_waiters();
        }
    }
    if shared.files.len() > MAX_FILES
        && let Some(oldest) = shared
            .files
            .iter()
            .min_by_key(|(_, s)| s.written)
            .map(|(p, _)| p.clone())
    {
        shared.files.remove(&oldest);
    }
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|found| found.is_symlink() || found.nlink() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn eventually(mut condition: impl FnMut() -> bool) -> bool {
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            condition()
        })
    }

    #[test]
    fn a_close_finishes_a_file_and_reopening_waits_for_idle() -> std::io::Result<()> {
        let root = std::env::temp_dir().join(format!("seamcast-growth-{}", std::process::id()));
        std::fs::create_dir_all(&root)?;
        let root = root.canonicalize()?;
        let idle = Duration::from_secs(60);
        let (growth, error) = Growth::watch(&root, idle);
        assert!(error.is_none(), "{error:?}");
        let path = root.join("a.raw");
        let growing = || growth.is_growing(&path, SystemTime::UNIX_EPOCH, SystemTime::now());

        let mut file = std::fs::File::create(&path)?;
        file.write_all(b"one")?;
        assert!(eventually(growing));
        drop(file);
        assert!(eventually(|| !growing()));

        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)?
            .write_all(b"two")?;
        assert!(eventually(growing));
        let later = SystemTime::now() + Duration::from_secs(61);
        assert!(!growth.is_growing(&path, SystemTime::UNIX_EPOCH, later));
        std::fs::remove_dir_all(&root)
    }

    #[test]
    fn a_link_to_a_finished_file_is_finished() -> std::io::Result<()> {
        let base = std::env::temp_dir().join(format!("seamcast-links-{}", std::process::id()));
        let root = base.join("root");
        std::fs::create_dir_all(&root)?;
        let root = root.canonicalize()?;
        std::fs::write(base.join("a.raw"), b"whole")?;
        let (growth, _) = Growth::watch(&root, Duration::from_secs(60));
        std::fs::hard_link(base.join("a.raw"), root.join("hard.raw"))?;
        std::os::unix::fs::symlink("hard.raw", root.join("soft.raw"))?;
        let growing = |name| {
            let now = SystemTime::now();
            growth.is_growing(&root.join(name), SystemTime::UNIX_EPOCH, now)
        };
        // Whose notification comes after theirs.
        let mut last = std::fs::File::create(root.join("last.raw"))?;
        last.write_all(b"begun")?;
        assert!(eventually(|| growing("last.raw")));
        assert!(!growing("hard.raw") && !growing("soft.raw"));
        std::fs::remove_dir_all(&base)
    }

    #[test]
    fn lost_notifications_leave_no_file_growing_for_ever() {
        let growth = Growth {
            shared: Arc::default(),
            idle: Duration::from_secs(5),
            _watcher: None,
        };
        let path = Path::new("/x");
        let long_ago = SystemTime::UNIX_EPOCH;
        let growing = || growth.is_growing(path, long_ago, SystemTime::now());
        let created = EventKind::Create(notify::event::CreateKind::File);
        let event = notify::Event::new(created).add_path(path.into());
        note(&growth.shared, &event);
        assert!(growing());
        // The system's queue was full: the close may have been in it.
        let lost = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        note(&growth.shared, &lost);
        assert!(!growing());
    }

    #[test]
    fn unknown_files_are_judged_by_their_age() {
        let growth = Growth {
            shared: Arc::default(),
            idle: Duration::from_secs(5),
            _watcher: None,
        };
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let path = Path::new("/x");
        assert_eq!(
            growth.finishes_in(path, modified, modified + Duration::from_secs(2)),
            Some(Duration::from_secs(3))
        );
        assert_eq!(
            growth.finishes_in(path, modified, modified + Duration::from_secs(5)),
            None
        );
    }
}
