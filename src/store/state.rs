//! The store's state in memory: what `apply` decides on and what readers are given. An engine loads
//! it and keeps it in step with its tables. Knows no table and no file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::audit::Tip;
use super::change::{Absences, Grant, Opening};
use super::nodes::{Asks, Published, Tenures};
use super::overlay::Overlay;
use super::queue::Queued;
use super::rows::Rows;
use super::snapshot::{Entry, Snapshot};
use super::{Mailbox, Metadata, StoreError, Subscriptions, Turns, Usage};
use crate::mail::account::{Account, Folder};
use crate::mail::id::{BlobId, Login, MailboxId, ModSeq, QueueId, Uid};

pub use super::counters::Counters;

/// What a mailbox in memory counts for beside its messages.
pub(super) const MAILBOX_COST: usize = 16;

/// Everything that is committed, apart from the contents of mailboxes that nobody uses.
#[derive(Clone, Debug, Default)]
pub struct State {
    mailboxes: HashMap<MailboxId, Held>,
    names: HashMap<Account, BTreeMap<Folder, MailboxId>>,
    subscriptions: HashMap<Login, Arc<Subscriptions>>,
    metadata: HashMap<Option<Login>, Arc<Metadata>>,
    grants: Arc<Vec<Grant>>,
    queue: BTreeMap<QueueId, Arc<Queued>>,
    turns: HashMap<Account, Arc<Turns>>,
    counters: Counters,
    audit: Tip,
    absences: Arc<Absences>,
    openings: Arc<Vec<Opening>>,
    directory: Option<Arc<Published>>,
    tenures: Tenures,
    asks: Asks,
}

/// One mailbox.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its name and epoch.
    pub mailbox: Arc<Mailbox>,
    /// The UID that the next message gets.
    pub uid_next: Uid,
    /// The last change.
    pub highest_modseq: ModSeq,
    /// Names of the keywords by number.
    pub keywords: Arc<Vec<Arc<str>>>,
    /// UIDs below this were there when the store was opened: not recent for anybody.
    pub recent_from: Uid,
    /// How much is in it, whether its messages are in memory or not.
    pub usage: Usage,
    /// When it was last asked for, by the engine's count.
    pub last_used: Arc<AtomicU64>,
    /// Its messages.
    pub contents: Contents,
}

/// A mailbox's messages, if they are in memory.
#[derive(Clone, Debug)]
pub enum Contents {
    /// They are.
    Loaded(Loaded),
    /// They are not; `pushed` are those that were delivered since the last commit.
    Absent {
        /// Ascending.
        pushed: Vec<Entry>,
    },
}

/// A mailbox's messages, and what each user alone has there.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What everybody sees.
    pub snapshot: Arc<Snapshot>,
    /// By user; who never changed anything is missing.
    pub overlays: Arc<BTreeMap<Login, Arc<Overlay>>>,
}

/// What one transaction, or several in a row, changed: a layer above `State`.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Mailboxes as they are now; `None` is deleted.
    pub mailboxes: HashMap<MailboxId, Option<Held>>,
    /// Names as they are now; `None` is free.
    pub names: HashMap<(Account, Folder), Option<MailboxId>>,
    /// How many mailboxes an account has now.
    pub counts: HashMap<Account, usize>,
    /// Users' choices as they are now.
    pub subscriptions: HashMap<Login, Arc<Subscriptions>>,
    /// Notes as they are now, by owner.
    pub metadata: HashMap<Option<Login>, Arc<Metadata>>,
    /// All grants, if one changed.
    pub grants: Option<Arc<Vec<Grant>>>,
    /// The turns of an account as they are now.
    pub turns: HashMap<Account, Arc<Turns>>,
    /// Queued messages as they are now; `None` has left the queue.
    pub queue: BTreeMap<QueueId, Option<Arc<Queued>>>,
    /// How many messages are queued now, if that changed.
    pub queue_length: Option<usize>,
    /// The counters, if one changed.
    pub counters: Option<Counters>,
    /// Where the audit log ends, if something was added.
    pub audit: Option<Tip>,
    /// Who is away, if that changed.
    pub absences: Option<Arc<Absences>>,
    /// Which mailboxes are open, if that changed.
    pub openings: Option<Arc<Vec<Opening>>>,
    /// The directory that is in force, if another was published.
    pub directory: Option<Arc<Published>>,
    /// Tenures that have begun.
    pub tenures: Tenures,
    /// What is asked of the queue, if that changed; in no table.
    pub asks: Option<Asks>,
    /// New messages by hash.
    pub blobs: HashMap<[u8; 32], BlobId>,
    /// What is to be written.
    pub rows: Rows,
}

impl Changed {
    /// Lays what a later transaction changed over this.
    pub fn absorb(&mut self, later: Changed) {
        self.mailboxes.extend(later.mailboxes);
        self.names.extend(later.names);
        self.counts.extend(later.counts);
        self.subscriptions.extend(later.subscriptions);
        self.metadata.extend(later.metadata);
        self.grants = later.grants.or(self.grants.take());
        self.turns.extend(later.turns);
        self.queue.extend(later.queue);
        self.queue_length = later.queue_length.or(self.queue_length);
        self.counters = later.counters.or(self.counters);
        self.audit = later.audit.or(self.audit);
        self.absences = later.absences.or(self.absences.take());
        self.openings = later.openings.or(self.openings.take());
        self.directory = later.directory.or(self.directory.take());
        self.tenures.extend(later.tenures);
        self.asks = later.asks.or(self.asks.take());
        self.blobs.extend(later.blobs);
        self.rows.absorb(later.rows);
    }

    /// Whether there is nothing to write and nothing to publish.
    pub fn is_empty(&self) -> bool {
        self.mailboxes.is_empty()
            && self.names.is_empty()
            && self.subscriptions.is_empty()
            && self.metadata.is_empty()
            && self.grants.is_none()
            && self.queue.is_empty()
            && self.turns.is_empty()
            && self.counters.is_none()
            && self.audit.is_none()
            && self.rows.access_known.is_empty()
            && (self.rows.duplicate_keys.len(), self.rows.previews.len()) == (0, 0)
            && self.directory.is_none()
            && self.tenures.is_empty()
            && self.asks.is_none()
    }

    /// Whether a mailbox came, went or was renamed, or what is said about mailboxes changed, or who
    /// may see them.
    pub fn changes_tree(&self) -> bool {
        !self.names.is_empty()
            || self.grants.is_some()
            || self.openings.is_some()
            || self.directory.is_some()
            || !self.subscriptions.is_empty()
            || !self.metadata.is_empty()
    }
}

impl State {
    /// One mailbox.
    pub fn held(&self, id: MailboxId) -> Option<&Held> {
        self.mailboxes.get(&id)
    }

    /// All mailboxes.
    pub fn all(&self) -> impl Iterator<Item = &Held> {
        self.mailboxes.values()
    }

    /// The mailbox of that name.
    pub fn find(&self, account: &Account, folder: &Folder) -> Option<MailboxId> {
        self.names.get(account)?.get(folder).copied()
    }

    /// An account's mailboxes by path.
    pub fn mailboxes(&self, account: &Account) -> Vec<Arc<Mailbox>> {
        let ids = self.names.get(account).into_iter().flat_map(|folders| folders.values());
        ids.filter_map(|id| self.mailboxes.get(id)).map(|held| held.mailbox.clone()).collect()
    }

    /// How much is in all of an account's mailboxes.
    pub fn usage(&self, account: &Account) -> Usage {
        let ids = self.names.get(account).into_iter().flat_map(|folders| folders.values());
        let held = ids.filter_map(|id| self.mailboxes.get(id));
        // what a virtual mailbox shows is kept elsewhere
        let held = held.filter(|held| held.mailbox.virtual_role().is_none());
        let each = held.map(|held| held.usage);
        each.fold(Usage::default(), |all, one| Usage {
            messages: all.messages + one.messages,
            bytes: all.bytes + one.bytes,
        })
    }

    /// How many mailboxes an account has.
    pub fn count(&self, account: &Account) -> usize {
        self.names.get(account).map_or(0, BTreeMap::len)
    }

    /// A user's choices.
    pub fn subscriptions(&self, user: &Login) -> Option<&Arc<Subscriptions>> {
        self.subscriptions.get(user)
    }

    /// What somebody has noted.
    pub fn metadata(&self, user: Option<&Login>) -> Option<&Arc<Metadata>> {
        self.metadata.get(&user.cloned())
    }

    /// Who has noted anything.
    pub fn noted_by(&self) -> impl Iterator<Item = &Option<Login>> {
        self.metadata.keys()
    }

    /// All grants.
    pub fn grants(&self) -> &Arc<Vec<Grant>> {
        &self.grants
    }

    /// The turns of an account; none where nobody had one.
    pub fn turns(&self, account: &Account) -> Arc<Turns> {
        self.turns.get(account).cloned().unwrap_or_default()
    }

    /// Puts an account's turns in place that an engine has read.
    pub fn load_turns(&mut self, turns: HashMap<Account, Arc<Turns>>) {
        self.turns = turns;
    }

    /// All queued messages.
    pub fn queue(&self) -> &BTreeMap<QueueId, Arc<Queued>> {
        &self.queue
    }

    /// The last numbers given.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Where the audit log ends.
    pub fn audit(&self) -> Tip {
        self.audit
    }

    /// Who is away.
    pub fn absences(&self) -> &Arc<Absences> {
        &self.absences
    }

    /// Which mailboxes are open.
    pub fn openings(&self) -> &Arc<Vec<Opening>> {
        &self.openings
    }

    /// The directory that was published last.
    pub fn directory(&self) -> Option<&Arc<Published>> {
        self.directory.as_ref()
    }

    /// The last tenure of each duty.
    pub fn tenures(&self) -> &Tenures {
        &self.tenures
    }

    /// What is asked of the queue.
    pub fn asks(&self) -> &Asks {
        &self.asks
    }

    /// Puts in place what an engine has read of nodes.
    pub fn load_nodes(&mut self, directory: Option<Published>, tenures: Tenures) {
        self.directory = directory.map(Arc::new);
        self.tenures = tenures;
    }

    /// Puts in place what an engine has read of people.
    pub fn load_people(&mut self, absences: Absences, openings: Vec<Opening>) {
        self.absences = Arc::new(absences);
        self.openings = Arc::new(openings);
    }

    /// Puts the end of the audit log in place that an engine has read.
    pub fn load_audit(&mut self, tip: Tip) {
        self.audit = tip;
    }

    /// Puts what an engine has read in place, when it opens.
    pub fn load(&mut self, counters: Counters, grants: Vec<Grant>) {
        self.counters = counters;
        self.grants = Arc::new(grants);
    }

    /// Puts a mailbox in place that an engine has read.
    pub fn load_mailbox(&mut self, held: Held) {
        let mailbox = held.mailbox.clone();
        let folders = self.names.entry(mailbox.account.clone()).or_default();
        folders.insert(mailbox.folder.clone(), mailbox.id);
        self.mailboxes.insert(mailbox.id, held);
    }

    /// Puts a user's choices in place that an engine has read.
    pub fn load_subscriptions(&mut self, user: Login, subscriptions: Subscriptions) {
        self.subscriptions.insert(user, Arc::new(subscriptions));
    }

    /// Puts somebody's notes in place that an engine has read.
    pub fn load_metadata(&mut self, user: Option<Login>, metadata: Metadata) {
        self.metadata.insert(user, Arc::new(metadata));
    }

    /// Puts a queued message in place that an engine has read.
    pub fn load_queued(&mut self, queued: Queued) {
        self.queue.insert(queued.id, Arc::new(queued));
    }

    /// Puts a mailbox's messages in place, if they are of its present state; gives what is in place
    /// then.
    pub fn load_contents(&mut self, id: MailboxId, mut loaded: Loaded) -> Option<&Loaded> {
        let held = self.mailboxes.get_mut(&id)?;
        let snapshot = Arc::make_mut(&mut loaded.snapshot);
        if snapshot.highest_modseq != held.highest_modseq || snapshot.uid_next != held.uid_next {
            return None;
        }
        if matches!(held.contents, Contents::Absent { .. }) {
            snapshot.keywords = held.keywords.clone();
            held.contents = Contents::Loaded(loaded);
        }
        held.loaded().ok()
    }

    /// Forgets the messages of mailboxes unused for longest, as long as more than so many are in
    /// memory and nobody else holds them.
    pub fn forget_unused(&mut self, messages_max: usize) {
        let mut total = 0;
        let mut unused = Vec::new();
        for held in self.all() {
            let Contents::Loaded(loaded) = &held.contents else { continue };
            let cost = loaded.snapshot.len() + MAILBOX_COST;
            total += cost;
            if Arc::strong_count(&loaded.snapshot) == 1 {
                unused.push((held.last_used.load(Ordering::Relaxed), held.mailbox.id, cost));
            }
        }
        unused.sort_unstable();
        for (_, id, cost) in unused {
            if total <= messages_max {
                return;
            }
            self.unload(id);
            total -= cost;
        }
    }

    /// Forgets a mailbox's messages.
    pub fn unload(&mut self, id: MailboxId) {
        if let Some(held) = self.mailboxes.get_mut(&id) {
            held.contents = Contents::Absent { pushed: Vec::new() };
        }
    }

    /// Takes over from the state before it what no table has: from where on messages are recent,
    /// and what was asked for last.
    pub fn succeed(&mut self, before: &State) {
        for (id, held) in &mut self.mailboxes {
            match before.mailboxes.get(id) {
                Some(before) => {
                    held.recent_from = before.recent_from;
                    held.last_used = before.last_used.clone();
                }
                None => held.recent_from = Uid(1),
            }
        }
        self.asks = before.asks.clone();
    }

    /// Takes over what is committed.
    pub fn publish(&mut self, changed: Changed) {
        for ((account, folder), id) in changed.names {
            let folders = self.names.entry(account.clone()).or_default();
            match id {
                Some(id) => drop(folders.insert(folder, id)),
                None => drop(folders.remove(&folder)),
            }
            if folders.is_empty() {
                self.names.remove(&account);
            }
        }
        for (id, held) in changed.mailboxes {
            match held {
                Some(held) => self.publish_mailbox(id, held),
                None => drop(self.mailboxes.remove(&id)),
            }
        }
        self.subscriptions.extend(changed.subscriptions);
        self.metadata.extend(changed.metadata);
        if let Some(grants) = changed.grants {
            self.grants = grants;
        }
        self.turns.extend(changed.turns);
        for (id, queued) in changed.queue {
            match queued {
                Some(queued) => drop(self.queue.insert(id, queued)),
                None => drop(self.queue.remove(&id)),
            }
        }
        self.counters = changed.counters.unwrap_or(self.counters);
        self.audit = changed.audit.unwrap_or(self.audit);
        if let Some(absences) = changed.absences {
            self.absences = absences;
        }
        if let Some(openings) = changed.openings {
            self.openings = openings;
        }
        self.directory = changed.directory.or(self.directory.take());
        self.tenures.extend(changed.tenures);
        self.asks = changed.asks.unwrap_or_else(|| self.asks.clone());
    }

    /// The messages may have been loaded while the commit was under way: then what it delivered is
    /// added to them.
    fn publish_mailbox(&mut self, id: MailboxId, mut held: Held) {
        if let Contents::Absent { pushed } = &mut held.contents {
            let pushed = std::mem::take(pushed);
            let before = self.mailboxes.get_mut(&id).map(|before| &mut before.contents);
            if let Some(Contents::Loaded(loaded)) = before {
                let snapshot = Arc::make_mut(&mut loaded.snapshot);
                pushed.into_iter().for_each(|entry| snapshot.push(entry));
                held.contents = Contents::Loaded(loaded.clone());
            }
        }
        held.settle();
        self.mailboxes.insert(id, held);
    }
}

impl Held {
    /// A mailbox that was just made.
    pub fn empty(mailbox: Mailbox) -> Held {
        let snapshot = Snapshot::empty(mailbox.id, mailbox.uid_validity);
        Held {
            uid_next: snapshot.uid_next,
            highest_modseq: snapshot.highest_modseq,
            keywords: snapshot.keywords.clone(),
            recent_from: Uid(1),
            usage: Usage::default(),
            last_used: Arc::default(),
            contents: Contents::Loaded(Loaded {
                snapshot: Arc::new(snapshot),
                overlays: Arc::default(),
            }),
            mailbox: Arc::new(mailbox),
        }
    }

    /// Its messages; an engine loads them before it applies what needs them.
    pub fn loaded(&self) -> Result<&Loaded, StoreError> {
        match &self.contents {
            Contents::Loaded(loaded) => Ok(loaded),
            Contents::Absent { .. } => Err(StoreError::Unavailable("mailbox not loaded".into())),
        }
    }

    /// Its messages, to be changed.
    pub fn loaded_mut(&mut self) -> Result<&mut Loaded, StoreError> {
        match &mut self.contents {
            Contents::Loaded(loaded) => Ok(loaded),
            Contents::Absent { .. } => Err(StoreError::Unavailable("mailbox not loaded".into())),
        }
    }

    /// Adds a message at the end.
    pub fn push(&mut self, entry: Entry) {
        self.usage.messages += 1;
        self.usage.bytes += u64::from(entry.size_bytes);
        match &mut self.contents {
            Contents::Loaded(loaded) => Arc::make_mut(&mut loaded.snapshot).push(entry),
            Contents::Absent { pushed } => pushed.push(entry),
        }
    }

    /// A message is on its way out.
    pub fn forget_size(&mut self, entry: &Entry) {
        self.usage.messages = self.usage.messages.saturating_sub(1);
        self.usage.bytes = self.usage.bytes.saturating_sub(u64::from(entry.size_bytes));
    }

    /// The ModSeq of the next change.
    pub fn raise(&mut self) -> ModSeq {
        self.highest_modseq.0 += 1;
        self.highest_modseq
    }

    /// The UID of the next message.
    pub fn take_uid(&mut self) -> Result<Uid, StoreError> {
        let uid = self.uid_next;
        self.uid_next = Uid(uid.0.checked_add(1).ok_or(StoreError::Limit("UIDs of a mailbox"))?);
        Ok(uid)
    }

    /// Brings the head of the snapshot in step with the mailbox's.
    pub fn settle(&mut self) {
        let Contents::Loaded(loaded) = &mut self.contents else { return };
        let same = loaded.snapshot.uid_next == self.uid_next
            && loaded.snapshot.uid_validity == self.mailbox.uid_validity
            && loaded.snapshot.highest_modseq == self.highest_modseq
            && Arc::ptr_eq(&loaded.snapshot.keywords, &self.keywords);
        if !same {
            let snapshot = Arc::make_mut(&mut loaded.snapshot);
            snapshot.uid_next = self.uid_next;
            snapshot.uid_validity = self.mailbox.uid_validity;
            snapshot.highest_modseq = self.highest_modseq;
            snapshot.keywords = self.keywords.clone();
        }
    }
}

impl Loaded {
    /// What `user` alone has; nothing, if there is nothing.
    pub fn overlay(&self, user: &Login) -> Arc<Overlay> {
        self.overlays.get(user).cloned().unwrap_or_default()
    }
}
