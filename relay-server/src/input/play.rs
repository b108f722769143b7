//! `growing`, `stdin` and `command` inputs.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use seamcast_media::wav;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use super::packets::pause;
use super::{Backoff, Status, tracks};
use crate::config::{Input, InputKind};
use crate::ingest::feed::{self, Body, Feed, Refusal};
use crate::ingest::media_type::Declared;
use crate::server::Relay;

/// How often a growing file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn enter(relay: &Arc<Relay>, input: &Input, peer: &str) -> Result<Feed, Refusal> {
    let declared = input.format.map_or(Declared::Sniff, |sample| {
        Declared::Pcm(wav::Format {
            sample,
            sample_rate: input.rate,
            channels: input.channels,
        })
    });
    let settings = super::mount_settings(&relay.config(), input);
    let info = super::info(input, peer.to_owned());
    Feed::with_settings(relay, &input.mount, settings, declared, info)
}

/// A stream as a source; complete at its end.
struct Stream<R> {
    reader: R,
    status: Arc<Status>,
}

impl<R: AsyncRead + Send + Unpin> feed::Source for Stream<R> {
    async fn next(&mut self) -> Body {
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        match self.reader.read_buf(&mut buffer).await {
            Ok(0) => Body::Closed,
            Ok(len) => {
                self.status.bytes.fetch_add(len as u64, Ordering::Relaxed);
                self.status.packets.fetch_add(1, Ordering::Relaxed);
                Body::More(buffer.freeze())
            }
            Err(error) => Body::Lost(error.to_string()),
        }
    }
}

/// `kind = "stdin"`: once.
pub(super) async fn stdin(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    match tokio::fs::File::open("/dev/stdin").await {
        Ok(reader) => {
            let mut source = Stream {
                reader,
                status: status.clone(),
            };
            once(relay, input, status, "stdin", &mut source).await;
        }
        Err(error) => status.failed(&format!("standard input cannot be read: {error}")),
    }
    status.is("ended");
}

async fn once(
    relay: &Arc<Relay>,
    input: &Input,
    status: &Arc<Status>,
    peer: &str,
    source: &mut impl feed::Source,
) {
    let outcome = match enter(relay, input, peer) {
        Ok(feed) => {
            status.is("live");
            status.starts.fetch_add(1, Ordering::Relaxed);
            feed::run(feed, source).await
        }
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = outcome {
        status.failed(&refusal.message);
    }
}

/// `kind = "command"`: again whenever it ends.
pub(super) async fn command(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        match spawn(input) {
            Ok(mut child) => {
                let group = Group::of(&child);
                if let Some(errors) = child.stderr.take() {
                    tokio::spawn(log_lines(input.mount.clone(), errors));
                }
                if let Some(reader) = child.stdout.take() {
                    let status = status.clone();
                    let mut source = Stream {
                        reader,
                        status: status.clone(),
                    };
                    once(relay, input, &status, "command", &mut source).await;
                }
                stop(&mut child, &group).await;
                if let Ok(Ok(code)) =
                    tokio::time::timeout(Duration::from_secs(1), child.wait()).await
                {
                    group.ended();
                    tracing::info!(mount = %input.mount, "the command ended: {code}");
                }
            }
            Err(error) => status.failed(&format!("the command cannot be started: {error}")),
        }
        if began.elapsed() > Duration::from_secs(30) {
            backoff.succeeded();
        }
        status.is("backing off");
        if pause(relay, backoff.failed(rand::random())).await {
            return;
        }
    }
}

fn spawn(input: &Input) -> io::Result<tokio::process::Child> {
    tokio::process::Command::new("/bin/sh")
        .args(["-c", &input.command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that what the shell started ends with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// What the shell started, too; told to stop when the input is let go of.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    fn terminate(&self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        }
    }

    /// Its number may be another's from now on.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.terminate();
    }
}

async fn stop(child: &mut tokio::process::Child, group: &Group) {
    group.terminate();
    if tokio::time::timeout(Duration::from_secs(2), child.wait())
        .await
        .is_err()
    {
        let _ = child.kill().await;
    }
}

async fn log_lines(mount: String, errors: tokio::process::ChildStderr) {
    let mut lines = BufReader::new(errors.take(u64::MAX)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line: String = line.chars().take(500).collect();
        tracing::info!(mount = %mount, "command: {line}");
    }
}

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

/// `kind = "growing"`: from its beginning to its end; then the next file of
/// that name.
pub(super) async fn growing(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    let follow = async {
        let mut seen = None;
        loop {
            let known = tokio::fs::metadata(&input.path).await;
            let mark = known.as_ref().ok().and_then(|found| {
                use std::os::unix::fs::MetadataExt as _;
                (found.len() > 0).then_some((found.ino(), found.len(), found.modified().ok()))
            });
            if mark.is_none() || mark == seen {
                if let Err(error) = known {
                    status.failed(&format!("{}: {error}", input.path.display()));
                }
                tokio::time::sleep(LOOK_EVERY * 4).await;
                continue;
            }
            if let Ok(file) = tokio::fs::File::open(&input.path).await {
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
            }
            seen = tokio::fs::metadata(&input.path).await.ok().map(|found| {
                use std::os::unix::fs::MetadataExt as _;
                (found.ino(), found.len(), found.modified().ok())
            });
        }
    };
    tokio::select! {
        () = follow => {}
        () = relay.drained() => {}
    }
}

/// Runs whichever kind it is.
pub(super) async fn run(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    match input.kind {
        InputKind::File => tracks::files(relay, input, status).await,
        InputKind::Growing => growing(relay, input, status).await,
        InputKind::Stdin => stdin(relay, input, status).await,
        _ => command(relay, input, status).await,
    }
}
