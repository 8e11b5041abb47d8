//! Changes inside one mailbox: delivery, flags, \Seen, expunge.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::audit::{Arrival, Named, named};
use super::{DUPLICATE_KEY_SECS, Draft, KEYWORD_BYTES_MAX, MailboxId, ModSeq, Outcome, StoreError};
use crate::mail::flag::{FlagList, KEYWORDS_MAX, KeywordSet, SystemFlags};
use crate::mail::id::{BlobId, Login, TraceId, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, Delivered, FlagOperation, NewMessage};
use crate::store::rows::Tombstone;
use crate::store::snapshot::Entry;

/// Up to which ModSeq a message may have changed for a conditional change to go through.
/// RFC 7162 §3.1.3
struct Condition {
    unchanged_since: Option<ModSeq>,
    /// What is above, this transaction did itself; that refuses nothing.
    before: ModSeq,
}

impl Condition {
    fn refuses(&self, modseq: ModSeq) -> bool {
        self.unchanged_since.is_some_and(|since| modseq > since && modseq <= self.before)
    }
}

impl Draft<'_> {
    /// No mailbox changes by it.
    pub(super) fn previews_made(&mut self, previews: Vec<(BlobId, String)>) -> Outcome {
        self.own.rows.previews.extend(previews);
        Outcome::Done
    }

    pub(super) fn delivered(&mut self, delivered: Delivered) -> Result<Outcome, StoreError> {
        let mailbox = delivered.mailbox;
        let arrival = Arrival::of(&delivered);
        let uid_validity = self.held(mailbox)?.mailbox.uid_validity;
        if self.is_duplicate(delivered.duplicate_key) {
            self.heal(delivered.message);
            return Ok(Outcome::Duplicate);
        }
        let trace_bytes = delivered.trace.len() as u64;
        let size = u32::try_from(trace_bytes + delivered.message.bytes.len());
        let size_bytes = size.map_err(|_| StoreError::Limit("size of a message"))?;
        let keywords = self.keyword_numbers(mailbox, &delivered.flags.keywords)?;
        let blob = self.blob_of(delivered.message);
        let trace = self.trace_of(delivered.trace);
        let thread = delivered.thread.unwrap_or_else(|| self.counters().next_thread());
        let held = self.held_mut(mailbox)?;
        let (uid, modseq) = (held.take_uid()?, held.raise());
        let entry = Entry {
            uid,
            modseq,
            blob,
            trace,
            thread,
            size_bytes,
            trace_bytes: trace_bytes as u32,
            internal_date: delivered.internal_date,
            saved: self.base.now,
            flags: delivered.flags.system,
            keywords,
        };
        self.insert(mailbox, entry)?;
        for user in &delivered.seen_by {
            self.see(mailbox, user, (&[uid], true, modseq))?;
        }
        self.use_duplicate_key(delivered.duplicate_key);
        self.tell_arrival(mailbox, ((blob, Some(thread)), arrival))?;
        Ok(Outcome::Stored { uid, uid_validity })
    }

    pub(super) fn flags_set(&mut self, change: &Change) -> Result<Outcome, StoreError> {
        let Change::FlagsSet { mailbox, uids, operation, flags, unchanged_since, viewer } = change
        else {
            return Ok(Outcome::Done);
        };
        let condition = self.condition(*mailbox, *unchanged_since);
        let loaded = self.loaded(*mailbox)?;
        let overlay = viewer.as_ref().map(|user| loaded.overlay(user)).unwrap_or_default();
        let (mut refused, mut targets) = (UidSet::new(), Vec::new());
        for entry in loaded.snapshot.entries_in(uids) {
            if condition.refuses(entry.modseq.max(overlay.modseq(entry.uid))) {
                refused.insert(entry.uid);
            } else {
                targets.push(entry.clone());
            }
        }
        if !targets.is_empty() {
            let keywords = self.keywords_for(*mailbox, *operation, flags)?;
            targets.retain_mut(|entry| combine(entry, *operation, (flags.system, keywords)));
            self.update(*mailbox, targets)?;
        }
        Ok(Outcome::Flags { refused })
    }

    pub(super) fn arrivals_flagged(
        &mut self,
        mailbox: MailboxId,
        (operation, flags): (FlagOperation, FlagList),
        seen_by: Option<Login>,
    ) -> Result<Outcome, StoreError> {
        let first = self.before(mailbox).map_or(Uid(1), |held| held.uid_next);
        let mut uids = UidSet::new();
        uids.insert_range(first, Uid(u32::MAX));
        let (unchanged_since, viewer) = (None, None);
        if let Some(user) = seen_by {
            let (uids, seen) = (uids.clone(), true);
            self.seen_set(&Change::SeenSet { mailbox, user, uids, seen, unchanged_since })?;
        }
        self.flags_set(&Change::FlagsSet {
            mailbox,
            uids,
            operation,
            flags,
            unchanged_since,
            viewer,
        })
    }

    pub(super) fn still_there(
        &mut self,
        mailbox: MailboxId,
        uids: &UidSet,
        with: SystemFlags,
    ) -> Result<Outcome, StoreError> {
        let there = self.loaded(mailbox)?.snapshot.entries_in(uids);
        let present = there.filter(|entry| entry.flags.contains(with)).count();
        match present == uids.iter().count() {
            true => Ok(Outcome::Done),
            false => Err(StoreError::Outrun),
        }
    }

    pub(super) fn seen_set(&mut self, change: &Change) -> Result<Outcome, StoreError> {
        let Change::SeenSet { mailbox, user, uids, seen, unchanged_since } = change else {
            return Ok(Outcome::Done);
        };
        let condition = self.condition(*mailbox, *unchanged_since);
        let loaded = self.loaded(*mailbox)?;
        let overlay = loaded.overlay(user);
        let (mut refused, mut targets) = (UidSet::new(), Vec::new());
        for entry in loaded.snapshot.entries_in(uids) {
            if condition.refuses(entry.modseq.max(overlay.modseq(entry.uid))) {
                refused.insert(entry.uid);
            } else if overlay.seen(entry.uid) != *seen {
                targets.push(entry.uid);
            }
        }
        if !targets.is_empty() {
            let modseq = self.raise(*mailbox)?;
            self.see(*mailbox, user, (&targets, *seen, modseq))?;
        }
        Ok(Outcome::Flags { refused })
    }

    pub(super) fn expunged(
        &mut self,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Outcome, StoreError> {
        let (uids, messages) = self.taken_out(mailbox, uids)?;
        self.tell_expunged(mailbox, &messages)?;
        Ok(Outcome::Expunged { uids })
    }

    /// Removes instances; names those that were there, and their messages.
    pub(super) fn taken_out(
        &mut self,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<(UidSet, Vec<Named>), StoreError> {
        let snapshot = self.loaded(mailbox)?.snapshot.clone();
        let gone: Vec<&Entry> = snapshot.entries_in(uids).collect();
        let uids: UidSet = gone.iter().map(|entry| entry.uid).collect();
        let messages = gone.iter().map(|entry| named(entry)).collect();
        if uids.is_empty() {
            return Ok((uids, messages));
        }
        let modseq = self.raise(mailbox)?;
        for entry in gone {
            self.own.rows.count(entry, -1);
            self.own.rows.instances.insert((mailbox, entry.uid), None);
            self.held_mut(mailbox)?.forget_size(entry);
        }
        for (first, last) in uids.ranges() {
            let (first, last) = (Uid(*first), Uid(*last));
            self.own.rows.tombstones.push(Tombstone { mailbox, modseq, first, last });
        }
        Arc::make_mut(&mut self.held_mut(mailbox)?.loaded_mut()?.snapshot).remove(&uids);
        self.forget(mailbox, &uids)?;
        self.forget_deletion(mailbox, &uids)?;
        Ok((uids, messages))
    }

    /// Adds an instance, with its rows.
    pub(super) fn insert(&mut self, mailbox: MailboxId, entry: Entry) -> Result<(), StoreError> {
        self.own.rows.count(&entry, 1);
        self.own.rows.instances.insert((mailbox, entry.uid), Some(entry.clone()));
        self.held_mut(mailbox)?.push(entry);
        Ok(())
    }

    /// Sets or clears a user's own \Seen on UIDs that exist.
    pub(super) fn see(
        &mut self,
        mailbox: MailboxId,
        user: &Login,
        (uids, seen, modseq): (&[Uid], bool, ModSeq),
    ) -> Result<(), StoreError> {
        let loaded = self.held_mut(mailbox)?.loaded_mut()?;
        let overlays = Arc::make_mut(&mut loaded.overlays);
        let overlay = Arc::make_mut(overlays.entry(user.clone()).or_default());
        uids.iter().for_each(|uid| overlay.set(*uid, seen, modseq));
        let numbers: BTreeSet<u32> = uids.iter().map(|uid| uid.0 / 64).collect();
        let blocks = numbers.iter().filter_map(|n| Some((*n, overlay.block(*n)?.clone())));
        let rows: Vec<_> = blocks.map(|(n, b)| ((mailbox, user.clone(), n), b)).collect();
        self.own.rows.blocks.extend(rows);
        Ok(())
    }

    /// The numbers of keywords by name; new ones get the next numbers.
    pub(super) fn keyword_numbers<S: AsRef<str>>(
        &mut self,
        mailbox: MailboxId,
        names: &[S],
    ) -> Result<KeywordSet, StoreError> {
        let mut numbers = KeywordSet::default();
        for name in names.iter().map(AsRef::as_ref) {
            let known = &self.held(mailbox)?.keywords;
            let number = match known.iter().position(|k| k.eq_ignore_ascii_case(name)) {
                Some(number) => number,
                None => self.new_keyword(mailbox, name)?,
            };
            numbers.insert(number as u8);
        }
        Ok(numbers)
    }

    pub(super) fn new_keyword(
        &mut self,
        mailbox: MailboxId,
        name: &str,
    ) -> Result<usize, StoreError> {
        let number = self.held(mailbox)?.keywords.len();
        if number >= KEYWORDS_MAX {
            return Err(StoreError::Limit("keywords of a mailbox"));
        }
        if name.len() > KEYWORD_BYTES_MAX {
            return Err(StoreError::Limit("length of a keyword"));
        }
        let name: Arc<str> = name.into();
        Arc::make_mut(&mut self.held_mut(mailbox)?.keywords).push(name.clone());
        self.own.rows.keywords.push((mailbox, number as u8, name));
        Ok(number)
    }

    /// As `keyword_numbers`; but what is only taken away needs no number.
    fn keywords_for(
        &mut self,
        mailbox: MailboxId,
        operation: FlagOperation,
        flags: &FlagList,
    ) -> Result<KeywordSet, StoreError> {
        if operation != FlagOperation::Remove {
            return self.keyword_numbers(mailbox, &flags.keywords);
        }
        let known = &self.held(mailbox)?.keywords;
        let mut numbers = KeywordSet::default();
        for name in &flags.keywords {
            let at = known.iter().position(|k| k.eq_ignore_ascii_case(name));
            at.into_iter().for_each(|number| numbers.insert(number as u8));
        }
        Ok(numbers)
    }

    fn update(&mut self, mailbox: MailboxId, entries: Vec<Entry>) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let modseq = self.raise(mailbox)?;
        let loaded = self.held_mut(mailbox)?.loaded_mut()?;
        let snapshot = Arc::make_mut(&mut loaded.snapshot);
        let entries: Vec<Entry> = entries.into_iter().map(|e| Entry { modseq, ..e }).collect();
        for entry in &entries {
            snapshot.update(entry.uid, |e| *e = entry.clone());
        }
        let rows = entries.into_iter().map(|e| ((mailbox, e.uid), Some(e)));
        self.own.rows.instances.extend(rows);
        Ok(())
    }

    /// Clears what users had of messages that are gone, so that overlays count only what is there.
    fn forget(&mut self, mailbox: MailboxId, uids: &UidSet) -> Result<(), StoreError> {
        let loaded = self.held_mut(mailbox)?.loaded_mut()?;
        let mut touched = Vec::new();
        for (user, overlay) in Arc::make_mut(&mut loaded.overlays) {
            let known = uids.iter().filter(|u| overlay.seen(*u) || overlay.modseq(*u).0 > 0);
            let known: Vec<Uid> = known.collect();
            if known.is_empty() {
                continue;
            }
            let overlay = Arc::make_mut(overlay);
            known.iter().for_each(|uid| overlay.forget(*uid));
            let numbers: BTreeSet<u32> = known.iter().map(|uid| uid.0 / 64).collect();
            let blocks = numbers.into_iter().filter_map(|n| Some((n, overlay.block(n)?.clone())));
            touched.extend(blocks.map(|(n, block)| ((mailbox, user.clone(), n), block)));
        }
        self.own.rows.blocks.extend(touched);
        Ok(())
    }

    /// Keys that this transaction itself used do not count: one mail for several mailboxes.
    pub(super) fn is_duplicate(&self, key: Option<[u8; 32]>) -> bool {
        let Some(key) = &key else { return false };
        let group = self.group.rows.duplicate_keys.get(key);
        let used = group.or(self.base.known.duplicate_keys.get(key));
        let within = |used: i64| self.base.now.seconds() - used < DUPLICATE_KEY_SECS;
        used.is_some_and(|used| within(used.seconds()))
    }

    pub(super) fn use_duplicate_key(&mut self, key: Option<[u8; 32]>) {
        let now = self.base.now;
        self.own.rows.duplicate_keys.extend(key.map(|key| (key, now)));
    }

    pub(super) fn blob_of(&mut self, message: NewMessage) -> BlobId {
        let hash = message.hash;
        let known = self.own.blobs.get(&hash).or(self.group.blobs.get(&hash));
        if let Some(blob) = known {
            return *blob;
        }
        if let Some(blob) = self.base.known.blobs.get(&hash) {
            self.heal(message);
            return *blob;
        }
        let blob = self.counters().next_blob();
        self.own.blobs.insert(hash, blob);
        self.own.rows.blobs.push((blob, message));
        blob
    }

    /// What has lost its bytes gets them from a message that is the same; once in a group.
    fn heal(&mut self, message: NewMessage) {
        let hash = message.hash;
        let is_healed = self.own.blobs.contains_key(&hash) || self.group.blobs.contains_key(&hash);
        if is_healed || !self.base.known.lost.contains(&hash) {
            return;
        }
        if let Some(blob) = self.base.known.blobs.get(&hash) {
            self.own.blobs.insert(hash, *blob);
            self.own.rows.healed.push((*blob, message));
        }
    }

    pub(super) fn trace_of(&mut self, trace: Vec<u8>) -> TraceId {
        if trace.is_empty() {
            return TraceId::NONE;
        }
        let id = self.counters().next_trace();
        self.own.rows.traces.push((id, trace));
        id
    }

    fn condition(&self, mailbox: MailboxId, unchanged_since: Option<ModSeq>) -> Condition {
        Condition { unchanged_since, before: self.modseq_before(mailbox) }
    }
}

/// Combines flags into `entry`; whether that changes it.
fn combine(
    entry: &mut Entry,
    operation: FlagOperation,
    (system, keywords): (SystemFlags, KeywordSet),
) -> bool {
    let old = (entry.flags, entry.keywords);
    let each =
        |f: fn(u64, u64) -> u64| KeywordSet(std::array::from_fn(|n| f(old.1.0[n], keywords.0[n])));
    (entry.flags, entry.keywords) = match operation {
        FlagOperation::Replace { keep } => ((old.0 & keep) | (system & !keep), keywords),
        FlagOperation::Add => (old.0 | system, each(|a, b| a | b)),
        FlagOperation::Remove => (old.0 & !system, each(|a, b| a & !b)),
    };
    old != (entry.flags, entry.keywords)
}
