//! `vecdb serve` and `vecdb make-shards`.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use headstart_serving::{Fetcher, Held, Stopwatch, Url, serve};
use vecdb::api::Api;
use vecdb::{Database, make};

/// A sharded vector database that starts from shards in a key-value cache.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves searches by HTTP.
    Serve(Serve),
    /// Makes shards: the same ones each time.
    MakeShards {
        folder: PathBuf,
        #[arg(long, default_value_t = 4)]
        shards: u32,
        /// Of all of them together.
        #[arg(long, default_value_t = 9_200_000)]
        bytes: usize,
        #[arg(long, default_value_t = 256)]
        dimensions: u32,
    },
}

#[derive(Args)]
struct Serve {
    #[arg(long, default_value = "127.0.0.1:7000")]
    listen: SocketAddr,
    /// Who says which shards are this server's: "http://host:port/path".
    #[arg(long, env = "VECDB_ASSIGNMENT")]
    assignment: String,
    /// Copies the vectors into memory of its own.
    #[arg(long)]
    copy: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse().verb {
        Verb::MakeShards { folder, shards, bytes, dimensions } => Ok(make::write(&folder, shards, bytes, dimensions)?),
        Verb::Serve(options) => {
            let signals = Held::hold()?;
            let api = Arc::new(start(&options)?);
            let listener = TcpListener::bind(options.listen)?;
            println!("ready: vecdb on {}", listener.local_addr()?);
            signals.exit()?;
            serve(&listener, move |stream| api.serve(stream))
        }
    }
}

/// Takes the state over.
fn start(options: &Serve) -> headstart_serving::Result<Api> {
    let fetcher = Fetcher::start();
    let assignment = fetcher.assignment(&Url::parse(&options.assignment)?)?;
    let watch = Stopwatch::start();
    let (bodies, fetched) = fetcher.shards(&assignment.shards)?;
    let (database, waited) = Database::new(bodies, options.copy)?;
    let handover = watch.stop(&fetched, waited, options.copy);
    handover.tell();
    Ok(Api { database, handover })
}
