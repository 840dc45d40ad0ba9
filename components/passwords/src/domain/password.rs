//! A password as it is hashed: the canonical composition (NFC) of what was typed, so that it does not matter how a
//! keyboard made an accent. It is wiped when it is dropped, and prints nothing.

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::{Invalid, common};

/// Fewest characters of a new password.
pub const CHARS_MIN: usize = 8;
/// Most characters of a new password.
pub const CHARS_MAX: usize = 128;
/// Most bytes of a password.
pub const BYTES_MAX: usize = 512;
/// Most bytes that are looked at: composition makes a text shorter by a factor of three and a little.
const TYPED_BYTES_MAX: usize = 4 * BYTES_MAX;

/// A password in its canonical composition.
pub struct Password(Zeroizing<String>);

impl Password {
    /// A new one: every rule holds, and it is none of `unlike`, the user's own names.
    pub fn new(typed: &str, unlike: &[String]) -> Result<Self, Invalid> {
        let password = Self::typed(typed)
            .ok_or_else(|| Invalid(format!("must have at most {BYTES_MAX} bytes")))?;
        let chars = password.0.chars().count();
        if !(CHARS_MIN..=CHARS_MAX).contains(&chars) {
            return Err(Invalid(format!(
                "must have {CHARS_MIN} to {CHARS_MAX} characters"
            )));
        }
        let folded = common::fold(&password.0);
        if common::is_common(&folded) {
            return Err(Invalid(
                "is one of those that everybody tries first".to_owned(),
            ));
        }
        if unlike.iter().any(|name| common::is_like(&folded, name)) {
            return Err(Invalid(
                "must not be your name or e-mail address".to_owned(),
            ));
        }
        Ok(password)
    }

    /// What somebody typed to log in; none where no password can be it. The rules for new ones do not matter: those of
    /// the day when it was new were kept.
    pub fn typed(typed: &str) -> Option<Self> {
        if typed.len() > TYPED_BYTES_MAX {
            return None;
        }
        let mut text = Zeroizing::new(String::with_capacity(3 * typed.len()));
        text.extend(typed.nfc());
        (text.len() <= BYTES_MAX).then_some(Self(text))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(typed: &str, unlike: &[&str]) -> Option<String> {
        let unlike: Vec<_> = unlike.iter().map(|&name| name.to_owned()).collect();
        let refused = Password::new(typed, &unlike).err();
        refused.map(|Invalid(rule)| rule)
    }

    #[test]
    fn a_new_password_has_8_to_128_characters_and_at_most_512_bytes() {
        let long = |part: &str, times: usize| part.repeat(times);
        let check = |typed: &str, good: bool| assert_eq!(refused(typed, &[]).is_none(), good);
        check("Zx7!qv2", false);
        check("Zx7!qv2k", true);
        check("", false);
        check(&long("Zx7!qv2k", 16), true);
        check(&(long("Zx7!qv2k", 16) + "p"), false);
        // 128 characters of four bytes are 512 bytes.
        let four = "𝒫𝒶𝓈𝓌ℴ𝓇𝒹𝟏";
        assert_eq!((four.chars().count(), four.len()), (8, 31));
        check(&long("🦀🐢🐍🐙🐝🐞🐳🦉", 16), true);
        check(&(long("🦀🐢🐍🐙🐝🐞🐳🦉", 16) + "a"), false);
    }

    #[test]
    fn characters_are_counted_as_they_are_composed() {
        let check = |typed: &str, good: bool| assert_eq!(refused(typed, &[]).is_none(), good);
        // Fourteen code points are typed, seven are left.
        check(&"e\u{301}".repeat(7), false);
        check(
            "e\u{301}a\u{301}o\u{301}u\u{301}i\u{301}y\u{301}n\u{303}A\u{301}",
            true,
        );
    }

    #[test]
    fn what_everybody_tries_is_refused_in_any_case_and_with_the_usual_ornaments() {
        for typed in [
            "password",
            "PASSWORD",
            "Password1",
            "p@ssw0rd",
            "P@$$w0rd123!",
            "12345678",
            "123456789",
            "87654321",
            "qwertyuiop",
            "QwErTy123",
            "iloveyou",
            "aaaaaaaa",
            "abcabcabc",
            "abcdefgh",
            "Summer2024!",
            "letmein!!",
            "!!dragon77",
            "1q2w3e4r",
            "correcthorsebatterystaple",
            "        ",
            "baseball",
            "trustno1",
        ] {
            let rule = refused(typed, &[]);
            assert!(
                rule.is_some_and(|rule| rule.contains("everybody")),
                "{typed}"
            );
        }
        for typed in [
            "tr0ub4dor&3x",
            "my cat eats green mice",
            "correct zebra battery",
            "пароль моей кошки",
        ] {
            assert_eq!(refused(typed, &[]), None, "{typed}");
        }
    }

    #[test]
    fn the_users_own_name_and_address_are_refused() {
        let check = |typed: &str, name: &str, good: bool| {
            assert_eq!(refused(typed, &[name]).is_none(), good, "{typed} {name}");
        };
        check("annabelle", "Annabelle", false);
        check("ANNABELLE", "annabelle", false);
        check("annabelle77!", "Annabelle", false);
        check("ame\u{301}lie-poulain", "Amélie-Poulain", false);
        check("ann@example.org", "ann@example.org", false);
        check("annabelle", "ann", true);
        check("annabelle likes ham", "Annabelle", true);
        // A mere ornament is no likeness.
        check("zebra 42 moon", "", true);
        check("zebra 42 moon", "42", true);
    }

    #[test]
    fn nothing_of_a_password_is_in_what_is_said_about_it() {
        let typed = "hunter2-and-so-on".repeat(40);
        let Invalid(rule) = Password::new(&typed, &[]).unwrap_err();
        assert!(!rule.contains("hunter2"));
        let password = Password::new("hunter2-and-so-on", &[]).unwrap();
        assert_eq!(format!("{password:?}"), "Password");
    }

    proptest! {
        #[test]
        fn however_an_accent_was_typed_the_password_is_the_same(typed in "\\PC{0,100}") {
            let bytes = |typed: &str| Password::typed(typed).map(|password| password.as_bytes().to_vec());
            let (composed, taken_apart): (String, String) = (typed.nfc().collect(), typed.nfd().collect());
            prop_assert_eq!(bytes(&composed), bytes(&taken_apart));
        }

        #[test]
        fn no_text_is_too_odd(typed in any::<String>(), name in any::<String>()) {
            let _ = Password::new(&typed, &[name]);
        }
    }
}
