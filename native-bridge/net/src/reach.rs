//! Which IP addresses a tenant's own addresses may lead to, whatever name they go by.
//!
//! A store's endpoint is the operator's choice and not asked about. The rest is a function developer's, and the bridge
//! stands in the node's network: what only the node may reach must not become reachable through it.

use std::net::{IpAddr, Ipv4Addr};

/// Whether the bridge may connect there. Link-local addresses (the metadata services of clouds), multicast and
/// unspecified ones never; loopback and private networks unless `refuse_private`.
pub(crate) fn allowed(ip: IpAddr, refuse_private: bool) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let never = v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0;
            !never && !(refuse_private && (v4.is_loopback() || v4.is_private() || is_shared(v4)))
        }
        IpAddr::V6(v6) => {
            let never = v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified();
            !never && !(refuse_private && (v6.is_loopback() || v6.is_unique_local()))
        }
    }
}

/// 100.64.0.0/10, behind carriers and in clouds.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_whose() {
        for (ip, normally, strictly) in [
            ("8.8.8.8", true, true),
            ("2606:4700::1", true, true),
            ("127.0.0.1", true, false),
            ("10.1.2.3", true, false),
            ("100.64.0.1", true, false),
            ("192.168.0.1", true, false),
            ("::1", true, false),
            ("fd00::1", true, false),
            ("::ffff:127.0.0.1", true, false),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!((allowed(ip, false), allowed(ip, true)), (normally, strictly), "{ip}");
        }
    }
}
