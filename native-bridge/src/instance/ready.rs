//! Whether the application is ready, and reaching it from outside: for services.

use std::time::Duration;

use headstart_base::{Error, ErrorCode, Nanos, Result};
use headstart_sandbox::Inside;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::instance::{Instance, closed, error};

/// Between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(2);

/// What shows that an application is ready.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rule {
    /// It accepts a connection on this port.
    Port(u16),
    /// There is such a file in the sandbox.
    File(String),
    /// It has sent its initscript the message with this id (a number in decimal: JSON's have 53 bits).
    Message(String),
}

impl Instance {
    /// Waits until the application is ready. `notReady` after `within`, `instanceClosed` when the instance ends.
    pub(crate) async fn ready(&self, rule: &Rule, within: Duration) -> Result<()> {
        let looking = async {
            let mut pause = FIRST_PAUSE;
            while !self.is_ready(rule).await {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            }
        };
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(closed()),
            looked = tokio::time::timeout(within, looking) => looked.map(|()| self.has_started()).map_err(|_| {
                let what = match rule {
                    Rule::Port(port) => format!("it accepts no connection on port {port}"),
                    Rule::File(path) => format!("there is no {path:.200} in its sandbox"),
                    Rule::Message(id) => format!("it has not sent message {id:.20}"),
                };
                error(ErrorCode::NotReady, format!("not ready after {} ms: {what}", within.as_millis()))
            }),
        }
    }

    async fn is_ready(&self, rule: &Rule) -> bool {
        let look = async {
            match rule {
                Rule::Port(port) => self.dial(*port).await.is_ok(),
                Rule::File(path) => match self.inside() {
                    Ok(inside) => inside.has_file(path).await,
                    Err(_) => false,
                },
                Rule::Message(id) => id.parse().is_ok_and(|id| self.lock().inbox.has(id)),
            }
        };
        tokio::time::timeout(LOOK, look).await.unwrap_or(false)
    }

    /// A connection to a port of the application.
    pub(crate) async fn dial(&self, port: u16) -> Result<TcpStream> {
        self.inside()?.dial(port).await
    }

    /// Sends the application a signal.
    pub(crate) async fn signal(&self, signal: i32) -> Result<()> {
        self.inside()?.signal(signal).await
    }

    pub(crate) fn started_at(&self) -> Nanos {
        self.lock().started_at
    }

    fn inside(&self) -> Result<Inside> {
        let inside = self.lock().inside.clone();
        inside.ok_or_else(|| Error::new(ErrorCode::NotReady, "the sandbox is not there yet"))
    }
}
