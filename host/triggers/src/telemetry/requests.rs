//! What is counted of requests, by the routes that components name.
//!
//! A component may name the route of each answer, by a header; a request that it names none for counts by the manifest's route.
//! Bound: [`NAMES`] routes that components name, the first ones; what is named beyond is `other`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, StatusCode};
use marquee_telemetry::{Histogram, Readings};

use super::{PROBLEMS, REQUEST_DURATION, REQUESTS, REQUESTS_ABANDONED, REQUESTS_UNDER_WAY};
use crate::problem::{REASONS, Reason};

/// What is counted of requests: of each route, and over all.
#[derive(Debug, Default)]
pub struct HttpTally {
    routes: BTreeMap<String, Arc<RouteTally>>,
    none: RouteTally,
    named: Named,
    problems: [AtomicU64; REASONS],
}

/// Of one route of the manifest.
#[derive(Debug, Default)]
pub(crate) struct RouteTally {
    answers: Answers,
    under_way: AtomicU64,
    abandoned: AtomicU64,
}

/// Of answers of one route.
#[derive(Debug, Default)]
struct Answers {
    /// Of each method, once it is asked with, by status from 100 on; then all others.
    answered: [OnceLock<Box<[AtomicU64; STATUSES + 1]>>; METHODS.len()],
    took: Histogram,
}

/// Of the routes that components name.
#[derive(Debug, Default)]
struct Named {
    routes: ArcSwap<HashMap<String, Arc<Answers>>>,
    /// Beyond the bound.
    other: Answers,
    /// Held by whoever adds one.
    adding: Mutex<()>,
}

/// A request that is counted. Dropped before it was answered, it was abandoned.
pub(crate) struct Counted<'a> {
    tally: &'a RouteTally,
    /// Its place among the methods.
    method: usize,
    begun: Instant,
    is_answered: bool,
}

impl HttpTally {
    /// Of these routes, as they stand in the manifest.
    pub fn new(routes: impl IntoIterator<Item = String>) -> Self {
        let routes = routes.into_iter();
        Self {
            routes: routes.map(|route| (route, Arc::default())).collect(),
            ..Self::default()
        }
    }

    /// That of a route of the manifest.
    pub(crate) fn route(&self, route: &str) -> Option<&Arc<RouteTally>> {
        self.routes.get(route)
    }

    /// Of requests that no route fits.
    pub(crate) fn none(&self) -> &RouteTally {
        &self.none
    }

    /// The head of an answer is there, of the route that the component names.
    pub(crate) fn answered(
        &self,
        mut counted: Counted<'_>,
        status: StatusCode,
        named: Option<&str>,
    ) {
        counted.is_answered = true;
        let (method, begun) = (counted.method, counted.begun);
        match named.map(|name| (name, self.routes.get(name))) {
            None => counted.tally.answers.add(method, status, begun),
            Some((_, Some(route))) => route.answers.add(method, status, begun),
            Some((name, None)) => self.named.add(name, method, status, begun),
        }
    }

    /// The host answers a request itself.
    pub(crate) fn problem(&self, reason: Reason) {
        if let Some(count) = self.problems.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What they say now.
    pub fn read(&self, into: &mut Readings) {
        for (route, tally) in &self.routes {
            tally.read(route, into);
        }
        self.none.read("none", into);
        for (route, answers) in self.named.routes.load().iter() {
            answers.read(route, into);
        }
        if !self.named.other.is_empty() {
            self.named.other.read("other", into);
        }
        for (reason, count) in Reason::ALL.into_iter().zip(&self.problems) {
            into.count(&PROBLEMS, &[reason.word()], count.load(Ordering::Relaxed));
        }
    }
}

impl RouteTally {
    /// A request has come.
    pub(crate) fn begin(&self, method: &Method, at: Instant) -> Counted<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let known = METHODS.iter().position(|known| method == known);
        Counted {
            tally: self,
            method: known.unwrap_or(OTHER),
            begun: at,
            is_answered: false,
        }
    }

    fn read(&self, route: &str, into: &mut Readings) {
        self.answers.read(route, into);
        let under_way = self.under_way.load(Ordering::Relaxed);
        into.gauge(&REQUESTS_UNDER_WAY, &[route], under_way as f64);
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        into.count(&REQUESTS_ABANDONED, &[route], abandoned);
    }
}

impl Answers {
    fn add(&self, method: usize, status: StatusCode, begun: Instant) {
        let at = usize::from(status.as_u16()).saturating_sub(100);
        let none = || Box::new(std::array::from_fn(|_| AtomicU64::new(0)));
        let statuses = self.answered.get(method);
        let statuses = statuses.map(|statuses| statuses.get_or_init(none));
        if let Some(count) = statuses.and_then(|statuses| statuses.get(at.min(STATUSES))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.took.observe(begun.elapsed());
    }

    fn is_empty(&self) -> bool {
        self.answered.iter().all(|method| method.get().is_none())
    }

    fn read(&self, route: &str, into: &mut Readings) {
        for (method, statuses) in METHODS.iter().zip(&self.answered) {
            for (at, count) in statuses.get().iter().flat_map(|all| all.iter().enumerate()) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let status = match at {
                        STATUSES => "other".to_owned(),
                        at => (at + 100).to_string(),
                    };
                    into.count(&REQUESTS, &[route, method, &status], count);
                }
            }
        }
        into.durations(&REQUEST_DURATION, &[route], self.took.read());
    }
}

impl Named {
    fn add(&self, name: &str, method: usize, status: StatusCode, begun: Instant) {
        let known = self.routes.load();
        if let Some(answers) = known.get(name) {
            return answers.add(method, status, begun);
        }
        if known.len() >= NAMES {
            return self.other.add(method, status, begun);
        }
        let adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut routes = HashMap::clone(&self.routes.load());
        // Others may have added meanwhile.
        if routes.len() < NAMES {
            routes.entry(name.to_owned()).or_default();
            self.routes.store(Arc::new(routes));
        }
        drop(adding);
        let known = self.routes.load();
        let answers = known.get(name).map_or(&self.other, |answers| &**answers);
        answers.add(method, status, begun);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.tally.under_way.fetch_sub(1, Ordering::Relaxed);
        if !self.is_answered {
            self.tally.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The route that a component names, if it is a pattern as routes have them: it begins with `/`, and is no longer than a
/// label should be.
pub(crate) fn name(value: &HeaderValue) -> Option<&str> {
    let name = value.to_str().ok()?;
    (name.starts_with('/') && name.len() <= NAME_BYTES).then_some(name)
}

/// More than an API has that people still read. A route with its durations is some 30 series.
const NAMES: usize = 256;
const NAME_BYTES: usize = 128;
/// Of those that HTTP knows: 100 to 599.
const STATUSES: usize = 500;
/// The last stands for all others.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
const OTHER: usize = METHODS.len() - 1;

#[cfg(test)]
mod tests {
    use marquee_telemetry::Format;

    use super::*;

    fn told(tally: &HttpTally) -> String {
        let mut readings = Readings::default();
        tally.read(&mut readings);
        readings.text(Format::Prometheus).expect("a text")
    }

    fn says(tally: &HttpTally, lines: &[&str]) {
        let said = told(tally);
        for line in lines {
            assert!(said.lines().any(|it| it == *line), "{line}: {said}");
        }
    }

    #[test]
    fn a_request_is_counted_by_its_route_and_status_and_one_without_an_answer_is_abandoned() {
        let tally = HttpTally::new(["/v1/...".to_owned()]);
        let route = tally.route("/v1/...").expect("it is there");
        let status = |status| StatusCode::from_u16(status).expect("a status");
        let begin = |method| route.begin(&method, Instant::now());
        for answer in [200, 200, 503, 999] {
            tally.answered(begin(Method::GET), status(answer), None);
        }
        let unheard_of = Method::from_bytes(b"BREW").expect("a method");
        tally.answered(begin(unheard_of), status(200), None);
        let elsewhere = tally.none().begin(&Method::PUT, Instant::now());
        tally.answered(elsewhere, status(404), None);
        tally.problem(Reason::Route);
        let under_way = begin(Method::GET);
        says(
            &tally,
            &[
                "marquee_http_requests_total{route=\"/v1/...\",method=\"GET\",status=\"200\"} 2",
                "marquee_http_requests_total{route=\"/v1/...\",method=\"GET\",status=\"503\"} 1",
                "marquee_http_requests_total{route=\"/v1/...\",method=\"GET\",status=\"other\"} 1",
                "marquee_http_requests_total{route=\"/v1/...\",method=\"other\",status=\"200\"} 1",
                "marquee_http_requests_total{route=\"none\",method=\"PUT\",status=\"404\"} 1",
                "marquee_http_problems_total{reason=\"route\"} 1",
                "marquee_http_problems_total{reason=\"busy\"} 0",
                "marquee_http_requests_under_way{route=\"/v1/...\"} 1.0",
                "marquee_http_requests_abandoned_total{route=\"/v1/...\"} 0",
                "marquee_http_request_duration_seconds_count{route=\"/v1/...\"} 5",
            ],
        );
        drop(under_way);
        says(
            &tally,
            &[
                "marquee_http_requests_under_way{route=\"/v1/...\"} 0.0",
                "marquee_http_requests_abandoned_total{route=\"/v1/...\"} 1",
            ],
        );
    }

    #[test]
    fn an_answer_counts_by_the_route_that_its_component_names_up_to_so_many() {
        let tally = HttpTally::new(["/...".to_owned(), "/health".to_owned()]);
        let answer = |named: Option<&str>| {
            let route = tally.route("/...").expect("it is there");
            let counted = route.begin(&Method::GET, Instant::now());
            tally.answered(counted, StatusCode::OK, named);
        };
        answer(None);
        answer(Some("/v1/movies/{id}"));
        answer(Some("/v1/movies/{id}"));
        // Of the manifest, too: one series.
        answer(Some("/health"));
        assert!(!told(&tally).contains("other"), "none is beyond the bound");
        for number in 0..NAMES + 10 {
            answer(Some(&format!("/{number}")));
        }
        says(
            &tally,
            &[
                "marquee_http_requests_total{route=\"/...\",method=\"GET\",status=\"200\"} 1",
                "marquee_http_requests_total{route=\"/v1/movies/{id}\",method=\"GET\",status=\"200\"} 2",
                "marquee_http_request_duration_seconds_count{route=\"/v1/movies/{id}\"} 2",
                "marquee_http_requests_total{route=\"/health\",method=\"GET\",status=\"200\"} 1",
                "marquee_http_requests_total{route=\"/0\",method=\"GET\",status=\"200\"} 1",
                "marquee_http_requests_total{route=\"other\",method=\"GET\",status=\"200\"} 11",
                "marquee_http_requests_under_way{route=\"/...\"} 0.0",
            ],
        );
    }

    #[test]
    fn what_is_no_pattern_of_a_route_names_none() {
        let check = |value: &[u8], expected: Option<&str>| {
            let value = HeaderValue::from_bytes(value).expect("a value");
            assert_eq!(name(&value), expected, "{value:?}");
        };
        check(b"/v1/movies/{id}", Some("/v1/movies/{id}"));
        check(b"", None);
        check(b"none", None);
        check("/\u{e4}".as_bytes(), None);
        check(&[b'/'; NAME_BYTES + 1], None);
    }
}
