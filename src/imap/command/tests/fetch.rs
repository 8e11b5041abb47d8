//! FETCH and UID FETCH.

use super::in_support;
use crate::imap::fetch::body::PIECE_BYTES_MAX;
use crate::imap::rig::Rig;

const MIXED: &str = concat!(
    "From: Kunde <kunde@example.com>\r\n",
    "To: support@example.org\r\n",
    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n",
    "Date: Mon, 6 May 2024 09:00:00 +0200\r\n",
    "Message-ID: <1@example.com>\r\n",
    "MIME-Version: 1.0\r\n",
    "X-Own: yes\r\n",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "\r\n",
    "--b\r\n",
    "Content-Type: text/plain; charset=utf-8\r\n",
    "\r\n",
    "hello\r\n",
    "--b\r\n",
    "Content-Type: image/png\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "\r\n",
    "aGVsbG8=\r\n",
    "--b--\r\n",
);

const TRACE: &str = "Return-Path: <c@example.com>\r\nDelivered-To: support@example.org\r\n";

/// The literal behind `label` in `answer`.
fn literal<'a>(answer: &'a str, label: &str) -> &'a str {
    let (_, rest) = answer.split_once(&format!("{label} {{")).unwrap_or_else(|| panic!("{answer}"));
    let (length, bytes) = rest.split_once("}\r\n").expect("a literal");
    &bytes[..length.parse::<usize>().expect("a length")]
}

#[test]
fn a_message_is_its_trace_and_what_was_stored() {
    let rig = Rig::new();
    rig.deliver(MIXED);
    let mut anna = in_support(&rig, "anna");
    let whole = format!("{TRACE}{MIXED}");
    let (head, body) = MIXED.split_once("\r\n\r\n").expect("a header");
    let answer = rig.send(&mut anna, "FETCH 1 (RFC822.SIZE BODY.PEEK[])");
    assert!(answer.contains(&format!("RFC822.SIZE {}", whole.len())));
    assert_eq!(literal(&answer, "BODY[]"), whole);
    let answer = rig.send(&mut anna, "FETCH 1 BODY.PEEK[HEADER]");
    assert_eq!(literal(&answer, "BODY[HEADER]"), format!("{TRACE}{head}\r\n\r\n"));
    let answer = rig.send(&mut anna, "FETCH 1 BODY.PEEK[TEXT]");
    assert_eq!(literal(&answer, "BODY[TEXT]"), body);
    let answer = rig.send(&mut anna, "FETCH 1 (RFC822.HEADER RFC822.TEXT)");
    assert_eq!(literal(&answer, "RFC822.HEADER"), format!("{TRACE}{head}\r\n\r\n"));
    assert_eq!(literal(&answer, "RFC822.TEXT"), body);
}

#[test]
fn parts_and_their_headers_are_cut_out() {
    let rig = Rig::new();
    rig.deliver(MIXED);
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, "FETCH 1 (BODY.PEEK[1] BODY.PEEK[2.MIME] BODY.PEEK[3])");
    assert_eq!(literal(&answer, "BODY[1]"), "hello");
    let mime = "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    assert_eq!(literal(&answer, "BODY[2.MIME]"), mime);
    assert!(answer.contains("BODY[3] NIL"), "{answer}");
}

#[test]
fn partials_count_from_the_first_byte_of_the_trace() {
    let rig = Rig::new();
    rig.deliver(MIXED);
    let mut anna = in_support(&rig, "anna");
    let whole = format!("{TRACE}{MIXED}");
    for (origin, count) in [(0, 10), (60, 40), (70, 5), (whole.len() - 3, 100)] {
        let answer = rig.send(&mut anna, &format!("FETCH 1 BODY.PEEK[]<{origin}.{count}>"));
        let end = whole.len().min(origin + count);
        assert_eq!(literal(&answer, &format!("BODY[]<{origin}>")), &whole[origin..end]);
    }
    let answer = rig.send(&mut anna, "FETCH 1 BODY.PEEK[]<99999.5>");
    assert!(answer.contains("BODY[]<99999> {0}\r\n)"), "{answer}");
}

#[test]
fn header_fields_come_from_the_cache_the_trace_and_the_message() {
    let rig = Rig::new();
    rig.deliver(MIXED);
    let mut anna = in_support(&rig, "anna");
    let mut fields = |names: &str| {
        let answer = rig.send(&mut anna, &format!("FETCH 1 BODY.PEEK[HEADER.FIELDS ({names})]"));
        literal(&answer, &format!("BODY[HEADER.FIELDS ({names})]")).to_owned()
    };
    let from = "From: Kunde <kunde@example.com>\r\n";
    assert_eq!(fields("from"), format!("{from}\r\n"));
    let delivered = "Delivered-To: support@example.org\r\n";
    assert_eq!(fields("From Delivered-To"), format!("{delivered}{from}\r\n"));
    assert_eq!(fields("X-Own From"), format!("{from}X-Own: yes\r\n\r\n"));
    assert_eq!(fields("X-Absent"), "\r\n");
    let not = "FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (Subject To Date Message-ID Content-Type)]";
    let answer = rig.send(&mut anna, not);
    assert!(answer.contains(&format!("{TRACE}{from}MIME-Version: 1.0\r\nX-Own: yes\r\n\r\n")));
}

#[test]
fn a_large_message_arrives_whole_in_pieces() {
    let rig = Rig::new();
    let line = format!("{}\r\n", "x".repeat(70));
    let message = format!("Subject: big\r\n\r\n{}", line.repeat(10_000));
    assert!(message.len() as u64 > 2 * PIECE_BYTES_MAX);
    rig.deliver(&message);
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, "FETCH 1 BODY.PEEK[]");
    assert_eq!(literal(&answer, "BODY[]"), format!("{TRACE}{message}"));
}

#[test]
fn envelope_and_structure_are_those_of_the_message() {
    let rig = Rig::new();
    rig.deliver(MIXED);
    let mut anna = in_support(&rig, "anna");
    let answer = rig.send(&mut anna, "FETCH 1 FULL");
    let address = "((\"Kunde\" NIL \"kunde\" \"example.com\"))";
    let envelope = format!(
        "ENVELOPE (\"Mon, 6 May 2024 09:00:00 +0200\" \"=?utf-8?q?Gr=C3=BC=C3=9Fe?=\" {address} \
         {address} {address} ((NIL NIL \"support\" \"example.org\")) NIL NIL NIL \
         \"<1@example.com>\")"
    );
    assert!(answer.contains(&envelope), "{answer}");
    assert!(answer.contains("INTERNALDATE \" 6-May-2024 07:08:09 +0000\""), "{answer}");
    let body = "BODY ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL \"7BIT\" 5 ";
    assert!(answer.contains(body), "{answer}");
    let answer = rig.send(&mut anna, "FETCH 1 BODYSTRUCTURE");
    assert!(answer.contains("\"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)"), "{answer}");
}

#[test]
fn reading_a_body_sets_seen_for_this_user_only() {
    let rig = Rig::new();
    rig.fill(2);
    let (mut anna, mut ben) = (in_support(&rig, "anna"), in_support(&rig, "ben"));
    let answer = rig.send(&mut anna, "FETCH 1 BODY[TEXT]");
    assert!(answer.starts_with("* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {"), "{answer}");
    assert_eq!(answer.matches("FETCH (").count(), 1, "{answer}");
    let again = rig.send(&mut anna, "FETCH 1 BODY[TEXT]");
    assert!(!again.contains("FLAGS"), "{again}");
    assert_eq!(rig.send(&mut ben, "NOOP"), "a OK Nothing to do\r\n");
    assert!(rig.send(&mut ben, "FETCH 1 FLAGS").contains("FLAGS (\\Recent)"));
    let peeked = rig.send(&mut ben, "FETCH 1:2 BODY.PEEK[TEXT]");
    assert!(!peeked.contains("FLAGS"), "{peeked}");
}

#[test]
fn an_examined_mailbox_is_read_without_a_trace() {
    let rig = Rig::new();
    rig.fill(1);
    let mut anna = rig.client("anna");
    rig.send(&mut anna, "EXAMINE Shared/Support");
    assert!(!rig.send(&mut anna, "FETCH 1 BODY[]").contains("\\Seen"));
    assert!(!rig.send(&mut anna, "FETCH 1 FLAGS").contains("\\Seen"));
}

#[test]
fn changedsince_leaves_out_what_is_older() {
    let rig = Rig::new();
    rig.fill(3);
    let mut anna = in_support(&rig, "anna");
    let before = rig.send(&mut anna, "FETCH 3 (MODSEQ)");
    assert!(before.starts_with("* OK [HIGHESTMODSEQ "), "{before}");
    let modseq = before.split("MODSEQ (").nth(1).and_then(|m| m.split(')').next());
    let modseq = modseq.expect("a mod-sequence").to_owned();
    rig.send(&mut anna, "STORE 2 +FLAGS (\\Flagged)");
    let answer = rig.send(&mut anna, &format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})"));
    assert!(answer.starts_with("* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ ("), "{answer}");
    assert_eq!(answer.matches("FETCH (").count(), 1, "{answer}");
}

#[test]
fn fetch_refuses_numbers_that_do_not_exist_and_items_it_does_not_know() {
    let rig = Rig::new();
    rig.fill(2);
    let mut anna = in_support(&rig, "anna");
    for wrong in ["FETCH 3 FLAGS", "FETCH 1 FOO", "FETCH 1", "FETCH", "FETCH 0 FLAGS", "FETCH x y"]
    {
        let answer = rig.send(&mut anna, wrong);
        assert!(answer.starts_with("a BAD"), "{wrong}: {answer}");
    }
    let all = rig.send(&mut anna, "FETCH 1:4294967295 (UID)");
    assert_eq!(all, "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\na OK Fetched\r\n");
}

#[test]
fn a_listing_across_many_batches_names_each_message_once() {
    let rig = Rig::new();
    rig.fill(1203);
    let mut anna = in_support(&rig, "anna");
    let fields = "UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (Subject)]";
    let answer = rig.send(&mut anna, &format!("UID FETCH 1:* ({fields})"));
    for n in 1..=1203 {
        assert!(answer.contains(&format!("* {n} FETCH (UID {n} ")), "{n}");
        assert!(answer.contains(&format!("Subject: message {n}\r\n")), "{n}");
    }
    assert_eq!(answer.matches(" FETCH (").count(), 1203);
}
