//! The relay's certificate.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::config::Config;

/// First byte of a TLS handshake (RFC 8446 §5.1, `handshake(22)`); no HTTP request begins with it.
pub(crate) const HANDSHAKE: u8 = 22;

/// What accepts TLS with the configured certificate; `None` when there is none.
///
/// # Errors
/// When one of the two files is missing, unreadable or does not fit the other.
pub fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, String> {
    let (certificate, key) = match (&config.tls_certificate, &config.tls_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err("tls_certificate is set but not tls_key; set both".into()),
        (None, Some(_)) => return Err("tls_key is set but not tls_certificate; set both".into()),
    };
    let server = server_config(certificate, key)?;
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
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
    Ok(server)
}
