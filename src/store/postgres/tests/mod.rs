//! What is particular to this engine: several nodes, and a server that goes away.

#![allow(clippy::expect_used)]

mod lease;
mod outages;
pub(in crate::store) mod server;
