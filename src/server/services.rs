//! Which services there are, and their sockets as `[listen]` names them. Knows no connection.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::connections::Protocol;
use super::listener::{Security, Service};
use super::ports::{self, Ports};
use super::{imap, smtp};
use crate::config::Listen;

/// Mail in, from other servers.
const SMTP: Service = Service {
    name: "smtp",
    protocol: Protocol::Smtp,
    security: Security::StartTls,
    handler: |stream, peer, shared| Box::pin(smtp::connection(stream, peer, shared)),
};

/// Mail out, from users' programs, with STARTTLS.
const SUBMISSION: Service = Service {
    name: "submission",
    protocol: Protocol::Submission,
    security: Security::StartTls,
    handler: |stream, peer, shared| Box::pin(smtp::submission(stream, peer, shared)),
};

/// Mail out, from users' programs, with implicit TLS. RFC 8314 §3.3
const SUBMISSIONS: Service =
    Service { name: "submissions", security: Security::Implicit, ..SUBMISSION };

/// Users' programs, with STARTTLS.
const IMAP: Service = Service {
    name: "imap",
    protocol: Protocol::Imap,
    security: Security::StartTls,
    handler: |stream, peer, shared| Box::pin(imap::connection(stream, peer, shared)),
};

/// Users' programs, with implicit TLS.
const IMAPS: Service = Service { name: "imaps", security: Security::Implicit, ..IMAP };

/// All sockets that `[listen]` asks for, bound.
#[derive(Default)]
pub(super) struct Sockets {
    /// Each with its service.
    pub(super) listeners: Vec<(TcpListener, Service)>,
    /// Where they are; a port 0 has become a real one.
    pub(super) ports: Ports,
}

/// A socket that could not be opened: for which listener, and where.
pub(super) type CannotListen = (&'static str, SocketAddr, io::Error);

/// Opens all sockets, or says which one cannot be opened.
pub(super) fn bind_all(listen: &Listen) -> Result<Sockets, CannotListen> {
    let mut sockets = Sockets::default();
    let services = [
        (SMTP, &listen.smtp),
        (SUBMISSION, &listen.submission),
        (SUBMISSIONS, &listen.submissions),
        (IMAP, &listen.imap),
        (IMAPS, &listen.imaps),
    ];
    for (service, addresses) in services {
        for address in addresses {
            let bound = ports::bind(*address).and_then(|socket| Ok((socket.local_addr()?, socket)));
            let (at, socket) = bound.map_err(|error| (service.name, *address, error))?;
            sockets.ports.add(service.name, at);
            sockets.listeners.push((socket, service));
        }
    }
    Ok(sockets)
}
