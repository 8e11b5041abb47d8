//! APPEND.

use super::{count, in_support, selected};
use crate::imap::rig::Rig;

const MESSAGE: &str = "Subject: own\r\n\r\nbody\r\n";

#[test]
fn append_stores_flags_and_date_and_answers_the_uid() {
    let rig = Rig::new();
    let mut anna = selected(&rig, "anna", "INBOX");
    let date = "\" 1-Feb-2020 10:00:00 +0100\"";
    let command =
        format!("APPEND INBOX (\\Seen $Label1) {date} {{{}}}\r\n{MESSAGE}", MESSAGE.len());
    let answer = rig.send(&mut anna, &command);
    assert!(answer.contains("* 1 EXISTS\r\n* 1 RECENT\r\n"), "{answer}");
    let tagged = answer.lines().last().expect("a line");
    assert!(tagged.starts_with("a OK [APPENDUID ") && tagged.contains(" 1]"), "{answer}");
    let shown = rig.send(&mut anna, "FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)");
    assert!(shown.contains("FLAGS (\\Seen \\Recent $Label1)"), "{shown}");
    assert!(shown.contains("INTERNALDATE \" 1-Feb-2020 09:00:00 +0000\""), "{shown}");
    assert!(shown.contains(&format!("RFC822.SIZE {}", MESSAGE.len())), "{shown}");
}

#[test]
fn seen_of_an_append_into_an_inbox_is_the_users_own() {
    let rig = Rig::new();
    let (mut anna, mut ben) = (in_support(&rig, "anna"), in_support(&rig, "ben"));
    let command = format!("APPEND Shared/Support (\\Seen \\Flagged) {{5}}\r\n{MESSAGE}");
    rig.send(&mut anna, &command);
    rig.send(&mut ben, "NOOP");
    assert!(rig.send(&mut anna, "FETCH 1 FLAGS").contains("(\\Flagged \\Seen"));
    assert!(rig.send(&mut ben, "FETCH 1 FLAGS").contains("FLAGS (\\Flagged \\Recent)"));
}

#[test]
fn append_is_refused_before_the_message_is_invited() {
    let rig = Rig::new();
    let mut anna = rig.client("anna");
    for name in ["Nowhere", "Shared/Sales", "Shared/Nowhere"] {
        let answer = rig.send(&mut anna, &format!("APPEND {name} {{1}}\r\nx"));
        assert_eq!(answer, "a NO [TRYCREATE] No such mailbox\r\n");
    }
    let mut dora = rig.client("dora");
    let answer = rig.send(&mut dora, "APPEND Shared/Support {1}\r\nx");
    assert!(answer.starts_with("a NO [NOPERM]"), "{answer}");
    for wrong in ["INBOX x {1}\r\nx", "INBOX (\\Foo) {1}\r\nx", "INBOX \"1-Feb\" {1}\r\nx"] {
        assert!(rig.send(&mut anna, &format!("APPEND {wrong}")).starts_with("a BAD"), "{wrong}");
    }
}

#[test]
fn a_message_of_no_bytes_is_refused() {
    let rig = Rig::new();
    let mut anna = rig.client("anna");
    assert!(rig.send(&mut anna, "APPEND INBOX {0}\r\n").starts_with("a NO"));
    assert_eq!(count(&rig, "anna", "INBOX"), 0);
}
