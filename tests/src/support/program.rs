//! Other programs, run under a time limit and never left behind.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a program gave no result.
#[derive(Debug)]
pub enum ProgramError {
    /// It could not be started; usually it is not installed.
    Start(String),
    /// It ran longer than allowed and was killed. Holds what it had printed.
    TimedOut(String),
    /// It ended with another status than 0. Holds what it had printed.
    Failed(String),
}

impl std::fmt::Display for ProgramError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start(m) | Self::TimedOut(m) | Self::Failed(m) => f.write_str(m),
        }
    }
}

impl std::error::Error for ProgramError {}

/// What an ended program left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Everything it wrote to standard error, as text.
    pub stderr: String,
}

/// A program about to be run.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: String,
    limit: Duration,
    input: Option<Vec<u8>>,
}

impl Program {
    /// `name` is looked up in `PATH` unless it has a slash. The time limit is 60 s.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        let name = name.as_ref();
        let mut command = Command::new(name);
        // Cargo describes the tests in the environment; a cargo that they start
        // must not rebuild because that is not its caller's.
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&variable);
            }
        }
        Self {
            command,
            name: name.to_string_lossy().into_owned(),
            limit: Duration::from_secs(60),
            input: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn in_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Kills the program and what it started when it runs longer than this.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Bytes for standard input, closed after them. Without, it is empty.
    #[must_use]
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(bytes);
        self
    }

    /// Runs to the end, whatever the exit status.
    ///
    /// # Errors
    /// [`ProgramError::Start`] or [`ProgramError::TimedOut`].
    pub fn finish(mut self) -> Result<Finished, ProgramError> {
        let input = self.input.take();
        let limit = self.limit;
        let mut running = self.spawn()?;
        let writer = running.stdin().zip(input).map(|(mut stdin, bytes)| {
            // A program that closes its input early says so by its status.
            std::thread::spawn(move || drop(stdin.write_all(&bytes)))
        });
        let finished = running.wait(limit);
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        finished
    }

    /// Runs to the end and insists on exit status 0.
    ///
    /// # Errors
    /// Any [`ProgramError`]; the message has the program's standard error.
    pub fn run(self) -> Result<Finished, ProgramError> {
        let name = self.name.clone();
        let finished = self.finish()?;
        if finished.status.success() {
            Ok(finished)
        } else {
            let status = finished.status;
            let said = tail(&finished.stderr);
            Err(ProgramError::Failed(format!(
                "{name} ended with {status}: {said}"
            )))
        }
    }

    /// Starts it and returns at once. It is killed when the value is dropped.
    ///
    /// # Errors
    /// [`ProgramError::Start`] when it cannot be started.
    pub fn spawn(mut self) -> Result<Running, ProgramError> {
        // A group of its own, so that what the program starts ends with it.
        self.command.process_group(0);
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.command.spawn().map_err(|e| {
            ProgramError::Start(format!("cannot start {}: {e}; is it installed?", self.name))
        })?;
        let stdout = Captured::of(child.stdout.take());
        let stderr = Captured::of(child.stderr.take());
        let stdin = child.stdin.take();
        Ok(Running {
            child,
            name: self.name,
            stdin,
            stdout,
            stderr,
            ended: None,
        })
    }
}

/// A program in the background. Dropping it kills its process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    stdin: Option<ChildStdin>,
    stdout: Captured,
    stderr: Captured,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Standard input, once. Dropping it closes the program's input; it is also
    /// closed by [`Running::wait`] when nobody took it.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, when the program has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.so_far()
    }

    /// Standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// Waits until either output contains `text`. `None` when the program ends or
    /// `limit` passes first; the line that contains it otherwise.
    pub fn wait_for_output(&mut self, text: &str, limit: Duration) -> Option<String> {
        let until = Instant::now() + limit;
        loop {
            let ended = self.ended().is_some();
            for bytes in [self.stdout.so_far(), self.stderr.so_far()] {
                let said = String::from_utf8_lossy(&bytes);
                if let Some(line) = said.lines().find(|l| l.contains(text)) {
                    return Some(line.to_owned());
                }
            }
            if ended || Instant::now() > until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal by its number (2 interrupt, 15 terminate, 1 hang up) to the
    /// program, not to what it started.
    pub fn signal(&mut self, signal: i32) {
        if self.ended().is_none() {
            kill(signal, &self.id().to_string());
        }
    }

    /// Waits for the end, at most `limit`, then kills it.
    ///
    /// # Errors
    /// [`ProgramError::TimedOut`] when it had to be killed.
    pub fn wait(&mut self, limit: Duration) -> Result<Finished, ProgramError> {
        drop(self.stdin.take());
        let until = Instant::now() + limit;
        while self.ended().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let in_time = self.ended();
        if in_time.is_none() {
            self.kill();
        }
        // A grandchild may hold the pipes open: what was read by then is enough.
        self.stdout.drained(Duration::from_secs(2));
        self.stderr.drained(Duration::from_secs(2));
        match in_time {
            Some(status) => Ok(Finished {
                status,
                stdout: self.stdout(),
                stderr: self.stderr(),
            }),
            None => Err(ProgramError::TimedOut(format!(
                "{} was killed after {limit:?}: {}",
                self.name,
                tail(&self.stderr())
            ))),
        }
    }

    /// Kills the program and everything in its process group.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            kill(9, &format!("-{}", self.id()));
            self.ended = self.child.wait().ok().or(Some(ExitStatus::from_raw(9)));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `kill(1)`, for `forbid(unsafe_code)`'s sake.
fn kill(signal: i32, target: &str) {
    let _ = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg("--")
        .arg(target)
        .stderr(Stdio::null())
        .status();
}

/// The output of a program, read by a thread.
#[derive(Debug, Default)]
struct Captured {
    shared: Arc<(Mutex<Output>, Condvar)>,
}

#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    closed: bool,
}

impl Captured {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let captured = Self::default();
        let shared = Arc::clone(&captured.shared);
        std::thread::spawn(move || {
            let lock = || shared.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(mut pipe) = pipe {
                let mut block = [0; 65536];
                loop {
                    match pipe.read(&mut block) {
                        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                        Ok(0) | Err(_) => break,
                        Ok(n) => lock().bytes.extend_from_slice(&block[..n]),
                    }
                }
            }
            lock().closed = true;
            shared.1.notify_all();
        });
        captured
    }

    fn so_far(&self) -> Vec<u8> {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes
            .clone()
    }

    fn drained(&self, limit: Duration) {
        let output = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.shared
                .1
                .wait_timeout_while(output, limit, |o| !o.closed),
        );
    }
}

/// Insists that programs are installed.
///
/// # Panics
/// Names every one that is missing. A missing tool is an error, not a skip.
pub fn require(programs: &[&str]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|p| !std::env::split_paths(&path).any(|dir| dir.join(p).is_file()))
        .collect();
    assert!(
        missing.is_empty(),
        "not installed: {}; `cargo xtask test` installs what the tests need",
        missing.join(", ")
    );
}

/// The last lines of what a program said.
fn tail(text: &str) -> String {
    let text = text.trim();
    let from = text.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_reaches_the_program_and_output_comes_back() {
        let bytes: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        let out = Program::new("cat").input(bytes.clone()).run().unwrap();
        assert_eq!(out.stdout, bytes);
    }

    #[test]
    fn a_program_over_its_limit_is_killed_with_its_children() {
        let started = Instant::now();
        let out = Program::new("sh")
            .args(["-c", "sleep 30 & sleep 30"])
            .limit(Duration::from_millis(200))
            .finish();
        assert!(matches!(out, Err(ProgramError::TimedOut(_))));
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_failure_carries_standard_error() {
        let out = Program::new("sh")
            .args(["-c", "echo why >&2; exit 3"])
            .run();
        assert!(matches!(out, Err(ProgramError::Failed(m)) if m.contains("why")));
        assert!(matches!(
            Program::new("no-such-program").run(),
            Err(ProgramError::Start(_))
        ));
    }

    #[test]
    fn output_is_seen_while_it_runs() {
        let mut running = Program::new("sh")
            .args(["-c", "echo ready on 17; sleep 30"])
            .spawn()
            .unwrap();
        let line = running.wait_for_output("ready", Duration::from_secs(5));
        assert_eq!(line.as_deref(), Some("ready on 17"));
        assert!(running.ended().is_none());
    }
}
