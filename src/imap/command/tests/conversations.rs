//! MOVE between the folders of an inbox that tell who has a conversation.

use super::{ANNA, BEN, DONE, count, in_support, rig, selected};
use crate::directory::Moves;
use crate::mail::account::{Folder, FolderRole};
use crate::mail::flag::SeenMode;
use crate::mail::id::{Login, Uid};
use crate::store::change::{Change, Transfer};

#[test]
fn a_move_takes_the_conversation_along() {
    let rig = rig();
    let mut watching = in_support(&rig, "ben");
    let mut assigned = selected(&rig, "ben", BEN);
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, &format!("MOVE 1 {BEN}"));
    let is_keywords = |line: &&str| line.contains("FLAGS (");
    let lines: Vec<&str> = answer.lines().filter(|line| !is_keywords(line)).collect();
    assert!(lines[0].starts_with("* OK [COPYUID ") && lines[0].contains(" 1 1]"), "{answer}");
    assert_eq!(lines[1..], ["* 3 EXPUNGE", "* 1 EXPUNGE", "a OK Moved"], "what was named first");
    let told = rig.send(&mut watching, "NOOP");
    assert!(told.contains("* 3 EXPUNGE\r\n* 1 EXPUNGE\r\n"), "{told}");
    assert!(rig.send(&mut assigned, "NOOP").contains("* 2 EXISTS\r\n"));
    let flags = rig.send(&mut assigned, "FETCH 1:2 FLAGS");
    assert_eq!(flags.matches("$assigned-ben").count(), 2, "{flags}");
}

#[test]
fn the_keyword_changes_hands_stays_when_done_and_goes_when_open() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, &format!("MOVE 3 {BEN}"));
    let mut ben = selected(&rig, "ben", BEN);
    rig.send(&mut ben, &format!("MOVE 1 {ANNA}"));
    let mut anna = selected(&rig, "anna", ANNA);
    let flags = rig.send(&mut anna, "FETCH 1:2 FLAGS");
    assert_eq!(flags.matches("$assigned-anna").count(), 2, "{flags}");
    assert!(!flags.contains("$assigned-ben"), "{flags}");
    assert!(rig.send(&mut anna, &format!("UID MOVE 2 {DONE}")).contains("* 2 EXPUNGE"));
    let mut done = selected(&rig, "ben", DONE);
    let flags = rig.send(&mut done, "FETCH 1:2 FLAGS");
    assert_eq!(flags.matches("$assigned-anna").count(), 2, "{flags}");
    rig.send(&mut done, "MOVE 2 Shared/Support");
    let mut open = in_support(&rig, "anna");
    let flags = rig.send(&mut open, "FETCH 1:3 FLAGS");
    assert!(!flags.contains("$assigned"), "{flags}");
}

#[test]
fn the_rest_comes_from_wherever_it_is() {
    let mut rig = rig();
    rig.change_policy(|policy| policy.conversation = Moves::Single);
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, &format!("MOVE 1 {BEN}"));
    assert!(answer.contains("* 1 EXPUNGE\r\na OK") && !answer.contains("* 3 EXPUNGE"), "{answer}");
    rig.change_policy(|policy| policy.conversation = Moves::Together);
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, &format!("MOVE 2 {DONE}"));
    assert_eq!(count(&rig, "anna", DONE), 2);
    assert_eq!(count(&rig, "anna", BEN), 0);
    assert_eq!(count(&rig, "anna", "Shared/Support"), 1);
}

#[test]
fn the_trash_takes_only_what_is_named_and_what_comes_back_brings_its_conversation() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    rig.send(&mut anna, "MOVE 1 Shared/Support/Trash");
    assert_eq!(count(&rig, "anna", "Shared/Support"), 2);
    rig.send(&mut anna, &format!("MOVE 2 {BEN}"));
    assert_eq!(count(&rig, "anna", "Shared/Support/Trash"), 1, "what is deleted stays so");
    let mut trash = selected(&rig, "anna", "Shared/Support/Trash");
    rig.send(&mut trash, &format!("MOVE 1 {ANNA}"));
    assert_eq!((count(&rig, "anna", ANNA), count(&rig, "anna", BEN)), (2, 0), "one state each");
}

#[test]
fn of_two_who_move_at_once_one_wins_and_the_other_is_told() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    let mut ben = in_support(&rig, "ben");
    assert!(rig.send(&mut anna, &format!("MOVE 1 {ANNA}")).contains("a OK Moved"));
    let answer = rig.send(&mut ben, &format!("MOVE 1 {BEN}"));
    assert!(answer.contains("a NO "), "{answer}");
    assert_eq!((count(&rig, "anna", ANNA), count(&rig, "anna", BEN)), (2, 0));
}

const FOLLOW_UP: &str =
    "From: c@customer.example\r\nMessage-ID: <4@c>\r\nIn-Reply-To: <3@c>\r\n\r\nfour\r\n";

#[test]
fn what_comes_while_a_conversation_is_moved_goes_along() {
    let cases = [
        format!("MOVE 1 {BEN}"),
        format!("COPY 1 {BEN}"),
        "STORE 1 +FLAGS ($assigned-ben)".to_owned(),
        format!("MOVE 1 {DONE}"),
    ];
    for command in cases {
        let rig = rig();
        let mut anna = in_support(&rig, "anna");
        rig.commit_sooner(vec![vec![rig.delivery(FOLLOW_UP)]]);
        let answer = rig.send(&mut anna, &command);
        assert!(answer.contains("a OK"), "{answer}");
        let to = if command.contains("Done") { DONE } else { BEN };
        assert_eq!(count(&rig, "anna", to), 3, "{command}");
        assert_eq!(count(&rig, "anna", "Shared/Support"), 1, "the other conversation");
    }
}

#[test]
fn what_is_moved_on_meanwhile_takes_nothing_along() {
    let rig = rig();
    let mut anna = in_support(&rig, "anna");
    let done = rig.find(&Folder::role(FolderRole::Done));
    let back = Change::Moved(Transfer {
        from: done,
        from_seen: SeenMode::PerUser,
        uids: [Uid(1), Uid(2)].into_iter().collect(),
        to: rig.support().id,
        to_seen: SeenMode::PerUser,
        user: Login::new("ben"),
    });
    // a follow-up comes before the move, and one that opens the conversation again before the rest
    // of it is brought along
    rig.commit_sooner(vec![vec![rig.delivery(FOLLOW_UP)], vec![back]]);
    let answer = rig.send(&mut anna, &format!("MOVE 1 {DONE}"));
    assert!(answer.contains("a OK"), "{answer}");
    assert_eq!((count(&rig, "anna", DONE), count(&rig, "anna", "Shared/Support")), (0, 4));
}
