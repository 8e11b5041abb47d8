//! Who has been given or has lost access since it was looked at last: from the difference between
//! what holds now and what the store knows, so that a change of the directory is told in the audit
//! log also when it happened while the daemon was stopped. Decides no access.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::{Directory, rights};
use crate::mail::account::Account;
use crate::mail::id::Login;
use crate::store::change::{AccessKnown, Actor, Change, Transaction, UsersRights};
use crate::store::{Store, StoreError};

/// Differences told in one transaction, or those of one account if they are more.
const TOLD_PER_TRANSACTION_MAX: usize = 1_000;

/// What SETACL has changed, and told already.
pub(super) type Granted = BTreeSet<(Account, Login)>;

/// Tells what is another than it was. To be called before `directory` is in force. Each transaction
/// begins with `fence`, where several nodes might tell the same.
pub(super) async fn tell(
    store: &dyn Store,
    directory: &Directory,
    (granted, fence): (&Granted, Option<&Change>),
) -> Result<usize, StoreError> {
    let known = store.access_known().await?;
    let mut changes = Vec::new();
    let (mut waiting, mut count) = (0, 0);
    for change in differences(directory, known, granted) {
        waiting += change.told.len();
        count += change.told.len();
        changes.push(Change::AccessKnown(change));
        if waiting >= TOLD_PER_TRANSACTION_MAX {
            let changes = fence.cloned().into_iter().chain(std::mem::take(&mut changes)).collect();
            store.commit(Transaction { actor: Actor::System, changes }).await?;
            waiting = 0;
        }
    }
    if !changes.is_empty() {
        let changes = fence.cloned().into_iter().chain(changes).collect();
        store.commit(Transaction { actor: Actor::System, changes }).await?;
    }
    Ok(count)
}

fn differences(
    directory: &Directory,
    mut known: BTreeMap<Account, UsersRights>,
    granted: &Granted,
) -> Vec<AccessKnown> {
    let inboxes = directory.inboxes.keys().cloned().map(Account::Inbox);
    let channels = directory.channels.keys().cloned().map(Account::Channel);
    let mut all: BTreeSet<Account> = inboxes.chain(channels).collect();
    all.extend(known.keys().cloned());
    let mut changes = Vec::new();
    for account in all {
        let before = known.remove(&account).unwrap_or_default();
        let rights = users_rights(directory, &account);
        if rights != before {
            let mut told = told(&before, &rights);
            told.retain(|(user, ..)| !granted.contains(&(account.clone(), user.clone())));
            changes.push(AccessKnown { account, rights, told });
        }
    }
    changes
}

fn users_rights(directory: &Directory, account: &Account) -> UsersRights {
    let all = directory.users.keys().map(|user| (user, rights(directory, user, account)));
    let held = all.filter(|(_, rights)| !rights.is_none());
    held.map(|(user, rights)| (user.clone(), rights.to_string())).collect()
}

/// Who has which rights now, and which before.
fn told(before: &UsersRights, now: &UsersRights) -> Vec<(Login, String, String)> {
    let users: BTreeSet<&Login> = before.keys().chain(now.keys()).collect();
    let held = |rights: &UsersRights, user| rights.get(user).cloned().unwrap_or_default();
    let all = users.into_iter().map(|user| (user.clone(), held(now, user), held(before, user)));
    all.filter(|(_, now, before)| now != before).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::directory::file;
    use crate::mail::id::Timestamp;
    use crate::store::audit::{Entry, EntryId};
    use crate::store::memory::Memory;
    use crate::sys::ManualClock;

    fn directory(users: &[&str], inboxes: &str) -> Directory {
        let hash = crate::directory::password::NOBODY;
        let user = |login: &&str| format!("[[user]]\nlogin = \"{login}\"\npassword = \"{hash}\"\n");
        let users: String = users.iter().map(user).collect();
        file::parse(&format!("{users}{inboxes}"), Path::new("d.toml")).expect("valid")
    }

    async fn told(store: &Memory, directory: &Directory) -> Vec<String> {
        let first = EntryId(store.audit_tip().id.0 + 1);
        tell(store, directory, (&Granted::new(), None)).await.expect("told");
        let records = store.audited(first, Timestamp(0), usize::MAX).await.expect("answers");
        let line = |entry: Entry| {
            let (account, user) = (entry.account.expect("where"), entry.about.expect("who"));
            format!("{} {account} {user} {}", entry.deed, entry.detail.unwrap_or_default())
        };
        records.iter().filter_map(|r| Entry::parse(&r.text)).map(line).collect()
    }

    #[tokio::test]
    async fn what_has_changed_is_told_once_whenever_it_changed() {
        let store = Memory::new(Arc::new(ManualClock::default()));
        let support = "[[inbox]]\nname = \"Support\"\nusers = [\"anna\", \"ben:read\"]\n";
        let first = directory(&["anna", "ben", "dora"], support);
        let start = ["grant inbox Support anna lrswipte", "grant inbox Support ben lrs"];
        assert_eq!(told(&store, &first).await, start);
        assert_eq!(told(&store, &first).await, [""; 0]);
        let others = "[[inbox]]\nname = \"Support\"\nusers = [\"dora\", \"ben\"]\n";
        let other = directory(&["ben", "dora"], others);
        let changed = [
            "revoke inbox Support anna was lrswipte",
            "grant inbox Support ben lrswipte, was lrs",
            "grant inbox Support dora lrswipte",
        ];
        assert_eq!(told(&store, &other).await, changed);
        let gone =
            ["revoke inbox Support ben was lrswipte", "revoke inbox Support dora was lrswipte"];
        assert_eq!(told(&store, &directory(&["ben", "dora"], "")).await, gone);
        assert_eq!(told(&store, &directory(&["ben", "dora"], "")).await, [""; 0]);
    }

    #[test]
    fn what_setacl_has_told_is_not_told_again() {
        let support = "[[inbox]]\nname = \"Support\"\nusers = [\"anna\", \"ben\"]\n";
        let directory = directory(&["anna", "ben"], support);
        let granted = Granted::from([(Account::Inbox("Support".into()), Login::new("ben"))]);
        let changes = differences(&directory, BTreeMap::new(), &granted);
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].rights.len(), changes[0].told.len()), (2, 1));
    }
}
