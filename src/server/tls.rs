//! The certificate that listeners show, and how it is replaced while they run. Knows no connection.
//!
//! TLS 1.2 and 1.3 with aws-lc-rs, the only provider. Sessions resume by tickets, so that the
//! daemon keeps nothing for a client that is away.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, ProducesTickets};

use super::self_signed;
use crate::sasl::binding;

/// Longest PEM file that is read, in bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Where the certificate comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// PEM files: the chain with the leaf first, and its key.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key: PKCS#8, PKCS#1 or SEC1.
        key: PathBuf,
    },
    /// Made by the daemon itself and kept in this folder.
    SelfSigned {
        /// `data_dir/tls`
        folder: PathBuf,
        /// The name that clients connect to.
        hostname: String,
    },
}

/// Why there is no certificate; says which file and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFault(String);

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsFault {}

impl TlsFault {
    /// A fault with one file.
    pub(super) fn of(path: &Path, why: impl fmt::Display) -> TlsFault {
        TlsFault(format!("{}: {why}", path.display()))
    }
}

/// The present certificate; shared by all listeners.
pub struct Certificates {
    /// One key for tickets over all reloads, so that a reload costs no client its resumption.
    tickets: Arc<dyn ProducesTickets>,
    present: ArcSwap<Present>,
}

/// A certificate, ready for handshakes.
struct Present {
    config: Arc<ServerConfig>,
    /// What logins can be bound to. RFC 5929 §4
    end_point: Option<Arc<[u8]>>,
}

impl Certificates {
    /// Reads (or makes) the certificate.
    pub fn load(source: &Source) -> Result<Certificates, TlsFault> {
        let tickets = aws_lc_rs::Ticketer::new()
            .map_err(|e| TlsFault(format!("cannot make a key for session tickets: {e}")))?;
        let present = present(source, tickets.clone())?;
        Ok(Certificates { tickets, present: ArcSwap::from_pointee(present) })
    }

    /// Reads the files again. At a fault the old certificate stays.
    pub fn reload(&self, source: &Source) -> Result<(), TlsFault> {
        let present = present(source, self.tickets.clone())?;
        self.present.store(Arc::new(present));
        Ok(())
    }

    /// For one handshake, with the certificate of this moment.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.present.load().config.clone())
    }

    /// The hash of the certificate of this moment, where there is one to bind to.
    pub fn end_point(&self) -> Option<Arc<[u8]>> {
        self.present.load().end_point.clone()
    }
}

/// The one provider.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn present(source: &Source, tickets: Arc<dyn ProducesTickets>) -> Result<Present, TlsFault> {
    let (certificate, key) = match source {
        Source::Files { certificate, key } => (certificate.clone(), key.clone()),
        Source::SelfSigned { folder, hostname } => self_signed::ensure(folder, hostname)?,
    };
    let chain = read_chain(&certificate)?;
    let end_point = chain.first().and_then(|leaf| binding::end_point(leaf));
    let private_key = read_key(&key)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsFault(format!("TLS cannot start: {e}")))?
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .map_err(|e| {
            let advice = "is this the key of the first certificate in the file?";
            TlsFault::of(&key, format!("does not fit {}: {e}; {advice}", certificate.display()))
        })?;
    config.ticketer = tickets;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Present { config: Arc::new(config), end_point })
}

/// A PEM file's bytes.
pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let advice = "it must exist and be readable by the daemon's user";
    let unreadable = |e: std::io::Error| TlsFault::of(path, format!("{e}; {advice}"));
    if std::fs::metadata(path).map_err(unreadable)?.len() > PEM_BYTES_MAX {
        return Err(TlsFault::of(path, "is longer than 1 MiB; it should be a PEM file"));
    }
    std::fs::read(path).map_err(unreadable)
}

/// The certificates of a PEM file, in its order.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let pem = read_pem(path)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsFault::of(path, format!("is not PEM: {e}")))?;
    if chain.is_empty() {
        let advice = "it must hold the server's certificate, then the intermediate ones";
        return Err(TlsFault::of(path, format!("holds no `BEGIN CERTIFICATE`; {advice}")));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    // The parser's own error is left out on purpose: it could quote the file.
    PrivateKeyDer::from_pem_slice(&read_pem(path)?).map_err(|_| {
        TlsFault::of(path, "holds no unencrypted private key in PEM (`BEGIN PRIVATE KEY`)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Checked = Result<(), Box<dyn std::error::Error>>;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("postfach-tls-{}-{name}", std::process::id()))
    }

    fn fault_of(source: &Source) -> String {
        Certificates::load(source).err().map_or_else(String::new, |fault| fault.to_string())
    }

    fn self_signed_in(folder: &Path, hostname: &str) -> Source {
        Source::SelfSigned { folder: folder.into(), hostname: hostname.into() }
    }

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let at = PathBuf::from("/nonexistent/chain.pem");
        let fault = fault_of(&Source::Files { certificate: at.clone(), key: at });
        assert!(fault.starts_with("/nonexistent/chain.pem: "), "{fault}");
        assert!(fault.contains("must exist and be readable"), "{fault}");
    }

    #[test]
    fn a_file_without_certificate_is_refused() -> Checked {
        let dir = folder("empty");
        std::fs::create_dir_all(&dir)?;
        let at = dir.join("empty.pem");
        std::fs::write(&at, "nothing here")?;
        let fault = fault_of(&Source::Files { certificate: at.clone(), key: at });
        assert!(fault.contains("BEGIN CERTIFICATE"), "{fault}");
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_and_reload_keeps_the_old_one() -> Checked {
        let (one, two) = (folder("pair-one"), folder("pair-two"));
        Certificates::load(&self_signed_in(&one, "mail.example.org"))?;
        Certificates::load(&self_signed_in(&two, "mail.example.org"))?;
        let files = |key: &Path| Source::Files {
            certificate: one.join(self_signed::CERTIFICATE),
            key: key.join(self_signed::KEY),
        };
        assert!(fault_of(&files(&two)).contains("does not fit"));
        let certificates = Certificates::load(&files(&one))?;
        let before = certificates.present.load_full();
        std::fs::remove_file(one.join(self_signed::KEY))?;
        assert!(certificates.reload(&files(&one)).is_err());
        assert!(Arc::ptr_eq(&before, &certificates.present.load_full()));
        std::fs::remove_dir_all(&one)?;
        std::fs::remove_dir_all(&two)?;
        Ok(())
    }
}
