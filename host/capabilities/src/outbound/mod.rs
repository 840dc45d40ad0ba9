//! `wasi:http` outgoing: requests to granted hosts.
//!
//! **What a guest gets**: the hosts that `allowed_outbound_hosts` names, in Spin's form `scheme://host:port`, with `*` for
//! any host, `*.example.com` for its subdomains and no port for the scheme's own. **Bounds**: the call's deadline.
//! **On failure**: a host that was not granted is refused before anything is sent, and so is every request within a
//! unit of work, since it could not be rolled back.

use std::{collections::BTreeMap, sync::Arc};

use http_body_util::BodyExt as _;
use marquee_manifest::{ComponentId, OutboundHost};
use marquee_runtime::{Call, Outbound};
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
        let hosts = match call.unit {
            Some(_) => None,
            None => self.hosts.get(component).cloned(),
        };
        Box::new(Hooks { hosts })
    }
}

/// What one call may reach.
struct Hooks {
    hosts: Option<Arc<[OutboundHost]>>,
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
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let allowed = self
            .hosts
            .as_ref()
            .is_some_and(|hosts| hosts.iter().any(|host| allows(host, request.uri())));
        Box::new(async move {
            if !allowed {
                return Err(Error::HttpRequestDenied);
            }
            let (response, io) = wasmtime_wasi_http::default_send_request(request, options).await?;
            let io: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(io);
            Ok((response.map(|body| body.boxed_unsync()), io))
        })
    }
}

fn allows(granted: &OutboundHost, uri: &http::Uri) -> bool {
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return false;
    };
    granted.allows(scheme, host, uri.port_u16())
}

#[cfg(test)]
mod tests {
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
}
