//! speed-layer
