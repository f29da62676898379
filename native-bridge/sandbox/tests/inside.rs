//! Ways into a sandbox from outside, in both kinds. Needs root, runsc and bwrap.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{LIMIT, Node};
use headstart_base::ErrorCode;
use headstart_sandbox::Isolation;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Listens, tells it by a file, answers one connection, and says which signal it got.
const PROGRAM: &str = "
import os, signal, socket, subprocess
child = subprocess.Popen(['sleep', '1000'])
def leave(number, frame):
    print('signal', number, child.poll(), flush=True)
    os._exit(5)
signal.signal(signal.SIGUSR1, leave)
server = socket.create_server(('127.0.0.1', 7000))
os.symlink('/etc/machine-id', '/tmp/host')
open('/tmp/ready', 'w').close()
connection, _ = server.accept()
connection.sendall(b'hello')
connection.close()
while True:
    signal.pause()
";

#[tokio::test(flavor = "multi_thread")]
async fn ports_files_and_signals_of_an_app_are_reached() {
    let node = Node::start("inside").await;
    for isolation in [Isolation::Gvisor, Isolation::Bubblewrap] {
        let (mut sandbox, mut lines) = node.spawn(node.python("i-inside", isolation, PROGRAM)).await;
        let inside = sandbox.inside();
        assert_eq!(inside.dial(7001).await.unwrap_err().code, ErrorCode::ConnectFailed, "{isolation:?}");
        let ready = async {
            while !inside.has_file("/tmp/ready").await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, ready).await.unwrap();
        for path in ["/tmp/none", "tmp/ready", "/", "", "/tmp/host/x"] {
            assert!(!inside.has_file(path).await, "{isolation:?} {path:?}");
        }
        let mut said = String::new();
        inside.dial(7000).await.unwrap().read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello", "{isolation:?}");

        assert_eq!(inside.signal(1000).await.unwrap_err().code, ErrorCode::InvalidArgument);
        inside.signal(libc::SIGUSR1).await.unwrap();
        let exit = tokio::time::timeout(LIMIT, sandbox.wait()).await.unwrap();
        assert_eq!(exit.status, 5, "{isolation:?}");
        assert_eq!(lines.recv().await.unwrap().text, format!("signal {} None", libc::SIGUSR1), "{isolation:?}");
        sandbox.kill().await;
        assert_eq!(inside.dial(7000).await.unwrap_err().code, ErrorCode::InstanceClosed);
        assert_eq!(inside.signal(libc::SIGUSR1).await.unwrap_err().code, ErrorCode::InstanceClosed);
        assert!(!inside.has_file("/tmp/ready").await);
    }
    node.end().await;
}
