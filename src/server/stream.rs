//! One connection's bytes, with TLS or without. Knows no protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::tls::Certificates;
use crate::sasl::binding::Binding;

/// How long a peer may take for the TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// RFC 9266 §2
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// A connection.
pub enum Stream {
    /// As it came.
    Plain(TcpStream),
    /// After a handshake: implicit TLS, or STARTTLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the bytes are protected.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// What a login can be bound to, on the server's side of TLS 1.3. A certificate that was
    /// replaced since the handshake binds to the new one: the client tries again.
    pub fn binding(&self, certificates: Option<&Certificates>) -> Option<Binding> {
        let Stream::Tls(stream) = self else { return None };
        let TlsStream::Server(stream) = &**stream else { return None };
        let (_, session) = stream.get_ref();
        if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        // RFC 9266 §2
        let exporter = session.export_keying_material([0; 32], EXPORTER_LABEL, Some(b"")).ok()?;
        Some(Binding { exporter, end_point: certificates?.end_point() })
    }

    /// Does the server's side of the handshake, within `HANDSHAKE_TIMEOUT`. What the peer sent
    /// before it must have been thrown away by the caller. RFC 3207 §4.2, RFC 3501 §6.2.1
    pub async fn upgrade(self, acceptor: &TlsAcceptor) -> io::Result<Stream> {
        let Stream::Plain(socket) = self else {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "TLS is active already"));
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket));
        match handshake.await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream?.into()))),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "TLS handshake timed out")),
        }
    }

    /// Does the client's side of the handshake, within `HANDSHAKE_TIMEOUT`. What the server sent
    /// before it must have been thrown away by the caller. RFC 3207 §4.2
    pub async fn connect(
        self,
        connector: &TlsConnector,
        server: ServerName<'static>,
    ) -> io::Result<Stream> {
        let Stream::Plain(socket) = self else {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "TLS is active already"));
        };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, connector.connect(server, socket)).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream?.into()))),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "TLS handshake timed out")),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::super::self_signed::AUTHORITY;
    use super::super::tls::{Certificates, Source, provider, read_chain};
    use super::*;
    use crate::sasl::binding::end_point;

    type Checked<T> = Result<T, Box<dyn std::error::Error>>;

    /// Both ends of a loopback connection: ours, and the client's.
    async fn connection() -> Checked<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        Ok((listener.accept().await?.0, client))
    }

    fn connector(roots: RootCertStore) -> Checked<TlsConnector> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_connects_and_one_that_does_not_refuses()
    -> Checked<()> {
        let folder = std::env::temp_dir().join(format!("postfach-stream-{}", std::process::id()));
        let source = Source::SelfSigned { folder: folder.clone(), hostname: "localhost".into() };
        let certificates = Certificates::load(&source)?;
        let acceptor = certificates.acceptor();
        let mut trusting = RootCertStore::empty();
        trusting.add_parsable_certificates(read_chain(&folder.join(AUTHORITY))?);
        let name = ServerName::try_from("localhost")?;

        let (ours, theirs) = connection().await?;
        let client = connector(trusting)?;
        let (ours, theirs) = tokio::join!(
            Stream::Plain(ours).upgrade(&acceptor),
            client.connect(name.clone(), theirs)
        );
        let (mut ours, mut theirs) = (ours?, theirs?);
        assert!(ours.is_tls());
        let binding = ours.binding(Some(&certificates)).ok_or("nothing to bind to")?;
        let (_, session) = theirs.get_ref();
        let exported = session.export_keying_material([0; 32], EXPORTER_LABEL, None)?;
        assert_eq!(binding.exporter, exported, "both ends know it");
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        assert_eq!(binding.end_point, shown.and_then(|leaf| end_point(leaf)));
        assert!(binding.end_point.is_some());
        ours.write_all(b"* OK\r\n").await?;
        ours.flush().await?;
        let mut greeting = [0; 6];
        theirs.read_exact(&mut greeting).await?;
        assert_eq!(&greeting, b"* OK\r\n");

        let (ours, theirs) = connection().await?;
        let client = connector(RootCertStore::empty())?;
        let (ours, theirs) =
            tokio::join!(Stream::Plain(ours).upgrade(&acceptor), client.connect(name, theirs));
        assert!(ours.is_err() && theirs.is_err());
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    }

    #[tokio::test]
    async fn what_is_not_tls_is_refused() -> Checked<()> {
        let folder = std::env::temp_dir().join(format!("postfach-nottls-{}", std::process::id()));
        let source = Source::SelfSigned { folder: folder.clone(), hostname: "localhost".into() };
        let acceptor = Certificates::load(&source)?.acceptor();
        let (ours, mut theirs) = connection().await?;
        theirs.write_all(b"a1 LOGIN anna secret\r\n").await?;
        assert!(Stream::Plain(ours).upgrade(&acceptor).await.is_err());
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    }
}
