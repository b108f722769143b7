//! A file that grows, as a source.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use super::super::Status;
use super::once;
use crate::config::Input;
use crate::ingest::feed::{self, Body};
use crate::server::Relay;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A file that another program appends to.
struct Growing<'s> {
    file: tokio::fs::File,
    path: &'s Path,
    /// Bytes taken so far.
    taken: u64,
    patience: Duration,
    grew: Instant,
    status: &'s Status,
}

impl Growing<'_> {
    /// That its writer cut it shorter than what was taken of it.
    async fn shrank(&self) -> Option<String> {
        let len = self.file.metadata().await.ok()?.len();
        (len < self.taken).then(|| {
            format!(
                "{} shrank from {} to {len} bytes; it is read again from its beginning when it changes",
                self.path.display(),
                self.taken
            )
        })
    }
}

impl feed::Source for Growing<'_> {
    async fn next(&mut self) -> Body {
        loop {
            let mut buffer = BytesMut::with_capacity(16 * 1024);
            match self.file.read_buf(&mut buffer).await {
                Ok(0) => {
                    if let Some(why) = self.shrank().await {
                        self.status.failed(&why);
                        return Body::Lost(why);
                    }
                    if self.grew.elapsed() >= self.patience {
                        return Body::Closed;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Ok(len) => {
                    self.grew = Instant::now();
                    self.taken += len as u64;
                    self.status.bytes.fetch_add(len as u64, Ordering::Relaxed);
                    return Body::More(Bytes::from(buffer));
                }
                Err(error) => return Body::Lost(error.to_string()),
            }
        }
    }
}

/// By which a file is known again: its inode, length and time.
#[derive(Debug, PartialEq, Eq)]
struct Mark(u64, u64, Option<SystemTime>);

impl Mark {
    fn of(found: &std::fs::Metadata) -> Self {
        Self(found.ino(), found.len(), found.modified().ok())
    }
}

/// `kind = "growing"`: from its beginning to its end; then the next file of
/// that name.
pub(super) async fn follow(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    let follow = async {
        let mut seen = None;
        loop {
            let known = tokio::fs::metadata(&input.path).await;
            let here = known.as_ref().ok().filter(|found| found.len() > 0);
            let here = here.map(Mark::of);
            if here.is_none() || here == seen {
                if let Err(error) = known {
                    status.failed(&format!("{}: {error}", input.path.display()));
                }
                tokio::time::sleep(LOOK_EVERY * 4).await;
                continue;
            }
            match tokio::fs::File::open(&input.path).await {
                Ok(file) => {
                    let mut source = Growing {
                        file,
                        path: &input.path,
                        taken: 0,
                        patience: input.timeout,
                        grew: Instant::now(),
                        status,
                    };
                    let peer = input.path.display().to_string();
                    once(relay, input, status, &peer, &mut source).await;
                    status.is("waiting");
                    // Of the file that was read: another may have its name by now.
                    let read = source.file.metadata().await;
                    seen = read.ok().as_ref().map(Mark::of);
                }
                Err(error) => {
                    status.failed(&format!("{}: {error}", input.path.display()));
                    tokio::time::sleep(LOOK_EVERY * 4).await;
                }
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = relay.drained() => {}
    }
}
