//! Where a request comes from: the client's address, behind as many proxies as the operator says there are.
//!
//! Promise: what a client writes into its own request is never taken for its address, provided that the host is reached
//! through the proxies only. Addresses come from `X-Forwarded-For` alone, which proxies write by default; one that writes
//! it passes a `Forwarded` (RFC 7239) of the client's on as it is, so reading both would let the client choose.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use http::HeaderMap;

use crate::server::network;

/// How many proxies stand before the host, each of which adds the address that it was asked from to `X-Forwarded-For`.
/// With none (the default) the header is not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proxies(u8);

/// A text that is no number of proxies.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a number from 0 to {most}", most = Proxies::MOST)]
pub struct InvalidProxies(String);

impl Proxies {
    /// More hops than a request has on its way through any sensible network.
    pub const MOST: u8 = 16;
}

impl FromStr for Proxies {
    type Err = InvalidProxies;

    fn from_str(text: &str) -> Result<Self, InvalidProxies> {
        match text.parse() {
            Ok(number) if number <= Self::MOST => Ok(Self(number)),
            _ => Err(InvalidProxies(text.to_owned())),
        }
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whom what a client asks counts for.
///
/// The nearest proxy wrote the last entry of the list, the one before it the last but one, and so on. Where an entry is
/// missing or is no address, the outermost one that is there counts, and without any the socket's.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, proxies: Proxies) -> IpAddr {
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    // As bytes: what a client wrote before it, in whatever encoding, hides no proxy's entry.
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let trusted = entries.take(usize::from(proxies.0)).map_while(address);
    network(trusted.last().unwrap_or(peer))
}

/// `192.0.2.1`, `2001:db8::1`, and what some proxies write: `192.0.2.1:4711`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let bare = entry
        .strip_prefix('[')
        .and_then(|entry| entry.strip_suffix(']'));
    let with_port = || entry.parse().ok().map(|socket: SocketAddr| socket.ip());
    bare.unwrap_or(entry).parse().ok().or_else(with_port)
}

const FORWARDED_FOR: &str = "x-forwarded-for";

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use marquee_fuzz::mangled;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The client's address for a socket's, with lines of `X-Forwarded-For`.
    fn check(proxies: &str, socket: &str, lines: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(FORWARDED_FOR, value);
        }
        let peer = socket.parse().unwrap();
        let found = client(peer, &headers, proxies.parse().unwrap());
        let expected: IpAddr = expected.parse().unwrap();
        assert_eq!(found, expected, "{proxies} {socket} {lines:?}");
    }

    #[test]
    fn without_a_proxy_the_socket_counts_and_the_header_is_not_read() {
        check("0", "192.0.2.1", &[], "192.0.2.1");
        check("0", "192.0.2.1", &["198.51.100.7"], "192.0.2.1");
    }

    #[test]
    fn each_trusted_proxy_is_one_entry_from_the_right() {
        check("1", "10.0.0.1", &["198.51.100.7"], "198.51.100.7");
        check(
            "1",
            "10.0.0.1",
            &["203.0.113.9, 198.51.100.7"],
            "198.51.100.7",
        );
        check(
            "1",
            "10.0.0.1",
            &["203.0.113.9", "198.51.100.7"],
            "198.51.100.7",
        );
        check(
            "2",
            "10.0.0.1",
            &["203.0.113.9, 198.51.100.7,10.0.0.2"],
            "198.51.100.7",
        );
        check(
            "2",
            "10.0.0.1",
            &["203.0.113.9,198.51.100.7", "10.0.0.2"],
            "198.51.100.7",
        );
    }

    #[test]
    fn where_an_entry_is_missing_or_no_address_the_outermost_that_is_there_counts() {
        check("1", "10.0.0.1", &[], "10.0.0.1");
        check("2", "10.0.0.1", &["10.0.0.2"], "10.0.0.2");
        check("1", "10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1");
        check("1", "10.0.0.1", &["198.51.100.7,"], "10.0.0.1");
        check("1", "10.0.0.1", &["198.51.100.7, ä"], "10.0.0.1");
        check("1", "10.0.0.1", &["ä, 198.51.100.7"], "198.51.100.7");
        check("2", "10.0.0.1", &["_hidden, 10.0.0.2"], "10.0.0.2");
        // Not past a broken entry to one that the client may have written.
        check(
            "3",
            "10.0.0.1",
            &["203.0.113.9, 300.0.0.1, 10.0.0.2"],
            "10.0.0.2",
        );
        check("2", "10.0.0.1", &["203.0.113.9, , 10.0.0.2"], "10.0.0.2");
    }

    #[test]
    fn addresses_may_have_ports_and_brackets() {
        check("1", "10.0.0.1", &["198.51.100.7:443"], "198.51.100.7");
        check("1", "10.0.0.1", &["[2001:db8::]"], "2001:db8::");
        check("1", "10.0.0.1", &["[2001:db8::]:443"], "2001:db8::");
    }

    #[test]
    fn ipv6_counts_by_its_64_and_an_ipv4_address_in_it_as_ipv4() {
        check("0", "2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::");
        check("0", "::ffff:192.0.2.1", &[], "192.0.2.1");
        check("1", "::1", &["2001:db8:1:2:ffff::1"], "2001:db8:1:2::");
        check("1", "::1", &["::ffff:192.0.2.1"], "192.0.2.1");
    }

    #[test]
    fn a_number_of_proxies_has_a_bound() {
        assert_eq!("16".parse::<Proxies>().unwrap().to_string(), "16");
        for bad in ["17", "-1", "", "one"] {
            assert!(bad.parse::<Proxies>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// The client writes what it likes; each proxy behind it adds whom it was asked by.
        #[test]
        fn whatever_comes_from_a_client_is_not_taken_for_its_address(
            written in vec(mangled(["203.0.113.9", "203.0.113.9, [2001:db8::1]:80, 10.0.0.2", "for=203.0.113.9;proto=https"]), 0..4),
            same_line in any::<bool>(),
            own in any::<IpAddr>(),
            proxies in vec(any::<IpAddr>(), 0..4),
            peer in any::<IpAddr>(),
        ) {
            let mut lines: Vec<HeaderValue> = { written.iter() }
                .filter_map(|line| HeaderValue::from_bytes(line).ok())
                .collect();
            for address in [own].iter().chain(&proxies) {
                let added = match lines.pop_if(|_| same_line) {
                    Some(line) => [line.as_bytes(), b", ", address.to_string().as_bytes()].concat(),
                    None => address.to_string().into_bytes(),
                };
                lines.push(HeaderValue::from_bytes(&added).unwrap());
            }
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line);
            }
            let all = Proxies(u8::try_from(proxies.len() + 1).unwrap());
            prop_assert_eq!(client(peer, &headers, all), network(own));
            prop_assert_eq!(client(peer, &headers, Proxies(0)), network(peer));
        }
    }
}
