//! Keeps one runner running: starts it, listens to its heart, ends it when it is stalled, replaces it when it is dead.

use crate::boxed;
use crate::config::{End, RunnerConfig, State, Status, group};
use crate::socket::{self, ping};
use headstart_base::{Nanos, Result, now};
use headstart_sandbox::{Cgroup, Hierarchies, Line, Process, Spawner, Started, Stream, User, Users, forward};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

const BEAT: Duration = Duration::from_millis(250);
/// How often one is asked that uses no CPU time: such a one cannot be stalled.
const IDLE_BEAT: Duration = Duration::from_secs(2);
/// How often a starting runner is asked.
const START_BEAT: Duration = Duration::from_millis(3);
/// A runner that is not ready by then is replaced.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Missed beats after which a runner that uses the CPU is stalled.
const MISSED: u32 = 2;
/// CPU time within the missed beats, in ticks of 10 ms: an answer takes far less.
const STALL_TICKS: u64 = 20;
/// A runner that neither answers nor uses the CPU (a busy machine) has this long.
const SILENT_LIMIT: Duration = Duration::from_secs(15);
const END_LIMIT: Duration = Duration::from_secs(5);
/// A runner that lived this long was a good one: the next one starts at once. (What ends it then is a script.)
const GOOD_LIFE: Duration = Duration::from_secs(1);
const FIRST_DELAY: Duration = Duration::from_millis(20);
const LAST_DELAY: Duration = Duration::from_secs(5);

/// What all runners of a node are started with.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) config: RunnerConfig,
    hierarchies: Hierarchies,
    spawner: Spawner,
    users: Users,
    lines: mpsc::Sender<Line>,
    /// How many processes were started.
    started: Arc<AtomicU32>,
}

impl Ground {
    pub(crate) fn new(config: RunnerConfig, users: Users, lines: mpsc::Sender<Line>) -> Result<Self> {
        let (hierarchies, spawner) = (Hierarchies::find()?, Spawner::new()?);
        Ok(Self { config, hierarchies, spawner, users, lines, started: Arc::default() })
    }

    pub(crate) fn started(&self) -> u32 {
        self.started.load(Ordering::Relaxed)
    }

    /// After the last runner has ended.
    pub(crate) fn remove_groups(&self) {
        self.hierarchies.remove_empty(&format!("headstart/{}", headstart_sandbox::tag(&self.config.run_dir)));
    }
}

/// A supervised runner: one process at a time, and the next one when it ends.
pub(crate) struct Runner {
    /// Among the node's runners.
    pub(crate) number: u32,
    /// What its processes run as, one after the other.
    pub(crate) user: u32,
    socket: PathBuf,
    status: watch::Receiver<Status>,
    stop: watch::Sender<bool>,
    say: Say,
}

impl Runner {
    /// Starts workerd in its box, and keeps one running from now on. Call it within a runtime.
    ///
    /// Errors: the node has no user left for it.
    pub(crate) fn start(ground: &Ground, number: u32) -> Result<Arc<Self>> {
        let user = ground.users.take()?;
        let (told, status) = watch::channel(Status {
            pid: 0,
            generation: 0,
            state: State::Starting,
            last_end: End::None,
            last_heard: 0,
        });
        let (stop, stopped) = watch::channel(false);
        let socket = ground.config.socket(number);
        let say = Say { number, lines: ground.lines.clone() };
        let id = user.id();
        let supervisor = Supervisor {
            ground: ground.clone(),
            number,
            user,
            socket: socket.clone(),
            status: told,
            stopped,
            say: say.clone(),
            heard: 0,
        };
        tokio::spawn(supervisor.run());
        Ok(Arc::new(Self { number, user: id, socket, status, stop, say }))
    }

    pub(crate) fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Waits until the runner answers; false after `limit`.
    pub(crate) async fn ready(&self, limit: Duration) -> bool {
        let mut status = self.status.clone();
        let ready = status.wait_for(|status| status.state == State::Ready);
        matches!(tokio::time::timeout(limit, ready).await, Ok(Ok(_)))
    }

    /// Begins to end the runner for good.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it has ended for good and all of it is reaped.
    pub(crate) fn is_over(&self) -> bool {
        // The supervisor drops its sender then.
        self.status.has_changed().is_err()
    }

    /// Ends the runner for good, and reaps all of it.
    pub(crate) async fn shutdown(&self) {
        self.stop();
        let mut status = self.status.clone();
        // The supervisor drops its sender when all is reaped.
        while status.changed().await.is_ok() {}
    }

    /// Connects to its socket.
    pub(crate) async fn connect(&self) -> Result<UnixStream> {
        socket::connect(&self.socket, self.user).await
    }

    /// Whether it answers in time.
    pub(crate) async fn answers(&self, limit: Duration) -> bool {
        ping(&self.socket, self.user, limit).await
    }

    pub(crate) fn say(&self, text: &str) {
        self.say.say(text);
    }
}

/// Our own lines about a runner, among its own.
#[derive(Clone)]
struct Say {
    number: u32,
    lines: mpsc::Sender<Line>,
}

impl Say {
    fn say(&self, text: &str) {
        let text = format!("runner {}: {text}", self.number);
        tracing::info!("{text}");
        // Who reads too slowly misses a line: the log above has it.
        let _ = self.lines.try_send(Line { at: now(), stream: Stream::Stderr, text });
    }
}

struct Supervisor {
    ground: Ground,
    number: u32,
    user: User,
    socket: PathBuf,
    status: watch::Sender<Status>,
    stopped: watch::Receiver<bool>,
    say: Say,
    /// When the present runner last answered.
    heard: Nanos,
}

impl Supervisor {
    async fn run(mut self) {
        let mut delay = Duration::ZERO;
        while !*self.stopped.borrow() {
            let begin = Instant::now();
            let generation = self.status.borrow().generation + 1;
            self.tell(0, generation, State::Starting);
            let (cause, end) = match self.live(generation).await {
                Ok(end) => end,
                Err(error) => (End::Exited, error.message),
            };
            let heard = self.heard;
            self.status.send_replace(Status {
                pid: 0,
                generation,
                state: State::Dead,
                last_end: cause,
                last_heard: heard,
            });
            if *self.stopped.borrow() {
                break;
            }
            delay = next_delay(delay, begin.elapsed());
            self.say
                .say(&format!("process {generation} ended: {end}; the next one starts in {} ms", delay.as_millis()));
            let stopped = self.stopped.wait_for(|stopped| *stopped);
            let _ = tokio::time::timeout(delay, stopped).await;
        }
        if let Some(folder) = self.socket.parent() {
            // What is left is removed with the run folder's other leftovers.
            let _ = std::fs::remove_dir_all(folder);
        }
        // Of a process whose start broke off, say.
        if self.leftover().destroy(END_LIMIT).await.is_ok() {
            self.user.give_back();
        }
    }

    /// What there may be of a process before.
    fn leftover(&self) -> Cgroup {
        Cgroup::leftover(&self.ground.hierarchies, &self.ground.config.run_dir, &group(self.number))
    }

    fn tell(&self, pid: u32, generation: u32, state: State) {
        self.status.send_modify(|status| *status = Status { pid, generation, state, ..*status });
    }

    /// One runner's life: how it ended.
    async fn live(&mut self, generation: u32) -> Result<(End, String)> {
        let Ground { config, hierarchies, spawner, lines, started, .. } = self.ground.clone();
        // What is left in the group (of a bridge that was killed, say) would share the new one's limits.
        self.leftover().destroy(END_LIMIT).await?;
        let (number, user) = (self.number, self.user.id());
        let prepare = move || {
            let cgroup = boxed::cgroup(&config, number, &hierarchies)?;
            Ok((boxed::launch(&config, number, user, &cgroup)?, cgroup))
        };
        let (Started { process, stdout, stderr }, cgroup) = spawner.start(prepare).await?;
        started.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(forward(stdout, Stream::Stdout, lines.clone()));
        let (sender, words) = mpsc::channel(64);
        tokio::spawn(forward(stderr, Stream::Stderr, sender));
        let last_words = tokio::spawn(listen(words, lines));
        let mut stopped = self.stopped.clone();
        let end = tokio::select! {
            end = exit_of(&process, &cgroup) => end,
            cause = self.watch(generation, &cgroup) => cause,
            _ = stopped.wait_for(|stopped| *stopped) => (End::Exited, "shut down".into()),
        };
        cgroup.destroy(END_LIMIT).await?;
        let _ = tokio::time::timeout(END_LIMIT, process.wait()).await;
        match (end, tokio::time::timeout(END_LIMIT, last_words).await) {
            ((End::Exited, text), Ok(Ok(true))) => Ok((End::Memory, format!("its heap was full ({text})"))),
            (end, _) => Ok(end),
        }
    }

    /// Listens to a runner's heart until there is a reason to end it.
    async fn watch(&mut self, generation: u32, cgroup: &Cgroup) -> (End, String) {
        let socket = self.socket.clone();
        let begin = Instant::now();
        while !ping(&socket, self.user.id(), BEAT).await {
            if begin.elapsed() > START_LIMIT {
                return (End::Exited, format!("no answer in {} s", START_LIMIT.as_secs()));
            }
            tokio::time::sleep(START_BEAT).await;
        }
        let Some(pid) = boxed::workerd_of(cgroup) else { return (End::Exited, "workerd is gone".into()) };
        self.tell(pid, generation, State::Ready);
        let mut ticks = boxed::cpu_ticks(pid);
        let mut heard = Instant::now();
        self.heard = now();
        let mut asked = heard;
        let mut missed = 0;
        loop {
            let beat = Instant::now();
            let idle = missed == 0 && ticks.is_some() && boxed::cpu_ticks(pid) == ticks;
            if idle && asked.elapsed() < IDLE_BEAT {
                // As good as an answer.
                heard = Instant::now();
                self.heard = now();
                tokio::time::sleep(BEAT).await;
                continue;
            }
            asked = beat;
            if ping(&socket, self.user.id(), BEAT).await {
                missed = 0;
                heard = Instant::now();
                self.heard = now();
                ticks = boxed::cpu_ticks(pid);
            } else {
                missed += 1;
                let used = boxed::cpu_ticks(pid).zip(ticks).map_or(0, |(now, then)| now.saturating_sub(then));
                if missed >= MISSED && used >= STALL_TICKS {
                    self.tell(pid, generation, State::Stalled);
                    let silence = heard.elapsed().as_millis();
                    let text = format!("stalled: no answer for {silence} ms, {} ms of CPU time", used * 10);
                    return (End::Stalled, text);
                }
                if heard.elapsed() > SILENT_LIMIT {
                    self.tell(pid, generation, State::Stalled);
                    return (End::Exited, format!("silent for {} s", SILENT_LIMIT.as_secs()));
                }
            }
            tokio::time::sleep(BEAT.saturating_sub(beat.elapsed())).await;
        }
    }
}

/// Passes the runner's lines on. True when one said that V8 ended it for want of memory: workerd's exit status does not.
async fn listen(mut lines: mpsc::Receiver<Line>, sink: mpsc::Sender<Line>) -> bool {
    let mut full = false;
    while let Some(line) = lines.recv().await {
        full |= line.text.contains("V8 fatal error") && line.text.contains("out of memory");
        // Who reads too slowly misses a line.
        let _ = sink.try_send(line);
    }
    full
}

async fn exit_of(process: &Process, cgroup: &Cgroup) -> (End, String) {
    let (status, signal) = process.wait().await;
    // What bubblewrap says of a signal that ended workerd.
    let signal = if (129..=192).contains(&status) { status.unsigned_abs() - 128 } else { signal };
    match (cgroup.oom_killed(), signal) {
        (true, _) => (End::Memory, "it reached its memory limit".into()),
        (_, 0) => (End::Exited, format!("status {status}")),
        _ => (End::Exited, format!("signal {signal}")),
    }
}

/// At once after a good life, else doubling: a runner that cannot start must not keep the machine busy.
fn next_delay(delay: Duration, life: Duration) -> Duration {
    if life >= GOOD_LIFE { Duration::ZERO } else { (delay * 2).clamp(FIRST_DELAY, LAST_DELAY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_back_off_and_recover() {
        let mut delay = Duration::ZERO;
        let mut delays = Vec::new();
        for _ in 0..10 {
            delay = next_delay(delay, Duration::from_millis(30));
            delays.push(delay.as_millis());
        }
        assert_eq!(delays, [20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000]);
        assert_eq!(next_delay(delay, GOOD_LIFE), Duration::ZERO);
    }
}
