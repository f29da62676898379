//! Gives up what the bridge was started with and does not need, for itself and for all that it starts.

use std::io;

use headstart_base::{Error, ErrorCode, Result};

/// What the bridge and its programs need, and for what. Numbers of linux/capability.h.
const NEEDED: &[(u32, &str)] = &[
    (0, "CHOWN: the runners' folders and the applications' files are their users'"),
    (1, "DAC_OVERRIDE: work in these folders"),
    (2, "DAC_READ_SEARCH: gVisor's gofer reads an application's files"),
    (3, "FOWNER: modes of these files"),
    (4, "FSETID: as above"),
    (5, "KILL: ends runners and applications, which have users of their own"),
    (6, "SETGID: they become these"),
    (7, "SETUID: they become these"),
    (8, "SETPCAP: they give up all capabilities, and we these"),
    (12, "NET_ADMIN: links, addresses and rules of the applications' networks"),
    (18, "SYS_CHROOT: gVisor and bubblewrap change the root"),
    (19, "SYS_PTRACE: gVisor's systrap"),
    (21, "SYS_ADMIN: namespaces, mounts, cgroups"),
    (24, "SYS_RESOURCE: limits above our own, gVisor's OOM score"),
];

const fn needed() -> u64 {
    let mut set = 0;
    let mut index = 0;
    while index < NEEDED.len() {
        set |= 1 << NEEDED[index].0;
        index += 1;
    }
    set
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// One half of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Keeps [`NEEDED`], of what there is. Call it while there is one thread: others would keep theirs.
pub(crate) fn drop_unneeded() -> Result<()> {
    drop_all_but(needed())
        .map_err(|error| Error::new(ErrorCode::Internal, format!("capabilities cannot be given up: {error}")))
}

fn drop_all_but(keep: u64) -> io::Result<()> {
    for capability in 0..64_u32 {
        // SAFETY: takes a number, no pointer.
        let bounded = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(capability), 0, 0, 0) };
        if bounded < 0 {
            // The kernel knows no capability with that number, nor a higher one.
            break;
        }
        if bounded == 1 && keep & (1 << capability) == 0 {
            // SAFETY: takes a number, no pointer.
            checked(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }.into())?;
        }
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: both are valid for what version 3 reads and writes: one header, two halves.
    checked(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    for (half, keep) in data.iter_mut().zip([keep as u32, (keep >> 32) as u32]) {
        half.effective &= keep;
        half.permitted &= keep;
        half.inheritable = 0;
    }
    // SAFETY: as above.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    // SAFETY: takes numbers, no pointer. No program that we start gets more than we have, by its file or its owner.
    checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())
}

fn checked(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_named_by_its_number() {
        assert_eq!(needed(), 0x012c_11ff);
        assert!(NEEDED.is_sorted());
    }

    #[test]
    fn a_thread_keeps_what_it_is_told() {
        let status = std::thread::spawn(|| {
            drop_all_but(1 << 5).unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let status = status.join().unwrap();
        for line in ["CapInh:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{status}");
        }
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let line = status.lines().find_map(|line| line.strip_prefix(&format!("{set}:\t"))).unwrap();
            assert_eq!(u64::from_str_radix(line, 16).unwrap() & !(1 << 5), 0, "{status}");
        }
    }
}
