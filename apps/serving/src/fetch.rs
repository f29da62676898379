//! Gets what the initscript has fetched; what it has not is fetched here.

use std::time::{Duration, Instant};

use headstart::{Client, Wait, id};

use crate::assignment::Assignment;
use crate::body::Body;
use crate::direct;
use crate::error::{Error, Result};
use crate::url::{Scheme, Url};

/// The longest shard, bytes.
const SHARD: u64 = 256 << 20;

/// What [`Fetcher::shards`] did.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub shards: usize,
    pub bytes: u64,
    pub from_initscript: usize,
    /// How long the program's own fetching took.
    pub took: Duration,
}

/// The way to a server's state.
#[derive(Debug, Default)]
pub struct Fetcher {
    client: Client,
}

impl Fetcher {
    /// Asks the coordinator ("http://host:port/path") which shards are this server's.
    pub fn assignment(&self, from: &Url) -> Result<Assignment> {
        let body = match self.claim(from)? {
            Some(body) => body,
            None => Body::own(direct::fetch(from, Assignment::MOST)?),
        };
        Assignment::parse(body.whole()?)
    }

    /// The shards in their order; those of the initscript while their bytes still come.
    pub fn shards(&self, urls: &[Url]) -> Result<(Vec<Body>, Fetched)> {
        let claimed: Vec<Option<Body>> = urls.iter().map(|url| self.claim(url)).collect::<Result<_>>()?;
        let from_initscript = claimed.iter().flatten().count();
        let began = Instant::now();
        let bodies = std::thread::scope(|scope| {
            let all = urls.iter().zip(claimed).map(|(url, body)| match body {
                Some(body) => Ok(body),
                None => Err(scope.spawn(move || direct::fetch(url, SHARD).map(Body::own))),
            });
            // All threads run before the first is waited for.
            let all: Vec<_> = all.collect();
            let ended = all.into_iter().map(|it| it.or_else(direct::joined));
            ended.collect::<Result<Vec<_>>>()
        })?;
        let took = if from_initscript == urls.len() { Duration::ZERO } else { began.elapsed() };
        let bytes = bodies.iter().map(Body::total).sum::<Result<u64>>()?;
        Ok((bodies, Fetched { shards: urls.len(), bytes, from_initscript, took }))
    }

    /// What the initscript has sent for an address; none where it has not. An error is what the server answered in its place.
    fn claim(&self, url: &Url) -> Result<Option<Body>> {
        let content = url.content();
        let began = Instant::now();
        let Ok(reply) = self.client.recv_msg(id(&content), &content, Wait::default().progressive()) else {
            return Ok(None);
        };
        let good = match url.scheme {
            Scheme::Http => 200,
            Scheme::Memcached => 0,
        };
        match reply.status() {
            status if status == good => Ok(Some(Body::shared(reply, began.elapsed()))),
            status => Err(Error::Reply { from: content, what: format!("status {status}") }),
        }
    }
}
