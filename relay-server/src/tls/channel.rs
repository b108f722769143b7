//! The server's side of one TLS connection, without its socket.

use std::cell::RefCell;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;

use tokio_rustls::rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use tokio_rustls::rustls::unbuffered::{
    ConnectionState, EncodeError, UnbufferedStatus, WriteTraffic,
};
use tokio_rustls::rustls::{Error, ServerConfig};

/// Plaintext taken by one write at most, and thus held while the socket takes no more.
pub(crate) const MAX_WRITE: usize = 32 << 10;
/// Bytes that are not a whole message yet at most (rustls bounds handshake messages likewise), and
/// answers that the peer does not fetch.
const MAX_PART: usize = 64 << 10;
/// What records add to [`MAX_WRITE`], and an update of keys before them.
const OVERHEAD: usize = 1024;

/// A TLS connection: bytes of the peer go in, plaintext comes out, and the reverse.
///
/// rustls' buffered connections keep 4 KiB for their next read each. This one keeps bytes only
/// while they wait, in either direction, and works in a space that the thread has once.
pub struct Channel {
    connection: UnbufferedServerConnection,
    /// From the peer, not a whole record yet.
    incoming: Vec<u8>,
    /// Decrypted and not read yet, from `read` on.
    plain: Vec<u8>,
    read: usize,
    /// For the peer, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    answered: bool,
    open: bool,
    ended: bool,
    closed: bool,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

thread_local! {
    /// Where records are made; what a socket takes at once never leaves it.
    static SPACE: RefCell<Space> = const {
        RefCell::new(Space { joined: Vec::new(), records: Vec::new() })
    };
}

struct Space {
    joined: Vec<u8>,
    records: Vec<u8>,
}

impl Channel {
    /// A connection before its handshake.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            plain: Vec::new(),
            read: 0,
            outgoing: Vec::new(),
            sent: 0,
            answered: false,
            open: false,
            ended: false,
            closed: false,
        })
    }

    /// Whether it has had something to say to the peer, which is what takes time.
    pub(crate) const fn has_answered(&self) -> bool {
        self.answered
    }

    /// Whether the handshake is done.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the peer has said that nothing more comes.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes bytes from the peer. After an error only what is to be sent still matters.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.incoming.extend_from_slice(bytes);
        self.run(|_| ())?;
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        let held = self.incoming.len().max(self.outgoing.len() - self.sent);
        if held > MAX_PART {
            return Err(invalid("a message in TLS is longer than 64 KiB"));
        }
        Ok(())
    }

    /// Plaintext from the peer.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let there = &self.plain[self.read..];
        let n = there.len().min(buffer.len());
        buffer[..n].copy_from_slice(&there[..n]);
        self.read += n;
        if self.read == self.plain.len() {
            self.plain = Vec::new();
            self.read = 0;
        }
        n
    }

    /// Writes what is held, then encrypts at most [`MAX_WRITE`] bytes and writes them, too. All
    /// that is counted as taken has left or is held; more is taken only when nothing is.
    pub(crate) fn write(
        &mut self,
        socket: &mut impl Write,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.flush(socket)?;
        SPACE.with_borrow_mut(|Space { joined, records }| {
            let plain = match slices {
                [one] => &one[..one.len().min(MAX_WRITE)],
                _ => {
                    joined.clear();
                    for slice in slices {
                        let room = MAX_WRITE - joined.len();
                        joined.extend_from_slice(&slice[..slice.len().min(room)]);
                    }
                    joined
                }
            };
            records.resize(MAX_WRITE + OVERHEAD, 0);
            let made = self.run(|mut traffic| traffic.encrypt(plain, records))?;
            let made = made.ok_or_else(|| invalid("TLS is not ready to send"))?;
            let made = made.map_err(|error| io::Error::other(error.to_string()))?;
            self.send(socket, &records[..made])?;
            Ok(plain.len())
        })
    }

    /// Writes what is held.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.sent < self.outgoing.len() {
            match socket.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Holds records that were made by [`Channel::write`] for another writer and did not reach it.
    pub(crate) fn hold(&mut self, records: &[u8]) {
        self.outgoing.extend_from_slice(records);
    }

    /// Queues the end of what is sent (RFC 8446 §6.1), once.
    pub(crate) fn close(&mut self) {
        if !self.open || std::mem::replace(&mut self.closed, true) {
            return;
        }
        let mut alert = [0; 256];
        let made = self.run(|mut traffic| traffic.queue_close_notify(&mut alert));
        if let Ok(Some(Ok(made))) = made {
            self.outgoing.extend_from_slice(&alert[..made]);
        }
    }

    /// Writes `records`, after what is held; what the socket does not take is held.
    fn send(&mut self, socket: &mut impl Write, records: &[u8]) -> io::Result<()> {
        let mut left = records;
        // `run` may just have queued something, which comes first.
        if self.outgoing.is_empty() {
            match socket.write(records) {
                Ok(n) => left = &records[n..],
                Err(error) if is_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        self.outgoing.extend_from_slice(left);
        // So that whoever owns the socket is told when there is room.
        match self.flush(socket) {
            Err(error) if is_later(&error) => Ok(()),
            outcome => outcome,
        }
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Does what there is to do, and then, when data can be sent, what is asked for.
    fn run<T>(
        &mut self,
        then: impl FnOnce(WriteTraffic<'_, ServerConnectionData>) -> T,
    ) -> io::Result<Option<T>> {
        let (mut failed, mut then) = (None, Some(then));
        let done = loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut self.incoming);
            let done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    self.answered = true;
                    let from = self.outgoing.len();
                    if let Err(EncodeError::InsufficientSize(least)) = data.encode(&mut []) {
                        self.outgoing.resize(from + least.required_size, 0);
                        let made = data.encode(&mut self.outgoing[from..]).map_err(invalid)?;
                        self.outgoing.truncate(from + made);
                    }
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It is held here until it has left.
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    self.open = true;
                    let then = then.take().filter(|_| failed.is_none());
                    Some(then.map(|then| then(traffic)))
                }
                Ok(_) => Some(None),
                // Once more, for the alert that says why.
                Err(error) if failed.is_none() => {
                    failed = Some(error);
                    None
                }
                Err(_) => Some(None),
            };
            self.incoming.drain(..discard.min(self.incoming.len()));
            if let Some(done) = done {
                break done;
            }
        };
        failed.map_or(Ok(done), |error| Err(invalid(error)))
    }
}

/// Whether the socket is only full.
pub(crate) fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
