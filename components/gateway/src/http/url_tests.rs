//! Which escapes a URL may have.

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
}
