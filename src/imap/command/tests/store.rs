//! STORE and UID STORE.

use super::in_support;
use crate::imap::rig::Rig;

#[test]
fn store_sets_adds_and_removes() {
    let rig = Rig::new();
    rig.fill(3);
    let mut anna = in_support(&rig, "anna");
    assert_eq!(
        rig.send(&mut anna, "STORE 1:2 +FLAGS (\\Flagged $Label1)"),
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Label1)\r\n\
         * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Label1 \\*)] \
         Flags permitted\r\n\
         * 1 FETCH (FLAGS (\\Flagged \\Recent $Label1))\r\n\
         * 2 FETCH (FLAGS (\\Flagged \\Recent $Label1))\r\na OK Stored\r\n"
    );
    let removed = rig.send(&mut anna, "UID STORE 2 -FLAGS $label1");
    assert_eq!(removed, "* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent))\r\na OK Stored\r\n");
    let replaced = rig.send(&mut anna, "STORE 1 FLAGS (\\Seen \\Answered)");
    assert_eq!(replaced, "* 1 FETCH (FLAGS (\\Answered \\Seen \\Recent))\r\na OK Stored\r\n");
    let emptied = rig.send(&mut anna, "STORE 1 FLAGS ()");
    assert_eq!(emptied, "* 1 FETCH (FLAGS (\\Recent))\r\na OK Stored\r\n");
}

#[test]
fn seen_is_each_users_own_and_the_other_flags_are_shared() {
    let rig = Rig::new();
    rig.fill(1);
    let (mut anna, mut ben) = (in_support(&rig, "anna"), in_support(&rig, "ben"));
    rig.send(&mut anna, "STORE 1 +FLAGS (\\Seen \\Flagged)");
    let told = rig.send(&mut ben, "NOOP");
    assert!(told.contains("FLAGS (\\Flagged \\Recent)"), "{told}");
    // replacing all flags leaves the other user's \Seen alone
    rig.send(&mut ben, "STORE 1 FLAGS (\\Answered)");
    assert!(rig.send(&mut anna, "NOOP").contains("FLAGS (\\Answered \\Seen \\Recent)"));
}

#[test]
fn what_a_reader_may_not_set_stays_and_the_answer_says_so() {
    let rig = Rig::new();
    rig.fill(1);
    let mut dora = in_support(&rig, "dora");
    let answer = rig.send(&mut dora, "STORE 1 +FLAGS (\\Seen \\Deleted $Label1)");
    assert_eq!(answer, "* 1 FETCH (FLAGS (\\Seen \\Recent))\r\na OK Stored\r\n");
    let answer = rig.send(&mut dora, "STORE 1 FLAGS (\\Deleted)");
    assert_eq!(answer, "* 1 FETCH (FLAGS (\\Recent))\r\na OK Stored\r\n");
    rig.send(&mut dora, "EXAMINE Shared/Support");
    assert!(rig.send(&mut dora, "STORE 1 +FLAGS (\\Seen)").starts_with("a NO [READ-ONLY]"));
}

#[test]
fn unchangedsince_names_those_that_others_changed() {
    let rig = Rig::new();
    rig.fill(3);
    let (mut anna, mut ben) = (in_support(&rig, "anna"), in_support(&rig, "ben"));
    let known = rig.send(&mut anna, "FETCH 3 (MODSEQ)");
    let known = known.split("MODSEQ (").nth(1).and_then(|m| m.split(')').next());
    let known = known.expect("a mod-sequence").to_owned();
    rig.send(&mut ben, "STORE 2 +FLAGS (\\Flagged)");
    // ben's own \Seen is nothing to anna
    rig.send(&mut ben, "STORE 3 +FLAGS (\\Seen)");
    let command = format!("STORE 1:3 (UNCHANGEDSINCE {known}) +FLAGS.SILENT (\\Seen \\Answered)");
    let answer = rig.send(&mut anna, &command);
    assert!(answer.contains("* 1 FETCH (UID 1 MODSEQ ("), "{answer}");
    assert!(answer.contains("* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ ("), "{answer}");
    assert!(answer.contains("* 3 FETCH (UID 3 MODSEQ ("), "{answer}");
    assert!(answer.contains("a OK [MODIFIED 2]"), "{answer}");
    assert!(rig.send(&mut anna, "FETCH 2 FLAGS").contains("FLAGS (\\Flagged \\Recent)"));
    assert!(rig.send(&mut anna, "FETCH 3 FLAGS").contains("(\\Answered \\Seen \\Recent)"));
    let refused = rig.send(&mut anna, "UID STORE 2 (UNCHANGEDSINCE 1) FLAGS (\\Seen)");
    assert!(refused.contains("a OK [MODIFIED 2]"), "{refused}");
}

#[test]
fn store_refuses_what_it_does_not_understand() {
    let rig = Rig::new();
    rig.fill(1);
    let mut anna = in_support(&rig, "anna");
    for wrong in [
        "STORE 1 FLAG (\\Seen)",
        "STORE 1 +FLAGS",
        "STORE 1 +FLAGS (\\Foo)",
        "STORE 1 (UNCHANGEDSINCE) FLAGS ()",
        "STORE 2 FLAGS ()",
        "STORE 1 FLAGS () x",
        "STORE 1 +FLAGS.LOUD (\\Seen)",
    ] {
        let answer = rig.send(&mut anna, wrong);
        assert!(answer.starts_with("a BAD"), "{wrong}: {answer}");
    }
    assert_eq!(rig.send(&mut anna, "UID STORE 7 FLAGS ()"), "a OK Stored\r\n");
}
