//! Files that an application shares with the bridge.
#![allow(clippy::unwrap_used)]

mod common;

use common::Node;
use headstart_sandbox::{FileMount, Isolation};
use std::path::PathBuf;

/// Maps the file, reads what the host wrote, writes, and makes another file beside it.
const PROGRAM: &str = "
import mmap, os
for path in ('/var/cache/deep/shared.data', '/tmp/other'):
    with open(path, 'r+b') as file:
        os.ftruncate(file.fileno(), 8192)
        memory = mmap.mmap(file.fileno(), 0)
        print(memory[4096:4105].decode())
        memory[0:5] = b'hello'
with open('/var/cache/deep/shared.data.meta', 'w') as meta:
    meta.write('more')
print(os.access('/var/cache', os.W_OK), os.access('/tmp', os.W_OK))
";

#[tokio::test(flavor = "multi_thread")]
async fn an_application_maps_what_the_host_wrote_and_the_host_sees_what_it_writes() {
    let node = Node::start("files").await;
    for isolation in [Isolation::Bubblewrap, Isolation::Gvisor] {
        let mut spec = node.python("files", isolation, PROGRAM);
        let host = |name: &str| {
            let path = PathBuf::from(format!("/dev/shm/hs-test-files-{name}"));
            let mut bytes = vec![0; 8192];
            bytes[4096..4105].copy_from_slice(b"from host");
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let paths = [host("one"), host("two")];
        spec.files = vec![
            FileMount { path: "/var/cache/deep/shared.data".into(), host: paths[0].clone() },
            FileMount { path: "/tmp/other".into(), host: paths[1].clone() },
        ];
        let (status, _, out, err) = node.run(spec).await;
        assert_eq!((status, out.join(", ").as_str()), (0, "from host, from host, False True"), "{isolation:?} {err:?}");
        for path in paths {
            assert_eq!(&std::fs::read(&path).unwrap()[..5], b"hello", "{isolation:?}");
            std::fs::remove_file(path).unwrap();
        }
    }
    let base = node.folder.join("state/base/host/rootfs");
    assert_eq!(std::fs::read_dir(base.join("var/cache")).unwrap().count(), 0, "what all sandboxes see is as it was");
    let mut spec = node.python("bad", Isolation::Bubblewrap, "");
    spec.files = vec![FileMount { path: "/etc/passwd".into(), host: "/dev/null".into() }];
    let reservation = node.sandboxes.reserve().await.unwrap();
    let (sender, _lines) = tokio::sync::mpsc::channel(1);
    assert!(node.sandboxes.spawn(spec, reservation, sender).await.is_err());
    node.end().await;
}
