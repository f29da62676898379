//! Control groups, version 1 (a hierarchy a controller) or 2 (one for all): limits of a process tree, and the only list
//! of all that belongs to it.

use crate::failure::{failed, is_gone};
use crate::names::Names;
use crate::spec::Limits;
use headstart_base::Result;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
const CPU_PERIOD_MICROS: u64 = 100_000;

/// Where this machine's controllers are mounted.
#[derive(Clone, Debug)]
pub struct Hierarchies {
    /// One folder a controller, in the order of [`CONTROLLERS`].
    roots: [PathBuf; 3],
    unified: bool,
}

impl Hierarchies {
    /// Reads /proc/mounts. A controller that no mount has is an error: limits would be without effect.
    pub fn find() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").map_err(|error| failed("/proc/mounts", error))?;
        Self::parse(&mounts, |root| fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default())
    }

    fn parse(mounts: &str, controllers_of: impl Fn(&Path) -> String) -> Result<Self> {
        let mut roots: [Option<PathBuf>; 3] = [None, None, None];
        let mut unified = None;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            match kind {
                "cgroup2" if unified.is_none() => unified = Some(PathBuf::from(point)),
                "cgroup" => {
                    for (controller, root) in CONTROLLERS.iter().zip(&mut roots) {
                        if root.is_none() && options.split(',').any(|option| option == *controller) {
                            *root = Some(PathBuf::from(point));
                        }
                    }
                }
                _ => {}
            }
        }
        if let [Some(memory), Some(cpu), Some(pids)] = roots {
            return Ok(Self { roots: [memory, cpu, pids], unified: false });
        }
        if let Some(root) = unified {
            let there = controllers_of(&root);
            if CONTROLLERS.iter().all(|controller| there.split_ascii_whitespace().any(|name| name == *controller)) {
                return Ok(Self { roots: [root.clone(), root.clone(), root], unified: true });
            }
        }
        Err(crate::failure::unsupported(
            "the cgroup controllers memory, cpu and pids are not all mounted on this machine",
        ))
    }

    fn folders(&self, name: &str) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.roots.iter().map(|root| root.join(name)).collect();
        folders.dedup();
        folders
    }

    /// Removes a group that has neither processes nor groups in it, and those above it that are empty then.
    pub fn remove_empty(&self, name: &str) {
        for folder in Path::new(name).ancestors().take_while(|path| !path.as_os_str().is_empty()) {
            for root in &self.roots {
                let _ = fs::remove_dir(root.join(folder));
            }
        }
    }

    /// Names of the groups right below `name`.
    pub(crate) fn children(&self, name: &str) -> Vec<String> {
        let mut children: Vec<String> = Vec::new();
        for folder in self.folders(name) {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            children.extend(folders.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        children.sort_unstable();
        children.dedup();
        children
    }
}

/// One group: the same name in each hierarchy. Dropped: stays; call [`Cgroup::destroy`].
#[derive(Debug)]
pub struct Cgroup {
    hierarchies: Hierarchies,
    name: String,
}

impl Cgroup {
    /// Makes the group and writes its limits. `name` is relative to each hierarchy: `headstart/<tag>/<id>`.
    pub fn create(hierarchies: &Hierarchies, name: String, limits: Limits) -> Result<Self> {
        let group = Self::existing(hierarchies, name);
        group.make().and_then(|()| group.limit(limits)).map_err(|error| {
            for folder in group.folders() {
                let _ = fs::remove_dir(folder);
            }
            failed(format_args!("cgroup {}", group.name), error)
        })?;
        Ok(group)
    }

    /// A handle of what may be left of a group of the node with this run folder.
    pub fn leftover(hierarchies: &Hierarchies, run_dir: &Path, id: &str) -> Self {
        Self::existing(hierarchies, Names::of(run_dir).cgroup(id))
    }

    /// A handle of a group that may exist.
    pub(crate) fn existing(hierarchies: &Hierarchies, name: String) -> Self {
        Self { hierarchies: hierarchies.clone(), name }
    }

    /// A second handle, to look and not to destroy.
    pub(crate) fn observer(&self) -> Self {
        Self::existing(&self.hierarchies, self.name.clone())
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn folders(&self) -> Vec<PathBuf> {
        self.hierarchies.folders(&self.name)
    }

    fn make(&self) -> io::Result<()> {
        for folder in self.folders() {
            fs::create_dir_all(&folder)?;
        }
        if self.hierarchies.unified {
            let mut above = self.hierarchies.roots[0].clone();
            for part in Path::new(&self.name) {
                fs::write(above.join("cgroup.subtree_control"), "+memory +cpu +pids")?;
                above.push(part);
            }
        }
        Ok(())
    }

    fn limit(&self, limits: Limits) -> io::Result<()> {
        let [memory, cpu, pids] = &self.hierarchies.roots;
        let (memory, cpu, pids) = (memory.join(&self.name), cpu.join(&self.name), pids.join(&self.name));
        let quota = u64::from(limits.cpu_millis) * CPU_PERIOD_MICROS / 1000;
        if self.hierarchies.unified {
            if limits.memory > 0 {
                fs::write(memory.join("memory.max"), limits.memory.to_string())?;
                write_if_there(&memory.join("memory.swap.max"), "0")?;
                fs::write(memory.join("memory.oom.group"), "1")?;
            }
            if quota > 0 {
                fs::write(cpu.join("cpu.max"), format!("{quota} {CPU_PERIOD_MICROS}"))?;
            }
        } else {
            if limits.memory > 0 {
                fs::write(memory.join("memory.limit_in_bytes"), limits.memory.to_string())?;
                write_if_there(&memory.join("memory.memsw.limit_in_bytes"), &limits.memory.to_string())?;
            }
            if quota > 0 {
                fs::write(cpu.join("cpu.cfs_period_us"), CPU_PERIOD_MICROS.to_string())?;
                fs::write(cpu.join("cpu.cfs_quota_us"), quota.to_string())?;
            }
        }
        if limits.pids > 0 {
            fs::write(pids.join("pids.max"), limits.pids.to_string())?;
        }
        Ok(())
    }

    /// The files into which a process of one thread writes `0` to enter the group. In version 1 that is `tasks`:
    /// through `cgroup.procs` the kernel would stop all forks of the machine and wait for RCU, about 10 ms.
    pub fn doors(&self) -> Result<Vec<File>> {
        let door = if self.hierarchies.unified { "cgroup.procs" } else { "tasks" };
        let open = |folder: PathBuf| OpenOptions::new().write(true).open(folder.join(door));
        self.folders()
            .into_iter()
            .map(open)
            .collect::<io::Result<_>>()
            .map_err(|error| failed(format_args!("cgroup {}", self.name), error))
    }

    /// The processes in the group now.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = Vec::new();
        for folder in self.folders() {
            let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) else { continue };
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid > 1));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether the kernel killed a process of the group at its memory limit.
    pub fn oom_killed(&self) -> bool {
        let file = if self.hierarchies.unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.hierarchies.roots[0].join(&self.name).join(file)).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }

    /// Kills everything in the group and removes it. Waits at most `limit`.
    pub async fn destroy(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        let mut pause = Duration::from_micros(500);
        loop {
            self.kill();
            match self.remove() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    return Err(failed(format_args!("remove cgroup {}", self.name), error));
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    fn kill(&self) {
        if self.hierarchies.unified
            && fs::write(self.hierarchies.roots[0].join(&self.name).join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for pid in self.pids() {
            // SAFETY: kill(2) takes no pointer. The pid was in our own group a moment ago and is above 1.
            unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
        }
    }

    fn remove(&self) -> io::Result<()> {
        for folder in self.folders() {
            match fs::remove_dir(&folder) {
                Err(error) if !is_gone(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn write_if_there(path: &Path, text: &str) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(mut file) => io::Write::write_all(&mut file, text.as_bytes()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_controllers_are_found_wherever_they_are_mounted() {
        let mounts = "cgroup /c/cpu,cpuacct cgroup rw,cpuacct,cpu 0 0\ncgroup /c/memory cgroup rw,memory 0 0\n\
                      cgroup /c/pids cgroup rw,pids 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n";
        let found = Hierarchies::parse(mounts, |_| String::new()).unwrap();
        assert!(!found.unified);
        assert_eq!(found.folders("x"), ["/c/memory/x", "/c/cpu,cpuacct/x", "/c/pids/x"].map(PathBuf::from));
    }

    #[test]
    fn version_2_is_one_folder_and_must_have_the_controllers() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        let found = Hierarchies::parse(mounts, |_| "cpuset cpu io memory pids".into()).unwrap();
        assert!(found.unified);
        assert_eq!(found.folders("x"), [PathBuf::from("/sys/fs/cgroup/x")]);
        assert!(Hierarchies::parse(mounts, |_| "cpuset cpu".into()).is_err());
        assert!(Hierarchies::parse("", |_| String::new()).is_err());
    }
}
