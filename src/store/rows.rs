//! What a group of transactions writes, row by row: made by `apply`, persisted by an engine. Knows
//! no SQL; a later row for the same key replaces an earlier one, so a group writes each once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::audit::{EntryId, Record};
use super::change::{NewMessage, UsersRights};
use super::mirror::Origin;
use super::overlay::Block;
use super::queue::{Queued, QueuedRecipient};
use super::snapshot::Entry;
use crate::mail::account::{Account, Folder};
use crate::mail::id::{BlobId, Login, MailboxId, ModSeq, QueueId, Timestamp, TraceId, Uid};

/// Rows by table. An engine writes `deleted` last: mailbox ids are never used twice.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Instances; `None` is removed.
    pub instances: BTreeMap<(MailboxId, Uid), Option<Entry>>,
    /// Messages of virtual mailboxes, with where they lie; `None` is removed.
    pub mirrored: BTreeMap<(MailboxId, Uid), Option<(Entry, Origin)>>,
    /// Removed UIDs, a row per range.
    pub tombstones: Vec<Tombstone>,
    /// Blocks of users' overlays.
    pub blocks: BTreeMap<(MailboxId, Login, u32), Arc<Block>>,
    /// New keywords: mailbox, number, name.
    pub keywords: Vec<(MailboxId, u8, Arc<str>)>,
    /// New messages.
    pub blobs: Vec<(BlobId, NewMessage)>,
    /// Messages that are there already, and whose bytes are to be written anew.
    pub healed: Vec<(BlobId, NewMessage)>,
    /// By how much the number of a message's instances and queue entries changes.
    pub blob_references: BTreeMap<BlobId, i64>,
    /// Previews of messages that had none.
    pub previews: BTreeMap<BlobId, String>,
    /// New trace fields.
    pub traces: Vec<(TraceId, Vec<u8>)>,
    /// By how much the number of instances and queue entries with these trace fields changes.
    pub trace_references: BTreeMap<TraceId, i64>,
    /// Users' choices of subscription.
    pub subscriptions: BTreeMap<(Login, Account, Folder), bool>,
    /// Notes by owner, mailbox and entry; `None` is removed.
    pub metadata: BTreeMap<NoteKey, Option<Arc<[u8]>>>,
    /// Grants; `None` is removed.
    pub grants: BTreeMap<(Account, Login), Option<String>>,
    /// The last turns of users in accounts.
    pub turns: BTreeMap<(Account, Login), u64>,
    /// Duplicate keys and when they were used; a later time than now keeps one for longer.
    pub duplicate_keys: BTreeMap<[u8; 32], Timestamp>,
    /// Queued messages, without their recipients; `None` has left, with all its recipients. An
    /// engine writes these after `queued_recipients`.
    pub queued: BTreeMap<QueueId, Option<Arc<Queued>>>,
    /// Recipients of queued messages by number; `None` is removed.
    pub queued_recipients: BTreeMap<(QueueId, u32), Option<QueuedRecipient>>,
    /// What is added to the audit log, ascending.
    pub audit: Vec<Record>,
    /// By which entry instances came into a Trash; `None`: they are not there any more.
    pub trashed: BTreeMap<(MailboxId, Uid), Option<EntryId>>,
    /// Who may do what in an account, as it is known.
    pub access_known: BTreeMap<Account, UsersRights>,
    /// Until when users are away; `None`: they are not.
    pub absences: BTreeMap<Login, Option<Timestamp>>,
    /// Until when mailboxes are open, by who may read them and whose they are; `None`: no longer.
    pub openings: BTreeMap<(Login, Login), Option<Timestamp>>,
    /// Mailboxes removed with all that is theirs.
    pub deleted: Vec<MailboxId>,
}

/// Whose note (`None`: everybody's), about which mailbox (`None`: the server), and its entry.
pub type NoteKey = (Option<Login>, Option<MailboxId>, String);

/// UIDs that were removed from a mailbox by one change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// Where.
    pub mailbox: MailboxId,
    /// When.
    pub modseq: ModSeq,
    /// The first UID.
    pub first: Uid,
    /// The last UID.
    pub last: Uid,
}

impl Rows {
    /// Adds what a later transaction writes.
    pub fn absorb(&mut self, later: Rows) {
        self.instances.extend(later.instances);
        self.mirrored.extend(later.mirrored);
        self.tombstones.extend(later.tombstones);
        self.blocks.extend(later.blocks);
        self.keywords.extend(later.keywords);
        self.blobs.extend(later.blobs);
        self.healed.extend(later.healed);
        for (blob, delta) in later.blob_references {
            *self.blob_references.entry(blob).or_default() += delta;
        }
        self.traces.extend(later.traces);
        for (trace, delta) in later.trace_references {
            *self.trace_references.entry(trace).or_default() += delta;
        }
        self.subscriptions.extend(later.subscriptions);
        self.metadata.extend(later.metadata);
        self.grants.extend(later.grants);
        self.turns.extend(later.turns);
        self.duplicate_keys.extend(later.duplicate_keys);
        self.previews.extend(later.previews);
        self.queued.extend(later.queued);
        self.queued_recipients.extend(later.queued_recipients);
        self.audit.extend(later.audit);
        self.trashed.extend(later.trashed);
        self.access_known.extend(later.access_known);
        self.absences.extend(later.absences);
        self.openings.extend(later.openings);
        self.deleted.extend(later.deleted);
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        let messages = self.instances.is_empty()
            && self.mirrored.is_empty()
            && self.tombstones.is_empty()
            && self.blocks.is_empty()
            && self.keywords.is_empty()
            && self.blobs.is_empty()
            && self.healed.is_empty()
            && self.blob_references.is_empty()
            && self.traces.is_empty()
            && self.trace_references.is_empty();
        let others = self.subscriptions.is_empty()
            && self.metadata.is_empty()
            && self.grants.is_empty()
            && self.turns.is_empty()
            && self.duplicate_keys.is_empty()
            && self.previews.is_empty()
            && self.queued.is_empty()
            && self.queued_recipients.is_empty();
        let people = self.audit.is_empty()
            && self.trashed.is_empty()
            && self.access_known.is_empty()
            && self.absences.is_empty()
            && self.openings.is_empty();
        messages && others && people && self.deleted.is_empty()
    }

    /// All messages whose bytes are to be written.
    pub fn brought(&self) -> impl Iterator<Item = &(BlobId, NewMessage)> {
        self.blobs.iter().chain(&self.healed)
    }

    /// Counts one instance more (or less) of a message with its trace fields.
    pub fn count(&mut self, entry: &Entry, delta: i64) {
        self.refer((entry.blob, entry.trace), delta);
    }

    /// Counts one more (or less) that needs a message and trace fields.
    pub fn refer(&mut self, (blob, trace): (BlobId, TraceId), delta: i64) {
        *self.blob_references.entry(blob).or_default() += delta;
        if trace != TraceId::NONE {
            *self.trace_references.entry(trace).or_default() += delta;
        }
    }
}
