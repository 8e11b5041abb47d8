//! What is dragged out of an inbox's Trash goes back to where it was.

use super::{ANNA, BEN, DONE, OPEN, TRASH, counts, in_support, rig, selected};
use crate::directory::Moves;
use crate::imap::rig::{Client, Rig};

/// Marks and expunges all of a folder.
fn delete_all(rig: &Rig, folder: &str) {
    let mut anna = selected(rig, "anna", folder);
    rig.send(&mut anna, "STORE 1:* +FLAGS.SILENT (\\Deleted)");
    assert!(rig.send(&mut anna, "EXPUNGE").contains("a OK"));
}

fn drag_back(rig: &Rig, set: &str) -> (Client, String) {
    let mut anna = selected(rig, "anna", TRASH);
    let answer = rig.send(&mut anna, &format!("MOVE {set} {OPEN}"));
    (anna, answer)
}

#[test]
fn what_was_assigned_is_assigned_again_with_its_keyword() {
    let rig = rig();
    rig.send(&mut in_support(&rig, "anna"), &format!("MOVE 1 {BEN}"));
    delete_all(&rig, BEN);
    assert_eq!(counts(&rig), [1, 0, 0, 0, 2]);
    let (_, answer) = drag_back(&rig, "1:2");
    assert_eq!(answer, "* 2 EXPUNGE\r\n* 1 EXPUNGE\r\na OK Restored to where it was\r\n");
    assert_eq!(counts(&rig), [1, 0, 2, 0, 0]);
    let flags = rig.send(&mut selected(&rig, "ben", BEN), "FETCH 1:2 FLAGS");
    assert_eq!(flags.matches("$assigned-ben").count(), 2, "{flags}");
    assert!(!flags.contains("Deleted"), "{flags}");
}

#[test]
fn what_was_done_is_done_again_and_what_was_open_is_open() {
    let rig = rig();
    rig.send(&mut in_support(&rig, "anna"), &format!("MOVE 2 {DONE}"));
    delete_all(&rig, DONE);
    delete_all(&rig, OPEN);
    assert_eq!(counts(&rig), [0, 0, 0, 0, 3]);
    let (mut anna, answer) = drag_back(&rig, "1:3");
    assert!(answer.starts_with("* OK [COPYUID ") && answer.contains(" 2:3 4:5] Moved"), "{answer}");
    assert_eq!(counts(&rig), [2, 0, 0, 1, 0]);
    let answer = rig.send(&mut anna, &format!("MOVE 1:3 {OPEN}"));
    assert!(answer.contains("a BAD") || answer.contains("a NO"), "{answer}");
}

#[test]
fn what_is_dragged_elsewhere_goes_there() {
    let rig = rig();
    rig.send(&mut in_support(&rig, "anna"), &format!("MOVE 1 {BEN}"));
    delete_all(&rig, BEN);
    let mut anna = selected(&rig, "anna", TRASH);
    assert!(rig.send(&mut anna, &format!("MOVE 1:2 {ANNA}")).contains("[COPYUID "));
    assert_eq!(counts(&rig), [1, 2, 0, 0, 0]);
}

#[test]
fn a_message_returns_to_its_conversation_wherever_that_is_by_now() {
    let mut rig = rig();
    rig.send(&mut in_support(&rig, "anna"), &format!("MOVE 1 {BEN}"));
    let mut ben = selected(&rig, "ben", BEN);
    rig.send(&mut ben, "STORE 2 +FLAGS (\\Deleted)");
    rig.send(&mut ben, "EXPUNGE");
    rig.send(&mut ben, &format!("MOVE 1 {DONE}"));
    assert_eq!(counts(&rig), [1, 0, 0, 1, 1]);
    drag_back(&rig, "1");
    assert_eq!(counts(&rig), [1, 0, 0, 2, 0], "the conversation is closed");
    let mut done = selected(&rig, "ben", DONE);
    rig.send(&mut done, "STORE 2 +FLAGS (\\Deleted)");
    rig.send(&mut done, "EXPUNGE");
    rig.change_policy(|policy| policy.conversation = Moves::Single);
    rig.send(&mut selected(&rig, "ben", DONE), &format!("MOVE 1 {OPEN}"));
    drag_back(&rig, "1");
    assert_eq!(counts(&rig), [2, 0, 0, 1, 0], "each by itself: to where it was");
}

#[test]
fn what_a_colleague_had_who_is_gone_is_open() {
    let mut rig = rig();
    rig.send(&mut in_support(&rig, "anna"), &format!("MOVE 2 {BEN}"));
    delete_all(&rig, BEN);
    rig.without("ben");
    let (_, answer) = drag_back(&rig, "1");
    assert!(answer.contains("[COPYUID "), "{answer}");
    assert_eq!(counts(&rig)[0], 3);
}

#[test]
fn a_copy_out_of_the_trash_is_a_move_and_returns_too() {
    let rig = rig();
    rig.send(&mut in_support(&rig, "anna"), &format!("MOVE 2 {BEN}"));
    delete_all(&rig, BEN);
    let mut anna = selected(&rig, "anna", TRASH);
    let answer = rig.send(&mut anna, &format!("COPY 1 {OPEN}"));
    assert!(answer.ends_with("a OK Restored to where it was\r\n"), "{answer}");
    assert_eq!(counts(&rig), [2, 0, 1, 0, 0]);
}
