//! The passwords that everybody tries first: a list that ships, and what people do to its words.
//!
//! Text is compared without regard to case; digits and marks at either end are taken off (`Dragon77!`), and so are the
//! usual disguises (`p@ssw0rd`). One group of characters over and over, and characters in a row, are common without a
//! list. It is no measure of strength: who guesses a million passwords finds some that pass, which is what the limit of
//! attempts is for.

use std::sync::LazyLock;

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// A text as it is compared.
pub(super) fn fold(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.nfc().flat_map(char::to_lowercase).collect())
}

/// Whether a folded password is one of the common ones.
pub(super) fn is_common(folded: &str) -> bool {
    let bare = bare(folded);
    WORDS.contains(folded)
        || WORDS.contains(bare)
        || WORDS.contains(undisguised(folded).as_str())
        || WORDS.contains(undisguised(bare).as_str())
        || is_repeated(folded)
        || is_row(folded)
}

/// Whether a folded password is a name, with or without ornaments.
pub(super) fn is_like(folded: &str, name: &str) -> bool {
    let name = fold(name);
    !bare(&name).is_empty() && (folded == name.as_str() || bare(folded) == bare(&name))
}

/// Without the digits and marks at both ends.
fn bare(folded: &str) -> &str {
    folded.trim_matches(|c: char| c.is_ascii_digit() || c.is_ascii_punctuation() || c == ' ')
}

fn undisguised(folded: &str) -> Zeroizing<String> {
    let plain = |c| match c {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    };
    Zeroizing::new(folded.chars().map(plain).collect())
}

/// One group of at most four characters over and over.
fn is_repeated(folded: &str) -> bool {
    let chars = Zeroizing::new(folded.chars().collect::<Vec<_>>());
    (1..=4).any(|group| {
        let again = chars.iter().skip(group).zip(chars.iter());
        chars.len() > group && again.into_iter().all(|(later, earlier)| later == earlier)
    })
}

/// Characters that follow each other, forward or backward: all but one of the steps.
fn is_row(folded: &str) -> bool {
    let next = folded.chars().skip(1);
    let steps = || {
        folded
            .chars()
            .zip(next.clone())
            .map(|(a, b)| i64::from(u32::from(b)) - i64::from(u32::from(a)))
    };
    let all = steps().count();
    [1, -1]
        .iter()
        .any(|step| steps().filter(|found| found == step).count() + 1 >= all)
}

static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("common.txt").lines();
    lines.filter(|line| !line.starts_with('#')).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_form_that_is_compared_and_in_order() {
        let lines: Vec<_> = include_str!("common.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert!(lines.len() > 400, "{}", lines.len());
        assert!(lines.is_sorted_by(|a, b| a < b), "sorted, each word once");
        for line in lines {
            assert_eq!(fold(line).as_str(), line);
            assert!(!line.is_empty() && line.trim() == line, "{line:?}");
        }
    }

    #[test]
    fn rows_and_repetitions_are_found_at_any_length() {
        let check = |text: &str, common: bool| {
            assert_eq!(is_repeated(text) || is_row(text), common, "{text}")
        };
        check("abcdefgh", true);
        check("hgfedcba", true);
        check("1234567890", true);
        check("abababab", true);
        check("abcdabcdab", true);
        check("abcdeabcde", true);
        check("axbycaxbyc", false);
        check("abcxyzdef", false);
        check("ааааааааа", true);
    }
}
