//! A file that grows, as a source.

use std::os::unix::fs::{FileExt as _, MetadataExt as _};
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

/// Last bytes by which what was taken is known again, and where in a file they
/// are none: headers are corrected.
const TAIL: usize = 64;
const MAY_CHANGE: u64 = 4096;
/// How long the end of its own accord may take, on a disk that stands still.
const GRACE: Duration = Duration::from_secs(30);

/// A file that another program appends to.
struct Growing<'s> {
    file: tokio::fs::File,
    path: &'s Path,
    /// Bytes taken so far, and the last of them.
    taken: u64,
    tail: Vec<u8>,
    /// It has other content now, from its beginning on.
    rewritten: bool,
    /// There was nothing more at the last look.
    waited: bool,
    /// The same file, to look at what was taken.
    again: Arc<std::fs::File>,
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

    /// That something else is where what was taken has been: its writer began
    /// anew, and was beyond that place before anybody looked.
    async fn differs(&self) -> bool {
        let (file, tail) = (self.again.clone(), self.tail.clone());
        let at = self.taken - tail.len() as u64;
        if at < MAY_CHANGE {
            return false;
        }
        let differs = tokio::task::spawn_blocking(move || {
            let mut now = vec![0; tail.len()];
            file.read_exact_at(&mut now, at).is_ok() && now != tail
        });
        differs.await.unwrap_or(false)
    }
}

impl feed::Source for Growing<'_> {
    /// It ends by itself before.
    fn patience(&self) -> Option<Duration> {
        Some(self.patience + GRACE)
    }

    async fn next(&mut self) -> Body {
        loop {
            // One that is shorter now is found below.
            if self.waited && self.differs().await {
                self.rewritten = true;
                let shown = self.path.display();
                let why = format!("{shown} has other content; it is read from its beginning");
                self.status.failed(&why);
                return Body::Lost(why);
            }
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
                    self.waited = true;
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Ok(len) => {
                    self.grew = Instant::now();
                    self.waited = false;
                    self.taken += len as u64;
                    self.tail.extend_from_slice(&buffer);
                    self.tail.drain(..self.tail.len().saturating_sub(TAIL));
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
            let opened = std::fs::File::open(&input.path);
            match opened.and_then(|file| Ok((file.try_clone()?, file))) {
                Ok((again, file)) => {
                    let mut source = Growing {
                        file: file.into(),
                        path: &input.path,
                        taken: 0,
                        tail: Vec::with_capacity(32 * 1024),
                        rewritten: false,
                        waited: false,
                        again: Arc::new(again),
                        patience: input.timeout,
                        grew: Instant::now(),
                        status,
                    };
                    let peer = input.path.display().to_string();
                    once(relay, input, status, &peer, &mut source).await;
                    status.is("waiting");
                    // Of the file that was read: another may have its name by now.
                    let read = source.file.metadata().await;
                    let read = read.ok().filter(|_| !source.rewritten);
                    seen = read.as_ref().map(Mark::of);
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
