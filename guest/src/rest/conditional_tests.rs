//! Which version may be changed, and what is sent again.

use axum::http::HeaderMap;

use super::*;

fn request(name: HeaderName, values: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name.clone(), HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn a_version_is_changed_only_where_its_tag_is_named() {
    let check = |values: &[&'static str], third: bool| {
        let headers = request(header::IF_MATCH, values);
        let expected = Expected(headers.typed_try_get().unwrap());
        assert_eq!(expected.is(3), third, "{values:?}");
    };
    check(&[], true);
    check(&["*"], true);
    check(&["\"3\""], true);
    check(&["\"2\", \"3\""], true);
    check(&["\"2\"", "\"3\""], true);
    check(&["\"2\""], false);
    check(&["\"33\""], false);
    check(&["W/\"3\""], false);
    check(&["\"x\""], false);
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let check = |values: &[&'static str], tag: Option<&'static str>, status: u16| {
        let mut response = Response::new(Body::from("{}"));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(tag) = tag {
            headers.insert(header::ETAG, HeaderValue::from_static(tag));
        }
        let request = request(header::IF_NONE_MATCH, values);
        let found = futures::executor::block_on(answer(&Method::GET, &request, response));
        assert_eq!(found.status().as_u16(), status, "{values:?} {tag:?}");
        assert!(found.headers().contains_key(header::ETAG));
    };
    check(&[], Some("\"3\""), 200);
    check(&["\"3\""], Some("\"3\""), 304);
    check(&["W/\"3\""], Some("\"3\""), 304);
    check(&["\"2\", \"3\""], Some("\"3\""), 304);
    check(&["*"], Some("\"3\""), 304);
    check(&["\"2\""], Some("\"3\""), 200);
    check(&["3"], Some("\"3\""), 200);
    check(&["\"44136fa355b3678a1146ad16f7e8649e\""], None, 304);
    check(&["\"44136fa355b3678a1146ad16f7e8649f\""], None, 200);
}
