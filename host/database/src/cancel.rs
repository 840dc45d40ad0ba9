//! Ending what a session does, by the protocol's own request.
//!
//! Promise: once it is made, the server has told the session, so that nothing which is sent to it later is met by the request.
//! It waits for that as libpq does, by the end of the request's own connection; the driver's does not. Bound: [`Pace`].

use std::{
    io,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, ready},
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_postgres::{CancelToken, Config, NoTls, config::Host, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How often a server is asked to cancel: it begins a process for each request, which takes milliseconds of a CPU that others
/// need too. So what gives up all that it asks for, over and over, is not ended over and over.
pub(crate) struct Pace(DefaultDirectRateLimiter);

impl Pace {
    /// Wait for the turn of a request, and take it.
    pub(crate) async fn turn(&self) {
        let clock = DefaultClock::default();
        while let Err(later) = self.0.check() {
            tokio::time::sleep(later.wait_time_from(clock.now())).await;
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        let [a_second, at_once] =
            [A_SECOND, AT_ONCE].map(|few| NonZeroU32::new(few).unwrap_or(NonZeroU32::MIN));
        Self(RateLimiter::direct(
            Quota::per_second(a_second).allow_burst(at_once),
        ))
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// The session was told before this was known.
    Told,
    /// It is told at some time, or not.
    Sent,
}

/// Cancel what this session is doing.
pub(crate) async fn cancel(
    token: &CancelToken,
    config: &Config,
    tls: Option<MakeRustlsConnect>,
) -> Result<Request, Box<dyn std::error::Error + Send + Sync>> {
    let port = config.get_ports().first().copied().unwrap_or(PORT);
    match (config.get_hosts(), config.get_hostaddrs()) {
        ([Host::Tcp(name)], []) => {
            let stream = TcpStream::connect((name.as_str(), port)).await?;
            over(token, stream, tls, name).await?;
        }
        ([Host::Unix(folder)], []) => {
            let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await?;
            over(token, stream, tls, "").await?;
        }
        // Which of several servers it is only the driver knows.
        _ => {
            match tls {
                Some(tls) => token.cancel_query(tls).await?,
                None => token.cancel_query(NoTls).await?,
            }
            return Ok(Request::Sent);
        }
    }
    Ok(Request::Told)
}

async fn over<S>(
    token: &CancelToken,
    stream: S,
    tls: Option<MakeRustlsConnect>,
    host: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = ToItsEnd {
        stream,
        is_shut: false,
    };
    match tls {
        Some(mut tls) => {
            let tls = MakeTlsConnect::<ToItsEnd<S>>::make_tls_connect(&mut tls, host)?;
            token.cancel_query_raw(stream, tls).await?;
        }
        None => token.cancel_query_raw(stream, NoTls).await?,
    }
    Ok(())
}

/// A stream that is shut down when the other side has closed it too.
struct ToItsEnd<S> {
    stream: S,
    is_shut: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for ToItsEnd<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ToItsEnd<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        loop {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// As many as a component has connections by default: a single call that hangs up is ended at once, with all that it asked.
const AT_ONCE: u32 = 16;
/// A database of 100 connections is free of what was given up in as long as a statement may take.
const A_SECOND: u32 = 20;
const PORT: u16 = 5432;
