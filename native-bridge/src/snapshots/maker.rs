//! How a snapshot is made, and with what.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use headstart_base::Result;

use crate::functions::Function;
use crate::instance::Instance;
use crate::node::Node;

/// No control stream has this number.
const NOBODY: u64 = 0;
/// Which change with what is installed on the machine: a program that has some of its libraries in memory cannot go on with others.
const INSTALLED: [&str; 2] = ["/var/lib/dpkg/status", "/etc/ld.so.cache"];

/// What images are made with on this machine: gVisor, the kernel, and the files of base `host`.
pub(super) fn name(runsc: &Path) -> String {
    let said = Command::new(runsc).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&said).lines().next().unwrap_or("no gVisor").to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let changed = INSTALLED.map(|path| {
        let at = fs::metadata(path).and_then(|found| found.modified()).ok();
        at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs()).to_string()
    });
    format!("{version}; Linux {}; installed {}", kernel.trim(), changed.join(" "))
}

/// Runs a function in an instance that gets no event, until it says that it is ready, and writes its image into `folder`.
pub(super) async fn take(node: &Arc<Node>, function: &Arc<Function>, folder: &Path) -> Result<()> {
    let maker = Ending(node.create_instance(&function.tenant, NOBODY).await?);
    maker.0.take_snapshot(function, folder).await
}

/// An instance that ends however its use does.
struct Ending(Arc<Instance>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.stop("its snapshot was taken, or could not be");
    }
}
