//! One question to a broker, by hand: is its storage alive?
//!
//! Why so: the storage engine is one task that ends at its first panic, while the listener goes on accepting. Only an
//! answer that needs the storage tells.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A metadata request, version 1, for all topics: size, key 3, version 1, correlation id, client id, no topics.
const REQUEST: [u8; 26] =
    [0, 0, 0, 22, 0, 3, 0, 1, 0, 0, 0, 1, 0, 8, b't', b'w', b'o', b'f', b'o', b'l', b'd', b'-', 0, 0, 0, 0];

/// What the broker answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It did.
    Alive,
    /// It took the question and hung up, or refused the connection.
    Dead,
    /// Nothing within the time: busy, perhaps.
    Silent,
}

/// Asks once.
pub(super) async fn probe(address: SocketAddr, patience: Duration) -> Health {
    match timeout(patience, ask(address)).await {
        Ok(Ok(())) => Health::Alive,
        Ok(Err(_)) => Health::Dead,
        Err(_) => Health::Silent,
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&REQUEST).await?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).await.map(drop)
}
