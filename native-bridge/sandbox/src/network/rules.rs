//! The nftables rules of a namespace.

use std::fmt::Write;
use std::net::SocketAddr;

/// What a pooled namespace has: nothing gets out, nothing gets in, its own loopback works.
pub(super) const CLOSED: &str = "\
table inet headstart {
    chain input {
        type filter hook input priority 0; policy drop;
        iifname \"lo\" accept
        icmp type destination-unreachable accept
        tcp flags & (syn | ack) == syn drop
        meta l4proto tcp accept
    }
    chain output {
        type filter hook output priority 0; policy drop;
        oifname \"lo\" accept
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
    }
}
";

/// Opens TCP to each destination.
pub(super) fn allow(egress: &[SocketAddr]) -> String {
    let mut rules = String::new();
    for address in egress {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            rules,
            "add rule inet headstart output {family} daddr {} tcp dport {} accept",
            address.ip(),
            address.port()
        );
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rule_a_destination() {
        let egress = ["10.213.255.1:9900".parse().unwrap(), "[fe80::1]:443".parse().unwrap()];
        assert_eq!(
            allow(&egress),
            "add rule inet headstart output ip daddr 10.213.255.1 tcp dport 9900 accept\n\
             add rule inet headstart output ip6 daddr fe80::1 tcp dport 443 accept\n"
        );
        assert_eq!(allow(&[]), "");
    }
}
