//! The commands on messages, each run through the table against the store in memory.

mod append;
mod assign;
mod conversations;
mod copy;
mod fetch;
mod move_and_expunge;
mod search;
mod select;
mod store;
mod undelete;

use crate::imap::rig::{Client, Rig};

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
