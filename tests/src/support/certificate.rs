//! A certificate of one's own and clients that trust it alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring::{cipher_suite, default_provider};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{Program, require};

/// A certificate for 127.0.0.1 and its key (P-256), as files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, in PEM.
    pub chain: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes `name.pem` and `name-key.pem` in a folder.
    ///
    /// # Panics
    /// When openssl is not installed.
    ///
    /// # Errors
    /// When it fails, or the folder cannot be written to.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        require(&["openssl"]);
        let chain = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}-key.pem"));
        let config = folder.join("openssl.cnf");
        let text = "[req]\ndistinguished_name = dn\nx509_extensions = ext\nprompt = no\n[dn]\nCN = relay\n\
                    [ext]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = critical, CA:FALSE\n";
        std::fs::write(&config, text)?;
        Program::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-config"])
            .arg(&config)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&chain)
            .run()?;
        Ok(Self { chain, key })
    }

    /// As keys of the relay's configuration.
    #[must_use]
    pub fn config(&self) -> String {
        format!(
            "tls_certificate = {:?}\ntls_key = {:?}\n",
            self.chain, self.key
        )
    }
}

/// What clients need that trust the certificates in `chain` alone. They prefer AES-128, as
/// browsers do on processors that have instructions for it, and resume no session.
///
/// # Errors
/// When the file holds no sound certificate.
pub fn client_config(chain: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(chain)? {
        roots.add(certificate?)?;
    }
    let mut provider = default_provider();
    let first = cipher_suite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|suite| *suite != first);
    provider.cipher_suites.insert(0, first);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection to 127.0.0.1 before its handshake.
///
/// # Errors
/// When the configuration does not allow any.
pub fn client(config: &Arc<ClientConfig>) -> Result<ClientConnection> {
    let name = ServerName::try_from("127.0.0.1")?;
    Ok(ClientConnection::new(config.clone(), name)?)
}
