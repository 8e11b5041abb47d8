//! The one task of a node that writes. It takes all transactions that wait, writes them as one
//! group, and only then shows and answers what it did. Between groups it loads and forgets the
//! contents of mailboxes. Knows no client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::blobs::{NOW, Placed};
use super::connection::failure;
use super::group::{self, Failure};
use super::shared::{Followed, Shared};
use super::{head, lease, load};
use crate::mail::id::MailboxId;
use crate::store::StoreError;
use crate::store::change::{Receipt, Transaction};
use crate::store::encode::Encoded;
use crate::store::state::Loaded;

/// Most transactions in one group.
const GROUP_TRANSACTIONS_MAX: usize = 256;
/// A group that has this many bytes of messages takes no further transaction.
const GROUP_BYTES_MAX: u64 = 32 << 20;
/// How often a group is tried when somebody else is in its way.
const ATTEMPTS_MAX: usize = 5;
/// How long an attempt may take: longer than the server lets a statement take. A COMMIT that waits
/// for a server that has gone is not ended by that.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(70);
/// How often old groups are removed from the log.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How many are removed at a time, and how soon the next ones are.
const SWEPT_MAX: u64 = 500;
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
/// A node that is behind by more groups than this loads the state whole.
const LOG_VERSIONS_KEPT: i64 = 10_000;
/// Younger groups stay in any case.
const LOG_SECS_KEPT: i64 = 15 * 60;

/// What the writer is asked to do.
pub(super) enum Job {
    /// Applies and makes durable.
    Commit(Box<Commit>),
    /// Brings a mailbox's contents into memory.
    Load(MailboxId, oneshot::Sender<Result<Loaded, StoreError>>),
    /// More is in memory than before: looks whether that is too much.
    Evict,
}

/// A transaction and who waits for it.
pub(super) struct Commit {
    pub(super) transaction: Transaction,
    pub(super) encoded: HashMap<[u8; 32], Encoded>,
    /// Bytes that are where they are read already, by hash.
    pub(super) staged: HashMap<[u8; 32], Placed>,
    pub(super) bytes: u64,
    pub(super) answer: oneshot::Sender<Result<Receipt, StoreError>>,
}

/// The writing half of a node.
pub(super) struct Writer {
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) shared: Arc<Shared>,
    /// Its own connection, while there is one.
    pub(super) client: Option<ClientWrapper>,
    pub(super) next_sweep: Instant,
}

/// Whether old groups are left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Swept {
    All,
    Some,
}

/// What waits, in one go.
#[derive(Default)]
struct Batch {
    commits: Vec<Commit>,
    bytes: u64,
    loads: Vec<(MailboxId, oneshot::Sender<Result<Loaded, StoreError>>)>,
    evict: bool,
}

impl Writer {
    /// Writes until the last handle of the store is dropped or it is told to stop.
    pub(super) async fn run(mut self) -> Result<(), StoreError> {
        loop {
            tokio::select! {
                job = self.jobs.recv() => match job {
                    Some(job) => {
                        let batch = self.batch(job);
                        self.work(batch).await;
                    }
                    None => return Ok(()),
                },
                // what was handed in is still taken out
                () = self.shared.stop.notified() => self.jobs.close(),
                () = sleep_until(self.next_sweep) => {}
            }
            if Instant::now() >= self.next_sweep {
                let swept = match self.shared.link.is_up() {
                    true => self.sweep_log().await,
                    false => Ok(Swept::All),
                };
                // what failed is tried again
                let wait = if swept == Ok(Swept::Some) { SWEEP_PAUSE } else { SWEEP_INTERVAL };
                self.next_sweep = Instant::now() + wait;
            }
        }
    }

    fn batch(&mut self, first: Job) -> Batch {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                // who has been told that the database is down must not find it done later
                Job::Commit(commit) if commit.answer.is_closed() => {}
                Job::Commit(commit) => {
                    batch.bytes += commit.bytes;
                    batch.commits.push(*commit);
                }
                Job::Load(id, answer) => batch.loads.push((id, answer)),
                Job::Evict => batch.evict = true,
            }
            let full = batch.commits.len() >= GROUP_TRANSACTIONS_MAX;
            if full || batch.bytes >= GROUP_BYTES_MAX {
                break;
            }
            next = self.jobs.try_recv().ok();
        }
        batch
    }

    async fn work(&mut self, batch: Batch) {
        let shared = self.shared.clone();
        let evict = batch.evict || !batch.loads.is_empty();
        if !batch.commits.is_empty() {
            let results = self.group(&batch.commits).await;
            for (commit, result) in batch.commits.into_iter().zip(results) {
                let _ = commit.answer.send(result);
            }
        }
        for (id, answer) in batch.loads {
            let loaded = shared.link.guard(self.load(id)).await;
            if loaded.is_err() {
                self.client = None;
            }
            let _ = answer.send(loaded);
        }
        if evict {
            let _turn = shared.turn.lock().await;
            shared.evict();
        }
    }

    /// Commits a group; an answer for each transaction.
    async fn group(&mut self, commits: &[Commit]) -> Vec<Result<Receipt, StoreError>> {
        match self.attempts(commits).await {
            Ok(results) => results,
            // one has a value that the database does not take: the others do without it
            Err(Failure::Values(_)) if commits.len() > 1 => {
                let mut results = Vec::with_capacity(commits.len());
                for commit in commits {
                    let one = self.attempts(std::slice::from_ref(commit)).await;
                    results.push(one.map_or_else(|e| Err(e.told()), |mut all| all.remove(0)));
                }
                results
            }
            Err(failed) => commits.iter().map(|_| Err(failed.told())).collect(),
        }
    }

    async fn attempts(
        &mut self,
        commits: &[Commit],
    ) -> Result<Vec<Result<Receipt, StoreError>>, Failure> {
        let shared = self.shared.clone();
        let mut attempt = 1;
        loop {
            let trying = async {
                let hangs = || StoreError::Unavailable("database: a commit does not end".into());
                let tried = timeout(ATTEMPT_TIMEOUT, self.attempt(commits)).await;
                Ok(tried.unwrap_or_else(|_| Err(Failure::Lost(hangs()))))
            };
            let tried = match shared.link.guard(trying).await {
                Ok(tried) => tried,
                Err(cut_off) => Err(Failure::Lost(cut_off)),
            };
            match tried {
                Err(Failure::Again(_)) if attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    self.give_up().await;
                }
                Err(failed) => {
                    if let Failure::Lost(_) = failed {
                        self.client = None;
                        shared.link.look.notify_one();
                    }
                    self.give_up().await;
                    return Err(failed);
                }
                done => return done,
            }
        }
    }

    /// Ends what is left of a group that failed.
    async fn give_up(&mut self) {
        let Some(client) = &self.client else { return };
        let ended = async { client.batch_execute("ROLLBACK").await.map_err(|e| failure(&e)) };
        if self.shared.link.guard(ended).await.is_err() {
            self.client = None;
        }
    }

    /// The writer's connection.
    pub(super) async fn connected(&mut self) -> Result<&ClientWrapper, StoreError> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.shared.target.open(None).await?,
        };
        Ok(self.client.insert(client))
    }

    /// Loads a mailbox's contents while nobody writes on any node.
    async fn load(&mut self, id: MailboxId) -> Result<Loaded, StoreError> {
        let shared = self.shared.clone();
        let _turn = shared.turn.lock().await;
        let client = self.connected().await?;
        let mut attempt = 0;
        loop {
            head::lock(&shared, client).await?;
            if shared.follow(client).await? == Followed::Whole {
                break;
            }
            // to load the state whole takes a transaction of its own
            client.batch_execute("ROLLBACK").await.map_err(|e| failure(&e))?;
            attempt += 1;
            if attempt == ATTEMPTS_MAX {
                return Err(group::outrun());
            }
            shared.catch_up_in_turn(client).await?;
        }
        let loaded = load::contents_here(client, id).await?.ok_or(StoreError::Gone);
        client.batch_execute("COMMIT").await.map_err(|e| failure(&e))?;
        let changes = || StoreError::Unavailable("the mailbox changes all the time".into());
        shared.put_contents(id, loaded?).ok_or_else(changes)
    }

    /// Any node may do it. Not more at a time than a group may wait for.
    async fn sweep_log(&mut self) -> Result<Swept, StoreError> {
        let shared = self.shared.clone();
        let last = shared.published().at.version - LOG_VERSIONS_KEPT;
        let sweep = async {
            let client = self.connected().await?;
            let old = format!(
                "DELETE FROM log WHERE version IN (SELECT version FROM log
  WHERE version <= $1 AND at < {NOW} - $2 ORDER BY version LIMIT {SWEPT_MAX})"
            );
            let old = client.prepare_cached(&old).await.map_err(|e| failure(&e))?;
            let age = LOG_SECS_KEPT * 1_000_000;
            let gone = client.execute(&old, &[&last, &age]).await.map_err(|e| failure(&e))?;
            lease::sweep(client).await?;
            Ok(if gone < SWEPT_MAX { Swept::All } else { Swept::Some })
        };
        let swept = shared.link.guard(sweep).await;
        if swept.is_err() {
            self.client = None;
        }
        swept
    }
}
