//! Fetches a URL some times into prefaulted memory and says how fast that was.
//!
//! `fetch URL TIMES [ENDPOINT ACCESS_KEY]`, for an s3:// URL with the secret key in HEADSTART_STORE_SECRET_KEY: one line of
//! JSON with the bytes of a body, the megabytes (10^6) per second of each time, and what writing the memory once cost.

use std::error::Error;
use std::time::{Duration, Instant};

use headstart_net::{BodySink, Client, ClientConfig, Reach, Request, ResponseHead, Store};

/// Memory that a body fits in, written once before it is measured.
struct Memory {
    bytes: Vec<u8>,
    filled: usize,
}

impl BodySink for Memory {
    fn begin(&mut self, _head: &ResponseHead) -> headstart_base::Result<()> {
        self.filled = 0;
        Ok(())
    }

    fn space(&mut self) -> headstart_base::Result<&mut [u8]> {
        let filled = self.filled;
        Ok(&mut self.bytes[filled..])
    }

    fn filled(&mut self, count: usize) {
        self.filled += count;
    }
}

const ROOM: usize = 256 * 1024 * 1024;

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, times) = (arguments.first(), arguments.get(1));
    let (Some(url), Some(times)) = (url, times) else {
        return Err("usage: fetch URL TIMES [ENDPOINT ACCESS_KEY]".into());
    };
    let store = match (arguments.get(2), arguments.get(3)) {
        (Some(endpoint), Some(access_key)) => {
            let secret_key = std::env::var("HEADSTART_STORE_SECRET_KEY")?;
            Some(Store::new(endpoint, "us-east-1", access_key, &secret_key)?)
        }
        _ => None,
    };
    let client = Client::new(ClientConfig { reach: Reach::Spelled, ..ClientConfig::default() });
    let (address, request) = Request::parse_absolute(format!("GET {url}\n\n").as_bytes())?;
    let begin = Instant::now();
    let mut memory = Memory { bytes: vec![1; ROOM], filled: 0 };
    let prefault_ms = begin.elapsed().as_secs_f64() * 1e3;
    let (mut rates, mut bytes, mut status) = (Vec::new(), 0, 0);
    for _ in 0..times.parse()? {
        let begin = Instant::now();
        let deadline = begin + Duration::from_secs(60);
        let done = client.send("bench", &address, store.as_ref(), &request, deadline, &mut memory, &mut |_| {}).await?;
        (bytes, status) = (done.length, done.head.status);
        rates.push(format!("{:.0}", done.length as f64 / 1e6 / begin.elapsed().as_secs_f64()));
    }
    println!(
        "{{\"status\": {status}, \"bytes\": {bytes}, \"mb_s\": [{}], \"prefault_ms\": {prefault_ms:.1}}}",
        rates.join(", ")
    );
    Ok(())
}
