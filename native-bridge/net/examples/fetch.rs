//! Fetches a URL some times into prefaulted memory and says how fast that was.
//!
//! `fetch http://host:port/path [times]`: one line of JSON with the bytes and the megabytes per second of each time.

use std::error::Error;
use std::time::{Duration, Instant};

use headstart_net::{BodySink, Client, ClientConfig, Request, ResponseHead};

/// Memory of the body's size, written once before it is measured.
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

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: fetch URL [times]")?;
    let times: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let client = Client::new(ClientConfig::default());
    let (address, request) = Request::parse_absolute(format!("GET {url}\n\n").as_bytes())?;
    let mut memory = Memory { bytes: vec![1; 256 * 1024 * 1024], filled: 0 };
    let mut rates = Vec::new();
    let mut bytes = 0;
    for _ in 0..times {
        let begin = Instant::now();
        let deadline = begin + Duration::from_secs(60);
        let done = client.send("bench", &address, None, &request, deadline, &mut memory, &mut |_| {}).await?;
        bytes = done.length;
        rates.push(format!("{:.0}", done.length as f64 / 1e6 / begin.elapsed().as_secs_f64()));
    }
    println!("{{\"bytes\": {bytes}, \"mb_s\": [{}]}}", rates.join(", "));
    Ok(())
}
