//! The listener for benchmarks and tests: `GET /-/stats`, `POST /-/reset`, `POST /-/fault`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::fault::Fault;
use crate::serve::Shared;

const MAX_BODY: usize = 4096;

pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (status, text) = match (method, path.as_str()) {
        (Method::GET, "/-/stats") => (StatusCode::OK, shared.stats.json()),
        (Method::POST, "/-/reset") => {
            shared.stats.reset();
            shared.faults.clear();
            (StatusCode::OK, "{}".to_owned())
        }
        (Method::POST, "/-/fault") => match Limited::new(request.into_body(), MAX_BODY).collect().await {
            Ok(body) => match serde_json::from_slice::<Fault>(&body.to_bytes()) {
                Ok(fault) => {
                    shared.faults.add(fault);
                    (StatusCode::OK, "{}".to_owned())
                }
                Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
            },
            Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
        },
        _ => (StatusCode::NOT_FOUND, "there are GET /-/stats, POST /-/reset and POST /-/fault\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}
