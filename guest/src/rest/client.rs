//! The client's address, as the host says it.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, request::Parts},
};

use super::only;

/// Whoever sent the request: an IPv4 address, or the /64 of an IPv6 one. None: the host does not say.
#[derive(Debug)]
pub struct Client(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let told = only(&parts.headers, &ADDRESS).and_then(network);
        Ok(Self(told.map(|network| network.to_string())))
    }
}

/// With a port, as Spin has it, or without. An IPv6 customer has a /64 at the least, and chooses freely within it.
fn network(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().ok().map(|socket: SocketAddr| socket.ip());
    let address: IpAddr = text.parse().ok().or_else(with_port)?;
    Some(match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    })
}

/// Both hosts write it themselves, whatever the client sent.
const ADDRESS: HeaderName = HeaderName::from_static("spin-client-addr");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_or_not_and_ipv6_counts_by_its_64() {
        let check = |text: &str, expected: Option<&str>| {
            let found = network(text).map(|network| network.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("192.0.2.1", Some("192.0.2.1"));
        check("192.0.2.1:4711", Some("192.0.2.1"));
        check("2001:db8:1:2:3:4:5:6", Some("2001:db8:1:2::"));
        check("[2001:db8:1:2:3:4:5:6]:4711", Some("2001:db8:1:2::"));
        check("::ffff:192.0.2.1", Some("192.0.2.1"));
        check("", None);
        check("somebody", None);
    }
}
