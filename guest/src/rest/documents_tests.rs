//! The page may do only what it must.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use super::*;

#[test]
fn the_page_may_run_its_own_script_and_style_and_nothing_else() {
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
        let open = format!("<{tag}>");
        let parts: Vec<&str> = DOCS_PAGE.split(&open).collect();
        assert_eq!(parts.len(), 2, "one {open} in the page");
        let text = parts[1].split(&format!("</{tag}>")).next().unwrap();
        let wanted = format!(
            "{directive} 'sha256-{}'",
            BASE64_STANDARD.encode(Sha256::digest(text))
        );
        assert!(
            CSP.contains(&wanted),
            "the policy must have {wanted}, and is {CSP}"
        );
    }
    assert!(CSP.starts_with("default-src 'none'"));
    assert!(!CSP.contains("unsafe"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    for word in [
        "http://",
        "https://",
        "src=",
        "@import",
        "url(",
        "style=\"",
        "innerHTML",
        "eval(",
    ] {
        assert!(!DOCS_PAGE.contains(word), "{word}");
    }
}
