//! Which partition a key belongs to: `murmur2(key) mod partitions`, as Kafka's own clients compute it.
//!
//! Promise: the same on both buses, on every machine and in every version; a change here would tear keys apart.
//! A record with an empty key may go anywhere.

/// The partition of a key, of which there are `partitions` (at least one).
pub(crate) fn partition_of(key: &str, partitions: i32) -> i32 {
    // The sign bit goes first, as in Kafka; what is left is not negative.
    let positive = (murmur2(key.as_bytes()) & 0x7fff_ffff).cast_signed();
    positive % partitions.max(1)
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Keys are at most a few hundred bytes; the length wraps as it does in Kafka.
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own test of its clients.
    #[test]
    fn the_hash_is_the_one_of_kafkas_clients() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_within_the_topic() {
        for key in ["21", "foobar", "abc", "", "\u{1f3ac}"] {
            for partitions in 1..=64 {
                assert!((0..partitions).contains(&partition_of(key, partitions)));
            }
        }
    }
}
