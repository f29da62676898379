//! Tenants and secrets on bridge.sock: what is taken, what is refused, what a removed tenant leaves, what a new life knows.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::host::{self, Events, Host, Seen};
use common::{Bridge, LIMIT};
use headstart_base::ErrorCode;
use headstart_base::bridge_capnp::instance;

const SECRET: &str = r#"{"kind":"s3","endpoint":"http://h:1","region":"r","access_key":"a","secret_key":"hush hush"}"#;

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

fn delete(bridge: &Bridge, path: &str) -> String {
    let request = format!("DELETE {path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n");
    host::raw(&bridge.socket(), request.as_bytes()).unwrap()
}

/// A spare of a tenant, or why there is none.
async fn spare(host: &Host, tenant: &str) -> Result<instance::Client, ErrorCode> {
    let mut request = host.bridge.create_instance_request();
    request.get().set_tenant(tenant);
    let answer = request.send().promise.await.unwrap();
    let answer = answer.get().unwrap();
    match answer.get_error().unwrap().get_code().unwrap() {
        ErrorCode::Ok => Ok(answer.get_instance().unwrap()),
        code => Err(code),
    }
}

#[test]
fn malformed_tenants_and_secrets_are_refused() {
    let bridge = Bridge::start();
    let long = "x".repeat(65);
    let large = format!(r#"{{"kind":"{}"}}"#, "x".repeat(70_000));
    let cases = [
        ("/tenants/a.b", "{}", "400"),
        ("/tenants/..", "{}", "400"),
        (&format!("/tenants/{long}"), "{}", "400"),
        ("/tenants/a/b/c", "{}", "404"),
        ("/tenants/a", "", "400"),
        ("/tenants/a", r#"{"memory":-1}"#, "400"),
        ("/tenants/a", r#"{"memory":1.5}"#, "400"),
        ("/tenants/a", r#"{"gold":1}"#, "400"),
        ("/tenants/a", &large, "413"),
        ("/secrets/a/..", SECRET, "400"),
        ("/secrets/../a", SECRET, "400"),
        ("/secrets/a/%2e%2e", SECRET, "400"),
        ("/secrets/a/b.c", SECRET, "400"),
        (&format!("/secrets/a/{long}"), SECRET, "400"),
        ("/secrets/a/b", "", "400"),
        ("/secrets/a/b", "hush", "400"),
        ("/secrets/a/b", r#"{"kind":"gold","secret_key":"hush"}"#, "400"),
        ("/secrets/a/b", &large, "413"),
    ];
    for (path, body, expected) in cases {
        let answer = bridge.put(path, body);
        assert_eq!(status(&answer), expected, "{path:.80} {body:.80}: {answer}");
        assert!(!answer.contains("hush"), "{answer}");
    }
    assert_eq!(status(&delete(&bridge, "/secrets/a/b")), "424");
    assert_eq!(status(&bridge.get("/secrets/a/b").unwrap()), "404");
    assert!(bridge.get("/secrets/a").unwrap().contains(r#"{"secrets":[]}"#));
    let secrets = bridge.state().join("secrets");
    assert_eq!(std::fs::read_dir(secrets).unwrap().count(), 0, "what was refused is nowhere");
}

#[test]
fn a_new_life_has_the_secrets_and_asks_for_the_tenants() {
    let mut bridge = Bridge::start();
    assert_eq!(status(&bridge.put("/secrets/acme/store", SECRET)), "204");
    assert_eq!(status(&bridge.put("/tenants/acme", r#"{"instances":1}"#)), "204");
    bridge.restart_hard();
    let listed = bridge.get("/secrets/acme").unwrap();
    assert!(listed.contains(r#""name":"store""#) && !listed.contains("hush"), "{listed}");
    host::test(async {
        let host = Host::connect(&bridge).await;
        assert_eq!(spare(&host, "acme").await.err(), Some(ErrorCode::UnknownTenant));
        assert_eq!(status(&bridge.put("/tenants/acme", r#"{"instances":1}"#)), "204");
        assert!(spare(&host, "acme").await.is_ok());
    });
}

#[test]
fn what_runs_of_a_removed_tenant_ends_and_another_tenants_does_not() {
    let bridge = Bridge::start();
    for tenant in ["acme", "bolt"] {
        assert_eq!(status(&bridge.put(&format!("/tenants/{tenant}"), "{}")), "204");
        assert_eq!(status(&bridge.put(&format!("/secrets/{tenant}/store"), SECRET)), "204");
    }
    host::test(async {
        let host = Host::connect(&bridge).await;
        let (acme, bolt) = (spare(&host, "acme").await.unwrap(), spare(&host, "bolt").await.unwrap());
        assert_eq!(status(&delete(&bridge, "/tenants/acme")), "204");
        let ended = tokio::time::timeout(LIMIT, async { Events::of(&acme).ended().await }).await.unwrap();
        assert!(matches!(&ended, Seen::Ended { reason, .. } if reason == "its tenant was removed"), "{ended:?}");
        assert_eq!(spare(&host, "acme").await.err(), Some(ErrorCode::UnknownTenant));
        assert!(bolt.snapshot_request().send().promise.await.unwrap().get().unwrap().get_json().is_ok());
        assert!(bridge.get("/secrets/acme").unwrap().contains(r#""secrets":[]"#));
        assert!(bridge.get("/secrets/bolt").unwrap().contains("store"));
        assert_eq!(status(&delete(&bridge, "/tenants/acme")), "204", "once more is no error");
    });
}

/// kill -9 somewhere in a rotation: the next life has all secrets, and one key.
#[test]
fn a_key_that_is_being_replaced_when_the_bridge_is_killed_loses_nothing() {
    const SECRETS: usize = 60;
    let mut bridge = Bridge::start();
    for number in 0..SECRETS {
        assert_eq!(status(&bridge.put(&format!("/secrets/t{}/s{number}", number % 4), SECRET)), "204");
    }
    let key = bridge.state().join("node.key");
    let mut keys = vec![std::fs::read(&key).unwrap()];
    for round in 0..8 {
        let socket = bridge.socket();
        let asking = std::thread::spawn(move || {
            host::raw(&socket, b"POST /node-key HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n")
        });
        std::thread::sleep(std::time::Duration::from_millis(2 * round));
        bridge.restart_hard();
        let _ = asking.join().unwrap();
        let listed: String = (0..4).map(|tenant| bridge.get(&format!("/secrets/t{tenant}")).unwrap()).collect();
        assert_eq!((listed.matches(r#""kind":"s3""#).count(), listed.contains("unreadable")), (SECRETS, false));
        assert!(!bridge.state().join("node.key.next").exists());
        keys.push(std::fs::read(&key).unwrap());
    }
    let answer =
        host::raw(&bridge.socket(), b"POST /node-key HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n").unwrap();
    assert!(answer.contains(&format!(r#"{{"sealed":{SECRETS},"unreadable":0}}"#)), "{answer}");
    assert!(!keys.contains(&std::fs::read(&key).unwrap()));
}
