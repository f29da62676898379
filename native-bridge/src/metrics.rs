//! What Prometheus is told.

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};

/// An error's name, "ok" where all went well.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) code: String,
}

pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) instances: Gauge,
    pub(crate) instances_created: Counter,
    pub(crate) control_streams: Gauge,
    pub(crate) live_objects: Gauge,
    pub(crate) app_packets: Counter,
    pub(crate) rpcs: Family<Outcome, Counter>,
    pub(crate) calls: Family<Outcome, Counter>,
    pub(crate) received_bytes: Counter,
    pub(crate) shared_rpcs: Counter,
    pub(crate) served: Family<Outcome, Counter>,
    pub(crate) invocations: Family<Outcome, Counter>,
    pub(crate) answer_bytes: Counter,
    pub(crate) start_seconds: Histogram,
    memory_used: Gauge,
    memory_limit: Gauge,
    pool_ready: Gauge,
    pool_misses: Gauge,
    runners_assigned: Gauge,
    runner_processes: Gauge,
    runner_breaches: Gauge,
}

/// Values that are read when somebody asks.
pub(crate) struct Sampled {
    pub(crate) memory_used: u64,
    pub(crate) memory_limit: u64,
    pub(crate) pool_ready: usize,
    pub(crate) pool_misses: u64,
    pub(crate) runners: Runners,
}

/// Values of the runners.
#[derive(Default)]
pub(crate) struct Runners {
    /// Tenants that have one.
    pub(crate) assigned: usize,
    /// Processes that were started.
    pub(crate) started: u32,
    /// Connections that broke the relay's bounds.
    pub(crate) breaches: u64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("headstart_bridge");
        // From 1 ms to about 16 s.
        let buckets = (0..15).map(|step| 0.001 * f64::from(1 << step));
        let metrics = Self {
            instances: Gauge::default(),
            instances_created: Counter::default(),
            control_streams: Gauge::default(),
            live_objects: Gauge::default(),
            app_packets: Counter::default(),
            rpcs: Family::default(),
            calls: Family::default(),
            received_bytes: Counter::default(),
            shared_rpcs: Counter::default(),
            served: Family::default(),
            invocations: Family::default(),
            answer_bytes: Counter::default(),
            start_seconds: Histogram::new(buckets),
            memory_used: Gauge::default(),
            memory_limit: Gauge::default(),
            pool_ready: Gauge::default(),
            pool_misses: Gauge::default(),
            runners_assigned: Gauge::default(),
            runner_processes: Gauge::default(),
            runner_breaches: Gauge::default(),
            registry: Registry::default(),
        };
        let m = &metrics;
        registry.register("instances", "Instances that are not reaped", m.instances.clone());
        registry.register("instances_created", "Instances since the start", m.instances_created.clone());
        registry.register("control_streams", "Control streams of the host", m.control_streams.clone());
        registry.register("live_objects", "Capabilities that control streams hold", m.live_objects.clone());
        registry.register("app_packets", "Requests on the applications' sockets", m.app_packets.clone());
        registry.register("rpcs", "RPCs of initscripts, by outcome", m.rpcs.clone());
        registry.register("calls", "Calls that applications asked for, by outcome", m.calls.clone());
        registry.register("shared_rpcs", "RPCs that had another run's reply", m.shared_rpcs.clone());
        registry.register("received", "Bytes of bodies", m.received_bytes.clone());
        registry.register("served", "Messages given to applications, by outcome", m.served.clone());
        registry.register("invocations", "Invocations, by outcome", m.invocations.clone());
        registry.register("answered", "Bytes of answers", m.answer_bytes.clone());
        registry.register_with_unit(
            "start",
            "From the start to the first invocation taken",
            Unit::Seconds,
            m.start_seconds.clone(),
        );
        registry.register("memory_used_bytes", "Bytes of segments", m.memory_used.clone());
        registry.register("memory_limit_bytes", "The node's limit of segments", m.memory_limit.clone());
        registry.register("pool_ready_segments", "Segments that are ready", m.pool_ready.clone());
        registry.register("pool_misses", "Segments that were not ready", m.pool_misses.clone());
        registry.register("runners_assigned", "Tenants that have a runner", m.runners_assigned.clone());
        registry.register("runner_processes", "Runners' processes there have been", m.runner_processes.clone());
        registry.register("runner_breaches", "Connections to runners that broke bounds", m.runner_breaches.clone());
        Self { registry, ..metrics }
    }

    /// In Prometheus' text format.
    pub(crate) fn encode(&self, sampled: &Sampled) -> String {
        self.memory_used.set(i64::try_from(sampled.memory_used).unwrap_or(i64::MAX));
        self.memory_limit.set(i64::try_from(sampled.memory_limit).unwrap_or(i64::MAX));
        self.pool_ready.set(i64::try_from(sampled.pool_ready).unwrap_or(i64::MAX));
        self.pool_misses.set(i64::try_from(sampled.pool_misses).unwrap_or(i64::MAX));
        self.runners_assigned.set(i64::try_from(sampled.runners.assigned).unwrap_or(i64::MAX));
        self.runner_processes.set(i64::from(sampled.runners.started));
        self.runner_breaches.set(i64::try_from(sampled.runners.breaches).unwrap_or(i64::MAX));
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics cannot be encoded");
        }
        text
    }
}

/// The label of an outcome.
pub(crate) fn outcome<T>(result: &headstart_base::Result<T>) -> Outcome {
    let code = result.as_ref().err().map_or(headstart_base::ErrorCode::Ok, |error| error.code);
    Outcome { code: crate::errors::name(code) }
}
