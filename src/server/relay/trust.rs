//! Which certificates are good: those of the authorities that this machine trusts, or, where TLS is
//! opportunistic, any.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    WantsVerifier,
};

use super::dane::ByTlsa;
use crate::outbound::dane::Dane;
use crate::server::tls::{TlsFault, provider, read_chain};

/// The ways to do a handshake.
pub(super) struct Trust {
    /// The certificate is for the server's name, and an authority has signed it.
    pub(super) verified: TlsConnector,
    /// Any certificate: better than none, as long as nobody stands between. RFC 7435
    pub(super) any: TlsConnector,
}

impl Trust {
    /// Reads this machine's authorities, and those of a PEM file.
    pub(super) fn load(authorities: Option<&Path>) -> Result<Trust, TlsFault> {
        let any = own_builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
            .with_no_client_auth();
        Ok(Trust { verified: verified(authorities)?, any: TlsConnector::from(Arc::new(any)) })
    }
}

/// For one handshake: a certificate that these records mean.
pub(super) fn by_tlsa(dane: Arc<Dane>) -> Result<TlsConnector, Error> {
    let verifier = Arc::new(ByTlsa::new(dane));
    let config = builder()?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(TlsConnector::from(Arc::new(config.with_no_client_auth())))
}

/// A handshake with those alone whose certificate an authority of this machine, or of the PEM file,
/// has signed for their name.
pub(in crate::server) fn verified(authorities: Option<&Path>) -> Result<TlsConnector, TlsFault> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "an authority of this machine cannot be read");
    }
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "authorities of this machine");
    if let Some(path) = authorities {
        for certificate in read_chain(path)? {
            roots.add(certificate).map_err(|error| TlsFault::of(path, &error))?;
        }
    }
    let config = own_builder()?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn own_builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsFault> {
    builder().map_err(|error| TlsFault::of(Path::new("TLS"), &error))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
}

/// Takes any certificate, but its owner must be at the other end: the handshake's signature is
/// checked all the same.
#[derive(Debug)]
pub(super) struct AnyCertificate(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
