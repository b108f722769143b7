//! Back-pressure: a source that sends faster than it plays is held back while
//! the recorder cannot follow, so that history drops nothing unrecorded.

use std::time::Duration;

use crate::mount::{Mount, wall_clock_micros};

/// Bytes taken at once, so that little comes between two looks.
pub(super) const PIECE: usize = 8 * 1024;
/// How long a recorder that gets nowhere is waited for: a failing disk must
/// not stop the programme.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of one source.
#[derive(Debug, Default)]
pub(super) struct Brake {
    /// Entry at which the recorder was given up.
    given_up: Option<u64>,
}

impl Brake {
    /// Waits while the recorder is too far behind. Safe to cancel.
    pub(super) async fn wait(&mut self, mount: &Mount) {
        loop {
            let released = mount.log.released();
            let Some(next) = mount.log.pressed(wall_clock_micros()) else {
                return;
            };
            if self.given_up == Some(next) {
                return;
            }
            let stuck = tokio::time::timeout(PATIENCE, released).await.is_err();
            if stuck && mount.log.pressed(wall_clock_micros()) == Some(next) {
                tracing::warn!(mount = %mount.name, "the recorder does not follow; the source goes on without it");
                self.given_up = Some(next);
                return;
            }
        }
    }
}
