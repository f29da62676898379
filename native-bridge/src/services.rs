//! Services: an address on the node's loopback that outlives the instances behind it.
//!
//! The host decides which instance serves and what follows its end; here is what takes a descriptor or a process to do: the
//! listener and the connections that are carried through it, looking whether the application is ready, and its end by a
//! signal. A connection that comes while no instance serves waits for the next one, for a while.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headstart_base::{Error, ErrorCode, Result, now};
use headstart_splice::{join, refuse};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::instance::event::Kind;
use crate::instance::ready::Rule;
use crate::instance::{Instance, Stage};
use crate::sync::lock;
use crate::tenants::Tenant;

/// Services at one time.
const MOST: usize = 256;
/// Connections that are carried to one service at one time; the next ones wait in the listener's queue.
const MOST_CONNECTIONS: usize = 512;
/// How long an application may take to accept a connection: one that accepts none has a queue, and then the kernel waits for minutes.
const DIALING: Duration = Duration::from_secs(10);
/// How long a connection waits for an instance.
const NEXT_INSTANCE: Duration = Duration::from_secs(10);
/// How long it may take until an application's end is noticed.
const NOTICED: Duration = Duration::from_secs(1);
/// A connection may be silent for as long as its two ends like; keep-alive finds those whose host is gone.
const SILENCE: Duration = Duration::from_secs(365 * 24 * 3600);
/// The longest that an application may take to become ready, or to end.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long the reaping of an instance may take.
const REAPING: Duration = Duration::from_secs(15);

/// What the host wants served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    tenant: String,
    instance: String,
    /// The application's port, to be reached by the service's address.
    port: Option<u16>,
    /// The port that the address had before.
    listen: Option<u16>,
    ready: Option<Rule>,
    ready_timeout_ms: u64,
    stop_signal: i32,
    stop_grace_ms: u64,
}

impl Wanted {
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }
}

/// A service that is ready.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: Option<SocketAddr>,
    /// From its instance's start.
    pub(crate) ready_nanos: u64,
}

/// The services by the host's names of them.
#[derive(Default)]
pub(crate) struct Services {
    known: Mutex<HashMap<String, Arc<Service>>>,
}

struct Service {
    id: String,
    tenant: String,
    now: Mutex<Now>,
    /// Where connections go now.
    target: watch::Sender<Option<Target>>,
    /// Ends the listener.
    ending: CancellationToken,
}

/// What changes with each instance.
#[derive(Default)]
struct Now {
    instance: Option<Arc<Instance>>,
    address: Option<SocketAddr>,
    stop_signal: i32,
    stop_grace: Duration,
}

#[derive(Clone)]
struct Target {
    instance: Arc<Instance>,
    port: u16,
}

impl Services {
    /// Makes `instance` the one that serves, once its application is ready.
    ///
    /// `notReady` when it is not in time, `instanceClosed` when it ends before.
    pub(crate) async fn serve(&self, id: &str, instance: Arc<Instance>, wanted: Wanted) -> Result<Served> {
        if instance.tenant != wanted.tenant {
            return Err(Error::new(ErrorCode::UnknownInstance, "the instance is another tenant's"));
        }
        let service = self.take(id, &instance.account)?;
        service.begin(&instance, &wanted);
        let within = Duration::from_millis(wanted.ready_timeout_ms).min(LONGEST);
        if let Some(rule) = &wanted.ready
            && let Err(error) = instance.ready(rule, within).await
        {
            self.forget_new(&service);
            return Err(error);
        }
        let ready_nanos = now().saturating_sub(instance.started_at());
        let address = match wanted.port {
            Some(port) => Some(service.open(&instance, port, wanted.listen).await?),
            None => None,
        };
        instance.events.push(Kind::Noted("ready".into()));
        Ok(Served { address, ready_nanos })
    }

    fn take(&self, id: &str, tenant: &Tenant) -> Result<Arc<Service>> {
        let mut known = lock(&self.known);
        if let Some(service) = known.get(id) {
            if service.tenant != tenant.name {
                return Err(Error::new(ErrorCode::AlreadyExists, "the service is another tenant's"));
            }
            return Ok(Arc::clone(service));
        }
        if known.len() >= MOST {
            return Err(Error::new(ErrorCode::TooMany, format!("a node has at most {MOST} running services")));
        }
        // One that is started again has its place still, and no instance.
        tenant.allow_service(known.values().filter(|service| service.tenant == tenant.name).count())?;
        let service = Arc::new(Service {
            id: id.to_owned(),
            tenant: tenant.name.clone(),
            now: Mutex::default(),
            target: watch::Sender::new(None),
            ending: CancellationToken::new(),
        });
        known.insert(id.to_owned(), Arc::clone(&service));
        Ok(service)
    }

    /// Forgets a service that never had an address.
    fn forget_new(&self, service: &Arc<Service>) {
        if lock(&service.now).address.is_none() {
            lock(&self.known).remove(&service.id);
        }
    }

    /// Ends a service: its listener, then its application by the signal that it wants and, after its grace, by force. All is
    /// reaped when this returns.
    pub(crate) async fn end(&self, id: &str) -> Result<()> {
        let service = lock(&self.known).remove(id);
        let Some(service) = service else {
            return Err(Error::new(ErrorCode::UnknownService, format!("there is no service {id:.40}")));
        };
        service.end("it was asked to").await;
        Ok(())
    }

    /// Ends all, side by side.
    pub(crate) async fn end_all(&self, reason: &str) {
        let all: Vec<_> = lock(&self.known).drain().map(|(_, service)| service).collect();
        let mut ending = tokio::task::JoinSet::new();
        for service in all {
            let reason = reason.to_owned();
            ending.spawn(async move { service.end(&reason).await });
        }
        while ending.join_next().await.is_some() {}
    }

    /// Closes the listeners of a tenant's services. Their instances end otherwise.
    pub(crate) fn forget(&self, tenant: &str) {
        lock(&self.known).retain(|_, service| {
            let keep = service.tenant != tenant;
            if !keep {
                service.ending.cancel();
            }
            keep
        });
    }

    /// How many of a tenant there are.
    pub(crate) fn count(&self, tenant: &str) -> usize {
        lock(&self.known).values().filter(|service| service.tenant == tenant).count()
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        let known: Vec<_> = lock(&self.known).values().cloned().collect();
        known.iter().map(|service| service.describe()).collect()
    }
}

impl Service {
    /// The instance is the service's from now on: its end by `end` is its end.
    fn begin(self: &Arc<Self>, instance: &Arc<Instance>, wanted: &Wanted) {
        {
            let mut now = lock(&self.now);
            now.instance = Some(Arc::clone(instance));
            now.stop_signal = wanted.stop_signal;
            now.stop_grace = Duration::from_millis(wanted.stop_grace_ms).min(LONGEST);
        }
        let (service, instance) = (Arc::clone(self), Arc::clone(instance));
        let data = instance.node.data.clone();
        data.spawn(async move {
            instance.closing.cancelled().await;
            service.left(&instance);
            // The sender lives as long as the instance.
            let _ = instance.stage.subscribe().wait_for(|stage| *stage == Stage::Ended).await;
            let mut now = lock(&service.now);
            if now.instance.as_ref().is_some_and(|it| Arc::ptr_eq(it, &instance)) {
                now.instance = None;
            }
        });
    }

    /// An instance serves no more.
    fn left(&self, instance: &Arc<Instance>) {
        let is_it = |other: &Arc<Instance>| Arc::ptr_eq(other, instance);
        self.target.send_if_modified(|target| {
            let gone = target.as_ref().is_some_and(|target| is_it(&target.instance));
            if gone {
                *target = None;
            }
            gone
        });
    }

    /// Leads the service's address to an instance. Where there was none yet, or its port is another's by now, there is a new one.
    async fn open(self: &Arc<Self>, instance: &Arc<Instance>, port: u16, listen: Option<u16>) -> Result<SocketAddr> {
        let known = lock(&self.now).address;
        let address = match known {
            Some(address) => address,
            None => {
                let listener = bind(listen).await?;
                let address =
                    listener.local_addr().map_err(|error| crate::errors::io("the service's address", &error))?;
                lock(&self.now).address = Some(address);
                instance.node.data.spawn(Arc::clone(self).listen(listener));
                address
            }
        };
        self.target.send_replace(Some(Target { instance: Arc::clone(instance), port }));
        if instance.stage() != Stage::Started {
            self.left(instance);
        }
        Ok(address)
    }

    async fn listen(self: Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.ending.cancelled() => return,
            };
            let Ok((client, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let service = Arc::clone(&self);
            tokio::spawn(async move {
                if let Err(error) = service.carry(client).await {
                    tracing::debug!(service = service.id, %error, "a connection is not served");
                }
                drop(permit);
            });
        }
    }

    /// Carries a connection from its beginning to its end.
    async fn carry(&self, client: TcpStream) -> Result<()> {
        let reached = tokio::select! {
            reached = self.reach() => reached,
            () = self.ending.cancelled() => Err(crate::errors::instance_closed()),
        };
        let client = fd(client)?;
        let (instance, application) = match reached {
            Ok((instance, application)) => (instance, fd(application)?),
            Err(error) => {
                refuse(client);
                return Err(error);
            }
        };
        let carried = join(client, application, SILENCE);
        let carried = carried.map_err(|error| crate::errors::io("a connection of a service", &error))?;
        tokio::select! {
            _ = carried => {}
            () = instance.closing.cancelled() => {}
        }
        Ok(())
    }

    /// A connection to the application, of the instance that serves or of the next one.
    async fn reach(&self) -> Result<(Arc<Instance>, TcpStream)> {
        let mut target = self.target.subscribe();
        let next = tokio::time::Instant::now() + NEXT_INSTANCE;
        loop {
            let serving = tokio::time::timeout_at(next, target.wait_for(Option::is_some)).await;
            let found = serving.ok().and_then(|found| found.ok()?.clone());
            let Some(Target { instance, port }) = found else {
                return Err(Error::new(ErrorCode::NotReady, "no instance serves"));
            };
            let dialled = tokio::time::timeout(DIALING, instance.dial(port)).await;
            match dialled.unwrap_or_else(|_| Err(Error::new(ErrorCode::NotReady, "the application accepts nothing"))) {
                Ok(stream) => return Ok((instance, stream)),
                // Perhaps it has ended just now: then its end is noticed in a moment.
                Err(error) => match tokio::time::timeout(NOTICED, target.changed()).await {
                    Ok(_) => {}
                    Err(_) => return Err(error),
                },
            }
        }
    }

    async fn end(&self, reason: &str) {
        self.ending.cancel();
        let (instance, signal, grace) = {
            let now = lock(&self.now);
            (now.instance.clone(), now.stop_signal, now.stop_grace)
        };
        let Some(instance) = instance else { return };
        instance.events.push(Kind::Noted(format!("stopping: {reason}")));
        let mut stage = instance.stage.subscribe();
        if instance.stage() == Stage::Started && instance.signal(signal).await.is_ok() {
            // The sender lives as long as the instance.
            let leaving = stage.wait_for(|stage| *stage != Stage::Started);
            let _ = tokio::time::timeout(grace, leaving).await;
        }
        instance.stop(reason);
        if tokio::time::timeout(REAPING, stage.wait_for(|stage| *stage == Stage::Ended)).await.is_err() {
            tracing::error!(service = self.id, "its instance is not reaped in time");
        }
    }

    fn describe(&self) -> Value {
        let now = lock(&self.now);
        json!({
            "service": self.id,
            "tenant": self.tenant,
            "instance": now.instance.as_ref().map(|instance| instance.id.clone()),
            "address": now.address.map(|address| address.to_string()),
        })
    }
}

async fn bind(listen: Option<u16>) -> Result<TcpListener> {
    if let Some(port) = listen
        && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    {
        return Ok(listener);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    listener.map_err(|error| crate::errors::io("cannot listen for a service", &error))
}

fn fd(stream: TcpStream) -> Result<OwnedFd> {
    let stream = stream.into_std().map_err(|error| crate::errors::io("a connection of a service", &error))?;
    Ok(stream.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::{Quota, Tenants};

    #[test]
    fn one_tenant_cannot_take_anothers_places() {
        let (tenants, services) = (Tenants::default(), Services::default());
        for name in ["acme", "bolt", "small"] {
            tenants.put(name, Quota::default()).unwrap();
        }
        tenants.put("small", Quota { services: Some(1), ..Quota::default() }).unwrap();
        let [acme, bolt, small] = ["acme", "bolt", "small"].map(|name| tenants.find(name).unwrap());
        let taken = (0..MOST).map_while(|number| services.take(&format!("s-{number}"), &acme).ok()).count();
        assert_eq!((taken, services.count("acme")), (32, 32));
        let error = services.take("s-more", &acme).err().unwrap();
        assert_eq!(error.code, ErrorCode::QuotaExceeded);
        assert_eq!(error.message, "32 services run, and the tenant's quota of services is 32");
        assert!(services.take("s-1", &acme).is_ok(), "one that is started again has its place");
        assert!(services.take("s-bolt", &bolt).is_ok());
        assert!(services.take("s-small", &small).is_ok() && services.take("s-other", &small).is_err());
        services.forget("acme");
        assert!(services.take("s-more", &acme).is_ok());
    }
}
