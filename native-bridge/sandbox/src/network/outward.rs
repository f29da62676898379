//! The way to destinations beyond the host.
//!
//! A namespace's link ends at the host, which forwards nothing by default. When an app may reach an address that is not
//! the host's own, forwarding is switched on for its link and for the interface that leads there (for these two only,
//! not for the host), and the app's address is masqueraded. A table of ours, `headstart_<subnet>`, sees to it that nothing
//! outside opens a connection to a sandbox, and that the host is a router for nobody else: it is shared by all nodes of
//! the subnet and stays when they end, like the services' address.

use super::subnet::{addresses, parse};
use crate::failure::failed;
use crate::tool;
use headstart_base::Result;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Prepares the host for an app on `link` that may reach `egress`.
pub(super) async fn open(subnet: &str, link: &str, egress: &[SocketAddr]) -> Result<()> {
    let own = addresses()?;
    let routes = fs::read_to_string("/proc/net/route").map_err(|error| failed("/proc/net/route", error))?;
    for destination in egress {
        let IpAddr::V4(address) = destination.ip() else { continue };
        if address.is_loopback() || own.iter().any(|(_, local)| *local == address) {
            continue;
        }
        let Some(interface) = route(&routes, address).filter(|interface| is_interface(interface)) else { continue };
        let shared = forwards(interface);
        tool::run("nft", &["-f", "-"], &table(subnet, interface, shared)?, None).await?;
        for interface in [interface, link] {
            let path = forwarding(interface);
            fs::write(&path, "1").map_err(|error| failed(path, error))?;
        }
    }
    Ok(())
}

fn forwarding(interface: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{interface}/forwarding")
}

/// Whether somebody has switched forwarding on already.
fn forwards(interface: &str) -> bool {
    fs::read_to_string(forwarding(interface)).is_ok_and(|text| text.trim() == "1")
}

fn is_interface(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 15
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_@.".contains(&byte))
}

/// Adds an interface to our table; the same rules twice do no harm, so they are only told apart by sets.
fn table(subnet: &str, interface: &str, shared: bool) -> Result<String> {
    let [a, b, ..] = Ipv4Addr::from_bits(parse(subnet)?).octets();
    let name = format!("headstart_{a}_{b}");
    // Where others forward on this interface, what they do is theirs.
    let ours = if shared { String::new() } else { format!("add element ip {name} alone {{ \"{interface}\" }}\n") };
    Ok(format!(
        "table ip {name} {{
            set outward {{ type ifname; }}
            set alone {{ type ifname; }}
            chain forward {{ type filter hook forward priority 0; policy accept; }}
            chain postrouting {{ type nat hook postrouting priority 100; policy accept; }}
        }}
        add element ip {name} outward {{ \"{interface}\" }}
        {ours}
        flush chain ip {name} forward
        flush chain ip {name} postrouting
        add rule ip {name} forward oifname \"hsv*\" ct state established,related accept
        add rule ip {name} forward oifname \"hsv*\" drop
        add rule ip {name} forward iifname @alone drop
        add rule ip {name} postrouting ip saddr {subnet} oifname @outward masquerade
        "
    ))
}

/// The interface of the longest route to an address, in the format of /proc/net/route.
fn route(routes: &str, address: Ipv4Addr) -> Option<&str> {
    let hexadecimal = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    let parsed = routes.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (interface, destination) = (fields.next()?, hexadecimal(fields.next()?)?);
        let mask = hexadecimal(fields.nth(5)?)?;
        (address.to_bits() & mask == destination).then_some((mask, interface))
    });
    parsed.max_by_key(|(mask, _)| *mask).map(|(_, interface)| interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_route_leads_to_an_address() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                      eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      vpn0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";
        assert_eq!(route(routes, Ipv4Addr::new(192, 0, 2, 7)), Some("eth0"));
        assert_eq!(route(routes, Ipv4Addr::new(10, 1, 2, 3)), Some("vpn0"));
        assert_eq!(route("", Ipv4Addr::LOCALHOST), None);
    }
}
