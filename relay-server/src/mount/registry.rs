//! All mounts of a relay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::watch;

use super::{Mount, State};
use crate::config;

/// Mounts that are kept for the recorder at most; it looks several times a second.
const MOST_UNSEEN: usize = 64;

/// A mount that cannot be made. Retry later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// How many there are.
    pub mounts: usize,
}

/// The mounts by name.
#[derive(Debug, Default)]
pub struct Registry {
    mounts: RwLock<BTreeMap<String, Arc<Mount>>>,
    /// Were replaced or forgotten before the recorder saw them.
    unseen: Mutex<Vec<Arc<Mount>>>,
    changed: Arc<watch::Sender<()>>,
}

impl Registry {
    /// The mount called `name`.
    pub fn find(&self, name: &str) -> Option<Arc<Mount>> {
        self.read().get(name).cloned()
    }

    /// All mounts, by name.
    pub fn all(&self) -> Vec<Arc<Mount>> {
        self.read().values().cloned().collect()
    }

    /// The mount for a source: the one there is, unless its programme is
    /// over, or a new one. A finished mount's listeners keep its log.
    ///
    /// # Errors
    /// When there are `most` mounts already.
    pub fn open(
        &self,
        name: &str,
        settings: &config::Mount,
        most: usize,
        now: Instant,
    ) -> Result<Arc<Mount>, Full> {
        let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
        let before = mounts.get(name).cloned();
        if let Some(mount) = &before
            && !mount.is_over()
        {
            return Ok(mount.clone());
        }
        if mounts.len() >= most && before.is_none() {
            return Err(Full {
                mounts: mounts.len(),
            });
        }
        // Chained readers tell links apart by the serial number (RFC 3533 §4).
        let state = State::new(rand::random(), now);
        let mount = Mount::new(name, settings.clone(), state, before.as_deref());
        self.adopt(&mut mounts, &mount);
        Ok(mount)
    }

    /// Adds a mount that goes on from an earlier process. False when there is
    /// one of its name.
    pub(crate) fn insert(&self, mount: &Arc<Mount>) -> bool {
        let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
        let free = !mounts.contains_key(&mount.name);
        if free {
            self.adopt(&mut mounts, mount);
        }
        free
    }

    fn adopt(&self, mounts: &mut BTreeMap<String, Arc<Mount>>, mount: &Arc<Mount>) {
        // It is in one registry only.
        let _ = mount.changed.set(self.changed.clone());
        if let Some(before) = mounts.insert(mount.name.clone(), mount.clone()) {
            self.gone(before);
        }
        self.ring();
    }

    /// A whole programme may come and go between two looks of the recorder.
    fn gone(&self, mount: Arc<Mount>) {
        if !mount.awaits_recorder() {
            return;
        }
        let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        if unseen.len() < MOST_UNSEEN {
            unseen.push(mount);
        } else {
            tracing::warn!(mount = %mount.name, "programmes follow each other too quickly; this one is not recorded");
        }
    }

    /// The mounts that the recorder would not find in [`Registry::all`] any more.
    pub(crate) fn take_unseen(&self) -> Vec<Arc<Mount>> {
        std::mem::take(&mut *self.unseen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has those look again who wait for something to change.
    pub(crate) fn ring(&self) {
        self.changed.send_replace(());
    }

    /// Told of new mounts, lost sources and new settings: nobody needs to look all the time.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Ends what is due and forgets what is over. Call it once a second, after each
    /// change of the mounts, and when it says.
    pub fn tick(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for mount in self.all() {
            if mount.tick(now) {
                let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
                // A source may have replaced it meanwhile.
                if mounts
                    .get(&mount.name)
                    .is_some_and(|present| Arc::ptr_eq(present, &mount))
                {
                    mounts.remove(&mount.name);
                    self.gone(mount);
                }
            } else if let Some(at) = mount.ends_at() {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        next
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Mount>>> {
        self.mounts.read().unwrap_or_else(PoisonError::into_inner)
    }
}
