//! A seccomp filter for what runs on the host's own kernel: ordinary programs work, the kernel's wider and rarely
//! audited parts (new namespaces, mounts, keys, BPF, io_uring, other processes' memory, odd socket families) do not.

use crate::failure::failed;
use headstart_base::Result;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// Numbers from here on are x86-64's second system call table.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Refused with EPERM.
const DENIED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// clone(2)'s flags for new namespaces.
const NEW_NAMESPACE: libc::c_int = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// Offsets in `struct seccomp_data`: the call's number, the architecture, the low half of the first argument.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// The filter as a file that bubblewrap's `--seccomp` reads. Only sockets of these families can be made.
pub fn filter(families: &[libc::c_int]) -> Result<OwnedFd> {
    write_filter(families).map_err(|error| failed("seccomp filter", error))
}

fn write_filter(families: &[libc::c_int]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"headstart:seccomp", MFdFlags::MFD_CLOEXEC)?);
    for step in program(families) {
        file.write_all(&step.code.to_ne_bytes())?;
        file.write_all(&[step.jt, step.jf])?;
        file.write_all(&step.k.to_ne_bytes())?;
    }
    file.rewind()?;
    Ok(file.into())
}

fn program(families: &[libc::c_int]) -> Vec<libc::sock_filter> {
    let mut program = vec![load(ARCH), equal(ARCHITECTURE, 1, 0), give(libc::SECCOMP_RET_KILL_PROCESS), load(NUMBER)];
    #[cfg(target_arch = "x86_64")]
    program.extend([step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, X32, 0, 1), refuse(libc::EPERM)]);
    for call in DENIED {
        program.extend([equal(number(*call), 0, 1), refuse(libc::EPERM)]);
    }
    // clone3's flags are behind a pointer, which a filter cannot follow: glibc then uses clone.
    program.extend([equal(number(libc::SYS_clone3), 0, 1), refuse(libc::ENOSYS)]);
    program.extend([
        equal(number(libc::SYS_clone), 0, 4),
        load(FIRST_ARGUMENT),
        step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, NEW_NAMESPACE.cast_unsigned(), 0, 1),
        refuse(libc::EPERM),
        give(libc::SECCOMP_RET_ALLOW),
    ]);
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        let families = &families[..families.len().min(16)];
        program.extend([equal(number(call), 0, 2 + 2 * families.len() as u8), load(FIRST_ARGUMENT)]);
        for family in families {
            program.extend([equal(family.cast_unsigned(), 0, 1), give(libc::SECCOMP_RET_ALLOW)]);
        }
        program.push(refuse(libc::EAFNOSUPPORT));
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    program
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

fn load(offset: u32) -> libc::sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn equal(value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, jt, jf)
}

fn give(action: u32) -> libc::sock_filter {
    step(libc::BPF_RET | libc::BPF_K, action, 0, 0)
}

fn refuse(errno: libc::c_int) -> libc::sock_filter {
    give(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}
