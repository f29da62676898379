//! An object as a file of the sandbox.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use headstart::{Client, Code, Reply, Wait, id};

use crate::error::{Error, Result};
use crate::mark;
use crate::s3::Store;

/// Snapshots are large, and links slow.
const LONGEST: Duration = Duration::from_secs(300);
/// Bytes that are waited for before they are written.
const PIECE: u64 = 1 << 20;
/// Ranges of one state.
const MOST_RANGES: u64 = 64;
/// Ranges that are written at one time.
const WRITERS: usize = 4;

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

    /// Has the object at "s3://bucket/key" in the file: received there already, written from the initscript's replies while they
    /// come, or fetched without it. Stamps what was done.
    pub fn restore(&self, url: &str, path: &Path) -> Result<()> {
        let how = match (self.ranges(url)?, &self.store) {
            (Some(ranges), _) => self.take(url, ranges, path)?,
            (None, Some(store)) => {
                format!("{} bytes by its own client, written as they came", store.download(url, path)?)
            }
            (None, None) => format!("{} bytes by the bridge, written as they came", self.write_called(url, path)?),
        };
        mark(&format!("state received: {how}"));
        mark("file written");
        Ok(())
    }

    /// A small object that belongs to a state.
    pub fn write_small(&self, url: &str, path: &Path) -> Result<()> {
        let written = match (self.claim(&format!("GET {url}"), url, 200, true)?, &self.store) {
            (Some(reply), _) => write(url, &reply, &create(path)?, 0, path),
            (None, Some(store)) => store.download(url, path),
            (None, None) => self.write_called(url, path),
        };
        written.map(|_| ())
    }

    /// What the initscript says of the ranges that it fetches; none when it fetches nothing.
    fn ranges(&self, url: &str) -> Result<Option<Ranges>> {
        let told = self.claim(&format!("ranges of {url}"), url, 0, false)?;
        let Some(told) = told else { return Ok(None) };
        let text = String::from_utf8_lossy(told.there()).into_owned();
        let numbers = text
            .split_once(' ')
            .and_then(|(bytes, size)| Some((bytes.parse::<u64>().ok()?, size.parse::<u64>().ok()?)));
        match numbers {
            Some((bytes, size)) if size > 0 && bytes.div_ceil(size) <= MOST_RANGES => Ok(Some(Ranges { bytes, size })),
            _ => Err(Error::Reply { from: url.to_owned(), what: format!("its ranges are {text:?}") }),
        }
    }

    /// Has all ranges of the initscript's in the file. How.
    fn take(&self, url: &str, Ranges { bytes, size }: Ranges, path: &Path) -> Result<String> {
        // Where there is a file, they are received in it, and nothing is left to do at the same time.
        let mapped = path.exists();
        let file = create(path)?;
        let firsts: Vec<u64> = (0..bytes).step_by(usize::try_from(size).unwrap_or(usize::MAX)).collect();
        let content = |first: &u64| format!("GET {url}#bytes={first}-{}", (first + size).min(bytes) - 1);
        let contents: Vec<String> = firsts.iter().map(content).collect();
        let replies = firsts.iter().copied().zip(self.claim_all(url, &contents, !mapped)?);
        let next = Mutex::new(replies);
        let one = |(first, reply): (u64, Reply)| -> Result<bool> {
            if reply.file().is_some_and(|(place, offset)| place == path && offset == first) {
                return Ok(true);
            }
            write(url, &reply, &file, first, path).map(|_| false)
        };
        let some = || -> Result<bool> {
            let mut in_place = true;
            loop {
                let Some(range) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                    return Ok(in_place);
                };
                in_place &= one(range)?;
            }
        };
        let in_place = std::thread::scope(|scope| {
            let others: Vec<_> = (1..if mapped { 1 } else { WRITERS }).map(|_| scope.spawn(some)).collect();
            let mut all = some();
            for other in others {
                let lost = |_| Err(Error::Reply { from: url.to_owned(), what: "a thread was lost".to_owned() });
                all = match (all, other.join().unwrap_or_else(lost)) {
                    (Ok(one), Ok(two)) => Ok(one && two),
                    (Err(error), _) | (_, Err(error)) => Err(error),
                };
            }
            all
        })?;
        // The file may have been made larger than its content. To cut it gives its pages back, which takes its time.
        if file.metadata().map_err(Error::file(path))?.len() != bytes {
            file.set_len(bytes).map_err(Error::file(path))?;
        }
        Ok(format!("{bytes} bytes{}", if in_place { " in its file" } else { ", written as they came" }))
    }

    /// A message of the initscript's; none when it sends none. `content`: what it is, and its id's text.
    fn claim(&self, content: &str, url: &str, status: u32, progressive: bool) -> Result<Option<Reply>> {
        let wait = Wait { timeout: LONGEST, progressive };
        // A message of the script's own has no content.
        let said = if status == 0 { "" } else { content };
        match self.client.recv_msg(id(content), said, wait) {
            Ok(reply) => checked(url, reply, status).map(Some),
            Err(error) if matches!(error.code, Code::Miss | Code::BridgeLost) => Ok(None),
            Err(error) => Err(Error::Headstart { from: url.to_owned(), error }),
        }
    }

    /// The initscript's ranges, claimed in one round trip.
    fn claim_all(&self, url: &str, contents: &[String], progressive: bool) -> Result<Vec<Reply>> {
        let claims: Vec<(u64, &str)> = contents.iter().map(|content| (id(content), &**content)).collect();
        let replies = self.client.recv_msgs(&claims, Wait { timeout: LONGEST, progressive });
        let reply = |(content, reply): (&String, headstart::Result<Reply>)| match reply {
            Ok(reply) => checked(url, reply, 206),
            Err(error) if matches!(error.code, Code::Miss | Code::BridgeLost) => {
                Err(Error::Reply { from: content.clone(), what: "the initscript has not sent it".to_owned() })
            }
            Err(error) => Err(Error::Headstart { from: url.to_owned(), error }),
        };
        contents.iter().zip(replies).map(reply).collect()
    }

    /// By way of the bridge, which has the credentials.
    fn write_called(&self, url: &str, path: &Path) -> Result<u64> {
        let wait = Wait::at_most(LONGEST).progressive();
        let reply = self.client.call(&format!("GET {url}"), &[], &[], wait);
        let reply = reply.map_err(|error| Error::Headstart { from: url.to_owned(), error })?;
        write(url, &checked(url, reply, 200)?, &create(path)?, 0, path)
    }
}

/// How an object's ranges lie.
#[derive(Clone, Copy, Debug)]
struct Ranges {
    /// Of all of them.
    bytes: u64,
    /// Bytes of each but the last.
    size: u64,
}

fn create(path: &Path) -> Result<File> {
    File::options().write(true).create(true).truncate(false).open(path).map_err(Error::file(path))
}

fn checked(url: &str, reply: Reply, expected: u32) -> Result<Reply> {
    match reply.status() {
        status if status == expected => Ok(reply),
        status => Err(Error::Reply { from: url.to_owned(), what: format!("status {status}") }),
    }
}

/// Writes a reply's bytes as they come; how many.
fn write(url: &str, reply: &Reply, to: &File, offset: u64, path: &Path) -> Result<u64> {
    let mut written = 0;
    loop {
        let there = reply.wait(written as u64 + PIECE);
        let there = there.map_err(|error| Error::Headstart { from: url.to_owned(), error })?;
        let more = there.get(written..).unwrap_or_default();
        if more.is_empty() {
            return Ok(written as u64);
        }
        to.write_all_at(more, offset + written as u64).map_err(Error::file(path))?;
        written += more.len();
    }
}
