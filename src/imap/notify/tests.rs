//! How much one session watches, at the limit and one past it.

use super::WATCHED_MAX;
use crate::imap::rig::Rig;
use crate::mail::account::{Account, Folder};
use crate::mail::id::Login;
use crate::store::change::Change;

const ASK: &str = "NOTIFY SET (subtree many (MessageNew MessageExpunge))";

/// Folders `many/1` and so on, from `first` to `last`.
fn make(rig: &Rig, (first, last): (usize, usize)) {
    let account = Account::User(Login::new("anna"));
    let folder = |n: usize| Folder::new(&format!("many/{n}"));
    let made = (first..=last)
        .map(|n| Change::MailboxCreated { account: account.clone(), folder: folder(n) });
    rig.commit(made.collect());
}

#[test]
fn mailboxes_are_watched_up_to_their_number_and_then_none_is() {
    let rig = Rig::new();
    let mut client = rig.client("anna");
    make(&rig, (1, WATCHED_MAX));
    assert!(rig.send(&mut client, ASK).ends_with("a OK What is asked for is told\r\n"));
    assert_eq!(rig.notified(&mut client), "");
    make(&rig, (WATCHED_MAX + 1, WATCHED_MAX + 1));
    let told = rig.notified(&mut client);
    assert!(told.starts_with("* OK [NOTIFICATIONOVERFLOW] "), "{told}");
    assert_eq!(rig.notified(&mut client), "");
    let answer = rig.send(&mut client, ASK);
    assert!(answer.starts_with("a NO [NOTIFICATIONOVERFLOW] "), "{answer}");
}

#[test]
fn behind_an_overflow_nothing_is_told_of_the_selected_mailbox_either() {
    let rig = Rig::new();
    let mut client = rig.client("anna");
    rig.send(&mut client, "SELECT Shared/Support");
    make(&rig, (1, 1));
    let ask = format!("{ASK} (selected (MessageNew (UID) MessageExpunge))");
    rig.send(&mut client, &ask);
    rig.fill(1);
    assert!(rig.notified(&mut client).contains("* 1 EXISTS"));
    make(&rig, (2, WATCHED_MAX + 1));
    assert!(rig.notified(&mut client).contains("[NOTIFICATIONOVERFLOW]"));
    rig.fill(1);
    assert_eq!(rig.notified(&mut client), "");
    assert!(!rig.send(&mut client, "NOOP").contains("EXISTS"));
}
