//! `wasi:http` outgoing: requests to granted hosts.
//!
//! **What a guest gets**: the hosts that `allowed_outbound_hosts` names, in Spin's form `scheme://host:port`, with `*` for
//! any host, `*.example.com` for its subdomains and no port for the scheme's own. **Bounds**: the call's deadline.
//! A request goes on with the trace of its call, unless the guest gives it another.
//! **On failure**: a host that was not granted is refused before anything is sent, and so is every request within a
//! unit of work, since it could not be rolled back, and within a dry run. Whom a request does not reach, or whose gateway does
//! not, has let the component down: a call that fails then is not the fault of its version.

mod trace;

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;
use http_body_util::BodyExt as _;
use marquee_manifest::{ComponentId, OutboundHost};
use marquee_runtime::{Call, LetDown, Outbound};
use marquee_telemetry::traces::Trace;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Which hosts each component may reach.
pub struct AllowedHosts {
    hosts: BTreeMap<ComponentId, Arc<[OutboundHost]>>,
}

impl AllowedHosts {
    /// The manifest's lists.
    pub fn new(hosts: BTreeMap<ComponentId, Vec<OutboundHost>>) -> Self {
        Self {
            hosts: hosts
                .into_iter()
                .map(|(id, hosts)| (id, hosts.into()))
                .collect(),
        }
    }
}

impl Outbound for AllowedHosts {
    fn hooks(&self, component: &ComponentId, call: &Call) -> Box<dyn WasiHttpHooks> {
        let may_send = call.unit.is_none() && call.dry_run.is_none();
        let hosts = self.hosts.get(component).filter(|_| may_send).cloned();
        Box::new(Hooks {
            hosts,
            let_down: call.let_down.clone(),
            trace: call.trace.clone(),
        })
    }
}

/// What one call may reach.
struct Hooks {
    hosts: Option<Arc<[OutboundHost]>>,
    let_down: LetDown,
    trace: Trace,
}

type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let allowed = self
            .hosts
            .as_ref()
            .is_some_and(|hosts| hosts.iter().any(|host| allows(host, request.uri())));
        let let_down = self.let_down.clone();
        let trace = self.trace.clone();
        Box::new(async move {
            if !allowed {
                return Err(Error::HttpRequestDenied);
            }
            let mut span = trace::request(&trace, &request);
            trace::pass_on(span.trace(), request.headers_mut());
            let sent = wasmtime_wasi_http::default_send_request(request, options).await;
            if !sent
                .as_ref()
                .is_ok_and(|(answer, _)| is_there(answer.status()))
            {
                let_down.set();
            }
            trace::answered(&mut span, &sent);
            let (response, io) = sent?;
            let io: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(io);
            Ok((response.map(|body| body.boxed_unsync()), io))
        })
    }
}

/// Whether it was the server that was asked who answered, and had no reason not to.
fn is_there(status: StatusCode) -> bool {
    ![
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ]
    .contains(&status)
}

fn allows(granted: &OutboundHost, uri: &http::Uri) -> bool {
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return false;
    };
    granted.allows(scheme, host, uri.port_u16())
}

#[cfg(test)]
mod tests {
    use marquee_runtime::DryRun;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        task::JoinSet,
    };

    use super::*;

    #[test]
    fn a_uri_is_compared_with_its_parts() {
        let check = |granted: &str, uri: &str, allowed| {
            let found = allows(&granted.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(found, allowed, "{granted} {uri}");
        };
        check("http://[::1]:8080", "http://[::1]:8080/x", true);
        check("https://example.com", "https://example.com/x?y", true);
        check("https://example.com", "http://example.com/", false);
        check("*://*:*", "/x", false);
    }

    /// Answers one request with this status, and says where.
    async fn answering(servers: &mut JoinSet<()>, status: u16) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        servers.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            assert!(stream.read(&mut asked).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        format!("http://{address}/")
    }

    #[tokio::test]
    async fn who_is_not_reached_has_let_the_component_down() {
        let nobody = format!("http://127.0.0.1:{}/", marquee_testkit::free_port());
        let mut servers = JoinSet::new();
        for (uri, lets_down) in [
            (answering(&mut servers, 200).await, false),
            (answering(&mut servers, 500).await, false),
            (answering(&mut servers, 503).await, true),
            (nobody, true),
            // What it may not ask is its own fault.
            ("http://example.com/".to_owned(), false),
        ] {
            let let_down = LetDown::default();
            let mut hooks = Hooks {
                hosts: Some(Arc::from(["http://127.0.0.1:*".parse().unwrap()])),
                let_down: let_down.clone(),
                trace: Trace::default(),
            };
            let body = http_body_util::Empty::new().map_err(|never| match never {});
            let mut request = http::Request::new(body.boxed_unsync());
            *request.uri_mut() = uri.parse().unwrap();
            let answer = hooks.send_request(request, None, Box::new(async { Ok(()) }));
            drop(Box::into_pin(answer).await);
            assert_eq!(let_down.is_set(), lets_down, "{uri}");
        }
    }

    #[tokio::test]
    async fn in_a_unit_of_work_and_in_a_dry_run_nothing_is_sent() {
        let id: ComponentId = "notes".parse().unwrap();
        let granted = vec!["http://127.0.0.1:*".parse().unwrap()];
        let allowed = AllowedHosts::new(BTreeMap::from([(id.clone(), granted)]));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let call = || Call::new("test", deadline);
        for (call, sent) in [
            (call(), true),
            (call().with_unit(Arc::new(())), false),
            (call().as_dry_run(DryRun::default()), false),
        ] {
            // Nobody listens there, which only one that is sent finds out.
            let body = http_body_util::Empty::new().map_err(|never| match never {});
            let mut request = http::Request::new(body.boxed_unsync());
            *request.uri_mut() = "http://127.0.0.1:1/".parse().unwrap();
            let mut hooks = allowed.hooks(&id, &call);
            let answer = hooks.send_request(request, None, Box::new(async { Ok(()) }));
            let error = Box::into_pin(answer).await.err().unwrap();
            let is_refused = matches!(error, Error::HttpRequestDenied);
            assert_eq!(is_refused, !sent, "{error:?}");
        }
    }
}
