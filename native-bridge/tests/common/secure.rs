//! A TLS server of lines on loopback: `echo X`: X · `quit`: the end, as TLS says it · `cut`: the end without a word.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub struct Secure {
    /// "localhost:port".
    pub at: String,
    /// The certificate of its authority.
    pub authority: PathBuf,
}

impl Secure {
    /// Puts its authority into a folder.
    pub fn start(folder: &Path) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = folder.join("authority.pem");
        std::fs::write(&authority, params.self_signed(&authority_key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = CertificateDer::from(names.signed_by(&key, &issuer).unwrap().der().to_vec());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("localhost:{}", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                std::thread::spawn(move || serve(BufReader::new(StreamOwned::new(session, tcp))));
            }
        });
        Self { at, authority }
    }
}

fn serve(mut stream: BufReader<StreamOwned<ServerConnection, std::net::TcpStream>>) {
    let mut line = String::new();
    while stream.read_line(&mut line).is_ok_and(|count| count > 0) {
        let (word, rest) = line.split_once(' ').unwrap_or((line.trim(), ""));
        if word == "quit" {
            stream.get_mut().conn.send_close_notify();
            let _ = stream.get_mut().flush();
        }
        if word != "echo" || stream.get_mut().write_all(rest.as_bytes()).is_err() {
            return;
        }
        line.clear();
    }
}
