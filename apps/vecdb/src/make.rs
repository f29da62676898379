//! Shards to start from: the same ones each time. Their vectors have rising ids, from 0.

use std::fs;
use std::io;
use std::path::Path;

use headstart_serving::SplitMix;

use crate::shard::{ALIGNMENT, HEAD, MAGIC, MOST_DIMENSIONS};

/// Writes shards of together exactly `bytes` bytes to DIR/0, DIR/1 …
pub fn write(folder: &Path, of: u32, bytes: usize, dimensions: u32) -> io::Result<()> {
    let made = shards(of, bytes, dimensions).ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    made.iter().enumerate().try_for_each(|(number, shard)| fs::write(folder.join(number.to_string()), shard))
}

/// `of` shards of together exactly `bytes` bytes; none where there is no room for a vector in each.
pub fn shards(of: u32, bytes: usize, dimensions: u32) -> Option<Vec<Vec<u8>>> {
    if of == 0 || dimensions == 0 || dimensions > MOST_DIMENSIONS {
        return None;
    }
    let count = of as usize;
    let mut numbers = SplitMix::new(92);
    let mut first = 0;
    let one = |number: usize| {
        let total = bytes / count + usize::from(number < bytes % count);
        let (shard, vectors) = shard(total as u64, dimensions, first, &mut numbers)?;
        first += vectors;
        Some(shard)
    };
    (0..count).map(one).collect()
}

/// A shard of `total` bytes with as many vectors as there is room for, and how many these are.
fn shard(total: u64, dimensions: u32, first: u64, numbers: &mut SplitMix) -> Option<(Vec<u8>, u64)> {
    // Each of the three parts may need up to 64 bytes to be aligned.
    let vectors = total.checked_sub(HEAD + 3 * ALIGNMENT)? / (12 + 4 * u64::from(dimensions));
    if vectors == 0 {
        return None;
    }
    let ids = HEAD;
    let norms = (ids + 8 * vectors).next_multiple_of(ALIGNMENT);
    let rows = (norms + 4 * vectors).next_multiple_of(ALIGNMENT);
    let mut shard = Vec::with_capacity(usize::try_from(total).ok()?);
    shard.extend(MAGIC);
    shard.extend(dimensions.to_le_bytes());
    shard.extend([0; 4]);
    for number in [vectors, total, ids, norms, rows, 0] {
        shard.extend(number.to_le_bytes());
    }
    for id in first..first + vectors {
        shard.extend(id.to_le_bytes());
    }
    let row = |_| (0..dimensions).map(|_| numbers.coordinate()).collect();
    let all: Vec<Vec<f32>> = (0..vectors).map(row).collect();
    shard.resize(usize::try_from(norms).ok()?, 0);
    for row in &all {
        let norm = row.iter().map(|it| it * it).sum::<f32>().sqrt();
        shard.extend(norm.to_le_bytes());
    }
    shard.resize(usize::try_from(rows).ok()?, 0);
    shard.extend(all.iter().flatten().flat_map(|it| it.to_le_bytes()));
    shard.resize(usize::try_from(total).ok()?, 0);
    Some((shard, vectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_the_size_that_was_asked_for_and_are_always_the_same() {
        let made = shards(3, 100_001, 32).unwrap();
        assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), [33_334, 33_334, 33_333]);
        assert_eq!(shards(3, 100_001, 32).unwrap(), made);
        assert_eq!((shards(0, 9000, 4), shards(1, 300, 256), shards(1, 9000, 0)), (None, None, None));
    }

    #[test]
    fn they_are_written_as_files() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 2, 20_000, 8).unwrap();
        assert_eq!(fs::read(folder.path().join("1")).unwrap(), shards(2, 20_000, 8).unwrap()[1]);
    }
}
