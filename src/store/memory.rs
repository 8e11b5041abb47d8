//! The engine without a disk, for tests and for comparison: everything is lost when it is dropped.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::apply::{self, Base, Known};
use super::audit::{EntryId, Record, Tip};
use super::bell::Bell;
use super::board::Board;
use super::change::{
    Absences, Bytes, Grant, NewMessage, Opening, Receipt, Transaction, UsersRights,
};
use super::nodes::{Asks, Duty, Published};
use super::overlay::Overlay;
use super::queue::Queued;
use super::rows::{Rows, Tombstone};
use super::snapshot::{Entry, Snapshot};
use super::state::{Changed, Held, Loaded, State};
use super::{
    Answer, Facts, FactsWanted, INSTANCES_OF_MAX, Instance, Mailbox, Metadata, SAME_MESSAGE_ID_MAX,
    Status, Store, StoreError, Subscriptions, Turns, Usage,
};
use crate::mail::account::{Account, Folder};
use crate::mail::flag::SeenMode;
use crate::mail::id::{BlobId, Login, MailboxId, ModSeq, QueueId, Timestamp, TraceId, Uid};
use crate::mail::message::{Envelope, Parsed};
use crate::mail::uid_set::UidSet;
use crate::sys::Clock;

/// A store in memory. Messages stay until it is dropped, also those that are expunged.
pub struct Memory {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    #[cfg(test)]
    sooner: Mutex<std::collections::VecDeque<Transaction>>,
}

struct Inner {
    board: Board,
    known: Known,
    blobs: HashMap<BlobId, Stored>,
    traces: HashMap<TraceId, Vec<u8>>,
    tombstones: HashMap<MailboxId, Vec<Tombstone>>,
    audit: Vec<Record>,
    trashed: BTreeMap<(MailboxId, Uid), EntryId>,
    access_known: BTreeMap<Account, UsersRights>,
}

struct Stored {
    bytes: Arc<Vec<u8>>,
    parsed: Arc<Parsed>,
}

impl Memory {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Memory {
        let inner = Inner {
            board: Board::new(State::default()),
            known: Known::default(),
            blobs: HashMap::new(),
            traces: HashMap::new(),
            tombstones: HashMap::new(),
            audit: Vec::new(),
            trashed: BTreeMap::new(),
            access_known: BTreeMap::new(),
        };
        Memory {
            clock,
            inner: Mutex::new(inner),
            #[cfg(test)]
            sooner: Mutex::default(),
        }
    }

    /// What somebody else commits just before each of the next commits, in this order.
    #[cfg(test)]
    pub(crate) fn commit_sooner(&self, transactions: Vec<Transaction>) {
        *self.sooner.lock().expect("not poisoned") = transactions.into();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, transaction: Transaction) -> Result<Receipt, StoreError> {
        let now = self.clock.now();
        let inner = &mut *self.inner();
        let base = Base { state: &inner.board.state, known: &inner.known, now };
        let (receipt, mut changed) = apply::apply(&base, &Changed::default(), transaction)?;
        inner.keep(std::mem::take(&mut changed.rows))?;
        inner.known.blobs.extend(changed.blobs.drain());
        inner.board.publish(changed);
        Ok(receipt)
    }

    fn with_loaded<T>(
        &self,
        id: MailboxId,
        read: impl FnOnce(&Board, &Loaded) -> T,
    ) -> Result<T, StoreError> {
        let inner = self.inner();
        let held: &Held = inner.board.state.held(id).ok_or(StoreError::Gone)?;
        held.loaded().map(|loaded| read(&inner.board, loaded))
    }
}

impl Inner {
    /// Message bytes come first: reading a file can fail, and then nothing is kept.
    fn keep(&mut self, rows: Rows) -> Result<(), StoreError> {
        let blobs = rows.blobs.into_iter().map(|(id, message)| Ok((id, Stored::read(message)?)));
        self.blobs.extend(blobs.collect::<Result<Vec<_>, StoreError>>()?);
        self.traces.extend(rows.traces);
        for tombstone in rows.tombstones {
            self.tombstones.entry(tombstone.mailbox).or_default().push(tombstone);
        }
        self.audit.extend(rows.audit);
        for (place, entry) in rows.trashed {
            match entry {
                Some(entry) => drop(self.trashed.insert(place, entry)),
                None => drop(self.trashed.remove(&place)),
            }
        }
        self.access_known.extend(rows.access_known);
        rows.deleted.iter().for_each(|id| drop(self.tombstones.remove(id)));
        self.known.duplicate_keys.extend(rows.duplicate_keys);
        Ok(())
    }

    /// Looks at everything there is.
    fn instances(&self, is_it: impl Fn(&Envelope) -> bool) -> Vec<Instance> {
        let mut blobs: Vec<BlobId> = self
            .blobs
            .iter()
            .filter(|(_, stored)| is_it(&stored.parsed.envelope))
            .map(|(id, _)| *id)
            .collect();
        blobs.sort_unstable_by(|a, b| b.cmp(a));
        blobs.truncate(SAME_MESSAGE_ID_MAX);
        let loaded = self.board.state.all().filter_map(|held| held.loaded().ok());
        // what a virtual mailbox shows lies elsewhere
        let loaded = loaded.filter(|loaded| loaded.snapshot.mirror.is_none());
        let entries = loaded.flat_map(|loaded| {
            let mailbox = loaded.snapshot.mailbox;
            let of_it = loaded.snapshot.iter().filter(|entry| blobs.contains(&entry.blob));
            of_it.map(move |entry| {
                let Entry { uid, blob, thread, .. } = *entry;
                Instance { mailbox, uid, blob, thread }
            })
        });
        let mut instances: Vec<Instance> = entries.collect();
        instances.sort_unstable_by_key(|i| std::cmp::Reverse((i.blob, i.mailbox, i.uid)));
        instances.truncate(INSTANCES_OF_MAX);
        instances
    }

    fn facts(&self, blob: BlobId, wanted: FactsWanted) -> Facts {
        let Some(stored) = self.blobs.get(&blob) else { return Facts::default() };
        let parsed = &stored.parsed;
        Facts {
            envelope: wanted.envelope.then(|| Box::new(parsed.envelope.clone())),
            structure: wanted.structure.then(|| Box::new(parsed.structure.clone())),
            fields: if wanted.fields { parsed.fields.clone() } else { Vec::new() },
            header_text: wanted.header_text.then(|| parsed.text.header.clone()),
            body_text: wanted.body_text.then(|| parsed.text.body.clone()),
            preview: wanted.preview.then(|| parsed.preview.clone()),
        }
    }
}

impl Stored {
    fn read(message: NewMessage) -> Result<Stored, StoreError> {
        let bytes = match message.bytes {
            Bytes::Memory(bytes) => bytes,
            Bytes::File { path, len } => {
                let mut bytes = Vec::new();
                let file = std::fs::File::open(path);
                let read = file.and_then(|file| file.take(len).read_to_end(&mut bytes));
                read.map_err(|e| StoreError::Unavailable(e.to_string()))?;
                Arc::new(bytes)
            }
        };
        Ok(Stored { bytes, parsed: message.parsed })
    }
}

impl Store for Memory {
    fn commit(&self, transaction: Transaction) -> Answer<'_, Receipt> {
        Box::pin(async move {
            #[cfg(test)]
            if let Some(sooner) = self.sooner.lock().expect("not poisoned").pop_front() {
                self.commit_now(sooner).expect("commits");
            }
            self.commit_now(transaction)
        })
    }

    fn mailboxes(&self, account: &Account) -> Vec<Arc<Mailbox>> {
        self.inner().board.state.mailboxes(account)
    }

    fn usage(&self, account: &Account) -> Usage {
        self.inner().board.state.usage(account)
    }

    fn find(&self, account: &Account, folder: &Folder) -> Option<Arc<Mailbox>> {
        self.inner().board.find(account, folder)
    }

    fn mailbox(&self, id: MailboxId) -> Option<Arc<Mailbox>> {
        self.inner().board.mailbox(id)
    }

    fn status<'a>(&'a self, id: MailboxId, user: &'a Login, seen: SeenMode) -> Answer<'a, Status> {
        Box::pin(
            async move { self.with_loaded(id, |board, loaded| board.status(loaded, user, seen))? },
        )
    }

    fn snapshot(&self, id: MailboxId) -> Answer<'_, Arc<Snapshot>> {
        Box::pin(async move { self.with_loaded(id, |_, loaded| loaded.snapshot.clone()) })
    }

    fn overlay<'a>(&'a self, id: MailboxId, user: &'a Login) -> Answer<'a, Arc<Overlay>> {
        Box::pin(async move { self.with_loaded(id, |_, loaded| loaded.overlay(user)) })
    }

    fn claim_recent(&self, id: MailboxId, user: &Login) -> Uid {
        self.inner().board.claim_recent(id, user)
    }

    fn expunged_since(&self, id: MailboxId, since: ModSeq) -> Answer<'_, UidSet> {
        Box::pin(async move {
            let inner = self.inner();
            inner.board.state.held(id).ok_or(StoreError::Gone)?;
            let mut uids = UidSet::new();
            let all = inner.tombstones.get(&id).into_iter().flatten();
            all.filter(|t| t.modseq > since).for_each(|t| uids.insert_range(t.first, t.last));
            Ok(uids)
        })
    }

    fn facts<'a>(&'a self, blobs: &'a [BlobId], wanted: FactsWanted) -> Answer<'a, Vec<Facts>> {
        Box::pin(async move {
            let inner = self.inner();
            Ok(blobs.iter().map(|blob| inner.facts(*blob, wanted)).collect())
        })
    }

    fn trace(&self, id: TraceId) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            if id == TraceId::NONE {
                return Ok(Vec::new());
            }
            self.inner().traces.get(&id).cloned().ok_or(StoreError::Gone)
        })
    }

    fn body(&self, blob: BlobId, range: Range<u64>) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            let inner = self.inner();
            let bytes = &inner.blobs.get(&blob).ok_or(StoreError::Gone)?.bytes;
            let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(bytes.len());
            let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
            Ok(bytes[start..end].to_vec())
        })
    }

    fn messages<'a>(&'a self, wanted: &'a [(BlobId, TraceId)]) -> Answer<'a, Vec<Option<Vec<u8>>>> {
        Box::pin(async move {
            let mut messages = Vec::with_capacity(wanted.len());
            for (blob, trace) in wanted {
                let read = async {
                    let mut bytes = self.trace(*trace).await?;
                    bytes.append(&mut self.body(*blob, 0..u64::MAX).await?);
                    Ok::<_, StoreError>(bytes)
                };
                messages.push(read.await.ok());
            }
            Ok(messages)
        })
    }

    fn instances_of(&self, message_id: &str) -> Answer<'_, Vec<Instance>> {
        let is_it = |envelope: &Envelope| envelope.bare_message_id().as_deref() == Some(message_id);
        Box::pin(std::future::ready(Ok(self.inner().instances(is_it))))
    }

    fn referring_to(&self, message_id: &str) -> Answer<'_, Vec<Instance>> {
        let follows =
            |envelope: &Envelope| envelope.referred_ids().iter().any(|id| id == message_id);
        Box::pin(std::future::ready(Ok(self.inner().instances(follows))))
    }

    fn subscriptions(&self, user: &Login) -> Arc<Subscriptions> {
        self.inner().board.subscriptions(user)
    }

    fn turns(&self, account: &Account) -> Arc<Turns> {
        self.inner().board.state.turns(account)
    }

    fn metadata(&self, user: Option<&Login>) -> Arc<Metadata> {
        self.inner().board.metadata(user)
    }

    fn grants(&self) -> Arc<Vec<Grant>> {
        self.inner().board.state.grants().clone()
    }

    fn watch(&self, id: MailboxId) -> watch::Receiver<ModSeq> {
        self.inner().board.watch(id)
    }

    fn watch_mailboxes(&self) -> watch::Receiver<u64> {
        self.inner().board.watch_tree()
    }

    fn attach(&self, bell: &Arc<Bell>, mailboxes: &[MailboxId]) {
        self.inner().board.attach(bell, mailboxes);
    }

    fn queued(&self, id: QueueId) -> Option<Arc<Queued>> {
        self.inner().board.queued(id)
    }

    fn queued_from(&self, first: QueueId, max: usize) -> Vec<Arc<Queued>> {
        self.inner().board.queued_from(first, max)
    }

    fn watch_queue(&self) -> watch::Receiver<QueueId> {
        self.inner().board.watch_queue()
    }

    fn audited(&self, first: EntryId, since: Timestamp, max: usize) -> Answer<'_, Vec<Record>> {
        let inner = self.inner();
        let from = inner.audit.partition_point(|record| record.id < first);
        let wanted = inner.audit[from..].iter().filter(|record| record.at >= since);
        Box::pin(std::future::ready(Ok(wanted.take(max).cloned().collect())))
    }

    fn audit_tip(&self) -> Tip {
        self.inner().board.state.audit()
    }

    fn trashed(&self, trash: MailboxId) -> Answer<'_, BTreeMap<Uid, EntryId>> {
        let inner = self.inner();
        let all = inner.trashed.range((trash, Uid(0))..=(trash, Uid(u32::MAX)));
        Box::pin(std::future::ready(Ok(all.map(|((_, uid), entry)| (*uid, *entry)).collect())))
    }

    fn absences(&self) -> Arc<Absences> {
        self.inner().board.state.absences().clone()
    }

    fn openings(&self) -> Arc<Vec<Opening>> {
        self.inner().board.state.openings().clone()
    }

    fn access_known(&self) -> Answer<'_, BTreeMap<Account, UsersRights>> {
        Box::pin(std::future::ready(Ok(self.inner().access_known.clone())))
    }

    fn directory(&self) -> Option<Arc<Published>> {
        self.inner().board.state.directory().cloned()
    }

    fn tenure(&self, duty: Duty) -> Option<i64> {
        self.inner().board.state.tenures().get(&duty).copied()
    }

    fn watch_asks(&self) -> watch::Receiver<Asks> {
        self.inner().board.watch_asks()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
