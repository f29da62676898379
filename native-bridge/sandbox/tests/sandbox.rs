//! Real sandboxes of both kinds. Needs root, runsc and bwrap.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{LIMIT, Node, config, folder};
use headstart_sandbox::{Isolation, Limits, SandboxConfig, Sandboxes, Stream};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

const BOTH: [Isolation; 2] = [Isolation::Gvisor, Isolation::Bubblewrap];

#[tokio::test(flavor = "multi_thread")]
async fn an_app_sees_its_files_and_environment_and_says_so() {
    let node = Node::start("hello").await;
    assert_eq!(node.sandboxes.isolations(), ["gvisor", "bubblewrap", "wasm"]);
    for isolation in BOTH {
        let mut spec = node.python(
            "i-hello",
            isolation,
            "import grp, os, pwd, sys, socket\n\
             names = [pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name, os.path.expanduser('~')]\n\
             print(os.environ['GREETING'], names, os.getuid() > 65535, os.getcwd(), sorted(os.listdir('/app')), 'SHELL' in os.environ)\n\
             print(socket.gethostbyname('store.example'), file=sys.stderr)\n\
             for path in ['/app/x', '/usr/x', '/etc/x']:\n\
             \x20   try: open(path, 'w'); print('wrote', path)\n\
             \x20   except OSError: pass\n\
             open('/tmp/x', 'w').write('x'); open('/dev/shm/x', 'w').write('x')\n\
             status = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)\n\
             print(status['CapEff'].strip('0 '), os.path.exists('/root'), os.path.exists('/etc/shadow'))\n\
             sys.exit(7)",
        );
        std::fs::write(spec.bundle.join("function.py"), "x = 1\n").unwrap();
        spec.hosts.push(("store.example".into(), "10.213.255.1".parse().unwrap()));
        let (status, oom, out, err) = node.run(spec).await;
        // gVisor's kernel is its own, and so are its users.
        let who = match isolation {
            Isolation::Gvisor => "['nobody', 'nogroup', '/tmp'] False",
            _ => "['app', 'app', '/tmp'] True",
        };
        let seen = format!("hello {who} /app ['function.py'] False");
        assert_eq!(out, [&*seen, " False False"], "{isolation:?} {err:?}");
        assert_eq!(err, ["10.213.255.1"], "{isolation:?}");
        assert_eq!((status, oom), (7, false), "{isolation:?}");
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_folder_is_reached_by_seqpacket() {
    let node = Node::start("sock").await;
    for isolation in BOTH {
        let spec = node.python(
            "i-sock",
            isolation,
            "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect('/run/headstart/app.sock')\n\
             s.send(b'ping')\nprint(s.recv(100).decode())",
        );
        std::fs::create_dir_all(&spec.socket_dir).unwrap();
        let path = spec.socket_dir.join("app.sock");
        let _ = std::fs::remove_file(&path);
        let server = std::thread::spawn({
            use nix::sys::socket::{
                AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept, bind, listen, socket,
            };
            let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
            use std::os::fd::AsRawFd;
            bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
            listen(&listener, Backlog::new(4).unwrap()).unwrap();
            move || {
                // SAFETY: accept(2) answered with a descriptor that nobody else owns.
                let peer = unsafe { OwnedFd::from_raw_fd(accept(listener.as_raw_fd()).unwrap()) };
                let mut peer = std::fs::File::from(peer);
                let mut buffer = [0; 100];
                let count = peer.read(&mut buffer).unwrap();
                peer.write_all(b"pong").unwrap();
                buffer[..count].to_vec()
            }
        });
        let (status, _, out, err) = node.run(spec).await;
        assert_eq!((status, out), (0, vec!["pong".to_owned()]), "{isolation:?} {err:?}");
        assert_eq!(server.join().unwrap(), b"ping");
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_kills_and_is_told() {
    let node = Node::start("mem").await;
    for isolation in BOTH {
        let mut spec = node.python("i-mem", isolation, "x = bytearray(400 << 20)\nprint('still here')");
        spec.limits.memory = 128 << 20;
        let (status, oom, out, _) = node.run(spec).await;
        assert!(status != 0 && oom && out.is_empty(), "{isolation:?} {status} {oom} {out:?}");
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_processes_are_refused() {
    let node = Node::start("pids").await;
    for isolation in BOTH {
        let mut spec = node.python(
            "i-pids",
            isolation,
            "import os, time\nfor i in range(400):\n    if os.fork() == 0: time.sleep(100)\nprint('all there')",
        );
        spec.limits.pids = 32;
        let (status, _, out, _) = node.run(spec).await;
        assert!(status != 0 && out.is_empty(), "{isolation:?} {status} {out:?}");
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cpu_time_is_bounded() {
    let node = Node::start("cpu").await;
    for isolation in BOTH {
        let throttled = async |cpu_millis| {
            let mut spec = node.python("i-cpu", isolation, "for i in range(6_000_000): pass");
            spec.limits = Limits { cpu_millis, ..spec.limits };
            let (mut sandbox, _lines) = node.spawn(spec).await;
            tokio::time::timeout(LIMIT, sandbox.wait()).await.unwrap();
            let group = node.sandboxes.inventory().sandboxes.remove(0).cgroup;
            let stat = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"]
                .iter()
                .find_map(|root| std::fs::read_to_string(format!("{root}/{group}/cpu.stat")).ok())
                .unwrap();
            sandbox.kill().await;
            let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap();
            count.parse::<u64>().unwrap()
        };
        assert_eq!(throttled(0).await, 0, "{isolation:?}");
        assert!(throttled(150).await >= 3, "{isolation:?}");
    }
    node.end().await;
}

const CONNECT: &str = "import socket, sys\n\
    def attempt(host, port, kind=socket.SOCK_STREAM):\n\
    \x20   s = socket.socket(socket.AF_INET, kind); s.settimeout(0.5)\n\
    \x20   try:\n\
    \x20       s.connect((host, int(port)))\n\
    \x20       if kind == socket.SOCK_STREAM: return s.recv(9).decode()\n\
    \x20       s.send(b'x'); return s.recv(9).decode()\n\
    \x20   except OSError as error: return type(error).__name__\n\
    for target in sys.argv[1:]:\n\
    \x20   print(target, attempt(*target.split(':')))\n\
    print('udp', attempt('10.213.255.1', 53, socket.SOCK_DGRAM))\n\
    l = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(l.getsockname()); print('own loopback')";

#[tokio::test(flavor = "multi_thread")]
async fn an_app_reaches_its_egress_and_nothing_else() {
    let node = Node::start("net").await;
    let serve = |address: &str| {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            while let Ok((mut peer, _)) = listener.accept() {
                let _ = peer.write_all(b"welcome");
            }
        });
        format!("{address}:{port}")
    };
    let (local, allowed, other) = (serve("127.0.0.1"), serve("10.213.255.1"), serve("10.213.255.1"));
    for isolation in BOTH {
        let mut spec = node.python("i-net", isolation, CONNECT);
        spec.command.extend([local.clone(), allowed.clone(), other.clone()]);
        let closed = spec.clone();
        spec.egress.push(allowed.parse().unwrap());
        let (_, _, out, err) = node.run(spec).await;
        assert_eq!(out[1], format!("{allowed} welcome"), "{isolation:?} {out:?} {err:?}");
        assert_eq!(out[4], "own loopback");
        for line in [&out[0], &out[2], &out[3]] {
            assert!(!line.contains("welcome") && line.contains("Error"), "{isolation:?} {line}");
        }
        let (_, _, out, _) = node.run(closed).await;
        assert!(out.len() == 5 && !out.concat().contains("welcome"), "{isolation:?} {out:?}");
    }
    node.end().await;
}

/// A network beyond the host: a namespace with an address of its own. Dropped: removed.
struct Outside(String);

impl Outside {
    /// Makes it, with a server that says welcome at 198.51.100.2: its port.
    fn make() -> (Self, u16) {
        let name = format!("out{}", std::process::id());
        let ip = |arguments: &str| {
            assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "{arguments}");
        };
        ip(&format!("netns add {name}"));
        let outside = Self(name);
        let Self(name) = &outside;
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("address add 198.51.100.1/30 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} address add 198.51.100.2/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        let namespace = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
        let (sender, port) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind("198.51.100.2:0").unwrap();
            sender.send(listener.local_addr().unwrap().port()).unwrap();
            while let Ok((mut peer, from)) = listener.accept() {
                // There is no route to the sandbox's own address: it is masqueraded.
                assert_eq!(from.ip().to_string(), "198.51.100.1");
                let _ = peer.write_all(b"welcome");
            }
        });
        let port = port.recv().unwrap();
        (outside, port)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for set in ["outward", "alone"] {
            let element = format!("{{ {} }}", self.0);
            let _ = Command::new("nft").args(["delete", "element", "ip", "headstart_10_213", set, &element]).status();
        }
        let _ = Command::new("ip").args(["link", "delete", &self.0]).status();
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_reaches_its_egress_beyond_the_host() {
    let node = Node::start("out").await;
    let (_outside, port) = Outside::make();
    let target = format!("198.51.100.2:{port}");
    for isolation in BOTH {
        let mut spec = node.python("i-out", isolation, CONNECT);
        spec.command.push(target.clone());
        let closed = spec.clone();
        spec.egress.push(target.parse().unwrap());
        let (_, _, out, err) = node.run(spec).await;
        assert_eq!(out[0], format!("{target} welcome"), "{isolation:?} {out:?} {err:?}");
        let (_, _, out, _) = node.run(closed).await;
        assert!(!out.concat().contains("welcome"), "{isolation:?} {out:?}");
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_sandboxes_leave_nothing() {
    let node = Node::start("kill").await;
    for isolation in BOTH {
        let program = "import os, time\nif os.fork(): print('up')\ntime.sleep(1000)";
        let (sandbox, mut lines) = node.spawn(node.python("i-kill", isolation, program)).await;
        let line = tokio::time::timeout(LIMIT, lines.recv()).await.unwrap().unwrap();
        assert_eq!((line.stream, line.text.as_str()), (Stream::Stdout, "up"));
        let owned = node.sandboxes.inventory().sandboxes.remove(0);
        assert!(owned.pids.contains(&sandbox.pid()) && owned.pids.len() >= 3, "{owned:?}");
        let begin = Instant::now();
        sandbox.kill().await;
        println!("{isolation:?}: killed and reaped in {:?}", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert!(node.sandboxes.inventory().sandboxes.is_empty());
        assert!(!owned.folder.exists());
        for pid in owned.pids {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z "), "{state}");
        }
        // Dropped instead of killed: the same in the background.
        let (sandbox, _) = node.spawn(node.python("i-drop", isolation, program)).await;
        drop(sandbox);
        let end = Instant::now() + LIMIT;
        while !node.sandboxes.inventory().sandboxes.is_empty() {
            assert!(Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_while_it_makes_namespaces_leaves_none() {
    let folder = folder("ends");
    let sandboxes = Sandboxes::new(SandboxConfig { pool: 6, ..config(&folder) }).await.unwrap();
    let reserved = sandboxes.reserve().await.unwrap();
    let made = sandboxes.inventory().namespaces;
    assert!(!made.is_empty());
    drop(reserved);
    sandboxes.shutdown().await;
    assert_eq!(sandboxes.inventory().namespaces, Vec::<String>::new());
    let tag = sandboxes.inventory().tag;
    let left: Vec<_> = std::fs::read_dir("/run/netns")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(&format!("hs-{tag}-")))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_specs_are_typed_errors() {
    use headstart_base::ErrorCode;
    let node = Node::start("bad").await;
    let good = node.python("i-bad", Isolation::Bubblewrap, "pass");
    let change = |edit: &dyn Fn(&mut headstart_sandbox::Spec)| {
        let mut spec = good.clone();
        edit(&mut spec);
        spec
    };
    let cases = [
        (change(&|spec| spec.id = "../x".into()), ErrorCode::InvalidArgument),
        (change(&|spec| spec.command.clear()), ErrorCode::InvalidArgument),
        (change(&|spec| spec.env.push(("A=B".into(), String::new()))), ErrorCode::InvalidArgument),
        (change(&|spec| spec.env.push(("A;id".into(), String::new()))), ErrorCode::InvalidArgument),
        (change(&|spec| spec.env.push(("A".into(), "\0".into()))), ErrorCode::InvalidArgument),
        (change(&|spec| spec.hosts.push(("a b".into(), [127, 0, 0, 1].into()))), ErrorCode::InvalidArgument),
        (change(&|spec| spec.bundle = "/nowhere".into()), ErrorCode::InvalidArgument),
        (change(&|spec| spec.base = "other".into()), ErrorCode::SandboxUnsupported),
    ];
    for (spec, code) in cases {
        let (sender, _) = tokio::sync::mpsc::channel(1);
        let reservation = node.sandboxes.reserve().await.unwrap();
        let error = node.sandboxes.spawn(spec, reservation, sender).await.err().expect("refused");
        assert_eq!(error.code, code, "{error}");
    }
    // A program that is not there: the sandbox starts, ends and says why.
    for isolation in BOTH {
        let spec = headstart_sandbox::Spec { command: vec!["nothing-here".into()], isolation, ..good.clone() };
        let (status, _, _, err) = node.run(spec).await;
        assert!(status != 0 && err.concat().contains("nothing-here"), "{isolation:?} {status} {err:?}");
    }
    // A second node with the same run folder.
    let error = headstart_sandbox::Sandboxes::new(common::config(&node.folder)).await.err().expect("refused");
    assert_eq!(error.code, ErrorCode::AlreadyExists);
    node.end().await;
}
