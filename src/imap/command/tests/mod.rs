//! The commands on messages, each run through the table against the store in memory.

mod append;
mod assign;
mod conversations;
mod copy;
mod fetch;
mod move_and_expunge;
mod names;
mod search;
mod select;
mod store;
mod undelete;

use crate::imap::rig::{Client, Rig};

const OPEN: &str = "Shared/Support";
const ANNA: &str = "Shared/Support/Assigned/anna";
const BEN: &str = "Shared/Support/Assigned/ben";
const DONE: &str = "Shared/Support/Done";
const TRASH: &str = "Shared/Support/Trash";

/// Messages 1 and 3 are a conversation, 2 is another.
fn rig() -> Rig {
    let rig = Rig::new();
    rig.assignable(&["anna", "ben"]);
    rig.deliver("From: c@customer.example\r\nMessage-ID: <1@c>\r\n\r\none\r\n");
    rig.deliver("From: d@customer.example\r\nMessage-ID: <2@c>\r\n\r\ntwo\r\n");
    rig.deliver(
        "From: c@customer.example\r\nMessage-ID: <3@c>\r\nIn-Reply-To: <1@c>\r\n\r\nthree\r\n",
    );
    rig
}

/// How many messages are open, anna's, ben's, done and deleted.
fn counts(rig: &Rig) -> [usize; 5] {
    [OPEN, ANNA, BEN, DONE, TRASH].map(|folder| count(rig, "anna", folder))
}

/// A client of `login` with Support selected.
fn in_support(rig: &Rig, login: &str) -> Client {
    selected(rig, login, "Shared/Support")
}

fn selected(rig: &Rig, login: &str, name: &str) -> Client {
    let mut client = rig.client(login);
    let answer = rig.send(&mut client, &format!("SELECT \"{name}\""));
    assert!(answer.contains("a OK"), "{answer}");
    client
}

/// How many messages `name` has for `login`.
fn count(rig: &Rig, login: &str, name: &str) -> usize {
    let answer = rig.send(&mut rig.client(login), &format!("EXAMINE \"{name}\""));
    let exists = answer.lines().find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS"));
    exists.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}
