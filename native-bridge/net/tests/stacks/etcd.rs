//! gRPC (Debian's etcd).

use headstart_base::ErrorCode;
use headstart_net::{Address, Request};

use crate::programs::{Program, Sink, ask, client, installed, soon};

fn etcd() -> Option<Program> {
    let command = installed("etcd")?;
    let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Some(Program::start(command, |port, folder| {
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        [
            ("--data-dir", format!("{folder}/data")),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer.clone()),
            ("--initial-cluster", format!("default={peer}")),
            ("--unsafe-no-fsync", String::new()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .filter(|arg| !arg.is_empty())
        .collect()
    }))
}

/// A field of a protobuf message: bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    [out, bytes.to_vec()].concat()
}

fn call(method: &str, message: &[u8]) -> Vec<u8> {
    [method.as_bytes(), b"\n\n", message].concat()
}

#[tokio::test]
async fn a_value_is_put_and_read() {
    let Some(server) = etcd() else { return };
    let (client, address) = (client(), server.address("grpc"));
    // It listens before it has a leader.
    let put = call("/etcdserverpb.KV/Put", &[field(1, b"model"), field(2, &[b'x'; 300_000])].concat());
    let (done, _) = ask(&client, &address, None, &put).await.unwrap();
    assert_eq!(done.head.status, 0, "{:?}", done.head);
    let range = call("/etcdserverpb.KV/Range", &field(1, b"model"));
    let (done, answer) = ask(&client, &address, None, &range).await.unwrap();
    assert_eq!((done.head.status, done.head.header("grpc-status"), done.length), (0, Some("0"), answer.len() as u64));
    assert!(
        answer.windows(300_000).any(|window| window.iter().all(|&byte| byte == b'x')),
        "the value is in the message"
    );
    let mut asking = Vec::new();
    for _ in 0..50 {
        let (client, address, range) = (client.clone(), address.clone(), range.clone());
        asking.push(tokio::spawn(async move { ask(&client, &address, None, &range).await.unwrap().1.len() }));
    }
    for asking in asking {
        assert_eq!(asking.await.unwrap(), answer.len(), "many calls on one connection");
    }
}

#[tokio::test]
async fn errors_have_their_number_and_their_text() {
    let Some(server) = etcd() else { return };
    let (client, address) = (client(), server.address("grpc"));
    let (done, text) = ask(&client, &address, None, b"/etcdserverpb.KV/Nothing\n\n").await.unwrap();
    assert_eq!(done.head.status, 12, "UNIMPLEMENTED");
    assert!(String::from_utf8(text).unwrap().contains("Nothing") && done.head.header("grpc-message").is_some());
    let (done, text) = ask(&client, &address, None, b"/etcdserverpb.KV/Put\n\n").await.unwrap();
    assert_eq!((done.head.status, &text[..]), (3, &b"etcdserver: key is not provided"[..]));
    // A watch is no unary call: its one answer does not end.
    let watch = Request::parse(&address, &call("/etcdserverpb.Watch/Watch", &field(1, &field(1, b"k")))).unwrap();
    let soon = soon() - std::time::Duration::from_secs(9);
    match client.send("t", &address, None, &watch, soon, &mut Sink::default(), &mut |_| {}).await {
        Err(error) => assert!(matches!(error.code, ErrorCode::RpcTimeout | ErrorCode::BadReply), "{error}"),
        Ok(done) => assert_ne!(done.head.status, 0, "the server knows the deadline, too"),
    }
    let (done, _) = ask(&client, &address, None, &call("/etcdserverpb.KV/Range", &field(1, b"k"))).await.unwrap();
    assert_eq!(done.head.status, 0, "and the connection goes on");
    let redis = Address::parse(&format!("redis://127.0.0.1:{}", address.port)).unwrap();
    let error = ask(&client, &redis, None, b"PING").await.err().unwrap();
    assert!(matches!(error.code, ErrorCode::BadReply | ErrorCode::ConnectionReset), "{error}");
}
