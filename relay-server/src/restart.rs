//! A new process in this one's place, on the same listening sockets.
//!
//! The socket goes to the successor as its standard input, as inetd and
//! systemd's `StandardInput=socket` do it. It never stops listening, so that
//! connections that come in between wait in its queue and none is refused.
//! Where there is one for SHOUTcast sources, too, standard input is a Unix
//! socket by which both come (`SCM_RIGHTS`, unix(7)).

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use socket2::SockRef;

/// What comes along with the sockets: standard input may be any Unix socket.
const LABEL: &[u8] = b"seamcast listeners";

/// How to start the program again.
#[derive(Debug)]
pub struct Successor {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, String)>,
    listener: OwnedFd,
    shoutcast: Option<OwnedFd>,
}

impl Successor {
    /// This program with its arguments, on `listener`. `variables` are set for
    /// it beside those that are set here.
    ///
    /// # Errors
    /// When the program's file or the socket cannot be had.
    pub fn of_this(
        listener: &impl AsFd,
        variables: Vec<(&'static str, String)>,
    ) -> io::Result<Self> {
        Ok(Self {
            // Looked up now: later the file may have been replaced, which is
            // what a restart is for.
            program: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
            variables,
            listener: listener.as_fd().try_clone_to_owned()?,
            shoutcast: None,
        })
    }

    /// Hands over the socket for SHOUTcast sources, too.
    pub(crate) fn with_shoutcast(self, shoutcast: Option<OwnedFd>) -> Self {
        Self { shoutcast, ..self }
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
        let stdin = match &self.shoutcast {
            Some(shoutcast) => parcel(&self.listener, shoutcast)?,
            None => self.listener,
        };
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.variables)
            .stdin(Stdio::from(stdin))
            .spawn()?;
        Ok(child.id())
    }
}

/// A socket in whose queue both are.
fn parcel(listener: &OwnedFd, shoutcast: &OwnedFd) -> io::Result<OwnedFd> {
    let (here, there) = UnixStream::pair()?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let both = [listener.as_fd(), shoutcast.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&both));
    sendmsg(
        &here,
        &[IoSlice::new(LABEL)],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(there.into())
}

/// Listening sockets that were given to this process.
#[derive(Debug)]
pub struct Passed {
    /// For listeners and sources.
    pub http: TcpListener,
    /// For SHOUTcast sources.
    pub shoutcast: Option<TcpListener>,
}

/// What standard input gives, if it gives any.
///
/// # Errors
/// When it cannot be made ready.
pub fn passed() -> io::Result<Option<Passed>> {
    let stdin = io::stdin();
    // Anything that is no socket is no listening one.
    let mut sockets = if SockRef::from(&stdin).is_listener().unwrap_or(false) {
        vec![TcpListener::from(stdin.as_fd().try_clone_to_owned()?)]
    } else {
        unpack(&stdin)?
    }
    .into_iter();
    let Some(http) = sockets.next() else {
        return Ok(None);
    };
    let shoutcast = sockets.next();
    for listener in [Some(&http), shoutcast.as_ref()].into_iter().flatten() {
        listener.set_nonblocking(true)?;
    }
    Ok(Some(Passed { http, shoutcast }))
}

/// What [`parcel`] packed; nothing when `socket` is something else, of which
/// nothing is taken then.
fn unpack(socket: &impl AsFd) -> io::Result<Vec<TcpListener>> {
    let mut label = [0; LABEL.len()];
    let look = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    if recv(socket, &mut label[..], look).is_err() || label != LABEL {
        return Ok(Vec::new());
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut label)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(found) = message {
            sockets.extend(found.map(TcpListener::from));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn two_sockets_come_through_one() {
        let bound = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let sockets = [bound(), bound()];
        let addresses = sockets.each_ref().map(|s| s.local_addr().expect("bound"));
        let [one, other] = sockets.map(OwnedFd::from);
        let parcel = parcel(&one, &other).expect("packed");
        drop((one, other));
        let found = unpack(&parcel).expect("unpacked");
        let found: Vec<_> = found
            .iter()
            .map(|s| s.local_addr().expect("bound"))
            .collect();
        assert_eq!(found, addresses);
        assert!(unpack(&parcel).expect("empty").is_empty());
    }

    #[test]
    fn other_input_is_left_alone() {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        assert!(unpack(&there).expect("nothing yet").is_empty());
        here.write_all(b"audio of somebody's own").expect("room");
        assert!(unpack(&there).expect("other").is_empty());
        drop(here);
        let mut all = String::new();
        there.read_to_string(&mut all).expect("all of it");
        assert_eq!(all, "audio of somebody's own");
        let file = std::fs::File::open("/dev/null").expect("a file");
        assert!(unpack(&file).expect("no socket").is_empty());
    }
}
