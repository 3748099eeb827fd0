//! The server of a port: its connections, how many there are, and how long each may be waited for.
//!
//! Guarantee: no client holds a connection for longer than its deadlines without a whole request that is under way: for
//! the head of a request, and for reading an answer. Where all connections are taken, those whose clients owe a request
//! make room, and no answer that is due is cut off. Told to stop, it ends once every request under way is answered.
//! Not here: how long a body may take, which depends on the route; what TLS is spoken with (`tls.rs`).
//! Why so: a client that opens connections and says nothing costs a descriptor each, until the process has none left
//! for anybody.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::client_certificate::ClientCertificate;
use crate::connection::{Traffic, Watched};
use crate::handshake::secure;
use crate::tls::Tls;

/// What a port allows its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Connections at one time.
    pub max_connections: usize,
    /// How long the whole head of a request may take, from the answer before it on, or from the connection on; with
    /// TLS from the handshake on, which may take as long.
    pub head_timeout: Duration,
    /// How long a client may take to read an answer.
    pub answer_timeout: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        let (head_timeout, answer_timeout) = (Duration::from_secs(75), Duration::from_secs(60));
        Self { max_connections: 8_192, head_timeout, answer_timeout }
    }
}

/// A client that has owed a request for this long makes room where there is none.
const FRESH: Duration = Duration::from_secs(1);
/// Between two looks for room, and between two attempts where the system gives no more connections.
const PAUSE: Duration = Duration::from_millis(100);

/// What the connections of a port share.
#[derive(Clone)]
struct Port {
    router: Router,
    settings: ConnectionSettings,
    // `None`: plain HTTP is spoken.
    tls: Option<Tls>,
    stop: CancellationToken,
    // Told by the listener where all connections are taken, heard by each of them.
    crowded: Arc<Notify>,
}

/// Serves HTTP until `stop`, then lets the requests under way end. Routes are told who asks, as
/// [`ConnectInfo<SocketAddr>`].
pub async fn serve(listener: TcpListener, router: Router, settings: ConnectionSettings, stop: CancellationToken) {
    serve_port(listener, Port { router, settings, tls: None, stop, crowded: Arc::default() }).await;
}

/// As [`serve`], over TLS alone. Routes are also told what the client has proved to be, as [`ClientCertificate`], where
/// it has shown a certificate.
pub async fn serve_tls(
    listener: TcpListener,
    router: Router,
    settings: ConnectionSettings,
    tls: Tls,
    stop: CancellationToken,
) {
    serve_port(listener, Port { router, settings, tls: Some(tls), stop, crowded: Arc::default() }).await;
}

async fn serve_port(listener: TcpListener, port: Port) {
    let (settings, stop) = (port.settings, port.stop.clone());
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= settings.max_connections {
            port.crowded.notify_waiters();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // A handler that panicked ends its own connection alone.
                _ = timeout(PAUSE, connections.join_next()) => continue,
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve_connection(stream, peer, port.clone()));
                }
                // The client has gone before it was greeted.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                Err(_) => {
                    // This process has no descriptor left.
                    port.crowded.notify_waiters();
                    sleep(PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, port: Port) {
    let traffic = Traffic::new();
    let Some(tls) = port.tls.clone() else {
        let watched = Watched::new(stream, traffic.clone(), port.settings.answer_timeout);
        return serve_requests(watched, Client { peer, certificate: None }, traffic, port).await;
    };
    let Some(secured) = shake_hands(stream, &tls, &traffic, &port).await else { return };
    let shown = secured.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.map(|certificate| ClientCertificate::read(certificate));
    serve_requests(secured, Client { peer, certificate }, traffic, port).await;
}

/// The connection, secured; `None` where that takes too long, its room is needed, or the port stops.
async fn shake_hands(stream: TcpStream, tls: &Tls, traffic: &Arc<Traffic>, port: &Port) -> Option<TlsStream<Watched>> {
    let securing = secure(stream, tls, traffic, port.settings.answer_timeout);
    let mut securing = std::pin::pin!(timeout(port.settings.head_timeout, securing));
    loop {
        tokio::select! {
            biased;
            secured = securing.as_mut() => return secured.ok().flatten(),
            () = port.stop.cancelled() => return None,
            () = port.crowded.notified() => if traffic.is_waited_for(FRESH) { return None },
        }
    }
}

/// Who is at the other end of a connection.
struct Client {
    peer: SocketAddr,
    certificate: Option<ClientCertificate>,
}

async fn serve_requests<S>(stream: S, client: Client, traffic: Arc<Traffic>, port: Port)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Port { router, settings, stop, crowded, .. } = port;
    let (routes, of_requests) = (TowerToHyperService::new(router), traffic.clone());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let under_way = of_requests.begin();
        request.extensions_mut().insert(ConnectInfo(client.peer));
        if let Some(certificate) = &client.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        let answer = routes.call(request);
        async move {
            let answer: Result<Response, Infallible> = answer.await;
            drop(under_way);
            answer
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(settings.head_timeout);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            biased;
            // Also where its client has gone, or was too slow: nobody is left to tell.
            _ = connection.as_mut() => return,
            () = stop.cancelled() => break,
            () = crowded.notified() => if traffic.is_waited_for(FRESH) { return },
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
