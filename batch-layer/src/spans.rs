//! Spans of the log that go along with work of the query engine onto other threads: lines of a task bear its run there,
//! too.
//!
//! Guarantee: changes nothing but which span a line of the log stands in. Set once for the whole process, whoever makes
//! the first session.

use std::any::Any;

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::{Instrument, Span};

/// What the engine hands over without looking at it.
type Given = Box<dyn Any + Send>;

struct CurrentSpan;

impl JoinSetTracer for CurrentSpan {
    fn trace_future(&self, future: BoxFuture<'static, Given>) -> BoxFuture<'static, Given> {
        future.in_current_span().boxed()
    }

    fn trace_block(&self, block: Box<dyn FnOnce() -> Given + Send>) -> Box<dyn FnOnce() -> Given + Send> {
        let span = Span::current();
        Box::new(move || span.in_scope(block))
    }
}

/// From now on what the engine starts runs in the span of whoever starts it.
pub(crate) fn keep_spans() {
    // Set already: by a session before this one.
    let _ = set_join_set_tracer(&CurrentSpan);
}
