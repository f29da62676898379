//! A TCP connection spliced to a socketpair, both ways.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headstart_base::{Error, ErrorCode, Result};
use tokio::sync::{mpsc, oneshot};

use crate::end::{End, broken, silent};
use crate::gone::Gone;
use crate::pair;
use crate::socket::{self, Socket};
use crate::status::Status;
use crate::way::{Failed, Way};

/// The application's end of a new socketpair, and what moves its bytes.
pub struct Carried<F> {
    /// To be given to the application, and closed here.
    pub theirs: OwnedFd,
    pub handle: Handle,
    /// Moves the bytes; dropping it closes both sides.
    pub work: F,
}

/// What others know of a carried connection, and may ask of it.
#[derive(Clone, Debug)]
pub struct Handle {
    pub status: Arc<Status>,
    orders: mpsc::Sender<TakeBack>,
}

#[derive(Debug)]
pub(crate) struct TakeBack {
    deadline: Instant,
    answer: oneshot::Sender<Result<()>>,
}

impl Handle {
    /// Takes the server's socket back: the work ends with [`End::TakenBack`]. What the application wrote is with the server
    /// then.
    ///
    /// `connectionBusy` when there are bytes that the application has not read, `connectionReset` when one side has ended,
    /// `deadline` when the server does not take what the application wrote.
    pub async fn take_back(&self, deadline: Instant) -> Result<()> {
        let (answer, asked) = oneshot::channel();
        let over = || Error::new(ErrorCode::ConnectionReset, "the connection has ended");
        self.orders.send(TakeBack { deadline, answer }).await.map_err(|_| over())?;
        asked.await.unwrap_or_else(|_| Err(over()))
    }
}

/// Begins to carry a connected TCP socket. Must be called in a tokio runtime. Where nothing moves for `idle` it is broken off.
pub fn carry(tcp: OwnedFd, idle: Duration) -> io::Result<Carried<impl Future<Output = End> + Send + 'static>> {
    socket::never_block(&tcp)?;
    socket::keep_alive(&tcp)?;
    let (ours, theirs) = pair::new()?;
    let (orders, receiver) = mpsc::channel(1);
    let carrier = Carrier::new(tcp, ours, idle)?;
    let status = Arc::clone(&carrier.status);
    Ok(Carried { theirs, handle: Handle { status, orders }, work: carrier.run(receiver) })
}

pub(crate) struct Carrier {
    tcp: Socket,
    pair: Socket,
    /// From the server to the application.
    down: Way,
    /// From the application to the server.
    up: Way,
    status: Arc<Status>,
    idle: Duration,
}

impl Carrier {
    /// Both sockets must never block.
    pub(crate) fn new(tcp: OwnedFd, pair: OwnedFd, idle: Duration) -> io::Result<Self> {
        Ok(Self {
            tcp: socket::register(tcp)?,
            pair: socket::register(pair)?,
            down: Way::new()?,
            up: Way::new()?,
            status: Arc::new(Status::new()),
            idle,
        })
    }

    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<TakeBack>) -> End {
        let mut gone = None;
        loop {
            if self.down.over && self.up.over {
                return self.finished();
            }
            if self.up.over && gone.is_none() {
                // Without it the end is found when the server sends something, or is silent for too long.
                gone = Gone::watch(self.pair.get_ref()).ok();
            }
            let status = Arc::clone(&self.status);
            let goes_on = tokio::select! {
                down = self.down.run(&self.tcp, &self.pair, |count| status.add_received(count)), if !self.down.over => {
                    self.down_ended(down)
                }
                up = self.up.run(&self.pair, &self.tcp, |count| status.add_sent(count)), if !self.up.over => {
                    self.up_ended(up)
                }
                // The application has half-closed; should it close altogether, nobody is there to receive.
                () = async { if let Some(watch) = &gone { watch.wait().await } }, if gone.is_some() => {
                    self.status.end();
                    false
                }
                () = status.idle(self.idle) => {
                    self.status.break_off(silent(self.idle));
                    socket::reset_on_close(self.tcp.get_ref());
                    false
                }
                Some(TakeBack { deadline, answer }) = orders.recv() => match self.quiesce(deadline).await {
                    Ok(()) => {
                        // Whoever asked may have given up; the socket then closes with the end that nobody looks at.
                        let _ = answer.send(Ok(()));
                        return End::TakenBack(self.tcp.into_inner());
                    }
                    Err(error) => {
                        let _ = answer.send(Err(error));
                        true
                    }
                },
            };
            if !goes_on {
                return self.finished();
            }
        }
    }

    fn finished(&self) -> End {
        match self.status.state() {
            crate::State::Broken(error) => End::Broken(error),
            crate::State::Open | crate::State::Ended => End::Done,
        }
    }

    /// The way from the server is over. Says whether anything goes on.
    fn down_ended(&mut self, how: std::result::Result<(), Failed>) -> bool {
        self.down.over = true;
        match how {
            Ok(()) => {
                // Told before it can be seen.
                self.status.end();
                socket::shut_writing(self.pair.get_ref().as_fd());
                true
            }
            Err(Failed::Source(error)) => {
                self.status.break_off(broken(&error));
                false
            }
            Err(Failed::Target(_)) if socket::is_hung_up(self.pair.get_ref().as_fd()) => {
                // As TCP itself does when a socket is closed with bytes unread.
                self.status.end();
                socket::reset_on_close(self.tcp.get_ref());
                false
            }
            // The application does not want to read any more, but may write.
            Err(Failed::Target(_)) => true,
        }
    }

    /// The way from the application is over. Says whether anything goes on.
    fn up_ended(&mut self, how: std::result::Result<(), Failed>) -> bool {
        self.up.over = true;
        match how {
            Ok(()) => {
                socket::shut_writing(self.tcp.get_ref().as_fd());
                true
            }
            Err(Failed::Target(error)) => {
                // What the server sent before it broke is still to be had.
                self.status.break_off(broken(&error));
                socket::shut_reading(self.pair.get_ref().as_fd());
                true
            }
            Err(Failed::Source(_)) => {
                // It closed its end with bytes unread.
                self.status.end();
                socket::reset_on_close(self.tcp.get_ref());
                false
            }
        }
    }

    /// Brings what the application wrote to the server, and sees that nothing else is on its way.
    async fn quiesce(&mut self, deadline: Instant) -> Result<()> {
        if self.down.over || self.up.over {
            return Err(Error::new(ErrorCode::ConnectionReset, "one side of the connection has ended"));
        }
        let status = Arc::clone(&self.status);
        let flushed = async {
            loop {
                self.up.flush(&self.tcp, |count| status.add_sent(count)).await?;
                if socket::unread(self.pair.get_ref()).map_err(Failed::Source)? == 0 {
                    return Ok(());
                }
                self.up.fill(&self.pair).await?;
            }
        };
        match tokio::time::timeout_at(deadline.into(), flushed).await {
            Ok(Ok(())) => {}
            // The run that follows finds the same.
            Ok(Err(Failed::Source(error) | Failed::Target(error))) => return Err(broken(&error)),
            Err(_) => return Err(Error::new(ErrorCode::Deadline, "the server does not take what was written")),
        }
        let waiting = |fd: io::Result<usize>| fd.map_or(true, |bytes| bytes > 0);
        if self.down.held() > 0
            || waiting(socket::unread_there(self.pair.get_ref()))
            || waiting(socket::unread(self.tcp.get_ref()))
        {
            return Err(Error::new(
                ErrorCode::ConnectionBusy,
                "the connection has bytes that the application has not read",
            ));
        }
        Ok(())
    }
}
