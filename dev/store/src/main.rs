//! An S3 store for development and benchmarks: it checks signatures, serves a folder, and is light on the CPU that it
//! shares with what is measured. Objects are `DIR/bucket/key`; files may be put there by hand.

mod admin;
mod backend;
mod fault;
mod list;
mod mapping;
mod objects;
mod serve;
mod stats;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::backend::Backend;
use crate::objects::Objects;
use crate::serve::Shared;

#[derive(Parser)]
#[command(about = "An S3 store for development: a folder behind checked signatures")]
struct Options {
    /// The folder with the buckets; made if it is not there
    #[arg(long)]
    dir: PathBuf,
    /// ADDRESS:PORT for clients; may be given several times
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// ADDRESS:PORT for GET /-/stats, POST /-/reset and POST /-/fault
    #[arg(long)]
    admin: Option<SocketAddr>,
    #[arg(long, default_value = "headstart")]
    access_key: String,
    /// A file with the secret key (without it, HEADSTART_STORE_SECRET_KEY is the secret key)
    #[arg(long)]
    secret_key_file: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("headstart-store: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let secret = secret_key(&options)?;
    let objects = Objects::new(options.dir.clone()).map_err(|error| format!("{}: {error}", options.dir.display()))?;
    let mut builder = S3ServiceBuilder::new(Backend { objects });
    builder.set_auth(SimpleAuth::from_single(options.access_key, secret));
    let shared =
        Arc::new(Shared { s3: builder.build(), stats: stats::Stats::default(), faults: fault::Faults::default() });

    let mut places = Vec::new();
    for address in options.listen {
        let listener = bind(address).await?;
        places.push(local(&listener)?);
        tokio::spawn(serve::accept(listener, Arc::clone(&shared)));
    }
    let mut admin = String::new();
    if let Some(address) = options.admin {
        let listener = bind(address).await?;
        admin = format!(", admin on {}", local(&listener)?);
        tokio::spawn(admin::accept(listener, Arc::clone(&shared)));
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    println!("ready: store on {}{admin}", places.join(", "));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

fn secret_key(options: &Options) -> Result<String, String> {
    let text = match &options.secret_key_file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => std::env::var("HEADSTART_STORE_SECRET_KEY")
            .map_err(|_| "give --secret-key-file FILE or set HEADSTART_STORE_SECRET_KEY".to_owned())?,
    };
    match text.trim() {
        "" => Err("the secret key is empty".to_owned()),
        secret => Ok(secret.to_owned()),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

fn local(listener: &TcpListener) -> Result<String, String> {
    listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
}
