//! Structured log lines of the bridge, the runner and the applications: to stderr, and kept for `/logs`.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use headstart_base::now;
use headstart_sandbox::Stream;
use tokio::sync::broadcast;

use crate::sync::lock;

/// How many bytes of lines are kept.
const KEPT_BYTES: usize = 8 << 20;
/// How far a reader that follows may lag behind.
const LAG: usize = 4096;

/// A line, as JSON with its line break.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Both empty for lines of the bridge and the runner.
    pub(crate) tenant: String,
    pub(crate) instance: String,
    pub(crate) json: String,
}

pub(crate) struct Logs {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Entry>>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Arc<Entry>>,
    bytes: usize,
}

/// The process's logs. (There is one stderr, so there is one of these.)
pub(crate) fn logs() -> &'static Logs {
    static LOGS: OnceLock<Logs> = OnceLock::new();
    LOGS.get_or_init(|| Logs { kept: Mutex::default(), live: broadcast::channel(LAG).0 })
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
        write_stderr(entry.json.as_bytes());
        self.keep(entry);
    }

    /// What is kept, and what will come.
    pub(crate) fn follow(&self) -> (Vec<Arc<Entry>>, broadcast::Receiver<Arc<Entry>>) {
        let kept = lock(&self.kept);
        (kept.lines.iter().cloned().collect(), self.live.subscribe())
    }

    fn keep(&self, entry: Entry) {
        let entry = Arc::new(entry);
        let mut kept = lock(&self.kept);
        kept.bytes += entry.json.len();
        kept.lines.push_back(Arc::clone(&entry));
        while kept.bytes > KEPT_BYTES {
            match kept.lines.pop_front() {
                Some(oldest) => kept.bytes -= oldest.json.len(),
                None => break,
            }
        }
        // Nobody may be listening.
        let _ = self.live.send(entry);
    }
}

/// Begins to log: JSON lines, level by `HEADSTART_LOG` ("info" unless told otherwise).
pub(crate) fn begin() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HEADSTART_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(|| Tee).init();
}

/// Writes a line of the bridge to stderr and keeps it.
struct Tee;

impl Write for Tee {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        write_stderr(line);
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

/// A stderr that is closed or full is no reason to stop.
fn write_stderr(line: &[u8]) {
    let _ = std::io::stderr().write_all(line);
}
