//! Headers as one block of bytes: name and value in turn, each with its length before it.

use bytes::Bytes;

/// The block of these headers.
pub(super) fn encode(headers: &[(String, Bytes)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        for part in [name.as_bytes(), value.as_ref()] {
            // Headers are at most 64 KiB together, checked before.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            block.extend_from_slice(&length.to_be_bytes());
            block.extend_from_slice(part);
        }
    }
    block
}

/// The headers of a block; those before the first fault where it has one.
pub(super) fn decode(block: &[u8]) -> Vec<(String, Bytes)> {
    let mut headers = Vec::new();
    let mut rest = block;
    while let Some((name, after)) = part(rest)
        && let Some((value, after)) = part(after)
    {
        headers.push((
            String::from_utf8_lossy(name).into_owned(),
            Bytes::copy_from_slice(value),
        ));
        rest = after;
    }
    headers
}

fn part(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = block.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_come_back_in_order_with_repeated_names_and_any_bytes() {
        let headers = vec![
            ("marquee-seq".to_owned(), Bytes::from_static(b"17")),
            (String::new(), Bytes::new()),
            ("marquee-seq".to_owned(), Bytes::from_static(&[0, 255, 0])),
        ];
        assert_eq!(decode(&encode(&headers)), headers);
    }

    #[test]
    fn a_torn_block_gives_what_stands_before_the_tear() {
        let headers = vec![
            ("a".to_owned(), Bytes::from_static(b"1")),
            ("b".to_owned(), Bytes::from_static(b"2")),
        ];
        let block = encode(&headers);
        for length in 0..block.len() {
            let (torn, _) = block.split_at(length);
            assert_eq!(decode(torn).len(), usize::from(length >= 10), "{length}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_what_is_read_of_a_block_stands_in_it(block in mangled([
            encode(&[("marquee-seq".to_owned(), Bytes::from_static(b"17")), ("traceparent".to_owned(), Bytes::from_static(b"00-1"))]),
            encode(&[(String::new(), Bytes::new())]),
            vec![0xff; 8],
        ])) {
            let headers = decode(&block);
            prop_assert!(headers.len() <= block.len() / 8);
            let size: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
            prop_assert!(size <= 3 * block.len());
            if headers.iter().all(|(name, _)| !name.contains('\u{fffd}')) {
                prop_assert!(block.starts_with(&encode(&headers)));
            }
        }
    }
}
