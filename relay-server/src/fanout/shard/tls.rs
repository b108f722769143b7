//! A TLS listener's socket: what the session writes is encrypted first.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd};

use mio::net::TcpStream;

use crate::tls::Channel;

/// Bytes read from the socket at once; listeners say little.
const READ: usize = 4096;

pub(in super::super) struct Tls {
    socket: TcpStream,
    channel: Box<Channel>,
}

impl Tls {
    pub(super) const fn new(socket: TcpStream, channel: Box<Channel>) -> Self {
        Self { socket, channel }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Adds to `records` what is held and then `slices`, or as much of them as is counted in what is
    /// returned, encrypted. What of it does not reach the socket is to be given to [`Tls::hold`].
    pub(super) fn seal(
        &mut self,
        slices: &[IoSlice<'_>],
        records: &mut Vec<u8>,
    ) -> io::Result<usize> {
        self.channel.write(records, slices)
    }

    /// Keeps records for the next time.
    pub(super) fn hold(&mut self, records: &[u8]) {
        self.channel.hold(records);
    }

    /// Ends the sending side (RFC 8446 §6.1). False while the socket is too full
    /// for the alert: without it, the peer would take the end for a cut.
    pub(super) fn shut_down(&mut self) -> bool {
        self.channel.close();
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
        let mut space = [0; READ];
        loop {
            let n = self.channel.read(buffer);
            // Some peers close without a word; a listener has nothing that could be cut short.
            if n > 0 || self.channel.has_ended() {
                return Ok(n);
            }
            let n = self.socket.read(&mut space)?;
            if n == 0 {
                return Ok(0);
            }
            let outcome = self.channel.receive(&space[..n]);
            // An answer that finds the socket full goes with the next write.
            let _ = self.flush();
            outcome?;
        }
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.channel.write(&mut self.socket, slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel.flush(&mut self.socket)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.channel.close();
        // Nobody is left to be told when it fails.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::Arc;

    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig, crypto,
    };

    use super::*;
    use crate::tls::MAX_WRITE;

    /// Both ends of a connection after its handshake; the socket takes little.
    fn pair() -> (Tls, ClientConnection, std::net::TcpStream) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-batch"])
            .args(["-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "-", "-out", "-"])
            .output()
            .expect("openssl is installed")
            .stdout;
        let chain = CertificateDer::from_pem_slice(&made).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(&made).expect("a key");
        let provider = Arc::new(crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(chain.clone()).expect("sound");
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("sound");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let mut channel = Channel::new(Arc::new(server)).expect("sound");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("sound");

        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let near = std::net::TcpStream::connect(listener.local_addr().expect("bound"));
        let mut near = near.expect("connected");
        let (mut far, _) = listener.accept().expect("accepted");
        let handshake = std::thread::spawn(move || {
            let mut space = [0; 777];
            while !channel.is_open() {
                let n = far.read(&mut space).expect("more");
                channel.receive(&space[..n]).expect("a handshake");
                channel.flush(&mut far).expect("answered");
            }
            (channel, far)
        });
        client.complete_io(&mut near).expect("a handshake");
        let (channel, far) = handshake.join().expect("a handshake");
        far.set_nonblocking(true).expect("set");
        let options = socket2::SockRef::from(&far);
        options.set_send_buffer_size(8 << 10).expect("set");
        let tls = Tls::new(TcpStream::from_std(far), Box::new(channel));
        (tls, client, near)
    }

    fn is_full(outcome: &io::Result<impl Sized>) -> bool {
        matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    #[test]
    fn a_stalled_listener_holds_one_write_of_at_most_32_kib_and_misses_nothing() {
        let (mut tls, mut client, mut near) = pair();
        let piece: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let mut sent = Vec::new();
        // Nobody reads.
        loop {
            let outcome = tls.write_vectored(&[IoSlice::new(&piece), IoSlice::new(&piece)]);
            if is_full(&outcome) {
                break;
            }
            let n = outcome.expect("written");
            assert!(n <= MAX_WRITE, "{n} bytes at once");
            sent.extend_from_slice(&piece[..n]);
            let flushed = tls.flush();
            assert!(flushed.is_ok() || is_full(&flushed), "{flushed:?}");
            assert!(sent.len() < 100 << 20, "the socket is never full");
        }
        for _ in 0..100 {
            assert!(is_full(&tls.write(&piece)), "more is taken");
        }
        // What is held is the ciphertext of that one write.
        let held = tls.channel.held();
        assert!((1..MAX_WRITE + 200).contains(&held), "{held}");

        // The peer reads what the kernel has, then what was held.
        near.set_nonblocking(true).expect("set");
        let mut heard = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while heard.len() < sent.len() {
            assert!(std::time::Instant::now() < until, "{} bytes", heard.len());
            let flushed = tls.flush();
            assert!(flushed.is_ok() || is_full(&flushed), "{flushed:?}");
            if client.read_tls(&mut near).is_err() {
                std::thread::yield_now();
                continue;
            }
            client.process_new_packets().expect("sound records");
            while let Ok(n @ 1..) = client.reader().read(&mut buffer) {
                heard.extend_from_slice(&buffer[..n]);
            }
        }
        assert!(heard == sent);
        assert_eq!(tls.channel.held(), 0);
    }

    #[test]
    fn records_of_which_a_socket_took_any_part_arrive_whole_and_in_order() {
        let (mut tls, mut client, mut near) = pair();
        let (mut sent, mut heard) = (Vec::new(), Vec::new());
        for round in 0..60_usize {
            let piece: Vec<u8> = (0..1500).map(|n| (n * 7 + round) as u8).collect();
            let mut records = b"another listener's".to_vec();
            let from = records.len();
            let slices = [IoSlice::new(&piece[..100]), IoSlice::new(&piece[100..])];
            let n = tls.seal(&slices, &mut records).expect("sealed");
            assert_eq!((n, tls.channel.held()), (1500, 0));
            sent.extend_from_slice(&piece);
            assert!(records.starts_with(b"another listener's"));
            let records = &records[from..];
            let taken = match round % 3 {
                0 => records.len(),
                1 => 0,
                _ => round * 20,
            };
            tls.socket.write_all(&records[..taken]).expect("room");
            tls.hold(&records[taken..]);
            assert_eq!(tls.channel.held(), records.len() - taken);
            // Every other time, what is held goes with the next seal.
            if round % 2 == 0 {
                tls.flush().expect("room");
            }
            while heard.len() < sent.len() && tls.channel.held() == 0 {
                client.read_tls(&mut near).expect("records");
                client.process_new_packets().expect("sound records");
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = client.reader().read(&mut buffer) {
                    heard.extend_from_slice(&buffer[..n]);
                }
            }
        }
        tls.flush().expect("room");
        assert!(heard.len() >= sent.len() - 1500 && sent.starts_with(&heard));
    }

    #[test]
    fn a_full_socket_is_shut_down_later_with_close_notify() {
        let (mut tls, mut client, mut near) = pair();
        let piece = [7; 16 << 10];
        while !is_full(&tls.write(&piece)) {}
        assert!(!tls.shut_down());
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut stream = tokio_rustls::rustls::Stream::new(&mut client, &mut near);
            // An end without close_notify would be an error.
            stream.read_to_end(&mut all).map(|_| all)
        });
        while !tls.shut_down() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let all = reader.join().expect("joined").expect("a proper end");
        assert!(!all.is_empty() && all.iter().all(|byte| *byte == 7));
    }
}
