//! Who belongs with whom.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::directory::file;
use crate::mail::account::Account;
use crate::mail::message;
use crate::store::memory::Memory;
use crate::sys::ManualClock;
use Claim::{First, Later};

const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
[[user]]
login = "anna"
name = "Anna"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
addresses = ["anna@example.org"]
[[inbox]]
name = "Support"
addresses = ["support@example.org"]
users = ["anna"]
"#;

/// `from > to, to | id | follows follows`
fn header(line: &str) -> Header {
    let directory = file::parse(DIRECTORY, Path::new("directory.toml")).expect("valid");
    let store = Memory::new(Arc::new(ManualClock::default()));
    let account = Account::Inbox("Support".into());
    let scope = Scope { store: &store, directory: &directory, account: &account };
    let mut fields = line.split('|').map(str::trim);
    let (from, to) = fields.next().and_then(|f| f.split_once('>')).expect("from and to");
    let id = fields.next().expect("an id");
    let follows: String =
        fields.next().unwrap_or_default().split_whitespace().map(|f| format!("<{f}> ")).collect();
    let text = format!(
        "From: {from}\r\nTo: {to}\r\nMessage-ID: <{id}>\r\nReferences: {follows}\r\nSubject: S\r\n"
    );
    Header::of(&scope, &message::parse(format!("{text}\r\n").as_bytes()).envelope)
}

const QUESTION: &str = "c@customer.example > support@example.org | q@c";
const ANSWER: &str = "support@example.org > c@customer.example, d@customer.example | a@o | q@c";

#[test]
fn a_reference_counts_between_people_who_take_part() {
    let cases = [
        ("the answer of the inbox", QUESTION, ANSWER, true),
        ("mail of a colleague", QUESTION, "anna@example.org > x@y.example | m@o | q@c", true),
        (
            "the author again",
            QUESTION,
            "c@customer.example > support@example.org | m@c | q@c",
            true,
        ),
        ("letters", QUESTION, "C@Customer.Example > support@example.org | m@c | q@c", true),
        ("a stranger", QUESTION, "evil@x.example > support@example.org | m@x | q@c", false),
        ("who was told", ANSWER, "d@customer.example > support@example.org | m@c | a@o", true),
        (
            "a stranger to the answer",
            ANSWER,
            "evil@x.example > c@customer.example | m@x | a@o",
            false,
        ),
        ("no reference", QUESTION, "c@customer.example > support@example.org | m@c", false),
        ("the same mail twice", QUESTION, QUESTION, true),
        ("another of that name", QUESTION, "evil@x.example > support@example.org | q@c", false),
        (
            "beside a missing parent",
            "c@customer.example > support@example.org | m@c | gone@o",
            "c@customer.example > support@example.org | n@c | gone@o",
            true,
        ),
        (
            "two answers to a newsletter",
            "c@customer.example > support@example.org | m@c | news@o",
            "e@other.example > support@example.org | n@e | news@o",
            false,
        ),
        (
            "an answer to one of them",
            "c@customer.example > support@example.org | m@c | news@o",
            "support@example.org > e@other.example | n@o | news@o n@e",
            false,
        ),
    ];
    for (what, one, other, expected) in cases {
        let (one, other) = (header(one), header(other));
        assert_eq!(one.belongs_with(First, (&other, First)), expected, "{what}");
        assert_eq!(other.belongs_with(First, (&one, First)), expected, "{what}, turned round");
    }
}

#[test]
fn a_message_id_means_the_first_that_came_with_it() {
    let (forged, answer) =
        (header("evil@x.example > support@example.org, c@customer.example | q@c"), header(ANSWER));
    assert!(!answer.belongs_with(First, (&forged, Later)));
    assert!(answer.belongs_with(Later, (&header(QUESTION), First)), "only the parent's counts");
}
