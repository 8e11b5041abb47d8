//! A store that was brought back from a backup: its mailboxes begin anew, and keep what they have.

use super::*;

pub(super) async fn new_epochs_keep_messages_and_end_what_was_known(bench: &Bench) {
    let (one, two) = (bench.inbox().await, bench.create(&inbox("Sales"), "").await);
    bench.deliver(one, "first").await;
    bench.deliver(two, "second").await;
    bench.see(one, "anna", "1").await;
    let mailbox = |id| bench.store.mailbox(id).expect("there");
    let before = [one, two].map(mailbox);
    let mut watch = bench.store.watch(one);
    let last = bench.snapshot(two).await.by_uid(Uid(1)).expect("there").clone();
    assert_eq!(bench.one(Change::EpochsRenewed).await, Outcome::Done);
    let after = [one, two].map(mailbox);
    for (before, after) in before.iter().zip(&after) {
        assert!(after.uid_validity > before.uid_validity);
        assert_eq!((&after.account, &after.folder), (&before.account, &before.folder));
    }
    assert_ne!(after[0].uid_validity, after[1].uid_validity);
    while watch.changed().await.is_ok() {}
    let snapshot = bench.snapshot(one).await;
    assert_eq!(snapshot.uid_validity, after[0].uid_validity);
    assert_eq!((snapshot.len(), bench.unseen(one, "anna").await), (1, 0));
    assert_eq!(bench.deliver(one, "third").await, Uid(2));
    // what was lost since the backup had numbers above those; nothing gets them once more
    let new = bench.snapshot(one).await.by_uid(Uid(2)).expect("there").clone();
    let lost = 1_000_000;
    assert!(new.blob.0 > last.blob.0 + lost && new.thread.0 > last.thread.0 + lost);
    let made = bench.create(&inbox("New"), "").await;
    assert!(made.0 > two.0 + lost);
    assert_eq!(bench.uids(two).await, [1]);
}

pub(super) async fn a_mailbox_of_the_same_transaction_begins_anew_too(bench: &Bench) {
    let old = bench.inbox().await;
    let (account, folder) = (inbox("Sales"), Folder::root());
    let made = Change::MailboxCreated { account: account.clone(), folder: folder.clone() };
    let gone = Change::MailboxDeleted { mailbox: old };
    let outcomes = bench.commit(vec![made, gone, Change::EpochsRenewed]).await.expect("done");
    let Outcome::Created(new) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(bench.store.mailbox(old).is_none());
    let found = bench.store.find(&account, &folder).expect("there");
    assert!(found.id == *new);
    assert_eq!(bench.snapshot(*new).await.uid_validity, found.uid_validity);
}
