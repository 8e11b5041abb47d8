//! Which services there are, and their sockets as `[listen]` names them. Knows no connection.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::connections::Protocol;
use super::listener::{Security, Service};
use super::ports::{self, Ports};
use super::smtp;
use crate::config::Listen;

/// Mail in, from other servers.
const SMTP: Service = Service {
    name: "smtp",
    protocol: Protocol::Smtp,
    security: Security::StartTls,
    handler: |stream, peer, shared| Box::pin(smtp::connection(stream, peer, shared)),
};

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
    for (service, addresses) in [(SMTP, &listen.smtp)] {
        for address in addresses {
            let bound = ports::bind(*address).and_then(|socket| Ok((socket.local_addr()?, socket)));
            let (at, socket) = bound.map_err(|error| (service.name, *address, error))?;
            sockets.ports.add(service.name, at);
            sockets.listeners.push((socket, service));
        }
    }
    Ok(sockets)
}
