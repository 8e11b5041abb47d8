//! Reports as they are sent, in `tests/reports`; `UPDATE=1` rewrites them for review.
//! `tests/delivery_reports.rs` has Python's email package read the same files.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::mail::account::Account;
use crate::mail::id::{BlobId, Login, QueueId, Timestamp, TraceId};
use crate::mail::transport::Ret;
use crate::store::queue::{Progress, Queued, QueuedEnvelope};

const START: i64 = 1_795_389_786;
const HEADER: &str = "Received: from [192.0.2.7] by mail.example.org with ESMTPSA id x1;\r\n\
                      \tSun, 22 Nov 2026 23:23:06 +0000\r\n\
                      From: Anna <anna@example.org>\r\n\
                      To: bob@example.net\r\n\
                      Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= from the office, with a subject that is \
                      long enough to be folded\r\n\
                      Message-ID: <m1@example.org>\r\n\
                      References: <r1@example.net> <r2@example.org>\r\n";
const BODY: &str = "\r\nHello Bob\r\n";

fn recipient(address: &str) -> QueuedRecipient {
    QueuedRecipient {
        number: 0,
        address: Address::parse(address).expect("an address"),
        upstream: None,
        notify: None,
        orcpt: None,
        progress: Progress::new(Timestamp::from_seconds(START)),
    }
}

fn queued(ret: Option<Ret>) -> Queued {
    let envelope = QueuedEnvelope {
        id: "x1".into(),
        reverse_path: Address::parse("anna@example.org"),
        sender: Some(Account::User(Login::new("anna"))),
        envid: Some("QQ+2B314159".into()),
        ret,
        body: Body::SevenBit,
        smtputf8: false,
        queued_at: Timestamp::from_seconds(START),
        expires_at: Timestamp::from_seconds(START + 5 * 86_400),
    };
    Queued {
        id: QueueId(7),
        blob: BlobId(1),
        trace: TraceId(1),
        size_bytes: (HEADER.len() + BODY.len()) as u64,
        envelope: Arc::new(envelope),
        recipients: vec![recipient("bob@example.net")],
    }
}

fn told(by: &str, status: &str, text: &str) -> Told {
    Told {
        by: by.into(),
        status: status.into(),
        text: text.into(),
        is_reply: !by.is_empty(),
        dsn: false,
    }
}

fn extent(queued: &Queued, action: Action) -> Extent {
    returns_whole(&queued.envelope, queued.size_bytes, action)
}

fn written(queued: &Queued, bytes: &str, report: (Action, &[Affected<'_>], i64)) -> Report {
    let (action, affected, after_secs) = report;
    let original = Original::new(bytes.as_bytes().to_vec(), extent(queued, action));
    let now = Timestamp::from_seconds(START + after_secs);
    let reverse_path = queued.envelope.reverse_path.clone().expect("a reverse-path");
    let about = About {
        hostname: "mail.example.org",
        envelope: &queued.envelope,
        size_bytes: queued.size_bytes,
        reverse_path: &reverse_path,
        original: &original,
        moment: Moment { now, entropy: 0x5eed },
    };
    write(&about, action, affected)
}

fn golden(name: &str, report: &Report) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reports"));
    let file = folder.join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &report.bytes).expect("written");
    }
    let expected = fs::read(&file).expect("tests/reports has it");
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(show(&report.bytes), show(&expected), "{name}: UPDATE=1 rewrites it");
}

#[test]
fn a_failure_of_two_recipients_is_one_report_with_the_header() {
    let (queued, mut bob) = (queued(None), recipient("bob@example.net"));
    bob.orcpt = Some("rfc822;bob+2Bx@example.net".into());
    let carol = recipient("carol@null.example");
    let no_such = told("mx.example.net", "5.1.1", "550 5.1.1 <bob@example.net>: no such user here");
    let null_mx = told("", "5.1.10", "the domain null.example takes no mail (null MX)");
    let affected = [
        Affected { recipient: &bob, told: &no_such },
        Affected { recipient: &carol, told: &null_mx },
    ];
    let message = format!("{HEADER}{BODY}");
    let report = written(&queued, &message, (Action::Failed, &affected, 3));
    assert_eq!((report.body, report.smtputf8), (Body::SevenBit, false));
    golden("failed.eml", &report);
}

#[test]
fn an_expired_message_is_returned_as_a_whole_when_that_was_asked_for() {
    let (queued, bob) = (queued(Some(Ret::Full)), recipient("bob@example.net"));
    let busy = told("mx.example.net", "4.4.7", "451 4.3.0 Busy, try again later");
    let affected = [Affected { recipient: &bob, told: &busy }];
    let message = format!("{HEADER}{BODY}");
    golden("expired.eml", &written(&queued, &message, (Action::Failed, &affected, 5 * 86_400)));
}

#[test]
fn a_delay_says_until_when_it_is_tried_again() {
    let (queued, bob) = (queued(Some(Ret::Full)), recipient("bob@example.net"));
    let refused = told("", "4.4.1", "mx.example.net [192.0.2.1]: connection refused");
    let affected = [Affected { recipient: &bob, told: &refused }];
    golden("delayed.eml", &written(&queued, HEADER, (Action::Delayed, &affected, 4 * 3600)));
}

#[test]
fn a_success_is_told_where_the_next_server_will_not() {
    let (queued, bob) = (queued(None), recipient("bob@example.net"));
    let taken = told("mx.example.net", "2.0.0", "250 2.0.0 queued as 4711");
    let affected = [Affected { recipient: &bob, told: &taken }];
    golden("relayed.eml", &written(&queued, HEADER, (Action::Relayed, &affected, 1)));
}

#[test]
fn a_delivery_is_told_with_the_header_only() {
    let (queued, bob) = (queued(Some(Ret::Full)), recipient("bob@example.org"));
    let delivered = told("", "2.0.0", "delivered to the mailbox");
    let affected = [Affected { recipient: &bob, told: &delivered }];
    let message = format!("{HEADER}{BODY}");
    golden("delivered.eml", &written(&queued, &message, (Action::Delivered, &affected, 0)));
}

#[test]
fn addresses_beyond_ascii_are_reported_as_they_are() {
    let (mut queued, mut bob) = (queued(None), recipient("bøb@bücher.example"));
    let reverse_path = Address::parse("änna@example.org");
    queued.envelope =
        Arc::new(QueuedEnvelope { reverse_path, smtputf8: true, ..(*queued.envelope).clone() });
    bob.orcpt = Some("utf-8;b\\x{F8}b@b\\x{FC}cher.example".into());
    let no_such = told("mx.bücher.example", "5.1.1", "550 5.1.1 bøb ist unbekannt");
    let affected = [Affected { recipient: &bob, told: &no_such }];
    let header = "From: änna@example.org\r\nTo: bøb@bücher.example\r\nSubject: Grüße\r\n";
    let report = written(&queued, header, (Action::Failed, &affected, 3));
    assert_eq!((report.body, report.smtputf8), (Body::EightBitMime, true));
    golden("utf8.eml", &report);
}

#[test]
fn nothing_that_a_peer_said_can_add_a_line() {
    let (mut queued, mut bob) = (queued(None), recipient("bob@example.net"));
    bob.orcpt = Some("rfc822;a+0D+0AX-Orcpt: 1".into());
    let envid = Some("a+0D+0AX-Envid: 1".into());
    queued.envelope = Arc::new(QueuedEnvelope { envid, ..(*queued.envelope).clone() });
    let evil = told("mx\r\nX-By: 1", "5.1.1\r\nX-Status: 1", "550 no\r\nX-Text: 1\r\n\r\n--");
    let affected = [Affected { recipient: &bob, told: &evil }];
    let report = written(&queued, HEADER, (Action::Failed, &affected, 3));
    let text = String::from_utf8_lossy(&report.bytes).into_owned();
    assert!(!text.lines().any(|line| line.starts_with("X-") || line == "--"), "{text}");
    assert!(text.contains("Status: 5.0.0\r\n"), "{text}");
}

#[test]
fn a_boundary_that_stands_in_the_message_is_not_taken() {
    let (queued, bob) = (queued(Some(Ret::Full)), recipient("bob@example.net"));
    let gone = told("", "5.1.2", "no such domain");
    let affected = [Affected { recipient: &bob, told: &gone }];
    let plain = written(&queued, &format!("{HEADER}{BODY}"), (Action::Failed, &affected, 3));
    let text = String::from_utf8(plain.bytes).expect("ASCII");
    let boundary = text.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next());
    let quoting = format!("{HEADER}{BODY}--{}\r\n", boundary.expect("a boundary"));
    let again = written(&queued, &quoting, (Action::Failed, &affected, 3));
    let text = String::from_utf8(again.bytes).expect("ASCII");
    assert!(!text.contains(&format!("boundary=\"{}\"", boundary.expect("one"))));
}

#[test]
fn a_message_is_returned_whole_up_to_its_limit() {
    let mut queued = queued(Some(Ret::Full));
    queued.size_bytes = FULL_BYTES_MAX;
    assert_eq!(extent(&queued, Action::Failed), Extent::Whole);
    assert_eq!(extent(&queued, Action::Delayed), Extent::Head);
    queued.size_bytes += 1;
    assert_eq!(extent(&queued, Action::Failed), Extent::Head);
}

#[test]
fn references_keep_the_first_and_the_last() {
    let thread_of = |count: usize| {
        let ids: Vec<String> = (1..count).map(|n| format!("<r{n}@x>")).collect();
        let header = format!("Message-ID: <own@x>\r\nReferences: {}\r\n", ids.join(" "));
        let mut out = String::new();
        thread(&mut out, &message::parse(header.as_bytes()).envelope);
        out
    };
    let full = thread_of(REFERENCES_MAX);
    assert_eq!(full.matches("@x>").count(), REFERENCES_MAX + 1, "with In-Reply-To");
    assert!(full.contains("<r2@x>"));
    let cut = thread_of(REFERENCES_MAX + 1);
    assert_eq!(cut.matches("@x>").count(), REFERENCES_MAX + 1);
    assert!(cut.contains("<r1@x>") && !cut.contains("<r2@x>") && cut.ends_with("<own@x>\r\n"));
    assert!(thread_of(1).contains("In-Reply-To: <own@x>\r\nReferences: <own@x>\r\n"));
}

#[test]
fn subjects_and_identifiers_are_taken_up_to_their_limits() {
    let fits = "x".repeat(SUBJECT_BYTES_MAX);
    assert!(subject(Action::Failed, Some(fits.as_bytes())).ends_with(&fits));
    let longer = "x".repeat(SUBJECT_BYTES_MAX + 1);
    assert_eq!(subject(Action::Failed, Some(longer.as_bytes())), "Subject: Undeliverable mail");
    assert_eq!(subject(Action::Delayed, Some("ü".as_bytes())), "Subject: Delayed mail");
    let with_id = |length: usize| {
        let mut out = String::new();
        let header = format!("Message-ID: <{}>\r\n", "x".repeat(length));
        thread(&mut out, &message::parse(header.as_bytes()).envelope);
        out
    };
    assert!(with_id(MESSAGE_ID_BYTES_MAX).starts_with("In-Reply-To: <x"));
    assert_eq!(with_id(MESSAGE_ID_BYTES_MAX + 1), "");
}

proptest! {
    #[test]
    fn whatever_was_said_makes_a_report_of_three_parts(
        (by, status, text) in ("\\PC{0,20}|\\x00|\r\n", "\\PC{0,9}", "(?s).{0,80}"),
        (orcpt, envid, header) in ("(?s).{0,40}", "(?s).{0,40}", "(?s).{0,200}"),
    ) {
        let (mut queued, mut bob) = (queued(Some(Ret::Full)), recipient("bob@example.net"));
        bob.orcpt = Some(orcpt);
        let envid = Some(envid);
        queued.envelope = Arc::new(QueuedEnvelope { envid, ..(*queued.envelope).clone() });
        let told = told(&by, &status, &text);
        let affected = [Affected { recipient: &bob, told: &told }];
        let report = written(&queued, &header, (Action::Failed, &affected, 3));
        let read = mail_parser::MessageParser::default().parse(&report.bytes).expect("a message");
        let parts = &read.parts[0].body;
        prop_assert!(matches!(parts, mail_parser::PartType::Multipart(p) if p.len() == 3));
        let machine = &report.bytes[read.parts[2].raw_body_offset() as usize..];
        let end = memchr::memmem::find(machine, b"\r\n--=_report").expect("a boundary");
        let fields = String::from_utf8(machine[..end].to_vec()).expect("UTF-8");
        for line in fields.split("\r\n").filter(|line| !line.is_empty()) {
            let known = ["Original-", "Reporting-", "Arrival-", "Final-", "Action: ", "Status: ",
                "Remote-", "Diagnostic-", "Last-", " "];
            prop_assert!(known.iter().any(|start| line.starts_with(start)), "{line:?}");
        }
    }
}

#[test]
fn a_header_that_is_cut_ends_with_a_whole_line() {
    let cut = Original::new(b"Subject: a\r\nTo: b".to_vec(), Extent::Head);
    assert_eq!(cut.header, b"Subject: a\r\n");
    assert_eq!(Original::new(b"Subject: a".to_vec(), Extent::Head).header, b"Subject: a\r\n");
    assert_eq!(Original::new(b"A: b\r\n\r\nC: d\r\n".to_vec(), Extent::Head).header, b"A: b\r\n");
    assert_eq!(Original::new(Vec::new(), Extent::Head).header, b"");
}
