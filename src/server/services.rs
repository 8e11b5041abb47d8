//! Which services there are, and their sockets: those that systemd hands over, and those that
//! `[listen]` names. Knows no connection.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::connections::Protocol;
use super::inherited::{self, Inherited, SocketFault};
use super::listener::{Security, Service};
use super::ports::{self, Ports};
use super::{imap, smtp};
use crate::config::{Config, Tls};

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

/// All sockets, ready to accept from.
#[derive(Default)]
pub(super) struct Sockets {
    /// Each with its service.
    pub(super) listeners: Vec<(TcpListener, Service)>,
    /// Where they are; a port 0 has become a real one.
    pub(super) ports: Ports,
}

/// Why there are not all the sockets that there should be.
pub(super) enum CannotListen {
    /// One could not be opened: for which listener, and where.
    Bind(&'static str, SocketAddr, io::Error),
    /// One that systemd hands over is of no use.
    Inherited(SocketFault),
}

/// Takes the sockets that systemd hands over, and opens those of `[listen]` that they do not
/// replace.
pub(super) fn sockets(config: &Config) -> Result<Sockets, CannotListen> {
    let mut handed = inherited::take().map_err(CannotListen::Inherited)?;
    let listen = &config.listen;
    let mut sockets = Sockets::default();
    let services = [
        (SMTP, &listen.smtp),
        (SUBMISSION, &listen.submission),
        (SUBMISSIONS, &listen.submissions),
        (IMAP, &listen.imap),
        (IMAPS, &listen.imaps),
    ];
    for (service, addresses) in services {
        let is_ours = |socket: &mut Inherited| socket.is_for(service.name, addresses);
        let ours: Vec<Inherited> = handed.extract_if(.., is_ours).collect();
        if ours.is_empty() {
            sockets.bind(service, addresses)?;
        } else if service.security == Security::Implicit && config.tls == Tls::Off {
            return Err(CannotListen::Inherited(SocketFault::NoCertificate(service.name)));
        } else {
            sockets.take(service, ours)?;
        }
    }
    match handed.first() {
        Some(socket) => Err(CannotListen::Inherited(socket.homeless())),
        None => Ok(sockets),
    }
}

impl Sockets {
    fn bind(&mut self, service: Service, addresses: &[SocketAddr]) -> Result<(), CannotListen> {
        for address in addresses {
            let bound = ports::bind(*address).and_then(|socket| Ok((socket.local_addr()?, socket)));
            let (at, socket) =
                bound.map_err(|error| CannotListen::Bind(service.name, *address, error))?;
            self.add(service, at, socket);
        }
        Ok(())
    }

    fn take(&mut self, service: Service, handed: Vec<Inherited>) -> Result<(), CannotListen> {
        for socket in handed {
            let at = socket.address();
            let socket = socket.into_listener();
            let socket = socket.map_err(|error| CannotListen::Bind(service.name, at, error))?;
            self.add(service, at, socket);
        }
        Ok(())
    }

    fn add(&mut self, service: Service, at: SocketAddr, socket: TcpListener) {
        self.ports.add(service.name, at);
        self.listeners.push((socket, service));
    }
}
