//! Who uses which part of the subnet.
//!
//! The /16 is cut into 63 slices of 256 links; a node takes one slice, preferably the one that its tag points at. The
//! claim is an abstract unix socket, which the kernel releases when the node dies. The rest of the /16 is the node's own:
//! x.y.255.1, on the loopback device and shared by all nodes of the machine, is where development services listen.

use crate::failure::{failed, invalid};
use crate::names::Names;
use crate::tool;
use headstart_base::Result;
use nix::ifaddrs::getifaddrs;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

const SLICES: u16 = 63;
const LINKS_PER_SLICE: u16 = 256;

/// A node's part of the subnet. Dropped: others may take it.
#[derive(Debug)]
pub(crate) struct Slice {
    network: u32,
    index: u16,
    _claim: UnixListener,
}

impl Slice {
    /// Claims a slice, and sees to it that the services' address exists.
    pub(crate) async fn claim(subnet: &str, names: &Names) -> Result<Self> {
        let network = parse(subnet)?;
        let addresses = addresses()?;
        let services = Ipv4Addr::from_bits(network | 0xff01);
        if !addresses.iter().any(|(_, address)| *address == services) {
            match tool::run("ip", &["address", "add", &format!("{services}/32"), "dev", "lo"], "", None).await {
                Err(error) if !error.message.contains("File exists") => return Err(error),
                _ => {}
            }
        }
        let preferred = u16::from_str_radix(&names.tag, 16).unwrap_or_default() % SLICES;
        for step in 0..SLICES {
            let index = (preferred + step) % SLICES;
            let foreign = |(name, address): &(String, Ipv4Addr)| {
                name.starts_with("hsv") && !names.owns_link(name) && slice_of(network, *address) == Some(index)
            };
            if addresses.iter().any(foreign) {
                continue;
            }
            let name = format!("headstart/subnet/{network:08x}/{index}");
            let address = SocketAddr::from_abstract_name(name).map_err(|error| failed("subnet", error))?;
            if let Ok(claim) = UnixListener::bind_addr(&address) {
                return Ok(Self { network, index, _claim: claim });
            }
        }
        Err(failed(format_args!("subnet {subnet}"), "all of its parts are in use by other nodes"))
    }

    /// Number of links that fit.
    pub(crate) fn links(&self) -> u16 {
        LINKS_PER_SLICE
    }

    /// The two ends of a link: (host's, namespace's).
    pub(crate) fn link(&self, number: u16) -> (Ipv4Addr, Ipv4Addr) {
        let base = self.network + u32::from(self.index * LINKS_PER_SLICE + number % LINKS_PER_SLICE) * 4;
        (Ipv4Addr::from_bits(base + 1), Ipv4Addr::from_bits(base + 2))
    }
}

fn slice_of(network: u32, address: Ipv4Addr) -> Option<u16> {
    let bits = address.to_bits();
    (bits & 0xffff_0000 == network).then_some(((bits & 0xffff) / 4) as u16 / LINKS_PER_SLICE)
}

pub(super) fn parse(subnet: &str) -> Result<u32> {
    let network =
        subnet.strip_suffix("/16").and_then(|address| address.parse::<Ipv4Addr>().ok()).map(Ipv4Addr::to_bits);
    match network {
        Some(network) if network & 0xffff == 0 => Ok(network),
        _ => Err(invalid(format!("subnet {subnet:?}: expected an IPv4 network of 16 bits, such as 10.213.0.0/16"))),
    }
}

pub(super) fn addresses() -> Result<Vec<(String, Ipv4Addr)>> {
    let interfaces = getifaddrs().map_err(|error| failed("getifaddrs", error))?;
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address.as_ref()?.as_sockaddr_in()?.ip();
        Some((interface.interface_name, address))
    };
    Ok(interfaces.filter_map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_slash_16_is_a_subnet() {
        assert_eq!(parse("10.213.0.0/16").unwrap(), 0x0ad5_0000);
        for bad in ["10.213.0.0", "10.213.0.0/24", "10.213.1.0/16", "::/16", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_tells_its_slice() {
        assert_eq!(slice_of(0x0ad5_0000, Ipv4Addr::new(10, 213, 4, 1)), Some(1));
        assert_eq!(slice_of(0x0ad5_0000, Ipv4Addr::new(10, 213, 251, 255)), Some(62));
        assert_eq!(slice_of(0x0ad5_0000, Ipv4Addr::new(10, 214, 0, 1)), None);
    }
}
