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

const SENT: &str = "Message-ID: <s1@c>\r\nSubject: sent\r\n\r\nbody\r\n";
const COPY: &str = "X-Own: field\r\nMessage-ID: <s1@c>\r\nSubject: sent\r\n\r\nbody\r\n";

fn append(rig: &Rig, login: &str, folder: &str, message: &str) -> String {
    let command = format!("APPEND {folder} (\\Seen) {{{}}}\r\n{message}", message.len());
    let answer = rig.send(&mut rig.client(login), &command);
    answer.lines().last().expect("a line").to_owned()
}

#[test]
fn a_copy_of_what_is_in_that_sent_already_is_answered_with_its_uid() {
    let rig = Rig::new();
    for folder in ["Sent", "Shared/Support/Sent"] {
        let first = append(&rig, "anna", folder, SENT);
        let uid = first.split(']').next().expect("a code");
        assert!(uid.starts_with("a OK [APPENDUID "), "{first}");
        let again = append(&rig, "anna", folder, COPY);
        assert!(again.starts_with(uid), "{first} {again}");
        assert_eq!(count(&rig, "anna", folder), 1);
        let again = append(&rig, "anna", folder, &format!("{COPY}\r\n"));
        assert!(again.starts_with(uid), "s-nail ends its copy with an empty line: {again}");
        append(&rig, "anna", folder, &SENT.replace("body", "else"));
        append(&rig, "anna", folder, &SENT.replace("s1@c", "s2@c"));
        assert_eq!(count(&rig, "anna", folder), 3, "another body, another identifier");
    }
    append(&rig, "anna", "INBOX", SENT);
    append(&rig, "anna", "INBOX", SENT);
    assert_eq!(count(&rig, "anna", "INBOX"), 2, "only a Sent is like that");
}

#[test]
fn an_own_copy_of_what_an_inbox_sent_is_another_instance_of_it() {
    let rig = Rig::new();
    append(&rig, "ben", "Shared/Support/Sent", SENT);
    let answer = append(&rig, "anna", "Sent", COPY);
    assert!(answer.starts_with("a OK [APPENDUID "), "{answer}");
    let mut anna = selected(&rig, "anna", "Sent");
    let shown = rig.send(&mut anna, "FETCH 1 (FLAGS BODY.PEEK[HEADER])");
    assert!(shown.contains("\\Seen") && !shown.contains("X-Own"), "stored once: {shown}");
    append(&rig, "ben", "Shared/Sales/Sent", &SENT.replace("s1@c", "s3@c"));
    append(&rig, "anna", "Sent", &COPY.replace("s1@c", "s3@c"));
    rig.send(&mut anna, "NOOP");
    let shown = rig.send(&mut anna, "FETCH 2 (BODY.PEEK[HEADER])");
    assert!(shown.contains("X-Own"), "what anna may not see does not exist: {shown}");
}

#[test]
fn an_own_copy_is_left_out_where_that_is_configured() {
    let mut rig = Rig::new();
    rig.leave_out_own_copies();
    append(&rig, "ben", "Shared/Support/Sent", SENT);
    assert!(append(&rig, "anna", "Sent", COPY).starts_with("a OK It was filed"));
    assert_eq!(count(&rig, "anna", "Sent"), 0);
    append(&rig, "anna", "Sent", &SENT.replace("s1@c", "s2@c"));
    assert_eq!(count(&rig, "anna", "Sent"), 1, "what nobody has filed is stored");
}
