//! A connection to a hop, ready for a mail: one address after the other, TLS as the hop wants it.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connection::Connection;
use super::trust::by_tlsa;
use super::{ADDRESSES_TRIED_MAX, Relay, ours};
use crate::outbound::{Hop, Login, Security};
use crate::server::stream::Stream;
use crate::smtp::client::{PlainLogin, Session, Settings, Step, Tls, Told};

/// Why there is no connection.
enum Failure {
    /// The handshake failed, or what led to it or came at once after it; without there may be one.
    Handshake(Told),
    /// Anything else.
    Other(Told),
}

impl Failure {
    fn told(self) -> Told {
        match self {
            Failure::Handshake(told) | Failure::Other(told) => told,
        }
    }
}

impl Relay {
    /// A new connection, or why no address of the hop gives one.
    pub(super) async fn open(&self, hop: &Hop) -> Result<Connection, Told> {
        let mut why = ours("", "4.4.4", format!("no address is known for {}", hop.name));
        let began = Instant::now();
        for address in hop.addresses.iter().take(ADDRESSES_TRIED_MAX) {
            if began.elapsed() >= self.settings.timeouts.opening {
                break;
            }
            match self.open_at(hop, *address).await {
                Ok(connection) => return Ok(connection),
                Err(told) => {
                    tracing::debug!(%address, ?told, "no connection");
                    why = told;
                }
            }
        }
        Err(why)
    }

    async fn open_at(&self, hop: &Hop, address: SocketAddr) -> Result<Connection, Told> {
        let tls = match hop.security {
            Security::Opportunistic => Tls::IfOffered,
            Security::Encrypted | Security::Verified => Tls::Required,
            Security::Implicit => Tls::Active,
            Security::Off => Tls::Never,
        };
        match self.dial(hop, address, tls).await {
            Err(Failure::Handshake(told)) if hop.security == Security::Opportunistic => {
                tracing::info!(%address, why = told.text, "TLS failed, going on without it");
                self.dial(hop, address, Tls::Never).await.map_err(Failure::told)
            }
            dialled => dialled.map_err(Failure::told),
        }
    }

    async fn dial(&self, hop: &Hop, address: SocketAddr, tls: Tls) -> Result<Connection, Failure> {
        let mut stream = Stream::Plain(self.connect(hop, address).await.map_err(Failure::Other)?);
        if tls == Tls::Active {
            stream = self.handshake(stream, hop, address).await?;
        }
        let session = Session::new(self.session_settings(hop, address, tls), self.clock.now());
        let mut connection = Connection::new(stream, session, self.clock.clone());
        loop {
            match connection.advance().await {
                Step::Ready => return Ok(connection),
                Step::StartTls => {
                    let (stream, session) = connection.into_parts();
                    let stream = self.handshake(stream, hop, address).await?;
                    connection = Connection::new(stream, session, self.clock.clone());
                    connection.tls_started();
                }
                Step::Unavailable(told) => {
                    let failure = match connection.is_tls_broken() {
                        true => Failure::Handshake(told),
                        false => Failure::Other(told),
                    };
                    connection.depart();
                    return Err(failure);
                }
                _ => return Err(Failure::Other(ours(&hop.name, "4.4.2", "no conversation"))),
            }
        }
    }

    async fn connect(&self, hop: &Hop, address: SocketAddr) -> Result<TcpStream, Told> {
        let unreachable = |why: String| {
            ours("", "4.4.1", format!("cannot connect to {} ({address}): {why}", hop.name))
        };
        match timeout(self.settings.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => match socket.set_nodelay(true) {
                Ok(()) => Ok(socket),
                Err(error) => Err(unreachable(error.to_string())),
            },
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable("no answer in time".to_owned())),
        }
    }

    async fn handshake(
        &self,
        stream: Stream,
        hop: &Hop,
        address: SocketAddr,
    ) -> Result<Stream, Failure> {
        let (connector, server) = self.identity(hop, address).map_err(Failure::Other)?;
        stream.connect(&connector, server).await.map_err(|error| {
            let text = format!("TLS handshake with {} failed: {error}", hop.name);
            Failure::Handshake(ours(&hop.name, "4.7.5", text))
        })
    }

    /// What the server has to prove, and the name that it is asked by.
    fn identity(
        &self,
        hop: &Hop,
        address: SocketAddr,
    ) -> Result<(TlsConnector, ServerName<'static>), Told> {
        let name = hop.name.trim_end_matches('.').to_owned();
        let connector = match (hop.security, &hop.dane) {
            (Security::Opportunistic | Security::Encrypted | Security::Off, _) => {
                let ip = || ServerName::IpAddress(address.ip().into());
                let server = ServerName::try_from(name).unwrap_or_else(|_| ip());
                return Ok((self.trust.any.clone(), server));
            }
            (Security::Verified | Security::Implicit, None) => self.trust.verified.clone(),
            (Security::Verified | Security::Implicit, Some(dane)) => by_tlsa(dane.clone())
                .map_err(|error| ours("", "4.7.5", format!("no TLS: {error}")))?,
        };
        let unfit = |_| {
            let text = format!("no certificate can be valid for the name {}", hop.name);
            ours("", "4.7.5", text)
        };
        Ok((connector, ServerName::try_from(name).map_err(unfit)?))
    }

    fn session_settings(&self, hop: &Hop, address: SocketAddr, tls: Tls) -> Settings {
        let credentials = match hop.login {
            Login::Configured => self.settings.credentials.clone(),
            Login::None => None,
        };
        let plain_login = match address.ip().to_canonical().is_loopback() {
            true => PlainLogin::Allowed,
            false => PlainLogin::Refused,
        };
        Settings {
            hostname: self.settings.hostname.clone(),
            server: hop.name.clone(),
            tls,
            credentials,
            plain_login,
            pipelining: self.suspects.pipelining(hop),
            timeouts: self.settings.timeouts,
        }
    }
}
