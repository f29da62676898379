//! A shard of vectors as it travels and as it is searched: nothing of it is unpacked. All numbers are little-endian.
//!
//! ```text
//! 0    8   "HSVECTOR"
//! 8    4   dimensions
//! 12   4   0
//! 16   8   vectors
//! 24   8   length of the whole shard, bytes
//! 32   8   where the ids begin (8 bytes each)
//! 40   8   where the norms begin (f32)
//! 48   8   where the rows begin (f32, one vector after the other)
//! 56   8   0
//! ```
//! The three begin at multiples of 64, in this order, and do not overlap. Ids and norms stand first, so they are checked while the
//! rows still come.

use headstart_serving::{Body, FormatError, Result, u32_at, u64_at};

pub(crate) const MAGIC: &[u8; 8] = b"HSVECTOR";
pub(crate) const HEAD: u64 = 64;
pub(crate) const ALIGNMENT: u64 = 64;
pub(crate) const MOST_DIMENSIONS: u32 = 4096;
const ID: usize = 8;
const FLOAT: usize = 4;

/// Where things lie in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub dimensions: usize,
    pub vectors: usize,
    ids: usize,
    norms: usize,
    rows: usize,
}

impl Head {
    /// Reads the first [`HEAD`] bytes of a shard that has `total`. The parts of it are entries 0, 1 and 2 of an error.
    pub fn read(bytes: &[u8], total: u64) -> Result<Self, FormatError> {
        let value = |what, value| FormatError::Value { what, value };
        if !bytes.starts_with(MAGIC) {
            return Err(FormatError::Magic);
        }
        let dimensions = u32_at(bytes, 8);
        if dimensions == 0 || dimensions > MOST_DIMENSIONS {
            return Err(value("the number of dimensions", dimensions.into()));
        }
        let said = u64_at(bytes, 24);
        if said != total {
            return Err(FormatError::Length { said, there: total });
        }
        let vectors = u64_at(bytes, 16);
        let row = u64::from(dimensions) * FLOAT as u64;
        if vectors > total / row {
            return Err(value("the number of vectors", vectors));
        }
        let mut end = HEAD;
        let mut part = |entry, size: u64| {
            let at = u64_at(bytes, 32 + 8 * entry as usize);
            if !at.is_multiple_of(ALIGNMENT) {
                return Err(FormatError::Misaligned { entry });
            }
            if at < end {
                return Err(FormatError::Overlapping { entry });
            }
            let after = vectors.checked_mul(size).and_then(|bytes| bytes.checked_add(at));
            end = after.filter(|end| *end <= total).ok_or(FormatError::Outside { entry })?;
            usize::try_from(at).map_err(|_| FormatError::Outside { entry })
        };
        let (ids, norms, rows) = (part(0, ID as u64)?, part(1, FLOAT as u64)?, part(2, row)?);
        let vectors = usize::try_from(vectors).map_err(|_| value("the number of vectors", vectors))?;
        Ok(Self { dimensions: dimensions as usize, vectors, ids, norms, rows })
    }
}

/// A shard in the memory where it was received, or in a copy.
#[derive(Debug)]
pub struct Shard {
    body: Body,
    head: Head,
}

impl Shard {
    /// Reads and checks all but the rows, as soon as that is there.
    pub fn open(body: Body) -> Result<Self> {
        let total = body.total()?;
        let head = Head::read(body.at_least(HEAD)?, total)?;
        let front = body.at_least(head.rows as u64)?;
        let norms = front.get(head.norms..head.norms + head.vectors * FLOAT).unwrap_or_default();
        for (entry, norm) in (0..).zip(norms.chunks_exact(FLOAT).map(float)) {
            if !(norm.is_finite() && norm > 0.0) {
                return Err(FormatError::Value { what: "a norm of vector", value: entry }.into());
            }
        }
        Ok(Self { body, head })
    }

    pub fn head(&self) -> Head {
        self.head
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The same shard in memory of the program's own.
    pub fn copied(&self) -> Result<Self> {
        Ok(Self { body: self.body.copied()?, head: self.head })
    }

    /// Each vector's id, norm and row.
    pub fn vectors(&self) -> impl Iterator<Item = (u64, f32, &[u8])> {
        let Head { dimensions, vectors, ids, norms, rows } = self.head;
        let part = |at: usize, size: usize| {
            let bytes = self.body.bytes().get(at..at + vectors * size).unwrap_or_default();
            bytes.chunks_exact(size)
        };
        let ids = part(ids, ID).map(|bytes| u64_at(bytes, 0));
        let norms = part(norms, FLOAT).map(float);
        ids.zip(norms).zip(part(rows, dimensions * FLOAT)).map(|((id, norm), row)| (id, norm, row))
    }
}

fn float(bytes: &[u8]) -> f32 {
    f32::from_bits(u32_at(bytes, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::shards;
    use headstart_serving::Error;

    fn made() -> Vec<u8> {
        shards(1, 10_000, 16).unwrap().remove(0)
    }

    fn opened(bytes: Vec<u8>) -> Result<Shard> {
        Shard::open(Body::own(bytes))
    }

    /// What is wrong with a shard into which `bytes` were written at `at`.
    fn wrong(at: usize, bytes: &[u8]) -> FormatError {
        let mut shard = made();
        shard[at..at + bytes.len()].copy_from_slice(bytes);
        match opened(shard) {
            Err(Error::Format(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn vectors_are_where_the_head_says() {
        let shard = opened(made()).unwrap();
        let all: Vec<_> = shard.vectors().collect();
        assert!(all.len() == shard.head().vectors && all.len() > 100);
        for (_, norm, row) in &all {
            let squares: f32 = row.chunks_exact(FLOAT).map(|bytes| float(bytes).powi(2)).sum();
            assert!((squares.sqrt() - norm).abs() < 1e-3);
        }
        let copy = shard.copied().unwrap();
        assert!(copy.vectors().eq(all));
    }

    #[test]
    fn one_that_is_cut_off_is_refused() {
        let shard = made();
        for length in (0..200).chain([shard.len() / 2, shard.len() - 1]) {
            assert!(matches!(
                opened(shard[..length].to_vec()),
                Err(Error::Truncated { .. } | Error::Format(FormatError::Length { .. }))
            ));
        }
    }

    #[test]
    fn a_head_that_lies_is_refused() {
        assert_eq!(wrong(0, b"x"), FormatError::Magic);
        assert!(matches!(wrong(8, &[0; 4]), FormatError::Value { what: "the number of dimensions", .. }));
        assert!(matches!(wrong(8, &[255; 4]), FormatError::Value { what: "the number of dimensions", .. }));
        assert!(matches!(wrong(24, &[1; 8]), FormatError::Length { .. }));
        for vectors in [1000, u64::from(u32::MAX), u64::MAX / 64 + 1, u64::MAX] {
            let error = wrong(16, &vectors.to_le_bytes());
            assert_eq!(error, FormatError::Value { what: "the number of vectors", value: vectors });
        }
        for entry in 0..3 {
            let at = 32 + 8 * entry as usize;
            assert_eq!(wrong(at, &0u64.to_le_bytes()), FormatError::Overlapping { entry });
            assert_eq!(wrong(at, &65u64.to_le_bytes()), FormatError::Misaligned { entry });
            assert_eq!(wrong(at, &(u64::MAX - 63).to_le_bytes()), FormatError::Outside { entry });
        }
        assert_eq!(wrong(48, &128u64.to_le_bytes()), FormatError::Overlapping { entry: 2 });
    }

    #[test]
    fn norms_that_are_none_are_refused() {
        let norms = opened(made()).unwrap().head().norms;
        for norm in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
            let error = wrong(norms + FLOAT, &norm.to_le_bytes());
            assert_eq!(error, FormatError::Value { what: "a norm of vector", value: 1 });
        }
    }
}
