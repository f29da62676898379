//! An object as a file of the sandbox.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use headstart::{Client, Code, Reply, Wait, id};

use crate::error::{Error, Result};
use crate::mark;
use crate::s3::Store;

/// Snapshots are large, and links slow.
const LONGEST: Duration = Duration::from_secs(300);
/// Bytes that are waited for before they are written.
const PIECE: u64 = 1 << 20;

/// Where states come from.
#[derive(Debug)]
pub struct State {
    client: Client,
    /// The program's own way, where the environment names one.
    store: Option<Store>,
}

impl State {
    pub fn from_env() -> Self {
        Self { client: Client::new(), store: Store::from_env() }
    }

    /// Has the object at "s3://bucket/key" in the file: received there already, written from the initscript's reply while that
    /// comes, or fetched without it. Stamps what was done.
    pub fn restore(&self, url: &str, path: &Path) -> Result<()> {
        match self.claim(url, path)? {
            Some(reply) => take(url, &reply, path)?,
            None => match &self.store {
                Some(store) => {
                    let bytes = store.download(url, path)?;
                    mark(&format!("state received: {bytes} bytes by its own client, written as they came"));
                }
                None => take(url, &self.called(url)?, path)?,
            },
        }
        mark("file written");
        Ok(())
    }

    /// A small object that belongs to a state.
    pub fn write_small(&self, url: &str, path: &Path) -> Result<()> {
        match self.claim(url, path)? {
            Some(reply) => write(url, &reply, path).map(|_| ()),
            None => match &self.store {
                Some(store) => store.download(url, path).map(|_| ()),
                None => write(url, &self.called(url)?, path).map(|_| ()),
            },
        }
    }

    /// What the initscript sends under this content; none when it does not.
    fn claim(&self, url: &str, path: &Path) -> Result<Option<Reply>> {
        let content = format!("GET {url}");
        // What is received in a file that is mapped here is of use once it is whole, and may then be fetched twice.
        let wait = if path.exists() { Wait::at_most(LONGEST) } else { Wait::at_most(LONGEST).progressive() };
        match self.client.recv_msg(id(&content), &content, wait) {
            Ok(reply) => checked(url, reply).map(Some),
            Err(error) if matches!(error.code, Code::Miss | Code::BridgeLost) => Ok(None),
            Err(error) => Err(Error::Headstart { from: url.to_owned(), error }),
        }
    }

    /// By way of the bridge, which has the credentials.
    fn called(&self, url: &str) -> Result<Reply> {
        let wait = Wait::at_most(LONGEST).progressive();
        let reply = self.client.call(&format!("GET {url}"), &[], &[], wait);
        checked(url, reply.map_err(|error| Error::Headstart { from: url.to_owned(), error })?)
    }
}

fn checked(url: &str, reply: Reply) -> Result<Reply> {
    match reply.status() {
        200 => Ok(reply),
        status => Err(Error::Reply { from: url.to_owned(), what: format!("status {status}") }),
    }
}

fn take(url: &str, reply: &Reply, path: &Path) -> Result<()> {
    if reply.file().is_some_and(|(place, offset)| place == path && offset == 0) {
        let bytes = reply.whole().map_err(|error| Error::Headstart { from: url.to_owned(), error })?.len() as u64;
        mark(&format!("state received: {bytes} bytes in its file"));
        // The file may have been made larger than its content.
        let file = OpenOptions::new().write(true).open(path).map_err(Error::file(path))?;
        return file.set_len(bytes).map_err(Error::file(path));
    }
    let bytes = write(url, reply, path)?;
    mark(&format!("state received: {bytes} bytes, written as they came"));
    Ok(())
}

/// Writes a reply's bytes as they come; how many.
fn write(url: &str, reply: &Reply, path: &Path) -> Result<u64> {
    let mut file = File::create(path).map_err(Error::file(path))?;
    let mut written = 0;
    loop {
        let there = reply.wait(written as u64 + PIECE);
        let there = there.map_err(|error| Error::Headstart { from: url.to_owned(), error })?;
        let more = there.get(written..).unwrap_or_default();
        if more.is_empty() {
            return Ok(written as u64);
        }
        file.write_all(more).map_err(Error::file(path))?;
        written += more.len();
    }
}
