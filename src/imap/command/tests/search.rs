//! SEARCH and UID SEARCH.

use super::in_support;
use crate::imap::rig::{Client, Rig};
use crate::imap::search::key::{DEPTH_MAX, KEYS_MAX};

fn mailbox() -> (Rig, Client) {
    let rig = Rig::new();
    for (subject, date, body) in [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= aus Wien", "Sun, 5 May 2024 23:30:00 -0500", "Rechnung 4711"),
        ("Order", "Mon, 6 May 2024 01:00:00 +0200", "Please cancel\r\nmy order"),
        ("Re: Order", "Tue, 7 May 2024 12:00:00 +0000", "done, =?utf-8?q?not=20decoded?="),
    ] {
        rig.deliver(&format!(
            "From: Kunde <kunde@example.com>\r\nTo: support@example.org\r\nCc: boss@example.com\r\n\
             Subject: {subject}\r\nDate: {date}\r\nX-Tag: red\r\n\r\n{body}\r\n"
        ));
    }
    let client = in_support(&rig, "anna");
    (rig, client)
}

#[track_caller]
fn found(rig: &Rig, client: &mut Client, keys: &str) -> String {
    let answer = rig.send(client, &format!("SEARCH {keys}"));
    let line = answer.lines().next().expect("a line");
    line.strip_prefix("* SEARCH").unwrap_or_else(|| panic!("{keys}: {answer}")).trim().to_owned()
}

#[test]
fn keys_find_what_they_name() {
    let (rig, mut anna) = mailbox();
    rig.send(&mut anna, "STORE 2 +FLAGS (\\Seen \\Flagged $Label1)");
    rig.send(&mut anna, "STORE 3 +FLAGS (\\Deleted \\Answered \\Draft)");
    for (keys, expected) in [
        ("ALL", "1 2 3"),
        ("2:*", "2 3"),
        ("UID 1,3", "1 3"),
        ("SEEN", "2"),
        ("UNSEEN UNDELETED", "1"),
        ("FLAGGED", "2"),
        ("UNFLAGGED", "1 3"),
        ("ANSWERED", "3"),
        ("UNANSWERED", "1 2"),
        ("DRAFT", "3"),
        ("NOT UNDRAFT", "3"),
        ("KEYWORD $label1", "2"),
        ("UNKEYWORD $Label1", "1 3"),
        ("KEYWORD unknown", ""),
        ("RECENT", "1 2 3"),
        ("NEW", "1 3"),
        ("OLD", ""),
        ("SUBJECT order", "2 3"),
        ("SUBJECT \"gr\u{fc}\u{df}e\"", "1"),
        ("SUBJECT \"GR\u{dc}SSE\"", "1"),
        ("FROM KUNDE@", "1 2 3"),
        ("TO support CC boss NOT BCC boss", "1 2 3"),
        ("BODY 4711", "1"),
        ("BODY order", "2"),
        ("TEXT order", "2 3"),
        ("BODY \"cancel my\"", "2"),
        ("HEADER X-Tag \"\"", "1 2 3"),
        ("HEADER X-Tag blue", ""),
        ("HEADER Delivered-To support@example.org", "1 2 3"),
        ("OR SUBJECT wien BODY cancel", "1 2"),
        ("NOT (SUBJECT order)", "1"),
        ("(SUBJECT order SEEN)", "2"),
        ("OR (SEEN) (DELETED) SUBJECT re", "3"),
        ("LARGER 10 SMALLER 100000", "1 2 3"),
        ("SMALLER 10", ""),
        ("ON 6-May-2024", "1 2 3"),
        ("SINCE \"6-May-2024\" NOT BEFORE 6-May-2024", "1 2 3"),
        ("BEFORE 6-May-2024", ""),
        ("SENTON 5-May-2024", "1"),
        ("SENTSINCE 6-May-2024", "2 3"),
        ("SENTBEFORE 7-May-2024", "1 2"),
    ] {
        assert_eq!(found(&rig, &mut anna, keys), expected, "{keys}");
    }
}

#[test]
fn uid_search_answers_uids_and_esearch_what_was_asked_for() {
    let (rig, mut anna) = mailbox();
    rig.send(&mut anna, "MOVE 1 Shared/Support/Done");
    assert!(rig.send(&mut anna, "UID SEARCH ALL").starts_with("* SEARCH 2 3\r\n"));
    let answer = rig.send(&mut anna, "UID SEARCH RETURN (MIN MAX COUNT) ALL");
    assert_eq!(answer, "* ESEARCH (TAG \"a\") UID MIN 2 MAX 3 COUNT 2\r\na OK Searched\r\n");
    let answer = rig.send(&mut anna, "SEARCH RETURN () SUBJECT order");
    assert_eq!(answer, "* ESEARCH (TAG \"a\") ALL 1:2\r\na OK Searched\r\n");
    let answer = rig.send(&mut anna, "SEARCH RETURN (COUNT) SUBJECT nothing");
    assert_eq!(answer, "* ESEARCH (TAG \"a\") COUNT 0\r\na OK Searched\r\n");
}

#[test]
fn modseq_finds_what_changed_and_answers_the_highest() {
    let (rig, mut anna) = mailbox();
    let before = rig.send(&mut anna, "FETCH 3 MODSEQ");
    let known = before.split("MODSEQ (").nth(1).and_then(|m| m.split(')').next());
    let known: u64 = known.and_then(|m| m.parse().ok()).expect("a number");
    rig.send(&mut anna, "STORE 2 +FLAGS (\\Seen)");
    let answer = rig.send(&mut anna, &format!("SEARCH MODSEQ {}", known + 1));
    assert!(answer.starts_with("* SEARCH 2 (MODSEQ "), "{answer}");
    let entry = format!("SEARCH MODSEQ \"/flags/\\\\Seen\" all {}", known + 1);
    assert!(rig.send(&mut anna, &entry).starts_with("* SEARCH 2 (MODSEQ "));
    assert!(rig.send(&mut anna, "SEARCH MODSEQ 9999").starts_with("* SEARCH\r\n"));
}

#[test]
fn charsets_are_decoded_or_refused() {
    let (rig, mut anna) = mailbox();
    assert_eq!(found(&rig, &mut anna, "CHARSET UTF-8 SUBJECT {6}\r\ngr\u{fc}\u{df}"), "1");
    assert_eq!(found(&rig, &mut anna, "CHARSET US-ASCII SUBJECT wien"), "1");
    let refused = rig.send(&mut anna, "SEARCH CHARSET X-UNKNOWN SUBJECT a");
    assert!(refused.starts_with("a NO [BADCHARSET (US-ASCII UTF-8)]"), "{refused}");
}

#[test]
fn search_refuses_what_it_does_not_understand() {
    let (rig, mut anna) = mailbox();
    for wrong in [
        "",
        "FOO",
        "SUBJECT",
        "NOT",
        "OR ALL",
        "(ALL",
        "ALL)",
        "0",
        "UID",
        "BEFORE 1-Foo-2020",
        "LARGER x",
        "RETURN (FOO) ALL",
        "RETURN ALL",
        "CHARSET UTF-8",
        "HEADER a",
        "ALL ALL x",
    ] {
        let answer = rig.send(&mut anna, &format!("SEARCH {wrong}"));
        assert!(answer.starts_with("a BAD"), "{wrong}: {answer}");
    }
    assert_eq!(found(&rig, &mut anna, "UNSEEN "), "1 2 3");
    // numbers beyond the last message are no error in a search. RFC 7377 §2
    assert_eq!(found(&rig, &mut anna, "9"), "");
    assert_eq!(found(&rig, &mut anna, "3:9"), "3");
    assert_eq!(found(&rig, &mut anna, "101:200"), "");
}

#[test]
fn keys_are_limited_in_number_and_depth() {
    let (rig, mut anna) = mailbox();
    let many = |count: usize| format!("SEARCH {}", vec!["ALL"; count].join(" "));
    assert!(rig.send(&mut anna, &many(KEYS_MAX)).contains("a OK"));
    assert!(rig.send(&mut anna, &many(KEYS_MAX + 1)).starts_with("a BAD"));
    let deep = |depth: usize| format!("SEARCH {}ALL{}", "(".repeat(depth), ")".repeat(depth));
    assert!(rig.send(&mut anna, &deep(DEPTH_MAX)).contains("a OK"));
    assert!(rig.send(&mut anna, &deep(DEPTH_MAX + 1)).starts_with("a BAD"));
    let nots = |depth: usize| format!("SEARCH {}ALL", "NOT ".repeat(depth));
    assert!(rig.send(&mut anna, &nots(DEPTH_MAX)).contains("a OK"));
    assert!(rig.send(&mut anna, &nots(DEPTH_MAX + 1)).starts_with("a BAD"));
}
