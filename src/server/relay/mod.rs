//! Sends mail to other servers: connects to a hop, does TLS, drives `smtp::client` and keeps
//! connections for the next mail. Decides nothing about the protocol, and nothing about when and
//! where a mail is tried: that is `outbound`'s.
//!
//! | file | what it does |
//! |---|---|
//! | `connect` | one address after the other, TLS as the hop wants it |
//! | `connection` | bytes and the time for one session |
//! | `content` | the stored message, piece by piece |
//! | `dane` | which certificates TLSA records mean |
//! | `pool` | connections that wait for the next mail |
//! | `suspects` | hops that lose pipelined commands |
//! | `trust` | which certificates are good |

mod connect;
mod connection;
mod content;
mod dane;
mod pool;
mod suspects;
mod trust;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tracing::Instrument;

use super::tls::TlsFault;
use crate::mail::address::Address;
use crate::outbound::Hop;
use crate::smtp::client::{
    Credentials, Fate, Mail, RECIPIENTS_PER_MAIL_MAX, Timeouts, Told, Verification,
};
use crate::sys::Clock;
use connection::{Connection, Done, Job};
pub use content::Content;
use pool::Pool;
use suspects::Suspects;
use trust::Trust;
pub(in crate::server) use trust::verified;

/// Addresses of a hop that are tried in one attempt.
pub const ADDRESSES_TRIED_MAX: usize = 5;
/// After this long an attempt begins nothing new, be it a transaction, an address or a server: what
/// is under way has limits of its own (`Timeouts`), so none holds its place for hours.
pub const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// Transactions that one attempt may take for a server that takes few recipients at a time.
pub const TRANSACTIONS_PER_ATTEMPT_MAX: usize = 50;
/// Idle connections kept for one hop.
pub const IDLE_PER_HOP_MAX: usize = 2;
/// Idle connections kept in all.
pub const IDLE_MAX: usize = 100;
/// How long an idle connection is kept.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Mails over one connection; then it is closed.
pub const MAILS_PER_CONNECTION_MAX: u32 = 100;
/// How long a server may take to accept a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Hops remembered for losing pipelined commands; when there are more, all are forgotten.
pub const PIPELINING_SUSPECTS_MAX: usize = 1_000;

/// What sending needs to know of its surroundings.
#[derive(Clone)]
pub struct Settings {
    /// Our name, for EHLO.
    pub hostname: String,
    /// What we log in with at hops with `Login::Configured`.
    pub credentials: Option<Credentials>,
    /// A PEM file of authorities that are trusted beside those of this machine.
    pub authorities: Option<PathBuf>,
    /// How long a server may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long each answer may take.
    pub timeouts: Timeouts,
    /// How long an idle connection is kept; zero: not at all.
    pub idle_timeout: Duration,
}

impl Settings {
    /// The usual ones.
    pub fn new(hostname: &str) -> Settings {
        Settings {
            hostname: hostname.to_owned(),
            credentials: None,
            authorities: None,
            connect_timeout: CONNECT_TIMEOUT,
            timeouts: Timeouts::default(),
            idle_timeout: IDLE_TIMEOUT,
        }
    }
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// In the order of the mail's recipients.
    pub fates: Vec<Fate>,
    /// Whether the hop serves us at all.
    pub reach: Reach,
}

/// Whether a hop serves us at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It has heard of the mail.
    Served,
    /// It could not be connected to, or did not let us in; all recipients are deferred. Another hop
    /// may be better, and this one is to be left alone for a while, whatever the mail.
    Unserved,
}

/// Sends mail. One for the whole daemon; any number of attempts at a time.
pub struct Relay {
    settings: Settings,
    trust: Trust,
    clock: Arc<dyn Clock>,
    pool: Arc<Pool>,
    suspects: Suspects,
}

impl Relay {
    /// Reads the authorities.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Relay, TlsFault> {
        Ok(Relay {
            trust: Trust::load(settings.authorities.as_deref())?,
            pool: Arc::new(Pool::new(settings.idle_timeout)),
            settings,
            clock,
            suspects: Suspects::default(),
        })
    }

    /// A handshake that ends well only with a certificate for the server's name, from an authority
    /// that is trusted on the way to servers: for what is fetched on their behalf.
    pub fn verified_tls(&self) -> TlsConnector {
        self.trust.verified.clone()
    }

    /// Sends a mail to its recipients over one hop. Everything that can happen is a fate: nobody is
    /// left out, and no fate is `Delivered` without the server's word.
    ///
    /// When this is dropped before it answers, the connection is closed, and the server may or may
    /// not have taken the mail.
    pub async fn attempt(&self, hop: &Hop, mail: &Mail, content: &Content) -> Attempt {
        let span = tracing::info_span!("relay", hop = hop.name);
        async {
            let attempt = self.in_parts(hop, mail, content).await;
            log(&attempt);
            attempt
        }
        .instrument(span)
        .await
    }

    /// Asks a hop whether it would take mail for a recipient, and sends none.
    pub async fn verify(
        &self,
        hop: &Hop,
        reverse_path: Option<&Address>,
        to: &Address,
    ) -> Verification {
        let span = tracing::info_span!("verify", hop = hop.name);
        let verification = self.perform(hop, Job::Verify(reverse_path, to)).instrument(span).await;
        match verification {
            Ok(Done::Verified(verification)) => verification,
            Ok(Done::Fates(_)) => Verification::Unknown(ours("", "4.3.0", "nothing was asked")),
            Err(told) => Verification::Unknown(told),
        }
    }

    /// Takes leave of all idle connections. What is in use is not touched.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// As many recipients at a time as every server must take; those that one refuses only because
    /// they are too many come again in the next transaction.
    async fn in_parts(&self, hop: &Hop, mail: &Mail, content: &Content) -> Attempt {
        let mut fates: Vec<Option<Fate>> = vec![None; mail.recipients.len()];
        let mut waiting: VecDeque<usize> = (0..mail.recipients.len()).collect();
        let mut reach = Reach::Unserved;
        let began = Instant::now();
        for _ in 0..TRANSACTIONS_PER_ATTEMPT_MAX {
            let part: Vec<usize> =
                waiting.drain(..waiting.len().min(RECIPIENTS_PER_MAIL_MAX)).collect();
            if part.is_empty() || began.elapsed() >= ATTEMPT_TIME_MAX {
                break;
            }
            let recipients = part.iter().map(|n| mail.recipients[*n].clone()).collect();
            let partial = Mail { recipients, ..mail.clone() };
            let told = match self.perform(hop, Job::Send(&partial, content)).await {
                Ok(Done::Fates(told)) => told,
                Ok(Done::Verified(_)) => Vec::new(),
                Err(told) => {
                    let deferred = Some(Fate::Deferred(told));
                    part.iter().chain(&waiting).for_each(|n| fates[*n] = deferred.clone());
                    break;
                }
            };
            reach = Reach::Served;
            let goes_on = told.iter().any(|fate| !fate.is_one_too_many() && is_servers_word(fate));
            for (n, fate) in part.into_iter().zip(told) {
                if goes_on && fate.is_one_too_many() {
                    waiting.push_back(n);
                }
                fates[n] = Some(fate);
            }
            if !goes_on {
                break;
            }
        }
        let not_tried = || Fate::Deferred(ours("", "4.5.3", "not tried in this attempt"));
        let fates = fates.into_iter().map(|fate| fate.unwrap_or_else(not_tried)).collect();
        Attempt { fates, reach }
    }

    /// On an idle connection if there is one that lives, else on a new one.
    async fn perform(&self, hop: &Hop, job: Job<'_>) -> Result<Done, Told> {
        while let Some(mut connection) = self.pool.take(hop).await {
            if let Some(done) = connection.perform(job).await {
                self.keep(hop, connection);
                return Ok(done);
            }
            tracing::debug!("an idle connection was dead");
        }
        let mut connection = self.open(hop).await?;
        let done = connection.perform(job).await;
        self.keep(hop, connection);
        done.ok_or_else(|| ours(&hop.name, "4.4.2", "the connection was dead"))
    }

    fn keep(&self, hop: &Hop, connection: Connection) {
        if connection.is_pipelining_suspect() {
            tracing::info!("pipelined commands may have been lost: none for this hop from now on");
            self.suspects.add(hop);
        }
        self.pool.put(hop, connection);
    }
}

/// Whether the connection lives: what we had to judge ourselves, for want of a reply, ends it.
fn is_servers_word(fate: &Fate) -> bool {
    match fate {
        Fate::Delivered(_) | Fate::Failed(_) => true,
        Fate::Deferred(told) => told.is_reply,
    }
}

/// Our words, for what was not said by the server.
fn ours(by: &str, status: &str, text: impl Into<String>) -> Told {
    let (by, status) = (by.to_owned(), status.to_owned());
    Told { by, status, text: text.into(), is_reply: false, dsn: false }
}

/// Replies may hold addresses: they are told at debug level only.
fn log(attempt: &Attempt) {
    let (mut delivered, mut deferred, mut failed) = (0, 0, 0);
    for fate in &attempt.fates {
        match fate {
            Fate::Delivered(_) => delivered += 1,
            Fate::Deferred(_) => deferred += 1,
            Fate::Failed(_) => failed += 1,
        }
        tracing::debug!(?fate, "recipient");
    }
    tracing::info!(delivered, deferred, failed, reach = ?attempt.reach, "attempt");
}
