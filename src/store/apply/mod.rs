//! What a transaction does, decided on the state in memory: all of it or nothing. Yields outcomes
//! and the rows to persist. Pure: engines load what `needs` names, call `apply`, write the rows and
//! then publish. Written once, so that all engines answer alike.

mod audit;
mod epochs;
mod folders;
mod messages;
mod metadata;
mod nodes;
mod people;
mod queue;
mod refreshed;
mod transfer;
mod turns;

use std::collections::{HashMap, HashSet};

pub use epochs::renewed;
pub use metadata::{
    METADATA_ENTRY_BYTES_MAX, METADATA_PER_MAILBOX_MAX, METADATA_PER_USER_BYTES_MAX,
    METADATA_PER_USER_MAX, METADATA_VALUE_BYTES_MAX, TOO_MANY_ENTRIES,
};

use super::change::{Actor, Change, Outcome, Receipt, Transaction};
use super::state::{Changed, Counters, Held, Loaded, State};
use super::{Mailbox, StoreError};
use crate::mail::flag::{SeenMode, SystemFlags};
use crate::mail::id::{BlobId, MailboxId, ModSeq, Timestamp};
use crate::mail::uid_set::UidSet;

/// For how long a duplicate key suppresses a repetition.
pub const DUPLICATE_KEY_SECS: i64 = 24 * 60 * 60;
/// Most bytes in the name of a keyword.
pub const KEYWORD_BYTES_MAX: usize = 255;
/// Most bytes in a folder's path: 16 levels of 255 bytes.
pub const FOLDER_BYTES_MAX: usize = 16 * 256;
/// Most mailboxes of one account.
pub const MAILBOXES_PER_ACCOUNT_MAX: usize = 10_000;
/// Most choices of subscription that one user can make.
pub const SUBSCRIPTIONS_MAX: usize = 20_000;

/// What an engine looks up in its tables before it applies a group.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Stored messages by hash.
    pub blobs: HashMap<[u8; 32], BlobId>,
    /// Which of these have lost their bytes.
    pub lost: HashSet<[u8; 32]>,
    /// When duplicate keys were used.
    pub duplicate_keys: HashMap<[u8; 32], Timestamp>,
}

/// What a group of transactions starts from.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// What is committed.
    pub state: &'a State,
    /// What was looked up.
    pub known: &'a Known,
    /// The time of the commit.
    pub now: Timestamp,
}

/// Applies one transaction on top of `group`, what earlier ones of the same group have changed. The
/// caller lays what it yields over `group`, or drops it when it cannot be written.
pub fn apply(
    base: &Base<'_>,
    group: &Changed,
    transaction: Transaction,
) -> Result<(Receipt, Changed), StoreError> {
    let actor = &transaction.actor;
    let mut draft = Draft { base, group, actor, own: Changed::default(), sent: Vec::new() };
    let changes = transaction.changes.into_iter();
    let outcomes = changes.map(|change| draft.change(change)).collect::<Result<_, _>>()?;
    let mut own = draft.own;
    own.mailboxes.values_mut().flatten().for_each(Held::settle);
    Ok((Receipt { outcomes }, own))
}

/// The mailboxes whose contents `apply` will look at.
pub fn needs(change: &Change) -> Vec<MailboxId> {
    match change {
        Change::Delivered(delivered) if !delivered.seen_by.is_empty() => vec![delivered.mailbox],
        Change::FlagsSet { mailbox, .. }
        | Change::ArrivalsFlagged { mailbox, .. }
        | Change::Present { mailbox, .. }
        | Change::StillDeleted { mailbox, .. }
        | Change::SeenSet { mailbox, .. }
        | Change::Expunged { mailbox, .. }
        | Change::MailboxEmptied { mailbox, .. }
        | Change::MailboxDeleted { mailbox } => vec![*mailbox],
        Change::Copied(transfer) | Change::Moved(transfer) => match transfer.to_seen {
            SeenMode::PerUser => vec![transfer.from, transfer.to],
            SeenMode::Shared => vec![transfer.from],
        },
        Change::Refreshed(refresh) => {
            let sources = refresh.sources.iter().map(|source| source.mailbox);
            sources.chain([refresh.mailbox]).collect()
        }
        _ => Vec::new(),
    }
}

/// How many messages `apply` will go through for a change, roughly; a few are none.
pub fn rows_touched(change: &Change, state: &State) -> usize {
    let length = |id: MailboxId| {
        let loaded = state.held(id).and_then(|held| held.loaded().ok());
        loaded.map_or(0, |loaded| loaded.snapshot.len())
    };
    let some = |mailbox, uids: &UidSet| {
        let named = usize::try_from(uids.len()).unwrap_or(usize::MAX);
        named.min(length(mailbox))
    };
    match change {
        Change::FlagsSet { mailbox, uids, .. }
        | Change::Present { mailbox, uids }
        | Change::StillDeleted { mailbox, uids }
        | Change::SeenSet { mailbox, uids, .. }
        | Change::Expunged { mailbox, uids } => some(*mailbox, uids),
        Change::Copied(transfer) | Change::Moved(transfer) => some(transfer.from, &transfer.uids),
        Change::ArrivalsFlagged { mailbox, .. }
        | Change::MailboxEmptied { mailbox, .. }
        | Change::MailboxDeleted { mailbox } => length(*mailbox),
        Change::Refreshed(refresh) => {
            let sources = refresh.sources.iter().map(|source| length(source.mailbox));
            // what has not changed is passed over, and its numbers are copied
            (sources.sum::<usize>() + length(refresh.mailbox)) / 10
        }
        _ => 0,
    }
}

/// One transaction under way.
struct Draft<'a> {
    base: &'a Base<'a>,
    group: &'a Changed,
    actor: &'a Actor,
    own: Changed,
    /// What the audit log says that this transaction has sent.
    sent: Vec<BlobId>,
}

impl<'a> Draft<'a> {
    fn change(&mut self, change: Change) -> Result<Outcome, StoreError> {
        match change {
            Change::Delivered(delivered) => self.delivered(*delivered),
            Change::Copied(transfer) => self.copied(&transfer),
            Change::Moved(transfer) => self.moved(&transfer),
            Change::FlagsSet { .. } => self.flags_set(&change),
            Change::Refreshed(refresh) => self.refreshed(&refresh),
            Change::ArrivalsFlagged { mailbox, operation, flags, seen_by } => {
                self.arrivals_flagged(mailbox, (operation, flags), seen_by)
            }
            Change::Present { mailbox, uids } => {
                self.still_there(mailbox, &uids, SystemFlags::default())
            }
            Change::StillDeleted { mailbox, uids } => {
                self.still_there(mailbox, &uids, SystemFlags::DELETED)
            }
            Change::SeenSet { .. } => self.seen_set(&change),
            Change::Expunged { mailbox, uids } => self.expunged(mailbox, &uids),
            Change::MailboxCreated { account, folder } => {
                self.tell_created(&account, &folder);
                self.created(account, folder).map(Outcome::Created)
            }
            Change::MailboxRenamed { mailbox, folder } => self.renamed(mailbox, folder),
            Change::MailboxEmptied { mailbox, seen, folder, user } => {
                self.emptied(mailbox, (seen, user), folder)
            }
            Change::MailboxDeleted { mailbox } => self.deleted(mailbox),
            Change::Subscribed { user, account, folder, subscribed } => {
                self.subscribed(user, (account, folder), subscribed)
            }
            Change::MetadataSet { user, about, entry, value } => {
                let mailbox = self.noted(about)?;
                self.metadata_set(user, (mailbox, entry), value)
            }
            Change::Granted(grant) => self.granted(grant),
            Change::TurnTaken { account, user, number } => self.turn_taken(account, (user, number)),
            Change::PreviewsMade(previews) => Ok(self.previews_made(previews)),
            Change::KeyKept { key, secs } => Ok(self.key_kept(key, secs)),
            Change::Once { key, secs } => Ok(self.once(key, secs)),
            Change::AccessKnown(known) => self.access_known(known),
            Change::AwaySet { user, until } => self.away_set(user, until),
            Change::GlassBroken { opening, reason } => self.glass_broken(opening, reason),
            Change::GlassMended { user, of } => self.glass_mended(&user, &of),
            Change::Noted(note) => self.told(*note),
            Change::DirectoryPublished(new) => self.directory_published(*new),
            Change::DutyTaken { duty, after, tenure } => self.duty_taken(duty, (after, tenure)),
            Change::Fenced { duty, tenure } => self.fenced(duty, tenure),
            Change::Expected { mailbox, modseq } => self.expected(mailbox, modseq),
            Change::QueueAsked(ask) => self.queue_asked(ask),
            Change::QueueAnswered { id, answer } => Ok(self.queue_answered(id, answer)),
            Change::Queued(new) => self.queued(*new),
            Change::QueueUpdated { id, recipients } => Ok(self.queue_updated(id, recipients)),
            Change::EpochsRenewed => self.epochs_renewed(),
        }
    }

    /// A mailbox as it was before this transaction.
    fn before(&self, id: MailboxId) -> Option<&'a Held> {
        match self.group.mailboxes.get(&id) {
            Some(held) => held.as_ref(),
            None => self.base.state.held(id),
        }
    }

    /// A mailbox as it is now.
    fn held(&self, id: MailboxId) -> Result<&Held, StoreError> {
        match self.own.mailboxes.get(&id) {
            Some(held) => held.as_ref(),
            None => self.before(id),
        }
        .ok_or(StoreError::Gone)
    }

    /// A mailbox, to be changed.
    fn held_mut(&mut self, id: MailboxId) -> Result<&mut Held, StoreError> {
        if !self.own.mailboxes.contains_key(&id) {
            let held = self.before(id).ok_or(StoreError::Gone)?.clone();
            self.own.mailboxes.insert(id, Some(held));
        }
        let held = self.own.mailboxes.get_mut(&id);
        held.and_then(Option::as_mut).ok_or(StoreError::Gone)
    }

    /// A mailbox's contents as they are now.
    fn loaded(&self, id: MailboxId) -> Result<&Loaded, StoreError> {
        self.held(id)?.loaded()
    }

    /// The ModSeq of the next change in a mailbox.
    fn raise(&mut self, id: MailboxId) -> Result<ModSeq, StoreError> {
        self.held_mut(id).map(Held::raise)
    }

    /// The last ModSeq before this transaction; what is above, it did itself.
    fn modseq_before(&self, id: MailboxId) -> ModSeq {
        self.before(id).map_or(ModSeq(0), |held| held.highest_modseq)
    }

    fn counters(&mut self) -> &mut Counters {
        let last = self.group.counters.unwrap_or(self.base.state.counters());
        self.own.counters.get_or_insert(last)
    }
}
