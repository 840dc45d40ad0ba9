//! The PROXY protocol, versions 1 and 2: a proxy's first bytes say whom it comes for.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use ipnet::IpNet;
use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Networks whose word is taken. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Arc<[IpNet]>);

/// A text that is no list of networks.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no network such as 10.0.0.0/8 or 192.0.2.1; commas stand between several")]
pub struct InvalidNetworks(String);

impl Networks {
    pub(super) fn have(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|network| network.contains(&address.to_canonical()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Networks {
    type Err = InvalidNetworks;

    fn from_str(text: &str) -> Result<Self, InvalidNetworks> {
        let network = |part: &str| {
            let part = part.trim();
            let alone = || part.parse().map(|address: IpAddr| address.into()).ok();
            part.parse()
                .ok()
                .or_else(alone)
                .ok_or_else(|| InvalidNetworks(part.to_owned()))
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(", "))
    }
}

/// Read the header, and not a byte more. None: the proxy speaks for itself, as health checks do.
pub(super) async fn client(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<SocketAddr>> {
    // No header is shorter.
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        header.extend(rest);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length > MOST {
            return Err(refused("a header that is too long"));
        }
        let begun = header.len();
        header.resize(begun + length, 0);
        stream
            .read_exact(header.get_mut(begun..).unwrap_or_default())
            .await?;
    } else if header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        while !header.ends_with(v1::PROTOCOL_SUFFIX.as_bytes()) {
            if header.len() >= MOST_TEXT {
                return Err(refused("a header without an end"));
            }
            header.push(stream.read_u8().await?);
        }
    }
    parse(&header)
}

fn parse(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
            v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) => Ok(match (header.command, header.addresses) {
            (v2::Command::Local, _) => None,
            (_, v2::Addresses::IPv4(of)) => Some((of.source_address, of.source_port).into()),
            (_, v2::Addresses::IPv6(of)) => Some((of.source_address, of.source_port).into()),
            _ => None,
        }),
        HeaderResult::V1(Err(error)) => Err(refused(&error.to_string())),
        HeaderResult::V2(Err(error)) => Err(refused(&error.to_string())),
    }
}

fn refused(reason: &str) -> io::Error {
    let reason = format!("a trusted proxy does not speak the PROXY protocol: {reason}");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Addresses and what is said beside them, some hundred bytes.
const MOST: usize = 2_048;
/// As the protocol bounds its first version.
const MOST_TEXT: usize = 107;

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use marquee_fuzz::{mangled, mangled_text};
    use proptest::prelude::*;

    use super::*;

    /// What is read of these bytes, and how many of them.
    fn read(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let mut rest = bytes;
        let found = client(&mut rest).now_or_never().expect("it never waits");
        (found, bytes.len() - rest.len())
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_end_and_not_further() {
        let check = async |header: &[u8], expected: Option<&str>| {
            let bytes = [header, b"GET /"].concat();
            let mut stream = &bytes[..];
            let found = client(&mut stream).await.unwrap();
            assert_eq!(found, expected.map(|address| address.parse().unwrap()));
            assert_eq!(stream, b"GET /");
        };
        check(
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n",
            Some("192.0.2.7:4711"),
        )
        .await;
        check(
            b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n",
            Some("[2001:db8::7]:4711"),
        )
        .await;
        check(b"PROXY UNKNOWN\r\n", None).await;
        let head = |command: u8, family: u8, length: u8| {
            [v2::PROTOCOL_PREFIX, &[0x20 | command, family, 0, length]].concat()
        };
        let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        check(
            &[&head(1, 0x11, 12)[..], &addresses].concat(),
            Some("192.0.2.7:4711"),
        )
        .await;
        check(&head(0, 0, 0), None).await;
        // With something beside the addresses.
        check(
            &[&head(1, 0x11, 16)[..], &addresses, &[4, 0, 1, 0]].concat(),
            Some("192.0.2.7:4711"),
        )
        .await;
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
            b"PROXY TCP4 300.0.2.7 10.0.0.1 4711 80\r\n",
            &[b'P'; 200],
            &[&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(),
            &[v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0xff, 0xff]].concat(),
            &[v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0, 2, 1, 2]].concat(),
            b"",
        ] {
            let mut stream = bytes;
            assert!(client(&mut stream).await.is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn networks_are_named_as_people_name_them() {
        let networks: Networks = "10.0.0.0/8, 192.0.2.1,::1".parse().unwrap();
        for (address, trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("::1", true),
        ] {
            assert_eq!(
                networks.have(address.parse().unwrap()),
                trusted,
                "{address}"
            );
        }
        assert!("10.0.0.0/33".parse::<Networks>().is_err());
        assert!("".parse::<Networks>().unwrap().is_empty());
    }

    /// Headers as proxies send them, with the beginning of a request behind.
    fn headers() -> impl Strategy<Value = Vec<u8>> {
        let unknown = |length| format!("PROXY UNKNOWN {}\r\nGET /", "x".repeat(length));
        let binary = |rest: &[u8]| [v2::PROTOCOL_PREFIX, rest, b"GET /"].concat();
        mangled([
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\nGET /".to_vec(),
            b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\nGET /".to_vec(),
            unknown(1).into_bytes(),
            unknown(MOST_TEXT - 16).into_bytes(),
            unknown(MOST_TEXT - 15).into_bytes(),
            binary(&[
                0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80,
            ]),
            binary(&[0x20, 0, 0, 0]),
            binary(&[&[0x21, 0x21, 0, 36][..], &[1; 36]].concat()),
            binary(&[&[0x21, 0x31, 0, 216][..], &[1; 216]].concat()),
            binary(&[&[0x21, 0x11, 8, 0][..], &[0; 2_048]].concat()),
        ])
    }

    proptest! {
        #[test]
        fn whatever_comes_a_header_is_read_to_its_end_and_within_its_bound(bytes in headers(), more in any::<Vec<u8>>()) {
            let (found, taken) = read(&bytes);
            let bound = match bytes.starts_with(v2::PROTOCOL_PREFIX) {
                true => v2::PROTOCOL_PREFIX.len() + 4 + MOST,
                false => MOST_TEXT,
            };
            prop_assert!(taken <= bound, "{}", taken);
            let Ok(found) = found else { return Ok(()) };
            // What stands behind it is nobody's business, and what stands in it is all that counts.
            let header = bytes.get(..taken).unwrap();
            let (again, length) = read(&[header, &more].concat());
            prop_assert_eq!((again.unwrap(), length), (found, taken));
            prop_assert_eq!(parse(header).unwrap(), found);
            for shorter in 0..taken {
                prop_assert!(read(header.get(..shorter).unwrap()).0.is_err(), "{}", shorter);
            }
        }

        #[test]
        fn whatever_comes_networks_are_what_they_are_shown_as(text in mangled_text(["10.0.0.0/8, 192.0.2.1", "2001:db8::/32,::1"])) {
            if let Ok(networks) = text.parse::<Networks>() {
                prop_assert_eq!(networks.to_string().parse::<Networks>().unwrap(), networks);
            }
        }
    }
}
