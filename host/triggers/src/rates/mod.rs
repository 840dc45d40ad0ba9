//! Rates: how often a client address, and an authenticated subject, may ask a component over HTTP.
//!
//! GCRA, counted in this process before a body is read and a call is made. A request passes if its address passes and,
//! where it comes with credentials, its subject passes too: the address comes first and always counts, since credentials
//! cost nothing to make up before somebody has looked at them. Bound: `KEYS`. Not here: rates over several hosts; each
//! counts for itself.

mod buckets;
mod standing;
mod subjects;

use std::{collections::BTreeMap, hash::Hash, net::IpAddr};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
};
use http::{HeaderMap, HeaderName, request};
use marquee_manifest::{ComponentId, Rate, RateClass, Rates};

use self::{
    buckets::{Buckets, Limit},
    standing::Standing,
    subjects::{Credentials, Subject, Subjects},
};

/// The rates of all components.
pub(crate) struct Limits<C: Clock + Clone = DefaultClock> {
    components: BTreeMap<ComponentId, Component<C>>,
    subjects: Subjects,
}

struct Component<C: Clock + Clone> {
    rates: Rates,
    /// As the classes of `rates`.
    limiters: Vec<Limiters<C>>,
    subject_header: Option<HeaderName>,
}

struct Limiters<C: Clock + Clone> {
    client: Limiter<IpAddr, C>,
    subject: Option<Limiter<Subject, C>>,
}

type Limiter<K, C> = RateLimiter<K, Limit<K, C>, C, StateInformationMiddleware>;

/// A request that was counted, until it is answered.
pub(crate) struct Admission<'a> {
    component: &'a ComponentId,
    credentials: Option<Credentials>,
    /// None: the request is of no class.
    standing: Option<Standing>,
    subject_header: Option<&'a HeaderName>,
    subjects: &'a Subjects,
}

impl<C> Limits<C>
where
    C: Clock + Clone,
{
    /// Those of these components.
    pub(crate) fn new(rates: BTreeMap<ComponentId, Rates>, clock: &C) -> Self {
        let addresses = Buckets::new("client addresses", KEYS, clock);
        let subjects = Buckets::new("subjects", KEYS, clock);
        let mut number = 0;
        let mut limiters = |class: &RateClass| {
            number += 1;
            Limiters {
                client: limiter(class.client, addresses.of(number), clock),
                subject: class
                    .subject
                    .map(|rate| limiter(rate, subjects.of(number), clock)),
            }
        };
        let component = |(id, rates): (ComponentId, Rates)| {
            let name = rates.subject_header.as_ref();
            let component = Component {
                limiters: rates.classes.iter().map(&mut limiters).collect(),
                subject_header: name.and_then(|name| name.parse().ok()),
                rates,
            };
            (id, component)
        };
        Self {
            components: rates.into_iter().map(component).collect(),
            subjects: Subjects::new(KEYS),
        }
    }

    /// Count a request of this component by the client at `address`. None: the component has no rates.
    pub(crate) fn admit<'a>(
        &'a self,
        component: &'a ComponentId,
        request: &request::Parts,
        address: IpAddr,
    ) -> Option<Admission<'a>> {
        let found = self.components.get(component)?;
        let class = found
            .rates
            .class(request.method.as_str(), request.uri.path());
        let credentials = self.subjects.credentials(component, &request.headers);
        let standing = class.and_then(|(at, class)| {
            let limiters = found.limiters.get(at)?;
            let (standing, by) = self.count(limiters, address, credentials);
            if let Some(wait) = standing.retry_after() {
                tracing::debug!(
                    %component, class = class.name, by, client = %address, wait_ms = wait.as_millis(),
                    "a request was refused by a rate"
                );
            }
            Some(standing)
        });
        Some(Admission {
            component,
            credentials,
            standing,
            subject_header: found.subject_header.as_ref(),
            subjects: &self.subjects,
        })
    }

    /// Where a request stands, and by whose rate.
    fn count(
        &self,
        limiters: &Limiters<C>,
        address: IpAddr,
        credentials: Option<Credentials>,
    ) -> (Standing, &'static str) {
        let client = check(&limiters.client, &address);
        if client.retry_after().is_some() {
            return (client, "client");
        }
        match limiters.subject.as_ref().zip(credentials) {
            Some((limiter, credentials)) => {
                let subject = check(limiter, &self.subjects.of(credentials));
                (client.tighter(subject), "subject")
            }
            None => (client, "client"),
        }
    }
}

impl Admission<'_> {
    /// Whether the client has to wait.
    pub(crate) fn is_refused(&self) -> bool {
        self.standing
            .is_some_and(|standing| standing.retry_after().is_some())
    }

    /// See the answer off: the client is told how it stands; whom the component names stays here.
    pub(crate) fn see_off(self, headers: &mut HeaderMap) {
        let name = self.subject_header.and_then(|name| headers.remove(name));
        if let (Some(name), Some(credentials)) = (name, self.credentials) {
            self.subjects
                .name(self.component, credentials, name.as_bytes());
        }
        // What a component says of a limit of its own stays.
        if let Some(standing) = self.standing
            && !headers.contains_key(standing::LIMIT)
        {
            standing.write(headers);
        }
    }
}

fn limiter<K, C>(rate: Rate, state: Limit<K, C>, clock: &C) -> Limiter<K, C>
where
    K: Clone + Eq + Hash,
    C: Clock + Clone,
{
    // The manifest's bounds leave an interval of a microsecond at the least.
    let quota = Quota::with_period(rate.interval());
    let quota = quota.unwrap_or_else(|| Quota::per_second(rate.requests));
    RateLimiter::new(quota.allow_burst(rate.burst), state, clock.clone())
}

fn check<K, C>(limiter: &Limiter<K, C>, key: &K) -> Standing
where
    K: Clone + Eq + Hash,
    C: Clock + Clone,
{
    match limiter.check_key(key) {
        Ok(state) => Standing::passed(&state),
        Err(until) => Standing::refused(&until, limiter.clock()),
    }
}

/// Addresses that are remembered at once, over all classes of all components; as many subjects, and as many credentials
/// whose subjects are known.
const KEYS: usize = 100_000;

#[cfg(test)]
mod tests;
