//! Accept loops: one a listening socket. Takes a place for each connection, does the handshake of
//! implicit TLS off the loop, and hands the stream to its protocol. Knows no protocol beyond the
//! line with which a connection is turned away.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::connections::{Connections, Protocol, Refused};
use super::stream::Stream;
use super::{Peer, Shared};
use crate::sys::repeated::Repeated;

/// How long the loop rests when the system has no more file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that is turned away may take to read why.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// A protocol's side of a connection, until its end.
pub type Handler = fn(Stream, Peer, Arc<Shared>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// When TLS starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// In the clear, until the client asks for STARTTLS.
    StartTls,
    /// Before the first byte of the protocol. RFC 8314 §3
    Implicit,
}

/// What a listening socket is for.
#[derive(Clone, Copy)]
pub struct Service {
    /// As in `[listen]`: `imaps`.
    pub name: &'static str,
    /// What is spoken.
    pub protocol: Protocol,
    /// When TLS starts.
    pub security: Security,
    /// Who speaks it.
    pub handler: Handler,
}

/// Accepts until the daemon shuts down.
pub async fn run(listener: TcpListener, service: Service, shared: Arc<Shared>) {
    let mut shutdown = shared.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, address)) => admit(socket, address, service, &shared),
            Err(error) => pause_after(&error, service.name).await,
        }
    }
}

/// A connection that was gone before it was taken costs nothing; anything else (no descriptors, no
/// memory) does not get better by asking at once.
async fn pause_after(error: &io::Error, service: &'static str) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    static FAILED: Repeated = Repeated::new();
    if let Some(unsaid) = FAILED.due((service, error.to_string())) {
        tracing::warn!(service, %error, unsaid, "accept failed");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn admit(socket: TcpStream, address: SocketAddr, service: Service, shared: &Arc<Shared>) {
    let (Ok(local), Ok(())) = (socket.local_addr(), socket.set_nodelay(true)) else {
        return;
    };
    match shared.counts.admit(service.protocol, address.ip()) {
        Ok(place) => {
            let peer = Peer { address, local, place: Some(place.clone()) };
            let shared = shared.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = serve(socket, peer, service, shared) => {}
                    () = place.evicted() => tracing::debug!(%address, "closed for a newer one"),
                }
            });
        }
        Err(why) => turn_away(socket, address, service, why, &shared.counts),
    }
}

/// One connection, from its first byte to its last.
async fn serve(socket: TcpStream, peer: Peer, service: Service, shared: Arc<Shared>) {
    let stream = match service.security {
        Security::StartTls => Stream::Plain(socket),
        Security::Implicit => {
            let Some(certificates) = &shared.tls else { return };
            match Stream::Plain(socket).upgrade(&certificates.acceptor()).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(service = service.name, peer = %peer.address, %error, "TLS");
                    return;
                }
            }
        }
    };
    (service.handler)(stream, peer, shared).await;
}

/// Says why and closes. Under implicit TLS there is nothing that the peer could read.
fn turn_away(
    mut socket: TcpStream,
    address: SocketAddr,
    service: Service,
    why: Refused,
    counts: &Connections,
) {
    let refused = counts.counts().refused;
    // once for an address: who is turned away comes again at once
    static TURNED_AWAY: Repeated = Repeated::new();
    if TURNED_AWAY.due((service.name, address.ip())).is_some() {
        tracing::warn!(service = service.name, %address, ?why, refused, "connection refused");
    }
    if service.security == Security::Implicit {
        return;
    }
    let farewell: &'static [u8] = match service.protocol {
        Protocol::Smtp | Protocol::Submission => {
            b"421 4.7.0 Too many connections, try again later\r\n"
        }
        Protocol::Imap => b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
    };
    tokio::spawn(async move {
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, socket.write_all(farewell)).await;
    });
}
