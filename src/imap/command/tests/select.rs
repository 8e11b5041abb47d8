//! SELECT, EXAMINE, CLOSE and UNSELECT.

use super::{in_support, selected};
use crate::imap::rig::Rig;

#[test]
fn select_tells_everything_that_a_client_needs() {
    let rig = Rig::new();
    rig.fill(3);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "STORE 1 +FLAGS (\\Seen)");
    let answer = rig.send(&mut anna, "SELECT Shared/Support (CONDSTORE)");
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)");
    assert_eq!(lines[1..3], ["* 3 EXISTS", "* 0 RECENT"]);
    assert!(lines[3].starts_with("* OK [UNSEEN 2]"), "{answer}");
    assert!(lines[4].contains("(\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)"), "{answer}");
    assert!(lines[5].starts_with("* OK [UIDVALIDITY "));
    assert!(lines[6].starts_with("* OK [UIDNEXT 4]"));
    assert!(lines[7].starts_with("* OK [HIGHESTMODSEQ "));
    assert!(lines[8].starts_with("* OK [MAILBOXID (f"));
    assert_eq!(lines[9], "a OK [READ-WRITE] Mailbox opened");
}

#[test]
fn a_reader_gets_read_only_and_may_still_keep_seen() {
    let rig = Rig::new();
    rig.fill(1);
    let answer = rig.send(&mut rig.client("dora"), "SELECT Shared/Support");
    assert!(answer.contains("* OK [PERMANENTFLAGS (\\Seen)]"), "{answer}");
    assert!(answer.contains("a OK [READ-ONLY]"), "{answer}");
    let examined = rig.send(&mut rig.client("anna"), "EXAMINE Shared/Support");
    assert!(examined.contains("* OK [PERMANENTFLAGS ()]"), "{examined}");
    assert!(examined.contains("a OK [READ-ONLY]"), "{examined}");
}

#[test]
fn forbidden_and_absent_mailboxes_cannot_be_told_apart() {
    let rig = Rig::new();
    let refused = "a NO [NONEXISTENT] No such mailbox\r\n";
    for name in ["Shared/Sales", "Shared/Nowhere", "Shared/Sales/Done", "Nowhere"] {
        for command in ["SELECT", "EXAMINE"] {
            let answer = rig.send(&mut rig.client("anna"), &format!("{command} {name}"));
            assert_eq!(answer, refused);
        }
    }
}

#[test]
fn select_refuses_what_it_does_not_understand() {
    let rig = Rig::new();
    for wrong in ["SELECT", "SELECT INBOX x", "SELECT INBOX (QRESYNC (1 2))", "SELECT INBOX ()"] {
        let answer = rig.send(&mut rig.client("anna"), wrong);
        assert!(answer.starts_with("a BAD"), "{wrong}: {answer}");
    }
    assert!(rig.send(&mut rig.client("anna"), "SELECT inbox ").contains("a OK"));
}

#[test]
fn close_expunges_in_silence_and_unselect_does_not() {
    let rig = Rig::new();
    rig.fill(2);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(rig.send(&mut anna, "UNSELECT"), "a OK Unselected\r\n");
    assert_eq!(super::count(&rig, "anna", "Shared/Support"), 2);
    let mut anna = in_support(&rig, "anna");
    assert!(rig.send(&mut anna, "CLOSE now").starts_with("a BAD"));
    assert_eq!(rig.send(&mut anna, "CLOSE"), "a OK Closed\r\n");
    assert!(anna.selected.is_none());
    assert_eq!(super::count(&rig, "anna", "Shared/Support"), 1);
    assert_eq!(super::count(&rig, "anna", "Shared/Support/Trash"), 1);
}

#[test]
fn close_of_an_examined_mailbox_removes_nothing() {
    let rig = Rig::new();
    rig.fill(1);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "STORE 1 +FLAGS (\\Deleted)");
    rig.send(&mut anna, "EXAMINE Shared/Support");
    assert_eq!(rig.send(&mut anna, "CLOSE"), "a OK Closed\r\n");
    assert_eq!(super::count(&rig, "anna", "Shared/Support"), 1);
}

#[test]
fn uid_fetch_beyond_the_last_message_returns_the_last() {
    let rig = Rig::new();
    rig.fill(3);
    let mut anna = selected(&rig, "anna", "Shared/Support");
    let answer = rig.send(&mut anna, "UID FETCH 99:* (FLAGS)");
    assert_eq!(answer, "* 3 FETCH (UID 3 FLAGS (\\Recent))\r\na OK Fetched\r\n");
    assert_eq!(rig.send(&mut anna, "UID FETCH 99 (FLAGS)"), "a OK Fetched\r\n");
}
