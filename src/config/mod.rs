//! Layer 4: `postfach.toml`, from what is written (`written`) by a check (`meant`) to what is
//! meant: `Config`, in which nothing is missing that the daemon needs. Faults are found here, at
//! start, all at once, each with its place and what to do.

mod blobs;
mod database;
mod dkim;
mod meant;
mod network;
mod oauth;
mod outbound;
mod written;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use blobs::{Blobs, Bucket, BucketKeys};
pub use database::{Database, News};
pub use oauth::{Introspection, Judge, Oauth};

pub use crate::directory::source::Fault;
use crate::directory::source::{Place, Source};
use crate::imap::OwnCopies;
use crate::mail::account::FolderNames;
use crate::outbound::agenda;
use crate::outbound::routes::Routes;
use crate::outbound::schedule::Policy;
use crate::store::text::TextIndexing;

/// The file that commands read without `--config`.
pub const DEFAULT_PATH: &str = "/etc/postfach/postfach.toml";
/// `data_dir` when the file does not say.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/postfach";
/// `directory` when the file does not say; beside the file itself.
pub const DEFAULT_DIRECTORY: &str = "directory.toml";
/// `limits.message_bytes_max` when the file does not say: 50 MiB.
pub const MESSAGE_BYTES_MAX: u64 = 50 * 1024 * 1024;

/// What the operator means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The name of this host, as it greets and as its certificate says.
    pub hostname: String,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// `directory.toml`
    pub directory_path: PathBuf,
    /// Where the daemon listens.
    pub listen: Listen,
    /// Where the certificate comes from.
    pub tls: Tls,
    /// Whether a password may travel without TLS.
    pub plaintext_without_tls: PlaintextLogin,
    /// Whose tokens are taken in place of passwords; `None`: nobody's.
    pub oauth: Option<Oauth>,
    /// What is bounded by choice.
    pub limits: Limits,
    /// What the folders with a role are called.
    pub folder_names: FolderNames,
    /// IMAP capabilities that are switched off, in upper case.
    pub imap_disable: Vec<String>,
    /// How users reach who runs the server: a URI.
    pub imap_admin: Option<String>,
    /// What becomes of the copies that mail programs file of what was sent as an inbox.
    pub own_copies: OwnCopies,
    /// Where mail is stored.
    pub store: StoreEngine,
    /// How mail leaves.
    pub outbound: Outbound,
    /// The keys that sign outgoing mail, in the order of the file.
    pub dkim: Vec<DkimKey>,
    /// Whether `postfach audit` shows what messages are about.
    pub audit_subjects: Subjects,
    /// What is odd, or set but not built yet in this version; the daemon starts all the same.
    pub warnings: Vec<Fault>,
}

/// The addresses of `[listen]`; an empty list is a listener that is off.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listen {
    /// Mail from other servers.
    pub smtp: Vec<SocketAddr>,
    /// Mail from users, with STARTTLS.
    pub submission: Vec<SocketAddr>,
    /// Mail from users, with implicit TLS.
    pub submissions: Vec<SocketAddr>,
    /// IMAP with STARTTLS.
    pub imap: Vec<SocketAddr>,
    /// IMAP with implicit TLS.
    pub imaps: Vec<SocketAddr>,
    /// Health and metrics; not opened in this version.
    pub http: Vec<SocketAddr>,
}

/// Where the certificate comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tls {
    /// PEM files: the chain with the leaf first, and its key.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made once by the daemon, in `data_dir/tls`.
    SelfSigned,
    /// There is none.
    Off,
}

/// Whether a password may travel without TLS: `auth.plaintext_without_tls`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaintextLogin {
    /// Never.
    Never,
    /// From this machine to itself only.
    Loopback,
}

/// `[limits]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest message, by SMTP or APPEND.
    pub message_bytes_max: u64,
    /// Most open connections.
    pub connections_max: usize,
    /// Most connections of one address that have not logged in.
    pub waiting_per_address_max: usize,
    /// Most SMTP connections of one address.
    pub smtp_per_address_max: usize,
}

/// `[[dkim]]`: a key that signs outgoing mail. What is in its file is another's business.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DkimKey {
    /// The domain whose mail it signs, in lower case.
    pub domain: String,
    /// Where below `_domainkey` its public key is published.
    pub selector: String,
    /// The PEM file.
    pub file: PathBuf,
    /// Where the domain is written.
    pub domain_place: Place,
    /// Where the file is named, or the table that leaves it out.
    pub file_place: Place,
}

/// `audit.subjects`: whether the audit log is shown with the subject and the author of each message
/// that is still there. They are not in the log itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Subjects {
    /// It is not.
    #[default]
    Hidden,
    /// It is.
    Shown,
}

/// `store.engine`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreEngine {
    /// Files in `data_dir`.
    Embedded {
        /// `store.text_index`
        text_index: TextIndexing,
    },
    /// A database, which other nodes may use at the same time.
    Postgres(Box<Database>),
}

/// `[outbound]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outbound {
    /// Which way it goes.
    pub routes: Routes,
    /// How we log in at the server of `via`.
    pub login: Option<SmarthostLogin>,
    /// When it is tried again, and given up.
    pub retry: Policy,
    /// How much goes out at a time.
    pub limits: agenda::Limits,
    /// Whether a domain that publishes an MTA-STS policy is taken at its word. RFC 8461
    pub mta_sts: bool,
    /// Whether the TLSA records of servers count: then `resolver` validates DNSSEC and is on this
    /// machine. RFC 7672
    pub dane: bool,
    /// Who is asked for MX and addresses; none: as the system says.
    pub resolver: Vec<SocketAddr>,
    /// A certificate authority that is trusted beside the system's: for private networks.
    pub ca: Option<PathBuf>,
}

/// The user that `via` names, and the file that holds the password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmarthostLogin {
    /// As in `smtp://user@…`.
    pub user: String,
    /// Where the password is; only its first line counts.
    pub password_path: PathBuf,
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let source = Source::open(path).map_err(|fault| vec![fault])?;
    check(&source)
}

/// Reads and checks text that is at hand already; `path` is named in faults, and relative paths are
/// relative to its folder.
pub fn parse(text: &str, path: &Path) -> Result<Config, Vec<Fault>> {
    check(&Source::new(path, text))
}

/// Where the directory is, by a file that may have faults: so that `check` can report both at once.
pub fn directory_path(path: &Path) -> Option<PathBuf> {
    let source = Source::open(path).ok()?;
    let written = source.read::<written::Written>().written?;
    Some(meant::directory_path(&source, &written))
}

/// Where the DKIM keys of this `data_dir` are, if nothing else is said.
pub fn dkim_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("dkim")
}

/// What the file of a DKIM key is called there.
pub fn dkim_file(domain: &str, selector: &str) -> String {
    format!("{domain}.{selector}.pem")
}

fn check(source: &Source) -> Result<Config, Vec<Fault>> {
    let reading = source.read::<written::Written>();
    match reading.written {
        Some(written) => meant::check(source, written, (reading.faults, reading.damaged)),
        None => Err(reading.faults),
    }
}

/// What a file says about the place of message bytes.
#[cfg(test)]
pub(crate) fn parse_blobs(text: &str, path: &Path) -> Blobs {
    let source = Source::new(path, text);
    let mut found = crate::directory::findings::Findings::new(&source, Vec::new(), Vec::new());
    let store = source.read::<written::Written>().written.expect("TOML").store;
    blobs::check(&mut found, store.blobs.as_ref(), store.s3)
}

#[cfg(test)]
mod tests;
