//! The way back out of an inbox's Trash: a message returns to its conversation; where nothing else
//! of that is at work, to where it was, with its assignee. The audit log knows where that is.

use std::collections::{BTreeMap, HashSet};

use super::moving::{self, NAMED_MAX, Target};
use super::thread::Thread;
use super::{Scope, State};
use crate::directory::Moves;
use crate::mail::account::{Folder, FolderRole};
use crate::mail::id::{BlobId, Login, MailboxId, Timestamp, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::StoreError;
use crate::store::audit::{Entry, EntryId};
use crate::store::change::{Change, Transfer};

/// A message in a Trash, and what is known of how it came there.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// Which there.
    pub uid: Uid,
    /// The message.
    pub blob: BlobId,
    /// The entry of the audit log that tells of it; `None`: it is not known.
    pub entry: Option<Entry>,
}

/// Where some messages of a Trash go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Return {
    /// Into which mailbox.
    pub mailbox: MailboxId,
    /// Which is this folder.
    pub folder: Folder,
    /// Which messages.
    pub uids: UidSet,
}

/// Those of `uids` that are in a Trash, in their order there.
pub async fn deleted(
    scope: &Scope<'_>,
    (trash, uids): (MailboxId, &UidSet),
) -> Result<Vec<Deleted>, StoreError> {
    let snapshot = scope.store.snapshot(trash).await?;
    let by = scope.store.trashed(trash).await?;
    let mut entries: BTreeMap<EntryId, Option<Entry>> = BTreeMap::new();
    let mut all = Vec::new();
    for message in snapshot.entries_in(uids) {
        let (uid, blob) = (message.uid, message.blob);
        let entry = match by.get(&uid) {
            None => None,
            Some(id) if entries.contains_key(id) => entries[id].clone(),
            Some(id) => {
                let entry = entry(scope, *id).await?;
                entries.insert(*id, entry.clone());
                entry
            }
        };
        all.push(Deleted { uid, blob, entry });
    }
    Ok(all)
}

async fn entry(scope: &Scope<'_>, id: EntryId) -> Result<Option<Entry>, StoreError> {
    let found = scope.store.audited(id, Timestamp(i64::MIN), 1).await?.into_iter().next();
    Ok(found.filter(|record| record.id == id).and_then(|record| Entry::parse(&record.text)))
}

/// Where these messages go back to: each to a folder that is there.
pub async fn returns(scope: &Scope<'_>, messages: &[Deleted]) -> Result<Vec<Return>, StoreError> {
    gather(scope, messages, |_| true).await
}

/// As `returns`, but of what was not in a folder of work, to its conversation or into the inbox
/// itself.
pub async fn to_work(scope: &Scope<'_>, messages: &[Deleted]) -> Result<Vec<Return>, StoreError> {
    gather(scope, messages, |folder| State::of(scope.account, folder).is_some()).await
}

async fn gather(
    scope: &Scope<'_>,
    messages: &[Deleted],
    is_wanted: impl Fn(&Folder) -> bool,
) -> Result<Vec<Return>, StoreError> {
    let mut places: BTreeMap<Folder, UidSet> = BTreeMap::new();
    for message in messages {
        let was = message.entry.as_ref().and_then(|entry| entry.from.as_deref()).map(Folder::new);
        let was = was.filter(|folder| is_wanted(folder) && can_hold(scope, folder));
        let folder = place(scope, (message.blob, was), messages.len()).await?;
        places.entry(folder).or_default().insert(message.uid);
    }
    let found = |(folder, uids): (Folder, UidSet)| {
        let mailbox = scope.store.find(scope.account, &folder)?.id;
        Some(Return { mailbox, folder, uids })
    };
    Ok(places.into_iter().filter_map(found).collect())
}

async fn place(
    scope: &Scope<'_>,
    (blob, was): (BlobId, Option<Folder>),
    count: usize,
) -> Result<Folder, StoreError> {
    let is_at_work = was.as_ref().is_none_or(|was| State::of(scope.account, was).is_some());
    if is_at_work
        && count <= NAMED_MAX
        && let Some(folder) = conversation(scope, blob).await?
    {
        return Ok(folder);
    }
    Ok(was.unwrap_or_else(Folder::root))
}

/// Where the rest of its conversation is; nowhere in an inbox where messages move alone.
async fn conversation(scope: &Scope<'_>, blob: BlobId) -> Result<Option<Folder>, StoreError> {
    let moves = scope.directory.policy(scope.account).map(|policy| policy.conversation);
    if moves != Some(Moves::Together) {
        return Ok(None);
    }
    let thread = Thread::of(scope, &[blob]).await?;
    Ok(thread.states(scope).first().map(|(_, place)| place.folder.clone()))
}

/// Whether a folder exists, is no Trash, and, if it is a member's, is of one who works there.
fn can_hold(scope: &Scope<'_>, folder: &Folder) -> bool {
    let works = |login: &str| scope.directory.works_in(&Login::new(login), scope.account);
    scope.store.find(scope.account, folder).is_some()
        && !folder.is_role(FolderRole::Trash)
        && folder.assignee().is_none_or(works)
}

/// The changes that bring messages of a Trash back. The first that moves something does so for the
/// first return.
pub async fn changes(
    scope: &Scope<'_>,
    (trash, returns): (MailboxId, &[Return]),
    user: &Login,
) -> Result<Vec<Change>, StoreError> {
    let seen = scope.directory.seen_mode(scope.account);
    let mut changes = Vec::new();
    for Return { mailbox, folder, uids } in returns {
        match State::of(scope.account, folder) {
            Some(state) => {
                let target = Target { state, mailbox: *mailbox, user: user.clone() };
                let groups = [(trash, uids.clone())];
                changes.extend(moving::changes(scope, &groups, &target).await?);
            }
            None => changes.push(Change::Moved(Transfer {
                from: trash,
                from_seen: seen,
                uids: uids.clone(),
                to: *mailbox,
                to_seen: seen,
                user: user.clone(),
            })),
        }
    }
    Ok(changes)
}

/// Without those whose message lies in the inbox already, and each message once: the one that was
/// deleted last.
pub async fn without_copies(
    scope: &Scope<'_>,
    trash: MailboxId,
    messages: Vec<Deleted>,
) -> Result<Vec<Deleted>, StoreError> {
    let mut there: HashSet<BlobId> = HashSet::new();
    for mailbox in scope.store.mailboxes(scope.account) {
        if mailbox.id != trash && State::of(scope.account, &mailbox.folder).is_some() {
            let snapshot = scope.store.snapshot(mailbox.id).await?;
            there.extend(snapshot.iter().map(|entry| entry.blob));
        }
    }
    let mut kept: Vec<Deleted> =
        messages.into_iter().rev().filter(|message| there.insert(message.blob)).collect();
    kept.reverse();
    Ok(kept)
}
