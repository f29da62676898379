//! One network namespace and its link.

use super::subnet::Slice;
use super::{outward, rules};
use crate::failure::failed;
use crate::names::Names;
use crate::tool;
use headstart_base::Result;
use nix::ifaddrs::getifaddrs;
use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const FOLDER: &str = "/run/netns";

/// A namespace under /run/netns and its veth link. Dropped: both stay; call [`Namespace::destroy`].
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) number: u16,
    pub(crate) name: String,
    pub(crate) link: String,
    handle: OwnedFd,
}

impl Namespace {
    /// Makes a closed namespace. What was made of it is taken back on failure.
    pub(crate) async fn create(names: &Names, slice: &Slice, number: u16) -> Result<Self> {
        let (name, link) = (names.namespace(number), names.link(number));
        let made = Self::make(name.clone(), link.clone(), slice, number).await;
        if made.is_err() {
            remove(&[name], &[link]).await;
        }
        made
    }

    async fn make(name: String, link: String, slice: &Slice, number: u16) -> Result<Self> {
        let (host, inside) = slice.link(number);
        let outer = format!(
            "netns add {name}\nlink add {link} type veth peer name eth0 netns {name}\n\
             address add {host}/30 dev {link}\nlink set {link} up\n"
        );
        tool::run("ip", &["-batch", "-"], &outer, None).await?;
        let handle: OwnedFd = File::open(Path::new(FOLDER).join(&name))
            .map_err(|error| failed(format_args!("namespace {name}"), error))?
            .into();
        // Closed before its link is up.
        tool::run("nft", &["-f", "-"], rules::CLOSED, Some(handle.as_fd())).await?;
        let inner = format!(
            "link set lo up\naddress add {inside}/30 dev eth0\nlink set eth0 up\nroute add default via {host}\n"
        );
        tool::run("ip", &["-batch", "-"], &inner, Some(handle.as_fd())).await?;
        Ok(Self { number, name, link, handle })
    }

    /// Lets TCP out to these destinations.
    pub(crate) async fn allow(&self, subnet: &str, egress: &[SocketAddr]) -> Result<()> {
        if egress.is_empty() {
            return Ok(());
        }
        let rules = rules::allow(egress);
        let inside = tool::run("nft", &["-f", "-"], &rules, Some(self.handle.as_fd()));
        let (inside, outside) = tokio::join!(inside, outward::open(subnet, &self.link, egress));
        inside.and(outside)
    }

    /// A descriptor to enter the namespace with.
    pub(crate) fn handle(&self) -> Result<OwnedFd> {
        self.handle.try_clone().map_err(|error| failed("namespace", error))
    }

    pub(crate) async fn destroy(self) {
        drop(self.handle);
        remove(&[self.name], &[self.link]).await;
    }
}

/// Removes what a previous life of this node left.
pub(crate) async fn delete_leftovers(names: &Names) {
    let namespaces: Vec<String> = std::fs::read_dir(FOLDER)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| names.owns_namespace(name))
        .collect();
    let links: BTreeSet<String> = getifaddrs()
        .into_iter()
        .flatten()
        .map(|interface| interface.interface_name)
        .filter(|name| names.owns_link(name))
        .collect();
    let links: Vec<String> = links.into_iter().collect();
    if !namespaces.is_empty() || !links.is_empty() {
        tracing::info!(namespaces = namespaces.len(), links = links.len(), "reaping networks of a previous life");
        remove(&namespaces, &links).await;
    }
}

/// Links first: the kernel takes its time to end a namespace, and the link would be there until then.
async fn remove(namespaces: &[String], links: &[String]) {
    let links = links.iter().map(|link| format!("link delete {link}\n"));
    let namespaces = namespaces.iter().map(|name| format!("netns delete {name}\n"));
    let batch: String = links.chain(namespaces).collect();
    if let Err(error) = tool::run("ip", &["-force", "-batch", "-"], &batch, None).await {
        tracing::debug!(%error, "removing networks");
    }
}
