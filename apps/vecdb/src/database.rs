//! Cosine similarity over all vectors of the shards.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;
use std::time::Duration;

use headstart_serving::{Body, FormatError, Result};

use crate::shard::Shard;

/// Sums that are kept at once: as many as two registers of AVX2 hold.
const LANES: usize = 16;

/// A vector that is near.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    pub id: u64,
    /// From -1 to 1.
    pub score: f32,
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    /// By score; of two alike the smaller id is nearer.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.id.cmp(&self.id))
    }
}

#[derive(Debug)]
pub struct Database {
    shards: Vec<Shard>,
    dimensions: usize,
}

impl Database {
    /// Takes shards over, waiting for the last of their bytes. With it how long was waited.
    pub fn new(bodies: Vec<Body>, copy: bool) -> Result<(Self, Duration)> {
        let mut shards: Vec<Shard> = bodies.into_iter().map(Shard::open).collect::<Result<_>>()?;
        let dimensions = shards.first().map_or(0, |shard| shard.head().dimensions);
        for shard in &mut shards {
            shard.body().whole()?;
            if shard.head().dimensions != dimensions {
                let value = shard.head().dimensions as u64;
                return Err(FormatError::Value { what: "the number of dimensions", value }.into());
            }
        }
        let waited = shards.iter().map(|shard| shard.body().waited()).sum();
        if copy {
            shards = shards.iter().map(Shard::copied).collect::<Result<_>>()?;
        }
        Ok((Self { shards, dimensions }, waited))
    }

    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub fn vectors(&self) -> usize {
        self.shards.iter().map(|shard| shard.head().vectors).sum()
    }

    /// The `count` vectors nearest to `vector` with ids in `range`, the nearest first. None where it has another number of
    /// dimensions, or no direction.
    pub fn search(&self, vector: &[f32], count: usize, range: &Range<u64>) -> Option<Vec<Near>> {
        let norm = vector.iter().map(|it| it * it).sum::<f32>().sqrt();
        if vector.len() != self.dimensions || !norm.is_finite() || norm <= 0.0 {
            return None;
        }
        let mut nearest = BinaryHeap::with_capacity(count.min(self.vectors()) + 1);
        for (id, own, row) in self.shards.iter().flat_map(Shard::vectors) {
            if !range.contains(&id) {
                continue;
            }
            let near = Near { id, score: dot(vector, row) / (norm * own) };
            // Rows were not looked at when they came: one that is no vector is near to nothing.
            if !near.score.is_finite() {
                continue;
            }
            if nearest.len() < count {
                nearest.push(Reverse(near));
            } else if nearest.peek().is_some_and(|Reverse(least)| near > *least) {
                nearest.pop();
                nearest.push(Reverse(near));
            }
        }
        Some(nearest.into_sorted_vec().into_iter().map(|Reverse(near)| near).collect())
    }
}

/// The scalar product of a vector and one that lies in memory as little-endian bytes, wherever these begin.
fn dot(vector: &[f32], row: &[u8]) -> f32 {
    let value = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let (row, _) = row.as_chunks::<4>();
    let (vectors, vector_rest) = vector.as_chunks::<LANES>();
    let (rows, row_rest) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (vector, row) in vectors.iter().zip(rows) {
        for lane in 0..LANES {
            sums[lane] += vector[lane] * value(&row[lane]);
        }
    }
    let rest: f32 = vector_rest.iter().zip(row_rest).map(|(it, bytes)| it * value(bytes)).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::make::shards;
    use headstart_serving::{Error, SplitMix};

    pub(crate) fn database(copy: bool) -> Database {
        let bodies = shards(3, 60_000, 50).unwrap().into_iter().map(Body::own).collect();
        Database::new(bodies, copy).unwrap().0
    }

    fn query() -> Vec<f32> {
        let mut numbers = SplitMix::new(7);
        (0..50).map(|_| numbers.coordinate()).collect()
    }

    #[test]
    fn the_nearest_are_those_of_a_plain_search() {
        let (database, query) = (database(false), query());
        let scored = database.shards.iter().flat_map(Shard::vectors).map(|(id, _, row)| {
            let row: Vec<f64> = row.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect();
            let dot: f64 = row.iter().zip(&query).map(|(a, b)| a * f64::from(*b)).sum();
            let norms = row.iter().map(|it| it * it).sum::<f64>().sqrt()
                * query.iter().map(|it| f64::from(*it).powi(2)).sum::<f64>().sqrt();
            (id, dot / norms)
        });
        let mut scored: Vec<_> = scored.collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        let found = database.search(&query, 10, &(0..u64::MAX)).unwrap();
        assert_eq!(found.len(), 10);
        for (near, (id, score)) in found.iter().zip(&scored) {
            assert!(near.id == *id && (f64::from(near.score) - score).abs() < 1e-5);
        }
        let copy = super::tests::database(true).search(&query, 10, &(0..u64::MAX)).unwrap();
        assert_eq!(copy, found);
    }

    #[test]
    fn a_range_of_ids_and_a_vector_that_is_there() {
        let database = database(false);
        let (id, _, row) = database.shards[1].vectors().nth(3).unwrap();
        let vector: Vec<f32> = row.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let found = database.search(&vector, 2, &(0..u64::MAX)).unwrap();
        assert!(found[0].id == id && (found[0].score - 1.0).abs() < 1e-5);
        let others = database.search(&vector, usize::MAX, &(0..id)).unwrap();
        assert_eq!(others.len() as u64, id);
        assert!(database.search(&vector, 0, &(0..9)).unwrap().is_empty());
    }

    #[test]
    fn a_vector_without_a_direction_or_of_another_space_is_none() {
        let database = database(false);
        for vector in [vec![0.0; 50], vec![1.0; 49], vec![], vec![f32::INFINITY; 50]] {
            assert_eq!(database.search(&vector, 1, &(0..9)), None);
        }
    }

    #[test]
    fn a_row_that_is_no_vector_is_not_found() {
        let mut shard = shards(1, 9000, 8).unwrap().remove(0);
        let rows = usize::try_from(u64::from_le_bytes(shard[48..56].try_into().unwrap())).unwrap();
        shard[rows..rows + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        let (database, _) = Database::new(vec![Body::own(shard)], false).unwrap();
        let found = database.search(&[1.0; 8], usize::MAX, &(0..u64::MAX)).unwrap();
        assert_eq!(found.len(), database.vectors() - 1);
        assert!(found.iter().all(|near| near.id != 0));
    }

    #[test]
    fn shards_of_different_spaces_are_refused() {
        let mut bodies = shards(1, 9000, 8).unwrap();
        bodies.extend(shards(1, 9000, 9).unwrap());
        let database = Database::new(bodies.into_iter().map(Body::own).collect(), false);
        assert!(matches!(database, Err(Error::Format(FormatError::Value { .. }))));
    }
}
