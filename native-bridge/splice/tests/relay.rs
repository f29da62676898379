//! A relayed connection; a unix stream stands for what is decrypted.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use headstart_splice::{End, State, Status, relay};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(20);

fn relayed(idle: Duration) -> (UnixStream, UnixStream, Arc<Status>, JoinHandle<End>) {
    let (server, secure) = UnixStream::pair().unwrap();
    secure.set_nonblocking(true).unwrap();
    let (theirs, status, work) = relay(tokio::net::UnixStream::from_std(secure).unwrap(), idle).unwrap();
    (server, UnixStream::from(theirs), status, tokio::spawn(work))
}

async fn end(work: JoinHandle<End>) -> End {
    tokio::time::timeout(LONG, work).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_both_ways_and_half_closes() {
    const BYTES: usize = 3_000_000;
    let (mut server, mut app, status, work) = relayed(LONG);
    let mut writer = app.try_clone().unwrap();
    let asking = std::thread::spawn(move || {
        writer.write_all(&vec![1; BYTES]).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let serving = std::thread::spawn(move || {
        let mut asked = Vec::new();
        server.read_to_end(&mut asked).unwrap();
        assert_eq!(asked, vec![1; BYTES]);
        server.write_all(&vec![2; BYTES]).unwrap();
    });
    let reading = std::thread::spawn(move || {
        let mut told = Vec::new();
        app.read_to_end(&mut told).unwrap();
        assert_eq!(told, vec![2; BYTES]);
    });
    assert!(matches!(end(work).await, End::Done));
    for thread in [asking, serving, reading] {
        thread.join().unwrap();
    }
    assert_eq!((status.received(), status.sent(), status.state()), (BYTES as u64, BYTES as u64, State::Ended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_with_its_application_and_with_silence() {
    let (_server, app, status, work) = relayed(LONG);
    drop(app);
    assert!(matches!(end(work).await, End::Done));
    assert_eq!(status.state(), State::Ended);
    let (_server, _app, status, work) = relayed(Duration::from_millis(50));
    assert!(matches!(end(work).await, End::Broken(_)));
    assert!(matches!(status.state(), State::Broken(_)));
}
