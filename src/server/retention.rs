//! Empties the Trash of inboxes and channels of what has been in it for longer than is declared.
//! Decides by when an instance entered the Trash, not by its date.

use super::duty::Under;
use crate::directory::Directory;
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::id::Timestamp;
use crate::mail::uid_set::UidSet;
use crate::store::change::{Actor, Change, Transaction};
use crate::store::snapshot::Snapshot;
use crate::store::{Store, StoreError};

/// How often the Trash is looked through.
pub const INTERVAL_SECS: u64 = 60 * 60;
/// Messages expunged in one transaction; more are expunged in further ones.
const MESSAGES_PER_TRANSACTION_MAX: usize = 1_000;
const SECS_PER_DAY: i64 = 24 * 60 * 60;

/// Expunges what is due now, as long as the duty is this node's. Answers how many messages.
pub async fn sweep(
    store: &dyn Store,
    directory: &Directory,
    under: &Under,
) -> Result<usize, StoreError> {
    let inboxes = directory.inboxes.values().map(|i| (Account::Inbox(i.name.clone()), &i.policy));
    let channels =
        directory.channels.values().map(|c| (Account::Channel(c.name.clone()), &c.policy));
    let mut count = 0;
    for (account, policy) in inboxes.chain(channels) {
        let Some(trash) = store.find(&account, &Folder::role(FolderRole::Trash)) else { continue };
        let kept_secs = i64::from(policy.retention_days) * SECS_PER_DAY;
        let limit = Timestamp::from_seconds(store.now().seconds() - kept_secs);
        let due = due(&*store.snapshot(trash.id).await?, limit);
        for some in due.chunks(MESSAGES_PER_TRANSACTION_MAX) {
            if !under.may_begin() {
                return Err(StoreError::Outrun);
            }
            let uids: UidSet = some.iter().copied().collect();
            let expunged = Change::Expunged { mailbox: trash.id, uids };
            let changes = under.fence().into_iter().chain([expunged]).collect();
            store.commit(Transaction { actor: Actor::System, changes }).await?;
        }
        count += due.len();
    }
    Ok(count)
}

/// The messages that entered before `limit`.
fn due(trash: &Snapshot, limit: Timestamp) -> Vec<crate::mail::id::Uid> {
    trash.iter().filter(|entry| entry.saved < limit).map(|entry| entry.uid).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::directory::{Access, Inbox, Policy};
    use crate::mail::flag::{FlagList, SeenMode};
    use crate::mail::id::{Login, MailboxId};
    use crate::server::duty::{Duties, Post};
    use crate::server::queue::fake::{FullableStore, Shelf};
    use crate::store::change::{Bytes, Delivered, NewMessage, Transfer};
    use crate::store::memory::Memory;
    use crate::store::nodes::Duty;
    use crate::sys::ManualClock;

    const START: i64 = 1_790_000_000;

    fn directory() -> Directory {
        let policy = Policy {
            collision: crate::directory::CollisionGuard::Off,
            identity: crate::directory::IdentityGuard::Off,
            conversation: crate::directory::Moves::Together,
            answering_assigns: false,
            retention_days: 30,
            rules: Vec::new(),
            acknowledgement: None,
        };
        let inbox = Inbox {
            name: "Support".into(),
            addresses: Vec::new(),
            access: Access::Everyone,
            seen: SeenMode::PerUser,
            policy,
        };
        let mut directory = Directory::default();
        directory.inboxes.insert("Support".into(), inbox);
        directory
    }

    async fn commit(store: &dyn Store, changes: Vec<Change>) -> Result<(), StoreError> {
        store.commit(Transaction { actor: Actor::System, changes }).await.map(drop)
    }

    /// A message goes into the Trash of Support, which is given back; its retention is over
    /// thirty days later.
    async fn trashed(store: &dyn Store, clock: &ManualClock) -> Result<MailboxId, StoreError> {
        super::super::folders::ensure(store, &directory()).await?;
        let account = Account::Inbox("Support".into());
        let find = |folder: Folder| store.find(&account, &folder).ok_or(StoreError::Gone);
        let (root, trash) = (find(Folder::root())?, find(Folder::role(FolderRole::Trash))?);
        let bytes = Bytes::Memory(Arc::new(b"Subject: old\r\n\r\n".to_vec()));
        let message = NewMessage { bytes, hash: [1; 32], parsed: Arc::default() };
        let delivered = Delivered {
            mailbox: root.id,
            message,
            trace: Vec::new(),
            flags: FlagList::default(),
            seen_by: Vec::new(),
            internal_date: Timestamp::from_seconds(0),
            thread: None,
            duplicate_key: None,
        };
        commit(store, vec![Change::Delivered(Box::new(delivered))]).await?;
        clock.set(Timestamp::from_seconds(START + 90 * SECS_PER_DAY));
        let moved = Transfer {
            from: root.id,
            from_seen: SeenMode::PerUser,
            uids: [crate::mail::id::Uid(1)].into_iter().collect(),
            to: trash.id,
            to_seen: SeenMode::PerUser,
            user: Login::new("anna"),
        };
        commit(store, vec![Change::Moved(moved)]).await?;
        Ok(trash.id)
    }

    fn clock() -> Arc<ManualClock> {
        let clock = Arc::new(ManualClock::default());
        clock.set(Timestamp::from_seconds(START));
        clock
    }

    #[tokio::test]
    async fn a_deleted_message_stays_in_the_trash_until_its_retention_ends()
    -> Result<(), StoreError> {
        let clock = clock();
        let store = Memory::new(clock.clone());
        let trash = trashed(&store, &clock).await?;
        let under = Post::always(Duty::Upkeep).present();
        clock.set(Timestamp::from_seconds(START + 120 * SECS_PER_DAY));
        assert_eq!(sweep(&store, &directory(), &under).await?, 0);
        clock.set(Timestamp::from_seconds(START + 120 * SECS_PER_DAY + 1));
        assert_eq!(sweep(&store, &directory(), &under).await?, 1);
        assert!(store.snapshot(trash).await?.is_empty());
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_lost_the_duty_expunges_nothing() -> Result<(), StoreError> {
        let (clock, shelf) = (clock(), Arc::new(Shelf::default()));
        let store = FullableStore::new(clock.clone()).node(&shelf, 1);
        let trash = trashed(&*store, &clock).await?;
        clock.set(Timestamp::from_seconds(START + 121 * SECS_PER_DAY));
        let shared: Arc<dyn Store> = store.clone();
        let duties = Duties::start(&shared);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let under = duties.upkeep.present();
        // another one's has begun, and this node has not heard of it yet
        let after = store.tenure(Duty::Upkeep);
        let taken = Change::DutyTaken { duty: Duty::Upkeep, after, tenure: 7 };
        commit(&*store, vec![taken]).await?;
        assert!(under.may_begin());
        assert_eq!(sweep(&*store, &directory(), &under).await, Err(StoreError::Outrun));
        duties.kill();
        tokio::time::sleep(crate::store::nodes::LEASE).await;
        assert_eq!(sweep(&*store, &directory(), &under).await, Err(StoreError::Outrun));
        assert_eq!(store.snapshot(trash).await?.len(), 1);
        Ok(())
    }
}
