//! Layer 1: where mail is kept. The trait that every engine implements, and its words.
//!
//! Mailboxes change only by a `Change` inside a `Transaction`. What a reader gets is an immutable
//! snapshot, shared by all sessions; who wants to know what is new watches a mailbox's ModSeq and
//! compares two snapshots. Knows no protocol, no directory, no names that a client sees.

pub mod apply;
pub mod audit;
pub mod bell;
mod board;
pub mod change;
#[cfg(test)]
pub(crate) mod contract;
mod counters;
pub mod embedded;
mod encode;
pub mod memory;
pub mod migrate;
pub mod mirror;
pub mod nodes;
pub mod objects;
pub mod overlay;
pub mod postgres;
pub mod queue;
pub mod rows;
pub mod snapshot;
mod sql;
pub mod state;
pub mod text;
mod text_index;
mod texts;
pub mod twin;

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::flag::SeenMode;
use crate::mail::id::{
    BlobId, Login, MailboxId, ModSeq, QueueId, ThreadId, Timestamp, TraceId, Uid, UidValidity,
};
use crate::mail::message::{Envelope, Part};
use crate::mail::uid_set::UidSet;
use audit::{EntryId, Record, Tip};
use bell::Bell;
use change::{Absences, Grant, Opening, Receipt, Transaction, UsersRights};
use nodes::{Asks, Duty, Published};
use overlay::Overlay;
use queue::Queued;
use snapshot::Snapshot;
use text::{Needle, Verdict};

/// What a store's method answers, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What can go wrong, by what the caller can do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The mailbox, message or blob does not exist (any more).
    Gone,
    /// A mailbox of that name exists already.
    Exists,
    /// Somebody else was first: look again, and decide anew.
    Outrun,
    /// A limit would be exceeded; says which.
    Limit(&'static str),
    /// There is no room on the disk, and nothing was done; the text is for the log.
    NoSpace(String),
    /// The store cannot work at the moment (engine stopped, disk failing); try again later. The
    /// text is for the log, never for a peer.
    Unavailable(String),
    /// Stored data failed its check; the text is for the log.
    Corrupt(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Gone => f.write_str("no such mailbox or message"),
            StoreError::Exists => f.write_str("a mailbox of that name exists"),
            StoreError::Outrun => f.write_str("somebody else was first"),
            StoreError::Limit(what) => write!(f, "limit reached: {what}"),
            StoreError::NoSpace(why) => write!(f, "no room in the store: {why}"),
            StoreError::Unavailable(why) => write!(f, "the store is unavailable: {why}"),
            StoreError::Corrupt(why) => write!(f, "stored data is damaged: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A mailbox as the store lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mailbox {
    /// Stable over rename.
    pub id: MailboxId,
    /// Whose it is.
    pub account: Account,
    /// Where in that account's tree.
    pub folder: Folder,
    /// The epoch of its UIDs.
    pub uid_validity: UidValidity,
}

impl Mailbox {
    /// Which virtual mailbox it is, if it is one.
    pub fn virtual_role(&self) -> Option<FolderRole> {
        match self.account {
            Account::User(_) => self.folder.virtual_role(),
            Account::Inbox(_) | Account::Channel(_) => None,
        }
    }
}

/// How much is kept in a mailbox, or in all of an account's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// How many messages.
    pub messages: u64,
    /// The sum of their sizes.
    pub bytes: u64,
}

/// The counts of STATUS, as one user sees them. RFC 3501 §6.3.10, RFC 7162 §3.1.7, RFC 8438
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// MESSAGES
    pub messages: u32,
    /// UNSEEN, for this user
    pub unseen: u32,
    /// Messages with \Deleted
    pub deleted: u32,
    /// UIDNEXT
    pub uid_next: Uid,
    /// UIDVALIDITY
    pub uid_validity: UidValidity,
    /// HIGHESTMODSEQ
    pub highest_modseq: ModSeq,
    /// SIZE in bytes
    pub size_bytes: u64,
    /// DELETED-STORAGE in bytes. RFC 9208 §4.1.4
    pub deleted_bytes: u64,
    /// RECENT: messages that no read-write session of this user has been told of.
    pub recent: u32,
}

/// Which stored facts of a message a reader wants; each costs a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FactsWanted {
    /// ENVELOPE
    pub envelope: bool,
    /// BODYSTRUCTURE and the offsets of sections
    pub structure: bool,
    /// The raw cached header fields
    pub fields: bool,
    /// The folded text of the header
    pub header_text: bool,
    /// The folded text of the body
    pub body_text: bool,
    /// PREVIEW
    pub preview: bool,
}

/// The stored facts of one message; what was not wanted is empty.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Facts {
    /// The envelope.
    pub envelope: Option<Box<Envelope>>,
    /// The MIME tree.
    pub structure: Option<Box<Part>>,
    /// The raw cached header fields.
    pub fields: Vec<u8>,
    /// The folded header fields, as `SearchText` has them.
    pub header_text: Option<String>,
    /// The folded text of the body.
    pub body_text: Option<String>,
    /// The first words; also `None` where the message is older than previews.
    pub preview: Option<String>,
}

/// An instance of a message, found by what the message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Where.
    pub mailbox: MailboxId,
    /// Which there.
    pub uid: Uid,
    /// The message.
    pub blob: BlobId,
    /// What it belongs with.
    pub thread: ThreadId,
}

/// Most messages of one Message-ID that are looked at: the newest. Whoever sends mail chooses the
/// identifier, so there may be any number.
pub const SAME_MESSAGE_ID_MAX: usize = 256;
/// The instances that a Message-ID leads to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Linked {
    /// As `Store::instances_of` finds them.
    pub named: Vec<Instance>,
    /// As `Store::referring_to` finds them.
    pub following: Vec<Instance>,
}

/// Most instances that `Store::instances_of` answers with.
pub const INSTANCES_OF_MAX: usize = 1_000;

/// A user's own choices of subscription; a mailbox without an entry is subscribed, if it is
/// visible.
pub type Subscriptions = BTreeMap<(Account, Folder), bool>;

/// The number of each user's last turn in one account, where turns are taken: the higher, the
/// later. Who never had one is missing.
pub type Turns = BTreeMap<Login, u64>;

/// What somebody has noted, by mailbox (`None`: about the server) and entry. RFC 5464 §3
pub type Metadata = BTreeMap<(Option<MailboxId>, String), Arc<[u8]>>;

/// Where mail is kept. All engines answer alike; `store::contract` is the suite that each passes.
///
/// Methods without `Answer` read memory only and never wait.
pub trait Store: Send + Sync {
    /// Applies all changes of one transaction, or none. Durable when it answers; changes of many
    /// callers share one write to disk.
    fn commit(&self, transaction: Transaction) -> Answer<'_, Receipt>;

    /// The mailboxes of an account, by folder path.
    fn mailboxes(&self, account: &Account) -> Vec<Arc<Mailbox>>;

    /// How much is in all mailboxes of an account.
    fn usage(&self, account: &Account) -> Usage;

    /// One mailbox by account and folder.
    fn find(&self, account: &Account, folder: &Folder) -> Option<Arc<Mailbox>>;

    /// One mailbox by its id; `None` once it is deleted.
    fn mailbox(&self, id: MailboxId) -> Option<Arc<Mailbox>>;

    /// The counts of a mailbox as `user` sees them.
    fn status<'a>(&'a self, id: MailboxId, user: &'a Login, seen: SeenMode) -> Answer<'a, Status>;

    /// The present state of a mailbox, shared.
    fn snapshot(&self, id: MailboxId) -> Answer<'_, Arc<Snapshot>>;

    /// What `user` alone has in a mailbox, shared by that user's sessions.
    fn overlay<'a>(&'a self, id: MailboxId, user: &'a Login) -> Answer<'a, Arc<Overlay>>;

    /// Claims \Recent: the first UID that no read-write session of `user` had been told of when
    /// this was called; from now on it is the mailbox's present UIDNEXT. Kept in memory: after a
    /// restart nothing older counts as recent. RFC 3501 §2.3.2
    fn claim_recent(&self, id: MailboxId, user: &Login) -> Uid;

    /// The UIDs expunged after `since`, from the tombstones. RFC 7162 §3.2.7
    fn expunged_since(&self, id: MailboxId, since: ModSeq) -> Answer<'_, UidSet>;

    /// Facts of messages, in the order asked for; ask for some hundreds at a time. A message that
    /// is gone gives empty facts.
    fn facts<'a>(&'a self, blobs: &'a [BlobId], wanted: FactsWanted) -> Answer<'a, Vec<Facts>>;

    /// What is known of each needle in each message without reading its text: by needle, then by
    /// message. Where a list is empty or missing, nothing is known, as in an engine without an
    /// index. Ask about many messages at a time, at most 65,536; needles beyond `NEEDLES_MAX` are
    /// not looked at.
    fn text_verdicts<'a>(
        &'a self,
        _blobs: &'a [BlobId],
        _needles: &'a [Needle],
    ) -> Answer<'a, Vec<Vec<Verdict>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// The trace header fields of an instance: whole lines with CRLF.
    fn trace(&self, id: TraceId) -> Answer<'_, Vec<u8>>;

    /// A range of a stored message's bytes; shorter at its end. Ask for 256 KiB at a time at most.
    fn body(&self, blob: BlobId, range: Range<u64>) -> Answer<'_, Vec<u8>>;

    /// Whole messages, each behind its trace fields, in the order asked for; what cannot be read is
    /// `None`. For many small messages at a time: ask for 512 KiB in all at most.
    fn messages<'a>(&'a self, wanted: &'a [(BlobId, TraceId)]) -> Answer<'a, Vec<Option<Vec<u8>>>>;

    /// The instances of all messages with this Message-ID, which stands without angle brackets;
    /// those of the newest message first. At most `INSTANCES_OF_MAX`, of `SAME_MESSAGE_ID_MAX`
    /// messages.
    fn instances_of(&self, message_id: &str) -> Answer<'_, Vec<Instance>>;

    /// As `instances_of`, of all messages that follow the one with this Message-ID by
    /// `Envelope::referred_ids`; it need not be there itself.
    fn referring_to(&self, message_id: &str) -> Answer<'_, Vec<Instance>>;

    /// Both of several, in the order asked for: at once, where a question is a way to a server.
    fn linked_to<'a>(&'a self, message_ids: &'a [String]) -> Answer<'a, Vec<Linked>> {
        Box::pin(async move {
            let mut all = Vec::with_capacity(message_ids.len());
            for id in message_ids {
                let named = self.instances_of(id).await?;
                all.push(Linked { named, following: self.referring_to(id).await? });
            }
            Ok(all)
        })
    }

    /// A user's subscriptions.
    fn subscriptions(&self, user: &Login) -> Arc<Subscriptions>;

    /// What `user` has noted, or what everybody shares (`None`).
    fn metadata(&self, user: Option<&Login>) -> Arc<Metadata>;

    /// The rights granted by SETACL, over what the directory says.
    fn grants(&self) -> Arc<Vec<Grant>>;

    /// Who had their turn in an account; see `Change::TurnTaken`.
    fn turns(&self, account: &Account) -> Arc<Turns>;

    /// The last ModSeq of a mailbox; changes after each commit that touched it. Fails to change any
    /// more (the sender is dropped) when the mailbox is deleted.
    fn watch(&self, id: MailboxId) -> watch::Receiver<ModSeq>;

    /// Counts up whenever a mailbox is created, renamed or deleted, or a grant, a subscription or
    /// metadata change.
    fn watch_mailboxes(&self) -> watch::Receiver<u64>;

    /// The bell rings whenever one of these mailboxes changes, those that a virtual one shows
    /// included. From the first call on, also when a mailbox is created, renamed or deleted, or a
    /// grant, or one of its user's subscriptions or notes changes.
    fn attach(&self, bell: &Arc<Bell>, mailboxes: &[MailboxId]);

    /// One queued message; `None` once it has left the queue.
    fn queued(&self, id: QueueId) -> Option<Arc<Queued>>;

    /// The queued messages from `first` on, ascending, at most `max`.
    fn queued_from(&self, first: QueueId, max: usize) -> Vec<Arc<Queued>>;

    /// The number of the last message that was queued; changes after each commit that queued one.
    fn watch_queue(&self) -> watch::Receiver<QueueId>;

    /// Entries of the audit log, ascending: those from `first` on that are of `since` or later, at
    /// most `max`. Ask for some hundreds at a time.
    fn audited(&self, first: EntryId, since: Timestamp, max: usize) -> Answer<'_, Vec<Record>>;

    /// Where the audit log ends.
    fn audit_tip(&self) -> Tip;

    /// By which entries the instances of an inbox's Trash came there; those of which it is not
    /// known are missing.
    fn trashed(&self, trash: MailboxId) -> Answer<'_, BTreeMap<Uid, EntryId>>;

    /// Who is away, and until when; a time that has passed may stand there still.
    fn absences(&self) -> Arc<Absences>;

    /// Which personal mailboxes are open to whom; `watch_mailboxes` tells of a change. A time that
    /// has passed may stand there still.
    fn openings(&self) -> Arc<Vec<Opening>>;

    /// Who may do what in each inbox and channel, as `Change::AccessKnown` said last.
    fn access_known(&self) -> Answer<'_, BTreeMap<Account, UsersRights>>;

    /// The directory that was published last, if one was; `watch_mailboxes` tells of another.
    fn directory(&self) -> Option<Arc<Published>>;

    /// What is asked of the queue, as it changes.
    fn watch_asks(&self) -> watch::Receiver<Asks>;

    /// The number of a duty's last tenure; see `Change::DutyTaken`.
    fn tenure(&self, duty: Duty) -> Option<i64>;

    /// Whether other nodes may work on the same store. Where it is one process's own, the methods
    /// below are not asked.
    fn is_shared(&self) -> bool {
        false
    }

    /// Fails while this node is cut off from what it shares with others: what it has in memory may
    /// be old. Open sessions live with that; who comes new had better go to another node.
    fn reachable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether a duty is this node's for `nodes::LEASE` from when this was asked. It is, if nobody
    /// else has it; by the database's clock.
    fn lease(&self, _duty: Duty) -> Answer<'_, bool> {
        Box::pin(std::future::ready(Ok(true)))
    }

    /// Lets others have a duty at once, if it is this node's.
    fn release(&self, _duty: Duty) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// How often each of these has failed to log in within `nodes::FAILURES_WINDOW`, on all nodes.
    fn failures<'a>(&'a self, of: &'a [String]) -> Answer<'a, Vec<u32>> {
        Box::pin(std::future::ready(Ok(vec![0; of.len()])))
    }

    /// Counts one more failure of each of these, and says how many each has now.
    fn count_failure<'a>(&'a self, of: &'a [String]) -> Answer<'a, Vec<u32>> {
        self.failures(of)
    }

    /// Forgets the failures of these.
    fn forget_failures<'a>(&'a self, _of: &'a [String]) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Now, as the store stamps it.
    fn now(&self) -> Timestamp;
}
