//! The engine for several nodes: PostgreSQL, or what speaks like it.
//!
//! Every node has the whole state in memory, as the embedded engine has, and decides on it with
//! `store::apply`. The database is a list of groups in one order, which all nodes follow: who
//! writes holds the lock of one row (`head`), publishes first what others have written before
//! (`log`), decides, writes rows and an entry of the log, and commits. So all nodes see the same
//! changes in the same order, and a watermark means the same on each. Knows no protocol.

mod address;
mod aside;
mod batch;
mod blobs;
mod clock;
mod columns;
mod connection;
mod delta;
mod delta_mailbox;
mod follow;
mod group;
mod head;
mod indexed;
mod layout;
mod lease;
mod link;
mod load;
mod log;
mod lookup;
pub mod migrate;
mod persist;
mod pipeline;
mod readers;
mod restored;
mod shared;
mod sweep;
#[cfg(test)]
pub(in crate::store) mod tests;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object};
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::aside::aside;
use self::columns::text;
use self::follow::Follower;
use self::indexed::Indexed;
use self::link::Link;
use self::readers::ask;
use self::shared::{Followed, Published, Shared};
use self::sweep::Sweeper;
use self::writer::{Commit, Job, Writer};
use super::audit::{EntryId, Record, Tip};
use super::bell::Bell;
use super::board::Board;
use super::change::{Absences, Grant, Opening, Receipt, Transaction, UsersRights};
use super::nodes::{Asks, Duty, Published as InForce};
use super::overlay::Overlay;
use super::queue::Queued;
use super::snapshot::Snapshot;
use super::state::{Contents, Loaded};
use super::text::{Needle, Verdict};
use super::{
    Answer, Facts, FactsWanted, Instance, Linked, Mailbox, Metadata, Status, Store, StoreError,
    Subscriptions, Turns, Usage, encode,
};
use crate::mail::account::{Account, Folder};
use crate::mail::flag::SeenMode;
use crate::mail::id::{BlobId, Login, MailboxId, ModSeq, QueueId, Timestamp, TraceId, Uid};
use crate::mail::uid_set::UidSet;
use crate::sys::Clock;

pub use self::address::{Address, Transport};
pub use self::clock::DatabaseClock;
pub use self::connection::Target;
pub use self::indexed::remove as remove_text_index;

/// Most transactions that wait for the writer; who comes later waits before handing in.
const JOBS_WAITING_MAX: usize = 1024;
/// Mailboxes are loaded by one reader each at a time; this many locks see to it.
const LOADING_LOCKS: usize = 64;
/// How often a reader tries to load a mailbox that changes meanwhile, before the writer does it.
const LOAD_ATTEMPTS: usize = 3;

/// Most messages that are brought to the database or announced there at once.
const UPLOADS_AT_ONCE: usize = 2;

/// How much the engine may use, and how it learns what other nodes do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Most connections that read, beside the two that write and follow.
    pub readers: usize,
    /// Messages in mailboxes held in memory that nobody has open; 100 bytes each.
    pub cached_messages_max: usize,
    /// Whether the server tells what is new (LISTEN); otherwise it is asked, 50 times a second.
    pub listen: bool,
    /// After how long without an answer the database counts as unreachable.
    pub patience: Duration,
    /// The folder of this node's index of texts; without one, searches read the texts.
    pub text_index: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            readers: 8,
            cached_messages_max: 1_000_000,
            listen: true,
            patience: Duration::from_millis(1500),
            text_index: None,
        }
    }
}

/// An open store. Cheap to clone; the last one that is dropped ends its tasks.
#[derive(Clone)]
pub struct Postgres(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    loading: [Mutex<()>; LOADING_LOCKS],
}

/// What a node does all the time; `run` it on a task.
pub struct Tasks {
    writer: Writer,
    follower: Follower,
    sweeper: Sweeper,
    indexed: Indexed,
}

impl Tasks {
    /// Writes and follows until the last handle of the store is dropped or `Postgres::stop` is
    /// called. A database that cannot be reached does not end it.
    pub async fn run(self) -> Result<(), StoreError> {
        // a task each, so that a long piece of work of one keeps no other waiting; dropped, all end
        let mut tasks = JoinSet::new();
        tasks.spawn(self.writer.run());
        tasks.spawn(async { Err(self.follower.run().await) });
        tasks.spawn(async { Err(self.sweeper.run().await) });
        tasks.spawn(async { Err(self.indexed.run().await) });
        let broke_off = |error| StoreError::Unavailable(format!("a task broke off: {error}"));
        let ended = tasks.join_next().await;
        tasks.shutdown().await;
        match ended {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(broke_off(error.to_string())),
            None => Ok(()),
        }
    }
}

/// Opens the store in a database, making its tables if there are none. A clock that can agree with
/// others agrees with the database's.
pub async fn open(
    target: Target,
    options: Options,
    clock: Arc<dyn Clock>,
) -> Result<(Postgres, Tasks), StoreError> {
    let mut client = reached(&target).await?;
    layout::upgrade(&mut client).await?;
    migrate::hold(&client).await?;
    opened((target, client), options, clock).await
}

/// As `open`, for somebody who only reads: a database that is not as this version has it is
/// refused, and nothing in it is changed. Does not follow what others do.
pub async fn open_to_read(
    target: Target,
    options: Options,
    clock: Arc<dyn Clock>,
) -> Result<Postgres, StoreError> {
    let client = reached(&target).await?;
    layout::check(&client).await?;
    opened((target, client), options, clock).await.map(|(store, _)| store)
}

/// A connection to a database that can hold what is written.
async fn reached(target: &Target) -> Result<ClientWrapper, StoreError> {
    let client = target.open(None).await?;
    let encoding = ask(&client, "SHOW server_encoding", &[]).await?;
    if encoding.first().map(|row| text(row, 0)).transpose()? != Some("UTF8") {
        let remedy = "create the database with ENCODING 'UTF8'";
        return Err(StoreError::Unavailable(format!("the database is not in UTF-8: {remedy}")));
    }
    Ok(client)
}

async fn opened(
    (target, client): (Target, ClientWrapper),
    options: Options,
    clock: Arc<dyn Clock>,
) -> Result<(Postgres, Tasks), StoreError> {
    // from the beginning on the time is the database's
    head::tell_time(&client, &*clock).await?;
    let (state, at) = load::state(&client).await?;
    let texts = indexed::index(options.text_index.as_deref(), state.counters().blob);
    let shared = Arc::new(Shared {
        published: RwLock::new(Published::new(state, at)),
        clock,
        pool: target.pool(options.readers.max(1))?,
        options,
        texts,
        duties: target.pool(1)?,
        uploads: target.pool(UPLOADS_AT_ONCE)?,
        target,
        link: Link::new(),
        node: blobs::new_object()?,
        uses: AtomicU64::new(0),
        turn: Mutex::new(()),
        stop: Notify::new(),
    });
    let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
    let loading = std::array::from_fn(|_| Mutex::new(()));
    let handle = Handle { shared: shared.clone(), jobs, loading };
    let next_sweep = Instant::now();
    let writer = Writer { jobs: waiting, shared: shared.clone(), client: None, next_sweep };
    let tasks = Tasks {
        writer,
        follower: Follower { shared: shared.clone(), opened: Some(client) },
        sweeper: Sweeper { shared: shared.clone() },
        indexed: Indexed::start(shared)?,
    };
    Ok((Postgres(Arc::new(handle)), tasks))
}

impl Postgres {
    /// Ends the tasks after what was handed in before; later commits are refused.
    pub fn stop(&self) {
        self.0.shared.stop.notify_one();
    }

    /// The store's numbers as of now: the last group that is published here.
    #[cfg(test)]
    pub(super) fn version(&self) -> i64 {
        self.0.shared.published().at.version
    }

    async fn commit_grouped(&self, transaction: Transaction) -> Result<Receipt, StoreError> {
        let text = aside::TEXT_BYTES_MIN;
        let (encoded, bytes) =
            aside(text_bytes(&transaction) / text, || encode::messages(&transaction))?;
        let shared = &self.0.shared;
        let early = blobs::to_stage(&transaction, shared.target.objects());
        let (staged, bytes) = match early.is_empty() {
            true => (HashMap::new(), bytes),
            false => (blobs::stage(shared, early).await?, 0),
        };
        let (answer, receipt) = oneshot::channel();
        let commit = Commit { transaction, encoded, staged, bytes, answer };
        let job = Job::Commit(Box::new(commit));
        self.0.jobs.send(job).await.map_err(|_| stopped())?;
        receipt.await.map_err(|_| stopped())?
    }

    async fn client(&self) -> Result<Object, StoreError> {
        self.0.shared.client().await
    }

    /// Reads from the database, as long as it can be reached.
    async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.0.shared.link.guard(work).await
    }

    /// Reads a mailbox's contents, loading them first if they are not in memory.
    async fn with_loaded<T>(
        &self,
        id: MailboxId,
        read: impl Fn(&Board, &Loaded) -> T,
    ) -> Result<T, StoreError> {
        if let Some(found) = self.if_loaded(id, &read)? {
            return Ok(found);
        }
        let lock = &self.0.loading[id.0.unsigned_abs() as usize % LOADING_LOCKS];
        let loading = async {
            let _one_at_a_time = lock.lock().await;
            if let Some(found) = self.if_loaded(id, &read)? {
                return Ok(found);
            }
            let loaded = self.load(id).await?;
            Ok(read(&self.0.shared.published().board, &loaded))
        };
        self.guard(loading).await
    }

    fn if_loaded<T>(
        &self,
        id: MailboxId,
        read: impl Fn(&Board, &Loaded) -> T,
    ) -> Result<Option<T>, StoreError> {
        let shared = &self.0.shared;
        let board = &shared.published().board;
        let held = board.state.held(id).ok_or(StoreError::Gone)?;
        held.last_used.store(shared.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        match &held.contents {
            Contents::Loaded(loaded) => Ok(Some(read(board, loaded))),
            Contents::Absent { .. } => Ok(None),
        }
    }

    /// What was read may be ahead of what is published: then that catches up, and it is read again.
    /// A mailbox that changes all the time is read by the writer, between two groups.
    async fn load(&self, id: MailboxId) -> Result<Loaded, StoreError> {
        let client = self.client().await?;
        for _ in 0..LOAD_ATTEMPTS {
            let loaded = load::contents(&client, id).await?;
            let loaded = loaded.and_then(|loaded| self.0.shared.put_contents(id, loaded));
            if let Some(loaded) = loaded {
                // it comes along when there is work
                let _ = self.0.jobs.try_send(Job::Evict);
                return Ok(loaded);
            }
            if self.0.shared.follow(&client).await? == Followed::Gap {
                // to load the state whole is the writer's and the follower's to do
                self.0.shared.link.look.notify_one();
                break;
            }
            self.mailbox(id).ok_or(StoreError::Gone)?;
        }
        drop(client);
        let (answer, loaded) = oneshot::channel();
        self.0.jobs.send(Job::Load(id, answer)).await.map_err(|_| stopped())?;
        loaded.await.map_err(|_| stopped())?
    }
}

impl Store for Postgres {
    fn commit(&self, transaction: Transaction) -> Answer<'_, Receipt> {
        Box::pin(self.guard(self.commit_grouped(transaction)))
    }

    fn mailboxes(&self, account: &Account) -> Vec<Arc<Mailbox>> {
        self.0.shared.published().board.state.mailboxes(account)
    }

    fn usage(&self, account: &Account) -> Usage {
        self.0.shared.published().board.state.usage(account)
    }

    fn find(&self, account: &Account, folder: &Folder) -> Option<Arc<Mailbox>> {
        self.0.shared.published().board.find(account, folder)
    }

    fn mailbox(&self, id: MailboxId) -> Option<Arc<Mailbox>> {
        self.0.shared.published().board.mailbox(id)
    }

    fn status<'a>(&'a self, id: MailboxId, user: &'a Login, seen: SeenMode) -> Answer<'a, Status> {
        Box::pin(async move {
            self.with_loaded(id, |board, loaded| board.status(loaded, user, seen)).await?
        })
    }

    fn snapshot(&self, id: MailboxId) -> Answer<'_, Arc<Snapshot>> {
        Box::pin(self.with_loaded(id, |_, loaded| loaded.snapshot.clone()))
    }

    fn overlay<'a>(&'a self, id: MailboxId, user: &'a Login) -> Answer<'a, Arc<Overlay>> {
        Box::pin(self.with_loaded(id, |_, loaded| loaded.overlay(user)))
    }

    fn claim_recent(&self, id: MailboxId, user: &Login) -> Uid {
        self.0.shared.published_mut().board.claim_recent(id, user)
    }

    fn expunged_since(&self, id: MailboxId, since: ModSeq) -> Answer<'_, UidSet> {
        Box::pin(async move {
            self.mailbox(id).ok_or(StoreError::Gone)?;
            let read = async { readers::tombstones(&*self.client().await?, id, since).await };
            self.guard(read).await
        })
    }

    fn facts<'a>(&'a self, blobs: &'a [BlobId], wanted: FactsWanted) -> Answer<'a, Vec<Facts>> {
        Box::pin(self.guard(async move {
            let client = self.client().await?;
            readers::facts(&client, blobs, wanted).await
        }))
    }

    fn text_verdicts<'a>(
        &'a self,
        blobs: &'a [BlobId],
        needles: &'a [Needle],
    ) -> Answer<'a, Vec<Vec<Verdict>>> {
        let Some(index) = self.0.shared.texts.clone() else {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        };
        let (blobs, needles) = (blobs.to_vec(), needles.to_vec());
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || index.verdicts(&blobs, &needles));
            asked.await.map_err(|e| StoreError::Unavailable(format!("text index: {e}")))
        })
    }

    fn trace(&self, id: TraceId) -> Answer<'_, Vec<u8>> {
        if id == TraceId::NONE {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        Box::pin(self.guard(async move {
            let client = self.client().await?;
            readers::trace(&client, id).await
        }))
    }

    fn body(&self, blob: BlobId, range: Range<u64>) -> Answer<'_, Vec<u8>> {
        Box::pin(self.guard(async move { readers::body(&self.0.shared, blob, range).await }))
    }

    fn messages<'a>(&'a self, wanted: &'a [(BlobId, TraceId)]) -> Answer<'a, Vec<Option<Vec<u8>>>> {
        Box::pin(self.guard(async move { readers::messages(&self.0.shared, wanted).await }))
    }

    fn instances_of(&self, message_id: &str) -> Answer<'_, Vec<Instance>> {
        let message_id = message_id.to_owned();
        Box::pin(self.guard(async move {
            let client = self.client().await?;
            lookup::instances_of(&client, &message_id).await
        }))
    }

    fn referring_to(&self, message_id: &str) -> Answer<'_, Vec<Instance>> {
        let message_id = message_id.to_owned();
        Box::pin(self.guard(async move {
            let client = self.client().await?;
            lookup::referring_to(&client, &message_id).await
        }))
    }

    fn linked_to<'a>(&'a self, message_ids: &'a [String]) -> Answer<'a, Vec<Linked>> {
        Box::pin(self.guard(async move {
            match message_ids.is_empty() {
                true => Ok(Vec::new()),
                false => lookup::linked_to(&*self.client().await?, message_ids).await,
            }
        }))
    }

    fn subscriptions(&self, user: &Login) -> Arc<Subscriptions> {
        self.0.shared.published().board.subscriptions(user)
    }

    fn turns(&self, account: &Account) -> Arc<Turns> {
        self.0.shared.published().board.state.turns(account)
    }

    fn metadata(&self, user: Option<&Login>) -> Arc<Metadata> {
        self.0.shared.published().board.metadata(user)
    }

    fn grants(&self) -> Arc<Vec<Grant>> {
        self.0.shared.published().board.state.grants().clone()
    }

    fn watch(&self, id: MailboxId) -> watch::Receiver<ModSeq> {
        self.0.shared.published_mut().board.watch(id)
    }

    fn watch_mailboxes(&self) -> watch::Receiver<u64> {
        self.0.shared.published().board.watch_tree()
    }

    fn attach(&self, bell: &Arc<Bell>, mailboxes: &[MailboxId]) {
        self.0.shared.published_mut().board.attach(bell, mailboxes);
    }

    fn queued(&self, id: QueueId) -> Option<Arc<Queued>> {
        self.0.shared.published().board.queued(id)
    }

    fn queued_from(&self, first: QueueId, max: usize) -> Vec<Arc<Queued>> {
        self.0.shared.published().board.queued_from(first, max)
    }

    fn watch_queue(&self) -> watch::Receiver<QueueId> {
        self.0.shared.published().board.watch_queue()
    }

    fn audited(&self, first: EntryId, since: Timestamp, max: usize) -> Answer<'_, Vec<Record>> {
        Box::pin(self.guard(async move {
            let client = self.client().await?;
            readers::audited(&client, (first, since), max).await
        }))
    }

    fn audit_tip(&self) -> Tip {
        self.0.shared.published().board.state.audit()
    }

    fn trashed(&self, trash: MailboxId) -> Answer<'_, BTreeMap<Uid, EntryId>> {
        Box::pin(self.guard(async move {
            let client = self.client().await?;
            readers::trashed(&client, trash).await
        }))
    }

    fn absences(&self) -> Arc<Absences> {
        self.0.shared.published().board.state.absences().clone()
    }

    fn directory(&self) -> Option<Arc<InForce>> {
        self.0.shared.published().board.state.directory().cloned()
    }

    fn tenure(&self, duty: Duty) -> Option<i64> {
        self.0.shared.published().board.state.tenures().get(&duty).copied()
    }

    fn watch_asks(&self) -> watch::Receiver<Asks> {
        self.0.shared.published().board.watch_asks()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn reachable(&self) -> Result<(), StoreError> {
        self.0.shared.link.reachable()
    }

    fn lease(&self, duty: Duty) -> Answer<'_, bool> {
        Box::pin(self.guard(async move {
            let client = self.0.shared.duty_client().await?;
            lease::lease(&client, duty, self.0.shared.node).await
        }))
    }

    fn release(&self, duty: Duty) -> Answer<'_, ()> {
        Box::pin(self.guard(async move {
            let client = self.0.shared.duty_client().await?;
            lease::release(&client, duty, self.0.shared.node).await
        }))
    }

    fn failures<'a>(&'a self, of: &'a [String]) -> Answer<'a, Vec<u32>> {
        Box::pin(
            self.guard(
                async move { lease::failures(&*self.0.shared.duty_client().await?, of).await },
            ),
        )
    }

    fn count_failure<'a>(&'a self, of: &'a [String]) -> Answer<'a, Vec<u32>> {
        Box::pin(
            self.guard(async move { lease::count(&*self.0.shared.duty_client().await?, of).await }),
        )
    }

    fn forget_failures<'a>(&'a self, of: &'a [String]) -> Answer<'a, ()> {
        Box::pin(
            self.guard(
                async move { lease::forget(&*self.0.shared.duty_client().await?, of).await },
            ),
        )
    }

    fn openings(&self) -> Arc<Vec<Opening>> {
        self.0.shared.published().board.state.openings().clone()
    }

    fn access_known(&self) -> Answer<'_, BTreeMap<Account, UsersRights>> {
        Box::pin(self.guard(async move {
            let client = self.client().await?;
            readers::access_known(&client).await
        }))
    }

    fn now(&self) -> Timestamp {
        self.0.shared.clock.now()
    }
}

/// How much of a transaction's messages is compressed.
fn text_bytes(transaction: &Transaction) -> usize {
    let brought = transaction.changes.iter().filter_map(|change| change.brings());
    brought
        .map(|(message, _)| message.parsed.text.header.len() + message.parsed.text.body.len())
        .sum()
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the store has stopped".into())
}
