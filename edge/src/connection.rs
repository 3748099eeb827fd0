//! A connection as the port sees it: whether its client is waited for, and how long it takes to read an answer.
//!
//! Guarantee: an answer that its client has not read whole within its time ends the connection, and with it all that
//! the answer holds.
//! Not here: connections as a whole, and how long a client may take to ask (`run.rs`).
//! Why so: what was handed to the HTTP library is in memory until it is written; a client that reads nothing, or a byte
//! now and then, would keep it there for ever.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// What a connection does, told by its stream and by its requests.
#[derive(Debug)]
pub(crate) struct Traffic {
    // Written by the task of the connection alone, at each request and each write; read by that task where room is
    // needed. A lock, as stream and requests are different objects to the HTTP library.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    requests: usize,
    is_writing: bool,
    since: Instant,
}

impl Traffic {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { requests: 0, is_writing: false, since: Instant::now() }) })
    }

    /// A request is under way until the value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Request {
        self.with(|state| state.requests += 1);
        Request(self.clone())
    }

    /// Whether the client has owed a request for so long: nothing is under way, nothing is left to write.
    pub(crate) fn is_waited_for(&self, at_least: Duration) -> bool {
        self.with(|state| state.requests == 0 && !state.is_writing && state.since.elapsed() >= at_least)
    }

    fn note_writing(&self, is_writing: bool) {
        self.with(|state| {
            state.is_writing = is_writing;
            state.since = Instant::now();
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct Request(Arc<Traffic>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.requests -= 1;
            state.since = Instant::now();
        });
    }
}

/// A stream that fails once its client takes too long to read.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: TcpStream,
    traffic: Arc<Traffic>,
    limit: Duration,
    // Set by the first write of an answer, cleared once all of it is written.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(crate) fn new(stream: TcpStream, traffic: Arc<Traffic>, limit: Duration) -> Self {
        Self { stream, traffic, limit, deadline: None }
    }

    /// The outcome of a write; an error where it would have to wait for longer.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.deadline.is_none() {
            self.deadline = Some(Box::pin(sleep_until(Instant::now() + self.limit)));
            self.traffic.note_writing(true);
        }
        match (&mut self.deadline, written) {
            (Some(deadline), Poll::Pending) => {
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not read its answer in time")))
            }
            (_, written) => written,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let watched = self.get_mut();
        let written = Pin::new(&mut watched.stream).poll_write(cx, bytes);
        watched.in_time(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let watched = self.get_mut();
        let written = Pin::new(&mut watched.stream).poll_write_vectored(cx, parts);
        watched.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watched = self.get_mut();
        let flushed = ready!(Pin::new(&mut watched.stream).poll_flush(cx));
        if watched.deadline.take().is_some() {
            watched.traffic.note_writing(false);
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
