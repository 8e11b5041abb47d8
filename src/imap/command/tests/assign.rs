//! The keyword that names an assignee, set and taken by STORE and APPEND.

use super::{ANNA, BEN, DONE, TRASH, counts, in_support, rig, selected};
use crate::imap::rig::Rig;
use crate::mail::flag::FlagList;
use crate::mail::id::Uid;
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, FlagOperation};

fn flags_of_all(rig: &Rig, name: &str) -> String {
    let mut client = selected(rig, "anna", name);
    let answer = rig.send(&mut client, "UID FETCH 1:* FLAGS");
    answer.lines().filter(|line| line.contains("FETCH")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_keyword_assigns_and_taking_it_unassigns() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    // RFC 3501 §7.4.1: no EXPUNGE while STORE is answered
    let answer = rig.send(&mut anna, "STORE 1 +FLAGS (\\Flagged $assigned-ben)");
    assert!(answer.contains("a OK [EXPUNGEISSUED] Stored, and"), "{answer}");
    assert!(!answer.contains(" EXPUNGE\r\n"), "{answer}");
    assert_eq!(counts(&rig), [1, 0, 2, 0, 0]);
    assert!(rig.send(&mut anna, "NOOP").contains("* 3 EXPUNGE\r\n* 1 EXPUNGE\r\n"));
    let flags = flags_of_all(&rig, BEN);
    assert_eq!(flags.matches("$assigned-ben)").count(), 2, "{flags}");
    assert_eq!(flags.matches("\\Flagged").count(), 1, "{flags}");
    let mut ben = selected(&rig, "ben", BEN);
    let answer = rig.send(&mut ben, "UID STORE 1 -FLAGS ($Assigned-Ben)");
    assert!(answer.contains("* 2 EXPUNGE\r\n* 1 EXPUNGE\r\na OK Stored, and"), "{answer}");
    assert_eq!(counts(&rig), [3, 0, 0, 0, 0]);
    assert!(!flags_of_all(&rig, "Shared/Support").contains("$assigned"));
}

#[test]
fn it_changes_hands_and_opens_what_was_closed() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "UID STORE 2 +FLAGS ($assigned-anna)");
    let mut assigned = selected(&rig, "anna", ANNA);
    rig.send(&mut assigned, "UID STORE 1 FLAGS (\\Seen $assigned-ben)");
    assert_eq!(counts(&rig), [2, 0, 1, 0, 0]);
    assert!(!flags_of_all(&rig, BEN).contains("$assigned-anna"));
    let mut ben = selected(&rig, "ben", BEN);
    rig.send(&mut ben, &format!("MOVE 1 {DONE}"));
    let mut done = selected(&rig, "ben", DONE);
    // it says already that it was ben's
    assert!(rig.send(&mut done, "STORE 1 +FLAGS ($assigned-ben)").contains("a OK Stored\r\n"));
    assert!(rig.send(&mut done, "STORE 1 FLAGS ($assigned-ben)").contains("a OK Stored\r\n"));
    assert_eq!(counts(&rig), [2, 0, 0, 1, 0]);
    rig.send(&mut done, "STORE 1 +FLAGS ($assigned-anna)");
    assert_eq!(counts(&rig), [2, 1, 0, 0, 0]);
    let flags = flags_of_all(&rig, ANNA);
    assert!(flags.contains("$assigned-anna") && !flags.contains("$assigned-ben"), "{flags}");
}

#[test]
fn it_cannot_be_made_to_lie() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "UID STORE 2 +FLAGS ($assigned-anna $Label1)");
    let mut assigned = selected(&rig, "anna", ANNA);
    let answer = rig.send(&mut assigned, "STORE 1 FLAGS.SILENT (\\Flagged)");
    assert_eq!(answer, "* 1 FETCH (FLAGS (\\Flagged \\Recent $assigned-anna))\r\na OK Stored\r\n");
    let answer = rig.send(&mut assigned, "STORE 1 -FLAGS ($assigned-ben)");
    assert!(answer.contains("$assigned-anna") && answer.contains("a OK Stored\r\n"), "{answer}");
    assert_eq!(counts(&rig), [2, 1, 0, 0, 0]);
    for command in ["STORE 1 +FLAGS", "UID STORE 1 FLAGS"] {
        let answer = rig.send(&mut assigned, &format!("{command} ($assigned-anna $assigned-ben)"));
        assert!(answer.contains("a NO [CANNOT] A conversation is assigned to one"), "{answer}");
    }
}

#[test]
fn who_does_not_work_there_is_nobody() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    // dora may read, carla is an admin, sam a super-admin without a folder
    for login in ["dora", "carla", "sam", "nobody"] {
        let answer = rig.send(&mut anna, &format!("STORE 1 +FLAGS (\\Flagged $assigned-{login})"));
        assert_eq!(answer, "a NO [CANNOT] Nobody of that name works in this inbox\r\n", "{login}");
    }
    assert_eq!(counts(&rig), [3, 0, 0, 0, 0]);
    assert!(!flags_of_all(&rig, "Shared/Support").contains("\\Flagged"), "nothing is changed");
}

#[test]
fn who_may_only_read_assigns_nothing() {
    let rig = rig();
    let mut dora = in_support(&rig, "dora");
    let answer = rig.send(&mut dora, "STORE 1 +FLAGS (\\Seen $assigned-ben)");
    assert!(answer.contains("* 1 FETCH (FLAGS (\\Seen \\Recent))\r\na OK Stored"), "{answer}");
    assert_eq!(counts(&rig), [3, 0, 0, 0, 0]);
}

#[test]
fn of_two_who_assign_at_once_one_wins_and_the_other_is_told() {
    let rig = rig();
    let (mut anna, mut ben) = (in_support(&rig, "anna"), in_support(&rig, "ben"));
    assert!(rig.send(&mut anna, "STORE 1 +FLAGS ($assigned-anna)").contains("a OK"));
    let answer = rig.send(&mut ben, "STORE 3 +FLAGS ($assigned-ben)");
    assert!(answer.contains("a NO [EXPUNGEISSUED]"), "{answer}");
    assert_eq!(counts(&rig), [1, 2, 0, 0, 0]);
    let answer = rig.send(&mut ben, "STORE 1 (UNCHANGEDSINCE 99) +FLAGS ($assigned-ben)");
    assert!(answer.contains("a NO [CANNOT]"), "{answer}");
}

#[test]
fn beside_the_states_nothing_can_be_assigned() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "UID STORE 2 +FLAGS ($assigned-anna)");
    let mut assigned = selected(&rig, "anna", ANNA);
    rig.send(&mut assigned, &format!("MOVE 1 {TRASH}"));
    let mut trash = selected(&rig, "anna", TRASH);
    let answer = rig.send(&mut trash, "STORE 1 +FLAGS ($assigned-ben)");
    assert!(answer.contains("a NO [CANNOT] Only what is in the inbox"), "{answer}");
    // who had it may be forgotten
    rig.send(&mut trash, "STORE 1 -FLAGS ($assigned-anna)");
    assert!(!flags_of_all(&rig, TRASH).contains("$assigned"));
    // in a personal mailbox it is a keyword as any other
    rig.send(&mut trash, "COPY 1 INBOX");
    let mut inbox = selected(&rig, "anna", "INBOX");
    assert!(rig.send(&mut inbox, "STORE 1 +FLAGS ($assigned-ben)").contains("$assigned-ben"));
}

#[test]
fn what_is_appended_names_whom_the_folder_names() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    for (name, keyword) in [("Shared/Support", ""), (ANNA, "$assigned-anna"), (DONE, "")] {
        let message = format!("Subject: for {name}\r\n\r\n.\r\n");
        let command = format!("APPEND {name} ($assigned-ben) {{{}}}\r\n{message}", message.len());
        assert!(rig.send(&mut anna, &command).contains("a OK [APPENDUID"));
        let flags = flags_of_all(&rig, name).replace("\\Recent", "");
        let last = flags.lines().last().map(|last| last.replace("( ", "("));
        assert!(last.is_some_and(|last| last.ends_with(&format!("FLAGS ({keyword}))"))), "{flags}");
    }
}

#[test]
fn nobody_marks_a_note_or_takes_the_mark_away() {
    let rig = rig();
    let mailbox = rig.support().id;
    let flags =
        FlagList { keywords: vec!["$Note".into(), "$Label1".into()], ..FlagList::default() };
    rig.commit(vec![Change::FlagsSet {
        mailbox,
        uids: UidSet::from_iter([Uid(2)]),
        operation: FlagOperation::Add,
        flags,
        unchanged_since: None,
        viewer: None,
    }]);
    let mut anna = in_support(&rig, "anna");
    for command in ["+FLAGS ($Note)", "-FLAGS ($note)", "FLAGS (\\Flagged)", "FLAGS ($Note)"] {
        assert!(rig.send(&mut anna, &format!("STORE 1:3 {command}")).contains("a OK"), "{command}");
        let flags = flags_of_all(&rig, "Shared/Support");
        assert_eq!(flags.matches("$Note").count(), 1, "{command}: {flags}");
        assert!(flags.lines().nth(1).is_some_and(|second| second.contains("$Note")), "{flags}");
    }
    let message = "Subject: false\r\n\r\n.\r\n";
    let command = format!("APPEND Shared/Support ($Note) {{{}}}\r\n{message}", message.len());
    assert!(rig.send(&mut anna, &command).contains("a OK [APPENDUID"));
    assert_eq!(flags_of_all(&rig, "Shared/Support").matches("$Note").count(), 1);
    rig.send(&mut anna, &format!("UID MOVE 2 {BEN}"));
    assert!(flags_of_all(&rig, BEN).contains("$Note"), "it goes along");
}
