//! What every HTTP port shares: its connections, their TLS, how a request is read, and the shape of every answer that
//! refuses one.
//!
//! ```text
//!  request --path, parameters--> handler of a role --> answer
//!     |  unknown path, other method    |  what the role refuses
//!     +------------> Problem <---------+
//! ```
//!
//! Guarantee: every refusal of every route, in every role, is a problem document of one dialect. [`ProblemKind`] lists
//! all kinds; a role chooses among them and invents none.
//! Not here: which error becomes which kind (the crate that owns the error), the routes themselves, and limits on
//! requests: those of the collector count bytes and those of the gateway queries, and each role keeps its own.

mod client_certificate;
mod connection;
mod handshake;
mod here;
mod kind;
mod origins;
mod parameters;
mod principal;
mod problem;
mod request;
mod routes;
mod run;
mod tls;

pub use client_certificate::ClientCertificate;
pub use here::is_from_here;
pub use kind::ProblemKind;
pub use origins::{AllowedOrigins, PageRules, answer_pages};
pub use parameters::{Parameters, no_parameters};
pub use principal::{Grants, Names, Principal, RowRules};
pub use problem::Problem;
pub use request::{parameters, path_text};
pub use routes::{refuse_other_methods, refuse_other_paths};
pub use run::{ConnectionSettings, serve, serve_tls};
pub use tls::{Tls, TlsError, TlsMaterial, Validity};
