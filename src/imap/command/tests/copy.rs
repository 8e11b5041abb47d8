//! COPY into the folders of an inbox that tell who has a conversation.

use super::{ANNA, BEN, DONE, TRASH, count, counts, in_support, rig, selected};

#[test]
fn copy_mark_and_expunge_by_number_end_as_a_move() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, &format!("COPY 1 {BEN}"));
    assert!(answer.contains("a OK [COPYUID ") && !answer.contains("EXPUNGE"), "{answer}");
    assert_eq!(counts(&rig), [1, 0, 2, 0, 0], "its conversation went along");
    // no other message has got its number
    let answer = rig.send(&mut anna, "STORE 1 +FLAGS (\\Deleted)");
    assert!(answer.contains("a OK [EXPUNGEISSUED]"), "{answer}");
    let answer = rig.send(&mut anna, "EXPUNGE");
    assert_eq!(answer, "* 3 EXPUNGE\r\n* 1 EXPUNGE\r\na OK Expunged\r\n");
    assert_eq!(counts(&rig), [1, 0, 2, 0, 0]);
    let mut ben = selected(&rig, "ben", BEN);
    let flags = rig.send(&mut ben, "FETCH 1:2 FLAGS");
    assert_eq!(flags.matches("$assigned-ben").count(), 2, "{flags}");
    assert!(!flags.contains("\\Deleted"), "{flags}");
}

#[test]
fn copy_mark_and_expunge_by_uid_end_as_a_move() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, &format!("UID COPY 2 {DONE}"));
    assert!(answer.starts_with("* 2 EXPUNGE\r\na OK [COPYUID "), "{answer}");
    assert_eq!(rig.send(&mut anna, "UID STORE 2 +FLAGS.SILENT (\\Deleted)"), "a OK Stored\r\n");
    assert_eq!(rig.send(&mut anna, "UID EXPUNGE 2"), "a OK Expunged\r\n");
    assert_eq!(counts(&rig), [2, 0, 0, 1, 0]);
}

#[test]
fn copy_out_of_the_trash_restores() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, &format!("MOVE 2 {TRASH}"));
    let mut trash = selected(&rig, "anna", TRASH);
    assert!(rig.send(&mut trash, "COPY 1 Shared/Support").contains("COPYUID"));
    rig.send(&mut trash, "STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(rig.send(&mut trash, "EXPUNGE"), "* 1 EXPUNGE\r\na OK Expunged\r\n");
    assert_eq!(counts(&rig), [3, 0, 0, 0, 0]);
}

#[test]
fn of_two_who_copy_at_once_one_wins_and_the_other_is_told() {
    let rig = rig();
    let (mut anna, mut ben) = (in_support(&rig, "anna"), in_support(&rig, "ben"));
    assert!(rig.send(&mut anna, &format!("COPY 1 {ANNA}")).contains("a OK"));
    let answer = rig.send(&mut ben, &format!("UID COPY 3 {BEN}"));
    assert!(answer.contains("a NO [EXPUNGEISSUED]"), "{answer}");
    assert_eq!(counts(&rig), [1, 2, 0, 0, 0]);
}

#[test]
fn a_copy_to_junk_or_trash_is_a_move() {
    for there in ["Shared/Support/Junk", TRASH] {
        let rig = rig();
        let mut anna = in_support(&rig, "anna");
        rig.send(&mut anna, &format!("MOVE 1 {ANNA}"));
        let mut assigned = selected(&rig, "anna", ANNA);
        let answer = rig.send(&mut assigned, &format!("COPY 1 {there}"));
        assert!(answer.contains("a OK [COPYUID"), "{answer}");
        assert_eq!(count(&rig, "anna", ANNA), 1, "only what is named goes");
        // as a program without MOVE ends it
        rig.send(&mut assigned, "STORE 1 +FLAGS (\\Deleted)");
        rig.send(&mut assigned, "EXPUNGE");
        assert_eq!((count(&rig, "anna", ANNA), count(&rig, "anna", there)), (1, 1));
        if there != TRASH {
            let mut junk = selected(&rig, "anna", there);
            assert!(rig.send(&mut junk, &format!("COPY 1 {TRASH}")).contains("a OK [COPYUID"));
            assert_eq!((count(&rig, "anna", there), count(&rig, "anna", TRASH)), (0, 1));
        }
        let mut trash = selected(&rig, "anna", TRASH);
        rig.send(&mut trash, "COPY 1 Shared/Support");
        assert_eq!(counts(&rig), [1, 2, 0, 0, 0], "back where its conversation is");
    }
}

#[test]
fn what_is_copied_in_from_outside_brings_its_conversation_and_names_the_new_assignee() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, &format!("MOVE 1 {ANNA}"));
    let mut assigned = selected(&rig, "anna", ANNA);
    rig.send(&mut assigned, "COPY 1 INBOX");
    let mut inbox = selected(&rig, "anna", "INBOX");
    // what comes in from outside says where the conversation is
    assert!(rig.send(&mut inbox, &format!("COPY 1 {BEN}")).contains("a OK [COPYUID"));
    assert_eq!(counts(&rig), [1, 0, 3, 0, 0]);
    let mut ben = selected(&rig, "ben", BEN);
    let flags = rig.send(&mut ben, "FETCH 1:3 FLAGS");
    assert_eq!(flags.matches("$assigned-ben)").count(), 3, "{flags}");
    let fetched = flags.lines().filter(|line| line.contains("FETCH"));
    assert!(!fetched.collect::<String>().contains("$assigned-anna"), "{flags}");
}

#[test]
fn a_copy_to_where_it_lies_makes_no_second_instance() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    assert!(rig.send(&mut anna, "COPY 2 Shared/Support").contains("a OK [COPYUID"));
    assert_eq!(counts(&rig), [3, 0, 0, 0, 0]);
    // as a program without MOVE ends it
    rig.send(&mut anna, "STORE 2 +FLAGS (\\Deleted)");
    rig.send(&mut anna, "EXPUNGE");
    assert_eq!(counts(&rig), [3, 0, 0, 0, 0]);
}

#[test]
fn copy_takes_nothing_out_of_a_mailbox_that_was_examined() {
    let rig = rig();
    let mut anna = rig.client("anna");
    rig.send(&mut anna, "EXAMINE Shared/Support");
    let answer = rig.send(&mut anna, &format!("COPY 1 {DONE}"));
    assert!(answer.contains("a NO [READ-ONLY] COPY between these folders moves"), "{answer}");
    assert!(rig.send(&mut anna, "COPY 1 INBOX").contains("a OK [COPYUID"));
    assert_eq!(counts(&rig), [3, 0, 0, 0, 0]);
}

#[test]
fn what_comes_from_a_personal_mailbox_is_no_note() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "COPY 1:2 INBOX");
    let mut inbox = selected(&rig, "anna", "INBOX");
    rig.send(&mut inbox, "STORE 1:2 +FLAGS ($Note $Label1)");
    rig.send(&mut inbox, "COPY 1 Shared/Support");
    rig.send(&mut inbox, "MOVE 2 Shared/Support");
    let mut anna = in_support(&rig, "anna");
    let flags = rig.send(&mut anna, "FETCH 1:* FLAGS");
    assert_eq!(flags.matches("$Label1").count(), 2, "{flags}");
    assert!(!flags.contains("$Note"), "{flags}");
}
