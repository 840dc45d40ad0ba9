//! The documents: what is sent, and that the page may do only what it must.

use gateway::routes::{DOCS_PAGE, OPENAPI};
use sha2::{Digest, Sha256};

use crate::double::{Double, assert_problem, get, json, send};

#[test]
fn the_openapi_document_is_sent_as_json() {
    let response = get(&Double::default(), "/openapi.json");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.body.as_deref(), Some(OPENAPI.as_bytes()));
    let headers = [("accept", "application/vnd.oai.openapi+json")];
    assert_eq!(
        send(&Double::default(), "GET", "/openapi.json", &headers, b"").status,
        200
    );
}

#[test]
fn the_page_is_sent_to_browsers() {
    let accept = [(
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    )];
    let response = send(&Double::default(), "GET", "/docs", &accept, b"");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.body.as_deref(), Some(DOCS_PAGE.as_bytes()));
    assert_eq!(
        send(
            &Double::default(),
            "GET",
            "/docs",
            &[("accept", "application/json")],
            b""
        )
        .status,
        406
    );
}

#[test]
fn the_page_may_run_its_own_script_and_style_and_nothing_else() {
    let response = get(&Double::default(), "/docs");
    let policy = response.header("content-security-policy").unwrap();
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
        let open = format!("<{tag}>");
        let parts: Vec<&str> = DOCS_PAGE.split(&open).collect();
        assert_eq!(parts.len(), 2, "one {open} in the page");
        let text = parts[1].split(&format!("</{tag}>")).next().unwrap();
        let wanted = format!("{directive} 'sha256-{}'", base_64(&Sha256::digest(text)));
        assert!(
            policy.contains(&wanted),
            "the policy must have {wanted}, and is {policy}"
        );
    }
    assert!(policy.starts_with("default-src 'none'"));
    assert!(!policy.contains("unsafe"));
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

#[test]
fn the_type_of_a_problem_can_be_looked_up() {
    let problem = assert_problem(
        &get(&Double::default(), "/v1/movies/x"),
        400,
        "invalid-parameter",
    );
    let response = get(&Double::default(), problem["type"].as_str().unwrap());
    assert_eq!(response.status, 200);
    let described = json(&response);
    for member in ["type", "title", "status"] {
        assert_eq!(described[member], problem[member]);
    }
}

fn base_64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let bits = chunk
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            (0..4).map(move |at| {
                if at <= chunk.len() {
                    char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63])
                } else {
                    '='
                }
            })
        })
        .collect()
}
