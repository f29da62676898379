//! Applications' files on bridge.sock: what is there, how much it takes, and how it goes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::Bridge;
use common::host::{self, Host, pause, put_bundle, stop};
use headstart_base::ErrorCode;
use headstart_base::bridge_capnp::instance::Mode;

fn delete(bridge: &Bridge, digest: &str) -> String {
    let request = format!("DELETE /bundles/{digest} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n");
    host::raw(&bridge.socket(), request.as_bytes()).unwrap()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

#[test]
fn a_bundle_tells_what_it_takes_and_goes_when_nothing_runs_from_it() {
    let mut bridge = Bridge::start();
    let (archive, digest) = host::archive("app.py", &[7; 5000]);
    let socket = bridge.socket();
    // A file of two blocks and its name.
    for code in ["201", "200"] {
        let answer = put_bundle(&socket, &digest, &archive);
        assert_eq!(status(&answer), code);
        assert!(answer.contains("x-headstart-bytes: 12288\r\n"), "{answer}");
    }
    assert!(bridge.get("/bundles").unwrap().contains(&format!(r#"{{"bundles":["{digest}"]}}"#)));
    assert!(bridge.get(&format!("/bundles/{digest}")).unwrap().contains(r#"{"bytes":12288}"#));
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _id) = host.started_as(&digest, |_| {}).await;
        let answer = delete(&bridge, &digest);
        assert_eq!(status(&answer), "409", "{answer}");
        assert!(answer.contains("imageInUse"), "{answer}");
        stop(&instance).await;
        let began = Instant::now();
        while status(&delete(&bridge, &digest)) != "204" {
            assert!(began.elapsed() < Duration::from_secs(10), "it is in use for ever");
            pause(20).await;
        }
        assert_eq!(host.put("g", &digest, |_| {}).await, ErrorCode::UnknownBundle);
        // A function that was known is put again first.
        assert_eq!(host::start(&host.create().await.0, "f", Mode::InitscriptOnly).await, ErrorCode::UnknownFunction);
    });
    assert_eq!(status(&delete(&bridge, &digest)), "204", "once more is no error");
    assert_eq!(status(&delete(&bridge, "..")), "400");
    assert_eq!(status(&bridge.get(&format!("/bundles/{digest}")).unwrap()), "404");
    assert!(bridge.get("/bundles").unwrap().contains(r#"{"bundles":[]}"#));
    let bundles = bridge.state().join("bundles");
    assert_eq!(std::fs::read_dir(&bundles).unwrap().count(), 0);

    // What a life that was killed was about to remove, the next one removes.
    std::fs::create_dir_all(bundles.join(".gone-0/files")).unwrap();
    bridge.restart_hard();
    assert_eq!(std::fs::read_dir(&bundles).unwrap().count(), 0);
}
