//! A virtual mailbox: its messages lie in others, its UIDs and mod-sequences are its own. It is
//! brought forward when somebody looks: what lies between the mailboxes as they were then and as
//! they are now is written into it, in a transaction like any other, so that all the rest of the
//! store knows no difference. It keeps no message alive and is nobody's but one user's: that user's
//! own \Seen stands among its flags. Knows no folder and no right: which mailboxes it shows is the
//! caller's word.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Actor, Change, Transaction};
use super::overlay::Overlay;
use super::snapshot::{Entry, Snapshot};
use super::{Mailbox, Store, StoreError};
use crate::mail::account::Account;
use crate::mail::flag::{KEYWORDS_MAX, KeywordSet, SeenMode, SystemFlags};
use crate::mail::id::{BlobId, Login, MailboxId, ModSeq, TraceId, Uid};
use crate::mail::uid_set::UidSet;

/// A mailbox that a virtual one shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// Which.
    pub mailbox: MailboxId,
    /// Whose \Seen it keeps.
    pub seen: SeenMode,
}

/// Where a message of a virtual mailbox lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// In which mailbox.
    pub mailbox: MailboxId,
    /// Which there.
    pub uid: Uid,
}

/// See `Change::Refreshed`.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// Which virtual mailbox.
    pub mailbox: MailboxId,
    /// Whose.
    pub user: Login,
    /// What it shows from now on.
    pub sources: Arc<[Source]>,
    /// Messages that get a new UID if they are still to be shown after they were moved: the client
    /// that has moved them takes them for gone. Others keep theirs on the way between two sources.
    pub renewed: UidSet,
}

/// Which message of a virtual mailbox is which.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Mirror {
    /// Ascending by own UID.
    origins: Arc<Vec<(Uid, Origin)>>,
    followed: BTreeMap<MailboxId, Followed>,
}

/// How far a source has been followed.
#[derive(Clone, PartialEq, Debug, Default)]
struct Followed {
    /// UID there and own UID, ascending by the first.
    uids: Arc<Vec<(Uid, Uid)>>,
    /// The state that is shown; `None` after the store was opened.
    state: Option<(SeenMode, Arc<Snapshot>, Arc<Overlay>)>,
}

/// A source at this moment.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) seen: SeenMode,
    pub(super) snapshot: Arc<Snapshot>,
    /// The user's own.
    pub(super) overlay: Arc<Overlay>,
}

/// What lies between a virtual mailbox and its sources. Flags are the user's; keywords are numbered
/// as the source numbers them.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Plan {
    pub(super) removed: UidSet,
    /// Own UID, where it lies now, how it is there.
    pub(super) changed: Vec<(Uid, Origin, Entry)>,
    /// In the order in which they get their UIDs.
    pub(super) added: Vec<(Origin, Entry)>,
}

impl Mirror {
    /// From own UIDs, ascending, and where each lies.
    pub(super) fn new(origins: Vec<(Uid, Origin)>) -> Mirror {
        let mut uids: BTreeMap<MailboxId, Vec<(Uid, Uid)>> = BTreeMap::new();
        for (own, origin) in &origins {
            uids.entry(origin.mailbox).or_default().push((origin.uid, *own));
        }
        let followed = uids.into_iter().map(|(mailbox, mut uids)| {
            uids.sort_unstable();
            (mailbox, Followed { uids: Arc::new(uids), state: None })
        });
        Mirror { followed: followed.collect(), origins: Arc::new(origins) }
    }

    /// As it is when another node has brought it forward: these are its messages. How its sources
    /// were then is not known here.
    pub(super) fn moved_on(&self, origins: Vec<(Uid, Origin)>) -> Mirror {
        let mut mirror = Mirror::new(origins);
        for source in self.followed.keys() {
            mirror.followed.entry(*source).or_default();
        }
        mirror
    }

    /// Own UIDs, ascending, and where each lies.
    pub(super) fn origins(&self) -> &[(Uid, Origin)] {
        &self.origins
    }

    /// Where a message lies.
    pub fn origin(&self, own: Uid) -> Option<Origin> {
        let at = self.origins.binary_search_by_key(&own, |(uid, _)| *uid).ok()?;
        Some(self.origins[at].1)
    }

    /// The own UID of a message.
    pub fn own(&self, origin: Origin) -> Option<Uid> {
        let uids = &self.followed.get(&origin.mailbox)?.uids;
        let at = uids.binary_search_by_key(&origin.uid, |(there, _)| *there).ok()?;
        Some(uids[at].1)
    }

    /// Up to which mod-sequence of a source its messages are shown as they are.
    pub fn shown_up_to(&self, source: MailboxId) -> ModSeq {
        let state = self.followed.get(&source).and_then(|followed| followed.state.as_ref());
        state.map_or(ModSeq(0), |(_, snapshot, _)| snapshot.highest_modseq)
    }

    /// The mailboxes that are followed.
    pub fn sources(&self) -> impl Iterator<Item = MailboxId> + '_ {
        self.followed.keys().copied()
    }

    /// Whether these are followed, and no others.
    fn follows(&self, present: &[Present]) -> bool {
        let is_followed = |source: &Present| {
            let state = self.followed.get(&source.mailbox.id).and_then(|f| f.state.as_ref());
            state.is_some_and(|(seen, ..)| *seen == source.seen)
        };
        self.followed.len() == present.len() && present.iter().all(is_followed)
    }

    /// As it is when `plan` has been carried out, with the UIDs that were given to what is added.
    pub(super) fn after(&self, plan: &Plan, given: &[Uid], present: &[Present]) -> Mirror {
        let mut origins: Vec<(Uid, Origin)> = (*self.origins).clone();
        if !plan.removed.is_empty() {
            origins.retain(|(own, _)| !plan.removed.contains(*own));
        }
        let mut touched: Vec<MailboxId> = Vec::new();
        for own in plan.removed.iter() {
            touched.extend(self.origin(own).map(|origin| origin.mailbox));
        }
        for (own, origin, _) in &plan.changed {
            let Ok(at) = origins.binary_search_by_key(own, |(uid, _)| *uid) else { continue };
            let before = std::mem::replace(&mut origins[at].1, *origin);
            if before != *origin {
                touched.extend([before.mailbox, origin.mailbox]);
            }
        }
        for ((origin, _), own) in plan.added.iter().zip(given) {
            origins.push((*own, *origin));
            touched.push(origin.mailbox);
        }
        touched.sort_unstable();
        touched.dedup();
        let uids = uids_of(&origins, &touched);
        let followed = present.iter().map(|source| {
            let id = source.mailbox.id;
            let old = || self.followed.get(&id).map(|f| f.uids.clone()).unwrap_or_default();
            let uids = match touched.contains(&id) {
                true => Arc::new(uids.get(&id).cloned().unwrap_or_default()),
                false => old(),
            };
            let state = (source.seen, source.snapshot.clone(), source.overlay.clone());
            (id, Followed { uids, state: Some(state) })
        });
        Mirror { followed: followed.collect(), origins: Arc::new(origins) }
    }
}

/// The pairs of those sources that changed.
fn uids_of(
    origins: &[(Uid, Origin)],
    touched: &[MailboxId],
) -> HashMap<MailboxId, Vec<(Uid, Uid)>> {
    let mut uids: HashMap<MailboxId, Vec<(Uid, Uid)>> = HashMap::new();
    for (own, origin) in origins {
        if touched.binary_search(&origin.mailbox).is_ok() {
            uids.entry(origin.mailbox).or_default().push((origin.uid, *own));
        }
    }
    uids.values_mut().for_each(|uids| uids.sort_unstable());
    uids
}

impl Plan {
    pub(super) fn new(before: &Snapshot, present: &[Present], renewed: &UidSet) -> Plan {
        let empty = Mirror::default();
        let mirror = before.mirror.as_deref().unwrap_or(&empty);
        let mut plan = Plan::default();
        for (id, followed) in &mirror.followed {
            if !present.iter().any(|source| source.mailbox.id == *id) {
                followed.uids.iter().for_each(|(_, own)| plan.removed.insert(*own));
            }
        }
        for source in present {
            plan.compare(before, mirror, source);
        }
        plan.added.sort_by_key(|(origin, entry)| (entry.saved, *origin));
        plan.pair((before, mirror), present, renewed);
        plan
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Plan::default()
    }

    fn compare(&mut self, before: &Snapshot, mirror: &Mirror, source: &Present) {
        let none = Followed::default();
        let followed = mirror.followed.get(&source.mailbox.id).unwrap_or(&none);
        let touched = touched(followed, source);
        if touched.is_empty() {
            return;
        }
        let translation = Translation::new(&source.snapshot.keywords, &before.keywords);
        for uid in touched {
            let origin = Origin { mailbox: source.mailbox.id, uid };
            let there = source.snapshot.by_uid(uid).map(|entry| source.shown(entry));
            let own = mirror.own(origin).and_then(|own| before.by_uid(own));
            match (there, own) {
                (Some(there), Some(own)) if translation.differs(&there, own) => {
                    self.changed.push((own.uid, origin, there));
                }
                (Some(there), None) => self.added.push((origin, there)),
                (None, Some(own)) => self.removed.insert(own.uid),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }

    /// What went from one source to another of the same account is the same message.
    fn pair(
        &mut self,
        (before, mirror): (&Snapshot, &Mirror),
        present: &[Present],
        renewed: &UidSet,
    ) {
        if self.removed.is_empty() || self.added.is_empty() {
            return;
        }
        let account = |mailbox: MailboxId| -> Option<&Account> {
            let source = present.iter().find(|source| source.mailbox.id == mailbox)?;
            Some(&source.mailbox.account)
        };
        let mut gone: HashMap<(&Account, BlobId, TraceId), Vec<Uid>> = HashMap::new();
        for own in self.removed.iter().filter(|own| !renewed.contains(*own)) {
            let account = mirror.origin(own).and_then(|origin| account(origin.mailbox));
            if let (Some(account), Some(entry)) = (account, before.by_uid(own)) {
                gone.entry((account, entry.blob, entry.trace)).or_default().push(own);
            }
        }
        let mut found = UidSet::new();
        for (origin, entry) in std::mem::take(&mut self.added) {
            let key = account(origin.mailbox).map(|account| (account, entry.blob, entry.trace));
            match key.and_then(|key| gone.get_mut(&key)?.pop()) {
                Some(own) => {
                    found.insert(own);
                    self.changed.push((own, origin, entry));
                }
                None => self.added.push((origin, entry)),
            }
        }
        if !found.is_empty() {
            self.removed = self.removed.iter().filter(|own| !found.contains(*own)).collect();
        }
    }
}

/// The UIDs of a source about which something may be new, each once.
fn touched(followed: &Followed, source: &Present) -> Vec<Uid> {
    let mut uids: Vec<Uid> = match &followed.state {
        Some((seen, snapshot, overlay)) if *seen == source.seen => {
            let same_overlay = Arc::ptr_eq(overlay, &source.overlay);
            if Arc::ptr_eq(snapshot, &source.snapshot) && same_overlay {
                return Vec::new();
            }
            let difference = Snapshot::difference(snapshot, &source.snapshot);
            let own = Overlay::changed_uids(overlay, &source.overlay);
            let gone = difference.expunged.iter();
            gone.chain(difference.changed).chain(difference.added).chain(own).collect()
        }
        _ => {
            let known = followed.uids.iter().map(|(there, _)| *there);
            known.chain(source.snapshot.iter().map(|entry| entry.uid)).collect()
        }
    };
    uids.sort_unstable();
    uids.dedup();
    uids
}

impl Present {
    /// An entry with the user's own \Seen among its flags.
    fn shown(&self, entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        if self.seen == SeenMode::PerUser {
            let seen = self.overlay.seen(entry.uid);
            let own = if seen { SystemFlags::SEEN } else { SystemFlags::NONE };
            entry.flags = (entry.flags & !SystemFlags::SEEN) | own;
        }
        entry
    }
}

/// From a source's numbers of keywords to those of the virtual mailbox.
struct Translation {
    numbers: Vec<Option<u8>>,
    /// A keyword without a number gets none: there are as many as there can be.
    is_full: bool,
}

impl Translation {
    fn new(there: &[Arc<str>], here: &[Arc<str>]) -> Translation {
        let number = |name: &Arc<str>| {
            let at = here.iter().position(|known| known.eq_ignore_ascii_case(name))?;
            u8::try_from(at).ok()
        };
        let is_full = here.len() >= KEYWORDS_MAX;
        Translation { numbers: there.iter().map(number).collect(), is_full }
    }

    fn differs(&self, there: &Entry, own: &Entry) -> bool {
        let mut keywords = KeywordSet::default();
        if !there.keywords.is_empty() {
            for n in there.keywords.iter() {
                match self.numbers.get(usize::from(n)).copied().flatten() {
                    Some(number) => keywords.insert(number),
                    None if self.is_full => {}
                    None => return true,
                }
            }
        }
        there.flags != own.flags || keywords != own.keywords || there.thread != own.thread
    }
}

/// Brings a virtual mailbox forward, if anything is new in its sources.
pub async fn bring_forward(store: &dyn Store, refresh: Refresh) -> Result<(), StoreError> {
    let before = store.snapshot(refresh.mailbox).await?;
    let mut present = Vec::with_capacity(refresh.sources.len());
    for source in refresh.sources.iter() {
        let Some(mailbox) = store.mailbox(source.mailbox) else { continue };
        let snapshot = match store.snapshot(source.mailbox).await {
            Err(StoreError::Gone) => continue,
            snapshot => snapshot?,
        };
        let overlay = match before.mirror.as_ref().and_then(|m| m.unchanged(&snapshot)) {
            Some(overlay) => overlay,
            None => store.overlay(source.mailbox, &refresh.user).await?,
        };
        present.push(Present { mailbox, seen: source.seen, snapshot, overlay });
    }
    let empty = Mirror::default();
    let mirror = before.mirror.as_deref().unwrap_or(&empty);
    if mirror.follows(&present) && Plan::new(&before, &present, &refresh.renewed).is_empty() {
        return Ok(());
    }
    let changes = vec![Change::Refreshed(Box::new(refresh))];
    store.commit(Transaction { actor: Actor::System, changes }).await.map(|_| ())
}

impl Mirror {
    /// The overlay of a source that has not changed at all.
    fn unchanged(&self, now: &Arc<Snapshot>) -> Option<Arc<Overlay>> {
        let (_, snapshot, overlay) = self.followed.get(&now.mailbox)?.state.as_ref()?;
        Arc::ptr_eq(snapshot, now).then(|| overlay.clone())
    }
}
