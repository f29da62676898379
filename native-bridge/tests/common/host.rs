//! The host's side: the control stream and plain HTTP.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use headstart_base::ErrorCode;
use headstart_base::bridge_capnp::{bridge, instance, op};
use headstart_base::errors_capnp;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

pub use super::events::{Events, Seen};
use super::{Bridge, LIMIT};

/// Sends a request and reads to the end of the connection.
pub fn raw(socket: &Path, request: &[u8]) -> std::io::Result<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    // A request that is too long is answered before all of it was read, and what was not is answered by a reset.
    let written = stream.write_all(request);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        written.and(read)?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// An invocation over HTTP: the whole answer, head and body.
pub fn invoke(socket: &Path, id: &str, event: &[u8]) -> String {
    let head = format!(
        "POST /instances/{id}/invocations HTTP/1.1\r\nhost: b\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        event.len()
    );
    raw(socket, &[head.as_bytes(), event].concat()).unwrap()
}

pub fn put_bundle(socket: &Path, digest: &str, archive: &[u8]) -> String {
    let head = format!(
        "PUT /bundles/{digest} HTTP/1.1\r\nhost: b\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        archive.len()
    );
    raw(socket, &[head.as_bytes(), archive].concat()).unwrap()
}

/// An archive of one file, and its digest.
pub fn archive(name: &str, bytes: &[u8]) -> (Vec<u8>, String) {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    builder.append_data(&mut header, name, bytes).unwrap();
    let archive = builder.into_inner().unwrap();
    let digest = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    (archive, digest)
}

/// Runs a test's future on a control thread of its own, with a time limit.
pub fn test<F: Future<Output = ()>>(body: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    runtime.block_on(
        local.run_until(async { tokio::time::timeout(LIMIT * 2, body).await.expect("the test takes too long") }),
    );
}

/// One control stream.
pub struct Host {
    pub bridge: bridge::Client,
    stream: tokio::task::JoinHandle<()>,
}

impl Host {
    pub async fn connect(bridge: &Bridge) -> Self {
        let mut stream = UnixStream::connect(bridge.socket()).await.unwrap();
        stream.write_all(b"CONNECT control:1 HTTP/1.1\r\nhost: control:1\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        let (reader, writer) = stream.into_split();
        let network = twoparty::VatNetwork::new(
            reader.compat(),
            writer.compat_write(),
            Side::Client,
            capnp::message::ReaderOptions::new(),
        );
        let mut system = RpcSystem::new(Box::new(network), None);
        let bridge: bridge::Client = system.bootstrap(Side::Server);
        let stream = tokio::task::spawn_local(async move {
            let _ = system.await;
        });
        Self { bridge, stream }
    }

    /// Cuts the stream.
    pub async fn cut(self) {
        self.stream.abort();
        let _ = self.stream.await;
    }

    pub async fn create(&self) -> (instance::Client, String) {
        self.create_for("default").await
    }

    pub async fn create_for(&self, tenant: &str) -> (instance::Client, String) {
        let mut request = self.bridge.create_instance_request();
        request.get().set_tenant(tenant);
        let answer = request.send().promise.await.unwrap();
        let answer = answer.get().unwrap();
        assert_ok(answer.get_error().unwrap());
        (answer.get_instance().unwrap(), answer.get_id().unwrap().to_string().unwrap())
    }

    pub async fn attach(&self, id: &str) -> Result<instance::Client, ErrorCode> {
        let mut request = self.bridge.attach_request();
        request.get().set_id(id);
        let answer = request.send().promise.await.unwrap();
        let answer = answer.get().unwrap();
        match answer.get_error().unwrap().get_code().unwrap() {
            ErrorCode::Ok => Ok(answer.get_instance().unwrap()),
            code => Err(code),
        }
    }

    pub async fn live_objects(&self) -> u32 {
        self.bridge.live_objects_request().send().promise.await.unwrap().get().unwrap().get_count()
    }

    /// Puts a function; `change` fills in what a test is about.
    pub async fn put(
        &self,
        digest: &str,
        bundle: &str,
        change: impl FnOnce(headstart_base::bridge_capnp::function::Builder<'_>),
    ) -> ErrorCode {
        let mut request = self.bridge.put_function_request();
        let mut function = request.get().init_function();
        function.set_digest(digest);
        function.set_name("test");
        function.set_tenant("default");
        function.set_bundle(format!("sha256:{bundle}").as_str());
        function.set_isolation("bubblewrap");
        function.set_base("host");
        function.set_command(&["/usr/bin/python3", "app.py"][..]).unwrap();
        change(function);
        let answer = request.send().promise.await.unwrap();
        answer.get().unwrap().get_error().unwrap().get_code().unwrap()
    }

    /// A started instance without a sandbox, whose function may GET and PUT anything of `server`.
    pub async fn started(
        &self,
        bridge: &Bridge,
        server: &str,
        change: impl FnOnce(headstart_base::bridge_capnp::limits::Builder<'_>),
    ) -> (instance::Client, String) {
        let (archive, bundle) = archive("app.py", b"");
        put_bundle(&bridge.socket(), &bundle, &archive);
        let rules = [format!("GET {server}/*"), format!("PUT {server}/*"), format!("HEAD {server}/*")];
        self.started_as(&bundle, |mut function| {
            function.set_egress(&rules[..]).unwrap();
            change(function.init_limits());
        })
        .await
    }

    /// A started instance without a sandbox.
    pub async fn started_as(
        &self,
        bundle: &str,
        change: impl FnOnce(headstart_base::bridge_capnp::function::Builder<'_>),
    ) -> (instance::Client, String) {
        let code = self.put("f", bundle, change).await;
        assert_eq!(code, ErrorCode::Ok);
        let (instance, id) = self.create().await;
        assert_eq!(start(&instance, "f", instance::Mode::InitscriptOnly).await, ErrorCode::Ok);
        (instance, id)
    }
}

pub fn assert_ok(error: errors_capnp::error::Reader<'_>) {
    assert_eq!(error.get_code().unwrap(), ErrorCode::Ok, "{}", error.get_message().unwrap().to_str().unwrap());
}

pub async fn start(instance: &instance::Client, digest: &str, mode: instance::Mode) -> ErrorCode {
    let mut request = instance.start_request();
    request.get().set_function_digest(digest);
    request.get().set_mode(mode);
    let answer = request.send().promise.await.unwrap();
    answer.get().unwrap().get_error().unwrap().get_code().unwrap()
}

pub async fn stop(instance: &instance::Client) {
    let mut request = instance.stop_request();
    request.get().set_reason("test");
    request.send().promise.await.unwrap();
}

/// Fills one operation in.
pub type Fill = dyn Fn(op::Builder<'_>);

/// Submits a batch of operations.
pub async fn submit(instance: &instance::Client, fill: &[&Fill]) -> ErrorCode {
    let mut request = instance.submit_request();
    let mut ops = request.get().init_ops(fill.len() as u32);
    for (index, fill) in fill.iter().enumerate() {
        fill(ops.reborrow().get(index as u32));
    }
    let answer = request.send().promise.await.unwrap();
    answer.get().unwrap().get_error().unwrap().get_code().unwrap()
}

pub fn connect(conn: u32, address: &str) -> impl Fn(op::Builder<'_>) + use<> {
    let address = address.to_owned();
    move |op| {
        let mut connect = op.init_connect();
        connect.set_conn(conn);
        connect.set_address(address.as_str());
    }
}

pub fn send(conn: u32, rpc: u64, request: &str) -> impl Fn(op::Builder<'_>) + use<> {
    let request = request.to_owned();
    move |op| {
        let mut send = op.init_send();
        send.set_conn(conn);
        send.set_rpc(rpc);
        send.set_request(request.as_bytes());
    }
}

pub fn reply(id: u64, rpc: u64) -> impl Fn(op::Builder<'_>) {
    move |op| {
        let mut message = op.init_message();
        message.set_id(id);
        message.set_reply(rpc);
    }
}

pub fn data(id: u64, bytes: &[u8], content: &str) -> impl Fn(op::Builder<'_>) + use<> {
    let (bytes, content) = (bytes.to_vec(), content.to_owned());
    move |op| {
        let mut message = op.init_message();
        message.set_id(id);
        message.set_data(&bytes);
        message.set_content(content.as_str());
    }
}

pub fn transfer(id: u64, address: &str, conn: u32) -> impl Fn(op::Builder<'_>) + use<> {
    let address = address.to_owned();
    move |op| {
        let mut transfer = op.init_transfer();
        transfer.set_id(id);
        transfer.set_address(address.as_str());
        transfer.set_conn(conn);
    }
}

pub fn adopt(conn: u32, id: u64, address: &str) -> impl Fn(op::Builder<'_>) + use<> {
    let address = address.to_owned();
    move |op| {
        let mut adopt = op.init_adopt();
        adopt.set_conn(conn);
        adopt.set_id(id);
        adopt.set_address(address.as_str());
    }
}

/// `of_app`: what the application handed over.
pub fn withdraw(id: u64, address: &str, of_app: bool) -> impl Fn(op::Builder<'_>) + use<> {
    let address = address.to_owned();
    move |op| {
        let mut withdraw = op.init_withdraw();
        withdraw.set_id(id);
        withdraw.set_address(address.as_str());
        withdraw.set_of_app(of_app);
    }
}

pub fn decide(claim: u64, code: ErrorCode) -> impl Fn(op::Builder<'_>) {
    move |op| {
        let mut decide = op.init_decide();
        decide.set_claim(claim);
        decide.init_error().set_code(code);
    }
}

/// Bytes of a message of the application.
pub async fn read_message(
    instance: &instance::Client,
    id: u64,
    offset: u64,
    length: u32,
) -> Result<Vec<u8>, ErrorCode> {
    let mut request = instance.read_message_request();
    request.get().set_id(id);
    request.get().set_offset(offset);
    request.get().set_length(length);
    let answer = request.send().promise.await.unwrap();
    let answer = answer.get().unwrap();
    match answer.get_error().unwrap().get_code().unwrap() {
        ErrorCode::Ok => Ok(answer.get_data().unwrap().to_vec()),
        code => Err(code),
    }
}

/// Runs what blocks beside the control stream.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
