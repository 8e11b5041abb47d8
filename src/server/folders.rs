//! The folders that the daemon makes and keeps: those of all users, inboxes and channels that are
//! declared. Decides what is missing and makes it; removes nothing.

use crate::directory::Directory;
use crate::mail::account::{Account, Folder};
use crate::store::change::{Actor, Change, Transaction};
use crate::store::{Store, StoreError};

/// Folders made in one transaction; more are made in further ones.
const FOLDERS_PER_TRANSACTION_MAX: usize = 256;

/// How often it is looked again what is missing, because another node has made some of it.
const LOOKS_MAX: usize = 100;

/// Makes every folder that should exist and does not. Answers how many.
pub async fn ensure(store: &dyn Store, directory: &Directory) -> Result<usize, StoreError> {
    let mut looks = 0;
    loop {
        looks += 1;
        match make_missing(store, directory).await {
            Err(StoreError::Exists) if looks < LOOKS_MAX => {}
            made => return made,
        }
    }
}

async fn make_missing(store: &dyn Store, directory: &Directory) -> Result<usize, StoreError> {
    let missing: Vec<(Account, Folder)> = wanted(directory)
        .into_iter()
        .filter(|(account, folder)| store.find(account, folder).is_none())
        .collect();
    for some in missing.chunks(FOLDERS_PER_TRANSACTION_MAX) {
        let created = |(account, folder): &(Account, Folder)| Change::MailboxCreated {
            account: account.clone(),
            folder: folder.clone(),
        };
        let changes = some.iter().map(created).collect();
        store.commit(Transaction { actor: Actor::System, changes }).await?;
    }
    Ok(missing.len())
}

/// Every folder of every declared account; an inbox also has one for each member who may work in
/// it.
fn wanted(directory: &Directory) -> Vec<(Account, Folder)> {
    let users = directory.users.keys().cloned().map(Account::User);
    let inboxes = directory.inboxes.keys().cloned().map(Account::Inbox);
    let channels = directory.channels.keys().cloned().map(Account::Channel);
    let real = users.chain(inboxes).chain(channels);
    let real = real.flat_map(|account| of_account(directory, account));
    let shown = directory.virtual_mailboxes.iter().flat_map(|(user, roles)| {
        roles.iter().map(|role| (Account::User(user.clone()), Folder::role(*role)))
    });
    real.chain(shown).collect()
}

fn of_account(directory: &Directory, account: Account) -> Vec<(Account, Folder)> {
    let mut folders = account.standard_folders();
    if let Account::Inbox(_) = account {
        folders.extend(directory.members_at_work(&account).iter().map(Folder::assigned));
    }
    folders.into_iter().map(|folder| (account.clone(), folder)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::directory::{Access, Inbox, PasswordHash, Policy, Role, User};
    use crate::mail::account::FolderRole;
    use crate::mail::flag::SeenMode;
    use crate::mail::id::Login;
    use crate::store::memory::Memory;
    use crate::sys::ManualClock;

    fn user(login: &str) -> (Login, User) {
        let login = Login::new(login);
        let user = User {
            login: login.clone(),
            name: String::new(),
            password: PasswordHash(String::new()),
            role: Role::Member,
            addresses: Vec::new(),
        };
        (login, user)
    }

    fn support(access: Access) -> Inbox {
        Inbox {
            name: "Support".into(),
            addresses: Vec::new(),
            access,
            seen: SeenMode::PerUser,
            policy: Policy {
                collision: crate::directory::CollisionGuard::Off,
                identity: crate::directory::IdentityGuard::Off,
                answering_assigns: true,
                conversation: crate::directory::Moves::Together,
                retention_days: 30,
                rules: Vec::new(),
                acknowledgement: None,
            },
        }
    }

    fn directory() -> Directory {
        let only_anna = Access::Limited {
            teams: Vec::new(),
            users: vec![
                (Login::new("anna"), crate::directory::Level::Work),
                (Login::new("ben"), crate::directory::Level::Read),
            ],
        };
        let mut directory = Directory::default();
        directory.users.extend([user("anna"), user("ben")]);
        directory.inboxes.insert("Support".into(), support(only_anna));
        directory
    }

    #[tokio::test]
    async fn who_may_work_has_a_folder_and_who_may_read_has_none() -> Result<(), StoreError> {
        let store = Memory::new(Arc::new(ManualClock::default()));
        ensure(&store, &directory()).await?;
        let support = Account::Inbox("Support".into());
        let folder_of = |login| store.find(&support, &Folder::assigned(&Login::new(login)));
        assert!(folder_of("anna").is_some());
        assert!(folder_of("ben").is_none());
        assert!(store.find(&support, &Folder::role(FolderRole::Done)).is_some());
        let anna = Account::User(Login::new("anna"));
        assert!(store.find(&anna, &Folder::role(FolderRole::Drafts)).is_some());
        Ok(())
    }

    #[tokio::test]
    async fn what_exists_is_not_made_again() -> Result<(), StoreError> {
        let store = Memory::new(Arc::new(ManualClock::default()));
        let made = ensure(&store, &directory()).await?;
        assert_eq!(made, 2 * 6 + 5 + 1);
        assert_eq!(ensure(&store, &directory()).await?, 0);
        Ok(())
    }
}
