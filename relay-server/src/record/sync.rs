//! Making sure that recordings survive a power cut, on threads of its own: a
//! disk that takes its time over that holds up no copying.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Threads: file systems commit for several files at once.
const THREADS: usize = 4;

/// A recording's files.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    pub(super) media: File,
    pub(super) index: File,
    pub(super) journal: File,
    /// Folders whose new entries are not on the disk yet.
    folders: Mutex<Vec<PathBuf>>,
    /// Queued and not begun.
    pending: AtomicBool,
    /// What the disk last said.
    failed: Mutex<Option<io::Error>>,
}

impl Files {
    /// Those of the recording at `path`, not synchronised yet, new in `folders`.
    pub(super) fn new(
        path: &Path,
        media: File,
        index: File,
        journal: File,
        folders: Vec<PathBuf>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            media,
            index,
            journal,
            folders: Mutex::new(folders),
            pending: AtomicBool::new(false),
            failed: Mutex::new(None),
        }
    }

    /// Waits until all that was written is on the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.media.sync_data()?;
        self.journal.sync_data()?;
        // A file that no folder names is lost, too. Not every file system
        // synchronises folders, and not every folder may be read.
        for folder in std::mem::take(&mut *lock(&self.folders)) {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

/// The threads' queue; each file is in it once at most. They end with it.
#[derive(Clone, Debug)]
pub(super) struct Syncer(mpsc::Sender<Arc<Files>>);

impl Syncer {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, queue) = mpsc::channel::<Arc<Files>>();
        let queue = Arc::new(Mutex::new(queue));
        for index in 0..THREADS {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("sync-{index}"))
                .spawn(move || {
                    loop {
                        let files = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(files) = files else { return };
                        // What is written from now on is queued again.
                        files.pending.store(false, Ordering::Release);
                        if let Err(error) = files.sync() {
                            // Who writes them asks at the next time; nobody does after the last.
                            if Arc::strong_count(&files) == 1 {
                                let recording = files.path.display();
                                tracing::error!(%recording, %error, "the end of a recording may not survive a power cut; look at the disk");
                            }
                            *lock(&files.failed) = Some(error);
                        }
                    }
                })?;
        }
        Ok(Self(sender))
    }

    /// Synchronises soon.
    ///
    /// # Errors
    /// What the disk said the last time.
    pub(super) fn sync(&self, files: &Arc<Files>) -> io::Result<()> {
        if let Some(error) = lock(&files.failed).take() {
            return Err(error);
        }
        if !files.pending.swap(true, Ordering::AcqRel) {
            // The threads live as long as there is a sender.
            let _ = self.0.send(files.clone());
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
