//! Names and what they mean are each other's inverse, for everybody, in every language.

mod imap_support;

use std::collections::BTreeSet;

use imap_support::{DIRECTORY, World, account};
use postfach::directory::view;
use postfach::imap::Session;
use postfach::imap::names;
use postfach::mail::account::{Folder, FolderNames};
use postfach::store::Store;
use postfach::store::change::{Actor, Change, Transaction};

fn session(world: &World, user: &str) -> Session {
    let user = postfach::mail::id::Login::new(user);
    Session::new(user, world.directory.clone())
}

fn german() -> FolderNames {
    FolderNames { trash: "Papierkorb".into(), done: "Erledigt".into(), ..FolderNames::default() }
}

async fn create(world: &World, owner: &str, path: &str) {
    let (account, folder) = (account(owner), Folder::new(path));
    let changes = vec![Change::MailboxCreated { account, folder }];
    let transaction = Transaction { actor: Actor::System, changes };
    world.store.commit(transaction).await.expect("created");
}

#[tokio::test]
async fn every_listed_name_means_the_mailbox_that_it_was_listed_for() {
    for folder_names in [FolderNames::default(), german()] {
        let world = World::of(DIRECTORY, folder_names, &[]).await;
        for path in ["Plain/Deep", "INBOX/Sub", "\\Trash/Older", "Größe & Co."] {
            create(&world, "user anna", path).await;
        }
        create(&world, "inbox Support", "\\Done/2025").await;
        for user in ["anna", "ben", "carla", "dora", "eve"] {
            let session = session(&world, user);
            let tree = names::tree(&world.context, &session);
            assert!(tree.len() > 6, "{user} sees something");
            for named in &tree {
                let found = names::resolve(&world.context, &session, &named.name);
                let found = found.unwrap_or_else(|| panic!("{user}: {}", named.name));
                assert_eq!(found.mailbox.map(|m| m.id), Some(named.mailbox.id), "{}", named.name);
                assert_eq!(found.rights, named.rights);
                let (account, folder) = (&named.mailbox.account, &named.mailbox.folder);
                let name = names::name_of(&world.context, &session, account, folder);
                assert_eq!(name.as_ref(), Some(&named.name));
            }
            let names: BTreeSet<_> = tree.iter().map(|named| &named.name).collect();
            assert_eq!(names.len(), tree.len(), "no name stands for two mailboxes");
        }
    }
}

#[tokio::test]
async fn all_mailboxes_of_what_is_visible_are_listed_and_no_others() {
    let world = World::sample().await;
    for user in ["anna", "ben", "carla", "dora", "eve"] {
        let session = session(&world, user);
        let visible = view(&session.directory, &session.user);
        let expected = visible.iter().flat_map(|v| world.store.mailboxes(&v.account));
        let expected: BTreeSet<_> = expected.map(|mailbox| mailbox.id).collect();
        let listed = names::tree(&world.context, &session);
        let listed: BTreeSet<_> = listed.iter().map(|named| named.mailbox.id).collect();
        assert_eq!(listed, expected, "{user}");
    }
}

#[tokio::test]
async fn a_folder_whose_name_became_a_roles_is_hidden_behind_it() {
    let world = World::of(DIRECTORY, german(), &[]).await;
    create(&world, "user anna", "Papierkorb").await;
    create(&world, "user anna", "Papierkorb/Old").await;
    let session = session(&world, "anna");
    let tree = names::tree(&world.context, &session);
    let trash: Vec<_> = tree.iter().filter(|n| n.name.starts_with("Papierkorb")).collect();
    let [only] = &trash[..] else { panic!("{trash:?}") };
    assert_eq!(only.mailbox.folder.path(), "\\Trash");
}
