//! What a client believes about its selected mailbox: the only place where sequence numbers exist.
//!
//! Keeps the mailbox as the client has been told of it, and compares it with the present one when a
//! command ends. Knows no command and no header field. An idle view is a few pointers: all sessions
//! share the snapshots.

mod advance;
#[cfg(test)]
mod oracle;
mod resync;
mod selection;
mod sequence_set;
#[cfg(test)]
mod tests;
mod unasked;
mod wishes;

use std::sync::Arc;

pub use advance::{
    ClearKeywords, Edit, Expunge, Own, Shown, Vanished, updates, updates_unasked, updates_with,
    write_vanished,
};
pub use resync::SequenceMatch;
pub use selection::Selection;
pub use sequence_set::{RANGES_MAX, SequenceSet};
pub use wishes::{Scope, Wishes};

use super::Numbering;
use super::flags::Recent;
use super::search::contexts::Context;
use crate::mail::flag::{SeenMode, SystemFlags};
use crate::mail::id::{Login, MailboxId, ModSeq, Uid, UidValidity};
use crate::mail::uid_set::UidSet;
use crate::store::overlay::Overlay;
use crate::store::snapshot::{Entry, Snapshot};
use crate::store::{Store, StoreError};

/// What the client of one session believes.
#[derive(Clone)]
pub struct View {
    /// Its entries are the client's sequence numbers. Older than `told` only while expunged
    /// messages are held back.
    believed: Arc<Snapshot>,
    /// The flags that the client has been told, as far as they are everybody's.
    told: Arc<Snapshot>,
    /// The user's own \Seen that the client has been told.
    overlay: Arc<Overlay>,
    /// Whose \Seen counts.
    seen: SeenMode,
    /// The messages that this session is the first to be told of.
    recent: UidSet,
    /// Whether this session may claim \Recent: it was opened by SELECT.
    claims: Claims,
    /// Whether the client wants to know mod-sequences.
    condstore: Condstore,
    /// Whose view it is.
    user: Login,
    /// Nothing in most sessions.
    extras: Option<Box<Extras>>,
}

/// What searches leave behind as long as the mailbox is selected, and what the client has said by
/// NOTIFY.
#[derive(Clone, Debug, Default)]
struct Extras {
    /// `$`: by UID, so that no EXPUNGE can shift it. RFC 5182 §2.1
    saved: UidSet,
    /// Searches whose client wants to know what becomes of their results.
    contexts: Vec<Context>,
    /// What is to be told.
    heeded: Option<wishes::Heeded>,
}

/// Whether a session takes \Recent away from others. RFC 3501 §6.3.2
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claims {
    /// SELECT does.
    Recent,
    /// EXAMINE does not.
    Nothing,
    /// The client knows no \Recent: it is told of none. RFC 9051 §2.3.2
    Unknown,
}

/// Whether a client has issued a CONDSTORE enabling command. RFC 7162 §3.1
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condstore {
    /// It has not: MODSEQ is shown where it is asked for only.
    #[default]
    Off,
    /// It has: every untagged FETCH shows UID and MODSEQ. RFC 7162 §3.2.4
    On,
    /// It has by ENABLE QRESYNC: also, what is gone is told by VANISHED. RFC 7162 §3.2.3
    Qresync,
}

impl Condstore {
    /// Whether untagged FETCH shows MODSEQ.
    pub fn is_on(self) -> bool {
        self != Condstore::Off
    }
}

/// One message as this session's client is to see it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its sequence number.
    pub number: u32,
    /// Its entry, as told.
    pub entry: &'a Entry,
    /// Its system flags, for this user.
    pub flags: SystemFlags,
    /// Its mod-sequence, for this user.
    pub modseq: ModSeq,
    /// Whether \Recent is shown.
    pub recent: Recent,
}

impl View {
    /// Opens a view on the mailbox's present state.
    pub async fn open(
        context: &super::Context,
        mailbox: MailboxId,
        user: &Login,
        (seen, claims): (SeenMode, Claims),
    ) -> Result<View, StoreError> {
        let store = &context.store;
        let recent_count = match claims {
            Claims::Recent | Claims::Unknown => 0,
            Claims::Nothing => store.status(mailbox, user, seen).await?.recent,
        };
        // claimed before the snapshot is taken: a message between the two is shown as recent here,
        // and perhaps elsewhere too, which RFC 3501 §2.3.2 prefers to nowhere
        let first = (claims == Claims::Recent).then(|| store.claim_recent(mailbox, user));
        let (now, overlay) = present(&**store, mailbox, user).await?;
        let first = first.or_else(|| {
            let index = now.len().checked_sub(recent_count as usize)?;
            now.nth(index).map(|entry| entry.uid)
        });
        let mut view = View {
            believed: now.clone(),
            told: now,
            overlay,
            seen,
            recent: UidSet::new(),
            claims,
            condstore: Condstore::Off,
            user: user.clone(),
            extras: None,
        };
        if let Some(first) = first {
            view.add_recent(first, 0);
        }
        Ok(view)
    }

    /// Whose view it is.
    pub fn user(&self) -> &Login {
        &self.user
    }

    /// A view on nothing, to read a command against that is about no mailbox.
    pub fn of_nothing() -> View {
        let nothing = Arc::new(Snapshot::empty(MailboxId(0), UidValidity(1)));
        View {
            believed: nothing.clone(),
            told: nothing,
            overlay: Arc::default(),
            seen: SeenMode::Shared,
            recent: UidSet::new(),
            claims: Claims::Nothing,
            condstore: Condstore::Off,
            user: Login::new(""),
            extras: None,
        }
    }

    /// EXISTS: how many messages the client believes in.
    pub fn exists(&self) -> usize {
        self.believed.len()
    }

    /// RECENT: how many of them are recent here.
    pub fn recent(&self) -> usize {
        let index = |uid: Uid| self.believed.position(uid);
        let count = |&(low, high): &(u32, u32)| {
            let end = index(Uid(high)).map_or_else(|at| at, |at| at + 1);
            end - index(Uid(low)).unwrap_or_else(|at| at)
        };
        self.recent.ranges().iter().map(count).sum()
    }

    /// The mailbox's state as told.
    pub fn told(&self) -> &Snapshot {
        &self.told
    }

    /// The mailbox's state as far as the client numbers it.
    pub fn believed(&self) -> &Snapshot {
        &self.believed
    }

    /// How many messages the client believes in, and how many of them the user has not seen.
    pub fn counts(&self) -> (u32, u32) {
        let seen = match self.seen {
            SeenMode::PerUser => self.overlay.seen_count(),
            SeenMode::Shared => self.told.totals().seen,
        };
        let messages = self.believed.totals().messages;
        (messages, messages.saturating_sub(seen))
    }

    /// Up to which mod-sequence the client has been told everything. RFC 7162 §3.2
    pub fn told_up_to(&self) -> ModSeq {
        self.believed.highest_modseq
    }

    /// Whether the client wants to know mod-sequences.
    pub fn condstore(&self) -> Condstore {
        self.condstore
    }

    /// The client has issued a CONDSTORE enabling command.
    pub fn set_condstore(&mut self, condstore: Condstore) {
        self.condstore = condstore;
    }

    /// The sequence number of the first message without \Seen. RFC 3501 §7.1 `UNSEEN`
    pub fn first_unseen(&self) -> Option<u32> {
        let seen = match self.seen {
            SeenMode::PerUser => self.overlay.seen_count(),
            SeenMode::Shared => self.told.totals().seen,
        };
        if seen as usize == self.believed.len() {
            return None;
        }
        let all = Selection::all(self.exists());
        let mut messages = self.messages(&all);
        messages.find(|m| !m.flags.contains(SystemFlags::SEEN)).map(|m| m.number)
    }

    /// The messages that `set` names, among those that the client believes in. RFC 3501 §6.4.8
    pub fn select(&self, set: &SequenceSet, by: Numbering) -> Result<Selection, super::Refusal> {
        match by {
            _ if set.is_saved() => Ok(self.with_uids(self.saved())),
            Numbering::Sequence => Selection::by_number(set, self.believed.len()),
            Numbering::Uid => Ok(Selection::by_uid(set, &self.believed)),
        }
    }

    /// The sequence numbers that `set` names for SEARCH: what is beyond the last message finds
    /// nothing. RFC 7377 §2
    pub fn searched_numbers(&self, set: &SequenceSet) -> Selection {
        Selection::by_number_clipped(set, self.believed.len())
    }

    /// The UIDs that `set` names for SEARCH, those of later messages included. RFC 3501 §6.4.4
    pub fn searched_uids(&self, set: &SequenceSet) -> UidSet {
        let last = self.believed.len().checked_sub(1).and_then(|last| self.believed.nth(last));
        set.open_uids(last.map_or(0, |entry| entry.uid.0))
    }

    /// The searches whose client wants to know what becomes of their results.
    pub fn contexts(&self) -> &[Context] {
        self.extras.as_ref().map_or(&[], |extras| &extras.contexts)
    }

    /// Takes them out, to work on them with the view beside.
    pub fn take_contexts(&mut self) -> Vec<Context> {
        let contexts = self.extras.as_mut().map(|extras| std::mem::take(&mut extras.contexts));
        contexts.unwrap_or_default()
    }

    /// Puts them back.
    pub fn put_contexts(&mut self, contexts: Vec<Context>) {
        if !contexts.is_empty() || self.extras.is_some() {
            self.extras.get_or_insert_default().contexts = contexts;
        }
    }

    /// The messages with these UIDs, as far as the client believes in them.
    pub fn with_uids(&self, uids: &UidSet) -> Selection {
        Selection::with_uids(uids, &self.believed)
    }

    /// What the last SEARCH with SAVE has found. RFC 5182 §2.1
    pub fn saved(&self) -> &UidSet {
        const NONE: &UidSet = &UidSet::new();
        self.extras.as_ref().map_or(NONE, |extras| &extras.saved)
    }

    /// SEARCH with SAVE has found these. RFC 5182 §2.1
    pub fn save(&mut self, uids: UidSet) {
        self.extras.get_or_insert_default().saved = uids;
    }

    /// The selected messages in the order of their numbers.
    pub fn messages<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = Message<'a>> {
        let told_is_believed = Arc::ptr_eq(&self.told, &self.believed);
        let mut own = OwnSeen::new(&self.overlay);
        selection
            .ranges()
            .iter()
            .flat_map(move |range| {
                let entries = self.believed.iter_from(range.start).take(range.len());
                entries.zip(range.start as u32 + 1..)
            })
            .filter_map(move |(believed, number)| {
                let told = if told_is_believed { None } else { self.told.by_uid(believed.uid) };
                // what a virtual mailbox shows no more, the user may not see any more, perhaps
                let left = self.told.mirror.is_none().then_some(believed);
                let entry = if told_is_believed { Some(believed) } else { told.or(left) };
                Some(self.message(number, entry?, &mut own))
            })
    }

    /// The UIDs of the selected messages.
    pub fn uids(&self, selection: &Selection) -> UidSet {
        let mut uids = UidSet::new();
        for range in selection.ranges() {
            self.believed.iter_from(range.start).take(range.len()).for_each(|e| uids.insert(e.uid));
        }
        uids
    }

    /// The numbers or UIDs of those of `uids` in which the client believes, as a set to write.
    pub fn named(&self, uids: &UidSet, by: Numbering) -> UidSet {
        let known = uids.iter().filter_map(|uid| Some((uid, self.number(uid)?)));
        known.map(|(uid, number)| if by == Numbering::Uid { uid } else { Uid(number) }).collect()
    }

    /// Whether one of the selected messages has been expunged, and the client not told so.
    pub fn has_lost(&self, selection: &Selection) -> bool {
        !Arc::ptr_eq(&self.told, &self.believed)
            && self.uids(selection).iter().any(|uid| self.told.position(uid).is_err())
    }

    /// The sequence number of a message.
    fn number(&self, uid: Uid) -> Option<u32> {
        self.believed.position(uid).ok().map(|index| index as u32 + 1)
    }

    fn message<'a>(&self, number: u32, entry: &'a Entry, own: &mut OwnSeen<'_>) -> Message<'a> {
        let (flags, modseq) = shown(entry, self.seen, own);
        let recent = !self.recent.is_empty() && self.recent.contains(entry.uid);
        let recent = if recent { Recent::Yes } else { Recent::No };
        Message { number, entry, flags, modseq, recent }
    }

    /// Messages from `first` on that lie behind the first `before` ones are recent here.
    fn add_recent(&mut self, first: Uid, before: usize) {
        let from = self.believed.position(first).unwrap_or_else(|at| at).max(before);
        let ends = (self.believed.nth(from), self.believed.len().checked_sub(1));
        if let (Some(low), Some(high)) = (ends.0, ends.1.and_then(|last| self.believed.nth(last))) {
            self.recent.insert_range(low.uid, high.uid);
        }
    }
}

/// A mailbox and what a user alone has there, both of one moment: a client that has been told of a
/// change must not have missed an earlier one. RFC 7162 §3.2
async fn present(
    store: &dyn Store,
    mailbox: MailboxId,
    user: &Login,
) -> Result<(Arc<Snapshot>, Arc<Overlay>), StoreError> {
    let mut before = store.snapshot(mailbox).await?;
    loop {
        let overlay = store.overlay(mailbox, user).await?;
        // every change makes another snapshot, those of an overlay too
        let after = store.snapshot(mailbox).await?;
        if Arc::ptr_eq(&before, &after) {
            return Ok((after, overlay));
        }
        before = after;
    }
}

/// The flags and mod-sequence of an entry for one user.
fn shown(entry: &Entry, seen: SeenMode, own: &mut OwnSeen<'_>) -> (SystemFlags, ModSeq) {
    if seen == SeenMode::Shared {
        return (entry.flags, entry.modseq);
    }
    let (own_seen, own_modseq) = own.of(entry.uid);
    let shared = entry.flags & !SystemFlags::SEEN;
    let flags = if own_seen { shared | SystemFlags::SEEN } else { shared };
    (flags, entry.modseq.max(own_modseq))
}

/// Reads an overlay in UID order without looking up each block again.
struct OwnSeen<'a> {
    overlay: &'a Overlay,
    number: u32,
    block: Option<&'a Arc<crate::store::overlay::Block>>,
}

impl<'a> OwnSeen<'a> {
    fn new(overlay: &'a Overlay) -> OwnSeen<'a> {
        OwnSeen { overlay, number: 0, block: overlay.block(0) }
    }

    /// Whether `uid` is seen, and when that changed.
    fn of(&mut self, uid: Uid) -> (bool, ModSeq) {
        if uid.0 / 64 != self.number {
            self.number = uid.0 / 64;
            self.block = self.overlay.block(self.number);
        }
        let n = (uid.0 % 64) as u8;
        self.block.map_or((false, ModSeq(0)), |b| (b.seen >> n & 1 == 1, ModSeq(b.modseq(n))))
    }
}
