//! The HTTP trigger: a request becomes one call of the component that its route names.
//!
//! Bounds: how often a client may ask, and how much at once (429); requests at once (503); the length of the URI, the size
//! of a body. A component that traps, or does not answer in time, is answered for.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Instant};

use bytes::Bytes;
use governor::clock::DefaultClock;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header, request};
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use marquee_manifest::{Canary, ComponentId, Http, Rates};
use marquee_registry::{Choice, Digest};
use marquee_runtime::{Call, ResponseBody, Runtime};
use marquee_telemetry::traces::{Span, Trace, Traces};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::field::display;
use uuid::Uuid;
use wasmtime_wasi_http::Error as HttpError;

use crate::{
    access::{AccessLog, Came, Entry, Logged, TraceIds},
    client::{Proxies, client},
    problem::{self, Problem, Protocol},
    rates::Limits,
    server::{self, Held, Listener, Peer, RequestBody, Share, Shares, Stop, TooSlow},
    telemetry::{self, HttpTally, RouteTally},
    trace,
};

/// Where requests go, and their bounds.
#[derive(Debug, Clone)]
pub struct Config {
    /// Routes in the manifest's form: `/...` for all, `/v1/...` for a prefix, `/health` for one path.
    pub routes: Vec<(String, ComponentId)>,
    /// How requests choose between versions, of the components that say so.
    pub canaries: BTreeMap<ComponentId, Canary>,
    /// How often clients may ask, of the components that say so.
    pub rates: BTreeMap<ComponentId, Rates>,
    /// What stands between clients and the host.
    pub proxies: Proxies,
    /// What clients may do. Components refuse bodies that are smaller but still too large for them.
    pub bounds: Http,
    /// Where it is counted, of these routes.
    pub tally: Arc<HttpTally>,
    /// Where their spans go.
    pub traces: Traces,
    /// Where each has a line, if they have.
    pub access: Option<Arc<AccessLog>>,
}

impl Config {
    fn server(&self) -> server::Limits {
        let bounds = &self.bounds;
        let is_direct = self.proxies == Proxies::default();
        server::Limits {
            connections: bounds.connections,
            // A proxy's connections are those of all clients.
            client_connections: if is_direct {
                bounds.client_connections
            } else {
                bounds.connections
            },
            header_timeout: bounds.header_timeout,
            streams: bounds.streams,
            keep_alive: bounds.keep_alive,
            body_rate: bounds.body_rate as u64,
            write_timeout: bounds.write_timeout,
            ..server::Limits::default()
        }
    }
}

/// Serves requests until it is told to stop.
pub struct Trigger {
    runtime: Runtime,
    routes: Vec<Route>,
    canaries: BTreeMap<ComponentId, Canary>,
    limits: Limits,
    proxies: Proxies,
    places: Arc<Semaphore>,
    shares: Arc<Shares>,
    body_bytes: usize,
    tally: Arc<HttpTally>,
    traces: Traces,
    access: Option<Arc<AccessLog>>,
}

struct Route {
    /// As it stands in the manifest.
    pattern: String,
    path: String,
    is_prefix: bool,
    component: ComponentId,
    tally: Arc<RouteTally>,
}

/// What a request is known by.
#[derive(Clone, Copy)]
struct Ids<'a> {
    request_id: &'a str,
    trace: &'a Trace,
}

/// What is answered: a component's body, or one of the host's own.
type Body = Either<Held<ResponseBody, Place>, Full<Bytes>>;
/// Among all requests, and among those of the client; until the last byte of the answer is taken.
type Place = (OwnedSemaphorePermit, Share);

impl Trigger {
    /// Serve on a listener until `stop`; returns when the last connection has ended.
    pub async fn serve(runtime: Runtime, config: Config, listener: Arc<Listener>, stop: Stop) {
        let limits = config.server();
        let trigger = Arc::new(Self {
            runtime,
            routes: routes(config.routes, &config.tally),
            canaries: config.canaries,
            limits: Limits::new(config.rates, &DefaultClock::default()),
            proxies: config.proxies,
            places: Arc::new(Semaphore::new(config.bounds.requests)),
            shares: Arc::new(Shares::new(config.bounds.client_requests)),
            body_bytes: config.bounds.body_bytes,
            tally: config.tally,
            traces: config.traces,
            access: config.access,
        });
        let handler = move |request, peer| {
            let trigger = Arc::clone(&trigger);
            async move { trigger.answer(request, peer).await }
        };
        let ended = server::serve(listener, limits, handler, stop).await;
        if ended > 0 {
            tracing::warn!(
                connections = ended,
                "connections did not end in time and were ended"
            );
        }
    }

    async fn answer(
        &self,
        request: Request<RequestBody>,
        peer: Peer,
    ) -> Response<Logged<Held<Body, Span>>> {
        let request_id = request_id(request.headers());
        let mut span = trace::request(&self.traces, &request);
        let started = Instant::now();
        let ids = Ids {
            request_id: &request_id,
            trace: span.trace(),
        };
        let mut entry = self.entry(&request, ids, started, peer);
        let (mut parts, body) = request.into_parts();
        let method = parts.method.clone();
        let found = self.find(&mut parts);
        let tally = match &found {
            Ok(route) => &*route.tally,
            Err(_) => self.tally.none(),
        };
        let counted = tally.begin(&method, started);
        let mut response = match &found {
            Ok(Route {
                component, pattern, ..
            }) => {
                trace::routed(&mut span, &method, pattern);
                let ids = Ids {
                    request_id: &request_id,
                    trace: span.trace(),
                };
                self.admit(component, parts, body, peer, ids).await
            }
            Err(problem) => {
                self.tally.problem(problem.reason());
                let protocol = Protocol::of(&parts);
                let response = problem.response(protocol, &parts.method, &request_id);
                response.map(Either::Right)
            }
        };
        // For the host alone.
        let named = response.headers_mut().remove(ROUTE);
        let named = named.as_ref().and_then(telemetry::name);
        self.tally.answered(counted, response.status(), named);
        let found = found.as_ref().ok();
        let route = named.or_else(|| Some(found?.pattern.as_str()));
        if let Some(named) = named {
            trace::routed(&mut span, &method, named);
        }
        trace::answered(&mut span, route, &request_id, response.status());
        if let Some(entry) = &mut entry {
            entry.answered(
                response.status(),
                response.headers(),
                route,
                found.map(|route| (&route.component, version(response.body()))),
            );
        }
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        // Both end with the last byte of its answer.
        response.map(|body| Logged::new(Held::new(body, span), entry))
    }

    /// What is remembered of a request, if it is to have a line.
    fn entry(
        &self,
        request: &Request<RequestBody>,
        ids: Ids<'_>,
        at: Instant,
        peer: Peer,
    ) -> Option<Box<Entry>> {
        let log = self.access.as_ref()?;
        let headers = request.headers();
        let came = Came {
            at,
            request_id: ids.request_id,
            client: client(peer.ip(), headers, self.proxies),
            trace: ids.trace.traceparent().as_deref().and_then(trace_ids),
            progress: request.body().progress(),
        };
        Some(Box::new(Entry::new(log, request, came)))
    }

    /// Whose request it is, if it is one. Its URI becomes absolute.
    fn find(&self, parts: &mut request::Parts) -> Result<&Route, Problem> {
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(problem::METHOD);
        }
        if parts
            .uri
            .path_and_query()
            .is_some_and(|path| path.as_str().len() > URI_BYTES)
        {
            return Err(problem::URI_TOO_LONG);
        }
        if parts.version < Version::HTTP_2 && problem::is_grpc(&parts.headers) {
            return Err(problem::GRPC_OVER_HTTP_1);
        }
        parts.uri = absolute(parts).ok_or(problem::HOST)?;
        self.route(parts.uri.path()).ok_or(problem::NOT_FOUND)
    }

    /// Ask the component, if the client may.
    async fn admit(
        &self,
        component: &ComponentId,
        mut parts: request::Parts,
        body: RequestBody,
        peer: Peer,
        ids: Ids<'_>,
    ) -> Response<Body> {
        let address = client(peer.ip(), &parts.headers, self.proxies);
        let admission = self.limits.admit(component, &parts, address);
        // The name that Spin gives it, whatever the client sent under it.
        if let Ok(value) = HeaderValue::try_from(address.to_string()) {
            parts.headers.insert(CLIENT, value);
        }
        let (protocol, method) = (Protocol::of(&parts), parts.method.clone());
        let answer = match &admission {
            Some(admission) if admission.is_refused() => Err(problem::TOO_MANY),
            _ => self.call(component, parts, body, address, ids).await,
        };
        let mut response = match answer {
            Ok(response) => response.map(Either::Left),
            Err(problem) => {
                self.tally.problem(problem.reason());
                let response = problem.response(protocol, &method, ids.request_id);
                response.map(Either::Right)
            }
        };
        if let Some(admission) = admission {
            admission.see_off(response.headers_mut());
        }
        response
    }

    async fn call(
        &self,
        component: &ComponentId,
        mut parts: request::Parts,
        body: RequestBody,
        address: IpAddr,
        ids: Ids<'_>,
    ) -> Result<Response<Held<ResponseBody, Place>>, Problem> {
        let length = parts
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        if length
            .and_then(|length| length.parse::<u64>().ok())
            .is_some_and(|length| length > self.body_bytes as u64)
        {
            return Err(problem::TOO_LARGE);
        }
        let Some(share) = self.shares.take(address) else {
            return Err(problem::TOO_MANY_AT_ONCE);
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(problem::OVERLOADED);
        };

        if let Ok(value) = HeaderValue::from_str(ids.request_id) {
            parts.headers.insert(REQUEST_ID, value);
        }
        let progress = body.progress();
        let body = Limited::new(body, self.body_bytes)
            .map_err(body_error)
            .boxed_unsync();
        let deadline = self
            .runtime
            .deadline(component)
            .map_err(|error| self.failed(component, ids, &error))?;
        let mut call = Call::new(ids.request_id, deadline).with_trace(ids.trace.clone());
        if let Some(canary) = self.canaries.get(component) {
            call.choice = choice(canary, &parts.headers, call.choice);
        }
        let response = self
            .runtime
            .handle_http(component, Request::from_parts(parts, body), call)
            .await;
        // Whatever the component made of it.
        if progress.is_slow() {
            return Err(problem::TOO_SLOW);
        }
        let response = response.map_err(|error| self.failed(component, ids, &error))?;
        Ok(response.map(|body| Held::new(body, (place, share))))
    }

    /// The client learns what to do; the log learns why.
    fn failed(
        &self,
        component: &ComponentId,
        ids: Ids<'_>,
        error: &marquee_runtime::CallError,
    ) -> Problem {
        let problem = Problem::from(error);
        if problem.status().is_server_error() {
            let Ids { request_id, trace } = ids;
            let trace_id = trace.trace_id().map(display);
            tracing::warn!(
                request_id, trace_id, %component, error = %marquee_runtime::chain(error),
                status = problem.status().as_u16(), "a request failed"
            );
        }
        problem
    }

    fn route(&self, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| {
            if route.is_prefix {
                path.strip_prefix(route.path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            } else {
                path == route.path
            }
        })
    }
}

/// Exact paths before prefixes, long prefixes before short ones.
fn routes(config: Vec<(String, ComponentId)>, tally: &HttpTally) -> Vec<Route> {
    let mut routes: Vec<Route> = config
        .into_iter()
        .map(|(pattern, component)| {
            let prefix = pattern.strip_suffix("/...");
            Route {
                path: prefix.unwrap_or(&pattern).to_owned(),
                is_prefix: prefix.is_some(),
                component,
                tally: tally.route(&pattern).cloned().unwrap_or_default(),
                pattern,
            }
        })
        .collect();
    routes.sort_by_key(|route| (route.is_prefix, std::cmp::Reverse(route.path.len())));
    routes
}

/// The version that answered, if one did.
fn version(body: &Body) -> Option<Digest> {
    match body {
        Either::Left(answer) => Some(answer.body().version()),
        Either::Right(_) => None,
    }
}

/// The URI with scheme and authority, as a component expects it. None without exactly one authority.
fn absolute(parts: &http::request::Parts) -> Option<Uri> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let authority = match (parts.uri.authority(), host) {
        (Some(authority), _) => authority.as_str().to_owned(),
        (None, Some(host)) => host.to_str().ok()?.to_owned(),
        // HTTP/1.0 knows no Host.
        (None, None) if parts.version == Version::HTTP_10 => "localhost".to_owned(),
        (None, None) => return None,
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = parts.extensions.get::<Scheme>().cloned();
    Uri::builder()
        .scheme(scheme.unwrap_or(Scheme::HTTP))
        .authority(authority)
        .path_and_query(path)
        .build()
        .ok()
}

/// By the headers that the component names, as far as they are there.
fn choice(canary: &Canary, headers: &HeaderMap, by_chance: Choice) -> Choice {
    let value = |name: &Option<String>| headers.get(name.as_deref()?);
    let choice = match value(&canary.key_header) {
        Some(key) => Choice::by_key(key.as_bytes()),
        None => by_chance,
    };
    let label = value(&canary.label_header).and_then(|label| label.to_str().ok());
    choice.with_label(label.map(Arc::from))
}

/// The client's own request id where it is a plain one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let own = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(plain);
    own.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Of a `traceparent`: the span of the host where it is kept, else the client's.
fn trace_ids(traceparent: &str) -> Option<TraceIds> {
    let mut parts = traceparent.split('-').skip(1);
    Some(TraceIds {
        trace: parts.next()?.to_owned(),
        span: parts.next()?.to_owned(),
    })
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> HttpError {
    if error.is::<LengthLimitError>() {
        HttpError::HttpRequestBodySize(None)
    } else if error.is::<TooSlow>() {
        HttpError::ConnectionReadTimeout
    } else {
        HttpError::HttpProtocolError
    }
}

/// The name of a request in logs, problems and responses.
const REQUEST_ID: &str = "x-request-id";
/// Where a component names the route of its answer: its pattern, such as `/v1/movies/{id}`. Clients do not see it.
const ROUTE: &str = "marquee-route";
/// Where a component reads the client's address, the one that rates count by.
const CLIENT: &str = "spin-client-addr";
/// What servers in front of this one let through; longer ones are never meant.
const URI_BYTES: usize = 4_096;
