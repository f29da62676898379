//! Connections: those that the script names and opens, and those that go from one side to the other.
//!
//! A connection has one owner. The script's become *offers* (`TransferConn`), which the application takes once (`GetConn`); the
//! application's become *gifts*, which the script adopts once. Who loses one loses it at once, so nobody speaks on a connection
//! that another may already have.

mod carried;
mod foreign;
mod gifts;
mod offers;
mod own;
mod pinned;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};
use headstart_net::{Address, Permit};

use crate::instance::conns::carried::Carriage;
use crate::instance::conns::gifts::Gift;
use crate::instance::conns::offers::{Offer, Wanted};
use crate::instance::conns::own::Opened;
use crate::instance::{Instance, error};

pub(crate) use carried::How;
pub(super) use foreign::Closing;
pub(crate) use gifts::Giving;
pub(crate) use offers::Handed;
pub(crate) use own::Own;

/// The longest that opening a connection may take beside what its client allows itself.
const OPENING: Duration = Duration::from_secs(30);
/// What the script means by a number.
#[derive(Clone)]
pub(crate) enum Conn {
    /// A name: its requests go over the tenant's kept connections.
    Kept(Address),
    Own(Arc<Own>),
    Refused(Error),
}

/// All of an instance's.
#[derive(Default)]
pub(crate) struct Conns {
    /// The script's.
    pub(super) named: HashMap<u32, Conn>,
    offers: HashMap<Key, Offer>,
    /// Claims of connections that wait.
    wanted: HashMap<u64, Wanted>,
    gifts: HashMap<Key, Gift>,
    /// What the bridge has carried for the application, by number.
    carried: HashMap<u32, Carriage>,
    /// The number of the last connection that the application got.
    last: u32,
    /// What counts the connections that the application got.
    handed: Vec<Permit>,
}

/// What a connection is handed over under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::instance) struct Key {
    pub(super) id: u64,
    /// Where it leads, in canonical form and without a framing: see [`place`].
    pub(super) place: String,
}

impl Key {
    pub(super) fn new(id: u64, address: &str) -> Self {
        Self { id, place: place(address) }
    }
}

/// Where an address leads. What is no address is itself.
fn place(address: &str) -> String {
    Address::parse(address).map_or_else(|_| address.to_owned(), |address| address.place().to_string())
}

impl Conns {
    /// Whether the script offered this before.
    pub(super) fn offered(&self, key: &Key) -> bool {
        self.offers.contains_key(key)
    }

    /// Offers that were not taken, gifts that were not adopted, and connections that are carried.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let offers = self.offers.values().filter(|offer| offer.is_open()).count();
        let gifts = self.gifts.values().filter(|gift| gift.is_open()).count();
        (offers, gifts, self.carried.values().filter(|carriage| carriage.is_open()).count())
    }
}

impl Instance {
    /// Names an address and begins to connect. What is wrong with it shows at the RPCs on it.
    pub(super) fn connect(self: &Arc<Self>, conn: u32, address: &str) {
        let named = match Address::parse(address) {
            Ok(address) if address.scheme.is_session() => Conn::Own(self.open_own(address)),
            Ok(address) => {
                self.warm(&address);
                Conn::Kept(address)
            }
            Err(error) => Conn::Refused(error),
        };
        self.lock().conns.named.insert(conn, named);
    }

    fn warm(&self, address: &Address) {
        if let Some(function) = self.function()
            && function.egress.names(address)
            && let Ok(store) = function.store_for(address)
        {
            let _runtime = self.node.data.enter();
            self.node.client.warm(&self.tenant, address, store);
        }
    }

    fn open_own(self: &Arc<Self>, address: Address) -> Arc<Own> {
        let own = Own::new(address);
        let (instance, opening) = (Arc::clone(self), Arc::clone(&own));
        self.spawn(async move {
            let opened = tokio::select! {
                biased;
                () = instance.closing.cancelled() => Err(crate::errors::instance_closed()),
                opened = instance.open(&opening.address) => opened,
            };
            opening.open(opened);
        });
        own
    }

    /// Opens a connection, where the function may reach its destination.
    async fn open(&self, address: &Address) -> Result<Opened> {
        let Some(function) = self.function() else {
            return Err(error(ErrorCode::UnknownFunction, "the instance has no function yet: start it first"));
        };
        if !function.egress.names(address) {
            let message = format!("{address} is not in [egress] allow of {}", function.name);
            return Err(error(ErrorCode::EgressDenied, message));
        }
        let store = function.store_for(address)?;
        let session = self.node.client.open(&self.tenant, address, store, Instant::now() + OPENING).await?;
        Ok(Opened { session: Box::new(session), foreign: None })
    }
}
