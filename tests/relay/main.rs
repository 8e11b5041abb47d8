//! Sending over real sockets, to a server that misbehaves where it should not.

mod content;
mod dane;
mod dns;
mod dnssec;
mod domain;
mod mta_sts;
mod reuse;
mod server;
mod sink;
mod steps;
mod tls;
mod world;
