//! What every HTTP port shares: its connections, their TLS, who asks, how a request is read, and the shape of every
//! refusal.
//!
//! ```text
//!  request --guard--> Principal --path, parameters--> handler of a role --> answer
//!     |  nobody known  |  unknown path, other method       |  what the role refuses
//!     +----------------+--------> Problem <----------------+
//! ```
//!
//! Guarantee: every refusal of every route, in every role, is a problem document of one dialect. [`ProblemKind`] lists
//! all kinds; a role chooses among them and invents none.
//! Not here: which error becomes which kind (the crate that owns the error), the routes themselves, and limits on
//! requests: those of the collector count bytes and those of the gateway queries, and each role keeps its own.

mod access;
mod audit;
mod certificate;
mod client_certificate;
mod connection;
mod handshake;
mod here;
mod jwt;
mod keyring;
mod keys;
mod kind;
mod origins;
mod parameters;
mod principal;
mod problem;
mod quota;
mod request;
mod routes;
mod rules;
mod run;
mod security;
mod tls;

pub use access::{Access, guard};
pub use audit::Audit;
pub use certificate::{CertificateMark, CertificateRule};
pub use client_certificate::ClientCertificate;
pub use here::is_from_here;
pub use jwt::KeySet;
pub use keyring::{Keyring, WantedKeys};
pub use keys::{KEY_PREFIX, Sha256Sum, key_text, without_keys};
pub use kind::ProblemKind;
pub use origins::{AllowedOrigins, Origins, PageRules, answer_pages};
pub use parameters::{Parameters, no_parameters};
pub use principal::{Grants, Names, Principal, RowRules};
pub use problem::Problem;
pub use quota::{Quotas, Spending};
pub use request::{parameters, path_text};
pub use routes::{refuse_other_methods, refuse_other_paths};
pub use rules::{AccessRules, KeyRule, TokenRule};
pub use run::{ConnectionSettings, serve, serve_tls};
pub use security::page_policy;
pub use tls::{Tls, TlsError, TlsMaterial, Validity};
