//! Which media types a client accepts.

use super::*;

#[test]
fn accept_is_read_by_its_closest_range() {
    let check = |accept: &'static str, good: bool| {
        let headers = [(header::ACCEPT, accept.parse().unwrap())]
            .into_iter()
            .collect();
        assert_eq!(
            accepted(&headers, &["application/json"]),
            good,
            "{accept:?}"
        );
    };
    for accept in [
        "",
        "*/*",
        "application/*",
        "APPLICATION/json",
        "text/html, application/json;q=0.1",
        "text/html,*/*;q=0.8",
        "application/json;charset=utf-8",
        "*/*;q=0, application/json",
        "nonsense",
    ] {
        check(accept, true);
    }
    for accept in [
        "image/png",
        "text/*",
        "application/json;q=0",
        "*/*, application/json;q=0.0",
        "application/xml, text/html",
        "application/problem+json",
    ] {
        check(accept, false);
    }
    assert!(accepted(&HeaderMap::new(), &["application/json"]));
}
