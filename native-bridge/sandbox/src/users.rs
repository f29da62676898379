//! Users of the machine: one for each sandbox and each runner on the host's own kernel, so that what the kernel counts by
//! user (inotify, pages of pipes, pending signals, descriptors on their way) and what it allows to one's own (signals,
//! files) is between no two of them.
//!
//! The numbers lie where neither accounts, nor systemd, nor containers, nor directories have theirs (docs/decisions.md). A
//! node takes a range of them by an abstract unix socket, which the kernel gives back when the node dies, and none in which
//! something of a dead one still lives.

use crate::failure::failed;
use crate::names::tag;
use headstart_base::Result;
use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FIRST: u32 = 0x7a00_0000;
const RANGES: u32 = 256;
const USERS_PER_RANGE: u32 = 1 << 16;

/// The users of one node; each has a group of the same number. A clone has the same ones. When the last is dropped, others may
/// take them.
#[derive(Clone, Debug)]
pub struct Users {
    range: Arc<Claimed>,
}

#[derive(Debug)]
struct Claimed {
    users: Range<u32>,
    state: Mutex<State>,
    _claim: UnixListener,
}

#[derive(Debug, Default)]
struct State {
    used: HashSet<u32>,
    /// Where the search for the next one begins: one that was given back comes again as late as possible.
    next: u32,
}

impl Users {
    /// Claims a range for the node with this run folder, preferably the one that its tag points at. Reads all of /proc once.
    pub fn claim(run_dir: &Path) -> Result<Self> {
        let preferred = u32::from_str_radix(&tag(run_dir), 16).unwrap_or_default() % RANGES;
        for step in 0..RANGES {
            let index = (preferred + step) % RANGES;
            let address = SocketAddr::from_abstract_name(format!("headstart/users/{index}"))
                .map_err(|error| failed("users", error))?;
            let Ok(claim) = UnixListener::bind_addr(&address) else { continue };
            let first = FIRST + index * USERS_PER_RANGE;
            let users = first..first + USERS_PER_RANGE;
            // Looked for only now: whoever had the range can start nothing more.
            if !is_inhabited(&users) {
                return Ok(Self { range: Arc::new(Claimed { users, state: Mutex::default(), _claim: claim }) });
            }
        }
        Err(failed("users", "all of their numbers are in use by other nodes"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.range.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one that nothing runs as.
    pub fn take(&self) -> Result<User> {
        let mut state = self.state();
        let free = (0..USERS_PER_RANGE).map(|step| (state.next + step) % USERS_PER_RANGE);
        let Some(place) = free.into_iter().find(|place| !state.used.contains(place)) else {
            return Err(failed("users", format_args!("all {USERS_PER_RANGE} of this node are in use")));
        };
        state.used.insert(place);
        state.next = (place + 1) % USERS_PER_RANGE;
        Ok(User { id: self.range.users.start + place, users: self.clone() })
    }

    /// How many are in use.
    pub fn used(&self) -> usize {
        self.state().used.len()
    }
}

/// A user that is taken. Dropped: it stays taken, since who breaks off does not know what still runs as it.
#[derive(Debug)]
pub struct User {
    id: u32,
    users: Users,
}

impl User {
    /// The number of the user, and of its group.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Gives it back, when nothing runs as it any more.
    pub fn give_back(self) {
        self.users.state().used.remove(&(self.id - self.users.range.users.start));
    }
}

/// Whether a process runs as one of these users. One that has ended and is not waited for yet has nothing any more.
fn is_inhabited(users: &Range<u32>) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let statuses = processes
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        // One that ends meanwhile has no status.
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    statuses.into_iter().any(|status| runs_as(&status, users))
}

/// Of /proc/PID/status.
fn runs_as(status: &str, users: &Range<u32>) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let is_dead = field("State:").trim_start().starts_with(['Z', 'X']);
    !is_dead && field("Uid:").split_ascii_whitespace().filter_map(|id| id.parse().ok()).any(|id| users.contains(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(name: &str) -> Users {
        Users::claim(&Path::new("/nowhere").join(name)).unwrap()
    }

    #[test]
    fn two_nodes_have_no_user_in_common() {
        let (one, other) = (users("a"), users("a"));
        assert!(one.range.users.end <= other.range.users.start || other.range.users.end <= one.range.users.start);
        for node in [&one, &other] {
            assert!(node.range.users.start >= FIRST && node.range.users.end <= FIRST + RANGES * USERS_PER_RANGE);
        }
    }

    #[test]
    fn a_user_comes_back_late_and_only_when_it_is_given_back() {
        let users = users("b");
        let (first, second) = (users.take().unwrap(), users.take().unwrap());
        let ids = [first.id(), second.id()];
        assert_eq!(ids[1], ids[0] + 1);
        first.give_back();
        drop(second);
        assert_eq!(users.used(), 1);
        let mut seen = HashSet::new();
        for _ in 0..USERS_PER_RANGE {
            let user = users.take().unwrap();
            seen.insert(user.id());
            user.give_back();
        }
        assert!(seen.contains(&ids[0]) && !seen.contains(&ids[1]));
        assert_eq!(seen.len(), USERS_PER_RANGE as usize - 1);
        let kept: Vec<User> = (1..USERS_PER_RANGE).map(|_| users.take().unwrap()).collect();
        assert!(users.take().is_err(), "all are taken");
        kept.into_iter().for_each(User::give_back);
        assert_eq!(users.used(), 1);
    }

    #[test]
    fn who_lives_is_seen_in_its_status() {
        let status = |state: &str, effective: u32| format!("Name:\tx\nState:\t{state}\nUid:\t0\t{effective}\t0\t0\n");
        let users = 100..200;
        assert!(runs_as(&status("S (sleeping)", 150), &users));
        assert!(!runs_as(&status("S (sleeping)", 200), &users));
        assert!(!runs_as(&status("Z (zombie)", 150), &users));
        assert!(!runs_as("", &users));
        assert!(is_inhabited(&(0..1)), "something runs as root");
    }

    #[test]
    fn a_range_in_which_somebody_lives_is_left_alone() {
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};
        let before = users("c");
        let id = before.take().unwrap().id();
        let range = before.range.users.clone();
        let mut left = Command::new("sleep").arg("60").uid(id).gid(id).stdin(Stdio::null()).spawn().unwrap();
        drop(before);
        let after = users("c");
        assert_ne!(after.range.users, range);
        drop(after);
        left.kill().unwrap();
        left.wait().unwrap();
    }
}
