//! What is noted about mailboxes and the server.

use std::sync::Arc;

use super::*;
use crate::store::apply::{
    METADATA_ENTRY_BYTES_MAX, METADATA_PER_MAILBOX_MAX, METADATA_PER_USER_BYTES_MAX,
    METADATA_VALUE_BYTES_MAX, TOO_MANY_ENTRIES,
};
use crate::store::change::About;

fn note(user: Option<&str>, about: About, entry: &str, value: Option<&str>) -> Change {
    let value = value.map(|value| Arc::from(value.as_bytes()));
    Change::MetadataSet { user: user.map(login), about, entry: entry.to_owned(), value }
}

fn noted(bench: &Bench, user: Option<&str>, mailbox: Option<MailboxId>) -> Vec<(String, String)> {
    let notes = bench.store.metadata(user.map(login).as_ref());
    let here = notes.iter().filter(|((about, _), _)| *about == mailbox);
    here.map(|((_, entry), value)| (entry.clone(), String::from_utf8_lossy(value).into())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(entry, value)| ((*entry).into(), (*value).into())).collect()
}

pub(super) async fn notes_are_each_owners_own_and_follow_their_mailbox(bench: &Bench) {
    let mailbox = bench.create(&inbox("Support"), "x").await;
    let about = || About::Mailbox(mailbox);
    bench.one(note(Some("anna"), about(), "/private/comment", Some("hers"))).await;
    bench.one(note(None, about(), "/shared/comment", Some("ours"))).await;
    bench.one(note(None, About::Server, "/shared/comment", Some("all"))).await;
    bench.one(Change::MailboxRenamed { mailbox, folder: Folder::new("y") }).await;
    let of = |user, about| noted(bench, user, about);
    assert_eq!(of(Some("anna"), Some(mailbox)), pairs(&[("/private/comment", "hers")]));
    assert_eq!(of(Some("ben"), Some(mailbox)), []);
    assert_eq!(of(None, Some(mailbox)), pairs(&[("/shared/comment", "ours")]));
    bench.one(note(Some("anna"), about(), "/private/comment", Some(""))).await;
    assert_eq!(of(Some("anna"), Some(mailbox)), pairs(&[("/private/comment", "")]));
    bench.one(note(Some("anna"), about(), "/private/comment", None)).await;
    assert_eq!(of(Some("anna"), Some(mailbox)), []);
    bench.one(note(Some("anna"), about(), "/private/comment", Some("again"))).await;
    bench.one(Change::MailboxDeleted { mailbox }).await;
    assert_eq!(of(Some("anna"), Some(mailbox)), []);
    assert_eq!(of(None, Some(mailbox)), []);
    assert_eq!(of(None, None), pairs(&[("/shared/comment", "all")]));
    let gone = bench.commit(vec![note(None, about(), "/shared/comment", Some("x"))]).await;
    assert_eq!(gone.err(), Some(StoreError::Gone));
}

pub(super) async fn a_mailbox_can_be_made_with_a_note(bench: &Bench) {
    let (anna, folder) = (personal("anna"), Folder::new("Old"));
    let made = || About::Folder(personal("anna"), Folder::new("Old"));
    let create = Change::MailboxCreated { account: anna.clone(), folder: folder.clone() };
    let with = note(Some("anna"), made(), "/private/specialuse", Some("\\Archive"));
    bench.commit(vec![create, with]).await.expect("commits");
    let id = bench.store.find(&anna, &folder).expect("made").id;
    let expected = pairs(&[("/private/specialuse", "\\Archive")]);
    assert_eq!(noted(bench, Some("anna"), Some(id)), expected);
    let user = login("anna");
    let (mailbox, seen) = (id, SeenMode::PerUser);
    let folder = Folder::new("Older");
    bench.one(Change::MailboxEmptied { mailbox, seen, folder: folder.clone(), user }).await;
    let copy = bench.store.find(&anna, &folder).expect("made").id;
    assert_eq!(noted(bench, Some("anna"), Some(copy)), expected);
    assert_eq!(noted(bench, Some("anna"), Some(id)), expected);
}

pub(super) async fn notes_have_limits(bench: &Bench) {
    let mailbox = bench.inbox().await;
    let about = || About::Mailbox(mailbox);
    let long = "x".repeat(METADATA_VALUE_BYTES_MAX);
    bench.one(note(Some("anna"), about(), "/private/1", Some(&long))).await;
    let longer = note(Some("anna"), about(), "/private/1", Some(&format!("{long}x")));
    assert!(matches!(bench.commit(vec![longer]).await, Err(StoreError::Limit(_))));
    let name = "/".to_owned() + &"n".repeat(METADATA_ENTRY_BYTES_MAX - 1);
    bench.one(note(Some("anna"), about(), &name, Some("x"))).await;
    let name = note(Some("anna"), about(), &format!("{name}n"), Some("x"));
    assert!(matches!(bench.commit(vec![name]).await, Err(StoreError::Limit(_))));
    let entry = |n| note(Some("anna"), about(), &format!("/private/{n}"), Some("x"));
    bench.commit((2..METADATA_PER_MAILBOX_MAX).map(entry).collect()).await.expect("fits");
    let one_more = bench.commit(vec![entry(METADATA_PER_MAILBOX_MAX)]).await;
    assert_eq!(one_more.err(), Some(StoreError::Limit(TOO_MANY_ENTRIES)));
    bench.one(note(Some("anna"), about(), "/private/2", Some("changed"))).await;
    bench.one(note(Some("ben"), about(), "/private/2", Some("his"))).await;
}

pub(super) async fn notes_of_one_owner_have_room_for_so_many_bytes(bench: &Bench) {
    let boxes =
        [bench.create(&inbox("Support"), "a").await, bench.create(&inbox("Support"), "b").await];
    let other = bench.create(&inbox("Sales"), "a").await;
    // of each owner: a user, and everybody for one account
    for (user, start) in [(Some("anna"), "/private/"), (None, "/shared/")] {
        let entry = |n: usize, more: usize| {
            let name = format!("{start}{n:03}");
            let value = "x".repeat(METADATA_VALUE_BYTES_MAX - name.len() + more);
            note(user, About::Mailbox(boxes[n % 2]), &name, Some(&value))
        };
        let fit = METADATA_PER_USER_BYTES_MAX / METADATA_VALUE_BYTES_MAX;
        bench.commit((0..fit).map(|n| entry(n, 0)).collect()).await.expect("to the last byte");
        let one_more = bench.commit(vec![entry(0, 1)]).await;
        assert_eq!(one_more.err(), Some(StoreError::Limit(TOO_MANY_ENTRIES)), "{user:?}");
        bench.one(note(user, About::Mailbox(boxes[0]), &format!("{start}000"), None)).await;
        bench.one(entry(0, 0)).await;
    }
    bench.one(note(None, About::Mailbox(other), "/shared/1", Some("of another account"))).await;
}
