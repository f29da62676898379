//! How long a sandbox takes to start: `cargo run --release -p headstart-sandbox --example start [runs]` (as root).
//! From the call of `spawn` to the first line of a Python program, and to its end.

use headstart_sandbox::{Isolation, Limits, SandboxConfig, Sandboxes, Spec};
use std::error::Error;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let runs: usize = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("hs-start-{}", std::process::id()));
    let bundle = folder.join("app");
    std::fs::create_dir_all(&bundle)?;
    let sandboxes = Sandboxes::new(SandboxConfig {
        runsc: "runsc".into(),
        bwrap: "bwrap".into(),
        workerd: None,
        state_dir: folder.join("state"),
        run_dir: folder.join("run"),
        subnet: "10.213.0.0/16".into(),
        pool: 2,
    })
    .await?;
    for isolation in [Isolation::Gvisor, Isolation::Bubblewrap] {
        let mut times: [Vec<Duration>; 4] = Default::default();
        for run in 0..runs {
            let spec = Spec {
                id: format!("i-{run}"),
                isolation,
                base: "host".into(),
                image: None,
                bundle: bundle.clone(),
                command: ["/usr/bin/python3", "-c", "print()"].map(String::from).to_vec(),
                env: Vec::new(),
                socket_dir: folder.join("sockets"),
                limits: Limits { memory: 512 << 20, cpu_millis: 0, pids: 256 },
                egress: Vec::new(),
                hosts: Vec::new(),
                boot: headstart_sandbox::Boot::Command,
                files: Vec::new(),
            };
            let reservation = sandboxes.reserve().await?;
            // The pool's next namespace is made now, not during the start.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let (sender, mut lines) = mpsc::channel(16);
            let begin = Instant::now();
            let mut sandbox = sandboxes.spawn(spec, reservation, sender).await?;
            times[0].push(begin.elapsed());
            lines.recv().await.ok_or("no line")?;
            times[1].push(begin.elapsed());
            sandbox.wait().await;
            times[2].push(begin.elapsed());
            let end = Instant::now();
            sandbox.kill().await;
            times[3].push(end.elapsed());
        }
        for (name, times) in ["spawned", "first line", "ended", "reaped (from its end)"].iter().zip(&mut times) {
            times.sort_unstable();
            println!("{:10} {name:22} p50 {:7.2?} min {:7.2?}", isolation.name(), times[runs / 2], times[0]);
        }
    }
    sandboxes.shutdown().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
