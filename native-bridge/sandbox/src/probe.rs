//! Finds out whether a back end works on this machine, by using it once.

use crate::boot::Boot;
use crate::failure::{failed, unsupported};
use crate::sandboxes::Sandboxes;
use crate::spec::{Isolation, Limits, Spec};
use headstart_base::Result;
use std::fs;
use std::time::Duration;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(15);

/// Runs `true` in a sandbox.
pub(crate) async fn probe(sandboxes: &Sandboxes, isolation: Isolation) -> Result<()> {
    let folder = sandboxes.config().state_dir.join("base").join("probe");
    let (bundle, socket_dir) = (folder.join("app"), folder.join("sockets"));
    for folder in [&bundle, &socket_dir] {
        fs::create_dir_all(folder).map_err(|error| failed(folder.display(), error))?;
    }
    let spec = Spec {
        id: format!("probe-{}", isolation.name()),
        isolation,
        base: "host".into(),
        image: None,
        bundle,
        command: vec!["/usr/bin/true".into()],
        env: Vec::new(),
        socket_dir,
        limits: Limits { memory: 256 << 20, cpu_millis: 0, pids: 64 },
        egress: Vec::new(),
        hosts: Vec::new(),
        boot: Boot::Command,
        files: Vec::new(),
    };
    let (sender, mut lines) = mpsc::channel(16);
    let mut sandbox = sandboxes.start(spec, sandboxes.reserve().await?, sender).await?;
    let exit = tokio::time::timeout(LIMIT, sandbox.wait()).await;
    sandbox.kill().await;
    let said = std::iter::from_fn(|| lines.try_recv().ok()).map(|line| line.text).collect::<Vec<_>>().join("; ");
    let said = if said.is_empty() { "no message".to_owned() } else { said };
    match exit {
        Ok(exit) if exit.status == 0 => Ok(()),
        Ok(exit) => Err(unsupported(format!("a trial ended with status {}: {said}", exit.status))),
        Err(_) => Err(unsupported(format!("a trial did not end in {} s: {said}", LIMIT.as_secs()))),
    }
}
