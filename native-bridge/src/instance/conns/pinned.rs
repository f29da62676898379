//! What binds a socket to its server.
//!
//! A socket that a program of bubblewrap's is given is of the node's own network, where the rules of the sandbox's do not hold.
//! connect(2) with AF_UNSPEC takes it off its server, and then it can be connected to anything that the node reaches, or be listened
//! on. So before it is given away it gets a filter which lets nothing in but what its server sends, and which nobody can take off
//! again: a connection to anywhere else never comes to be.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Where the network's header begins, as a filter says it. (The transport's is at 0.)
const NETWORK: u32 = libc::SKF_NET_OFF.cast_unsigned();
const ADDRESS_4: u32 = NETWORK + 12;
const ADDRESS_6: u32 = NETWORK + 8;
/// Of a TCP header.
const SOURCE_PORT: u32 = 0;

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUALS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const GIVE: u32 = libc::BPF_RET | libc::BPF_K;

/// Binds a connected TCP socket to its server for good.
pub(super) fn pin(socket: &OwnedFd, server: SocketAddr) -> io::Result<()> {
    let mut steps = filter(server);
    let length = u16::try_from(steps.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: steps.as_mut_ptr() };
    set(socket, libc::SO_ATTACH_FILTER, &program)?;
    set(socket, libc::SO_LOCK_FILTER, &1_i32)
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the kernel reads `size` bytes of `value`, and of a program its steps, which live as long.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const *value).cast(), size) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The steps that let packets of this address and port in, and no other.
fn filter(server: SocketAddr) -> Vec<libc::sock_filter> {
    let (version, address): (u32, Vec<(u32, u32)>) = match server.ip().to_canonical() {
        IpAddr::V4(ip) => (0x40, vec![(ADDRESS_4, ip.to_bits())]),
        IpAddr::V6(ip) => {
            let words = ip.octets();
            let words = words.chunks_exact(4).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
            (0x60, (ADDRESS_6..).step_by(4).zip(words).collect())
        }
    };
    let mut tests = vec![vec![step(LOAD_BYTE, NETWORK), step(AND, 0xf0), step(EQUALS, version)]];
    tests.extend(address.into_iter().map(|(at, word)| vec![step(LOAD_WORD, at), step(EQUALS, word)]));
    tests.push(vec![step(LOAD_HALF, SOURCE_PORT), step(EQUALS, server.port().into())]);
    let mut steps = tests.concat();
    // What is not equal goes to the last step.
    let last = steps.len() + 1;
    for (at, it) in steps.iter_mut().enumerate().filter(|(_, it)| u32::from(it.code) == EQUALS) {
        it.jf = u8::try_from(last - at - 1).unwrap_or(u8::MAX);
    }
    steps.extend([step(GIVE, u32::MAX), step(GIVE, 0)]);
    steps
}

fn step(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    /// Takes a socket off its server and connects it to another; whether it comes to be connected.
    fn reconnects(socket: &TcpStream, to: SocketAddr) -> bool {
        socket.set_nonblocking(true).unwrap();
        let fd = socket.as_raw_fd();
        let connect = |address: *const libc::sockaddr, length: usize| {
            // SAFETY: the descriptor is open, and the address has `length` bytes.
            unsafe { libc::connect(fd, address, length as libc::socklen_t) }
        };
        let nothing = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
        assert_eq!(connect(&raw const nothing, size_of::<libc::sockaddr>()), 0);
        let to = nix::sys::socket::SockaddrStorage::from(to);
        let length = nix::sys::socket::SockaddrLike::len(&to) as usize;
        if connect(nix::sys::socket::SockaddrLike::as_ptr(&to), length) == 0 {
            return true;
        }
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EINPROGRESS));
        let mut polled = [PollFd::new(std::os::fd::AsFd::as_fd(socket), PollFlags::POLLOUT)];
        poll(&mut polled, PollTimeout::from(300_u16)).unwrap() > 0 && socket.take_error().unwrap().is_none()
    }

    #[test]
    fn a_socket_stays_with_its_server() {
        for host in ["127.0.0.1", "[::1]"] {
            let Ok(server) = TcpListener::bind(format!("{host}:0")) else {
                assert_eq!(host, "[::1]", "there may be no IPv6");
                continue;
            };
            let other = TcpListener::bind(format!("{host}:0")).unwrap();
            let (at, elsewhere) = (server.local_addr().unwrap(), other.local_addr().unwrap());
            let free = TcpStream::connect(at).unwrap();
            assert!(reconnects(&free, elsewhere), "this is what it would do");
            let pinned = TcpStream::connect(at).unwrap();
            pin(&pinned.try_clone().unwrap().into(), at).unwrap();
            server.accept().unwrap();
            let (mut theirs, _) = server.accept().unwrap();
            let sent = std::thread::spawn(move || theirs.write_all(&vec![7; 1 << 20]));
            let mut received = vec![0; 1 << 20];
            pinned.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            (&pinned).read_exact(&mut received).unwrap();
            sent.join().unwrap().unwrap();
            assert!(!reconnects(&pinned, elsewhere));
            let off = unpinned(&pinned);
            assert_eq!(off.raw_os_error(), Some(libc::EPERM));
            assert!(reconnects(&pinned, at), "to its server it may connect again");
        }
    }

    fn unpinned(socket: &TcpStream) -> io::Error {
        let socket: OwnedFd = socket.try_clone().unwrap().into();
        set(&socket, libc::SO_DETACH_FILTER, &0_i32).unwrap_err()
    }
}
