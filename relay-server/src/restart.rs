//! A new process in this one's place, on the same listening socket.
//!
//! The socket goes to the successor as its standard input, as inetd and
//! systemd's `StandardInput=socket` do it. It never stops listening, so that
//! connections that come in between wait in its queue and none is refused.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use socket2::SockRef;

/// How to start the program again.
#[derive(Debug)]
pub struct Successor {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, String)>,
    listener: TcpListener,
}

impl Successor {
    /// This program with its arguments, on `listener`. `variables` are set for
    /// it beside those that are set here.
    ///
    /// # Errors
    /// When the program's file or the socket cannot be had.
    pub fn of_this(
        listener: &impl std::os::fd::AsFd,
        variables: Vec<(&'static str, String)>,
    ) -> io::Result<Self> {
        Ok(Self {
            // Looked up now: later the file may have been replaced, which is
            // what a restart is for.
            program: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
            variables,
            listener: listener.as_fd().try_clone_to_owned()?.into(),
        })
    }

    /// Whether the program there now can be run at all.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self) -> io::Result<()> {
        let said = Command::new(&self.program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()?;
        if said.status.success() {
            return Ok(());
        }
        let program = self.program.display();
        Err(io::Error::other(format!(
            "{program} --version ended with {}",
            said.status
        )))
    }

    /// Starts it; returns its process id.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self) -> io::Result<u32> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.variables)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(self.listener)))
            .spawn()?;
        Ok(child.id())
    }
}

/// The listening socket that standard input is, if it is one.
///
/// # Errors
/// When it cannot be made ready.
pub fn passed_listener() -> io::Result<Option<TcpListener>> {
    let stdin = io::stdin();
    // Anything that is no socket is no listening one.
    if !SockRef::from(&stdin).is_listener().unwrap_or(false) {
        return Ok(None);
    }
    let listener = TcpListener::from(stdin.as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}
