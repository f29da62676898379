//! A client of the application's socket: one request, one answer.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use headstart_base::ErrorCode;
use headstart_base::app_capnp::{AppOp, FLAG_FD};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg,
    sendmsg, socket,
};

pub struct App {
    socket: OwnedFd,
    sequence: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub flags: u32,
    pub id: u64,
    pub a: u64,
    pub b: u64,
    pub c: u64,
    pub deadline: u32,
    pub payload: Vec<u8>,
}

#[derive(Debug)]
pub struct Told {
    pub flags: u32,
    pub id: u64,
    pub segment: u64,
    pub offset: u64,
    pub length: u64,
    pub error: ErrorCode,
    pub status: u32,
    pub total: u64,
    pub payload: Vec<u8>,
    pub file: Option<OwnedFd>,
}

impl Told {
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

impl App {
    pub fn connect(path: &Path) -> Self {
        let socket_fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        connect(socket_fd.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        let limit = nix::sys::time::TimeVal::new(20, 0);
        nix::sys::socket::setsockopt(&socket_fd, nix::sys::socket::sockopt::ReceiveTimeout, &limit).unwrap();
        Self { socket: socket_fd, sequence: 0 }
    }

    pub fn ask(&mut self, op: AppOp, ask: &Ask) -> Told {
        self.send(op, ask);
        self.receive().expect("an answer")
    }

    pub fn ask_with(&mut self, op: AppOp, ask: &Ask, files: &[i32]) -> Told {
        self.send_with(op, ask, files);
        self.receive().expect("an answer")
    }

    pub fn send(&mut self, op: AppOp, ask: &Ask) {
        self.send_with(op, ask, &[]);
    }

    /// With fds beside the packet.
    pub fn send_with(&mut self, op: AppOp, ask: &Ask, files: &[i32]) {
        self.sequence += 1;
        let mut packet = Vec::new();
        packet.extend_from_slice(&1_u16.to_le_bytes());
        packet.extend_from_slice(&(op as u16).to_le_bytes());
        packet.extend_from_slice(&self.sequence.to_le_bytes());
        packet.extend_from_slice(&ask.flags.to_le_bytes());
        packet.extend_from_slice(&(ask.payload.len() as u32).to_le_bytes());
        for number in [ask.id, ask.a, ask.b, ask.c] {
            packet.extend_from_slice(&number.to_le_bytes());
        }
        packet.extend_from_slice(&ask.deadline.to_le_bytes());
        packet.extend_from_slice(&[0; 12]);
        packet.extend_from_slice(&ask.payload);
        self.send_raw(&packet, files);
    }

    pub fn send_raw(&self, packet: &[u8], files: &[i32]) {
        let rights = [ControlMessage::ScmRights(files)];
        let controls = if files.is_empty() { &rights[..0] } else { &rights[..] };
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[std::io::IoSlice::new(packet)],
            controls,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .unwrap();
    }

    /// Whether an answer is there.
    pub fn is_answered(&self) -> bool {
        let mut polled = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
    }

    /// None when the bridge has closed the connection.
    pub fn receive(&mut self) -> Option<Told> {
        let mut buffer = vec![0; 8192];
        let mut control = nix::cmsg_space!([i32; 4]);
        let (bytes, file) = {
            let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
            let message =
                recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)
                    .unwrap();
            let mut file = None;
            for control in message.cmsgs().unwrap() {
                if let ControlMessageOwned::ScmRights(files) = control {
                    // SAFETY: just received, and nobody else's.
                    file = Some(unsafe { OwnedFd::from_raw_fd(files[0]) });
                }
            }
            (message.bytes, file)
        };
        if bytes == 0 {
            return None;
        }
        assert!((64..=4096).contains(&bytes), "{bytes}");
        let at = |offset: usize, count: usize| {
            buffer[offset..offset + count].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        assert_eq!(at(0, 2), 1);
        assert_eq!(at(12, 4) as usize, bytes - 64);
        let told = Told {
            flags: at(8, 4) as u32,
            id: at(16, 8),
            segment: at(24, 8),
            offset: at(32, 8),
            length: at(40, 8),
            error: ErrorCode::try_from(at(48, 4) as u16).unwrap(),
            status: at(52, 4) as u32,
            total: at(56, 8),
            payload: buffer[64..bytes].to_vec(),
            file,
        };
        assert_eq!(told.flags & FLAG_FD != 0, told.file.is_some(), "the flag says whether there is an fd");
        Some(told)
    }
}

/// A read-only mapping of a whole segment.
pub fn map(file: &OwnedFd) -> &'static [u8] {
    let size = nix::sys::stat::fstat(file).unwrap().st_size as usize;
    // SAFETY: a new mapping of a file that is sealed against shrinking; it is never unmapped.
    unsafe {
        let address =
            mmap(None, std::num::NonZeroUsize::new(size).unwrap(), ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file, 0)
                .unwrap();
        std::slice::from_raw_parts(address.as_ptr().cast(), size)
    }
}
