//! query-gateway
