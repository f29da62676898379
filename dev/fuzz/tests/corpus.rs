//! Each target over its seeds, and over damaged copies of these: the same at each run. A failure prints its input.

use std::path::Path;
use std::time::{Duration, Instant};

/// Damaged copies for each target, where FUZZ_ROUNDS does not say how many.
const ROUNDS: usize = 1500;
/// The longest input.
const MOST: usize = 4096;
/// What one input may take on a machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(10);

/// What parsers care about.
const TOKENS: [&[u8]; 20] = [
    b"\r\n",
    b"\n\n",
    b"\0",
    b"0",
    b"-1",
    b"9999999999999",
    b"4294967296",
    b"18446744073709551615",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"%2e%2e%2f",
    b"%25",
    b"../",
    b"//",
    b"#",
    b"?",
    b" ",
    b"*",
    b"$",
    b"Transfer-Encoding: chunked\r\n",
];

/// A small generator of the same numbers each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// One to five changes.
fn damaged(random: &mut Random, seeds: &[&[u8]]) -> Vec<u8> {
    let mut bytes = random.of(seeds).to_vec();
    for _ in 0..=random.below(5) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(20)).min(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            3 => drop(bytes.splice(at..at, random.of(&TOKENS).iter().copied())),
            4 => drop(bytes.splice(at..end, random.of(&TOKENS).iter().copied())),
            5 => {
                let other = random.of(seeds);
                drop(bytes.splice(at.., other[random.below(other.len() + 1)..].iter().copied()));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = match random.below(3) {
                        0 => random.next() as u8,
                        1 => *byte ^ (1 << random.below(8)),
                        _ => byte.wrapping_add(1),
                    };
                }
            }
        }
    }
    bytes.truncate(MOST);
    bytes
}

/// Says what was being run when a target panics.
struct Running<'a>(&'a str, &'a [u8]);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} fails with b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn run(name: &str, data: &[u8]) {
    let running = Running(name, data);
    let begin = Instant::now();
    headstart_fuzz::run(name, data);
    assert!(begin.elapsed() < LIMIT, "it took {:?}", begin.elapsed());
    drop(running);
}

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).expect("seeds");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a seed").path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for seed in &seeds {
        run(name, seed);
    }
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    let mut random = Random(name.len() as u64);
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for _ in 0..rounds {
        run(name, &damaged(&mut random, &seeds));
    }
}

macro_rules! targets {
    ($($name:ident),+) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })+

        #[test]
        fn every_target_is_run() {
            let names = headstart_fuzz::TARGETS.map(|target| target.name);
            assert_eq!(names[..], [$(stringify!($name)),+]);
        }
    };
}

targets!(app_packet, bundle, egress, grpc, http_response, memcached, relay_frames, requests, resp, tcp_frame);
