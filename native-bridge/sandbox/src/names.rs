//! Names of kernel objects.
//!
//! Several nodes may share a machine, so every name carries the node's tag: five hexadecimal digits made from the path
//! of its run folder. A node reaps what carries its tag and leaves everything else alone.

use std::path::{Path, PathBuf};

/// The names of one node's kernel objects.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) tag: String,
}

impl Names {
    pub(crate) fn of(run_dir: &Path) -> Self {
        Self { tag: tag(run_dir) }
    }

    /// `hs-<tag>-<n>`, below /run/netns.
    pub(crate) fn namespace(&self, index: u16) -> String {
        format!("hs-{}-{index}", self.tag)
    }

    /// `hsv<tag><n>`: 12 bytes at most, of the 15 that the kernel allows.
    pub(crate) fn link(&self, index: u16) -> String {
        format!("hsv{}{index:x}", self.tag)
    }

    pub(crate) fn owns_namespace(&self, name: &str) -> bool {
        name.strip_prefix("hs-")
            .and_then(|rest| rest.strip_prefix(&*self.tag))
            .is_some_and(|rest| rest.starts_with('-'))
    }

    pub(crate) fn owns_link(&self, name: &str) -> bool {
        name.strip_prefix("hsv").is_some_and(|rest| rest.starts_with(&*self.tag))
    }

    /// `headstart/<tag>/<id>`, in each cgroup hierarchy.
    pub(crate) fn cgroup(&self, id: &str) -> String {
        format!("{}/{id}", self.cgroup_parent())
    }

    pub(crate) fn cgroup_parent(&self) -> String {
        format!("headstart/{}", self.tag)
    }
}

/// The node's tag: 20 bits of the FNV-1a hash of its run folder's path.
pub fn tag(run_dir: &Path) -> String {
    let path: PathBuf = std::fs::canonicalize(run_dir).unwrap_or_else(|_| run_dir.to_path_buf());
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in path.as_os_str().as_encoded_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("{:05x}", (hash ^ (hash >> 20) ^ (hash >> 40)) & 0xf_ffff)
}

/// An id that may be part of a path and of a cgroup's name.
pub(crate) fn is_plain(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_owns_only_names_with_its_tag() {
        let (one, other) = (Names::of(Path::new("/nowhere/a")), Names::of(Path::new("/nowhere/b")));
        assert!(one.owns_namespace(&one.namespace(3)) && one.owns_link(&one.link(0xffff)));
        assert!(!one.owns_namespace(&other.namespace(3)) && !one.owns_link(&other.link(3)));
        assert!(!one.owns_namespace("hs-") && !one.owns_link("eth0"));
        assert!(one.link(u16::MAX).len() <= 15);
    }

    #[test]
    fn ids_that_leave_their_folder_are_refused() {
        assert!(is_plain("i-abc_9"));
        for bad in ["", ".", "..", "a/b", "a b", "a\0", &"x".repeat(65)] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }
}
