//! Which shards are this server's: what the coordinator says.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::url::Url;

/// As many shards a server may have: with the assignment, these are the connections that an initscript may have.
pub const MAX_SHARDS: usize = 63;

#[derive(Deserialize)]
struct Answer {
    shards: Vec<String>,
}

/// `{"shards": ["http://10.213.255.1:7001/shards/0", …]}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub shards: Vec<Url>,
}

impl Assignment {
    /// The longest that is read, bytes.
    pub const MOST: u64 = 64 << 10;

    pub fn parse(json: &[u8]) -> Result<Self> {
        let Answer { shards } = serde_json::from_slice(json).map_err(|error| Error::Assignment(error.to_string()))?;
        if shards.is_empty() || shards.len() > MAX_SHARDS {
            return Err(Error::Assignment(format!("{} shards, 1 to {MAX_SHARDS} were expected", shards.len())));
        }
        Ok(Self { shards: shards.iter().map(|text| Url::parse(text)).collect::<Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_names_addresses() {
        let assignment = Assignment::parse(br#"{"shards":["http://h:1/shards/0","memcached://h:2/k"],"epoch":3}"#);
        assert_eq!(assignment.unwrap().shards.len(), 2);
    }

    #[test]
    fn others_are_refused() {
        let many = format!(r#"{{"shards":[{}"http://h:1/x"]}}"#, r#""http://h:1/x","#.repeat(MAX_SHARDS));
        for json in ["", "{", "[]", r#"{"shards":[]}"#, r#"{"shards":[1]}"#, &many] {
            assert!(matches!(Assignment::parse(json.as_bytes()), Err(Error::Assignment(_))), "{json}");
        }
        assert!(matches!(Assignment::parse(br#"{"shards":["ftp://h:1/x"]}"#), Err(Error::Url(_))));
    }
}
