//! The certificate of `tls.self_signed = true`: an authority of its own (`ca.pem`, which clients
//! are told to trust) and a certificate signed by it, both made once and kept in one folder.
//!
//! Knows no listener. What is there and still good is left alone; the certificate is made anew when
//! it expires or when the hostname has changed, and the authority stays, so that clients need not
//! be told again.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};

use super::tls::{TlsFault, provider, read_chain, read_pem};

/// The authority's certificate, for clients.
pub const AUTHORITY: &str = "ca.pem";
/// The server's certificate.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// The server's key.
pub(super) const KEY: &str = "key.pem";
/// The authority's key.
const AUTHORITY_KEY: &str = "ca.key.pem";
/// How long a certificate is good. Apple's programs take none that is longer than 825 days.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(800 * 24 * 3600);
/// A new one is made when less than this is left.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Clocks of clients may lag by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);

/// The paths of certificate and key in `folder`, made where they are missing or no longer good.
pub(super) fn ensure(folder: &Path, hostname: &str) -> Result<(PathBuf, PathBuf), TlsFault> {
    let paths = (folder.join(CERTIFICATE), folder.join(KEY));
    let intact = [AUTHORITY, CERTIFICATE, KEY].iter().all(|name| folder.join(name).exists());
    if intact && still_good(folder, hostname, SystemTime::now() + RENEW_BEFORE)? {
        return Ok(paths);
    }
    std::fs::create_dir_all(folder).map_err(|e| TlsFault::of(folder, e))?;
    let authority = authority(folder)?;
    let key = KeyPair::generate().map_err(|e| TlsFault::of(&paths.1, e))?;
    let certificate = certificate_params(hostname)
        .and_then(|params| params.signed_by(&key, &authority))
        .map_err(|e| TlsFault::of(&paths.0, e))?;
    write(&paths.1, key.serialize_pem(), Secrecy::Secret)?;
    write(&paths.0, certificate.pem(), Secrecy::Public)?;
    Ok(paths)
}

/// Whether the certificate is the authority's, is for `hostname`, and is valid at `at`.
fn still_good(folder: &Path, hostname: &str, at: SystemTime) -> Result<bool, TlsFault> {
    let chain = read_chain(&folder.join(CERTIFICATE))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read_chain(&folder.join(AUTHORITY))?);
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let (Ok(verifier), Ok(name)) = (builder.build(), ServerName::try_from(hostname)) else {
        return Ok(false);
    };
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(at);
    Ok(verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], at).is_ok())
}

/// The authority in `folder`, made on the first call.
fn authority(folder: &Path) -> Result<Issuer<'static, KeyPair>, TlsFault> {
    let (path, key_path) = (folder.join(AUTHORITY), folder.join(AUTHORITY_KEY));
    let params = authority_params();
    if path.exists() && key_path.exists() {
        let pem = String::from_utf8(read_pem(&key_path)?)
            .map_err(|_| TlsFault::of(&key_path, "is not PEM; remove the folder to start anew"))?;
        let key = KeyPair::from_pem(&pem)
            .map_err(|_| TlsFault::of(&key_path, "is no key; remove the folder to start anew"))?;
        return Ok(Issuer::new(params, key));
    }
    let key = KeyPair::generate().map_err(|e| TlsFault::of(&key_path, e))?;
    let certificate = params.self_signed(&key).map_err(|e| TlsFault::of(&path, e))?;
    write(&key_path, key.serialize_pem(), Secrecy::Secret)?;
    write(&path, certificate.pem(), Secrecy::Public)?;
    Ok(Issuer::new(params, key))
}

/// The same on every call but for the dates: its name and key are what a certificate refers to.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Postfach's own authority");
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2056, 1, 1);
    params
}

fn certificate_params(hostname: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut names: Vec<String> =
        [hostname, "localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.dedup();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, hostname);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + CERTIFICATE_LIFE;
    Ok(params)
}

/// Who may read a file.
enum Secrecy {
    /// Everybody.
    Public,
    /// The daemon's user only.
    Secret,
}

/// Writes beside and renames, so that a reader never sees half a file.
fn write(path: &Path, text: String, secrecy: Secrecy) -> Result<(), TlsFault> {
    let mode = match secrecy {
        Secrecy::Public => 0o644,
        Secrecy::Secret => 0o600,
    };
    let beside = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        if beside.exists() {
            std::fs::remove_file(&beside)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    written().map_err(|e| TlsFault::of(path, e))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    type Checked = Result<(), Box<dyn std::error::Error>>;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("postfach-own-{}-{name}", std::process::id()))
    }

    #[test]
    fn the_certificate_is_kept_over_restarts_and_its_key_is_secret() -> Checked {
        let dir = folder("kept");
        let (certificate, key) = ensure(&dir, "mail.example.org")?;
        let first = std::fs::read(&certificate)?;
        assert_eq!(std::fs::metadata(&key)?.permissions().mode() & 0o777, 0o600);
        let authority_key = std::fs::metadata(dir.join(AUTHORITY_KEY))?;
        assert_eq!(authority_key.permissions().mode() & 0o777, 0o600);
        ensure(&dir, "mail.example.org")?;
        assert_eq!(std::fs::read(&certificate)?, first);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    #[test]
    fn it_is_good_for_the_hostname_and_for_loopback_and_for_nothing_else() -> Checked {
        let dir = folder("names");
        ensure(&dir, "mail.example.org")?;
        let now = SystemTime::now();
        for name in ["mail.example.org", "localhost", "127.0.0.1", "::1"] {
            assert!(still_good(&dir, name, now)?, "{name}");
        }
        assert!(!still_good(&dir, "mail.example.com", now)?);
        assert!(!still_good(&dir, "mail.example.org", now + CERTIFICATE_LIFE + CLOCK_SKEW)?);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    #[test]
    fn a_new_hostname_gets_a_new_certificate_of_the_same_authority() -> Checked {
        let dir = folder("renamed");
        ensure(&dir, "old.example.org")?;
        let authority = std::fs::read(dir.join(AUTHORITY))?;
        ensure(&dir, "new.example.org")?;
        assert_eq!(std::fs::read(dir.join(AUTHORITY))?, authority);
        assert!(still_good(&dir, "new.example.org", SystemTime::now())?);
        assert!(!still_good(&dir, "old.example.org", SystemTime::now())?);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
