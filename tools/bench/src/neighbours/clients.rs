//! Clients that hold on to what they have: they ask the component that misbehaves, and then do nothing.
//!
//! They come from addresses of their own in 127.1.0.0/16, some from each, since the host bounds what one address may have.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Duration, Instant, timeout_at},
};

/// What they hold on to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clients {
    /// 260 have sent a byte of a body, and send no more.
    Bodies,
    /// Two of HTTP/2 ask 64 things each and let nothing of the answers come.
    Windows,
    /// Four ask for 20 MiB and read nothing.
    Readers,
}

/// Have them there for so long; who is sent away comes again. How often any of them asked.
pub(super) async fn stay(
    clients: Clients,
    address: &str,
    length: Duration,
) -> anyhow::Result<usize> {
    let host: SocketAddr = address.parse().context("the host's address")?;
    let until = Instant::now() + length;
    let (number, each) = match clients {
        Clients::Bodies => (260, 50),
        // A client may have 64 requests at once.
        Clients::Windows => (2, 1),
        Clients::Readers => (4, 4),
    };
    let mut tasks = JoinSet::new();
    for n in 0..number {
        tasks.spawn(async move {
            let mut asked = 0;
            while Instant::now() < until {
                let stream = connect(host, n, each).await?;
                asked += 1;
                // Sent away, it waits a moment.
                let _ = timeout_at(until, once(clients, stream)).await;
                tokio::time::sleep_until(until.min(Instant::now() + AGAIN)).await;
            }
            anyhow::Ok(asked)
        });
    }
    let mut asked = 0;
    while let Some(client) = tasks.join_next().await {
        asked += client??;
    }
    Ok(asked)
}

/// One of them, until the host has had enough of it.
async fn once(clients: Clients, mut stream: TcpStream) -> anyhow::Result<()> {
    match clients {
        Clients::Bodies => {
            let head = "POST /faulty/read HTTP/1.1\r\nhost: bench\r\ncontent-length: 1000\r\n\r\nx";
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
        }
        Clients::Readers => {
            let head = "GET /faulty/huge HTTP/1.1\r\nhost: bench\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            std::future::pending::<()>().await;
        }
        Clients::Windows => {
            let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(0)
                .handshake(TokioIo::new(stream))
                .await?;
            let mut driving = JoinSet::new();
            driving.spawn(connection);
            let mut answers = Vec::new();
            for _ in 0..STREAMS {
                sender.ready().await?;
                let request = Request::get("http://bench/faulty/fine");
                answers.push(sender.send_request(request.body(Full::<Bytes>::default())?));
            }
            let _answers = futures::future::join_all(answers).await;
            driving.join_next().await;
        }
    }
    Ok(())
}

/// From an address that is another client's than those of the load.
async fn connect(host: SocketAddr, n: u16, each: u16) -> anyhow::Result<TcpStream> {
    let [high, low] = (n / each + 1).to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into())?;
    Ok(socket.connect(host).await?)
}

/// What a connection may have at once.
const STREAMS: usize = 64;
const AGAIN: Duration = Duration::from_millis(100);
