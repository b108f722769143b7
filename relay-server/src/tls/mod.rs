//! The relay's certificate, and handshakes that do not crowd out other work.

mod channel;
mod stream;

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::config::Config;
pub use channel::Channel;
#[cfg(test)]
pub(crate) use channel::MAX_WRITE;
pub(crate) use stream::TlsStream;

/// First byte of a TLS handshake (RFC 8446 §5.1, `handshake(22)`); no HTTP request begins with it.
pub(crate) const HANDSHAKE: u8 = 22;

/// What accepts TLS with the configured certificate; `None` when there is none.
///
/// # Errors
/// When one of the two files is missing, unreadable or does not fit the other.
pub fn acceptor(config: &Config) -> Result<Option<Arc<ServerConfig>>, String> {
    let (certificate, key) = match (&config.tls_certificate, &config.tls_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err("tls_certificate is set but not tls_key; set both".into()),
        (None, Some(_)) => return Err("tls_key is set but not tls_certificate; set both".into()),
    };
    Ok(Some(Arc::new(server_config(certificate, key)?)))
}

fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let unusable = |name: &str, path: &Path, why: &dyn std::fmt::Display| {
        format!("{name} {} is unusable: {why}", path.display())
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|why| unusable("tls_certificate", certificate, &why))?;
    if chain.is_empty() {
        let why = "it holds no certificate in PEM; give the whole chain, the server's first";
        return Err(unusable("tls_certificate", certificate, &why));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|why| unusable("tls_key", key, &why))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|why| format!("tls_certificate and tls_key do not fit: {why}"))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Sessions are kept by clients, in tickets (RFC 8446 §4.6.1), so that those of ten thousand
    // listeners who all come back are resumed and none of them takes memory here.
    server.ticketer = crypto::ring::Ticketer::new().map_err(|why| why.to_string())?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(server)
}

/// Handshakes on their way at most; others wait for a place, as long as a request head may take.
const PLACES: usize = 2048;

/// Admits handshakes: signing takes from 20 µs (P-256) to over a millisecond (RSA), on the runtime's threads, where
/// sources are read, too.
#[derive(Debug)]
pub(crate) struct Handshakes {
    places: Semaphore,
    turns: Semaphore,
}

impl Handshakes {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            places: Semaphore::new(PLACES),
            // Half of the threads are left to all others.
            turns: Semaphore::new((cores / 2).max(1)),
        }
    }

    /// Shakes hands. Who waits for its peer holds a place, who signs a turn. Turns come in order,
    /// so that a thousand who arrive at once neither fill the runtime's queue nor all take memory
    /// at once; whoever has been answered needs none, so that those who have begun end first.
    pub(crate) async fn accept(
        &self,
        config: Arc<ServerConfig>,
        socket: TcpStream,
    ) -> io::Result<TlsStream> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let mut turn = self.turns.acquire().await.map_err(io::Error::other)?;
        let mut stream = TlsStream::new(config, socket)?;
        loop {
            let outcome = poll_fn(|cx| Poll::Ready(stream.poll_handshake(cx))).await;
            drop(turn);
            if let Poll::Ready(outcome) = outcome {
                return outcome.map(|()| stream);
            }
            if stream.has_answered() {
                poll_fn(|cx| stream.poll_handshake(cx)).await?;
                return Ok(stream);
            }
            stream.socket().readable().await?;
            turn = self.turns.acquire().await.map_err(io::Error::other)?;
        }
    }
}
