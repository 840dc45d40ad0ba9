//! A TCP proxy on loopback that can cut, refuse and delay, and counts round trips.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Stands between a client and a server.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    is_cut: AtomicBool,
    delay_ms: AtomicU64,
    round_trips: AtomicU64,
    accepted: AtomicU64,
    connections: Mutex<CancellationToken>,
    swallowed: Mutex<CancellationToken>,
}

/// Start a proxy before `target`.
pub async fn proxy(target: SocketAddr) -> Proxy {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a loopback port");
    let addr = listener.local_addr().expect("its address");
    let shared = Arc::new(Shared {
        is_cut: AtomicBool::new(false),
        delay_ms: AtomicU64::new(0),
        round_trips: AtomicU64::new(0),
        accepted: AtomicU64::new(0),
        connections: Mutex::new(CancellationToken::new()),
        swallowed: Mutex::new(CancellationToken::new()),
    });
    let mut tasks = JoinSet::new();
    let serving = Arc::clone(&shared);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            serving.accepted.fetch_add(1, Ordering::SeqCst);
            // First the token, then the flag: a cut in between ends the connection either way.
            let stop = serving.connections.lock().expect("no panic").clone();
            if serving.is_cut.load(Ordering::SeqCst) {
                continue;
            }
            let silent = serving.swallowed.lock().expect("no panic").clone();
            let shared = Arc::clone(&serving);
            connections.spawn(async move {
                let mut carrying = std::pin::pin!(carry(client, target, shared));
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = &mut carrying => return,
                    () = silent.cancelled() => {}
                }
                // Both ends stay open, and nothing goes from one to the other any more.
                stop.cancelled().await;
            });
        }
    });
    Proxy {
        addr,
        shared,
        _tasks: tasks,
    }
}

impl Proxy {
    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Close all connections and refuse new ones.
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        let mut connections = self.shared.connections.lock().expect("no panic");
        connections.cancel();
        *connections = CancellationToken::new();
    }

    /// Accept again.
    pub fn heal(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// Let the connections that are open now carry nothing any more, and stay open. New ones work.
    pub fn swallow(&self) {
        let mut swallowed = self.shared.swallowed.lock().expect("no panic");
        swallowed.cancel();
        *swallowed = CancellationToken::new();
    }

    /// Hold what the client sends for so long.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay_ms.store(
            u64::try_from(delay.as_millis()).expect("short"),
            Ordering::SeqCst,
        );
    }

    /// How often a client connected, also while it was cut.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How often the server answered after the client had sent something.
    pub fn round_trips(&self) -> u64 {
        self.shared.round_trips.load(Ordering::SeqCst)
    }
}

async fn carry(client: TcpStream, target: SocketAddr, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // Set when the client has sent something that is not answered yet.
    let asked = AtomicBool::new(false);
    let out = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let delay = shared.delay_ms.load(Ordering::SeqCst);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            asked.store(true, Ordering::SeqCst);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if asked.swap(false, Ordering::SeqCst) {
                shared.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = out => {}
        () = back => {}
    }
}
