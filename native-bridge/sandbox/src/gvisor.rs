//! The gVisor back end: `runsc run` with an OCI configuration, or `runsc restore` with one and an image.
//!
//! One command makes, starts and waits (`create` and `start` would be two more Go programs). The container has a
//! `--root` of its own, so its state is removed as a folder and no `runsc delete` has to run.

use crate::base::{APP, Base, SOCKETS};
use crate::boot::Boot;
use crate::failure::failed;
use crate::files::FileMount;
use crate::job::Job;
use crate::process::Launch;
use headstart_base::Result;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// gVisor's own kernel, file server and stubs: processes and threads on the host that are no process of the app.
pub(crate) const OWN_PIDS: u32 = 64;

/// `runsc run` or `runsc restore` for a job. The process must be put into its network namespace and cgroup.
pub(crate) fn launch(runsc: &Path, base: &Base, job: &Job) -> Result<Launch> {
    let file = job.folder.join("config.json");
    let config = serde_json::to_vec(&config(base, job)?).map_err(|error| failed("config.json", error))?;
    fs::write(&file, config).map_err(|error| failed(file.display(), error))?;
    let mut command = Command::new(runsc);
    command
        .arg(format!("--root={}", job.folder.join("root").display()))
        .args([
            "--platform=systrap",
            "--host-uds=open",
            "--file-access=exclusive",
            "--file-access-mounts=shared",
            "--ignore-cgroups",
            "--overlay2=none",
            "--rootless=false",
            "--log=/dev/null",
        ])
        .args(match job.spec.boot.is_alone() {
            // An image cannot have its host's network in it. Without that, gVisor would have the sandbox open files itself in a user
            // namespace of its own, which takes CAP_SETFCAP to make.
            true => ["--network=none", "--directfs=false"],
            false => ["--network=host", "--directfs=true"],
        })
        .args(match &job.spec.boot {
            Boot::Command | Boot::ToBeStopped => vec!["run".to_owned()],
            Boot::Restored { image, .. } => vec!["restore".to_owned(), format!("--image-path={}", image.display())],
        })
        .arg(format!("--bundle={}", job.folder.display()))
        .arg(&job.spec.id)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/");
    let mut launch = Launch::new(command);
    if let Some((stdin, held)) = job.spec.boot.stdin()? {
        launch.stdin = Some(stdin);
        launch.keep.extend(held);
    }
    Ok(launch)
}

fn config(base: &Base, job: &Job) -> Result<Config> {
    let layout = job.layout(base)?;
    let mut mounts = Vec::new();
    // gVisor's file server mounts by itself, before there is any tmpfs, and could make what is missing on the image only.
    for (index, anchor) in layout.anchors.iter().enumerate() {
        let place = job.folder.join("points").join(index.to_string());
        layout.make_points(anchor, &place).map_err(|error| failed(place.display(), error))?;
        mounts.push(Mount::new(anchor, "bind", &place.to_string_lossy(), &["bind", "ro", "nosuid", "nodev"]));
    }
    mounts.extend([
        Mount::new("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        Mount::new("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755"]),
        Mount::new("/dev/shm", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
        Mount::new("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        Mount::new("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
        Mount::new(SOCKETS, "bind", &job.spec.socket_dir.to_string_lossy(), &["bind", "nosuid", "nodev"]),
    ]);
    if job.has_bundle {
        mounts.push(Mount::new(APP, "bind", &job.spec.bundle.to_string_lossy(), &["bind", "ro", "nosuid", "nodev"]));
    }
    if let Some(hosts) = &job.hosts {
        mounts.push(Mount::new("/etc/hosts", "bind", &hosts.to_string_lossy(), &["bind", "ro"]));
    }
    for folder in layout.folders.iter().filter(|folder| *folder != "/tmp") {
        mounts.push(Mount::new(folder, "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"]));
    }
    for FileMount { path, host } in layout.files {
        mounts.push(Mount::new(path, "bind", &host.to_string_lossy(), &["bind", "rw", "nosuid", "nodev"]));
    }
    Ok(Config {
        oci_version: "1.0.2",
        process: Process {
            user: User { uid: job.user, gid: job.user },
            args: job.spec.command.clone(),
            env: job.environment().into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
            cwd: job.working_dir().to_owned(),
            capabilities: Capabilities {},
            no_new_privileges: true,
        },
        root: Root { path: job.root(base).to_path_buf(), readonly: true },
        hostname: "headstart",
        mounts,
        // No network namespace here: the process is in ours already, and gVisor uses its host's network, which that is.
        linux: Linux { namespaces: ["pid", "ipc", "uts", "mount"].map(|kind| Namespace { kind }) },
    })
}

/// The part of the OCI runtime specification that is used.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    user: User,
    args: Vec<String>,
    env: Vec<String>,
    cwd: String,
    capabilities: Capabilities,
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

/// None at all.
#[derive(Serialize)]
struct Capabilities {}

#[derive(Serialize)]
struct Root {
    path: PathBuf,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: String,
    #[serde(rename = "type")]
    kind: String,
    source: String,
    options: Vec<String>,
}

impl Mount {
    fn new(destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { destination: destination.into(), kind: kind.into(), source: source.into(), options }
    }
}

#[derive(Serialize)]
struct Linux {
    namespaces: [Namespace; 4],
}

#[derive(Serialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: &'static str,
}
