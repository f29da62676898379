//! TransferConn of the application, GetConn of the script.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use headstart_base::{ErrorCode, Result};
use headstart_net::{Address, Session};

use crate::instance::conns::foreign::Foreign;
use crate::instance::conns::own::{Opened, Own};
use crate::instance::conns::{Conn, Key};
use crate::instance::event::Kind;
use crate::instance::{Instance, Stage, closed, error};

/// What the application has handed over.
pub(super) struct Gift {
    /// None once the script has it.
    socket: Option<Socket>,
}

struct Socket {
    file: OwnedFd,
    foreign: Option<Foreign>,
}

impl Gift {
    pub(super) fn is_open(&self) -> bool {
        self.socket.is_some()
    }
}

/// What an application names when it hands a connection over.
pub(crate) enum Giving {
    /// A descriptor that it sent.
    File(OwnedFd),
    /// The number of a connection that it got.
    Number(u64),
}

impl Instance {
    /// TransferConn of the application.
    ///
    /// `invalidArgument` for what is no TCP socket or no address, `unsupported` for an address with TLS or signatures,
    /// `connectionReset`, `connectionBusy` when there are unread bytes, `alreadyExists` for an id and address that it used before.
    pub(crate) async fn give_conn(
        self: &Arc<Self>,
        id: u64,
        address: &str,
        giving: Giving,
        deadline: Instant,
    ) -> Result<()> {
        let may = self.may_give(id, address).and_then(|may| match &giving {
            Giving::File(file) if !is_socket(file) => {
                Err(error(ErrorCode::InvalidArgument, "what was handed over is no TCP socket"))
            }
            _ => Ok(may),
        });
        let (address, key) = match may {
            Ok(may) => may,
            Err(error) => {
                if let Giving::File(file) = giving {
                    self.close_foreign(vec![file]).await;
                }
                return Err(error);
            }
        };
        let socket = match giving {
            Giving::File(file) => {
                // From here on it is closed where that may take its time.
                let foreign = match file.try_clone() {
                    Ok(copy) => Foreign::new(self, copy),
                    Err(error) => {
                        self.close_foreign(vec![file]).await;
                        return Err(crate::errors::io("cannot keep the socket", &error));
                    }
                };
                Socket { file, foreign: Some(foreign) }
            }
            Giving::Number(number) => Socket { file: self.take_back(number, deadline).await?, foreign: None },
        };
        self.looked_at(&address, &socket)?;
        let mut state = self.lock();
        if state.conns.gifts.contains_key(&key) {
            return Err(given_before(&key));
        }
        state.conns.gifts.insert(key.clone(), Gift { socket: Some(socket) });
        drop(state);
        self.events.push(Kind::ConnOffered { id, address: key.place });
        Ok(())
    }

    fn may_give(&self, id: u64, address: &str) -> Result<(Address, Key)> {
        let Some(function) = self.function().filter(|_| self.stage() == Stage::Started) else {
            return Err(closed());
        };
        let address = Address::parse(address)?;
        let key = Key { id, place: address.place().to_string() };
        let state = self.lock();
        if state.conns.gifts.contains_key(&key) {
            return Err(given_before(&key));
        }
        let most = function.limits.connections;
        if state.conns.gifts.len() >= most as usize {
            return Err(error(ErrorCode::TooMany, format!("an application may hand over {most} connections")));
        }
        drop(state);
        Ok((address, key))
    }

    /// Sees whether a socket is one that RPCs can go over.
    fn looked_at(&self, address: &Address, socket: &Socket) -> Result<()> {
        let copy = socket.file.try_clone().map_err(|error| crate::errors::io("cannot look at the socket", &error))?;
        let _runtime = self.node.data.enter();
        Session::adopt(address.clone(), copy)?.alive()
    }

    /// The script can have it no more: unless it has it by now, it is closed.
    pub(in crate::instance) fn withdraw_gift(&self, id: u64, address: &str) {
        let key = Key::new(id, address);
        let Some(left) = self.lock().conns.gifts.get_mut(&key).and_then(|gift| gift.socket.take()) else { return };
        drop(left);
        self.events.push(Kind::ConnReleased { id, address: key.place });
    }

    /// GetConn of the script: what the application handed over is its connection `conn`. What is wrong with it shows at the RPCs.
    pub(in crate::instance) fn adopt(self: &Arc<Self>, conn: u32, id: u64, address: &str) {
        let key = Key::new(id, address);
        let gift = self.lock().conns.gifts.get_mut(&key).and_then(|gift| gift.socket.take());
        let named = self.adopted(&key, address, gift);
        self.lock().conns.named.insert(conn, named);
    }

    fn adopted(&self, key: &Key, address: &str, gift: Option<Socket>) -> Conn {
        let Some(Socket { file, foreign }) = gift else {
            let message = format!("the application handed no connection over as {} to {}", key.id, key.place);
            return Conn::Refused(error(ErrorCode::NotFound, message));
        };
        let _runtime = self.node.data.enter();
        let opened = Address::parse(address).and_then(|address| {
            let session = Session::adopt(address.clone(), file)?;
            Ok((address, Opened { session: Box::new(session), foreign }))
        });
        match opened {
            Ok((address, opened)) => {
                let own = Own::new(address);
                own.open(Ok(opened));
                Conn::Own(own)
            }
            Err(error) => Conn::Refused(error),
        }
    }
}

/// Asked of the descriptor itself, and not of a file system, which could take its time.
fn is_socket(file: &OwnedFd) -> bool {
    nix::sys::socket::getsockopt(file, nix::sys::socket::sockopt::SockType).is_ok()
}

fn given_before(key: &Key) -> headstart_base::Error {
    error(ErrorCode::AlreadyExists, format!("connection {} to {} was handed over before", key.id, key.place))
}
