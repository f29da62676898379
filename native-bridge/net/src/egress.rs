//! What a function may reach: rules "VERB scheme://host[:port]/path", the path with a trailing `*` for a prefix, and for
//! what is no HTTP "scheme://host:port".

use headstart_base::{Error, ErrorCode, Result};

use crate::address::Address;
use crate::canonical;

/// The egress rules of a function. What no rule names is refused.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// `None` for `*`.
    verb: Option<String>,
    address: Address,
    /// Canonical URL, or its beginning.
    url: String,
    prefix: bool,
    /// Whether it names all of the destination: what may be said on a connection that is handed over is not looked at.
    whole: bool,
}

const MAX_RULES: usize = 256;

impl Egress {
    /// Parses rules such as "GET s3://models/*", "* http://host:8080/api/*" and "redis://host:6379".
    ///
    /// `invalidArgument` names the rule and what is wrong with it; `unsupported` for a scheme that is not spoken.
    pub fn parse(rules: &[String]) -> Result<Self> {
        if rules.len() > MAX_RULES {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!("there are more than {MAX_RULES} egress rules"),
            ));
        }
        let rules = rules.iter().map(|rule| Rule::parse(rule)).collect::<Result<_>>()?;
        Ok(Self { rules })
    }

    /// Whether `verb` on a canonical URL ("s3://models/weights", as in [`Request::content`](crate::Request)) is allowed.
    /// A range behind `#` does not count.
    pub fn allows(&self, verb: &str, content_url: &str) -> bool {
        let url = content_url.split('#').next().unwrap_or_default();
        self.rules.iter().any(|rule| {
            rule.verb.as_deref().is_none_or(|allowed| allowed == verb)
                && match rule.prefix {
                    true => url.starts_with(&rule.url),
                    false => url == rule.url,
                }
        })
    }

    /// Whether all of a destination is allowed, so that a connection to it may be handed over.
    pub fn allows_connection(&self, address: &Address) -> bool {
        let place = address.place();
        self.rules.iter().any(|rule| rule.whole && rule.address == place)
    }

    /// Whether a rule is about the destination.
    pub fn names(&self, address: &Address) -> bool {
        let place = address.place();
        self.rules.iter().any(|rule| rule.address == place)
    }

    /// The destinations that the rules name, each once.
    pub fn destinations(&self) -> Vec<&Address> {
        let mut found: Vec<&Address> = Vec::new();
        for rule in &self.rules {
            if !found.contains(&&rule.address) {
                found.push(&rule.address);
            }
        }
        found
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            let shown: String = text.chars().take(100).collect();
            Error::new(ErrorCode::InvalidArgument, format!("the egress rule {shown:?} is not usable: {why}"))
        };
        let (verb, url) = match text.trim().split_once(' ') {
            Some((verb, url)) => (verb, url.trim_start()),
            None => ("*", text.trim()),
        };
        let all = verb == "*";
        let plain = (1..=16).contains(&verb.len()) && verb.bytes().all(|byte| byte.is_ascii_uppercase());
        if !all && !plain {
            return Err(invalid("its verb is neither * nor upper-case letters"));
        }
        let (address, path) =
            Address::split(url).map_err(|error| Error::new(error.code, format!("egress rule: {error}")))?;
        let address = address.place();
        if address.scheme.is_session() {
            if !all || !matches!(path, "" | "/" | "/*") {
                return Err(invalid("such a rule names a host and a port, and nothing else: \"redis://host:6379\""));
            }
            return Ok(Self { verb: None, url: format!("{address}/"), address, prefix: true, whole: true });
        }
        if !text.trim().contains(' ') {
            return Err(invalid("it should look like \"GET s3://bucket/*\""));
        }
        if !path.starts_with('/') {
            return Err(invalid("a path is missing: end it with /* to allow all of the destination"));
        }
        let (path, prefix) = match path.strip_suffix('*') {
            Some(path) => (path, true),
            None => (path, false),
        };
        if path.contains('*') {
            return Err(invalid("a * can stand at the end only"));
        }
        let path = canonical::path(address.scheme, path).map_err(|error| invalid(&error.message))?;
        let whole = all && prefix && path == "/";
        let verb = (!all).then(|| verb.to_owned());
        Ok(Self { verb, url: format!("{address}{path}"), address, prefix, whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    fn egress(rules: &[&str]) -> Egress {
        Egress::parse(&rules.iter().map(|&rule| rule.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn allows_what_is_named_and_nothing_else() {
        let egress =
            egress(&["GET s3://models/*", "PUT s3://results/out", "* http://h:8080/api/*", "GET https://h:443/x*"]);
        for (verb, url) in [
            ("GET", "s3://models/weights"),
            ("GET", "s3://models/a/b#bytes=0-9"),
            ("PUT", "s3://results/out"),
            ("POST", "http://h:8080/api/x?y"),
            ("GET", "https://h/xyz"),
        ] {
            assert!(egress.allows(verb, url), "{verb} {url}");
        }
        for (verb, url) in [
            ("PUT", "s3://models/weights"),
            ("get", "s3://models/weights"),
            ("GET", "s3://models2/weights"),
            ("GET", "s3://models"),
            ("PUT", "s3://results/out2"),
            ("PUT", "s3://results/out?uploads="),
            ("GET", "http://h:8080/apix"),
            ("GET", "http://h/api/x"),
            ("GET", "http://h/xyz"),
            ("GET", ""),
        ] {
            assert!(!egress.allows(verb, url), "{verb} {url}");
        }
        assert_eq!(egress.destinations().len(), 4);
    }

    #[test]
    fn a_host_and_a_port_are_a_rule_for_what_is_no_http() {
        let egress =
            egress(&["redis://h:6379", "* memcached://m/*", "tcp://t:1?frame=line", "GET http://w/*", "* http://x/*"]);
        assert!(egress.allows("SET", "redis://h/key") && egress.allows("SEND", "tcp://t:1/"));
        assert!(!egress.allows("SET", "rediss://h/key") && !egress.allows("SEND", "tcp://t:11/"));
        let may = |address: &str| egress.allows_connection(&Address::parse(address).unwrap());
        assert!(may("redis://h") && may("tcp://t:1") && may("tcp://t:1?frame=u32") && may("http://x"));
        assert!(!may("http://w") && !may("tcps://t:1") && !may("redis://h:1") && !may("http://x:8080"));
        assert!(egress.names(&Address::parse("http://w").unwrap()));
    }

    #[test]
    fn a_path_cannot_be_spelled_around_a_rule() {
        let egress = egress(&["GET s3://models/public/*", "GET http://h/public/*"]);
        for (address, raw) in [
            ("s3://models", "GET public/../secret\n\n"),
            ("s3://models", "GET public/%2e%2e/secret\n\n"),
            ("s3://models", "GET public%2f..%2fsecret\n\n"),
            ("http://h", "GET /public/..%2fsecret\n\n"),
            ("http://h", "GET /public%2f../secret\n\n"),
            ("http://h", "GET //public/secret\n\n"),
        ] {
            let request = Request::parse(&Address::parse(address).unwrap(), raw.as_bytes());
            assert!(request.is_err(), "{raw}");
        }
        let address = Address::parse("s3://models").unwrap();
        let request = Request::parse(&address, b"GET %70ublic/x\n\n").unwrap();
        let (verb, url) = request.content.split_once(' ').unwrap();
        assert!(egress.allows(verb, url), "another spelling of an allowed key");
    }

    #[test]
    fn says_what_is_wrong_with_a_rule() {
        for (rule, hint) in [
            ("s3://models/*", "look like"),
            ("get s3://models/*", "verb"),
            ("GET s3://models", "/*"),
            ("GET s3://models/*/x", "end only"),
            ("GET s3://models/../*", "segment"),
            ("GET redis://h/*", "host and a port"),
            ("redis://h/key", "host and a port"),
            ("tcp://h", "port is missing"),
            ("GET s3://UPPER/*", "bucket"),
        ] {
            let error = Egress::parse(&[rule.to_owned()]).unwrap_err();
            assert!(error.message.contains(hint), "{rule}: {error}");
        }
    }
}
