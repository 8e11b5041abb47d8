//! Layer 3: from a queued message to other servers: when it is tried, where it goes, what a reply
//! means for the sender. Knows no socket: `server/` connects and talks, and tells here what came of
//! it.
//!
//! A recipient's way: `routes` says where its mail goes, `agenda` when, `next_hop` which servers
//! that are, `schedule` what came of it, `report` what the sender is told.

pub mod agenda;
pub mod dane;
pub mod dkim;
pub mod mta_sts;
pub mod next_hop;
pub mod plan;
pub mod report;
pub mod routes;
pub mod schedule;
pub mod verified;

use std::net::SocketAddr;
use std::sync::Arc;

use dane::Dane;

/// A server to talk to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    /// Its name: shown in reports, sent as SNI, and what a certificate is verified against.
    pub name: String,
    /// Where it is; tried in this order.
    pub addresses: Vec<SocketAddr>,
    /// What TLS is worth on the way to it.
    pub security: Security,
    /// Whether we log in there as the smarthost's client.
    pub login: Login,
    /// What its certificate must be instead of valid: only beside `Security::Verified`.
    pub dane: Option<Arc<Dane>>,
}

/// What TLS is worth on the way to a hop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Security {
    /// STARTTLS when offered, any certificate; in plain text otherwise. RFC 7435
    Opportunistic,
    /// STARTTLS with any certificate, or no delivery.
    Encrypted,
    /// STARTTLS with a certificate that is valid for the hop's name, or no delivery.
    Verified,
    /// TLS from the first byte, with a valid certificate: `smtps://`.
    Implicit,
    /// Never TLS; for `upstream` and `via` on this machine.
    Off,
}

/// Whether we log in at a hop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Login {
    /// With the credentials of `[outbound]`.
    Configured,
    /// Not at all.
    None,
}
