//! Two TCP connections that are joined are as good as one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use headstart_splice::{End, join, refuse};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(20);

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for end in [&one, &other] {
        end.set_read_timeout(Some(LONG)).unwrap();
    }
    (one, other)
}

/// The client, the application, and the work between them.
fn joined() -> (TcpStream, TcpStream, JoinHandle<End>) {
    let ((client, outside), (application, inside)) = (pair(), pair());
    (client, application, tokio::spawn(join(OwnedFd::from(outside), OwnedFd::from(inside), LONG).unwrap()))
}

async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_both_ways_and_half_an_end_is_half_an_end() {
    let (mut client, mut application, work) = joined();
    beside(move || {
        let sent: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut writer = client.try_clone().unwrap();
        let all = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&all).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        application.read_to_end(&mut received).unwrap();
        assert!(received == sent);
        writing.join().unwrap();
        application.write_all(b"answer").unwrap();
        drop(application);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
    })
    .await;
    assert!(matches!(tokio::time::timeout(LONG, work).await.unwrap().unwrap(), End::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_work_closes_both() {
    let (mut client, mut application, work) = joined();
    tokio::task::yield_now().await;
    work.abort();
    let _ = work.await;
    beside(move || {
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(application.read(&mut [0]).unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_reset() {
    let (mut client, ours) = pair();
    refuse(OwnedFd::from(ours));
    let error = beside(move || client.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
