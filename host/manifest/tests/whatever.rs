//! Manifests that somebody mangled: read or refused, and each problem has its place in the text.

use marquee_fuzz::mangled_text;
use marquee_manifest::{App, DependencyName, OutboundHost, PathPattern};
use proptest::prelude::*;

/// Real ones, and what of them the documents show.
fn manifests() -> impl Strategy<Value = String> {
    let document = include_str!("../../../MANIFEST.md");
    let examples = document.split("```toml\n").skip(1);
    let examples = examples.filter_map(|behind| Some(behind.split_once("```")?.0));
    let whole = [
        include_str!("../../../spin.toml"),
        include_str!("../../../examples/orders/spin.toml"),
        include_str!("../../../examples/counter/spin.toml"),
    ];
    mangled_text(whole.into_iter().chain(examples))
}

proptest! {
    #[test]
    fn whatever_comes_a_manifest_is_read_or_each_problem_has_its_place(text in manifests()) {
        let problems = match App::parse(&text) {
            Ok(_) => return Ok(()),
            Err(problems) => problems,
        };
        prop_assert!(!problems.is_empty());
        prop_assert!(problems.is_sorted_by_key(|it| (it.span.start, it.span.end)));
        let lines: Vec<&str> = text.split('\n').collect();
        for problem in &problems {
            prop_assert!(text.get(problem.span.clone()).is_some(), "{:?}", problem);
            let line = lines.get(problem.line - 1).expect("there is such a line");
            prop_assert!((1..=line.chars().count() + 1).contains(&problem.column), "{:?}", problem);
            prop_assert!(problem.message.len() < text.len() + 1_000);
        }
    }

    #[test]
    fn whatever_comes_a_dependency_is_shown_as_it_is_written(text in mangled_text(["movie:metadata/queries@0.1.0", "a:b", "a:b@1.0.0-rc.1+x"])) {
        if let Ok(name) = text.parse::<DependencyName>() {
            prop_assert_eq!(name.to_string().parse::<DependencyName>().expect("it is one"), name);
        }
    }

    #[test]
    fn whatever_comes_a_pattern_is_shown_as_it_is_written(text in mangled_text(["/v1/movies/:id/ratings", "/v1/...", "/"])) {
        if let Ok(pattern) = text.parse::<PathPattern>() {
            prop_assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn whatever_comes_a_grant_of_one_host_grants_no_other(text in mangled_text(["https://api.example.com", "http://[::1]:8080", "http://127.0.0.1/", "*://a:*"])) {
        let Ok(grant) = text.parse::<OutboundHost>() else { return Ok(()) };
        if !text.contains("://*") {
            for other in ["evil.example", "api.example.com.evil.example", "10.0.0.1", "[::2]", ""] {
                prop_assert!(text.contains(other) && !other.is_empty() || !grant.allows("https", other, None), "{}", other);
            }
        }
        prop_assert!(!grant.allows("ftp", "api.example.com", None));
    }
}

#[test]
fn what_is_nested_without_an_end_is_refused() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let (open, close) = (open.repeat(20_000), close.repeat(20_000));
        for text in [format!("a = {open}"), format!("a = {open}1{close}")] {
            assert!(App::parse(&text).is_err());
        }
    }
    let dotted = vec!["a"; 20_000].join(".");
    assert!(App::parse(&format!("{dotted} = 1")).is_err());
}
