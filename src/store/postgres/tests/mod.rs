//! What is particular to this engine: several nodes, and a server that goes away.

#![allow(clippy::expect_used, dead_code)]

pub(in crate::store) mod server;
