//! The clients' probe in Rust: see ../README.md.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::FromRawFd;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use headstart::{Answer, Client, ConnKind, ConnState, Error, Event, Handover, Reply, Result, Wait, id};

const WAIT: Duration = Duration::from_secs(5);

fn number(text: &str) -> u64 {
    text.strip_prefix('#').map_or_else(|| id(text), |digits| digits.parse().unwrap_or_default())
}

fn sum(data: &[u8]) -> u64 {
    data.iter().copied().map(u64::from).sum()
}

fn described(reply: &Reply) -> Result<String> {
    let early = reply.total().is_some_and(|total| (reply.there().len() as u64) < total);
    let data = reply.whole()?;
    let how = if early { "early" } else { "whole" };
    let place = |(path, offset): (&std::path::Path, u64)| format!(" at {offset} of {}", path.display());
    let place = reply.file().map(place).unwrap_or_default();
    Ok(format!("ok {} {} {} {how}{place}", data.len(), sum(data), reply.status()))
}

fn receive(client: &Client, id: &str, content: &str, wait: Wait) -> Result<String> {
    described(&client.recv_msg(number(id), content, wait)?)
}

fn call(client: &Client, request: &str, length: usize) -> Result<String> {
    described(&client.call(request, &[], &vec![b'b'; length], Wait::default())?)
}

fn threads(client: &Client, count: usize, prefix: &str) -> String {
    let together = Arc::new(Barrier::new(count));
    let running: Vec<_> = (0..count)
        .map(|at| {
            let (client, together, name) = (client.clone(), Arc::clone(&together), id(&format!("{prefix}{at}")));
            std::thread::spawn(move || {
                together.wait();
                client.recv_msg(name, "", Wait::default()).is_ok()
            })
        })
        .collect();
    let right = running.into_iter().filter_map(|thread| thread.join().ok()).filter(|right| *right).count();
    format!("ok {right}")
}

fn forked(client: &Client, id: &str, other: &str) -> String {
    let mut ends = [0; 2];
    // SAFETY: pipe fills in two fds, which belong to nobody else.
    let (mut reader, mut writer) = unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        (std::fs::File::from_raw_fd(ends[0]), std::fs::File::from_raw_fd(ends[1]))
    };
    // SAFETY: the one other thread waits for news and holds no lock, so the child may do what it likes.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let line = told(receive(client, id, "", Wait::at_most(WAIT)));
        let _ = writer.write_all(line.as_bytes());
        // SAFETY: ends the child, and runs nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    let mut line = String::new();
    let _ = reader.read_to_string(&mut line);
    // SAFETY: waits for our own child and stores nothing.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    format!("{line}\n{}", told(receive(client, other, "", Wait::at_most(WAIT))))
}

fn stream(socket: std::os::fd::OwnedFd) -> std::fs::File {
    socket.into()
}

fn converse(client: &Client, id: &str, address: &str, text: &str) -> Result<String> {
    let conn = client.get_conn(number(id), address, WAIT)?;
    let kind = match conn.kind {
        ConnKind::Tcp => 1,
        ConnKind::Spliced => 2,
        ConnKind::Tls => 3,
    };
    let mut socket = stream(conn.socket);
    let mut line = String::new();
    let _ = socket.write_all(format!("{text}\n").as_bytes());
    let _ = BufReader::new(socket).read_line(&mut line);
    Ok(format!("ok {kind} {}", line.trim_end()))
}

fn pass(client: &Client, id: &str, address: &str, new: &str) -> Result<String> {
    let conn = client.get_conn(number(id), address, WAIT)?;
    let (handover, _until_then) = match conn.kind {
        ConnKind::Tcp => (Handover::Socket(conn.socket), None),
        ConnKind::Spliced | ConnKind::Tls => (Handover::Number(conn.number), Some(conn.socket)),
    };
    client.transfer_conn(number(new), address, handover)?;
    Ok("ok".into())
}

fn broken(client: &Client, id: &str, address: &str, text: &str) -> Result<String> {
    let conn = client.get_conn(number(id), address, WAIT)?;
    let mut socket = stream(conn.socket);
    let _ = socket.write_all(format!("{text}\n").as_bytes());
    let _ = socket.read_to_end(&mut Vec::new());
    Ok(match client.conn_status(conn.number)?.state {
        ConnState::Open => "ok 0 ok".into(),
        ConnState::Ended => "ok 1 ok".into(),
        ConnState::Broken(code) => format!("ok 2 {}", code.name()),
    })
}

fn told(result: Result<String>) -> String {
    result.unwrap_or_else(|error| format!("error {}", error.code.name()))
}

fn handle(client: &Client, event: &Event) -> std::result::Result<Answer, String> {
    let text = String::from_utf8_lossy(event.data());
    let steps = text.split_once("\n---\n").map_or("", |(_, steps)| steps);
    let mut lines = String::new();
    for step in steps.lines() {
        let mut fields = step.split('\t');
        let mut field = || fields.next().unwrap_or_default();
        let name = field();
        let (a, b, c, d) = (field(), field(), field(), field());
        let size = |text: &str| text.parse::<usize>().unwrap_or_default();
        let line = match name {
            "event" => Ok(format!("ok {} {}", event.data().len(), sum(event.data()))),
            "recv" => {
                let wait = Wait { timeout: Duration::from_millis(size(d) as u64), progressive: c == "progressive" };
                receive(client, a, b, wait)
            }
            "call" => call(client, a, size(b)),
            "churn" => (0..size(b)).try_for_each(|_| call(client, a, 0).map(|_| ())).map(|()| format!("ok {b}")),
            "threads" => Ok(threads(client, size(a), b)),
            "fork" => Ok(forked(client, a, b)),
            "mark" => client.mark(a).map(|()| "ok".into()),
            "send" => client.send_msg(number(a), &vec![b'm'; size(b)]).map(|()| "ok".into()),
            "conn" => converse(client, a, b, c),
            "pass" => pass(client, a, b, c),
            "broken" => broken(client, a, b, c),
            "sleep" => {
                std::thread::sleep(Duration::from_millis(size(a) as u64));
                continue;
            }
            "answer" => return Ok(vec![b'x'; size(a)].into()),
            "status" => return Ok(Answer::new(lines).status(size(a) as u16)),
            "fail" => return Err(a.to_owned()),
            _ => continue,
        };
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{}", told(line));
    }
    Ok(lines.into())
}

fn main() -> std::result::Result<(), Error> {
    let client = Client::new();
    client.connect()?;
    client.map_ahead()?;
    client.serve(|event| handle(&client, event))
}
