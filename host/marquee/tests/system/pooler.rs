//! A pooler before a PostgreSQL that trusts whoever comes, as pgbouncer is with `ignore_startup_parameters = options`: a
//! client has a server's session for a transaction, or as long as it is connected, and cannot ask for settings.
//!
//! In transaction mode a session is anybody's again when it says that it is idle and nothing is unanswered; whoever asks
//! next has the one that was given back last. Not here: cancelling, TLS, a bound on sessions.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Ends with this value.
pub(crate) struct Pooler {
    pub(crate) addr: SocketAddr,
    _serving: JoinSet<()>,
}

/// How long a client has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Transaction,
    Session,
}

/// What the other side says, message by message.
type Messages = Framed<TcpStream, LengthDelimitedCodec>;

/// A server's session, and what it said first.
struct Session(Messages, Bytes);

/// Sessions that nobody has, with what they were asked for.
type Idle = Arc<Mutex<Vec<(Bytes, Session)>>>;

/// Start one before `target`.
pub(crate) async fn pooler(target: SocketAddr, mode: Mode) -> Pooler {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let addr = listener.local_addr().expect("its address");
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let idle = Idle::default();
        let mut clients = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let idle = Arc::clone(&idle);
            // A client that breaks off takes the session along that it has.
            clients.spawn(async move { drop(serve(client, target, mode, idle).await) });
        }
    });
    Pooler {
        addr,
        _serving: serving,
    }
}

async fn serve(
    mut client: TcpStream,
    target: SocketAddr,
    mode: Mode,
    idle: Idle,
) -> io::Result<()> {
    let mut asked = vec![0; client.read_u32().await? as usize - 4];
    client.read_exact(&mut asked).await?;
    let asked = without_options(&asked);
    let mut held = Some(open(target, &asked).await?);
    client
        .write_all(&held.as_ref().expect("just opened").1)
        .await?;
    let mut client = framed(client);
    loop {
        if mode == Mode::Transaction {
            let free = held.take().map(|session| (asked.clone(), session));
            idle.lock().expect("no panic").extend(free);
        }
        let Some(message) = client.next().await.transpose()? else {
            return Ok(());
        };
        if held.is_none() {
            let mut idle = idle.lock().expect("no panic");
            let last = idle.iter().rposition(|(of, _)| *of == asked);
            held = last.map(|last| idle.remove(last).1);
        }
        let session = match &mut held {
            Some(session) => session,
            none => none.insert(open(target, &asked).await?),
        };
        if transaction(&mut client, &mut session.0, message)
            .await?
            .is_none()
        {
            return Ok(());
        }
    }
}

/// Carry a client's message, and what follows, until the session is free. None: one of both is gone.
async fn transaction(
    client: &mut Messages,
    server: &mut Messages,
    first: BytesMut,
) -> io::Result<Option<()>> {
    let mut unanswered = 0;
    let mut message = Some(first);
    loop {
        if let Some(message) = message.take() {
            match message[0] {
                b'X' => return Ok(None),
                b'Q' | b'S' => unanswered += 1,
                _ => {}
            }
            server.get_mut().write_all(&message).await?;
        }
        tokio::select! {
            said = client.next() => match said.transpose()? {
                None => return Ok(None),
                said => message = said,
            },
            answer = server.next() => {
                let Some(answer) = answer.transpose()? else {
                    return Ok(None);
                };
                client.get_mut().write_all(&answer).await?;
                if answer[0] == b'Z' {
                    unanswered -= 1;
                    if answer[5] == b'I' && unanswered == 0 {
                        return Ok(Some(()));
                    }
                }
            }
        }
    }
}

/// What a client asks for when it connects: pairs of texts, each with a zero behind it, and a zero at the end.
fn without_options(asked: &[u8]) -> Bytes {
    let (version, pairs) = asked.split_at(4);
    let mut kept = BytesMut::from(version);
    let texts: Vec<&[u8]> = pairs.split(|byte| *byte == 0).collect();
    for pair in texts.chunks_exact(2) {
        if !pair[0].is_empty() && pair[0] != b"options" {
            kept.put_slice(&[pair[0], b"\0", pair[1], b"\0"].concat());
        }
    }
    kept.put_u8(0);
    kept.freeze()
}

async fn open(target: SocketAddr, asked: &[u8]) -> io::Result<Session> {
    let mut server = TcpStream::connect(target).await?;
    let length = u32::try_from(asked.len()).expect("short") + 4;
    server.write_u32(length).await?;
    server.write_all(asked).await?;
    let mut messages = framed(server);
    let mut greeting = BytesMut::new();
    while let Some(message) = messages.next().await.transpose()? {
        greeting.put_slice(&message);
        // Ready, or an error that is the end of it.
        if matches!(message[0], b'Z' | b'E') {
            break;
        }
    }
    Ok(Session(messages, greeting.freeze()))
}

fn framed(stream: TcpStream) -> Messages {
    // The length counts all but the kind, which comes before it.
    LengthDelimitedCodec::builder()
        .length_field_offset(1)
        .length_field_length(4)
        .length_adjustment(1)
        .num_skip(0)
        .new_framed(stream)
}
