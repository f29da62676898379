//! `cached serve` and `cached make-shards`.

use std::error::Error;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use cached::{Base, Store, connection, make};
use clap::{Args, Parser, Subcommand};
use headstart_serving::{Body, Fetched, Fetcher, Held, Stopwatch, Url, serve};

/// A sharded key-value cache that starts from its peers' shards.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves memcached's protocol, and its shards by HTTP, on one port.
    Serve(Serve),
    /// Makes shards: the same ones each time.
    MakeShards {
        folder: PathBuf,
        #[arg(long, default_value_t = 4)]
        shards: u32,
        /// Of all of them together.
        #[arg(long, default_value_t = 15_000_000)]
        bytes: usize,
    },
}

#[derive(Args)]
struct Serve {
    #[arg(long, default_value = "127.0.0.1:7000")]
    listen: SocketAddr,
    /// Who says which shards are this server's: "http://host:port/path".
    #[arg(long, env = "CACHED_ASSIGNMENT")]
    assignment: Option<String>,
    /// Files of shards to start from in its place; without either it starts empty.
    #[arg(long, conflicts_with = "assignment")]
    shard: Vec<PathBuf>,
    /// Copies keys and values into memory of its own.
    #[arg(long)]
    copy: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse().verb {
        Verb::MakeShards { folder, shards, bytes } => Ok(make::write(&folder, shards, bytes)?),
        Verb::Serve(options) => {
            let signals = Held::hold()?;
            let store = Arc::new(start(&options)?);
            let listener = TcpListener::bind(options.listen)?;
            println!("ready: cached on {}", listener.local_addr()?);
            signals.exit()?;
            serve(&listener, move |stream| connection::serve(&store, stream))
        }
    }
}

/// Takes the state over.
fn start(options: &Serve) -> Result<Store, Box<dyn Error>> {
    let fetcher = Fetcher::start();
    let assigned = match &options.assignment {
        Some(text) => Some(fetcher.assignment(&Url::parse(text)?)?),
        None => None,
    };
    let watch = Stopwatch::start();
    let (bodies, fetched) = match assigned {
        Some(assignment) => fetcher.shards(&assignment.shards)?,
        None => read(&options.shard)?,
    };
    let (base, waited) = Base::new(bodies, options.copy)?;
    let handover = watch.stop(&fetched, waited, options.copy);
    handover.tell();
    Ok(Store::new(base, handover))
}

fn read(files: &[PathBuf]) -> io::Result<(Vec<Body>, Fetched)> {
    let bodies: Vec<Body> = files.iter().map(|path| fs::read(path).map(Body::own)).collect::<io::Result<_>>()?;
    let bytes = bodies.iter().map(|body| body.bytes().len() as u64).sum();
    Ok((bodies, Fetched { shards: files.len(), bytes, ..Fetched::default() }))
}
