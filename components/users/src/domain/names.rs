//! Names and e-mail addresses, and how they are compared.
//!
//! A [`Key`] is the canonical composition (NFC), lower-cased character by character: it matters neither how an accent was
//! typed nor a letter's case. It is no full case folding, as titles of movies have it: "Weiß" and "Weiss" are two people,
//! though "Straße" and "Strasse" are one title. It stays that way, since a wider rule would make one of two users who have
//! their names already. It does not hide that letters of two scripts look alike. A name has no `@` and an address has
//! one, so whoever logs in with either cannot be taken for somebody else.

use unicode_normalization::UnicodeNormalization as _;

use super::{Invalid, attempt::subject};

/// A text as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    fn of(text: &str) -> Self {
        let lower = text.nfc().flat_map(char::to_lowercase).map(|c| match c {
            // The one letter with a second lower-case form: at the end of a word.
            'ς' => 'σ',
            other => other,
        });
        // Lower-casing can leave what composes further.
        Self(lower.nfc().collect())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A user's name; every bound holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    text: String,
    key: Key,
}

impl Name {
    /// Take the outer blanks off and check every bound.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = bounded("name", text, TYPED_MAX_BYTES)?;
        let text: String = text.trim().nfc().collect();
        let invalid = |bound: &str| Err(Invalid::new("name", bound));
        if !(1..=NAME_MAX_CHARS).contains(&text.chars().count()) {
            return Err(Invalid::new(
                "name",
                format_args!("must have 1 to {NAME_MAX_CHARS} characters"),
            ));
        }
        if text.contains('@') {
            return invalid("must not have the character @");
        }
        if text.contains(is_unseen) {
            return invalid("must not have control characters or characters without a shape");
        }
        let key = Key::of(&text);
        if key.0.len() > NAME_KEY_MAX_BYTES {
            return Err(Invalid::new(
                "name",
                format_args!("must have at most {NAME_KEY_MAX_BYTES} bytes in lower case"),
            ));
        }
        Ok(Self { text, key })
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As it is compared.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

/// An e-mail address; every bound holds. Only mail that arrives proves one, so little is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    key: Key,
}

impl Email {
    /// Take the outer blanks off and check every bound.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = bounded("email", text, TYPED_MAX_BYTES)?;
        let text: String = text.trim().nfc().collect();
        if text.len() > EMAIL_MAX_BYTES {
            return Err(Invalid::new(
                "email",
                format_args!("must have at most {EMAIL_MAX_BYTES} bytes"),
            ));
        }
        let parts = text.split_once('@');
        let good = parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        });
        if !good || text.contains(|c: char| c.is_whitespace() || is_unseen(c)) {
            return Err(Invalid::new(
                "email",
                "must be like name@domain, without blanks",
            ));
        }
        Ok(Self {
            key: Key::of(&text),
            text,
        })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As it is compared.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

/// What somebody typed to log in: what has an `@` is an address. What can be neither is nobody's, and its attempts count
/// all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    name: Option<Key>,
    email: Option<Key>,
    nobody: String,
}

impl Login {
    /// Read it; whatever it is.
    pub fn parse(text: &str) -> Self {
        let email = Email::parse(text).ok().map(|email| email.key);
        let name = Name::parse(text).ok().map(|name| name.key);
        let nobody = match (&name, &email) {
            (Some(key), _) => subject("name", &key.0),
            (_, Some(key)) => subject("email", &key.0),
            _ => subject("odd", text),
        };
        Self {
            name,
            email,
            nobody,
        }
    }

    /// The name that is looked for.
    pub fn name(&self) -> Option<&Key> {
        self.name.as_ref()
    }

    /// The address that is looked for.
    pub fn email(&self) -> Option<&Key> {
        self.email.as_ref()
    }

    /// The subject of attempts where nobody is found. Those on a user have the user's id.
    pub fn nobody(&self) -> &str {
        &self.nobody
    }
}

/// So long that nothing good is refused, and so short that it costs nothing to look at.
fn bounded<'a>(field: &str, text: &'a str, max_bytes: usize) -> Result<&'a str, Invalid> {
    if text.len() > max_bytes {
        return Err(Invalid::new(
            field,
            format_args!("must have at most {max_bytes} bytes"),
        ));
    }
    Ok(text)
}

/// What nobody sees: control characters, marks of direction, joiners and the like, by which one name passes for another.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Most characters of a name.
const NAME_MAX_CHARS: usize = 64;
/// Most bytes of a name's key: one index entry. 64 characters of four bytes that lower case makes longer.
const NAME_KEY_MAX_BYTES: usize = 768;
/// Most bytes of an address (RFC 5321).
const EMAIL_MAX_BYTES: usize = 254;
/// Most bytes that are looked at.
const TYPED_MAX_BYTES: usize = 2_048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_has_1_to_64_visible_characters_without_an_at() {
        let check = |text: &str, name: Option<&str>| {
            assert_eq!(
                Name::parse(text).ok().as_ref().map(Name::as_str),
                name,
                "{text:?}"
            );
        };
        check("ann", Some("ann"));
        check(" Ann Lee ", Some("Ann Lee"));
        check("Ame\u{301}lie", Some("Amélie"));
        check("李", Some("李"));
        check("", None);
        check("  ", None);
        check("ann@example", None);
        check("a\nb", None);
        check("a\0b", None);
        check("ad\u{200b}min", None);
        check("\u{202e}nimda", None);
        check(&"é".repeat(64), Some(&"é".repeat(64)));
        check(&"é".repeat(65), None);
        // As they are composed.
        check(&"e\u{301}".repeat(64), Some(&"é".repeat(64)));
        check(&"a\u{301}\u{302}\u{303}\u{304}".repeat(17), None);
        check(&"x".repeat(5_000), None);
    }

    #[test]
    fn an_address_has_one_at_with_something_on_either_side() {
        let check =
            |text: &str, good: bool| assert_eq!(Email::parse(text).is_ok(), good, "{text:?}");
        check("ann@example.org", true);
        check(" ann@example.org ", true);
        check("a@b", true);
        check("ann+movies@example.org", true);
        check("jörg@exämple.org", true);
        check("ann", false);
        check("@example.org", false);
        check("ann@", false);
        check("a@b@c", false);
        check("ann lee@example.org", false);
        check("ann@exa\0mple.org", false);
        check(&format!("{}@example.org", "a".repeat(242)), true);
        check(&format!("{}@example.org", "a".repeat(243)), false);
    }

    #[test]
    fn names_that_people_take_for_the_same_have_one_key() {
        let check = |left: &str, right: &str, same: bool| {
            assert_eq!(
                Name::parse(left).unwrap().key == Name::parse(right).unwrap().key,
                same,
                "{left} {right}"
            );
        };
        check("Ann", "aNN ", true);
        check("Amélie", "AME\u{301}LIE", true);
        check("Οδός", "ΟΔΌΣ", true);
        check("ann", "anne", false);
        check("Straße", "Strasse", false);
    }

    #[test]
    fn who_logs_in_with_an_at_means_an_address() {
        let check = |text: &str, name: Option<&str>, email: Option<&str>| {
            let login = Login::parse(text);
            assert_eq!(login.name().map(Key::as_str), name, "{text}");
            assert_eq!(login.email().map(Key::as_str), email, "{text}");
            assert!((1..=128).contains(&login.nobody().len()), "{text}");
        };
        check("Ann", Some("ann"), None);
        check("Ann@Example.org", None, Some("ann@example.org"));
        check("a@b@c", None, None);
        check("", None, None);
        check(&"x".repeat(5_000), None, None);
        assert_eq!(Login::parse("Ann").nobody(), Login::parse(" aNN").nobody());
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key_and_fits_its_column(text in any::<String>()) {
            let key = Key::of(&text);
            prop_assert_eq!(&Key::of(key.as_str()), &key);
            if let Ok(name) = Name::parse(&text) {
                prop_assert!((1..=768).contains(&name.key.0.len()));
                prop_assert_eq!(Name::parse(name.as_str()), Ok(name));
            }
        }

        #[test]
        fn an_addresss_key_fits_its_column(text in "\\PC{1,20}@\\PC{1,20}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert!((3..=1016).contains(&email.key.0.len()));
            }
        }
    }
}
