//! What a function may reach.

use headstart_base::Result;

/// Egress rules.
#[derive(Clone, Debug, Default)]
pub struct Egress {}

impl Egress {
    /// Parses rules "VERB scheme://host/path*".
    pub fn parse(_rules: &[String]) -> Result<Self> {
        Ok(Self {})
    }

    /// Whether `verb` on `content_url` is allowed.
    pub fn allows(&self, _verb: &str, _content_url: &str) -> bool {
        false
    }

    /// The destinations that the rules name.
    pub fn destinations(&self) -> &[crate::Address] {
        &[]
    }
}
