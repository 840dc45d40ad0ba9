//! Where a component may send HTTP requests: `scheme://host:port`, as Spin writes it.

use std::str::FromStr;

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundHost {
    /// None: both of HTTP.
    scheme: Option<Scheme>,
    host: Host,
    port: Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// Every subdomain of this domain.
    Below(String),
    /// In lower case; an address of IPv6 in brackets.
    Named(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    Number(u16),
    OfScheme,
}

/// Why a text grants nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoGrant {
    /// It is for a capability of Spin's that this host gives in another way.
    #[error("not HTTP")]
    Elsewhere,
    /// No scheme of HTTP.
    #[error("it has no scheme, as https://api.example.com has")]
    Scheme,
    /// The application itself.
    #[error("requests to the application itself are not sent; name the component as a dependency")]
    Own,
    /// A variable of the manifest.
    #[error("a variable is not looked up here; write the host")]
    Template,
    /// No host.
    #[error("its host is no name, no address and no *")]
    Host,
    /// No port.
    #[error("its port is no number and no *")]
    Port,
    /// More than host and port.
    #[error("a grant ends with the host and the port")]
    Path,
}

impl OutboundHost {
    /// Whether a request there is granted. An address of IPv6 has its brackets.
    pub fn allows(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let wanted = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return false,
        };
        let port = port.unwrap_or_else(|| wanted.port());
        let host = host.to_ascii_lowercase();
        self.scheme.is_none_or(|own| own == wanted)
            && match self.port {
                Port::Any => true,
                Port::Number(own) => own == port,
                Port::OfScheme => port == wanted.port(),
            }
            && match &self.host {
                Host::Any => true,
                Host::Named(own) => *own == host,
                Host::Below(domain) => host
                    .strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
            }
    }
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl FromStr for OutboundHost {
    type Err = NoGrant;

    fn from_str(text: &str) -> Result<Self, NoGrant> {
        let (scheme, place) = text.split_once("://").ok_or(NoGrant::Scheme)?;
        let scheme = match scheme {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            "*" => None,
            scheme if ELSEWHERE.contains(&scheme) => return Err(NoGrant::Elsewhere),
            _ => return Err(NoGrant::Scheme),
        };
        if text.contains("{{") {
            return Err(NoGrant::Template);
        }
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '?', '#']) {
            return Err(NoGrant::Path);
        }
        // The colons of an address of IPv6 are its own.
        let after_address = place.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match place.rfind(':').filter(|at| *at >= after_address) {
            None => (place, Port::OfScheme),
            Some(at) => {
                let (host, port) = place.split_at(at);
                let port = match &port[1..] {
                    "*" => Port::Any,
                    port => Port::Number(port.parse().map_err(|_| NoGrant::Port)?),
                };
                (host, port)
            }
        };
        Ok(Self {
            scheme,
            host: host.parse()?,
            port,
        })
    }
}

impl FromStr for Host {
    type Err = NoGrant;

    fn from_str(text: &str) -> Result<Self, NoGrant> {
        let text = text.to_ascii_lowercase();
        let is_name = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !text.is_empty() && text.bytes().all(allowed)
        };
        let address = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if text == "*" {
            Ok(Self::Any)
        } else if text == "self" || text.ends_with(".spin.internal") {
            Err(NoGrant::Own)
        } else if let Some(address) = address {
            // As clients write it: shortened.
            let address: std::net::Ipv6Addr = address.parse().map_err(|_| NoGrant::Host)?;
            Ok(Self::Named(format!("[{address}]")))
        } else if let Some(domain) = text.strip_prefix("*.").filter(|domain| is_name(domain)) {
            Ok(Self::Below(domain.to_owned()))
        } else if is_name(&text) {
            Ok(Self::Named(text))
        } else {
            Err(NoGrant::Host)
        }
    }
}

/// What Spin reaches by a grant, and this host in another way or not at all.
const ELSEWHERE: [&str; 7] = [
    "postgres",
    "postgresql",
    "mysql",
    "redis",
    "rediss",
    "mqtt",
    "mqtts",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_granted_is_allowed() {
        let check = |grant: &str, scheme: &str, host: &str, port: Option<u16>, allowed: bool| {
            let granted: OutboundHost = grant.parse().unwrap();
            assert_eq!(
                granted.allows(scheme, host, port),
                allowed,
                "{grant} {scheme}://{host} {port:?}"
            );
        };
        let api = "https://api.example.com";
        check(api, "https", "api.example.com", None, true);
        check(api, "https", "API.example.com", Some(443), true);
        check(api, "https", "api.example.com", Some(8443), false);
        check(api, "http", "api.example.com", None, false);
        check(api, "https", "api.example.com.evil.org", None, false);
        check(
            "https://*.example.com",
            "https",
            "a.example.com",
            None,
            true,
        );
        check("https://*.example.com", "https", "example.com", None, false);
        check(
            "https://*.example.com",
            "https",
            "evilexample.com",
            None,
            false,
        );
        check(
            "http://127.0.0.1:8080",
            "http",
            "127.0.0.1",
            Some(8080),
            true,
        );
        check("http://*:8080/", "http", "anything", Some(8080), true);
        check("*://*:*", "https", "anything", Some(1), true);
        check("http://[::1]", "http", "[::1]", None, true);
        check("http://[0:0::1]:8080", "http", "[::1]", Some(8080), true);
        check("http://[::1]", "http", "[::2]", None, false);
    }

    #[test]
    fn what_would_never_be_allowed_is_no_grant() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse::<OutboundHost>(), Err(expected), "{text}");
        };
        check("api.example.com", NoGrant::Scheme);
        check("ftp://example.com", NoGrant::Scheme);
        check("http://self", NoGrant::Own);
        check("http://metadata.spin.internal", NoGrant::Own);
        check("https://{{ api_host }}", NoGrant::Template);
        check("http://example.com:8000..8010", NoGrant::Port);
        check("https://example.com/v1", NoGrant::Path);
        check("http://10.0.0.0/8", NoGrant::Path);
        check("http://a*.example.com", NoGrant::Host);
        check("http://::1", NoGrant::Host);
        check("http://", NoGrant::Host);
        check("postgres://{{ address }}", NoGrant::Elsewhere);
    }
}
