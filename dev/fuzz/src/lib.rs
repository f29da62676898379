//! What is fuzzed: each function here takes any bytes, gives them to a parser of the bridge, and panics where the parser breaks a
//! promise. `tests/corpus.rs` runs them over the seeds in `fuzz/corpus` and damaged copies of these; `npm run fuzz` runs them
//! under libFuzzer (docs/fuzzing.md).

// The parsers themselves, not copies: they lie in programs and in private modules.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../native-bridge/src/errors.rs"]
mod errors;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../native-bridge/runner/src/frames.rs"]
mod frames;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../native-bridge/runner/src/ledger.rs"]
mod ledger;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../native-bridge/runner/src/meter.rs"]
mod meter;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../native-bridge/src/app/packet.rs"]
mod packet;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../native-bridge/src/http/unpack.rs"]
mod unpack;

mod app_packet;
mod bundle;
mod egress;
mod grpc;
mod relay;
mod replies;
mod requests;
mod wire;

/// A thing that is fuzzed, by its name in `fuzz/fuzz_targets` and `fuzz/corpus`.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// All that there are.
pub const TARGETS: [Target; 10] = [
    Target { name: "app_packet", run: app_packet::run },
    Target { name: "bundle", run: bundle::run },
    Target { name: "egress", run: egress::run },
    Target { name: "grpc", run: grpc::run },
    Target { name: "http_response", run: replies::http },
    Target { name: "memcached", run: replies::memcached },
    Target { name: "relay_frames", run: relay::run },
    Target { name: "requests", run: requests::run },
    Target { name: "resp", run: replies::redis },
    Target { name: "tcp_frame", run: replies::tcp },
];

/// Runs a target by its name. Panics where there is none.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|target| target.name == name);
    assert!(found.is_some(), "there is no target {name}");
    if let Some(target) = found {
        (target.run)(data);
    }
}
