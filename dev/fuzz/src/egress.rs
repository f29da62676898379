//! Egress: what a rule allows stays under the rule, even at a server that decodes a path once more than it should.

use headstart_net::{Address, Egress, Request};

const RULES: [&str; 4] =
    ["GET s3://models/public/*", "PUT s3://results/out", "* http://h:8080/api/*", "GET https://h/pub*"];
/// Where requests go, and the path below which they are allowed.
const PLACES: [(&str, &str); 4] =
    [("s3://models", "/public/"), ("s3://results", "/out"), ("http://h:8080", "/api/"), ("https://h", "/pub")];
/// How often a careless server decodes. A key of S3 is any text, and decoded once.
const DECODINGS: usize = 4;

/// An even first byte says to whom the rest is said; after an odd one, a rule stands in the first line.
pub(crate) fn run(data: &[u8]) {
    let Some((&first, raw)) = data.split_first() else { return };
    if first % 2 == 1 {
        return any_rule(raw);
    }
    let rules = RULES.map(str::to_owned);
    let egress = Egress::parse(&rules).expect("the rules are right");
    let (address, below) = PLACES[usize::from(first) / 2 % PLACES.len()];
    let address = Address::parse(address).expect("an address");
    let Ok(request) = Request::parse(&address, raw) else { return };
    let (_, url) = request.content.split_once(' ').expect("a verb and a URL");
    let canonical = format!("{} {}\n\n", request.verb, request.url());
    let (_, again) = Request::parse_absolute(canonical.as_bytes()).expect("a canonical URL is a URL");
    assert_eq!((again.url(), &again.path), (request.url(), &request.path), "the canonical form has another");
    if !egress.allows(&request.verb, url) {
        return;
    }
    let mut path = request.path.split('?').next().unwrap_or_default().as_bytes().to_vec();
    let decodings = if address.scheme.needs_store() { 1 } else { DECODINGS };
    for _ in 0..=decodings {
        assert!(path.starts_with(below.as_bytes()), "{:?} is not below {below}", request.path);
        let up = path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| matches!(segment, b"." | b".."));
        assert!(!up, "{:?} leads elsewhere", request.path);
        path = decoded(&path);
    }
}

/// A rule allows what it spells, and what it allows is at its destination.
fn any_rule(raw: &[u8]) {
    let Ok(text) = std::str::from_utf8(raw) else { return };
    let (rule, rest) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(egress) = Egress::parse(&[rule.to_owned()]) else { return };
    let destinations = egress.destinations();
    assert_eq!(destinations.len(), 1);
    assert!(egress.names(destinations[0]));
    let Ok((address, request)) = Request::parse_absolute(rest.as_bytes()) else { return };
    let (_, url) = request.content.split_once(' ').expect("a verb and a URL");
    if egress.allows(&request.verb, url) {
        assert!(egress.names(&address), "{rule:?} allows {url}");
    }
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match (byte, digit(path.get(at + 1)), digit(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}
