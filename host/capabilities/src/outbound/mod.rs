//! `wasi:http` outgoing: requests to granted hosts.
//!
//! **What a guest gets**: the hosts that `allowed_outbound_hosts` names, in Spin's form `scheme://host:port`, with `*` for
//! any host, `*.example.com` for its subdomains and no port for the scheme's own. **Bounds**: the call's deadline.
//! **On failure**: a host that was not granted is refused before anything is sent, and so is every request within a
//! unit of work, since it could not be rolled back.

use std::{collections::BTreeMap, sync::Arc};

use http_body_util::BodyExt as _;
use marquee_manifest::ComponentId;
use marquee_runtime::{Call, Outbound};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Which hosts each component may reach.
pub struct AllowedHosts {
    hosts: BTreeMap<ComponentId, Arc<[String]>>,
}

impl AllowedHosts {
    /// The manifest's lists.
    pub fn new(hosts: BTreeMap<ComponentId, Vec<String>>) -> Self {
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
    hosts: Option<Arc<[String]>>,
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

fn allows(granted: &str, uri: &http::Uri) -> bool {
    let Some((scheme, place)) = granted.split_once("://") else {
        return false;
    };
    let (Some(wanted_scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return false;
    };
    if !matches!(scheme, "http" | "https" | "*") || scheme != "*" && scheme != wanted_scheme {
        return false;
    }
    let own_port = if wanted_scheme == "https" { 443 } else { 80 };
    let wanted_port = uri.port_u16().unwrap_or(own_port);
    let (granted_host, port_fits) = match place.trim_end_matches('/').rsplit_once(':') {
        Some((host, "*")) => (host, true),
        Some((host, port)) => (host, port.parse() == Ok(wanted_port)),
        None => (place.trim_end_matches('/'), wanted_port == own_port),
    };
    let host_fits = match granted_host.strip_prefix("*.") {
        Some(domain) => host
            .to_ascii_lowercase()
            .strip_suffix(&domain.to_ascii_lowercase())
            .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
        None => granted_host == "*" || granted_host.eq_ignore_ascii_case(host),
    };
    port_fits && host_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_granted_is_allowed() {
        let cases = [
            ("https://api.example.com", "https://api.example.com/x", true),
            (
                "https://api.example.com",
                "https://API.example.com:443/x",
                true,
            ),
            (
                "https://api.example.com",
                "https://api.example.com:8443/",
                false,
            ),
            ("https://api.example.com", "http://api.example.com/", false),
            (
                "https://api.example.com",
                "https://api.example.com.evil.org/",
                false,
            ),
            ("https://*.example.com", "https://a.example.com/", true),
            ("https://*.example.com", "https://example.com/", false),
            ("https://*.example.com", "https://evilexample.com/", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", true),
            ("http://*:8080", "http://anything:8080/", true),
            ("*://*:*", "https://anything:1/", true),
            ("postgres://127.0.0.1:5432", "http://127.0.0.1:5432/", false),
            ("api.example.com", "https://api.example.com/", false),
        ];
        for (granted, uri, expected) in cases {
            assert_eq!(
                allows(granted, &uri.parse().expect("a URI")),
                expected,
                "{granted} {uri}"
            );
        }
    }
}
