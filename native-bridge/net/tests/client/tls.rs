//! TLS: whom the client trusts, and bodies under it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use headstart_base::ErrorCode;
use headstart_net::{
    Address, BodySink, Client, ClientConfig, Done, Progress, Reach, Request, ResponseHead, SessionParts,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::Sink;

/// A server with a certificate for localhost, whose authority is in a file.
struct Secure {
    address: Address,
    authority: PathBuf,
    opened: Arc<AtomicUsize>,
}

impl Drop for Secure {
    fn drop(&mut self) {
        std::fs::remove_file(&self.authority).unwrap();
    }
}

/// Answers each request of each connection; `clean` says whether the end of TLS is said before the connection's.
async fn secure(answer: Vec<u8>, requests: usize, clean: bool) -> Secure {
    secure_until(b"\r\n\r\n", &[], answer, requests, clean).await
}

/// The same for requests that end with `end`, and with protocols to agree on.
async fn secure_until(
    end: &'static [u8],
    protocols: &[&[u8]],
    answer: Vec<u8>,
    requests: usize,
    clean: bool,
) -> Secure {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();

    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                for _ in 0..requests {
                    let mut head = Vec::new();
                    while !head.ends_with(end) {
                        let Ok(byte) = tls.read_u8().await else { return };
                        head.push(byte);
                    }
                    tls.write_all(&answer).await.unwrap();
                    tls.flush().await.unwrap();
                }
                if clean {
                    tls.shutdown().await.unwrap();
                }
            });
        }
    });
    let authority = std::env::temp_dir().join(format!("headstart-test-{}-{port}.pem", std::process::id()));
    std::fs::write(&authority, pem).unwrap();
    Secure { address: Address::parse(&format!("https://localhost:{port}")).unwrap(), authority, opened }
}

impl Secure {
    fn client(&self) -> Client {
        Client::new(ClientConfig {
            extra_authorities: vec![self.authority.clone()],
            reach: Reach::Spelled,
            ..ClientConfig::default()
        })
    }

    async fn ask(&self, client: &Client) -> (headstart_base::Result<Done>, Sink, Vec<Progress>) {
        let request = Request::parse(&self.address, b"POST /x\n\n").unwrap();
        let (mut sink, mut progress) = (Sink::default(), Vec::new());
        let deadline = Instant::now() + Duration::from_secs(5);
        let result =
            client.send("t", &self.address, None, &request, deadline, &mut sink, &mut |step| progress.push(step)).await;
        (result, sink, progress)
    }
}

#[tokio::test]
async fn bodies_arrive_and_connections_stay() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut plain = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    plain.extend_from_slice(&body);
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(70_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for answer in [plain, chunked] {
        let server = secure(answer, 3, true).await;
        let client = server.client();
        for round in 0..3 {
            let (result, sink, progress) = server.ask(&client).await;
            assert_eq!(result.unwrap().length, body.len() as u64);
            assert!(sink.bytes == body);
            assert_eq!(progress[0], Progress::Connected { reused: round > 0 });
        }
        assert_eq!(server.opened.load(Ordering::SeqCst), 1);
    }
}

/// Memory that only the kernel may write.
#[derive(Default)]
struct Volatile(Vec<u8>);

impl BodySink for Volatile {
    fn begin(&mut self, _head: &ResponseHead) -> headstart_base::Result<()> {
        self.0.clear();
        Ok(())
    }

    fn space(&mut self) -> headstart_base::Result<&mut [u8]> {
        Err(headstart_base::Error::new(ErrorCode::Internal, "what is decrypted is written by our own code"))
    }

    fn filled(&mut self, _count: usize) {}

    fn is_volatile(&self) -> bool {
        true
    }

    fn put(&mut self, bytes: &[u8]) -> headstart_base::Result<usize> {
        let count = bytes.len().min(10_000);
        self.0.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

#[tokio::test]
async fn nothing_decrypted_is_written_where_memory_may_vanish() {
    let body: Vec<u8> = (0..500_000_u32).map(|number| (number % 251) as u8).collect();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let server = secure([head.as_bytes(), &body].concat(), 1, true).await;
    let request = Request::parse(&server.address, b"GET /x\n\n").unwrap();
    let (mut sink, deadline) = (Volatile::default(), Instant::now() + Duration::from_secs(5));
    let client = server.client();
    let done = client.send("t", &server.address, None, &request, deadline, &mut sink, &mut |_| {}).await;
    assert_eq!(done.unwrap().length, body.len() as u64);
    assert!(sink.0 == body);
}

#[tokio::test]
async fn a_warm_connection_is_taken_although_tickets_came_on_it() {
    let server = secure(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(), 3, true).await;
    let client = server.client();
    client.warm("t", &server.address, None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (result, ..) = server.ask(&client).await;
    assert!(result.is_ok());
    assert_eq!(server.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_strangers_certificate_is_refused() {
    let server = secure(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(), 1, true).await;
    let other = secure(Vec::new(), 1, true).await;
    let (result, ..) = server.ask(&other.client()).await;
    assert_eq!(result.unwrap_err().code, ErrorCode::TlsFailed);

    let by_address = Address::parse(&format!("https://127.0.0.1:{}", server.address.port)).unwrap();
    let request = Request::parse(&by_address, b"GET /\n\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let error = server
        .client()
        .send("t", &by_address, None, &request, deadline, &mut Sink::default(), &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::TlsFailed, "{error}");
}

#[tokio::test]
async fn a_cut_is_no_end() {
    let answer = b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec();
    let server = secure(answer.clone(), 1, true).await;
    let (result, sink, _) = server.ask(&server.client()).await;
    assert_eq!((result.unwrap().length, &sink.bytes[..]), (5, &b"hello"[..]));
    let server = secure(answer, 1, false).await;
    let (result, ..) = server.ask(&server.client()).await;
    assert_eq!(result.unwrap_err().code, ErrorCode::BodyTruncated);
}

#[tokio::test]
async fn a_session_under_tls_reads_no_further_than_its_answer() {
    let server = secure_until(b"\n", &[], b"one\ntwo\n".to_vec(), 1, false).await;
    let address = Address::parse(&format!("tcps://localhost:{}?frame=line", server.address.port)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let session = server.client().open("t", &address, None, deadline).await.unwrap();
    session.alive().unwrap();
    let request = Request::parse(&address, b"hello").unwrap();
    let mut sink = Sink::default();
    session.send(&request, deadline, &mut sink, &mut |_| {}).await.unwrap();
    assert_eq!(sink.bytes, b"one");
    assert_eq!(session.alive().unwrap_err().code, ErrorCode::ConnectionBusy);
    let (SessionParts::Tls(mut tls), _permit) = session.into_parts() else { panic!("not TLS") };
    let mut rest = [0; 4];
    tls.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"two\n", "what was decrypted already goes with the connection");
}

#[tokio::test]
async fn grpc_under_tls_agrees_on_http2_or_fails() {
    for protocols in [&[][..], &[&b"http/1.1"[..]]] {
        let server = secure_until(b"\n", protocols, Vec::new(), 1, true).await;
        let address = Address::parse(&format!("grpcs://localhost:{}", server.address.port)).unwrap();
        let call = Request::parse(&address, b"/a.B/C\n\n").unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut sink = Sink::default();
        let client = server.client();
        let error = client.send("t", &address, None, &call, deadline, &mut sink, &mut |_| {}).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::TlsFailed, "{error}");
    }
}
