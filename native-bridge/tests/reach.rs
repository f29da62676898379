//! What of the node's own networks a function reaches is the node's configuration.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::host::{self, Events, Fill, Host, Seen, connect, send, submit};
use common::server::Server;
use headstart_base::ErrorCode;

/// What a request to a server on loopback comes to.
fn asked(allow_private: &serde_json::Value) -> ErrorCode {
    let bridge = Bridge::start_with(&serde_json::json!({ "net": { "pool": 1, "allow_private": allow_private } }));
    let server = Server::start();
    let mut code = ErrorCode::Internal;
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (instance, _) = host.started(&bridge, &server.address, |_| {}).await;
        let batch: [&Fill; 2] = [&connect(1, &server.address), &send(1, 7, "GET /bytes/10\n\n")];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        let Seen::Done { error, .. } = Events::of(&instance).done(7).await else { panic!() };
        code = error;
    });
    code
}

#[test]
fn loopback_is_reached_where_the_node_says_so() {
    assert_eq!(asked(&serde_json::json!(false)), ErrorCode::EgressDenied);
    assert_eq!(asked(&serde_json::json!(["10.0.0.0/8"])), ErrorCode::EgressDenied);
    assert_eq!(asked(&serde_json::json!(["127.0.0.0/8"])), ErrorCode::Ok);
    assert_eq!(asked(&serde_json::json!(true)), ErrorCode::Ok);
}
