//! The tree: mailboxes, subscriptions, grants.

use super::*;
use crate::store::apply::{FOLDER_BYTES_MAX, MAILBOXES_PER_ACCOUNT_MAX};
use crate::store::change::Grant;

fn creation(account: &Account, path: &str) -> Change {
    Change::MailboxCreated { account: account.clone(), folder: Folder::new(path) }
}

pub(super) async fn mailboxes_are_listed_by_account_and_path(bench: &Bench) {
    let (support, anna) = (inbox("Support"), personal("anna"));
    let done = bench.create(&support, "\\Done").await;
    let root = bench.create(&support, "").await;
    bench.create(&anna, "").await;
    let listed = bench.store.mailboxes(&support);
    assert_eq!(listed.iter().map(|m| m.id).collect::<Vec<_>>(), [root, done]);
    let found = bench.store.find(&support, &Folder::new("\\Done")).expect("found");
    assert_eq!(bench.store.mailbox(done), Some(found));
    assert_eq!(bench.store.find(&support, &Folder::new("done")), None);
    assert_eq!(bench.store.mailboxes(&personal("ben")), []);
    let again = bench.commit(vec![creation(&support, "")]).await;
    assert_eq!(again, Err(StoreError::Exists));
    let twice = vec![creation(&support, "x"), creation(&support, "x")];
    assert_eq!(bench.commit(twice).await, Err(StoreError::Exists));
    assert_eq!(bench.store.mailboxes(&support).len(), 2);
}

pub(super) async fn a_recreated_mailbox_has_a_higher_uid_validity(bench: &Bench) {
    let support = inbox("Support");
    let mut last = 0;
    for _ in 0..3 {
        let mailbox = bench.create(&support, "").await;
        bench.deliver(mailbox, "one").await;
        let uid_validity = bench.snapshot(mailbox).await.uid_validity.0;
        assert!(uid_validity > last && uid_validity >= START as u32);
        assert_eq!(bench.uids(mailbox).await, [1]);
        last = uid_validity;
        bench.one(Change::MailboxDeleted { mailbox }).await;
        assert_eq!(bench.store.snapshot(mailbox).await, Err(StoreError::Gone));
        assert_eq!(bench.store.mailbox(mailbox), None);
        let into = bench.commit(vec![delivery(mailbox, "x")]).await;
        assert_eq!(into, Err(StoreError::Gone));
    }
}

pub(super) async fn a_rename_keeps_what_is_inside(bench: &Bench) {
    let anna = personal("anna");
    let mailbox = bench.create(&anna, "Old").await;
    bench.create(&anna, "Taken").await;
    bench.deliver(mailbox, "one").await;
    let before = bench.snapshot(mailbox).await;
    let rename = |path: &str| Change::MailboxRenamed { mailbox, folder: Folder::new(path) };
    assert_eq!(bench.commit(vec![rename("Taken")]).await, Err(StoreError::Exists));
    assert_eq!(bench.one(rename("New")).await, Outcome::Done);
    assert_eq!(bench.store.find(&anna, &Folder::new("Old")), None);
    assert_eq!(bench.store.find(&anna, &Folder::new("New")).map(|m| m.id), Some(mailbox));
    assert_eq!(bench.snapshot(mailbox).await, before);
    bench.create(&anna, "Old").await;
    let swap = vec![
        Change::MailboxDeleted { mailbox },
        creation(&anna, "New"),
        Change::MailboxRenamed { mailbox, folder: Folder::new("Other") },
    ];
    assert_eq!(bench.commit(swap).await, Err(StoreError::Gone));
    assert_eq!(bench.store.find(&anna, &Folder::new("New")).map(|m| m.id), Some(mailbox));
}

pub(super) async fn an_emptied_mailbox_stays_and_its_messages_have_a_new_one(bench: &Bench) {
    let anna = personal("anna");
    let mailbox = bench.create(&anna, "").await;
    bench.create(&anna, "Taken").await;
    bench.deliver(mailbox, "one").await;
    bench.deliver(mailbox, "two").await;
    let before = bench.snapshot(mailbox).await;
    let empty = |path: &str| Change::MailboxEmptied {
        mailbox,
        seen: SeenMode::Shared,
        folder: Folder::new(path),
        user: login("anna"),
    };
    assert_eq!(bench.commit(vec![empty("Taken")]).await, Err(StoreError::Exists));
    // what fails later in the same transaction leaves everything where it was
    let fails = bench.commit(vec![empty("New"), creation(&anna, "Taken")]).await;
    assert_eq!(fails, Err(StoreError::Exists));
    assert_eq!(bench.store.find(&anna, &Folder::new("New")), None);
    assert_eq!(bench.snapshot(mailbox).await, before);
    let Outcome::Created(new) = bench.one(empty("New")).await else { panic!("nothing made") };
    assert_eq!(bench.store.find(&anna, &Folder::new("New")).map(|m| m.id), Some(new));
    assert_eq!(bench.uids(new).await, [1, 2]);
    let left = bench.snapshot(mailbox).await;
    assert_eq!((left.len(), left.uid_next), (0, before.uid_next));
    assert_eq!(left.uid_validity, before.uid_validity);
    bench.deliver(mailbox, "three").await;
    assert_eq!(bench.uids(mailbox).await, [3]);
}

pub(super) async fn an_account_has_a_limit_of_mailboxes_and_names_of_length(bench: &Bench) {
    let anna = personal("anna");
    let longest = "x".repeat(FOLDER_BYTES_MAX);
    bench.create(&anna, &longest).await;
    let longer = bench.commit(vec![creation(&anna, &format!("{longest}x"))]).await;
    assert!(matches!(longer, Err(StoreError::Limit(_))));
    let names = (1..MAILBOXES_PER_ACCOUNT_MAX).map(|n| creation(&anna, &n.to_string()));
    bench.commit(names.collect()).await.expect("up to the limit");
    let one_more = bench.commit(vec![creation(&anna, "one more")]).await;
    assert!(matches!(one_more, Err(StoreError::Limit(_))));
    let first = bench.store.find(&anna, &Folder::new("1")).expect("there").id;
    bench.one(Change::MailboxDeleted { mailbox: first }).await;
    bench.create(&anna, "one more").await;
}

pub(super) async fn subscriptions_are_each_users_own_and_outlive_the_mailbox(bench: &Bench) {
    let (support, folder) = (inbox("Support"), Folder::root());
    let choose = |user: &str, subscribed| Change::Subscribed {
        user: login(user),
        account: inbox("Support"),
        folder: Folder::root(),
        subscribed,
    };
    let mailbox = bench.create(&support, "").await;
    bench.one(choose("anna", false)).await;
    bench.commit(vec![choose("ben", false), choose("ben", true)]).await.expect("commits");
    bench.one(Change::MailboxDeleted { mailbox }).await;
    let choice = |user| {
        let choices = bench.store.subscriptions(&login(user));
        choices.get(&(support.clone(), folder.clone())).copied()
    };
    assert_eq!((choice("anna"), choice("ben"), choice("carla")), (Some(false), Some(true), None));
}

pub(super) async fn grants_replace_each_other_and_are_watched(bench: &Bench) {
    let watch = bench.store.watch_mailboxes();
    let mut last = *watch.borrow();
    let mut counted = || {
        let before = std::mem::replace(&mut last, *watch.borrow());
        last - before
    };
    let grant = |user: &str, rights: Option<&str>| Grant {
        account: inbox("Support"),
        user: login(user),
        rights: rights.map(str::to_owned),
    };
    for (user, rights) in [("ben", Some("lrs")), ("anna", Some("")), ("ben", Some("lr"))] {
        bench.one(Change::Granted(grant(user, rights))).await;
    }
    assert_eq!(counted(), 3);
    let both = [grant("anna", Some("")), grant("ben", Some("lr"))];
    assert_eq!(**bench.store.grants(), both);
    bench.one(Change::Granted(grant("anna", None))).await;
    assert_eq!(**bench.store.grants(), both[1..]);
    assert_eq!(counted(), 1);
    let mailbox = bench.inbox().await;
    assert_eq!(counted(), 1);
    bench.deliver(mailbox, "one").await;
    assert_eq!(counted(), 0);
    bench.one(Change::MailboxRenamed { mailbox, folder: Folder::new("x") }).await;
    bench.one(Change::MailboxDeleted { mailbox }).await;
    assert_eq!(counted(), 2);
}

pub(super) async fn turns_follow_one_another_and_of_two_who_take_the_same_one_is_told(
    bench: &Bench,
) {
    let take = |account: &str, user: &str, number| Change::TurnTaken {
        account: inbox(account),
        user: login(user),
        number,
    };
    assert!(bench.store.turns(&inbox("Support")).is_empty());
    bench.one(take("Support", "anna", 1)).await;
    bench.one(take("Support", "ben", 2)).await;
    bench.one(take("Sales", "ben", 1)).await;
    for number in [0, 1, 2, 4] {
        let outrun = bench.commit(vec![take("Support", "carla", number)]).await;
        assert_eq!(outrun.err(), Some(StoreError::Outrun), "{number}");
    }
    let both = vec![take("Support", "carla", 3), take("Support", "anna", 4)];
    bench.commit(both).await.expect("a later change sees the earlier one");
    let (one, two) = tokio::join!(
        bench.commit(vec![take("Support", "anna", 5)]),
        bench.commit(vec![take("Support", "ben", 5)])
    );
    assert_eq!(one.is_ok(), two.is_err(), "{one:?} {two:?}");
    let turns = bench.store.turns(&inbox("Support"));
    let last = turns.values().copied().collect::<Vec<_>>();
    assert_eq!(turns.len(), 3);
    assert_eq!(last.iter().max(), Some(&5));
    assert_eq!(turns.get(&login("carla")), Some(&3));
    assert_eq!(*bench.store.turns(&inbox("Sales")), [(login("ben"), 1)].into());
}
