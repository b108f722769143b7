//! A TLS listener's socket: what the session writes goes through rustls.

use std::io::{self, IoSlice, Read, Write};

use mio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;

/// Plaintext held at most while the socket takes no more.
const BUFFER: usize = 32 << 10;

pub(in super::super) struct Tls {
    socket: TcpStream,
    connection: Box<ServerConnection>,
}

impl Tls {
    pub(super) fn new(socket: TcpStream, mut connection: Box<ServerConnection>) -> Self {
        connection.set_buffer_limit(Some(BUFFER));
        Self { socket, connection }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Ends the sending side (RFC 8446 §6.1). False while the socket is too full
    /// for the alert: without it, the peer would take the end for a cut.
    pub(super) fn shut_down(&mut self) -> bool {
        self.connection.send_close_notify();
        if self
            .flush()
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        {
            return false;
        }
        // It fails when the peer is gone, which reading will tell.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
        true
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Some peers close without a word; a listener has nothing that could be cut short.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                outcome => return outcome,
            }
            if self.connection.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            let outcome = self.connection.process_new_packets();
            outcome.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // More is taken only when all before it has left, so that the backlog stays in the log.
        self.flush()?;
        self.connection.writer().write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut self.socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.connection.send_close_notify();
        // Nobody is left to be told when it fails.
        let _ = self.flush();
    }
}
