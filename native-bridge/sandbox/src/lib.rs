//! Sandboxes for applications: gVisor, bubblewrap and workerd isolates, each in a network namespace, a cgroup and a view
//! of the file system of its own. docs/sandbox.md tells how.

mod accounts;
mod base;
mod bind;
mod boot;
mod bubblewrap;
mod cgroup;
mod failure;
mod files;
mod gvisor;
mod image;
mod inside;
mod isolate;
mod job;
mod lines;
mod message;
mod names;
mod network;
mod probe;
mod process;
mod reap;
mod sandbox;
mod sandboxes;
mod seccomp;
mod spec;
mod tool;
mod users;
mod vfork;
mod workerd;

pub use boot::{Boot, IMAGE_FILES};
pub use cgroup::{Cgroup, Hierarchies};
pub use files::{FileMount, check_file_path};
pub use image::write_image_top;
pub use inside::Inside;
pub use lines::forward;
pub use names::tag;
pub use network::Reservation;
pub use process::{Launch, Process, Spawner, Started};
pub use sandbox::Sandbox;
pub use sandboxes::Sandboxes;
pub use seccomp::filter;
pub use spec::{Exit, ImageFiles, Inventory, Isolation, Limits, Line, Owned, SandboxConfig, Spec, Stream};
pub use users::{User, Users};
pub use workerd::{Mount, Workerd};

/// The socket of an isolate's invocations, in its instance's folder: workerd listens, the bridge connects.
pub const ISOLATE_SERVES: &str = "workerd.sock";
/// Where an isolate asks the bridge, in its instance's folder and at /run/headstart in its box. The bridge listens.
pub const ISOLATE_ASKS: &str = "isolate.sock";
