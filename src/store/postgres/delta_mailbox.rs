//! The part of a delta that lies inside mailboxes: what stands at the head of each, and its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::mail::account::{Account, Folder};
use crate::mail::id::{Login, MailboxId, ModSeq, Uid, UidValidity};
use crate::mail::uid_set::UidSet;
use crate::store::mirror::{Mirror, Origin};
use crate::store::overlay::Block;
use crate::store::rows::Rows;
use crate::store::snapshot::{Entry, Snapshot};
use crate::store::state::{Contents, Held, Loaded};
use crate::store::{Mailbox, Usage};

/// What stands at the head of a mailbox.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    account: Account,
    folder: Folder,
    uid_validity: UidValidity,
    uid_next: Uid,
    highest_modseq: ModSeq,
    usage: Usage,
}

/// A mailbox's rows, ascending by UID.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct MailboxRows {
    instances: Vec<(Uid, Option<Entry>)>,
    mirrored: Vec<(Uid, Option<(Entry, Origin)>)>,
    blocks: Vec<(Login, u32, Arc<Block>)>,
    /// New ones, in the order of their numbers.
    keywords: Vec<Arc<str>>,
}

/// Each mailbox's own.
pub(super) fn by_mailbox(rows: &Rows) -> BTreeMap<MailboxId, MailboxRows> {
    let mut all: BTreeMap<MailboxId, MailboxRows> = BTreeMap::new();
    for ((id, uid), entry) in &rows.instances {
        all.entry(*id).or_default().instances.push((*uid, entry.clone()));
    }
    for ((id, uid), entry) in &rows.mirrored {
        all.entry(*id).or_default().mirrored.push((*uid, entry.clone()));
    }
    for ((id, user, number), block) in &rows.blocks {
        all.entry(*id).or_default().blocks.push((user.clone(), *number, block.clone()));
    }
    for (id, _, name) in &rows.keywords {
        all.entry(*id).or_default().keywords.push(name.clone());
    }
    all
}

impl Header {
    pub(super) fn of(held: &Held) -> Header {
        Header {
            account: held.mailbox.account.clone(),
            folder: held.mailbox.folder.clone(),
            uid_validity: held.mailbox.uid_validity,
            uid_next: held.uid_next,
            highest_modseq: held.highest_modseq,
            usage: held.usage,
        }
    }

    /// The mailbox as it is with this head and these rows. Contents that are not in memory stay
    /// where they are.
    pub(super) fn onto(self, id: MailboxId, before: Option<&Held>, rows: MailboxRows) -> Held {
        let Header { account, folder, uid_validity, .. } = self;
        let mailbox = Mailbox { id, account, folder, uid_validity };
        let mut held = match before {
            Some(before) if *before.mailbox == mailbox => before.clone(),
            Some(before) => Held { mailbox: Arc::new(mailbox), ..before.clone() },
            None => Held::empty(mailbox),
        };
        held.uid_next = self.uid_next;
        held.highest_modseq = self.highest_modseq;
        held.usage = self.usage;
        if !rows.keywords.is_empty() {
            Arc::make_mut(&mut held.keywords).extend(rows.keywords.iter().cloned());
        }
        if let Contents::Loaded(loaded) = &mut held.contents {
            rows.onto(loaded);
        }
        held
    }
}

impl MailboxRows {
    /// How many messages `onto` will go through, roughly: of a virtual mailbox all numbers are
    /// copied.
    pub(super) fn touched(&self, loaded: Option<&Loaded>) -> usize {
        let all = loaded.map_or(0, |loaded| loaded.snapshot.len());
        let copied = if self.mirrored.is_empty() { 0 } else { all / 10 };
        copied + self.mirrored.len() + self.instances.len() + self.blocks.len()
    }

    fn onto(self, loaded: &mut Loaded) {
        if !self.instances.is_empty() {
            put(Arc::make_mut(&mut loaded.snapshot), self.instances);
        }
        if !self.mirrored.is_empty() {
            mirror(Arc::make_mut(&mut loaded.snapshot), self.mirrored);
        }
        if !self.blocks.is_empty() {
            let overlays = Arc::make_mut(&mut loaded.overlays);
            for (user, number, block) in self.blocks {
                let overlay = overlays.entry(user).or_default();
                Arc::make_mut(overlay).load(number, Arc::unwrap_or_clone(block));
            }
        }
    }
}

fn put(snapshot: &mut Snapshot, rows: Vec<(Uid, Option<Entry>)>) {
    let gone: UidSet = rows.iter().filter(|row| row.1.is_none()).map(|row| row.0).collect();
    if !gone.is_empty() {
        snapshot.remove(&gone);
    }
    for entry in rows.into_iter().filter_map(|(_, entry)| entry) {
        if !snapshot.update(entry.uid, |there| *there = entry.clone()) {
            snapshot.push(entry);
        }
    }
}

fn mirror(snapshot: &mut Snapshot, rows: Vec<(Uid, Option<(Entry, Origin)>)>) {
    let empty = Mirror::default();
    let before = snapshot.mirror.as_deref().unwrap_or(&empty);
    let mut origins = Vec::with_capacity(before.origins().len() + rows.len());
    let mut old = before.origins().iter().copied().peekable();
    let mut entries = Vec::with_capacity(rows.len());
    for (uid, row) in rows {
        while let Some(earlier) = old.next_if(|(own, _)| *own < uid) {
            origins.push(earlier);
        }
        old.next_if(|(own, _)| *own == uid);
        origins.extend(row.as_ref().map(|(_, origin)| (uid, *origin)));
        entries.push((uid, row.map(|(entry, _)| entry)));
    }
    origins.extend(old);
    snapshot.mirror = Some(Arc::new(before.moved_on(origins)));
    put(snapshot, entries);
}
