//! Follows a mount as its listeners do, over programmes and pauses.

use std::sync::Arc;
use std::time::Duration;

use seamcast_media::units::MediaDuration;
use tokio::sync::Notify;

use crate::mount::Mount;
use crate::mount::log::{self, Entry, JoinFrom, Status};
use crate::server::Relay;

/// How often to look whether the mount is there (again).
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Entries taken at a time.
const BATCH: usize = 64;

#[derive(Debug, Default)]
struct Bell(Notify);

impl log::Notify for Bell {
    fn notify(&self) {
        self.0.notify_one();
    }
}

struct Here {
    mount: Arc<Mount>,
    bell: Arc<Bell>,
    /// The next entry.
    index: u64,
}

impl Drop for Here {
    fn drop(&mut self) {
        let bell: Arc<dyn log::Notify> = self.bell.clone();
        self.mount.log.unsubscribe(&bell);
    }
}

/// A place in the log of whichever mount has the name now.
pub(crate) struct Follower {
    relay: Arc<Relay>,
    name: String,
    here: Option<Here>,
    /// Entries that history had dropped before they were read.
    missed: u64,
}

impl Follower {
    pub(crate) fn new(relay: Arc<Relay>, name: &str) -> Self {
        Self {
            relay,
            name: name.to_owned(),
            here: None,
            missed: 0,
        }
    }

    /// Begins again at the live edge with the next call.
    pub(crate) fn leave(&mut self) {
        self.here = None;
    }

    /// Says what was missed since the last time, if anything was.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        let missed = std::mem::take(&mut self.missed);
        (missed > 0).then(|| {
            format!("fell behind what mount {} keeps, {missed} chunks are missed; raise history or history_bytes", self.name)
        })
    }

    /// The next entries, at least one. The first of another programme comes
    /// with `true`. Waits for as long as nothing is on air.
    pub(crate) async fn next(&mut self) -> (bool, Vec<Arc<Entry>>) {
        let mut fresh = false;
        let mut entries = Vec::new();
        loop {
            let Some(here) = &mut self.here else {
                match self.relay.mounts.find(&self.name) {
                    Some(mount) if mount.is_ready() && mount.log.head().status != Status::Ended => {
                        let bell = Arc::new(Bell::default());
                        mount.log.subscribe(bell.clone());
                        let index = mount.log.join(&JoinFrom::Live, MediaDuration::ZERO).index;
                        fresh = true;
                        self.here = Some(Here { mount, bell, index });
                    }
                    _ => tokio::time::sleep(LOOK_EVERY).await,
                }
                continue;
            };
            // Before reading: nothing comes after the end.
            let over = here.mount.log.head().status == Status::Ended;
            if !here.mount.log.read(here.index, BATCH, &mut entries) {
                let oldest = here.mount.log.head().oldest;
                self.missed += oldest.saturating_sub(here.index);
                here.index = oldest;
                continue;
            }
            if let Some(last) = entries.last() {
                here.index = last.index + 1;
                return (fresh, entries);
            }
            if over {
                self.here = None;
                continue;
            }
            here.bell.0.notified().await;
        }
    }
}
