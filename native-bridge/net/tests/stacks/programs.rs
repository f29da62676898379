//! Servers as processes of a test, each on a free port of loopback and in a folder of its own, and a sink.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use headstart_base::Result;
use headstart_net::{Address, BodySink, Client, ClientConfig, Done, Reach, Request, ResponseHead, Session, Store};

/// A running server. It is killed, and its folder removed, when this is dropped.
pub(crate) struct Program {
    child: Child,
    folder: PathBuf,
    pub(crate) port: u16,
}

/// A program of the system's; `None`, and a word about it, when it is not installed.
pub(crate) fn installed(name: &str) -> Option<Command> {
    let folders = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut files = folders.unwrap_or_default().into_iter().map(|folder| folder.join(name));
    let found = files.find(|file| file.is_file()).map(|file| ending_with_us(&file));
    if found.is_none() {
        eprintln!("{name} is not installed: nothing is tested against it");
    }
    found
}

/// moto's server, from where the set-up put it.
pub(crate) fn moto() -> Option<Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.headstart/moto");
    if !folder.join("moto").is_dir() {
        eprintln!("moto is not installed: nothing is tested against it");
        return None;
    }
    let mut command = ending_with_us(Path::new("/usr/bin/python3"));
    command.args(["-m", "moto.server"]).env("PYTHONPATH", folder);
    Some(command)
}

/// A command that the kernel kills with the test's thread, whatever becomes of that.
fn ending_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Program {
    /// Starts a program with the arguments that `args` makes of its port and folder, and waits until it listens.
    pub(crate) fn start(mut command: Command, args: impl Fn(u16, &str) -> Vec<String>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("hs-net-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        command.args(args(port, folder.to_str().unwrap()));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, folder, port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub(crate) fn address(&self, scheme: &str) -> Address {
        Address::parse(&format!("{scheme}://127.0.0.1:{}", self.port)).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Collects a body.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) bytes: Vec<u8>,
    buffer: Vec<u8>,
}

impl BodySink for Sink {
    fn begin(&mut self, _head: &ResponseHead) -> Result<()> {
        self.bytes.clear();
        Ok(())
    }

    fn space(&mut self) -> Result<&mut [u8]> {
        self.buffer.resize(64 << 10, 0);
        Ok(&mut self.buffer)
    }

    fn filled(&mut self, count: usize) {
        self.bytes.extend_from_slice(&self.buffer[..count]);
    }
}

pub(crate) fn client() -> Client {
    Client::new(ClientConfig { reach: Reach::Spelled, ..ClientConfig::default() })
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Says something on a connection of one's own: the status and the body.
pub(crate) async fn say(session: &Session, raw: impl AsRef<[u8]>) -> (u16, Vec<u8>) {
    let request = Request::parse(session.address(), raw.as_ref()).unwrap();
    let mut sink = Sink::default();
    let done = session.send(&request, soon(), &mut sink, &mut |_| {}).await.unwrap();
    assert_eq!(done.length, sink.bytes.len() as u64);
    (done.head.status, sink.bytes)
}

/// Asks over the client's own connections.
pub(crate) async fn ask(
    client: &Client,
    address: &Address,
    store: Option<&Store>,
    raw: &[u8],
) -> Result<(Done, Vec<u8>)> {
    let request = Request::parse(address, raw)?;
    let mut sink = Sink::default();
    let done = client.send("t", address, store, &request, soon(), &mut sink, &mut |_| {}).await?;
    Ok((done, sink.bytes))
}
