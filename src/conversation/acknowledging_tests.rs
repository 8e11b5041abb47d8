//! Who is told that their message has come, and who is not.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::directory::file;
use crate::mail::account::Account;
use crate::mail::message;
use crate::store::memory::Memory;
use crate::sys::ManualClock;

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
addresses = ["support@example.org", "hilfe@example.org"]
[[inbox]]
name = "Sales"
addresses = ["sales@example.org"]
"#;

const TO: &str = "To: support@example.org\r\n";

fn judge(reverse_path: &str, header: &str) -> Result<String, Silence> {
    let directory = file::parse(DIRECTORY, Path::new("d.toml")).expect("valid");
    let store = Memory::new(Arc::new(ManualClock::default()));
    let account = Account::Inbox("Support".into());
    let scope = Scope { store: &store, directory: &directory, account: &account };
    let parsed = message::parse(format!("{header}\r\n").as_bytes());
    let reverse_path = Address::parse(reverse_path);
    let told = told(&scope, reverse_path.as_ref(), (&parsed.envelope, &parsed.text.header))?;
    Ok(format!("{} from {}", told.to, told.from))
}

#[test]
fn a_customer_is_told_by_the_address_that_they_wrote_to() {
    for (named, from) in [
        (TO, "support"),
        ("To: Support <Support@Example.org>\r\n", "support"),
        ("To: x@y.example\r\nCc: sales@example.org, hilfe@example.org\r\n", "hilfe"),
        ("To: hilfe+4711@example.org\r\n", "hilfe"),
    ] {
        let expected = format!("bob@c.example from {from}@example.org");
        let header = format!("From: bob@c.example\r\n{named}");
        assert_eq!(judge("bob@c.example", &header), Ok(expected));
    }
    let header = format!("Auto-Submitted: No\r\nPrecedence: first-class\r\n{TO}");
    assert!(judge("bob@c.example", &header).is_ok());
    let part = "\r\n--b\r\nList-Id: <l.example>\r\nAuto-Submitted: yes\r\n\r\nx\r\n--b--";
    let header = format!("Content-Type: multipart/mixed; boundary=b\r\n{TO}{part}");
    assert!(judge("bob@c.example", &header).is_ok(), "a part says nothing of the message");
}

#[test]
fn programs_lists_and_colleagues_are_not_told() {
    let rows = [
        ("", TO, Silence::NullSender),
        ("anna@example.org", TO, Silence::Ours),
        ("sales+x@example.org", TO, Silence::Ours),
        ("nobody@example.org", TO, Silence::Ours),
        ("bob@c.example", "From: anna@example.org\r\n", Silence::Ours),
        ("bob@c.example", "Auto-Submitted: auto-generated\r\n", Silence::Automatic),
        ("bob@c.example", "auto-submitted: auto-replied; x=y\r\n", Silence::Automatic),
        ("bob@c.example", "Auto-Submitted:\r\n", Silence::Automatic),
        ("bob@c.example", "X-Auto-Response-Suppress: All\r\n", Silence::Automatic),
        ("bob@c.example", "Precedence: bulk\r\n", Silence::Bulk),
        ("bob@c.example", "Precedence: List\r\n", Silence::Bulk),
        ("bob@c.example", "Precedence: junk\r\n", Silence::Bulk),
        ("bob@c.example", "List-Id: <l.c.example>\r\n", Silence::List),
        ("bob@c.example", "List-Unsubscribe: <mailto:x@y>\r\n", Silence::List),
        ("bob@c.example", "To: bob@c.example\r\n", Silence::NotNamed),
        ("bob@c.example", "To: sales@example.org\r\n", Silence::NotNamed),
        ("bob@c.example", "From: No-Reply@c.example\r\n", Silence::Role),
        ("owner-list@c.example", TO, Silence::Role),
        ("list-request@c.example", TO, Silence::Role),
        ("MAILER-DAEMON@c.example", TO, Silence::Role),
        ("no-reply@c.example", TO, Silence::Role),
        ("noreply@c.example", TO, Silence::Role),
        ("shop-noreply@c.example", TO, Silence::Role),
        ("bounces-4711@c.example", TO, Silence::Role),
    ];
    for (reverse_path, header, silence) in rows {
        let header = if header.contains("To:") { header.into() } else { format!("{header}{TO}") };
        assert_eq!(judge(reverse_path, &header), Err(silence), "{reverse_path} {header}");
    }
}
