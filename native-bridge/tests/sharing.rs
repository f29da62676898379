//! Replies that several runs of a function share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Bridge;
use common::app::{App, Ask, Told, map};
use common::host::{
    self, Events, Fill, Host, Seen, archive, beside, connect, pause, put_bundle, reply, send, start, stop, submit,
};
use common::server::{Server, pattern};
use headstart_base::ErrorCode;
use headstart_base::app_capnp::AppOp;
use headstart_base::bridge_capnp::instance;

const BYTES: usize = 3_000_000;
const LONG: u32 = 60_000;

/// Runs of one function, whose GETs of anything of a server are shared.
struct Runs<'a> {
    host: &'a Host,
    bridge: &'a Bridge,
    server: &'a Server,
    digest: &'static str,
    tenant: &'static str,
}

impl<'a> Runs<'a> {
    async fn of(host: &'a Host, bridge: &'a Bridge, server: &'a Server, ttl: u32) -> Self {
        Self::named(host, bridge, server, ttl, "f", "default").await
    }

    async fn named(
        host: &'a Host,
        bridge: &'a Bridge,
        server: &'a Server,
        ttl: u32,
        digest: &'static str,
        tenant: &'static str,
    ) -> Self {
        let (archive, bundle) = archive("app.py", b"");
        put_bundle(&bridge.socket(), &bundle, &archive);
        let (gets, puts) = (format!("GET {}/*", server.address), format!("PUT {}/*", server.address));
        let code = host
            .put(digest, &bundle, |mut function| {
                function.set_tenant(tenant);
                function.set_egress(&[gets.clone(), puts.clone()][..]).unwrap();
                function.set_share(&[gets.clone()][..]).unwrap();
                function.set_share_ttl_millis(ttl);
            })
            .await;
        assert_eq!(code, ErrorCode::Ok);
        Self { host, bridge, server, digest, tenant }
    }

    /// A run that has asked for a path as RPC 1, which is message 1.
    async fn ask(&self, path: &str) -> (instance::Client, String) {
        let (instance, id) = self.host.create_for(self.tenant).await;
        assert_eq!(start(&instance, self.digest, instance::Mode::InitscriptOnly).await, ErrorCode::Ok);
        let get = send(1, 1, &format!("GET {path}\n\n"));
        let batch: [&Fill; 3] = [&connect(1, &self.server.address), &get, &reply(1, 1)];
        assert_eq!(submit(&instance, &batch).await, ErrorCode::Ok);
        (instance, id)
    }

    /// Whether a run's reply was shared, once it is there.
    async fn shared(&self, path: &str) -> bool {
        let (instance, _) = self.ask(path).await;
        let mut events = Events::of(&instance);
        events.done(1).await;
        stop(&instance).await;
        events.ended().await;
        events.all.contains(&Seen::Shared(1))
    }

    /// Bytes that the tenant uses.
    fn used(&self) -> u64 {
        let text = self.bridge.get("/tenants").unwrap();
        let json: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        let tenants = json["tenants"].as_array().unwrap();
        let tenant = tenants.iter().find(|tenant| tenant["name"] == self.tenant).unwrap();
        tenant["used"]["memory"].as_u64().unwrap()
    }
}

fn is_done(seen: &Seen) -> bool {
    matches!(seen, Seen::Done { error: ErrorCode::Ok, length, .. } if *length == BYTES as u64)
}

async fn claim(bridge: &Bridge, id: &str) -> (App, Told) {
    let mut app = App::connect(&bridge.app_socket(id));
    beside(move || {
        let told = app.ask(AppOp::RecvMsg, &Ask { id: 1, deadline: 10_000, ..Ask::default() });
        (app, told)
    })
    .await
}

#[test]
fn runs_at_one_time_fetch_once_and_map_one_segment_that_counts_once() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let runs = Runs::of(&host, &bridge, &server, 0).await;
        let path = format!("/slow/{BYTES}");
        let mut all = Vec::new();
        for _ in 0..6 {
            all.push(runs.ask(&path).await);
        }
        pause(100).await;
        server.open();
        let mut shared = 0;
        for (instance, id) in &all {
            let mut events = Events::of(instance);
            assert!(is_done(&events.done(1).await));
            shared += usize::from(events.all.contains(&Seen::Shared(1)));
            assert_ne!(
                events.all.contains(&Seen::Shared(1)),
                events.all.iter().any(|seen| matches!(seen, Seen::Sent { .. })),
                "one or the other: {:?}",
                events.all
            );
            let (_app, told) = claim(&bridge, id).await;
            assert_eq!((told.error, told.length), (ErrorCode::Ok, BYTES as u64));
            let mapped = map(&told.file.unwrap());
            assert_eq!(&mapped[told.offset as usize..][..BYTES], pattern(BYTES));
        }
        assert_eq!((shared, server.seen(&format!("GET {path}"))), (5, 1));
        let used = runs.used();
        assert!(used >= BYTES as u64 && used < 2 * BYTES as u64, "{used} bytes count");
        let inventory = bridge.get("/inventory").unwrap();
        assert!(inventory.contains("\"shared-1\""), "the runs say whose segment they have");

        for (instance, _) in &all {
            stop(instance).await;
            Events::of(instance).ended().await;
        }
        assert_eq!(runs.used(), 0, "nothing is kept without a ttl");
        assert!(!runs.shared(&path).await);
    });
}

#[test]
fn a_reply_is_kept_for_its_time_and_not_longer() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let runs = Runs::of(&host, &bridge, &server, 700).await;
        let path = format!("/bytes/{BYTES}");
        assert!(!runs.shared(&path).await);
        assert!(runs.shared(&path).await);
        assert!(runs.used() >= BYTES as u64, "it counts as long as it is kept");
        pause(800).await;
        assert_eq!(runs.used(), 0);
        assert!(!runs.shared(&path).await);
        assert_eq!(server.seen(&format!("GET {path}")), 2);
    });
}

#[test]
fn whoever_asked_first_may_go() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let runs = Runs::of(&host, &bridge, &server, 0).await;
        let path = format!("/slow/{BYTES}");
        let (first, _) = runs.ask(&path).await;
        Events::of(&first).find(|seen| matches!(seen, Seen::FirstByte(1)).then_some(())).await;
        let (second, id) = runs.ask(&path).await;
        Events::of(&second).find(|seen| (*seen == Seen::Shared(1)).then_some(())).await;
        stop(&first).await;
        Events::of(&first).ended().await;
        server.open();
        assert!(is_done(&Events::of(&second).done(1).await));
        let (_app, told) = claim(&bridge, &id).await;
        assert_eq!(&map(&told.file.unwrap())[told.offset as usize..][..BYTES], pattern(BYTES));
        assert_eq!(server.seen(&format!("GET {path}")), 1);
        // The last one ends the fetch.
        let (third, _) = runs.ask("/slow/1000000").await;
        stop(&third).await;
        Events::of(&third).ended().await;
        stop(&second).await;
        Events::of(&second).ended().await;
        pause(50).await;
        assert_eq!(runs.used(), 0);
    });
}

#[test]
fn a_write_voids_it_and_so_does_the_end_of_its_tenant() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let runs = Runs::of(&host, &bridge, &server, LONG).await;
        assert!(!runs.shared("/put/x?part").await);
        assert!(runs.shared("/put/x?part").await);
        let (writer, id) = runs.ask("/bytes/9").await;
        Events::of(&writer).done(1).await;
        let put = format!("PUT {}/put/x\n\n", server.address);
        let mut app = App::connect(&bridge.app_socket(&id));
        let told = beside(move || app.ask(AppOp::Call, &Ask { payload: put.into_bytes(), ..Ask::default() })).await;
        assert_eq!(told.status, 200);
        assert!(!runs.shared("/put/x?part").await, "the application has written to it");
        assert!(runs.shared("/put/x?part").await);
        let script: [&Fill; 1] = [&send(1, 2, "PUT /put/x\n\n")];
        assert_eq!(submit(&writer, &script).await, ErrorCode::Ok);
        Events::of(&writer).done(2).await;
        assert!(!runs.shared("/put/x?part").await, "an initscript has");
    });
}

#[test]
fn tenants_functions_and_other_requests_are_apart() {
    let bridge = Bridge::start();
    assert!(bridge.put("/tenants/other", "{}").starts_with("HTTP/1.1 204"));
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let runs = Runs::of(&host, &bridge, &server, LONG).await;
        assert!(!runs.shared("/bytes/100000").await);
        let others = Runs::named(&host, &bridge, &server, LONG, "g", "other").await;
        assert!(!others.shared("/bytes/100000").await);
        assert!(others.shared("/bytes/100000").await);
        let second = Runs::named(&host, &bridge, &server, LONG, "h", "default").await;
        assert!(!second.shared("/bytes/100000").await);
        let (instance, _) = runs.ask("/bytes/100000").await;
        Events::of(&instance).done(1).await;
        let with_header: [&Fill; 1] = [&send(1, 2, "GET /bytes/100000\naccept: x\n\n")];
        assert_eq!(submit(&instance, &with_header).await, ErrorCode::Ok);
        let mut events = Events::of(&instance);
        events.done(2).await;
        assert!(!events.all.contains(&Seen::Shared(2)), "another header may mean another reply");
        assert_eq!(server.seen("GET /bytes/100000"), 4);
    });
}

#[test]
fn errors_are_not_kept() {
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let runs = Runs::of(&host, &bridge, &server, LONG).await;
        assert!(!runs.shared("/missing").await && !runs.shared("/missing").await);
        assert!(!runs.shared("/short/100000").await && !runs.shared("/short/100000").await);
        assert!(!runs.shared("/bytes/10").await && runs.shared("/bytes/10").await, "small ones are");
    });
}

#[test]
fn what_is_kept_gives_way_to_what_is_needed() {
    let bridge = Bridge::start();
    let server = Server::start();
    assert!(bridge.put("/tenants/default", r#"{"memory":8000000}"#).starts_with("HTTP/1.1 204"));
    host::test(async {
        let host = Host::connect(&bridge).await;
        let runs = Runs::of(&host, &bridge, &server, LONG).await;
        for path in ["/bytes/3000000", "/bytes/3000001", "/bytes/3000002", "/bytes/3000003"] {
            assert!(!runs.shared(path).await);
            assert!(runs.shared(path).await, "{path}");
        }
        assert!(!runs.shared("/bytes/3000000").await, "the one that was not used for the longest went");
        assert!(runs.used() <= 8_000_000);
    });
}

/// Of many small replies a tenant keeps the last ones, and another tenant's are kept still.
#[test]
fn one_tenant_does_not_take_all_places() {
    const REPLIES: u64 = 300;
    let bridge = Bridge::start();
    let server = Server::start();
    host::test(async {
        let host = Host::connect(&bridge).await;
        let runs = Runs::of(&host, &bridge, &server, LONG).await;
        assert!(bridge.put("/tenants/bolt", "{}").contains("204"));
        let others = Runs::named(&host, &bridge, &server, LONG, "g", "bolt").await;
        others.ask("/bytes/9").await;
        let (instance, _) = host.create().await;
        assert_eq!(start(&instance, "f", instance::Mode::InitscriptOnly).await, ErrorCode::Ok);
        assert_eq!(submit(&instance, &[&connect(1, &server.address)]).await, ErrorCode::Ok);
        let mut events = Events::of(&instance);
        for rpc in 1..=REPLIES {
            let get = send(1, rpc, &format!("GET /bytes/{rpc}\n\n"));
            assert_eq!(submit(&instance, &[&get]).await, ErrorCode::Ok);
            assert!(matches!(events.done(rpc).await, Seen::Done { error: ErrorCode::Ok, .. }));
        }
        stop(&instance).await;
        events.ended().await;
        assert!(runs.shared(&format!("/bytes/{REPLIES}")).await, "the last one");
        assert!(!runs.shared("/bytes/1").await, "the first one made room");
        assert!(others.shared("/bytes/9").await);
        let inventory = bridge.get("/inventory").unwrap();
        let json: serde_json::Value = serde_json::from_str(inventory.split_once("\r\n\r\n").unwrap().1).unwrap();
        let flights = &json["shared"]["flights"];
        assert_eq!(flights.as_array().unwrap().len(), 256 + 1, "the other tenant's, too");
    });
}
