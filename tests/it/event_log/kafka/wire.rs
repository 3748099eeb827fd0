//! A wire between a client and a Kafka broker that can be cut, or lose what comes back.
//!
//! Brokers tell their clients where to connect: on the way back their address is replaced by that of the wire, which is
//! written in as many bytes. So a client never comes past it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It arrives.
    Whole,
    /// Requests arrive, answers do not. A connection that has lost one ends with this state.
    Deaf,
    /// Connections end, new ones at once.
    Cut,
}

/// A wire. Ends with the test.
pub struct Wire {
    /// `127.0.0.1:PORT`.
    pub address: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

struct Shared {
    broker: String,
    port: u16,
    state: watch::Sender<State>,
    // Connections and answers that the present state has cost.
    lost: AtomicUsize,
    // Connections; each counts itself.
    open: watch::Sender<usize>,
}

impl Wire {
    /// A whole one to `broker`, which is `127.0.0.1:PORT`.
    pub async fn start(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = watch::Sender::new(State::Whole);
        let (lost, open) = (AtomicUsize::new(0), watch::Sender::new(0));
        let shared = Arc::new(Shared { broker: broker.to_owned(), port, state, lost, open });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&shared)));
        Self { address: format!("127.0.0.1:{port}"), shared, _server: server }
    }

    /// From now on. Once it is cut, no connection is left.
    pub async fn set(&self, state: State) {
        self.shared.lost.store(0, Ordering::SeqCst);
        self.shared.state.send_replace(state);
        if state == State::Cut {
            self.shared.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
        }
    }

    /// How many connections and answers the present state has cost.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *shared.state.borrow() == State::Cut {
            shared.lost.fetch_add(1, Ordering::SeqCst);
        } else {
            connections.spawn(count(client, Arc::clone(&shared)));
        }
    }
}

async fn count(client: TcpStream, shared: Arc<Shared>) {
    shared.open.send_modify(|open| *open += 1);
    carry(client, &shared).await;
    shared.open.send_modify(|open| *open -= 1);
}

/// Until one side ends the connection, or the wire is cut.
async fn carry(client: TcpStream, shared: &Shared) {
    let Ok(broker) = TcpStream::connect(&shared.broker).await else { return };
    let ((mut asked, answering), (answered, mut asking)) = (client.into_split(), broker.into_split());
    let mut states = shared.state.subscribe();
    tokio::select! {
        biased;
        _ = states.wait_for(|state| *state == State::Cut) => {
            shared.lost.fetch_add(1, Ordering::SeqCst);
        }
        () = carry_answers(answered, answering, shared) => {}
        _ = copy(&mut asked, &mut asking) => {}
    }
}

async fn carry_answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut states = shared.state.subscribe();
    while let Ok(answer) = read_frame(&mut from).await {
        if *states.borrow() == State::Deaf {
            shared.lost.fetch_add(1, Ordering::SeqCst);
            // What comes behind a lost answer would be taken for it.
            let _ = states.wait_for(|state| *state != State::Deaf).await;
            return;
        }
        if to.write_all(&readdressed(answer, &shared.broker, shared.port)).await.is_err() {
            return;
        }
    }
}

/// One answer with its length before it.
async fn read_frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(frame.len() + length as usize, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

/// Wherever the broker's host is followed by its port, the wire's port.
fn readdressed(mut answer: Vec<u8>, broker: &str, port: u16) -> Vec<u8> {
    let (host, known) = broker.rsplit_once(':').unwrap();
    let written = |port: u16| [host.as_bytes(), &u32::from(port).to_be_bytes()].concat();
    let (old, new) = (written(known.parse().unwrap()), written(port));
    let found = answer.windows(old.len()).enumerate().filter(|(_, bytes)| *bytes == old).map(|(at, _)| at);
    for at in found.collect::<Vec<_>>() {
        answer[at..at + new.len()].copy_from_slice(&new);
    }
    answer
}
