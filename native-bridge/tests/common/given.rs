//! How an application asks, and what it gets of a connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use headstart_base::ErrorCode;
use headstart_base::app_capnp::AppOp;
use headstart_base::bridge_capnp::instance;

use super::app::{App, Ask, Told};
use super::host::{Host, archive, beside, put_bundle};
use super::{Bridge, LIMIT};

/// The status of a GetConn's answer.
pub const SOCKET: u32 = 1;
pub const SPLICED: u32 = 2;
pub const TLS: u32 = 3;

/// A started instance that may speak to these addresses; the test is its application.
pub async fn started(host: &Host, bridge: &Bridge, isolation: &str, allowed: &[String]) -> (instance::Client, String) {
    let (files, bundle) = archive("app.py", b"");
    put_bundle(&bridge.socket(), &bundle, &files);
    host.started_as(&bundle, |mut function| {
        function.set_isolation(isolation);
        function.set_egress(allowed).unwrap();
        let mut limits = function.init_limits();
        limits.set_connections(8);
        limits.set_messages(4);
    })
    .await
}

/// RecvMsg.
pub fn receive(id: u64, content: &str) -> Ask {
    Ask { id, payload: content.as_bytes().to_vec(), ..Ask::default() }
}

/// About a connection: GetConn, TransferConn.
pub fn about(id: u64, address: &str) -> Ask {
    Ask { id, payload: address.as_bytes().to_vec(), ..Ask::default() }
}

/// Asks from a thread beside the control stream.
pub async fn ask(mut app: App, op: AppOp, ask: Ask) -> (App, Told) {
    beside(move || {
        let told = app.ask(op, &ask);
        (app, told)
    })
    .await
}

pub async fn status(app: App, number: u64) -> (App, Told) {
    ask(app, AppOp::ConnStatus, Ask { a: number, ..Ask::default() }).await
}

/// What an application got: something to read and write.
pub trait Stream: Read + Write + Send {
    fn half_close(&self);
}

impl Stream for TcpStream {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Stream for UnixStream {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

pub fn stream(told: &mut Told) -> Box<dyn Stream> {
    assert_eq!(told.error, ErrorCode::Ok, "{}", told.text());
    let file: OwnedFd = told.file.take().unwrap();
    if told.status == SOCKET {
        let tcp = TcpStream::from(file);
        tcp.set_read_timeout(Some(LIMIT)).unwrap();
        return Box::new(tcp);
    }
    let unix = UnixStream::from(file);
    unix.set_read_timeout(Some(LIMIT)).unwrap();
    Box::new(unix)
}

/// Sends a line and reads one, byte by byte.
pub fn line(stream: &mut dyn Stream, text: &str) -> String {
    stream.write_all(format!("{text}\n").as_bytes()).unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the end after {line:?}");
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}
