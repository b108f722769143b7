//! What a program writes to its standard output, as a source.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;

use super::super::packets::pause;
use super::super::{Backoff, Status};
use super::{Stream, once};
use crate::config::Input;
use crate::server::Relay;

/// Bytes of a line of the program's errors that are logged.
const MAX_LINE: usize = 500;

/// `kind = "command"`: again whenever it ends.
pub(super) async fn run(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
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
        status.is("backing off");
        if pause(relay, backoff.after(began.elapsed(), rand::random())).await {
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

async fn log_lines(mount: String, mut errors: tokio::process::ChildStderr) {
    let mut lines = Lines::default();
    let mut piece = [0; 4096];
    while let Ok(len @ 1..) = errors.read(&mut piece).await {
        lines.push(&piece[..len], |line| {
            tracing::info!(mount = %mount, "command: {line}");
        });
    }
}

/// What a terminal would show of a program's output, line by line. Nothing in
/// it ends the reading: a program whose errors nobody takes stands still.
#[derive(Debug, Default)]
struct Lines {
    /// The line so far, without what is too much of it.
    line: Vec<u8>,
    /// What comes next overwrites the line.
    returned: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut say: impl FnMut(&str)) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.returned = false;
                    say(&String::from_utf8_lossy(&std::mem::take(&mut self.line)));
                }
                // Programs count their progress on one line.
                b'\r' => self.returned = true,
                byte => {
                    if std::mem::take(&mut self.returned) {
                        self.line.clear();
                    }
                    if self.line.len() < MAX_LINE {
                        self.line.push(*byte);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_a_terminal() {
        let mut lines = Lines::default();
        let mut said = Vec::new();
        for piece in ["one\r\ntw", "o\n10 %\r20 %", "\r30 %\n\n", "last"] {
            lines.push(piece.as_bytes(), |line| said.push(line.to_owned()));
        }
        assert_eq!(said, ["one", "two", "30 %", ""]);
        said.clear();
        lines.push(b" caf\xe9\n", |line| said.push(line.to_owned()));
        assert_eq!(said, ["last caf\u{fffd}"]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_room() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.push(&[b'x'; 4096], |_| panic!("no end"));
        }
        assert!(lines.line.capacity() <= 2 * MAX_LINE);
        let mut said = 0;
        lines.push(b"\n", |line| said = line.len());
        assert_eq!(said, MAX_LINE);
    }
}
