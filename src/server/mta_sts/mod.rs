//! The MTA-STS policies of the domains that we send to: asks for their records, fetches policies,
//! and keeps them, also over a restart, so that nobody who cuts us off from a policy's host makes
//! us forget it. What a policy means is `outbound::mta_sts`'s.

mod fetch;
mod kept;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Turn;
use tokio_rustls::TlsConnector;

use crate::directory::name;
use crate::mail::id::Timestamp;
use crate::outbound::mta_sts::{Applied, Kept, Mode, record_id};
use crate::server::https;
use crate::sys::Clock;

/// How long a fetch may take. RFC 8461 §3.3
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Most domains whose policies are kept; of more, those that were fetched first are forgotten.
pub const DOMAINS_MAX: usize = 2_000;
/// After a fetch that failed, there is none for the same record for this long. RFC 8461 §3.3
pub const RETRY_SECS: i64 = 300;
/// Failed fetches that are remembered.
const FAILURES_MAX: usize = 10_000;

/// What is being looked up.
pub type Looked<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The look-ups in DNS that policies need.
pub trait Names: Send + Sync {
    /// All TXT records of a name, each with its strings put together; none is no error.
    fn texts<'a>(&'a self, name: &'a str) -> Looked<'a, Vec<String>>;
    /// All addresses of a host; none is no error.
    fn addresses<'a>(&'a self, host: &'a str) -> Looked<'a, Vec<IpAddr>>;
}

/// What a test has different.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where policies are kept, below `data_dir`.
    pub file: PathBuf,
    /// `https::PORT`
    pub port: u16,
    /// `FETCH_TIMEOUT`
    pub timeout: Duration,
}

impl Settings {
    /// As the daemon has them.
    pub fn new(data_dir: &Path) -> Settings {
        let file = data_dir.join("mta-sts.policies");
        Settings { file, port: https::PORT, timeout: FETCH_TIMEOUT }
    }
}

/// Knows the policy of each domain.
pub struct Policies {
    settings: Settings,
    /// Trusts what browsers trust.
    tls: TlsConnector,
    names: Arc<dyn Names>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Held while the file is written, so that a newer state is never overwritten by an older one.
    writing: Turn<()>,
}

#[derive(Default)]
struct Known {
    kept: BTreeMap<String, Kept>,
    /// The record whose policy could not be fetched, and when.
    failed: HashMap<String, (String, Timestamp)>,
    /// Who fetches for a domain; others wait for what comes of it.
    fetching: HashMap<String, Arc<Turn<()>>>,
}

impl Policies {
    /// Reads what was kept. A file that cannot be read is said, and is as though it were empty.
    pub fn open(
        settings: Settings,
        tls: TlsConnector,
        (names, clock): (Arc<dyn Names>, Arc<dyn Clock>),
    ) -> Policies {
        let kept = kept::read(&settings.file).unwrap_or_else(|error| {
            tracing::warn!(%error, "MTA-STS policies of earlier runs are lost");
            BTreeMap::new()
        });
        let known = Mutex::new(Known { kept, ..Known::default() });
        Policies { settings, tls, names, clock, known, writing: Turn::new(()) }
    }

    /// What a delivery to this domain (or to this smarthost) has to obey now.
    ///
    /// The record is asked for each time; the resolver remembers it for its time to live. So a
    /// delivery is never given up without looking for a newer policy. RFC 8461 §5.1
    pub async fn policy_for(&self, domain: &str) -> Applied {
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        if !name::is_domain(&domain) {
            return Applied::None;
        }
        match self.record(&domain).await {
            Some(id) => self.current(&domain, &id).await,
            None => self.present(&domain),
        }
    }

    /// Fetches again what is older than a day, also of domains that nobody writes to and of those
    /// whose record is hidden from us: to be called once a day, beside everything else. So nobody
    /// gains who cuts us off shortly before a policy ends. RFC 8461 §3.3, RFC 8461 §10.2
    pub async fn refresh(&self) {
        let kept: Vec<(String, Kept)> =
            self.known().kept.iter().map(|(domain, kept)| (domain.clone(), kept.clone())).collect();
        for (domain, kept) in kept {
            let id = self.record(&domain).await.unwrap_or(kept.id);
            self.current(&domain, &id).await;
        }
    }

    /// The `id` of the domain's record.
    async fn record(&self, domain: &str) -> Option<String> {
        let records = self.names.texts(&format!("_mta-sts.{domain}")).await;
        record_id(&records.unwrap_or_default())
    }

    /// The policy that belongs to this record, fetched when what is kept is not enough.
    async fn current(&self, domain: &str, id: &str) -> Applied {
        if !self.must_fetch(domain, id) {
            return self.present(domain);
        }
        let turn = self.known().fetching.entry(domain.to_owned()).or_default().clone();
        let applied = {
            let _turn = turn.lock().await;
            self.fetched(domain, id).await
        };
        drop(turn);
        // Also of those who were given up while they waited.
        self.known().fetching.retain(|_, turn| Arc::strong_count(turn) > 1);
        applied
    }

    /// Fetches, unless somebody else has done so meanwhile.
    async fn fetched(&self, domain: &str, id: &str) -> Applied {
        if !self.must_fetch(domain, id) {
            return self.present(domain);
        }
        match fetch::policy(self, domain).await {
            Ok(policy) => {
                let (id, fetched_at) = (id.to_owned(), self.clock.now());
                let kept = Kept { id, fetched_at, policy: Arc::new(policy) };
                let applied = kept.applied();
                self.keep(domain, kept).await;
                applied
            }
            Err(error) => {
                self.note_failure(domain, id, &error);
                self.present(domain)
            }
        }
    }

    /// Whether the policy that is kept is not enough, and it is not too soon to ask again.
    fn must_fetch(&self, domain: &str, id: &str) -> bool {
        let (known, now) = (self.known(), self.clock.now());
        let soon = |(failed, at): &(String, Timestamp)| {
            failed == id && (0..RETRY_SECS).contains(&(now.seconds() - at.seconds()))
        };
        !known.kept.get(domain).is_some_and(|kept| kept.suffices(id, now))
            && !known.failed.get(domain).is_some_and(soon)
    }

    /// What is kept for the domain, as long as it holds. RFC 8461 §3.3
    fn present(&self, domain: &str) -> Applied {
        let now = self.clock.now();
        let known = self.known();
        let kept = known.kept.get(domain).filter(|kept| kept.holds(now));
        kept.map_or(Applied::None, Kept::applied)
    }

    fn note_failure(&self, domain: &str, id: &str, error: &io::Error) {
        let now = self.clock.now();
        let mut known = self.known();
        let kept = known.kept.get(domain).filter(|kept| kept.holds(now));
        if kept.is_some_and(|kept| kept.policy.mode != Mode::None) {
            tracing::warn!(domain, %error, "MTA-STS policy not fetched again, the old one holds");
        } else {
            tracing::debug!(domain, %error, "MTA-STS policy not fetched");
        }
        if known.failed.len() >= FAILURES_MAX {
            known.failed.clear();
        }
        known.failed.insert(domain.to_owned(), (id.to_owned(), now));
    }

    /// In memory and in the file. A file that cannot be written is said; the policy holds.
    async fn keep(&self, domain: &str, kept: Kept) {
        {
            let now = self.clock.now();
            let mut known = self.known();
            known.failed.remove(domain);
            known.kept.insert(domain.to_owned(), kept);
            forget(&mut known.kept, now);
        }
        let _writing = self.writing.lock().await;
        let (path, lines) = (self.settings.file.clone(), kept::lines(&self.known().kept));
        let written = tokio::task::spawn_blocking(move || kept::write(&path, &lines)).await;
        if let Err(error) = written.map_err(io::Error::other).flatten() {
            tracing::error!(%error, "MTA-STS policies would be lost at a restart");
        }
    }

    /// Nothing is left half-changed by a thread that panicked.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that hold no longer, and of too many those that were fetched first.
fn forget(kept: &mut BTreeMap<String, Kept>, now: Timestamp) {
    kept.retain(|_, kept| kept.holds(now));
    while kept.len() > DOMAINS_MAX {
        let first = kept.iter().min_by_key(|(_, kept)| kept.fetched_at);
        let Some(domain) = first.map(|(domain, _)| domain.clone()) else { return };
        kept.remove(&domain);
    }
}

#[cfg(test)]
mod tests;
