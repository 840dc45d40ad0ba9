//! Where connections come from: a port, or a socket in the file system; with what stands before the first request on them.
//!
//! That is the proxy's word of who its client is, from proxies that are trusted, and TLS. Bounds: the caller's time.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::uri::Scheme;
use marquee_registry::Digest;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

use super::{
    proxy::{self, Networks},
    tls::Tls,
};

/// Listens.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    tls: Option<Tls>,
    proxies: Networks,
    connections: Arc<Connections>,
}

/// What is counted of a listener.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) open: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// A connection that is open until it is dropped.
pub(super) struct Open(Arc<Connections>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Where to listen: `127.0.0.1:3000`, or `unix:/run/marquee.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// On a port.
    Tcp(SocketAddr),
    /// On a socket in the file system.
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is neither an address such as 127.0.0.1:3000 nor a path such as unix:/run/marquee.sock"
)]
pub struct InvalidAddress(String);

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A client over TCP.
    Address(SocketAddr),
    /// A client over TCP whose certificate has this digest, and is signed by one of those that clients' are to be.
    Certified(SocketAddr, Digest),
    /// A process of this user on the same machine. None: the system does not say.
    User(Option<u32>),
}

/// A connection whose first request may come.
pub(super) struct Greeted {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) spoken: Spoken,
}

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Its first bytes say it.
    Either,
    /// Agreed on, and nothing else.
    Http1,
    /// Agreed on, and nothing else.
    Http2,
}

/// A connection, whatever it is.
pub(super) type Stream = Box<dyn Duplex>;

/// What a connection is.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Listener {
    /// On a port.
    pub fn tcp(listener: TcpListener) -> Self {
        Socket::Tcp(listener).into()
    }

    /// On a socket in the file system.
    pub fn unix(listener: UnixListener) -> Self {
        Socket::Unix(listener).into()
    }

    /// By TLS only.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Who comes from these networks says first, in the PROXY protocol, whom it comes for.
    #[must_use]
    pub fn with_proxies(self, proxies: Networks) -> Self {
        Self { proxies, ..self }
    }

    /// What is counted.
    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// A connection is served.
    pub(super) fn opened(&self) -> Open {
        self.connections.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(&self.connections))
    }

    /// A connection was closed, since its client has as many as it may.
    pub(super) fn refused(&self) {
        self.connections.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn scheme(&self) -> Scheme {
        match self.tls {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Peer::Address(address)))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Box::new(stream), Peer::User(user)))
            }
        }
    }

    /// Whether it has to say whom it comes for.
    pub(super) fn is_proxy(&self, peer: Peer) -> bool {
        matches!(peer, Peer::Address(address) if self.proxies.have(address.ip()))
    }

    /// What comes before the first request.
    pub(super) async fn greet(&self, mut stream: Stream, mut peer: Peer) -> io::Result<Greeted> {
        if self.is_proxy(peer)
            && let Some(client) = proxy::client(&mut stream).await?
        {
            peer = Peer::Address(client);
        }
        let Some(tls) = &self.tls else {
            return Ok(Greeted {
                stream,
                peer,
                spoken: Spoken::Either,
            });
        };
        let (stream, certificate, spoken) = tls.accept(stream).await?;
        if let (Peer::Address(address), Some(certificate)) = (peer, certificate) {
            peer = Peer::Certified(address, certificate);
        }
        Ok(Greeted {
            stream,
            peer,
            spoken,
        })
    }
}

impl From<Socket> for Listener {
    fn from(socket: Socket) -> Self {
        Self {
            socket,
            tls: None,
            proxies: Networks::default(),
            connections: Arc::default(),
        }
    }
}

impl Peer {
    /// Its address; that of this machine for one on a socket.
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Address(address) | Self::Certified(address, _) => address.ip(),
            Self::User(_) => Ipv4Addr::LOCALHOST.into(),
        }
    }
}

impl fmt::Display for Listener {
    /// As a URL, as far as there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme();
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{scheme}://{address}"),
                Err(error) => error.fmt(f),
            },
            Socket::Unix(listener) => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("a socket without a name"),
                },
                Err(error) => error.fmt(f),
            },
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| InvalidAddress(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
