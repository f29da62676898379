//! The other end of the application's socket, for tests: real packets, real fds, answers as a test says.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix,
    SocketFlags, SocketType, accept, bind, listen, recv, sendmsg, shutdown, socket_with,
};

use crate::numbers::{self, Code};
use crate::packet::{HEADER, MOST};

const LONGEST: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) op: u16,
    pub(crate) flags: u32,
    pub(crate) id: u64,
    pub(crate) a: u64,
    pub(crate) b: u64,
}

/// An answer; `length` of it is the total, too. Of news, `offset` and `payload` are a message's id and content.
pub(crate) struct Told {
    pub(crate) flags: u32,
    pub(crate) id: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) error: Code,
    pub(crate) file: Option<OwnedFd>,
    pub(crate) payload: &'static str,
}

impl Default for Told {
    fn default() -> Self {
        let flags = numbers::FLAG_DONE | numbers::FLAG_LENGTH_KNOWN;
        Self { flags, id: 0, segment: 0, offset: 0, length: 0, error: Code::Ok, file: None, payload: "" }
    }
}

impl Told {
    /// Bytes of a segment, with its fd where there is one.
    pub(crate) fn of(segment: u64, length: usize, file: Option<OwnedFd>) -> Self {
        Self { segment, length: length as u64, file, ..Self::default() }
    }

    pub(crate) fn error(error: Code) -> Self {
        Self { error, ..Self::default() }
    }
}

/// What is done about a request.
pub(crate) enum Deed {
    Tell(Told),
    /// It is not answered.
    Wait,
    /// The connection ends.
    Cut,
}

/// Serves a socket as `handle` says, and keeps what it was asked, greetings left out.
pub(crate) struct FakeBridge {
    folder: PathBuf,
    pub(crate) path: String,
    listener: Arc<OwnedFd>,
    asked: Arc<(Mutex<Vec<Asked>>, Condvar)>,
}

impl FakeBridge {
    pub(crate) fn start(handle: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hsr-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("app.sock");
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 64).unwrap();
        let (listener, asked) = (Arc::new(listener), Arc::default());
        let (handle, accepting, all) = (Arc::new(handle), Arc::clone(&listener), Arc::clone(&asked));
        std::thread::spawn(move || {
            while let Ok(peer) = accept(&accepting) {
                let (handle, all) = (Arc::clone(&handle), Arc::clone(&all));
                std::thread::spawn(move || serve(&peer, &*handle, &all));
            }
        });
        Self { folder, path: path.to_str().unwrap().to_owned(), listener, asked }
    }

    /// All requests so far, once there are `count` that `which` holds for.
    pub(crate) fn asked(&self, count: usize, which: impl Fn(&Asked) -> bool) -> Vec<Asked> {
        let (asked, more) = &*self.asked;
        let few = |asked: &mut Vec<Asked>| asked.iter().filter(|asked| which(asked)).count() < count;
        let (asked, late) = more.wait_timeout_while(asked.lock().unwrap(), LONGEST, few).unwrap();
        assert!(!late.timed_out(), "{asked:?}");
        asked.clone()
    }
}

impl Drop for FakeBridge {
    fn drop(&mut self) {
        let _ = shutdown(&*self.listener, Shutdown::Both);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An fd of memory with these bytes.
pub(crate) fn memory(bytes: &[u8]) -> OwnedFd {
    let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    assert_eq!(rustix::io::write(&file, bytes).unwrap(), bytes.len());
    file
}

fn serve(peer: &OwnedFd, handle: &dyn Fn(&Asked) -> Deed, all: &(Mutex<Vec<Asked>>, Condvar)) {
    let mut buffer = vec![0; MOST];
    loop {
        let Ok((bytes, _)) = recv(peer, &mut buffer[..], RecvFlags::empty()) else { return };
        let Some(header) = buffer[..bytes].first_chunk::<HEADER>() else { return };
        let u64 = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
        let op = u16::from_le_bytes([header[2], header[3]]);
        let flags = u32::from_le_bytes(header[8..12].try_into().unwrap());
        let asked = Asked { op, flags, id: u64(16), a: u64(24), b: u64(32) };
        let deed = if op == numbers::OP_HELLO {
            Deed::Tell(Told::default())
        } else {
            all.0.lock().unwrap().push(asked);
            all.1.notify_all();
            handle(&asked)
        };
        match deed {
            Deed::Tell(told) => answer(peer, header, told),
            Deed::Wait => {}
            Deed::Cut => return,
        }
    }
}

/// Answers the request with this header.
fn answer(peer: &OwnedFd, header: &[u8; HEADER], told: Told) {
    let mut packet = [0; HEADER];
    packet[..8].copy_from_slice(&header[..8]);
    let flags = told.flags | if told.file.is_some() { numbers::FLAG_FD } else { 0 };
    packet[8..12].copy_from_slice(&flags.to_le_bytes());
    packet[12..16].copy_from_slice(&(told.payload.len() as u32).to_le_bytes());
    let numbers = [(16, told.id), (24, told.segment), (32, told.offset), (40, told.length), (56, told.length)];
    for (at, number) in numbers {
        packet[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    packet[48..52].copy_from_slice(&(told.error as u32).to_le_bytes());
    let files: Vec<_> = told.file.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&files));
    }
    // Who asked may be gone.
    let _ = sendmsg(
        peer,
        &[IoSlice::new(&packet), IoSlice::new(told.payload.as_bytes())],
        &mut control,
        SendFlags::NOSIGNAL,
    );
}
