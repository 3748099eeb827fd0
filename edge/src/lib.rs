//! What every HTTP port shares: the shape of an answer that is not a success.
//!
//! Guarantee: every refusal of every route, in every role, is a problem document of one dialect.
//! Not here: which error becomes which status (the crate that owns the error), the routes themselves.

mod problem;

pub use problem::Problem;
