//! Redis (Debian's redis-server).

use std::sync::Arc;

use headstart_base::ErrorCode;
use headstart_net::{Request, Session, SessionParts, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::programs::{Program, Sink, ask, client, installed, say, soon};

fn redis(extra: &[&str]) -> Option<Program> {
    let command = installed("redis-server")?;
    Some(Program::start(command, |port, folder| {
        let port = port.to_string();
        let own = ["--port", &port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"];
        own.iter().chain(extra).map(|&arg| arg.to_owned()).collect()
    }))
}

#[tokio::test]
async fn values_of_every_kind_come_back() {
    let Some(server) = redis(&[]) else { return };
    let session = client().open("t", &server.address("redis"), None, soon()).await.unwrap();
    let large = vec![b'x'; 3_000_000];
    assert_eq!(say(&session, [&b"SET large\n\n"[..], &large].concat()).await, (0, b"OK".to_vec()));
    assert_eq!(say(&session, "GET large").await, (0, large));
    assert_eq!(say(&session, "GET nothing").await, (2, vec![]));
    assert_eq!(say(&session, "SETEX empty 60\n\n\r\n").await.0, 0);
    assert_eq!(say(&session, "GET empty").await, (0, b"\r\n".to_vec()));
    assert_eq!(say(&session, "INCR n").await, (0, b"1".to_vec()));
    assert_eq!(say(&session, "LPUSH n x").await.0, 1);
    say(&session, "HSET h a 1 b 2").await;
    assert_eq!(say(&session, "HGETALL h").await, (0, b"%2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n".to_vec()));
    assert_eq!(say(&session, "ZADD z 1.5 m").await, (0, b"1".to_vec()));
    assert_eq!(say(&session, "ZSCORE z m").await, (0, b"1.5".to_vec()));
    assert_eq!(say(&session, "MGET n nothing").await, (0, b"*2\r\n$1\r\n1\r\n_\r\n".to_vec()));
    assert_eq!(say(&session, "LRANGE nothing 0 -1").await, (0, b"*0\r\n".to_vec()));
    assert_eq!(say(&session, "BLPOP nothing 0.01").await, (2, vec![]));
    let (status, info) = say(&session, "INFO server").await;
    assert!(status == 0 && info.starts_with(b"# Server"), "a verbatim string is without its format");
    let set = say(&session, "EVAL return{1,{2,{'x'}}} 0").await;
    assert_eq!(set, (0, b"*2\r\n:1\r\n*2\r\n:2\r\n*1\r\n$1\r\nx\r\n".to_vec()));
    session.alive().unwrap();
}

#[tokio::test]
async fn a_call_has_a_connection_for_itself() {
    let Some(server) = redis(&[]) else { return };
    let (client, address) = (client(), server.address("redis"));
    let (_, mut set) = Request::parse_absolute(format!("SET {address}/k\n\n").as_bytes()).unwrap();
    set.set_body(&b"v"[..]);
    let mut sink = Sink::default();
    let done = client.send("t", &address, None, &set, soon(), &mut sink, &mut |_| {}).await.unwrap();
    assert_eq!((done.head.status, &sink.bytes[..]), (0, &b"OK"[..]));
    assert_eq!(ask(&client, &address, None, b"GET k").await.unwrap().1, b"v");
}

#[tokio::test]
async fn many_commands_are_answered_in_order() {
    let Some(server) = redis(&[]) else { return };
    let session = Arc::new(client().open("t", &server.address("redis"), None, soon()).await.unwrap());
    let mut asking = Vec::new();
    for number in 1..=200 {
        let session = Arc::clone(&session);
        asking.push(tokio::spawn(async move { say(&session, "INCR n").await == (0, number.to_string().into_bytes()) }));
        tokio::task::yield_now().await;
    }
    for asking in asking {
        assert!(asking.await.unwrap());
    }
}

#[tokio::test]
async fn a_secret_logs_in_or_the_script_does() {
    let Some(server) = redis(&["--requirepass", "hunter2"]) else { return };
    let (client, address) = (client(), server.address("redis"));
    let store = Store::login(&address.to_string(), "", "hunter2").unwrap();
    let session = client.open("t", &address, Some(&store), soon()).await.unwrap();
    assert_eq!(say(&session, "PING").await, (0, b"PONG".to_vec()));
    let wrong = Store::login(&address.to_string(), "", "nothunter").unwrap();
    let error = client.open("t", &address, Some(&wrong), soon()).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unauthorized);
    assert!(error.message.contains("WRONGPASS") && !error.message.contains("nothunter"), "{error}");
    let elsewhere = Store::login("redis://127.0.0.1:1", "", "hunter2").unwrap();
    let session = client.open("t", &address, Some(&elsewhere), soon()).await.unwrap();
    let (status, text) = say(&session, "GET x").await;
    assert!(status == 1 && text.starts_with(b"NOAUTH"), "a password goes to its own server only");
    assert_eq!(say(&session, "AUTH hunter2").await, (0, b"OK".to_vec()));
    say(&session, "HSET h a 1").await;
    assert_eq!(say(&session, "HGETALL h").await.1, b"*2\r\n$1\r\na\r\n$1\r\n1\r\n", "RESP2, as the script left it");
    say(&session, "HELLO 3").await;
    assert_eq!(say(&session, "HGETALL h").await.1, b"%1\r\n$1\r\na\r\n$1\r\n1\r\n");
}

#[tokio::test]
async fn a_connection_is_handed_over_and_taken_back() {
    let Some(server) = redis(&[]) else { return };
    let session = client().open("t", &server.address("redis"), None, soon()).await.unwrap();
    say(&session, "SELECT 3").await;
    say(&session, "SET k\n\nv").await;
    session.alive().unwrap();
    let (SessionParts::Tcp(mut tcp), _) = session.into_parts() else { panic!("not TCP") };
    tcp.write_all(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").await.unwrap();
    let mut answer = [0; 7];
    tcp.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"$1\r\nv\r\n", "in the database that was selected before");
    let socket = tcp.into_std().unwrap().into();
    let session = Session::adopt(server.address("redis"), socket).unwrap();
    assert_eq!(say(&session, "GET k").await, (0, b"v".to_vec()));
}
