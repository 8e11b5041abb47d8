//! The one thread that writes. It takes all transactions that wait, applies them one by one, writes
//! message bytes and rows with one sync each, and only then shows and answers what it did. Knows no
//! client.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::load;
use super::pack::{PackWriter, Place};
use super::persist::{self, Group};
use super::{Shared, failure};
use crate::mail::id::{BlobId, MailboxId, Timestamp};
use crate::store::apply::{self, Base, Known};
use crate::store::change::{Receipt, Transaction};
use crate::store::encode::Encoded;
use crate::store::state::{Changed, Contents, Loaded};
use crate::store::text_index::Indexer;
use crate::store::{StoreError, sql};

/// Most transactions in one group.
pub(super) const GROUP_TRANSACTIONS_MAX: usize = 256;
/// A group that has this many bytes of messages takes no further transaction.
const GROUP_BYTES_MAX: u64 = 32 << 20;
/// How long the writer waits for work before it sweeps.
const IDLE: Duration = Duration::from_secs(20);
/// Under steady load it sweeps a little after this.
const SWEEP_LATEST: Duration = Duration::from_secs(300);

/// What the writer is asked to do.
pub(super) enum Job {
    /// Applies and makes durable.
    Commit(Box<Commit>),
    /// Brings a mailbox's contents into memory.
    Load(MailboxId, oneshot::Sender<Result<Loaded, StoreError>>),
    /// Notes messages whose bytes are not where they should be.
    Lost(Vec<(i64, Place)>),
    /// More is in memory than before: looks whether that is too much.
    Evict,
    /// Ends.
    Stop,
}

/// A transaction and who waits for it.
pub(super) struct Commit {
    pub(super) transaction: Transaction,
    pub(super) encoded: HashMap<[u8; 32], Encoded>,
    pub(super) bytes: u64,
    pub(super) answer: oneshot::Sender<Result<Receipt, StoreError>>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// The writing half of an embedded store; `run` it on a thread of its own.
pub struct Writer {
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) connection: Connection,
    pub(super) pack: PackWriter,
    /// Ends with the writer, and before the store's lock is free.
    pub(super) indexer: Option<Indexer>,
    pub(super) shared: Arc<Shared>,
    pub(super) last_sweep: Instant,
}

/// Why a group was not committed.
enum Failure {
    /// Nothing was committed, for want of room above all: the next group may go through.
    Undone(StoreError),
    /// What is on disk is not known any more: the engine must stop and be opened anew.
    Final(String),
}

impl Failure {
    /// What those are told who wait.
    fn told(&self) -> StoreError {
        match self {
            Failure::Undone(error) => error.clone(),
            Failure::Final(why) => StoreError::Unavailable(why.clone()),
        }
    }
}

/// What waits, in one go.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) commits: Vec<Commit>,
    bytes: u64,
    loads: Vec<(MailboxId, oneshot::Sender<Result<Loaded, StoreError>>)>,
    lost: Vec<(i64, Place)>,
    evict: bool,
    stop: bool,
}

impl Writer {
    /// Writes until the last handle of the store is dropped or `Embedded::stop` is called. Ends
    /// with an error when the disk fails in a way that leaves open what is durable: then nothing
    /// more is accepted until the store is opened again.
    pub fn run(mut self) -> Result<(), StoreError> {
        let mut wait = IDLE;
        loop {
            let more_to_sweep = match self.jobs.recv_timeout(wait) {
                Ok(job) => {
                    let batch = self.batch(job);
                    let stop = batch.stop;
                    self.work(batch)?;
                    if stop {
                        return Ok(());
                    }
                    self.last_sweep.elapsed() > SWEEP_LATEST && self.sweep()?
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.sweep()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            };
            wait = if more_to_sweep { Duration::ZERO } else { IDLE };
        }
    }

    pub(super) fn batch(&self, first: Job) -> Batch {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Commit(commit) => {
                    batch.bytes += commit.bytes;
                    batch.commits.push(*commit);
                }
                Job::Load(id, answer) => batch.loads.push((id, answer)),
                Job::Lost(lost) => batch.lost.extend(lost),
                Job::Evict => batch.evict = true,
                Job::Stop => batch.stop = true,
            }
            let full = batch.commits.len() >= GROUP_TRANSACTIONS_MAX;
            if full || batch.bytes >= GROUP_BYTES_MAX || batch.stop {
                break;
            }
            next = self.jobs.try_recv().ok();
        }
        batch
    }

    pub(super) fn work(&mut self, batch: Batch) -> Result<(), StoreError> {
        let mut evict = batch.evict;
        // what was found before the same bytes came in
        if !batch.lost.is_empty() {
            self.mark_lost(&batch.lost)?;
        }
        if !batch.commits.is_empty() {
            evict |= self.group(batch.commits)?;
        }
        for (id, answer) in batch.loads {
            evict |= self.load(id);
            let board = self.shared.board();
            let held = board.state.held(id).ok_or(StoreError::Gone);
            let _ = answer.send(held.and_then(|held| held.loaded().cloned()));
        }
        if evict {
            self.shared.evict();
        }
        Ok(())
    }

    /// Their bytes are written anew when the same come in. What has been since is not marked.
    pub(super) fn mark_lost(&self, lost: &[(i64, Place)]) -> Result<(), StoreError> {
        let marked = self.by_itself(|writer| {
            let mut mark = writer.connection.prepare_cached(sql::MARK_LOST)?;
            lost.iter().try_for_each(|(id, place)| {
                mark.execute(params![id, place.pack, place.start.cast_signed()]).map(|_| ())
            })
        });
        marked.map(|_| ())
    }

    /// Commits a group; whether contents were loaded for it.
    fn group(&mut self, commits: Vec<Commit>) -> Result<bool, StoreError> {
        let loaded = commits.iter().flat_map(|c| &c.transaction.changes).flat_map(apply::needs);
        let loaded = loaded.collect::<Vec<_>>().into_iter().filter(|id| self.load(*id)).count();
        let now = self.shared.clock.now();
        let mut answers = Vec::with_capacity(commits.len());
        let done = self.apply(commits, now, &mut answers).and_then(|(changed, places, encoded)| {
            let group = Group { changed: &changed, places: &places, encoded: &encoded, now };
            self.persist(&group)?;
            if let Some(indexer) = &mut self.indexer {
                let text = encoded.values().map(|message| message.text.body.len()).sum();
                indexer.committed(changed.rows.blobs.len(), text);
            }
            Ok(changed)
        });
        let failed = match done {
            Ok(mut changed) => {
                changed.rows = Default::default();
                self.shared.board_mut().publish(changed);
                None
            }
            Err(failure) => Some(failure),
        };
        let why = failed.as_ref().map(Failure::told);
        for (answer, result, _permit) in answers {
            let result = match (&why, result) {
                (Some(why), Ok(_)) => Err(why.clone()),
                (_, result) => result,
            };
            let _ = answer.send(result);
        }
        match failed {
            Some(Failure::Final(why)) => Err(StoreError::Unavailable(why)),
            Some(Failure::Undone(_)) | None => Ok(loaded > 0),
        }
    }

    /// Applies each transaction on top of those before it; one that fails leaves no trace.
    fn apply(
        &mut self,
        commits: Vec<Commit>,
        now: Timestamp,
        answers: &mut Vec<Waiting>,
    ) -> Result<Applied, Failure> {
        let mut changed = Changed::default();
        let (mut places, mut encoded) = (HashMap::new(), HashMap::new());
        let rolled = self.pack.roll_if_full().map_err(|e| write_failure(&e));
        let known = rolled.and_then(|()| self.look_up(&commits).map_err(|e| sql_failure(&e)));
        for commit in commits {
            let result = match &known {
                Ok(known) => {
                    let applied = self.apply_one(commit.transaction, &changed, (known, now));
                    applied.and_then(|(receipt, own)| {
                        places.extend(self.append(&own)?);
                        encoded.extend(commit.encoded);
                        changed.absorb(own);
                        Ok(receipt)
                    })
                }
                Err(failure) => Err(failure.told()),
            };
            answers.push((commit.answer, result, commit.permit));
        }
        known.map(|_| (changed, places, encoded))
    }

    fn apply_one(
        &self,
        transaction: Transaction,
        group: &Changed,
        (known, now): (&Known, Timestamp),
    ) -> Result<(Receipt, Changed), StoreError> {
        let board = self.shared.board();
        apply::apply(&Base { state: &board.state, known, now }, group, transaction)
    }

    /// Appends a transaction's messages to the pack: all of them, or none.
    fn append(&mut self, own: &Changed) -> Result<Vec<(BlobId, Place)>, StoreError> {
        let mark = self.pack.end();
        let pack = &mut self.pack;
        let places = own.rows.brought().map(|(id, m)| Ok((*id, pack.append(&m.hash, &m.bytes)?)));
        places.collect::<io::Result<Vec<_>>>().map_err(|error| {
            self.pack.rewind(mark);
            undone("storing a message", &error)
        })
    }

    fn look_up(&self, commits: &[Commit]) -> rusqlite::Result<Known> {
        let mut known = Known::default();
        let mut by_hash = self.connection.prepare_cached(sql::MESSAGE_BY_HASH)?;
        let mut by_key = self.connection.prepare_cached(sql::DUPLICATE_KEY)?;
        for change in commits.iter().flat_map(|commit| &commit.transaction.changes) {
            if let Some((message, _)) = change.brings() {
                let hash = message.hash;
                let found = by_hash
                    .query_row(params![hash.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)));
                let found: Option<(i64, i64)> = found.optional()?;
                known.lost.extend(found.filter(|(_, lost)| *lost != 0).map(|_| hash));
                known.blobs.extend(found.map(|(id, _)| (hash, BlobId(id))));
            }
            if let Some(key) = change.asks_for() {
                let found = by_key.query_row(params![key.as_slice()], |row| row.get(0));
                known.duplicate_keys.extend(found.optional()?.map(|used| (key, Timestamp(used))));
            }
        }
        Ok(known)
    }

    fn persist(&mut self, group: &Group<'_>) -> Result<(), Failure> {
        let result = self.persist_steps(group);
        match result {
            Ok(()) => self.pack.committed(),
            Err(Failure::Undone(_)) => self.pack.rewind_to_committed(),
            Err(Failure::Final(_)) => {}
        }
        result
    }

    fn persist_steps(&mut self, group: &Group<'_>) -> Result<(), Failure> {
        self.pack.flush().map_err(|e| write_failure(&e))?;
        if self.pack.has_tail() {
            self.pack.sync().map_err(|e| Failure::Final(format!("sync of a pack: {e}")))?;
        }
        if group.changed.is_empty() && !self.pack.has_tail() {
            return Ok(());
        }
        self.in_transaction(|writer| {
            persist::write(&writer.connection, group)?;
            writer.put_pack_end()
        })
    }

    /// Records how far the pack is committed.
    pub(super) fn put_pack_end(&self) -> rusqlite::Result<()> {
        let mut put = self.connection.prepare_cached(sql::PUT_PACK_END)?;
        put.execute(params![self.pack.number(), self.pack.end().cast_signed()]).map(|_| ())
    }

    fn in_transaction(
        &self,
        write: impl FnOnce(&Writer) -> rusqlite::Result<()>,
    ) -> Result<(), Failure> {
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE");
        let written = begun.and_then(|()| write(self));
        let committed = written.and_then(|()| self.connection.execute_batch("COMMIT"));
        committed.map_err(|error| {
            let rolled_back = self.connection.is_autocommit()
                || self.connection.execute_batch("ROLLBACK").is_ok();
            match sql_failure(&error) {
                Failure::Undone(why) if !rolled_back => Failure::Final(why.to_string()),
                failure => failure,
            }
        })
    }

    /// As `in_transaction`, for what the writer does by itself; whether it went through. A full
    /// disk only puts it off.
    pub(super) fn by_itself(
        &self,
        write: impl FnOnce(&Writer) -> rusqlite::Result<()>,
    ) -> Result<bool, StoreError> {
        match self.in_transaction(write) {
            Ok(()) => Ok(true),
            Err(Failure::Undone(_)) => Ok(false),
            Err(Failure::Final(why)) => Err(StoreError::Unavailable(why)),
        }
    }

    /// Brings a mailbox's contents into memory; whether they were not there. Between groups what
    /// the tables say is what is published.
    fn load(&mut self, id: MailboxId) -> bool {
        let absent = |contents: &Contents| matches!(contents, Contents::Absent { .. });
        let board = self.shared.board();
        let missing = board.state.held(id).is_some_and(|held| absent(&held.contents));
        drop(board);
        if !missing {
            return false;
        }
        match load::contents(&mut self.connection, id) {
            Ok(Some(loaded)) => self.shared.board_mut().state.load_contents(id, loaded).is_some(),
            // Who needs the contents is told that they are not loaded.
            Ok(None) | Err(_) => false,
        }
    }
}

type Waiting = (
    oneshot::Sender<Result<Receipt, StoreError>>,
    Result<Receipt, StoreError>,
    OwnedSemaphorePermit,
);
type Applied = (Changed, HashMap<BlobId, Place>, HashMap<[u8; 32], Encoded>);

/// Nothing is lost by a failed write: it lies beyond the committed end.
fn write_failure(error: &io::Error) -> Failure {
    Failure::Undone(undone("writing a pack", error))
}

fn undone(what: &str, error: &io::Error) -> StoreError {
    let why = format!("{what}: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace(why),
        _ => StoreError::Unavailable(why),
    }
}

fn sql_failure(error: &rusqlite::Error) -> Failure {
    let why = failure(error).to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Failure::Undone(StoreError::NoSpace(why)),
        _ => Failure::Final(why),
    }
}
