//! A handshake that ends well with a certificate that the server's TLSA records mean, whatever
//! authorities say. RFC 7672 §3.1

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::trust::AnyCertificate;
use crate::outbound::dane::{Dane, Tlsa, Usage};
use crate::server::tls::provider;

/// Takes what the records mean.
#[derive(Debug)]
pub(super) struct ByTlsa {
    dane: Arc<Dane>,
    /// That the certificate's owner is at the other end is checked as for any certificate.
    handshake: AnyCertificate,
}

impl ByTlsa {
    pub(super) fn new(dane: Arc<Dane>) -> ByTlsa {
        ByTlsa { dane, handshake: AnyCertificate(provider()) }
    }

    /// The records for one usage.
    fn records(&self, usage: Usage) -> impl Iterator<Item = &Tlsa> {
        self.dane.records.iter().filter(move |record| record.usage == usage)
    }

    /// The authorities that records mean, out of what the server shows and of what stands in the
    /// records themselves. RFC 7672 §3.1.2
    fn authorities(&self, shown: &[CertificateDer<'_>]) -> RootCertStore {
        let mut authorities = RootCertStore::empty();
        for certificate in shown {
            let Ok(parsed) = ParsedCertificate::try_from(certificate) else { continue };
            let key = parsed.subject_public_key_info();
            if self.records(Usage::Authority).any(|record| record.matches(certificate, &key)) {
                // One that is no authority signs nothing.
                let _ = authorities.add(certificate.clone().into_owned());
            }
        }
        let written = self.records(Usage::Authority).filter_map(Tlsa::certificate);
        authorities.add_parsable_certificates(written.map(|der| der.to_vec().into()));
        authorities
    }
}

impl ServerCertVerifier for ByTlsa {
    /// Of the server's own certificate neither names nor dates count: the record says all.
    /// RFC 7672 §3.1.1
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let key = certificate.subject_public_key_info();
        if self.records(Usage::Server).any(|record| record.matches(end_entity, &key)) {
            return Ok(ServerCertVerified::assertion());
        }
        let authorities = self.authorities(intermediates);
        if authorities.is_empty() {
            return Err(Error::General("no TLSA record (DANE) means its certificate".into()));
        }
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &authorities,
            intermediates,
            now,
            algorithms,
        )?;
        let by_domain = ServerName::try_from(self.dane.domain.as_str());
        verify_server_name(&certificate, server_name).or_else(|error| match by_domain {
            Ok(domain) => verify_server_name(&certificate, &domain),
            Err(_) => Err(error),
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.handshake.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.handshake.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.handshake.supported_verify_schemes()
    }
}
