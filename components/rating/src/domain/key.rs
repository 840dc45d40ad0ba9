//! Ids of events that are made of an idempotency key: the first ten bytes are of the key and its owner, the others of the
//! act. So whoever knows which ids came knows whether a key was used for another act, and keeps nothing for it.

use std::ops::RangeInclusive;

use uuid::{Uuid, Variant};

/// Where the ids of all acts under the key of this one stand, if it is made of a key.
pub fn rivals(id: Uuid) -> Option<RangeInclusive<Uuid>> {
    if id.get_version_num() != 8 || id.get_variant() != Variant::RFC4122 {
        return None;
    }
    let bits = id.as_u128();
    Some(Uuid::from_u128(bits & !OF_THE_ACT)..=Uuid::from_u128(bits | OF_THE_ACT))
}

/// The last six bytes: 48 bits that tell the acts of one key apart.
const OF_THE_ACT: u128 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::rivals;
    use uuid::Uuid;

    #[test]
    fn acts_of_one_key_have_ids_that_begin_alike() {
        let id = |text: &str| Uuid::parse_str(text).unwrap();
        let range = rivals(id("00010203-0405-8607-8809-0a0b0c0d0e0f")).unwrap();
        for (text, inside) in [
            ("00010203-0405-8607-8809-000000000000", true),
            ("00010203-0405-8607-8809-ffffffffffff", true),
            ("00010203-0405-8607-880a-000000000000", false),
            ("00010203-0405-8607-8808-ffffffffffff", false),
        ] {
            assert_eq!(range.contains(&id(text)), inside, "{text}");
        }
        assert_eq!(rivals(id("0192f0c1-2345-7abc-8def-0123456789ab")), None);
        assert_eq!(rivals(id("00010203-0405-8607-c809-0a0b0c0d0e0f")), None);
    }
}
