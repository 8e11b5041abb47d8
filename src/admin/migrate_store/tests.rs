//! The verb as an administrator sees it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::admin::place::Place;
use crate::mail::account::{Account, Folder};
use crate::mail::id::Login;
use crate::store::Store;
use crate::store::change::{Actor, Change, Transaction};
use crate::store::embedded::Options;
use crate::sys::SystemClock;

/// A store with a mailbox.
fn fill(data_dir: &Path) {
    fs::create_dir_all(data_dir).expect("a folder");
    let clock = Arc::new(SystemClock);
    let (store, writer) = embedded::open(data_dir, Options::default(), clock).expect("opens");
    let thread = std::thread::spawn(|| writer.run());
    let made = Change::MailboxCreated {
        account: Account::User(Login::new("anna")),
        folder: Folder::new(""),
    };
    let transaction = Transaction { actor: Actor::System, changes: vec![made] };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(store.commit(transaction)).expect("commits");
    drop(store);
    thread.join().expect("no panic").expect("ends");
}

fn told(from: &Path, to: &Path, look: Look) -> (Ended, String) {
    let mut out = Vec::new();
    let ended = report((from, to), look, &mut out).expect("writes");
    (ended, String::from_utf8(out).expect("text"))
}

#[test]
fn a_store_is_moved_and_what_was_done_is_told() {
    let (from, to) = (Place::new("from"), Place::new("to"));
    fill(&from.data());
    let (ended, text) = told(&from.config(), &to.config(), Look::Lines);
    assert_eq!(ended, Ended::Moved, "{text}");
    assert!(text.contains("copying: mailbox (6 of 7 rows)\n"), "{text}");
    assert!(text.contains("comparing: mailbox (7 of 7 rows)\n"), "{text}");
    assert!(text.contains("done: 7 rows and 0 KiB of messages; every row"), "{text}");
    assert!(text.contains("copy dkim/ and tls/"), "{text}");
    let (ended, text) = told(&from.config(), &to.config(), Look::Lines);
    assert_eq!((ended, ended.code()), (Ended::Refused, 1));
    assert!(text.contains("nothing was moved: the target is not empty"), "{text}");
}

#[test]
fn on_a_terminal_there_is_a_bar() {
    let (from, to) = (Place::new("bar-from"), Place::new("bar-to"));
    fill(&from.data());
    let (ended, text) = told(&from.config(), &to.config(), Look::Bar);
    assert_eq!(ended, Ended::Moved, "{text}");
    let full = "#".repeat(30);
    assert!(text.contains(&format!("\r\x1b[Kcomparing [{full}] 100.0 %  ")), "{text:?}");
}

#[test]
fn what_is_in_the_way_is_told_before_anything_is_done() {
    let (from, to) = (Place::new("way-from"), Place::new("way-to"));
    let (ended, text) = told(&from.config(), &to.config(), Look::Lines);
    assert_eq!(ended, Ended::Refused);
    assert!(text.contains("the source store: there is no store"), "{text}");
    fs::write(to.config(), "hostname = 1\n").expect("written");
    let (ended, text) = told(Path::new("/none.toml"), &to.config(), Look::Lines);
    assert_eq!(ended, Ended::Refused);
    assert!(text.contains("/none.toml") && text.contains("way-to"), "both are told: {text}");
    let (ended, text) = told(&from.config(), &from.config(), Look::Lines);
    assert_eq!(ended, Ended::Refused, "{text}");
}

#[test]
fn a_store_is_not_moved_onto_itself() {
    let place = Place::new("itself");
    fill(&place.data());
    let (ended, text) = told(&place.config(), &place.config(), Look::Lines);
    assert_eq!(ended, Ended::Refused, "{text}");
    assert!(text.contains("the target store: ") && text.contains("stop it first"), "{text}");
}
