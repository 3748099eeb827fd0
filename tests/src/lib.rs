//! What tests and benchmarks share: Twofold and Redis as processes of their own, real services.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests wait for processes, with a deadline by the clock")]

pub mod certificates;
pub mod own_services;
pub mod parts;
pub mod process;
pub mod redis;
pub mod redis_cluster;
pub mod services;
