//! TLS by rustls, with the system's certificate authorities.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use headstart_base::{Error, ErrorCode, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes TLS connections. The authorities are read at the first one.
pub(crate) struct Tls {
    extra: Vec<PathBuf>,
    connector: Arc<OnceLock<TlsConnector>>,
}

impl Tls {
    pub(crate) fn new(extra: Vec<PathBuf>) -> Self {
        Self { extra, connector: Arc::default() }
    }

    /// The handshake. `tlsFailed` with rustls's reason.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::new(ErrorCode::TlsFailed, format!("{host} is no name that a certificate can have")))?;
        let connector = self.connector().await?;
        connector
            .connect(name, stream)
            .await
            .map_err(|error| Error::new(ErrorCode::TlsFailed, format!("TLS with {host} failed: {error}")))
    }

    async fn connector(&self) -> Result<TlsConnector> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector.clone());
        }
        let (extra, cell) = (self.extra.clone(), Arc::clone(&self.connector));
        let loading = tokio::task::spawn_blocking(move || {
            let connector = load(&extra)?;
            Ok(cell.get_or_init(|| connector).clone())
        });
        loading.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::Internal, "loading certificates was cut off")))
    }
}

fn load(extra: &[PathBuf]) -> Result<TlsConnector> {
    let failed = |why: String| Error::new(ErrorCode::TlsFailed, why);
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a system certificate cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    for path in extra {
        let unreadable = |error| failed(format!("the authorities in {} cannot be read: {error}", path.display()));
        for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
            let certificate = certificate.map_err(unreadable)?;
            roots.add(certificate).map_err(|error| failed(format!("{}: {error}", path.display())))?;
        }
    }
    if roots.is_empty() {
        return Err(failed("the node has no certificate authorities: install the package ca-certificates".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
