//! Child processes with a pidfd each, started from one thread that lives as long as we do.
//!
//! Children are told to die with their parent (PR_SET_PDEATHSIG), and for the kernel the parent is the *thread* that
//! forked: a worker of the runtime may end at any time, our own thread does not.

use crate::failure::failed;
use crate::vfork::{self, Surroundings};
use headstart_base::{Error, ErrorCode, Result};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::mpsc;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// What to start, and in which surroundings.
pub struct Launch {
    /// Program, arguments, working directory, and all of its environment: it has nothing of ours.
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

    fn start(self) -> Result<Started> {
        let program = self.command.get_program().to_string_lossy().into_owned();
        let (stdout, stderr) = (new_pipe()?, new_pipe()?);
        let stdin = match self.stdin {
            Some(stdin) => stdin,
            None => File::open("/dev/null").map_err(|error| failed("/dev/null", error))?.into(),
        };
        let surroundings = Surroundings {
            streams: [stdin.as_raw_fd(), stdout.1.as_raw_fd(), stderr.1.as_raw_fd()],
            network: self.network.as_ref().map(AsRawFd::as_raw_fd),
            doors: self.cgroup.iter().map(AsRawFd::as_raw_fd).collect(),
            keep: self.keep.iter().map(AsRawFd::as_raw_fd).collect(),
            limits: self.limits,
        };
        let started = vfork::spawn(&self.command, &surroundings);
        let pid = started.map_err(|error| failed(format_args!("start {program}"), error))?;
        let receiver = |fd: OwnedFd| pipe::Receiver::from_owned_fd(fd).map_err(|error| failed("pipe", error));
        Ok(Started { process: Process::of(pid)?, stdout: receiver(stdout.0)?, stderr: receiver(stderr.0)? })
    }
}

/// (reading end, writing end)
pub(crate) fn new_pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|error| failed("pipe", error))
}

impl Process {
    pub(crate) fn of(pid: u32) -> Result<Self> {
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
