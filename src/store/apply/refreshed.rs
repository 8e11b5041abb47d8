//! A virtual mailbox is brought forward: what its sources are at this point of the transaction is
//! what it shows. Its rows are its own; no message is counted for it.

use std::sync::Arc;

use super::{Draft, MailboxId, ModSeq, Outcome, StoreError};
use crate::mail::flag::{KEYWORDS_MAX, KeywordSet};
use crate::mail::id::Uid;
use crate::store::mirror::{Mirror, Origin, Plan, Present, Refresh};
use crate::store::rows::Tombstone;
use crate::store::snapshot::{Entry, Snapshot};
use crate::store::state::Held;

impl Draft<'_> {
    pub(super) fn refreshed(&mut self, refresh: &Refresh) -> Result<Outcome, StoreError> {
        let id = refresh.mailbox;
        let before = self.loaded(id)?.snapshot.clone();
        let present = self.present(refresh)?;
        let plan = Plan::new(&before, &present, &refresh.renewed);
        let mut given = Vec::with_capacity(plan.added.len());
        if !plan.is_empty() {
            let modseq = self.raise(id)?;
            self.mirror_removed(id, &plan, modseq)?;
            for (own, origin, entry) in &plan.changed {
                self.mirror_changed((id, *own), (*origin, entry), (&present, modseq))?;
            }
            for (origin, entry) in &plan.added {
                let uid = self.held_mut(id)?.take_uid()?;
                given.push(uid);
                let keywords = self.keywords_of(id, (*origin, entry), &present)?;
                let entry = Entry { uid, modseq, keywords, ..entry.clone() };
                self.own.rows.mirrored.insert((id, uid), Some((entry.clone(), *origin)));
                self.held_mut(id)?.push(entry);
            }
        }
        let empty = Mirror::default();
        let mirror = before.mirror.as_deref().unwrap_or(&empty);
        let mirror = mirror.after(&plan, &given, &present);
        self.mirror_mut(id)?.mirror = Some(Arc::new(mirror));
        Ok(Outcome::Done)
    }

    /// The sources as they are now; one that is deleted shows nothing.
    fn present(&mut self, refresh: &Refresh) -> Result<Vec<Present>, StoreError> {
        let mut present = Vec::with_capacity(refresh.sources.len());
        for source in refresh.sources.iter() {
            // what this transaction did before has not reached the head of the snapshot yet
            if let Some(Some(held)) = self.own.mailboxes.get_mut(&source.mailbox) {
                held.settle();
            }
            let held = match self.held(source.mailbox) {
                Err(StoreError::Gone) => continue,
                held => held?,
            };
            let loaded = held.loaded()?;
            present.push(Present {
                mailbox: held.mailbox.clone(),
                seen: source.seen,
                snapshot: loaded.snapshot.clone(),
                overlay: loaded.overlay(&refresh.user),
            });
        }
        Ok(present)
    }

    fn mirror_removed(
        &mut self,
        id: MailboxId,
        plan: &Plan,
        modseq: ModSeq,
    ) -> Result<(), StoreError> {
        if plan.removed.is_empty() {
            return Ok(());
        }
        for own in plan.removed.iter() {
            self.own.rows.mirrored.insert((id, own), None);
        }
        for (first, last) in plan.removed.ranges() {
            let (first, last) = (Uid(*first), Uid(*last));
            self.own.rows.tombstones.push(Tombstone { mailbox: id, modseq, first, last });
        }
        self.mirror_mut(id)?.remove(&plan.removed);
        Ok(())
    }

    fn mirror_changed(
        &mut self,
        (id, own): (MailboxId, Uid),
        (origin, there): (Origin, &Entry),
        (present, modseq): (&[Present], ModSeq),
    ) -> Result<(), StoreError> {
        let keywords = self.keywords_of(id, (origin, there), present)?;
        let snapshot = self.mirror_mut(id)?;
        let saved = snapshot.by_uid(own).map_or(there.saved, |entry| entry.saved);
        let entry = Entry { uid: own, modseq, saved, keywords, ..there.clone() };
        snapshot.update(own, |old| *old = entry.clone());
        self.own.rows.mirrored.insert((id, own), Some((entry, origin)));
        Ok(())
    }

    fn mirror_mut(&mut self, id: MailboxId) -> Result<&mut Snapshot, StoreError> {
        self.held_mut(id).and_then(Held::loaded_mut).map(|l| Arc::make_mut(&mut l.snapshot))
    }

    /// A message's keywords by the virtual mailbox's own numbers. What it has no number left for is
    /// not shown.
    fn keywords_of(
        &mut self,
        id: MailboxId,
        (origin, there): (Origin, &Entry),
        present: &[Present],
    ) -> Result<KeywordSet, StoreError> {
        let mut numbers = KeywordSet::default();
        if there.keywords.is_empty() {
            return Ok(numbers);
        }
        let source = present.iter().find(|source| source.mailbox.id == origin.mailbox);
        let Some(names) = source.map(|source| &source.snapshot.keywords) else {
            return Ok(numbers);
        };
        for name in there.keywords.iter().filter_map(|n| names.get(usize::from(n))) {
            let known = &self.held(id)?.keywords;
            let number = known.iter().position(|known| known.eq_ignore_ascii_case(name));
            let number = match number {
                None if known.len() >= KEYWORDS_MAX => continue,
                None => self.new_keyword(id, name)?,
                Some(number) => number,
            };
            numbers.insert(number as u8);
        }
        Ok(numbers)
    }
}
