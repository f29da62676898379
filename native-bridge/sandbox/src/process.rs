//! Child processes with a pidfd each, started from one thread that lives as long as we do.
//!
//! Children are told to die with their parent (PR_SET_PDEATHSIG), and for the kernel the parent is the *thread* that
//! forked: a worker of the runtime may end at any time, our own thread does not.

use crate::failure::failed;
use headstart_base::{Error, ErrorCode, Result};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// What to start, and in which surroundings.
pub struct Launch {
    /// Program, arguments, environment and working directory; its standard streams are set here.
    pub command: Command,
    /// The network namespace it is put into.
    pub network: Option<OwnedFd>,
    /// Files into which it writes `0` (see [`crate::Cgroup::doors`]).
    pub cgroup: Vec<File>,
    /// Descriptors that it keeps, under their numbers.
    pub keep: Vec<OwnedFd>,
    /// Its standard input; none: it is empty.
    pub stdin: Option<OwnedFd>,
    /// (resource, soft and hard limit).
    pub limits: Vec<(libc::__rlimit_resource_t, u64)>,
}

/// A process that was started, and its output.
pub struct Started {
    pub process: Process,
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
}

/// A child of ours. Dropped: it lives on, and nobody waits for it.
pub struct Process {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread that starts processes.
#[derive(Clone)]
pub struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    /// Starts the thread. It ends when the last clone is dropped, and takes its children with it.
    pub fn new() -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || queue.into_iter().for_each(|job| job()))
            .map_err(|error| failed("thread for processes", error))?;
        Ok(Self { jobs })
    }

    /// Prepares and starts a process on the thread. `prepare` may block for some milliseconds. Call it within a runtime.
    pub async fn start<T, P>(&self, prepare: P) -> Result<(Started, T)>
    where
        T: Send + 'static,
        P: FnOnce() -> Result<(Launch, T)> + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let job = move || {
            let _inside = runtime.enter();
            let outcome = prepare().and_then(|(launch, extra)| Ok((launch.start()?, extra)));
            if let Err(Ok((started, _))) = done.send(outcome) {
                started.process.kill();
            }
        };
        let lost = || Error::new(ErrorCode::Internal, "the thread for processes is gone");
        self.jobs.send(Box::new(job)).map_err(|_| lost())?;
        result.await.map_err(|_| lost())?
    }
}

impl Launch {
    pub fn new(command: Command) -> Self {
        Self { command, network: None, cgroup: Vec::new(), keep: Vec::new(), stdin: None, limits: Vec::new() }
    }

    fn start(mut self) -> Result<Started> {
        let program = self.command.get_program().to_string_lossy().into_owned();
        let network = self.network.as_ref().map(AsRawFd::as_raw_fd);
        let doors: Vec<RawFd> = self.cgroup.iter().map(AsRawFd::as_raw_fd).collect();
        let keep: Vec<RawFd> = self.keep.iter().map(AsRawFd::as_raw_fd).collect();
        let limits = std::mem::take(&mut self.limits);
        let parent = std::process::id();
        let stdin = self.stdin.take().map_or_else(Stdio::null, Stdio::from);
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: between fork and exec only system calls are made, on memory that was allocated before.
        unsafe {
            self.command.pre_exec(move || enter(network, &doors, &keep, &limits, parent));
        }
        let mut child = self.command.spawn().map_err(|error| failed(format_args!("start {program}"), error))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(program, "no output"));
        };
        let receiver = |fd: OwnedFd| pipe::Receiver::from_owned_fd(fd).map_err(|error| failed("pipe", error));
        Ok(Started {
            process: Process::of(child.id())?,
            stdout: receiver(stdout.into())?,
            stderr: receiver(stderr.into())?,
        })
    }
}

/// In the child: puts itself where it belongs. Only async-signal-safe calls.
fn enter(
    network: Option<RawFd>,
    doors: &[RawFd],
    keep: &[RawFd],
    limits: &[(libc::__rlimit_resource_t, u64)],
    parent: u32,
) -> io::Result<()> {
    let check = |result: libc::c_int| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    for door in doors {
        // SAFETY: the buffer is a static byte string of one byte, and the descriptor is open.
        let written = unsafe { libc::write(*door, b"0".as_ptr().cast(), 1) };
        check(if written == 1 { 0 } else { -1 })?;
    }
    if let Some(network) = network {
        // SAFETY: setns(2) takes no pointer.
        check(unsafe { libc::setns(network, libc::CLONE_NEWNET) })?;
    }
    for (resource, value) in limits {
        let limit = libc::rlimit { rlim_cur: *value, rlim_max: *value };
        // SAFETY: `limit` is a valid rlimit.
        check(unsafe { libc::setrlimit(*resource, &limit) })?;
    }
    for fd in keep {
        // SAFETY: fcntl(F_SETFD) takes no pointer.
        check(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
    }
    // SAFETY: prctl(PR_SET_PDEATHSIG) and getppid(2) take no pointer.
    let orphan = unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        libc::getppid().cast_unsigned() != parent
    };
    if orphan { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
}

impl Process {
    fn of(pid: u32) -> Result<Self> {
        // SAFETY: pidfd_open(2) takes no pointer, and answers with a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.cast_signed(), libc::PIDFD_NONBLOCK) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(failed("pidfd_open", io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new, so nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: an OwnedFd is open and stays the same descriptor for as long as it is owned.
        let pidfd = unsafe { AsyncFd::register(fd) }.map_err(|error| failed("pidfd", error))?;
        Ok(Self { pid, pidfd })
    }

    pub fn id(&self) -> u32 {
        self.pid
    }

    /// SIGKILL. Never hits another process: the pidfd is the process.
    pub fn kill(&self) {
        // SAFETY: pidfd_send_signal(2) with a null siginfo reads no memory of ours.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
    }

    /// Waits for the end and reaps the process. Once only: (status, signal), one of which is 0.
    pub async fn wait(&self) -> (i32, u32) {
        loop {
            let Ok(mut ready) = self.pidfd.readable().await else { return (-1, 0) };
            // SAFETY: all zeroes is a valid siginfo_t, which the kernel then fills.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let id = self.pidfd.as_raw_fd().cast_unsigned();
            // SAFETY: `info` is valid to write to.
            let result = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | libc::WNOHANG) };
            if result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) {
                return (-1, 0);
            }
            // SAFETY: after a successful waitid(2) these fields of the union are the ones that are set.
            let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
            if result == 0 && pid != 0 {
                return if info.si_code == libc::CLD_EXITED { (status, 0) } else { (0, status.cast_unsigned()) };
            }
            ready.clear_ready();
        }
    }
}
