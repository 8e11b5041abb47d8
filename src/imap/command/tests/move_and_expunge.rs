//! COPY, MOVE, EXPUNGE and their UID forms; the team's Trash.

use super::{count, in_support, selected};
use crate::imap::rig::Rig;

#[test]
fn copy_answers_old_and_new_uids() {
    let rig = Rig::new();
    rig.fill(3);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "STORE 2 FLAGS (\\Flagged \\Seen $Label1)");
    let answer = rig.send(&mut anna, "COPY 2:3 INBOX");
    let code = answer.split(['[', ']']).nth(1).expect("a code");
    assert!(code.starts_with("COPYUID ") && code.ends_with(" 2:3 1:2"), "{answer}");
    assert_eq!(count(&rig, "anna", "Shared/Support"), 3);
    let mut inbox = selected(&rig, "anna", "INBOX");
    assert!(rig.send(&mut inbox, "FETCH 1 FLAGS").contains("(\\Flagged \\Seen \\Recent $Label1)"));
    assert_eq!(rig.send(&mut anna, "UID COPY 99 INBOX"), "a OK No messages to copy\r\n");
}

#[test]
fn copy_offers_to_create_what_is_absent_or_forbidden() {
    let rig = Rig::new();
    rig.fill(1);
    let mut anna = in_support(&rig, "anna");
    for command in ["COPY", "MOVE"] {
        for name in ["Nowhere", "Shared/Sales", "Shared/Nowhere"] {
            let answer = rig.send(&mut anna, &format!("{command} 1 {name}"));
            assert_eq!(answer, "a NO [TRYCREATE] No such mailbox\r\n");
        }
    }
    for wrong in ["COPY 1", "COPY 2 INBOX", "MOVE 1 INBOX x", "UID MOVE", "COPY INBOX 1"] {
        assert!(rig.send(&mut anna, wrong).starts_with("a BAD"), "{wrong}");
    }
}

#[test]
fn a_reader_may_copy_out_but_neither_in_nor_move() {
    let rig = Rig::new();
    rig.fill(1);
    let mut dora = in_support(&rig, "dora");
    assert!(rig.send(&mut dora, "COPY 1 INBOX").contains("a OK [COPYUID"));
    assert!(rig.send(&mut dora, "COPY 1 Shared/Support/Done").starts_with("a NO [NOPERM]"));
    assert!(rig.send(&mut dora, "MOVE 1 INBOX").starts_with("a NO [NOPERM]"));
    assert!(rig.send(&mut dora, "EXPUNGE").starts_with("a NO [NOPERM]"));
}

#[test]
fn move_tells_copyuid_and_then_expunges() {
    let rig = Rig::new();
    rig.fill(3);
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, "MOVE 1:2 Shared/Support/Done");
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines[0].starts_with("* OK [COPYUID ") && lines[0].contains(" 1:2 1:2]"), "{answer}");
    assert_eq!(lines[1..], ["* 2 EXPUNGE", "* 1 EXPUNGE", "a OK Moved"]);
    assert_eq!(count(&rig, "anna", "Shared/Support/Trash"), 0);
    let mut done = selected(&rig, "anna", "Shared/Support/Done");
    assert!(rig.send(&mut done, "UID MOVE 1 Shared/Support").contains("* 1 EXPUNGE\r\na OK Moved"));
}

#[test]
fn expunge_in_an_inbox_moves_into_the_teams_trash() {
    let rig = Rig::new();
    rig.fill(3);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "STORE 1,3 +FLAGS (\\Deleted)");
    let answer = rig.send(&mut anna, "EXPUNGE");
    assert_eq!(answer, "* 3 EXPUNGE\r\n* 1 EXPUNGE\r\na OK Expunged\r\n");
    let mut trash = selected(&rig, "ben", "Shared/Support/Trash");
    let flags = rig.send(&mut trash, "FETCH 1:2 FLAGS");
    assert!(flags.starts_with("* 1 FETCH (FLAGS (\\Recent))\r\n* 2 FETCH"), "{flags}");
    assert!(!flags.contains("\\Deleted"), "{flags}");
}

#[test]
fn uid_expunge_takes_only_those_named() {
    let rig = Rig::new();
    rig.fill(3);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "STORE 1:2 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(rig.send(&mut anna, "UID EXPUNGE 2:3"), "* 2 EXPUNGE\r\na OK Expunged\r\n");
    assert!(rig.send(&mut anna, "UID EXPUNGE").starts_with("a BAD"));
    assert!(rig.send(&mut anna, "EXPUNGE 1").starts_with("a BAD"));
}

#[test]
fn the_teams_trash_is_emptied_by_a_manager_only() {
    let rig = Rig::new();
    rig.fill(2);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "STORE 1:2 +FLAGS (\\Deleted)");
    rig.send(&mut anna, "EXPUNGE");
    let mut anna = selected(&rig, "anna", "Shared/Support/Trash");
    rig.send(&mut anna, "STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(
        rig.send(&mut anna, "EXPUNGE"),
        "a NO [NOPERM] The team's Trash is emptied after its retention; \
         a super-admin can expunge it now\r\n"
    );
    assert_eq!(rig.send(&mut anna, "CLOSE"), "a OK Closed\r\n");
    assert_eq!(count(&rig, "anna", "Shared/Support/Trash"), 2);
    let mut sam = selected(&rig, "sam", "Shared/Support/Trash");
    assert_eq!(rig.send(&mut sam, "EXPUNGE"), "* 1 EXPUNGE\r\na OK Expunged\r\n");
    assert_eq!(count(&rig, "anna", "Shared/Support/Trash"), 1);
}

#[test]
fn a_move_to_another_account_leaves_an_instance_in_the_teams_trash() {
    let rig = Rig::new();
    rig.fill(1);
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, "MOVE 1 Trash");
    assert!(answer.contains("* 1 EXPUNGE\r\na OK Moved"), "{answer}");
    assert_eq!(count(&rig, "anna", "Trash"), 1);
    assert_eq!(count(&rig, "anna", "Shared/Support/Trash"), 1);
    // out of the Trash to another account: the team's instance stays
    let mut trash = selected(&rig, "anna", "Shared/Support/Trash");
    let answer = rig.send(&mut trash, "MOVE 1 INBOX");
    assert!(answer.contains("a OK Moved") && !answer.contains("EXPUNGE"), "{answer}");
    assert_eq!(count(&rig, "anna", "INBOX"), 1);
    assert_eq!(count(&rig, "anna", "Shared/Support/Trash"), 1);
    // back into the inbox: restored
    let answer = rig.send(&mut trash, "MOVE 1 Shared/Support");
    assert!(answer.contains("* 1 EXPUNGE"), "{answer}");
    assert_eq!(count(&rig, "anna", "Shared/Support"), 1);
    assert_eq!(count(&rig, "anna", "Shared/Support/Trash"), 0);
}

#[test]
fn an_own_mailbox_is_expunged_for_good() {
    let rig = Rig::new();
    rig.fill(1);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "COPY 1 INBOX");
    let mut inbox = selected(&rig, "anna", "INBOX");
    rig.send(&mut inbox, "STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(rig.send(&mut inbox, "EXPUNGE"), "* 1 EXPUNGE\r\na OK Expunged\r\n");
    assert_eq!(count(&rig, "anna", "Trash"), 0);
    let mut inbox = selected(&rig, "anna", "INBOX");
    assert_eq!(rig.send(&mut inbox, "UID MOVE 1 Trash"), "a OK No messages to move\r\n");
}
