//! Which IP addresses the bridge connects to for a tenant, whatever name they go by.
//!
//! The bridge stands in the node's network: what only the node may reach must not become reachable through it. Addresses and
//! secrets are a tenant's own, so nothing in them is trusted. A name is resolved once, and what was looked at here is what is
//! connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use headstart_base::{Error, ErrorCode};

/// What of the node's own networks (loopback, private, carrier-grade, unique local, reserved) may be reached. Metadata services,
/// link-local, multicast and unspecified addresses never may.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Setting")]
pub enum Reach {
    /// Nothing.
    #[default]
    Public,
    /// What is spelled as an IP address or "localhost", and where a secret says that a store is: for development. No other name
    /// leads there.
    Spelled,
    /// These networks, by whatever name.
    Networks(Vec<Network>),
}

/// An IP network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// As it stands in a configuration: true, false, or a list of "10.1.0.0/16" and "10.2.3.4".
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Setting {
    All(bool),
    Networks(Vec<String>),
}

impl TryFrom<Setting> for Reach {
    type Error = Error;

    fn try_from(setting: Setting) -> Result<Self, Error> {
        match setting {
            Setting::All(false) => Ok(Self::Public),
            Setting::All(true) => Ok(Self::Spelled),
            Setting::Networks(texts) => {
                let parse = |text: &String| {
                    Network::parse(text).ok_or_else(|| {
                        let message = format!("{text:.50?} is no network: write 10.1.0.0/16 or 10.2.3.4");
                        Error::new(ErrorCode::InvalidArgument, message)
                    })
                };
                Ok(Self::Networks(texts.iter().map(parse).collect::<Result<_, _>>()?))
            }
        }
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = ip.parse().ok()?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok()).filter(|bits| *bits <= most)?;
        Some(Self { first, bits })
    }

    fn contains(&self, ip: IpAddr) -> bool {
        match (self.first, ip) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (first.to_bits() ^ ip.to_bits()) & mask == 0
            }
            (IpAddr::V6(first), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (first.to_bits() ^ ip.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl Reach {
    /// Whether `ip` may be connected to. `host` is what the tenant's address says; `None` for a store.
    pub(crate) fn allows(&self, ip: IpAddr, host: Option<&str>) -> bool {
        let ip = ip.to_canonical();
        match kind(ip) {
            Kind::Public => true,
            Kind::Never => false,
            Kind::Private => match self {
                Self::Public => false,
                Self::Spelled => host.is_none_or(|host| host == "localhost" || host.parse::<IpAddr>().is_ok()),
                Self::Networks(networks) => networks.iter().any(|network| network.contains(ip)),
            },
        }
    }
}

impl Reach {
    /// Why it is not allowed.
    pub(crate) fn refusal(&self, ip: IpAddr) -> &'static str {
        match (kind(ip.to_canonical()), self) {
            (Kind::Private, Self::Spelled) => "a name must not lead into the node's own networks; spell the address",
            (Kind::Private, _) => "it is in the node's own networks, of which --allow-private says what may be reached",
            _ => "it is no service's, but a metadata service's, link-local or multicast",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    /// Metadata services, and what is no single host.
    Never,
}

fn kind(ip: IpAddr) -> Kind {
    match ip {
        IpAddr::V4(ip) => kind4(ip),
        IpAddr::V6(ip) => kind6(ip),
    }
}

/// Metadata services that are not link-local: of Alibaba, Oracle and Azure.
const METADATA4: [[u8; 4]; 3] = [[100, 100, 100, 200], [192, 0, 0, 192], [168, 63, 129, 16]];
/// That of AWS.
const METADATA6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

fn kind4(ip: Ipv4Addr) -> Kind {
    let never = ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || METADATA4.contains(&ip.octets());
    match ip.octets() {
        [0, ..] => Kind::Never,
        _ if never => Kind::Never,
        _ if ip.is_loopback() || ip.is_private() || ip.is_documentation() => Kind::Private,
        // Carriers and clouds; protocol assignments; benchmarks; reserved.
        [100, second, ..] if second & 0xc0 == 64 => Kind::Private,
        [192, 0, 0, _] | [198, 18 | 19, ..] | [240..=255, ..] => Kind::Private,
        _ => Kind::Public,
    }
}

fn kind6(ip: Ipv6Addr) -> Kind {
    if ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified() || ip == METADATA6 {
        return Kind::Never;
    }
    if ip.is_loopback() || ip.is_unique_local() {
        return Kind::Private;
    }
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        match kind4(Ipv4Addr::new(a, b, c, d)) {
            // A gateway would carry it to the node's own network under a name that no list of networks has.
            Kind::Private => Kind::Never,
            other => other,
        }
    };
    match ip.segments() {
        // IPv4 in it: compatible, translated (SIIT, NAT64) and tunnelled (6to4).
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Local NAT64 and Teredo hide theirs; site-local, discard-only and documentation.
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => Kind::Never,
        [0x100, 0, 0, 0, ..] | [0x2001, 0xdb8, ..] => Kind::Private,
        [first, ..] if first & 0xffc0 == 0xfec0 => Kind::Private,
        _ => Kind::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(json: &str) -> Reach {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn knows_what_is_whose() {
        for (ip, kind) in [
            ("8.8.8.8", Kind::Public),
            ("2606:4700::1", Kind::Public),
            ("::ffff:8.8.8.8", Kind::Public),
            ("64:ff9b::8.8.8.8", Kind::Public),
            ("127.0.0.1", Kind::Private),
            ("127.255.0.1", Kind::Private),
            ("10.1.2.3", Kind::Private),
            ("172.31.255.255", Kind::Private),
            ("192.168.0.1", Kind::Private),
            ("100.64.0.1", Kind::Private),
            ("198.18.0.1", Kind::Private),
            ("240.0.0.1", Kind::Private),
            ("::1", Kind::Private),
            ("fd00::1", Kind::Private),
            ("fec0::1", Kind::Private),
            ("::ffff:127.0.0.1", Kind::Private),
            ("::ffff:10.0.0.1", Kind::Private),
            ("169.254.169.254", Kind::Never),
            ("::ffff:169.254.169.254", Kind::Never),
            ("64:ff9b::169.254.169.254", Kind::Never),
            ("64:ff9b::10.0.0.1", Kind::Never),
            ("::ffff:0:8.8.8.8", Kind::Public),
            ("::ffff:0:127.0.0.1", Kind::Never),
            ("::ffff:0:169.254.169.254", Kind::Never),
            ("64:ff9b:1::1", Kind::Never),
            ("::127.0.0.1", Kind::Never),
            ("2002:7f00:1::", Kind::Never),
            ("2002:a9fe:a9fe::1", Kind::Never),
            ("2001:0:1::1", Kind::Never),
            ("100.100.100.200", Kind::Never),
            ("168.63.129.16", Kind::Never),
            ("fd00:ec2::254", Kind::Never),
            ("fe80::1", Kind::Never),
            ("ff02::1", Kind::Never),
            ("0.0.0.0", Kind::Never),
            ("0.1.2.3", Kind::Never),
            ("::", Kind::Never),
            ("224.0.0.1", Kind::Never),
            ("255.255.255.255", Kind::Never),
        ] {
            assert_eq!(super::kind(ip.parse::<IpAddr>().unwrap().to_canonical()), kind, "{ip}");
        }
    }

    #[test]
    fn a_setting_says_what_of_the_nodes_networks_may_be_reached() {
        let ip: IpAddr = "10.1.2.3".parse().unwrap();
        for (json, spelled, named, store) in [
            ("false", false, false, false),
            ("true", true, false, true),
            ("[]", false, false, false),
            ("[\"10.1.0.0/16\"]", true, true, true),
            ("[\"10.1.2.3\"]", true, true, true),
            ("[\"10.1.2.0/31\", \"::/0\"]", false, false, false),
            ("[\"0.0.0.0/0\"]", true, true, true),
        ] {
            let reach = reach(json);
            let allowed = [Some("10.1.2.3"), Some("evil.example"), None].map(|host| reach.allows(ip, host));
            assert_eq!(allowed, [spelled, named, store], "{json}");
            assert!(reach.allows("8.8.8.8".parse().unwrap(), Some("x")));
            assert!(!reach.allows("169.254.169.254".parse().unwrap(), None), "{json}");
        }
        assert!(reach("true").allows("127.0.0.1".parse().unwrap(), Some("localhost")));
        assert!(reach("[\"fd00::/8\"]").allows("fd12::1".parse().unwrap(), Some("x")));
        for wrong in ["[\"10.0.0.0/33\"]", "[\"10.0.0\"]", "[\"x\"]", "[\"::/129\"]", "[\"10.0.0.0/-1\"]", "1"] {
            assert!(serde_json::from_str::<Reach>(wrong).is_err(), "{wrong}");
        }
    }
}
