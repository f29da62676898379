//! Connections of clients.

use std::future::Future;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::S3Service;
use s3s::{Body, HttpError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::fault::{Faults, Kind, Served, Wire};
use crate::stats::{Record, Stats};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) s3: S3Service,
    pub(crate) stats: Stats,
    pub(crate) faults: Faults,
}

/// Accepts connections for as long as the process lives.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                tokio::spawn(connection(tcp, Arc::clone(&shared)));
            }
            // Too many open files, most likely: others will close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(tcp: TcpStream, shared: Arc<Shared>) {
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let wire = Arc::new(Wire { fd: tcp.as_raw_fd(), surplus: AtomicBool::new(false) });
    let io = TokioIo::new(Io { tcp, wire: Arc::clone(&wire) });
    let service = Recording { shared, wire };
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(120))
        .serve_connection(io, service);
    // A client that goes away in the middle of something is its own business.
    drop(serving.await);
}

/// Passes requests on to S3, records them, and lets faults happen.
struct Recording {
    shared: Arc<Shared>,
    wire: Arc<Wire>,
}

impl Service<Request<Incoming>> for Recording {
    type Response = Response<Served>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (shared, wire) = (Arc::clone(&self.shared), Arc::clone(&self.wire));
        Box::pin(async move {
            let mut record = record(&request);
            let fault = shared.faults.take(&format!("{} {}/{}", record.verb, record.bucket, record.key));
            if let Some(Kind::Slow { ms }) = fault {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            let response = match fault {
                Some(Kind::Status { status }) => {
                    let mut response = Response::new(Body::from(format!("<Error><Code>Fault{status}</Code></Error>")));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    response
                }
                _ => Service::call(&shared.s3, request).await?,
            };
            record.status = response.status().as_u16();
            shared.stats.add(record);
            Ok(response.map(|body| Served::new(body, fault.map(|kind| (kind, wire)))))
        })
    }
}

fn record(request: &Request<Incoming>) -> Record {
    let path = request.uri().path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let agent = request.headers().get(hyper::header::USER_AGENT).map_or(&b""[..], |value| value.as_bytes());
    let agent = String::from_utf8_lossy(&agent[..agent.len().min(200)]).into_owned();
    Record {
        verb: request.method().to_string(),
        bucket: bucket.chars().take(100).collect(),
        key: key.chars().take(1024).collect(),
        agent,
        status: 0,
    }
}

/// A connection that can be told to write what nobody announced.
struct Io {
    tcp: TcpStream,
    wire: Arc<Wire>,
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.wire.surplus.swap(false, Ordering::AcqRel) {
            std::task::ready!(Pin::new(&mut self.tcp).poll_write(cx, b"bytes that nobody announced"))?;
        }
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
