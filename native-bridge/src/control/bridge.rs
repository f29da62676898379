//! The bootstrap capability.

use std::rc::Rc;
use std::sync::Arc;

use headstart_base::bridge_capnp::{bridge, runner_status};
use headstart_base::{Error, ErrorCode, Nanos, Result, now};
use headstart_runner::{End, State};
use headstart_sandbox::Isolation;

use super::{Stream, decode, encode, instance};
use crate::instance::Instance;
use crate::node::{Node, VERSION};

/// The version of schema/bridge.capnp that this bridge speaks.
const PROTOCOL: u32 = 1;

pub(super) struct Server {
    stream: Rc<Stream>,
}

impl Server {
    pub(super) fn new(stream: Rc<Stream>) -> Self {
        Self { stream }
    }

    async fn assign(&self, slot: u16, tenant: &str) -> Result<()> {
        let node = &self.stream.node;
        let tenant = node.tenants.find(tenant)?;
        match &node.runners {
            Some(runners) => runners.assign(slot, &tenant.name).await,
            None => Err(Error::new(ErrorCode::InvalidArgument, "this node runs no initscripts")),
        }
    }

    fn attach(&self, id: &str) -> Result<Arc<Instance>> {
        let instance = self.stream.node.find_instance(id)?;
        instance.attach(self.stream.id);
        Ok(instance)
    }
}

impl bridge::Server for Server {
    async fn hello(
        self: Rc<Self>,
        params: bridge::HelloParams,
        mut results: bridge::HelloResults,
    ) -> std::result::Result<(), capnp::Error> {
        let spoken = params.get()?.get_protocol();
        let mut answer = results.get();
        if spoken != PROTOCOL {
            let message =
                format!("the host speaks version {spoken} of the bridge's protocol, the bridge version {PROTOCOL}");
            encode::error(answer.init_error(), Some(&Error::new(ErrorCode::Protocol, message)));
            return Ok(());
        }
        let node = &self.stream.node;
        let mut info = answer.reborrow().init_info();
        info.set_version(VERSION);
        info.set_started_at(node.started_at);
        let at = now();
        info.set_now(at);
        info.set_grace_millis(node.config.grace_ms);
        info.set_unix_millis_at_zero(unix_millis_at_zero(at));
        info.set_isolations(isolations(node).as_slice())?;
        encode::error(answer.init_error(), None);
        Ok(())
    }

    async fn create_instance(
        self: Rc<Self>,
        params: bridge::CreateInstanceParams,
        mut results: bridge::CreateInstanceResults,
    ) -> std::result::Result<(), capnp::Error> {
        let tenant = params.get()?.get_tenant()?.to_string()?;
        let stream = &self.stream;
        let created = stream.node.create_instance(&tenant, stream.id).await;
        let mut answer = results.get();
        match created {
            Ok(created) => {
                answer.set_id(created.id.as_str());
                answer.set_instance(capnp_rpc::new_client(instance::Server::new(stream, created)));
                encode::error(answer.init_error(), None);
            }
            Err(error) => encode::error(answer.init_error(), Some(&error)),
        }
        Ok(())
    }

    async fn attach(
        self: Rc<Self>,
        params: bridge::AttachParams,
        mut results: bridge::AttachResults,
    ) -> std::result::Result<(), capnp::Error> {
        let id = params.get()?.get_id()?.to_string()?;
        let mut answer = results.get();
        match Self::attach(&self, &id) {
            Ok(attached) => {
                answer.set_instance(capnp_rpc::new_client(instance::Server::new(&self.stream, attached)));
                encode::error(answer.init_error(), None);
            }
            Err(error) => encode::error(answer.init_error(), Some(&error)),
        }
        Ok(())
    }

    async fn put_function(
        self: Rc<Self>,
        params: bridge::PutFunctionParams,
        mut results: bridge::PutFunctionResults,
    ) -> std::result::Result<(), capnp::Error> {
        let node = &self.stream.node;
        let put = decode::function(params.get()?.get_function()?, node)?.map(|function| {
            node.snapshots.drop_others(&function);
            node.functions.put(function);
        });
        encode::error(results.get().init_error(), put.err().as_ref());
        Ok(())
    }

    async fn drop_function(
        self: Rc<Self>,
        params: bridge::DropFunctionParams,
        mut results: bridge::DropFunctionResults,
    ) -> std::result::Result<(), capnp::Error> {
        let digest = params.get()?.get_digest()?.to_str()?;
        self.stream.node.functions.drop(digest);
        self.stream.node.snapshots.drop_version(digest);
        encode::error(results.get().init_error(), None);
        Ok(())
    }

    async fn live_objects(
        self: Rc<Self>,
        _: bridge::LiveObjectsParams,
        mut results: bridge::LiveObjectsResults,
    ) -> std::result::Result<(), capnp::Error> {
        results.get().set_count(self.stream.objects.get());
        Ok(())
    }

    async fn runner(
        self: Rc<Self>,
        params: bridge::RunnerParams,
        mut results: bridge::RunnerResults,
    ) -> std::result::Result<(), capnp::Error> {
        let tenant = params.get()?.get_tenant()?.to_str()?;
        let mut answer = results.get().init_status();
        match self.stream.node.runners.as_ref().and_then(|runners| runners.of(tenant)) {
            Some(status) => {
                answer.set_pid(status.pid);
                answer.set_generation(status.generation);
                answer.set_state(match status.state {
                    State::Starting => runner_status::State::Starting,
                    State::Ready => runner_status::State::Ready,
                    State::Stalled => runner_status::State::Stalled,
                    State::Dead => runner_status::State::Dead,
                });
                answer.set_last_end(match status.last_end {
                    End::None => runner_status::End::None,
                    End::Exited => runner_status::End::Exited,
                    End::Stalled => runner_status::End::Stalled,
                    End::Memory => runner_status::End::Memory,
                });
                let silence = now().saturating_sub(status.last_heard) / 1_000_000;
                answer.set_last_heard_millis(u32::try_from(silence).unwrap_or(u32::MAX));
            }
            None => answer.set_state(runner_status::State::Dead),
        }
        Ok(())
    }

    async fn assign_runner(
        self: Rc<Self>,
        params: bridge::AssignRunnerParams,
        mut results: bridge::AssignRunnerResults,
    ) -> std::result::Result<(), capnp::Error> {
        let params = params.get()?;
        let assigned = self.assign(params.get_slot(), params.get_tenant()?.to_str()?).await;
        encode::error(results.get().init_error(), assigned.err().as_ref());
        Ok(())
    }

    async fn runners(
        self: Rc<Self>,
        _: bridge::RunnersParams,
        mut results: bridge::RunnersResults,
    ) -> std::result::Result<(), capnp::Error> {
        let known = self.stream.node.runners.as_ref().map_or_else(Vec::new, |runners| runners.all());
        let assigned: Vec<_> = known.iter().filter_map(|it| Some((it.slot?, &it.tenant))).collect();
        let mut answer = results.get().init_assigned(assigned.len() as u32);
        for (index, (slot, tenant)) in (0..).zip(assigned) {
            let mut it = answer.reborrow().get(index);
            it.set_slot(slot);
            it.set_tenant(tenant);
        }
        Ok(())
    }
}

/// What the node can do: snapshots where gVisor works.
fn isolations(node: &Node) -> Vec<&'static str> {
    let mut names = node.sandboxes.isolations();
    if names.contains(&Isolation::Gvisor.name()) {
        names.push(decode::SNAPSHOT);
    }
    names
}

/// The wall clock when CLOCK_MONOTONIC was 0.
fn unix_millis_at_zero(at: Nanos) -> f64 {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    wall.map_or(0.0, |wall| wall.as_nanos() as f64 / 1e6) - at as f64 / 1e6
}
