//! The rates of a manifest, on a clock that stands still until it is told to go on.

use std::{num::NonZeroU32, time::Duration};

use governor::clock::FakeRelativeClock;
use http::{HeaderValue, Request, header};
use marquee_manifest::App;

use super::*;

/// Limits as a manifest says them, and the clock that they go by.
struct Setup {
    limits: Limits<FakeRelativeClock>,
    clock: FakeRelativeClock,
    web: ComponentId,
}

/// What a client sees of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    refused: bool,
    limit: u64,
    remaining: u64,
    reset: u64,
    retry_after: Option<u64>,
}

impl Setup {
    fn new(rates: &str) -> Self {
        let text = format!(
            "spin_manifest_version = 2
            application = {{ name = \"x\" }}
            [[trigger.http]]
            route = \"/...\"
            component = \"web\"
            [component.web]
            source = \"web.wasm\"
            [component.web.tool.marquee]
            {rates}"
        );
        let app = App::parse(&text).unwrap();
        let rates = app
            .components
            .into_iter()
            .map(|(id, component)| (id, component.rates))
            .collect();
        let clock = FakeRelativeClock::default();
        Self {
            limits: Limits::new(rates, &clock),
            clock,
            web: "web".parse().unwrap(),
        }
    }

    /// One request, and an answer in which the component names a subject.
    fn ask_as(&self, request: &str, client: &str, token: &str, subject: &str) -> Option<Seen> {
        let (method, path) = request.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let address = client.parse().unwrap();
        let admission = self.limits.admit(&self.web, &parts, address).unwrap();
        let refused = admission.is_refused();
        let mut answer = HeaderMap::new();
        if !refused && !subject.is_empty() {
            answer.insert("who", subject.parse().unwrap());
        }
        admission.see_off(&mut answer);
        assert!(!answer.contains_key("who"), "a subject stays inside");
        let number = |name: &str| {
            let value: &HeaderValue = answer.get(name)?;
            value.to_str().unwrap().parse().ok()
        };
        Some(Seen {
            refused,
            limit: number("ratelimit-limit")?,
            remaining: number("ratelimit-remaining")?,
            reset: number("ratelimit-reset")?,
            retry_after: number("retry-after"),
        })
    }

    fn ask(&self, request: &str, client: &str) -> Option<Seen> {
        self.ask_as(request, client, "", "")
    }

    fn passes(&self, request: &str, client: &str, token: &str) -> bool {
        !self.ask_as(request, client, token, "").unwrap().refused
    }
}

const ONE: &str = "192.0.2.1";
const TWO: &str = "192.0.2.2";

#[test]
fn a_client_is_told_how_it_stands_and_when_to_come_again() {
    let setup = Setup::new("rates = [{ class = \"all\", client = { rate = \"6/m\", burst = 3 } }]");
    let passed = |remaining, reset| Seen {
        refused: false,
        limit: 3,
        remaining,
        reset,
        retry_after: None,
    };
    for expected in [passed(2, 10), passed(1, 20), passed(0, 30)] {
        assert_eq!(setup.ask("GET /", ONE), Some(expected));
    }
    let refused = |reset, retry_after| Seen {
        refused: true,
        limit: 3,
        remaining: 0,
        reset,
        retry_after: Some(retry_after),
    };
    assert_eq!(setup.ask("GET /", ONE), Some(refused(30, 10)));
    // Rounded up: who comes then is not refused again. And asking in vain costs nothing.
    setup.clock.advance(Duration::from_millis(9_500));
    assert_eq!(setup.ask("GET /", ONE), Some(refused(21, 1)));
    setup.clock.advance(Duration::from_millis(500));
    assert_eq!(setup.ask("GET /", ONE), Some(passed(0, 30)));
    assert_eq!(setup.ask("GET /", TWO), Some(passed(2, 10)), "others");
}

#[test]
fn reads_do_not_use_up_writes_and_what_is_of_no_class_is_free() {
    let setup = Setup::new(
        "rates = [
            { class = \"reads\", methods = [\"GET\"], client = { rate = \"1/m\" } },
            { class = \"writes\", paths = [\"/v1/...\"], client = { rate = \"1/m\" } },
        ]",
    );
    assert!(setup.passes("GET /v1/movies", ONE, ""));
    assert!(!setup.passes("GET /v1/movies", ONE, ""));
    assert!(setup.passes("POST /v1/movies", ONE, ""));
    assert!(!setup.passes("PUT /v1/users", ONE, ""), "of the same class");
    for _ in 0..10 {
        assert_eq!(setup.ask("POST /other", ONE), None);
    }
}

#[test]
fn a_subject_counts_beside_the_address_and_never_in_its_place() {
    let setup = Setup::new(
        "rates = [{ class = \"all\", client = { rate = \"5/m\" }, subject = { rate = \"2/m\" } }]",
    );
    assert!(setup.passes("GET /", ONE, "a"));
    assert!(setup.passes("GET /", TWO, "a"));
    for client in [ONE, TWO] {
        let seen = setup.ask_as("GET /", client, "a", "").unwrap();
        assert_eq!(
            (seen.refused, seen.limit),
            (true, 2),
            "wherever it comes from"
        );
    }
    assert!(setup.passes("GET /", ONE, "b"), "another token");
    assert!(setup.passes("GET /", ONE, ""), "no token");
    // Of its 5 requests the address has used 4: tokens that are made up do not help.
    assert!(setup.passes("GET /", ONE, "c"));
    let seen = setup.ask_as("GET /", ONE, "d", "").unwrap();
    assert_eq!((seen.refused, seen.limit), (true, 5));
}

#[test]
fn a_client_is_told_of_the_limit_that_it_is_nearest_to() {
    let setup = Setup::new(
        "rates = [{ class = \"all\", client = { rate = \"5/m\" }, subject = { rate = \"3/m\" } }]",
    );
    let stands = |client, token| {
        let seen = setup.ask_as("GET /", client, token, "").unwrap();
        (seen.limit, seen.remaining)
    };
    assert_eq!(stands(ONE, "a"), (3, 2));
    assert_eq!(stands(ONE, ""), (5, 3));
    assert_eq!(
        stands(ONE, "b"),
        (5, 2),
        "as near, and longer until it is as before"
    );
    assert_eq!(stands(ONE, "c"), (5, 1));
}

#[test]
fn who_is_refused_by_one_limit_is_refused_whatever_is_left_of_the_other() {
    let setup = Setup::new(
        "rates = [{
            class = \"all\",
            client = { rate = \"3/h\" },
            subject = { rate = \"1/m\", burst = 2 },
        }]",
    );
    assert!(setup.passes("GET /", ONE, "a"));
    assert!(setup.passes("GET /", ONE, "a"));
    // The address has one left, and would wait longer for the next.
    let seen = setup.ask_as("GET /", ONE, "a", "").unwrap();
    assert_eq!((seen.refused, seen.limit), (true, 2));
}

#[test]
fn tokens_of_one_subject_count_together_once_the_component_has_named_it() {
    let setup = Setup::new(
        "subject_header = \"who\"
        rates = [{ class = \"all\", client = { rate = \"100/m\" }, subject = { rate = \"3/m\" } }]",
    );
    let ask = |token, subject| {
        setup
            .ask_as("GET /", ONE, token, subject)
            .unwrap()
            .remaining
    };
    // Each token is its own subject until it is known whose it is.
    assert_eq!(ask("ann-1", "ann"), 2);
    assert_eq!(ask("ann-2", "ann"), 2);
    assert_eq!(ask("bob-1", "bob"), 2);
    assert_eq!(ask("ann-1", "ann"), 2);
    assert_eq!(ask("ann-2", "ann"), 1);
    assert_eq!(ask("ann-1", "ann"), 0);
    assert!(!setup.passes("GET /", TWO, "ann-2"));
    assert!(setup.passes("GET /", TWO, "bob-1"));
}

#[test]
fn what_a_component_says_of_its_own_limit_stays() {
    let setup = Setup::new("rates = [{ class = \"all\", client = { rate = \"5/m\" } }]");
    let (parts, ()) = Request::new(()).into_parts();
    let address = "192.0.2.1".parse().unwrap();
    let admission = setup.limits.admit(&setup.web, &parts, address).unwrap();
    let mut answer = HeaderMap::new();
    answer.insert("ratelimit-limit", 1.into());
    admission.see_off(&mut answer);
    assert_eq!(answer.get("ratelimit-limit"), Some(&HeaderValue::from(1)));
    assert_eq!(answer.len(), 1);
}

#[test]
fn a_rate_may_be_as_high_and_as_low_as_the_manifest_allows() {
    let most = NonZeroU32::new(1_000_000).unwrap();
    for (requests, seconds) in [(most, 1), (NonZeroU32::MIN, 3_600)] {
        let per = Duration::from_secs(seconds);
        let rate = Rate {
            requests,
            per,
            burst: most,
        };
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::new("keys", 100, &clock);
        let limiter = limiter(rate, buckets.of(0), &clock);
        assert_eq!(check(&limiter, &1_u64).retry_after(), None);
    }
}
