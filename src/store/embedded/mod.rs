//! The default engine: SQLite for everything but message bytes, which go to append-only packs.
//!
//! One thread writes (`Writer::run`, which the caller puts on a thread of its own); `open` starts a
//! few reader threads that end with the last handle. Order in a group of commits: bytes to the
//! pack, sync; rows with the pack's new end, COMMIT (which syncs); show; answer. So what is
//! acknowledged is durable, and what is in a pack beyond its recorded end never was. Knows no
//! protocol.

mod audit;
mod columns;
pub(super) mod indexed;
mod load;
mod lookup;
pub mod migrate;
mod pack;
mod persist;
mod readers;
pub(super) mod sweep;
#[cfg(test)]
mod tests;
mod upgrade;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Mutex, Semaphore, oneshot, watch};

use self::indexed::Tables;
use self::pack::{PackReader, PackWriter};
use self::readers::{Reader, Readers};
use self::writer::{Commit, Job};
use super::audit::{EntryId, Record, Tip};
use super::bell::Bell;
use super::board::Board;
use super::change::{Absences, Grant, Opening, Receipt, Transaction, UsersRights};
use super::encode;
use super::nodes::{Asks, Duty, Published};
use super::overlay::Overlay;
use super::queue::Queued;
use super::snapshot::Snapshot;
use super::sql::layout;
use super::state::{Contents, Loaded};
use super::text::{Needle, TextIndexing, Verdict};
use super::text_index::{Indexer, TextIndex, Work};
use super::{
    Answer, Facts, FactsWanted, Instance, Linked, Mailbox, Metadata, Status, Store, StoreError,
    Subscriptions, Turns, Usage,
};
use crate::mail::account::{Account, Folder};
use crate::mail::flag::SeenMode;
use crate::mail::id::{BlobId, Login, MailboxId, ModSeq, QueueId, Timestamp, TraceId, Uid};
use crate::mail::uid_set::UidSet;
use crate::sys::Clock;

pub use self::writer::Writer;

/// Most transactions that wait for the writer; who comes later waits before handing in.
const COMMITS_WAITING_MAX: usize = 1024;
/// Mailboxes are loaded by one reader each at a time; this many locks see to it.
const LOADING_LOCKS: usize = 64;
/// How often a reader tries to load a mailbox that changes meanwhile, before the writer does it.
const LOAD_ATTEMPTS: usize = 3;
/// Message-IDs that one thread looks up before others have their turn.
const LINKED_AT_ONCE: usize = 32;
/// Compiled statements that a connection keeps: more than there are.
const STATEMENTS_MAX: usize = 128;
/// SQLite moves its log into the database after this many pages.
const CHECKPOINT_PAGES: i64 = 4000;

/// How much the engine may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Threads that read.
    pub readers: usize,
    /// Messages in mailboxes held in memory that nobody has open; 100 bytes each.
    pub cached_messages_max: usize,
    /// Whether a search may ask an index before it reads.
    pub text_index: TextIndexing,
}

impl Default for Options {
    fn default() -> Options {
        Options { readers: 3, cached_messages_max: 1_000_000, text_index: TextIndexing::On }
    }
}

/// An open store. Cheap to clone; the last one that is dropped ends the writer.
#[derive(Clone)]
pub struct Embedded(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    permits: Arc<Semaphore>,
    readers: Readers,
    loading: [Mutex<()>; LOADING_LOCKS],
}

/// What the writer and the handles share.
struct Shared {
    board: RwLock<Board>,
    clock: Arc<dyn Clock>,
    packs: Arc<PackReader>,
    /// Counts what is asked for, so that the mailbox unused for longest is known.
    uses: AtomicU64,
    options: Options,
    text_index: Option<Arc<TextIndex>>,
    /// Held as long as the store is open.
    _lock: File,
}

/// Opens the store in `data_dir`, making it if there is none. Run the writer on a thread.
pub fn open(
    data_dir: &Path,
    options: Options,
    clock: Arc<dyn Clock>,
) -> Result<(Embedded, Writer), StoreError> {
    let pack_dir = data_dir.join("packs");
    std::fs::create_dir_all(&pack_dir).map_err(disk)?;
    let lock = lock(data_dir)?;
    let database = data_dir.join("store.db");
    let connection = open_database(&database)?;
    migrate::refuse_unfinished(&connection)?;
    File::open(data_dir).and_then(|directory| directory.sync_all()).map_err(disk)?;
    let pack = open_packs(&connection, &pack_dir)?;
    let state = load::state(&connection)?;
    let packs = Arc::new(PackReader::new(&pack_dir));
    let reader = || Reader::new(open_read_only(&database)?, packs.clone());
    let readers = (0..options.readers.max(1)).map(|_| reader()).collect::<Result<_, _>>()?;
    let last_message = state.counters().blob;
    let text_index = match options.text_index {
        TextIndexing::On => Some(Arc::new(TextIndex::new(data_dir, last_message))),
        TextIndexing::Off => None,
    };
    let indexer = match &text_index {
        Some(index) => {
            let tables = Box::new(Tables(open_read_only(&database)?));
            Some(Indexer::start(Work::new(index.clone(), tables, clock.clone())?)?)
        }
        None => {
            TextIndex::remove(data_dir).map_err(disk)?;
            None
        }
    };
    let shared = Arc::new(Shared {
        board: RwLock::new(Board::new(state)),
        clock,
        packs: packs.clone(),
        uses: AtomicU64::new(0),
        options,
        text_index,
        _lock: lock,
    });
    let (jobs, waiting) = mpsc::channel();
    let handle = Handle {
        shared: shared.clone(),
        jobs,
        permits: Arc::new(Semaphore::new(COMMITS_WAITING_MAX)),
        readers: Readers::start(readers)?,
        loading: std::array::from_fn(|_| Mutex::new(())),
    };
    let last_sweep = Instant::now();
    let writer = Writer { jobs: waiting, connection, pack, indexer, shared, last_sweep };
    Ok((Embedded(Arc::new(handle)), writer))
}

/// Refuses a store that an older Postfach has written, where it is only to be read: `open` would
/// bring it to the present layout.
pub fn check_layout(data_dir: &Path) -> Result<(), StoreError> {
    let connection = open_read_only(&data_dir.join("store.db"))?;
    match upgrade::version(&connection)? {
        layout::VERSION => Ok(()),
        version => Err(StoreError::Unavailable(format!(
            "the store has layout {version}, and this version reads {}; the daemon brings an older \
             one up to date when it starts",
            layout::VERSION
        ))),
    }
}

impl Embedded {
    /// Ends the writer after what was handed in before; later commits are refused.
    pub fn stop(&self) {
        // A writer that has ended already needs no telling.
        let _ = self.0.jobs.send(Job::Stop);
    }

    async fn commit_grouped(&self, transaction: Transaction) -> Result<Receipt, StoreError> {
        let (encoded, bytes) = encode::messages(&transaction)?;
        let permit = self.0.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        let (answer, receipt) = oneshot::channel();
        let commit = Commit { transaction, encoded, bytes, answer, permit };
        self.0.jobs.send(Job::Commit(Box::new(commit))).map_err(|_| stopped())?;
        receipt.await.map_err(|_| stopped())?
    }

    /// Reads messages' bytes; the writer hears of those that are lost.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Reader) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let both = move |reader: &mut Reader| Ok((read(reader), reader.found_lost()));
        let (read, lost) = self.0.readers.ask(both).await?;
        if !lost.is_empty() {
            // a store that has stopped finds it again
            self.0.jobs.send(Job::Lost(lost)).ok();
        }
        Ok(read)
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
        let _one_at_a_time = lock.lock().await;
        if let Some(found) = self.if_loaded(id, &read)? {
            return Ok(found);
        }
        let loaded = self.load(id).await?;
        Ok(read(&self.0.shared.board(), &loaded))
    }

    fn if_loaded<T>(
        &self,
        id: MailboxId,
        read: impl Fn(&Board, &Loaded) -> T,
    ) -> Result<Option<T>, StoreError> {
        let shared = &self.0.shared;
        let board = shared.board();
        let held = board.state.held(id).ok_or(StoreError::Gone)?;
        held.last_used.store(shared.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        match &held.contents {
            Contents::Loaded(loaded) => Ok(Some(read(&board, loaded))),
            Contents::Absent { .. } => Ok(None),
        }
    }

    /// A mailbox that changes while it is read is read again; one that changes all the time is read
    /// by the writer, between two groups.
    async fn load(&self, id: MailboxId) -> Result<Loaded, StoreError> {
        for _ in 0..LOAD_ATTEMPTS {
            let contents = move |reader: &mut Reader| load::contents(&mut reader.connection, id);
            let loaded = self.0.readers.ask(contents).await?.ok_or(StoreError::Gone)?;
            let mut board = self.0.shared.board_mut();
            if let Some(loaded) = board.state.load_contents(id, loaded) {
                self.0.jobs.send(Job::Evict).ok();
                return Ok(loaded.clone());
            }
        }
        let (answer, loaded) = oneshot::channel();
        self.0.jobs.send(Job::Load(id, answer)).map_err(|_| stopped())?;
        loaded.await.map_err(|_| stopped())?
    }
}

impl Shared {
    fn board(&self) -> RwLockReadGuard<'_, Board> {
        self.board.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn board_mut(&self) -> RwLockWriteGuard<'_, Board> {
        self.board.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's to call, between groups: what a group needs must stay.
    fn evict(&self) {
        self.board_mut().state.forget_unused(self.options.cached_messages_max);
    }
}

impl Store for Embedded {
    fn commit(&self, transaction: Transaction) -> Answer<'_, Receipt> {
        Box::pin(self.commit_grouped(transaction))
    }

    fn mailboxes(&self, account: &Account) -> Vec<Arc<Mailbox>> {
        self.0.shared.board().state.mailboxes(account)
    }

    fn usage(&self, account: &Account) -> Usage {
        self.0.shared.board().state.usage(account)
    }

    fn find(&self, account: &Account, folder: &Folder) -> Option<Arc<Mailbox>> {
        self.0.shared.board().find(account, folder)
    }

    fn mailbox(&self, id: MailboxId) -> Option<Arc<Mailbox>> {
        self.0.shared.board().mailbox(id)
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
        self.0.shared.board_mut().claim_recent(id, user)
    }

    fn expunged_since(&self, id: MailboxId, since: ModSeq) -> Answer<'_, UidSet> {
        Box::pin(async move {
            self.mailbox(id).ok_or(StoreError::Gone)?;
            self.0.readers.ask(move |reader| reader.tombstones(id, since)).await
        })
    }

    fn facts<'a>(&'a self, blobs: &'a [BlobId], wanted: FactsWanted) -> Answer<'a, Vec<Facts>> {
        Box::pin(self.0.readers.facts(blobs, wanted))
    }

    fn text_verdicts<'a>(
        &'a self,
        blobs: &'a [BlobId],
        needles: &'a [Needle],
    ) -> Answer<'a, Vec<Vec<Verdict>>> {
        let Some(index) = self.0.shared.text_index.clone() else {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        };
        Box::pin(self.0.readers.text_verdicts(index, blobs, needles))
    }

    fn trace(&self, id: TraceId) -> Answer<'_, Vec<u8>> {
        if id == TraceId::NONE {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        Box::pin(self.0.readers.ask(move |reader| reader.trace(id)))
    }

    fn body(&self, blob: BlobId, range: Range<u64>) -> Answer<'_, Vec<u8>> {
        Box::pin(async move { self.reading(move |reader| reader.body(blob, range)).await? })
    }

    fn messages<'a>(&'a self, wanted: &'a [(BlobId, TraceId)]) -> Answer<'a, Vec<Option<Vec<u8>>>> {
        let wanted = wanted.to_vec();
        let read = move |reader: &mut Reader| {
            wanted.iter().map(|(blob, trace)| reader.message(*blob, *trace).ok()).collect()
        };
        Box::pin(self.reading(read))
    }

    fn instances_of(&self, message_id: &str) -> Answer<'_, Vec<Instance>> {
        let message_id = message_id.to_owned();
        Box::pin(self.0.readers.ask(move |reader| reader.instances_of(&message_id)))
    }

    fn referring_to(&self, message_id: &str) -> Answer<'_, Vec<Instance>> {
        let message_id = message_id.to_owned();
        Box::pin(self.0.readers.ask(move |reader| reader.referring_to(&message_id)))
    }

    fn linked_to<'a>(&'a self, message_ids: &'a [String]) -> Answer<'a, Vec<Linked>> {
        Box::pin(async move {
            let mut all = Vec::with_capacity(message_ids.len());
            for some in message_ids.chunks(LINKED_AT_ONCE) {
                let some = some.to_vec();
                let linked = self.0.readers.ask(move |reader| reader.linked_to(&some));
                all.append(&mut linked.await?);
            }
            Ok(all)
        })
    }

    fn subscriptions(&self, user: &Login) -> Arc<Subscriptions> {
        self.0.shared.board().subscriptions(user)
    }

    fn turns(&self, account: &Account) -> Arc<Turns> {
        self.0.shared.board().state.turns(account)
    }

    fn metadata(&self, user: Option<&Login>) -> Arc<Metadata> {
        self.0.shared.board().metadata(user)
    }

    fn grants(&self) -> Arc<Vec<Grant>> {
        self.0.shared.board().state.grants().clone()
    }

    fn watch(&self, id: MailboxId) -> watch::Receiver<ModSeq> {
        self.0.shared.board_mut().watch(id)
    }

    fn watch_mailboxes(&self) -> watch::Receiver<u64> {
        self.0.shared.board().watch_tree()
    }

    fn attach(&self, bell: &Arc<Bell>, mailboxes: &[MailboxId]) {
        self.0.shared.board_mut().attach(bell, mailboxes);
    }

    fn queued(&self, id: QueueId) -> Option<Arc<Queued>> {
        self.0.shared.board().queued(id)
    }

    fn queued_from(&self, first: QueueId, max: usize) -> Vec<Arc<Queued>> {
        self.0.shared.board().queued_from(first, max)
    }

    fn watch_queue(&self) -> watch::Receiver<QueueId> {
        self.0.shared.board().watch_queue()
    }

    fn audited(&self, first: EntryId, since: Timestamp, max: usize) -> Answer<'_, Vec<Record>> {
        Box::pin(self.0.readers.ask(move |reader| reader.audited((first, since), max)))
    }

    fn audit_tip(&self) -> Tip {
        self.0.shared.board().state.audit()
    }

    fn trashed(&self, trash: MailboxId) -> Answer<'_, BTreeMap<Uid, EntryId>> {
        Box::pin(self.0.readers.ask(move |reader| reader.trashed(trash)))
    }

    fn absences(&self) -> Arc<Absences> {
        self.0.shared.board().state.absences().clone()
    }

    fn directory(&self) -> Option<Arc<Published>> {
        self.0.shared.board().state.directory().cloned()
    }

    fn tenure(&self, duty: Duty) -> Option<i64> {
        self.0.shared.board().state.tenures().get(&duty).copied()
    }

    fn watch_asks(&self) -> watch::Receiver<Asks> {
        self.0.shared.board().watch_asks()
    }

    fn openings(&self) -> Arc<Vec<Opening>> {
        self.0.shared.board().state.openings().clone()
    }

    fn access_known(&self) -> Answer<'_, BTreeMap<Account, UsersRights>> {
        Box::pin(self.0.readers.ask(|reader| reader.access_known()))
    }

    fn now(&self) -> Timestamp {
        self.0.shared.clock.now()
    }
}

/// Two daemons on one store would destroy it.
fn lock(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join("store.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(disk)?;
    let locked = file.try_lock();
    locked.map_err(|e| StoreError::Unavailable(format!("{}: {e}", path.display())))?;
    Ok(file)
}

fn open_database(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path).map_err(|e| failure(&e))?;
    prepare_database(&connection).map_err(|e| failure(&e))?;
    upgrade::upgrade(&mut connection, path)?;
    Ok(connection)
}

fn prepare_database(connection: &Connection) -> rusqlite::Result<()> {
    prepare_connection(connection)?;
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
}

/// Statements are compiled once. Without the stability guarantee SQLite compiles one with a bound
/// LIMIT anew at each use: half the time of finding what a new message is linked to.
fn prepare_connection(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

/// Deliberately without `mmap_size`: a fault reads far more than the page around it (100,000 rows
/// from a cold file in 235 ms, against 43 ms), a scan is no faster, and a bad sector would be a
/// signal that ends the daemon rather than an error.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| failure(&e))?;
    prepare_connection(&connection).map_err(|e| failure(&e))?;
    Ok(connection)
}

fn open_packs(connection: &Connection, directory: &Path) -> Result<PackWriter, StoreError> {
    let packs = load::packs(connection).map_err(|e| failure(&e))?;
    let numbers: Vec<i64> = packs.iter().map(|pack| pack.number).collect();
    pack::remove_unknown(directory, &numbers).map_err(disk)?;
    let last = packs.last().map_or((1, 0), |pack| (pack.number, pack.committed_end));
    PackWriter::open(directory, last.0, last.1).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => StoreError::Corrupt(error.to_string()),
        _ => disk(error),
    })
}

fn disk(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("data directory: {error}"))
}

fn failure(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Corrupt(error.to_string())
        }
        // beside its file it needs some room of its own, and does not say that this is it
        Some(rusqlite::ErrorCode::SystemIoFailure) => {
            StoreError::Unavailable(format!("database: {error} (is the disk full?)"))
        }
        _ => StoreError::Unavailable(format!("database: {error}")),
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the store has stopped".into())
}
