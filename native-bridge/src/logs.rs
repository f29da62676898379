//! Structured log lines of the bridge, the runner and the applications: to stderr, and kept for `/logs`.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use headstart_base::{Error, ErrorCode, Result, now};
use headstart_sandbox::Stream;
use tokio::sync::broadcast;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::sync::lock;

/// How many bytes of lines are kept. When there are more, those who have most lose their oldest.
const KEPT_BYTES: usize = 8 << 20;
/// What a line takes beside its texts: its entry, its place, and what the allocator adds to four pieces of memory.
const LINE_BYTES: usize = 160;
/// How many lines may wait to be written to stderr. When its reader is slower than that, more are not written; they are kept all the same.
const UNWRITTEN: usize = 4096;
/// How far a reader that follows may lag behind.
const LAG: usize = 4096;
/// How many may follow a tenant's lines at one time, and all tenants' together: each of them holds a connection.
const TENANTS_FOLLOWERS: usize = 16;
const FOLLOWERS: usize = 256;

/// A line, as JSON with its line break.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Both empty for lines of the bridge and the runner.
    pub(crate) tenant: String,
    pub(crate) instance: String,
    pub(crate) json: String,
}

impl Entry {
    /// What it takes of the memory.
    fn bytes(&self) -> usize {
        LINE_BYTES + self.tenant.len() + self.instance.len() + self.json.len()
    }
}

pub(crate) struct Logs {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Entry>>,
    /// Where lines are written to, once [`begin`] has said so.
    written: OnceLock<NonBlocking>,
}

#[derive(Default)]
struct Kept {
    /// By tenant, each line with its number.
    lines: HashMap<String, Lines>,
    bytes: usize,
    last: u64,
    /// How often those who follow a tenant's lines were cut off.
    cuts: HashMap<String, u64>,
    /// How many follow a tenant's lines now.
    followers: HashMap<String, usize>,
}

/// One who follows the lines, until it is dropped.
pub(crate) struct Follower<'a> {
    logs: &'a Logs,
    tenant: String,
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        let mut kept = lock(&self.logs.kept);
        if let Some(count) = kept.followers.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                kept.followers.remove(&self.tenant);
            }
        }
    }
}

#[derive(Default)]
struct Lines {
    lines: VecDeque<(u64, Arc<Entry>)>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, entry: Arc<Entry>) {
        self.last += 1;
        let number = self.last;
        self.bytes += entry.bytes();
        let lines = self.lines.entry(entry.tenant.clone()).or_default();
        lines.bytes += entry.bytes();
        lines.lines.push_back((number, entry));
        while self.bytes > KEPT_BYTES {
            let Some(most) = self.lines.values_mut().max_by_key(|lines| lines.bytes) else { break };
            let Some((_, oldest)) = most.lines.pop_front() else { break };
            most.bytes -= oldest.bytes();
            self.bytes -= oldest.bytes();
        }
    }

    /// All lines in the order in which they came.
    fn all(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.lines.values().flat_map(|lines| lines.lines.iter()).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, entry)| Arc::clone(entry)).collect()
    }

    fn forget(&mut self, tenant: &str) {
        self.bytes -= self.lines.remove(tenant).map_or(0, |lines| lines.bytes);
    }
}

/// The process's logs. (There is one stderr, so there is one of these.)
pub(crate) fn logs() -> &'static Logs {
    static LOGS: OnceLock<Logs> = OnceLock::new();
    LOGS.get_or_init(|| Logs { kept: Mutex::default(), live: broadcast::channel(LAG).0, written: OnceLock::new() })
}

impl Logs {
    /// A line of an application (its tenant and its instance's id) or of the runner (both empty).
    pub(crate) fn line(&self, source: &str, tenant: &str, instance: &str, at: u64, stream: Stream, text: &str) {
        let age = std::time::Duration::from_nanos(now().saturating_sub(at));
        let time = std::time::SystemTime::now()
            .checked_sub(age)
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or(0, |time| time.as_millis() as u64);
        let json = serde_json::json!({
            "time": time, "at": at, "source": source, "tenant": tenant, "instance": instance, "stream": stream, "text": text,
        });
        let entry = Entry { tenant: tenant.to_owned(), instance: instance.to_owned(), json: format!("{json}\n") };
        self.write(entry.json.as_bytes());
        self.keep(entry);
    }

    /// What is kept, and what will come.
    pub(crate) fn follow(&self) -> (Vec<Arc<Entry>>, broadcast::Receiver<Arc<Entry>>) {
        let kept = lock(&self.kept);
        (kept.all(), self.live.subscribe())
    }

    /// A place among those who follow a tenant's lines ("": everybody's). `tooMany` when there are enough.
    pub(crate) fn follower(&self, tenant: &str) -> Result<Follower<'_>> {
        let mut kept = lock(&self.kept);
        let of_tenant = kept.followers.get(tenant).copied().unwrap_or(0);
        let all: usize = kept.followers.values().sum();
        if of_tenant >= TENANTS_FOLLOWERS || all >= FOLLOWERS {
            let message = format!(
                "{of_tenant} readers follow these logs of at most {TENANTS_FOLLOWERS}, {all} any of at most {FOLLOWERS}"
            );
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        *kept.followers.entry(tenant.to_owned()).or_default() += 1;
        Ok(Follower { logs: self, tenant: tenant.to_owned() })
    }

    /// Forgets a tenant's lines, and cuts off who follows them.
    pub(crate) fn forget(&self, tenant: &str) {
        lock(&self.kept).forget(tenant);
        self.cut(tenant);
    }

    /// Ends what follows a tenant's lines: whoever asked for that may not see them any more.
    pub(crate) fn cut(&self, tenant: &str) {
        *lock(&self.kept).cuts.entry(tenant.to_owned()).or_default() += 1;
        // Without a text, only to wake those who follow.
        let woken = Entry { tenant: tenant.to_owned(), instance: String::new(), json: String::new() };
        let _ = self.live.send(Arc::new(woken));
    }

    /// How often a tenant's followers were cut off.
    pub(crate) fn cuts(&self, tenant: &str) -> u64 {
        lock(&self.kept).cuts.get(tenant).copied().unwrap_or(0)
    }

    /// Never waits for who reads our stderr.
    fn write(&self, line: &[u8]) {
        if let Some(written) = self.written.get() {
            // It cannot fail: a line for which there is no room is counted.
            let _ = written.clone().write_all(line);
        }
    }

    fn keep(&self, entry: Entry) {
        let entry = Arc::new(entry);
        lock(&self.kept).push(Arc::clone(&entry));
        // Nobody may be listening.
        let _ = self.live.send(entry);
    }
}

/// Begins to log: JSON lines, level by `HEADSTART_LOG` ("info" unless told otherwise). When what it gives is dropped, the last lines are written.
pub(crate) fn begin() -> WorkerGuard {
    let (written, guard) = NonBlockingBuilder::default()
        .thread_name("log")
        .lossy(true)
        .buffered_lines_limit(UNWRITTEN)
        .finish(std::io::stderr());
    let _ = logs().written.set(written);
    let filter = tracing_subscriber::EnvFilter::try_from_env("HEADSTART_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(|| Tee).init();
    guard
}

/// Writes a line of the bridge to stderr and keeps it.
struct Tee;

impl Write for Tee {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        logs().write(line);
        logs().keep(Entry {
            tenant: String::new(),
            instance: String::new(),
            json: String::from_utf8_lossy(line).into_owned(),
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tenant: &str, json: &str) -> Arc<Entry> {
        Arc::new(Entry { tenant: tenant.to_owned(), instance: String::new(), json: json.to_owned() })
    }

    #[test]
    fn who_floods_loses_its_own_lines() {
        let mut kept = Kept::default();
        kept.push(entry("quiet", "first"));
        let line = "x".repeat(KEPT_BYTES / 100);
        for _ in 0..300 {
            kept.push(entry("loud", &line));
        }
        kept.push(entry("quiet", "last"));
        let all = kept.all();
        assert_eq!((all[0].json.as_str(), all[all.len() - 1].json.as_str()), ("first", "last"));
        assert!(kept.bytes <= KEPT_BYTES && all.len() > 90, "{} {}", kept.bytes, all.len());
        kept.forget("loud");
        let left = [entry("quiet", "first"), entry("quiet", "last")].iter().map(|entry| entry.bytes()).sum();
        assert_eq!((kept.bytes, kept.all().len()), (left, 2));
        kept.forget("nobody");
    }

    #[test]
    fn a_tenant_has_so_many_followers_and_leaves_room_to_others() {
        let logs = Logs { kept: Mutex::default(), live: broadcast::Sender::new(1), written: OnceLock::new() };
        let mut greedy: Vec<_> = (0..TENANTS_FOLLOWERS).map(|_| logs.follower("greedy").unwrap()).collect();
        let refused = logs.follower("greedy").err().map(|error| error.code);
        assert_eq!(refused, Some(ErrorCode::TooMany));
        assert!(logs.follower("other").is_ok());
        greedy.pop();
        assert!(logs.follower("greedy").is_ok());
        drop(greedy);
        assert!(lock(&logs.kept).followers.is_empty());
    }
}
