//! Which escapes a URL may have.

use axum::http::Uri;
use marquee_fuzz::mangled_text;

#[test]
fn wrong_escapes_are_refused_wherever_they_stand() {
    let check = |target: &str, good: bool| {
        assert_eq!(
            super::check(&target.parse().unwrap()).is_ok(),
            good,
            "{target}"
        );
    };
    for target in [
        "/",
        "/v1/a%2Fb/c+d?x=1%262&y=a+b%2Bc",
        "/%C3%A9?%C3%A9=%f0%9f%8e%ac",
    ] {
        check(target, true);
    }
    for target in [
        "/%",
        "/%4",
        "/%zz",
        "/%00",
        "/%ff",
        "/%c0%af",
        "/%ed%a0%80",
        "/?a=%",
        "/?a=%00",
        "/?%fe=1",
        "/%+1",
    ] {
        check(target, false);
    }
}

proptest::proptest! {
    #[test]
    fn what_was_encoded_is_taken(text in "[^\0]{0,40}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert!(super::check(&format!("/{encoded}").parse().unwrap()).is_ok());
    }

    #[test]
    fn whatever_comes_what_is_taken_is_text_without_nul(target in mangled_text(["/v1/a%2Fb/c+d?x=1%262&y=a+b%2Bc", "/%C3%A9?%f0%9f%8e%ac", "/%ed%a0%80%00"])) {
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        // As it is written in a request; what is not ASCII is written plainly there, too.
        let Some(written) = uri.path_and_query() else { return Ok(()) };
        if super::check(&uri).is_ok() {
            let parts = written.as_str().split('%');
            let mut decoded = Vec::new();
            for (index, part) in parts.enumerate() {
                let rest = match index {
                    0 => part,
                    _ => {
                        let (digits, rest) = part.split_at_checked(2).expect("two digits");
                        decoded.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                        rest
                    }
                };
                decoded.extend(rest.bytes());
            }
            assert!(String::from_utf8(decoded).is_ok_and(|text| !text.contains('\0')), "{target}");
        }
    }
}
