//! Gets what the initscript has fetched; what it has not is fetched here.

use std::time::{Duration, Instant};

use headstart::{Client, Reply, Wait, id};

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
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
}

impl Fetcher {
    /// Claims what the initscript has sent so far: all of it is this server's.
    pub fn start() -> Self {
        let client = Client::new();
        // Where there is no instance, all is fetched here.
        let _ = client.claim_ahead(Wait::default().timeout);
        Self { client }
    }

    /// Asks the coordinator ("http://host:port/path") which shards are this server's.
    pub fn assignment(&self, from: &Url) -> Result<Assignment> {
        let body = match self.claim(std::slice::from_ref(from))?.pop() {
            Some(Some(body)) => body,
            _ => Body::own(direct::fetch(from, Assignment::MOST)?),
        };
        Assignment::parse(body.whole()?)
    }

    /// The shards in their order; those of the initscript while their bytes still come.
    pub fn shards(&self, urls: &[Url]) -> Result<(Vec<Body>, Fetched)> {
        let claimed = self.claim(urls)?;
        let from_initscript = claimed.iter().flatten().count();
        let (bodies, took) = if from_initscript == urls.len() {
            (claimed.into_iter().flatten().collect(), Duration::ZERO)
        } else {
            let began = Instant::now();
            (fetch_missing(urls, claimed)?, began.elapsed())
        };
        let bytes = bodies.iter().map(Body::total).sum::<Result<u64>>()?;
        Ok((bodies, Fetched { shards: urls.len(), bytes, from_initscript, took }))
    }

    /// What the initscript has sent for these addresses, claimed together; none where it has not. An error is what a server
    /// answered in its place.
    fn claim(&self, urls: &[Url]) -> Result<Vec<Option<Body>>> {
        let contents: Vec<String> = urls.iter().map(Url::content).collect();
        let claims: Vec<(u64, &str)> = contents.iter().map(|content| (id(content), &**content)).collect();
        let began = Instant::now();
        let replies = self.client.recv_msgs(&claims, Wait::default().progressive());
        // A wait unless all of all of them was there.
        let mut took = began.elapsed();
        let body = |((url, content), reply): ((&Url, String), Result<Reply, _>)| {
            let Ok(reply) = reply else { return Ok(None) };
            let good = match url.scheme {
                Scheme::Http => 200,
                Scheme::Memcached => 0,
            };
            if reply.status() != good {
                return Err(Error::Reply { from: content, what: format!("status {}", reply.status()) });
            }
            let whole = reply.total() == Some(reply.there().len() as u64);
            let waited = if whole { Duration::ZERO } else { std::mem::take(&mut took) };
            Ok(Some(Body::shared(reply, waited)))
        };
        urls.iter().zip(contents).zip(replies).map(body).collect()
    }
}

/// The bodies that the initscript has not sent are fetched here, all at the same time.
fn fetch_missing(urls: &[Url], claimed: Vec<Option<Body>>) -> Result<Vec<Body>> {
    std::thread::scope(|scope| {
        let all = urls.iter().zip(claimed).map(|(url, body)| match body {
            Some(body) => Ok(body),
            None => Err(scope.spawn(move || direct::fetch(url, SHARD).map(Body::own))),
        });
        // All threads run before the first is waited for.
        let all: Vec<_> = all.collect();
        all.into_iter().map(|it| it.or_else(direct::joined)).collect()
    })
}
