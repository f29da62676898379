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
    connectors: Arc<OnceLock<Connectors>>,
}

#[derive(Clone)]
struct Connectors {
    plain: TlsConnector,
    /// Agrees on HTTP/2.
    http2: TlsConnector,
}

impl Tls {
    pub(crate) fn new(extra: Vec<PathBuf>) -> Self {
        Self { extra, connectors: Arc::default() }
    }

    /// The handshake; with `http2`, a server that does not agree on HTTP/2 is refused. `tlsFailed` with the reason.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream, http2: bool) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::new(ErrorCode::TlsFailed, format!("{host} is no name that a certificate can have")))?;
        let failed = |why: &str| Error::new(ErrorCode::TlsFailed, format!("TLS with {host} failed: {why}"));
        let Connectors { plain, http2: agreeing } = self.connectors().await?;
        let connector = if http2 { agreeing } else { plain };
        let stream = connector.connect(name, stream).await.map_err(|error| failed(&error.to_string()))?;
        match http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            true => Err(failed("it does not speak HTTP/2")),
            false => Ok(stream),
        }
    }

    async fn connectors(&self) -> Result<Connectors> {
        if let Some(connectors) = self.connectors.get() {
            return Ok(connectors.clone());
        }
        let (extra, cell) = (self.extra.clone(), Arc::clone(&self.connectors));
        let loading = tokio::task::spawn_blocking(move || {
            let connectors = load(&extra)?;
            Ok(cell.get_or_init(|| connectors).clone())
        });
        loading.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::Internal, "loading certificates was cut off")))
    }
}

const HTTP2: &[u8] = b"h2";

fn load(extra: &[PathBuf]) -> Result<Connectors> {
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
    let mut http2 = config.clone();
    http2.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Connectors { plain: Arc::new(config).into(), http2: Arc::new(http2).into() })
}
