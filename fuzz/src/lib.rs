//! Inputs for whatever reads what others wrote: good ones, and what becomes of them when somebody changes, cuts, repeats and
//! mixes them.
//!
//! For tests only, which stand next to the parser that they are about and begin with `whatever_comes_`: 256 inputs each in an
//! ordinary run, as many as one likes with `make fuzz`. Bounds: six changes an input, and inputs a few times as long as the
//! longest sample. Not here: what must hold.

use proptest::{collection::vec, prelude::*, sample::Index};

/// Bytes that begin as one of these samples.
pub fn mangled<S: AsRef<[u8]>>(
    samples: impl IntoIterator<Item = S>,
) -> impl Strategy<Value = Vec<u8>> {
    let samples: Vec<Vec<u8>> = samples
        .into_iter()
        .map(|sample| sample.as_ref().to_vec())
        .chain([Vec::new()])
        .collect();
    (any::<Index>(), vec(change(), 0..=CHANGES)).prop_map(move |(first, changes)| {
        let mut bytes = first.get(&samples).clone();
        for change in &changes {
            change.make(&mut bytes, &samples);
        }
        bytes
    })
}

/// The same as text: what is not UTF-8 becomes U+FFFD.
pub fn mangled_text<S: AsRef<str>>(
    samples: impl IntoIterator<Item = S>,
) -> impl Strategy<Value = String> {
    let samples: Vec<Vec<u8>> = samples
        .into_iter()
        .map(|sample| sample.as_ref().as_bytes().to_vec())
        .collect();
    mangled(samples).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// One thing that goes wrong.
#[derive(Debug, Clone)]
enum Change {
    /// A byte is another one.
    Set(Index, u8),
    /// Something stands in between.
    Insert(Index, Vec<u8>),
    /// A piece is gone.
    Remove(Index, Index),
    /// A piece is there twice.
    Repeat(Index, Index),
    /// It ends here.
    Cut(Index),
    /// It goes on as another one does.
    Continue(Index, Index, Index),
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        // A place between two bytes, or at an end.
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        let piece = |one: &Index, other: &Index, bytes: &[u8]| {
            let (one, other) = (at(one, bytes), at(other, bytes));
            one.min(other)..one.max(other)
        };
        match self {
            Self::Set(index, byte) => {
                let at = at(index, bytes);
                if let Some(there) = bytes.get_mut(at) {
                    *there = *byte;
                }
            }
            Self::Insert(index, more) => {
                let at = at(index, bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(one, other) => drop(bytes.drain(piece(one, other, bytes))),
            Self::Repeat(one, other) => {
                let piece = piece(one, other, bytes);
                let again: Vec<u8> = bytes.get(piece.clone()).unwrap_or_default().to_vec();
                bytes.splice(piece.end..piece.end, again);
            }
            Self::Cut(index) => bytes.truncate(at(index, bytes)),
            Self::Continue(index, which, from) => {
                bytes.truncate(at(index, bytes));
                let other = which.get(samples);
                bytes.extend(other.iter().skip(at(from, other)));
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        6 => (index(), telling()).prop_map(|(at, byte)| Change::Set(at, byte)),
        6 => (index(), vec(telling(), 1..16)).prop_map(|(at, more)| Change::Insert(at, more)),
        1 => (index(), index()).prop_map(|(one, other)| Change::Remove(one, other)),
        1 => (index(), index()).prop_map(|(one, other)| Change::Repeat(one, other)),
        1 => index().prop_map(Change::Cut),
        1 => (index(), index(), index()).prop_map(|(at, which, from)| Change::Continue(at, which, from)),
    ]
}

/// A byte: any, or one that means something to many who read.
fn telling() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        prop::sample::select(TELLING),
        b'0'..=b'9',
        b'a'..=b'z',
    ]
}

const CHANGES: usize = 6;
const TELLING: &[u8] = b"\0\t\n\r !\"#%&'()*+,-./:;<=>?@[\\]^_`{|}~\x7f\x80\xbf\xc0\xed\xf4\xff";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};

    use super::*;

    #[test]
    fn inputs_are_near_their_samples_and_not_all_the_same() {
        let strategy = mangled_text(["GET / HTTP/1.1", "PROXY UNKNOWN"]);
        let mut runner = TestRunner::deterministic();
        let inputs: Vec<String> = (0..1_000)
            .map(|_| strategy.new_tree(&mut runner).unwrap().current())
            .collect();
        let distinct: BTreeSet<&String> = inputs.iter().collect();
        assert!(distinct.len() > 500, "{}", distinct.len());
        let near = |text: &&String| text.contains("HTTP") || text.contains("PROXY");
        assert!(inputs.iter().filter(near).count() > 300);
        assert!(inputs.iter().any(|text| text == "PROXY UNKNOWN"));
        assert!(inputs.iter().all(|text| text.len() < 10_000));
    }
}
