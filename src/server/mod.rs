//! Layer 4: the only sockets, tasks, TLS and timers. Everything that a protocol needs of the world
//! is in `Shared`; the protocols themselves are pure and live in `smtp/` and `imap/`.

mod access;
pub mod auditor;
pub mod bucket;
pub mod connections;
pub mod control;
pub mod database;
mod declared;
mod deflate;
pub mod dkim;
pub mod dns;
pub mod duty;
pub mod folders;
pub mod https;
pub mod imap;
mod inherited;
pub mod listener;
pub mod login;
pub mod mta_sts;
mod object_secret;
mod openings;
mod outgoing;
pub mod ports;
pub mod published;
pub mod queue;
pub mod relay;
mod reload;
mod reserve;
pub mod retention;
pub mod self_signed;
pub mod serve;
mod services;
pub mod signals;
pub mod smtp;
pub mod spool;
mod steady;
mod store_thread;
pub mod stream;
pub mod tls;
pub mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::config::Config;
use crate::conversation::collision::Desk;
use crate::directory::Directory;
use crate::store::Store;
use crate::sys::Clock;
use connections::{Connections, Place};

/// What all connections share.
pub struct Shared {
    /// Where mail is kept.
    pub store: Arc<dyn Store>,
    /// What is declared at this moment, the store's grants included.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// What the operator means at this moment; who needs it to stay the same keeps what it loaded.
    pub config: ArcSwap<Config>,
    /// The certificate of this moment; `None` when TLS is off.
    pub tls: Option<Arc<tls::Certificates>>,
    /// Who signs outgoing mail.
    pub dkim: Arc<dkim::Signers>,
    /// The servers that keep other addresses of our domains.
    pub upstreams: upstream::Upstreams,
    /// Who writes into the audit log what needs no transaction of its own.
    pub auditor: Arc<auditor::Auditor>,
    /// Who may log in.
    pub login: Arc<login::Authenticator>,
    /// True once the daemon stops: say goodbye and end.
    pub shutdown: watch::Receiver<bool>,
    /// Where colleagues who answer the same mail meet.
    pub desk: Arc<Desk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// All open connections.
    pub counts: Arc<Connections>,
}

/// Who is at the other end.
#[derive(Clone)]
pub struct Peer {
    /// Their address.
    pub address: SocketAddr,
    /// Ours, as they see it.
    pub local: SocketAddr,
    /// The place that this connection takes; `None` in tests without a listener.
    pub place: Option<Arc<Place>>,
}

impl Peer {
    /// A peer that takes no place.
    pub fn new(address: SocketAddr, local: SocketAddr) -> Peer {
        Peer { address, local, place: None }
    }

    /// Whether both ends are on the loopback interface, so that nobody can listen between them.
    pub fn is_on_this_machine(&self) -> bool {
        let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        is_loopback(self.address) && is_loopback(self.local)
    }

    /// To be called once the user has logged in: the connection is no longer one of the silent ones
    /// that a newer one may push out.
    pub fn logged_in(&self) {
        if let Some(place) = &self.place {
            place.logged_in();
        }
    }

    /// To be called once nobody is logged in any more: the connection is one of the silent ones.
    pub fn logged_out(&self) {
        if let Some(place) = &self.place {
            place.logged_out();
        }
    }
}
