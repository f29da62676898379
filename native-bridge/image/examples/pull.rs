//! How long an image takes from its registry to its files, and what that costs: `pull registry/name@sha256:… RUNS`, as root. The
//! registry is one without TLS.

use std::time::Instant;

use headstart_image::{Bounds, ImageConfig, Registry, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let reference = args.next().ok_or("name an image by its digest")?;
    let runs: u32 = args.next().map_or(Ok(5), |runs| runs.parse())?;
    let host = reference.split('/').next().unwrap_or_default().to_owned();
    let digest = reference.split_once('@').map_or("", |(_, digest)| digest);
    let folder = std::env::temp_dir().join(format!("headstart-pull-{}", std::process::id()));
    let top = folder.join("top");
    std::fs::create_dir_all(&top)?;
    let config = ImageConfig {
        folder: folder.join("images"),
        most_bytes: 64 << 30,
        registries: vec![Registry { host, plain: true }],
        bounds: Bounds::default(),
    };
    // As the bridge has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        let store = Store::open(config, top)?;
        for _ in 0..runs {
            let (begun, cpu) = (Instant::now(), cpu_seconds());
            let (image, pulled) = store.get(&reference).await?;
            let took = begun.elapsed().as_secs_f64();
            let pulled = pulled.ok_or("it was here already")?;
            let unpacking = (pulled.unpacked_at - pulled.pulled_at) as f64 / 1e6;
            println!(
                "{:.0} ms ({unpacking:.0} ms after the last byte), {:.1} MB as {:.1} MB of files, {:.0} MB/s, {:.2} s of CPU",
                took * 1e3,
                pulled.bytes as f64 / 1e6,
                pulled.unpacked as f64 / 1e6,
                pulled.bytes as f64 / 1e6 / took,
                cpu_seconds() - cpu
            );
            drop(image);
            let dropped = store.clone();
            let digest = digest.to_owned();
            tokio::task::spawn_blocking(move || dropped.evict(&digest)).await??;
        }
        store.close();
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    std::fs::remove_dir_all(&folder)?;
    measured
}

/// Of this process, in user mode and in the kernel.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
