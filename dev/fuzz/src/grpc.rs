//! gRPC's own framing on HTTP/2: a server answers a call with any data and trailers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use headstart_base::ErrorCode;
use headstart_net::{Address, Client, ClientConfig, Reach, Request};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::wire::{Sink, block_on, deadline};

thread_local! {
    static SERVED: Served = Served::start();
}

/// A server and its client.
struct Served {
    client: Client,
    address: Address,
    answer: Arc<Mutex<Answer>>,
}

/// The first byte says in what pieces the message comes, or (255) that nothing follows it. Lines "name: value" are trailers,
/// ">name: value" headers, up to an empty line; then the message.
#[derive(Clone, Default)]
struct Answer {
    headers: HeaderMap,
    trailers: Option<HeaderMap>,
    message: Bytes,
    piece: usize,
}

pub(crate) fn run(data: &[u8]) {
    let Some(answer) = Answer::parse(data) else { return };
    SERVED.with(|served| {
        *served.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer.clone();
        let request = Request::parse(&served.address, b"/a.B/C\n\nhi").expect("a request");
        let mut sink = Sink::new(answer.piece);
        let mut steps = |_| {};
        let asked = served.client.send("tenant", &served.address, None, &request, deadline(), &mut sink, &mut steps);
        match block_on(asked) {
            Ok(done) => {
                assert_eq!(done.length, sink.bytes.len() as u64);
                if done.head.status == 0 {
                    let (prefix, message) = answer.message.split_at(5);
                    assert_eq!(prefix[0], 0);
                    assert_eq!(prefix[1..], (message.len() as u32).to_be_bytes());
                    assert!(sink.bytes == message);
                }
            }
            Err(error) => {
                use ErrorCode::{BadReply, BodyTruncated, ConnectionReset, InstanceMemoryFull};
                let expected = [BadReply, BodyTruncated, ConnectionReset, InstanceMemoryFull];
                assert!(expected.contains(&error.code), "{error:?}");
            }
        }
    });
}

impl Answer {
    fn parse(data: &[u8]) -> Option<Self> {
        let (&first, mut rest) = data.split_first()?;
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut trailers = HeaderMap::new();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if line.is_empty() {
                break;
            }
            let (into, line) = match line.strip_prefix(b">") {
                Some(line) => (&mut headers, line),
                None => (&mut trailers, line),
            };
            let mut halves = line.splitn(2, |&byte| byte == b':');
            let name = HeaderName::from_bytes(halves.next()?).ok()?;
            let value = HeaderValue::from_bytes(halves.next()?.trim_ascii()).ok()?;
            if into.len() < 64 {
                into.insert(name, value);
            }
        }
        let trailers = (first != 255).then_some(trailers);
        Some(Self { headers, trailers, message: Bytes::copy_from_slice(rest), piece: usize::from(first) + 1 })
    }
}

impl Served {
    fn start() -> Self {
        let answer = Arc::new(Mutex::new(Answer::default()));
        let answers = Arc::clone(&answer);
        let address = block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("a port");
            tokio::spawn(async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let answers = Arc::clone(&answers);
                    tokio::spawn(async move {
                        let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
                        while let Some(Ok((_, reply))) = connection.accept().await {
                            let answer = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
                            // The client may hang up on what it got so far.
                            let _ = answer.send(reply);
                        }
                    });
                }
            });
            address
        });
        let config = ClientConfig {
            first_byte_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(20),
            reach: Reach::Spelled,
            ..ClientConfig::default()
        };
        let address = Address::parse(&format!("grpc://{address}")).expect("an address");
        Self { client: Client::new(config), address, answer }
    }
}

impl Answer {
    fn send(&self, mut reply: h2::server::SendResponse<Bytes>) -> Result<(), h2::Error> {
        let mut head = http::Response::new(());
        *head.headers_mut() = self.headers.clone();
        let mut stream = reply.send_response(head, false)?;
        for piece in self.message.chunks(self.piece) {
            stream.send_data(Bytes::copy_from_slice(piece), false)?;
        }
        match &self.trailers {
            Some(trailers) => stream.send_trailers(trailers.clone()),
            None => stream.send_data(Bytes::new(), true),
        }
    }
}
