//! Starts programs as vfork(2) does: the child borrows our memory until it becomes its program. A fork(2) would copy the page
//! tables of all that the bridge holds, and then let its threads fault on each page that they write to.
//!
//! Until its exec the child makes system calls only, on memory that was allocated before: the thread that started it waits
//! for that, the others do not.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;

/// The child's stack: some frames of system calls.
const STACK_BYTES: usize = 64 << 10;
const LAST_SIGNAL: c_int = 64;

/// Where a child is put before it becomes its program.
#[derive(Default)]
pub(crate) struct Surroundings {
    /// Its standard input, output and error; none of them below 3.
    pub(crate) streams: [RawFd; 3],
    /// A network namespace.
    pub(crate) network: Option<RawFd>,
    /// Files into which it writes `0` (see [`crate::Cgroup::doors`]).
    pub(crate) doors: Vec<RawFd>,
    /// Descriptors that it keeps, under their numbers.
    pub(crate) keep: Vec<RawFd>,
    /// (resource, soft and hard limit).
    pub(crate) limits: Vec<(libc::__rlimit_resource_t, u64)>,
}

/// What execve(2) is given.
struct Program {
    path: CString,
    arguments: Vec<CString>,
    variables: Vec<CString>,
    folder: Option<CString>,
}

impl Program {
    /// Its environment is what the command sets, and nothing of ours.
    fn of(command: &Command) -> io::Result<Self> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
        let path = find(Path::new(command.get_program()))?;
        let arguments = std::iter::once(command.get_program()).chain(command.get_args()).map(text);
        let variables = command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value)));
        let variable = |(name, value): (&OsStr, &OsStr)| text(&[name, value].join(OsStr::new("=")));
        Ok(Self {
            path: text(path.as_os_str())?,
            arguments: arguments.collect::<io::Result<_>>()?,
            variables: variables.map(variable).collect::<io::Result<_>>()?,
            folder: command.get_current_dir().map(|folder| text(folder.as_os_str())).transpose()?,
        })
    }
}

/// The program's file: as named, or in one of our PATH's folders.
fn find(program: &Path) -> io::Result<PathBuf> {
    if program.as_os_str().as_bytes().contains(&b'/') {
        return Ok(program.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

/// All that the child uses, and where it leaves the error of what did not work.
struct Child<'a> {
    path: &'a CStr,
    arguments: Vec<*const c_char>,
    variables: Vec<*const c_char>,
    folder: Option<&'a CStr>,
    surroundings: &'a Surroundings,
    parent: libc::pid_t,
    error: c_int,
}

/// Starts the command's program in the surroundings given; its environment is what the command sets and nothing else. The child dies with the
/// thread that calls this. Answers with its process id, which is the caller's to wait for.
///
/// Errors: what the program's file or a part of the surroundings answered, when that is no program's process yet.
pub(crate) fn spawn(command: &Command, surroundings: &Surroundings) -> io::Result<u32> {
    let program = Program::of(command)?;
    let pointers = |texts: &[CString]| -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain(std::iter::once(ptr::null())).collect()
    };
    let mut child = Child {
        path: &program.path,
        arguments: pointers(&program.arguments),
        variables: pointers(&program.variables),
        folder: program.folder.as_deref(),
        surroundings,
        parent: std::process::id().cast_signed(),
        error: 0,
    };
    let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let argument = (&raw mut child).cast::<c_void>();
    // No handler of ours may run in the child, on our memory: it inherits that all signals are blocked, and takes the handlers away first.
    let blocked = Blocked::all()?;
    // SAFETY: the stack is aligned and is the child's alone, `child` is a `Child`, and both outlive the call, which returns when the child has
    // become its program or has ended. It allocates nothing, takes no lock, and its errno is this thread's, which waits.
    let pid = unsafe { libc::clone(enter, top, flags, argument) };
    let outcome = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) };
    drop(blocked);
    let pid = outcome?;
    // SAFETY: valid; the child wrote to it behind the compiler's back.
    let error = unsafe { ptr::read_volatile(&raw const child.error) };
    if error == 0 {
        return Ok(pid.cast_unsigned());
    }
    // SAFETY: waitpid(2) may be told no status; the child has ended, so that it does not wait.
    unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
    Err(io::Error::from_raw_os_error(error))
}

/// This thread's signals, blocked until it is dropped.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all() -> io::Result<Self> {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: both are valid to write to; sigfillset(3) initialises the first, pthread_sigmask(3) the second when it answers 0.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) {
                0 => Ok(Self(before.assume_init())),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is initialised, and the old one may be null.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// The child. Its return is its end.
extern "C" fn enter(argument: *mut c_void) -> c_int {
    // SAFETY: `spawn` gives a `Child` that nobody else touches meanwhile.
    let child = unsafe { &mut *argument.cast::<Child<'_>>() };
    let error = match become_program(child) {
        Ok(never) => match never {},
        Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
    };
    // SAFETY: valid, and read by the parent behind the compiler's back.
    unsafe { ptr::write_volatile(&raw mut child.error, error) };
    127
}

fn become_program(child: &Child<'_>) -> io::Result<std::convert::Infallible> {
    place(child.surroundings)?;
    if let Some(folder) = child.folder {
        // SAFETY: a string with its zero.
        check(unsafe { libc::chdir(folder.as_ptr()) })?;
    }
    // SAFETY: prctl(PR_SET_PDEATHSIG) and getppid(2) take no pointer.
    let orphan = unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        libc::getppid() != child.parent
    };
    if orphan {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    default_signals();
    // SAFETY: a string, and two lists of strings that end with null.
    unsafe { libc::execve(child.path.as_ptr(), child.arguments.as_ptr(), child.variables.as_ptr()) };
    Err(io::Error::last_os_error())
}

fn place(surroundings: &Surroundings) -> io::Result<()> {
    for door in &surroundings.doors {
        // SAFETY: the buffer is a static byte string of one byte, and the descriptor is open.
        let written = unsafe { libc::write(*door, b"0".as_ptr().cast(), 1) };
        check(if written == 1 { 0 } else { -1 })?;
    }
    if let Some(network) = surroundings.network {
        // SAFETY: setns(2) takes no pointer.
        check(unsafe { libc::setns(network, libc::CLONE_NEWNET) })?;
    }
    for (resource, value) in &surroundings.limits {
        let limit = libc::rlimit { rlim_cur: *value, rlim_max: *value };
        // SAFETY: `limit` is a valid rlimit.
        check(unsafe { libc::setrlimit(*resource, &limit) })?;
    }
    for (number, stream) in (0..).zip(surroundings.streams) {
        // SAFETY: dup2(2) takes no pointer.
        check(unsafe { libc::dup2(stream, number) })?;
    }
    for fd in &surroundings.keep {
        // SAFETY: fcntl(F_SETFD) takes no pointer.
        check(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
    }
    Ok(())
}

/// No handler of ours, SIGPIPE as programs expect it (Rust ignores it), and no signal blocked.
fn default_signals() {
    for signal in 1..=LAST_SIGNAL {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all zeroes is a valid sigaction (SIG_DFL). The kernel refuses what cannot be asked or changed, and that stays as it is.
        unsafe {
            if libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) != 0 {
                continue;
            }
            let ignored = action.assume_init_ref().sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
            if !ignored {
                libc::sigaction(signal, MaybeUninit::zeroed().as_ptr(), ptr::null_mut());
            }
        }
    }
    let mut none = MaybeUninit::uninit();
    // SAFETY: `none` is valid to write to, and sigemptyset(3) initialises it.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsRawFd, OwnedFd};

    /// Status and output of a command.
    fn run(command: &Command, mut surroundings: Surroundings) -> io::Result<(c_int, String)> {
        let null = File::open("/dev/null")?;
        let (reader, writer): (OwnedFd, OwnedFd) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        surroundings.streams = [null.as_raw_fd(), writer.as_raw_fd(), writer.as_raw_fd()];
        let pid = spawn(command, &surroundings)?;
        drop(writer);
        let mut output = String::new();
        File::from(reader).read_to_string(&mut output)?;
        let mut status = 0;
        // SAFETY: `status` is valid to write to.
        unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) };
        Ok((libc::WEXITSTATUS(status), output))
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("GIVEN", "a b=c").current_dir("/usr");
        command
    }

    #[test]
    fn a_program_has_what_it_was_given_and_nothing_of_ours() {
        let (status, output) = run(&shell("pwd; echo $GIVEN; env | wc -l; exit 7"), Surroundings::default()).unwrap();
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!((status, &lines[..2]), (7, &["/usr", "a b=c"][..]));
        // The shell adds PWD, and some OLDPWD, _ or SHLVL.
        assert!(lines[2].trim().parse::<u32>().unwrap() <= 5, "{output}");
    }

    #[test]
    fn descriptors_end_with_exec_unless_they_are_kept() {
        let (kept, lost) = (File::open("/dev/null").unwrap(), File::open("/dev/null").unwrap());
        let [kept_number, lost_number] = [&kept, &lost].map(|file| file.as_raw_fd());
        let script = format!("for n in {kept_number} {lost_number}; do test -e /proc/$$/fd/$n && echo $n; done");
        let surroundings = Surroundings { keep: vec![kept_number], ..Surroundings::default() };
        assert_eq!(run(&shell(&script), surroundings).unwrap().1, format!("{kept_number}\n"));
    }

    #[test]
    fn signals_are_as_at_a_login() {
        let script = "while read -r name set; do case $name in Sig[BI]*) echo $set;; esac; done < /proc/$$/status";
        let (_, output) = run(&shell(script), Surroundings::default()).unwrap();
        let sets: Vec<u64> = output.lines().map(|set| u64::from_str_radix(set, 16).unwrap()).collect();
        // Blocked, ignored: what we were started with may be ignored, SIGPIPE is not.
        assert_eq!((sets[0], sets[1] & 1 << (libc::SIGPIPE - 1)), (0, 0), "{output}");
        // And ours are as they were.
        let ours = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(ours.contains("SigBlk:\t0000000000000000"), "{ours}");
    }

    #[test]
    fn limits_are_the_childs_own() {
        let surroundings = Surroundings { limits: vec![(libc::RLIMIT_NOFILE, 77)], ..Surroundings::default() };
        assert_eq!(run(&shell("ulimit -n"), surroundings).unwrap().1, "77\n");
        let mut ours = MaybeUninit::uninit();
        // SAFETY: valid to write to, and initialised where the answer is 0.
        let ours = unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, ours.as_mut_ptr()), 0);
            ours.assume_init()
        };
        assert_ne!(ours.rlim_cur, 77);
    }

    #[test]
    fn what_does_not_work_is_told() {
        let error = |command: &Command, surroundings| run(command, surroundings).unwrap_err().raw_os_error();
        assert_eq!(error(&Command::new("/nowhere/program"), Surroundings::default()), Some(libc::ENOENT));
        assert_eq!(error(&Command::new("no-program-has-this-name"), Surroundings::default()), Some(libc::ENOENT));
        assert_eq!(error(&Command::new("/etc/passwd"), Surroundings::default()), Some(libc::EACCES));
        let nowhere = |change: fn(&mut Surroundings)| {
            let mut surroundings = Surroundings::default();
            change(&mut surroundings);
            error(&shell("true"), surroundings)
        };
        assert_eq!(nowhere(|it| it.network = Some(9999)), Some(libc::EBADF));
        assert_eq!(nowhere(|it| it.doors = vec![9999]), Some(libc::EBADF));
        assert_eq!(nowhere(|it| it.keep = vec![9999]), Some(libc::EBADF));
    }

    #[test]
    fn many_threads_start_programs_at_once() {
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    for _ in 0..20 {
                        let (status, output) = run(&shell(&format!("echo {number}")), Surroundings::default()).unwrap();
                        assert_eq!((status, output), (0, format!("{number}\n")));
                    }
                });
            }
        });
    }
}
