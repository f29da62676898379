//! Files that take no room before there is something in them.
//!
//! etcd reserves 64 MiB for each file of its log, three of them in a start from a snapshot. A disk only takes note of that; in a
//! sandbox, whose files are memory, each is made and zeroed, which takes 40 to 60 ms. Where a file system cannot reserve, etcd makes
//! the file longer instead: so this one cannot.

use std::io;

/// Offset in `struct seccomp_data`: the call's number.
const NUMBER: u32 = 0;

/// Has fallocate(2) answer from now on, in this thread and in what it starts or becomes, that the file system does not have it.
pub fn without_reserving() -> io::Result<()> {
    let step = |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_fallocate as u32, 1),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP.cast_unsigned(), 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: no pointers.
    done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: `program` has as many steps as it says, and is read during the call only.
    done(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) })
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_file_is_made_longer_and_not_reserved() {
        // The filter is the thread's for good.
        let tried = std::thread::spawn(|| {
            let file = tempfile::tempfile().unwrap();
            // SAFETY: no pointers.
            let reserve = || done(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, 4096) });
            reserve().unwrap();
            without_reserving().unwrap();
            file.set_len(8192).unwrap();
            reserve().unwrap_err().raw_os_error()
        });
        assert_eq!(tried.join().unwrap(), Some(libc::EOPNOTSUPP));
    }
}
