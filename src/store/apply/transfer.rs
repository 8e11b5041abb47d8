//! Copy and move between mailboxes, and what becomes of \Seen on the way.

use super::audit::{Named, named};
use super::{Draft, MailboxId, ModSeq, Outcome, StoreError};
use crate::mail::flag::{KeywordSet, SeenMode, SystemFlags};
use crate::mail::id::{Uid, UidValidity};
use crate::store::change::Transfer;
use crate::store::overlay::Overlay;
use crate::store::snapshot::Entry;
use crate::store::state::Loaded;

/// What was copied.
pub(super) struct Copies {
    uid_validity: UidValidity,
    /// Old and new UID of each.
    pub(super) pairs: Vec<(Uid, Uid)>,
    /// The message of each.
    pub(super) messages: Vec<Named>,
}

/// Whether the instances that were copied stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// They do.
    Copied,
    /// They do not.
    Moved,
}

impl Draft<'_> {
    pub(super) fn moved(&mut self, transfer: &Transfer) -> Result<Outcome, StoreError> {
        let copies = self.copies(transfer)?;
        let sources = copies.pairs.iter().map(|(old, _)| *old).collect();
        self.taken_out(transfer.from, &sources)?;
        self.tell_transfer(transfer, (Way::Moved, &copies))?;
        let Copies { uid_validity, pairs, .. } = copies;
        Ok(Outcome::Copied { uid_validity, pairs })
    }

    pub(super) fn copied(&mut self, transfer: &Transfer) -> Result<Outcome, StoreError> {
        let copies = self.copies(transfer)?;
        self.tell_transfer(transfer, (Way::Copied, &copies))?;
        let Copies { uid_validity, pairs, .. } = copies;
        Ok(Outcome::Copied { uid_validity, pairs })
    }

    fn copies(&mut self, transfer: &Transfer) -> Result<Copies, StoreError> {
        let source = self.loaded(transfer.from)?.clone();
        let uid_validity = self.held(transfer.to)?.mailbox.uid_validity;
        let entries: Vec<&Entry> = source.snapshot.entries_in(&transfer.uids).collect();
        let mut pairs = Vec::with_capacity(entries.len());
        if !entries.is_empty() {
            let numbers = self.renumber(transfer, &entries)?;
            let own = source.overlay(&transfer.user);
            let modseq = self.raise(transfer.to)?;
            for entry in &entries {
                let uid = self.held_mut(transfer.to)?.take_uid()?;
                pairs.push((entry.uid, uid));
                let flags = flags_there(transfer, entry, &own);
                let keywords = translate(&entry.keywords, &numbers);
                let saved = self.base.now;
                let copy = Entry { uid, modseq, saved, flags, keywords, ..(*entry).clone() };
                self.insert(transfer.to, copy)?;
            }
            self.carry_seen(transfer, &source, (&pairs, modseq))?;
        }
        let messages = entries.iter().map(|entry| named(entry)).collect();
        Ok(Copies { uid_validity, pairs, messages })
    }

    /// The target's number for each of the source's keywords that is in use.
    fn renumber(
        &mut self,
        transfer: &Transfer,
        entries: &[&Entry],
    ) -> Result<Vec<Option<u8>>, StoreError> {
        let names = self.held(transfer.from)?.keywords.clone();
        let mut numbers = vec![None; names.len()];
        for entry in entries.iter().filter(|entry| !entry.keywords.is_empty()) {
            for n in entry.keywords.iter().map(usize::from) {
                if let (Some(None), Some(name)) = (numbers.get(n), names.get(n)) {
                    let there = self.keyword_numbers(transfer.to, &[name])?;
                    numbers[n] = there.iter().next();
                }
            }
        }
        Ok(numbers)
    }

    fn carry_seen(
        &mut self,
        transfer: &Transfer,
        source: &Loaded,
        (pairs, modseq): (&[(Uid, Uid)], ModSeq),
    ) -> Result<(), StoreError> {
        if transfer.to_seen == SeenMode::Shared {
            return Ok(());
        }
        if transfer.from_seen == SeenMode::Shared {
            let shared = |uid| {
                let entry = source.snapshot.by_uid(uid);
                entry.is_some_and(|e| e.flags.contains(SystemFlags::SEEN))
            };
            let seen: Vec<Uid> = pairs.iter().filter(|p| shared(p.0)).map(|p| p.1).collect();
            return self.see_if_any(transfer, &transfer.user, (&seen, modseq));
        }
        let everybodys = self.account_of(transfer.from)? == self.account_of(transfer.to)?;
        for (user, overlay) in source.overlays.iter() {
            if everybodys || *user == transfer.user {
                let seen = pairs.iter().filter(|p| overlay.seen(p.0)).map(|p| p.1);
                self.see_if_any(transfer, user, (&seen.collect::<Vec<_>>(), modseq))?;
            }
        }
        Ok(())
    }

    fn see_if_any(
        &mut self,
        transfer: &Transfer,
        user: &crate::mail::id::Login,
        (uids, modseq): (&[Uid], ModSeq),
    ) -> Result<(), StoreError> {
        if uids.is_empty() {
            return Ok(());
        }
        self.see(transfer.to, user, (uids, true, modseq))
    }

    fn account_of(&self, id: MailboxId) -> Result<&crate::mail::account::Account, StoreError> {
        Ok(&self.held(id)?.mailbox.account)
    }
}

/// The flags of the copy: all go along, \Seen only where the target keeps a shared one.
fn flags_there(transfer: &Transfer, entry: &Entry, own: &Overlay) -> SystemFlags {
    let seen = match transfer.from_seen {
        SeenMode::PerUser => own.seen(entry.uid),
        SeenMode::Shared => entry.flags.contains(SystemFlags::SEEN),
    };
    let others = entry.flags & !SystemFlags::SEEN;
    match transfer.to_seen {
        SeenMode::Shared if seen => others | SystemFlags::SEEN,
        SeenMode::Shared | SeenMode::PerUser => others,
    }
}

fn translate(keywords: &KeywordSet, numbers: &[Option<u8>]) -> KeywordSet {
    let mut there = KeywordSet::default();
    if !keywords.is_empty() {
        let numbers = keywords.iter().filter_map(|n| *numbers.get(usize::from(n))?);
        numbers.for_each(|n| there.insert(n));
    }
    there
}
