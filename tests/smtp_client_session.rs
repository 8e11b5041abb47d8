//! Properties of the client session: whatever a server says, everybody has a fate, nothing is
//! delivered without its word, and no content goes out without 354.

use postfach::mail::address::Address;
use postfach::mail::id::Timestamp;
use postfach::mail::transport::Body;
use postfach::smtp::client::{
    Fate, Lost, Mail, MailRecipient, PIPELINE_BYTES_MAX, Pipelining, PlainLogin, Session, Settings,
    Step, Timeouts, Tls,
};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000_000);
const CONTENT: &str = "CONTENT";

fn session() -> Session {
    let settings = Settings {
        hostname: "mail.example.org".to_owned(),
        server: "mx.example".to_owned(),
        tls: Tls::Never,
        credentials: None,
        plain_login: PlainLogin::Refused,
        pipelining: Pipelining::AsOffered,
        timeouts: Timeouts::default(),
    };
    Session::new(settings, NOW)
}

fn mail(recipients: Vec<MailRecipient>) -> Mail {
    Mail {
        reverse_path: Some(Address::new("a", "b.example")),
        recipients,
        envid: None,
        ret: None,
        body: Body::SevenBit,
        smtputf8: false,
        size_bytes: 10,
    }
}

fn recipient(local: &str) -> MailRecipient {
    MailRecipient { address: Address::new(local, "y.example"), notify: None, orcpt: None }
}

/// A session that is ready.
fn ready(pipelining: bool) -> Session {
    let mut session = session();
    let ehlo = if pipelining { "250-mx\r\n250 PIPELINING\r\n" } else { "250 mx\r\n" };
    let wire = format!("220 hello\r\n{ehlo}");
    let (_, step) = session.step(wire.as_bytes(), NOW);
    assert_eq!(step, Step::Ready);
    let _ = session.take_output();
    session
}

/// What a mail to `count` recipients comes to when the server says this; it is heard in pieces of
/// `size` whenever the session wants to hear something, and then the connection ends.
fn converse(
    replies: &[String],
    count: usize,
    pipelining: bool,
    size: usize,
) -> (String, Vec<Fate>) {
    let mut session = ready(pipelining);
    let names: Vec<String> = (0..count).map(|n| format!("x{n}")).collect();
    session.send(&mail(names.iter().map(|name| recipient(name)).collect()), NOW);
    let mut replies = replies.iter();
    let mut log = String::new();
    let mut input = Vec::new();
    loop {
        let taken = input.len().min(size);
        let (used, step) = session.step(&input[..taken], NOW);
        input.drain(..used);
        log.push_str(&String::from_utf8_lossy(&session.take_output()));
        match step {
            Step::NeedInput if !input.is_empty() => {}
            Step::NeedInput => match replies.next() {
                Some(reply) => {
                    log.push_str(&format!("[{reply}]"));
                    input.extend_from_slice(format!("{reply}\r\n").as_bytes());
                }
                None => session.lost(Lost::Closed),
            },
            Step::Content => {
                session.content(CONTENT.as_bytes(), NOW);
                session.content_end(NOW);
            }
            Step::Done(fates) => return (log, fates),
            other => panic!("{other:?} after {log}"),
        }
    }
}

/// What a plain reading of the log says about the reply to the content; one whose lines differ in
/// their codes says nothing.
fn accepted(log: &str) -> bool {
    let Some((_, after)) = log.split_once(&format!("{CONTENT}\r\n.\r\n")) else { return false };
    after.starts_with("[2") && !after.starts_with("[250-a\r\n550 b]")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn everybody_has_a_fate_and_it_is_the_servers_word(
        replies in prop::collection::vec(
            prop::sample::select(vec![
                "250 OK", "250 OK", "250 OK", "354 go", "354 go", "450 later", "550 no", "421 bye",
                "552 full", "220 what", "334 what", "nonsense", "250-a\r\n250 b", "250-a\r\n550 b",
            ]),
            0..9,
        ),
        count in 1usize..4,
        pipelining: bool,
        size in 1usize..8,
    ) {
        let replies: Vec<String> = replies.into_iter().map(str::to_owned).collect();
        let (log, fates) = converse(&replies, count, pipelining, size);
        let whole = converse(&replies, count, pipelining, usize::MAX);
        prop_assert_eq!((&log, &fates), (&whole.0, &whole.1));
        prop_assert_eq!(fates.len(), count);
        let delivered = fates.iter().any(|fate| matches!(fate, Fate::Delivered(_)));
        prop_assert_eq!(delivered, accepted(&log), "{}", &log);
        if log.contains(CONTENT) {
            prop_assert!(log.contains("DATA\r\n"), "{}", &log);
            let before = log.split(CONTENT).next().unwrap_or("");
            prop_assert!(before.ends_with("[354 go]"), "{}", &log);
        }
        for fate in &fates {
            if let Fate::Failed(told) = fate {
                prop_assert!(told.is_reply && told.text.starts_with('5'), "{:?}", told);
                prop_assert!(told.status.starts_with('5'));
            }
            if let Fate::Deferred(told) = fate {
                prop_assert!(told.status.starts_with('4'), "{:?}", told);
            }
        }
    }
}

#[test]
fn no_more_commands_are_on_their_way_than_the_window_holds() {
    let long = "x".repeat(200);
    let mut session = ready(true);
    let recipients = (0..100).map(|n| recipient(&format!("{n}{long}")));
    session.send(&mail(recipients.collect()), NOW);
    let mut unanswered: std::collections::VecDeque<usize> = std::collections::VecDeque::new();
    let (mut answered, mut most) = (0, 0);
    loop {
        let output = String::from_utf8(session.take_output()).expect("ASCII");
        unanswered.extend(output.split_inclusive("\r\n").map(str::len));
        most = most.max(unanswered.iter().sum());
        unanswered.pop_front();
        answered += 1;
        let reply = if answered == 102 { "354 go\r\n" } else { "250 OK\r\n" };
        match session.step(reply.as_bytes(), NOW).1 {
            Step::NeedInput => {}
            Step::Content => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, 102);
    assert!(most <= PIPELINE_BYTES_MAX, "{most} bytes");
    assert!(most > PIPELINE_BYTES_MAX - 300, "{most} bytes");
}

#[test]
fn a_command_that_fills_the_window_alone_goes_alone() {
    let orcpt = format!("rfc822;{}", "q".repeat(PIPELINE_BYTES_MAX));
    let mut session = session();
    let wire = "220 hello\r\n250-mx\r\n250-DSN\r\n250 PIPELINING\r\n";
    let (_, step) = session.step(wire.as_bytes(), NOW);
    assert_eq!(step, Step::Ready);
    let _ = session.take_output();
    let huge = MailRecipient { orcpt: Some(orcpt), ..recipient("x") };
    session.send(&mail(vec![huge]), NOW);
    let sent = |session: &mut Session| String::from_utf8_lossy(&session.take_output()).into_owned();
    assert_eq!(sent(&mut session), "MAIL FROM:<a@b.example>\r\n");
    let _ = session.step(b"250 OK\r\n", NOW);
    assert!(sent(&mut session).starts_with("RCPT TO:<x@y.example> ORCPT=rfc822;qqq"));
    let _ = session.step(b"250 OK\r\n", NOW);
    assert_eq!(sent(&mut session), "DATA\r\n");
}

fn after(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1_000_000)
}

/// Says each line four minutes after the one before, which every single answer may take.
fn say_slowly(session: &mut Session, lines: &[&str], now: &mut i64) -> Step {
    let mut last = Step::NeedInput;
    for line in lines {
        *now += 240;
        assert!(session.deadline() > after(*now), "{line} comes in time");
        let (_, step) = session.step(format!("{line}\r\n").as_bytes(), after(*now));
        let _ = session.take_output();
        last = step;
    }
    last
}

#[test]
fn a_server_that_answers_each_time_just_in_time_holds_a_mail_for_half_an_hour() {
    let mut session = ready(false);
    let names: Vec<String> = (0..9).map(|n| format!("x{n}")).collect();
    session.send(&mail(names.iter().map(|name| recipient(name)).collect()), NOW);
    let mut now = 0;
    let lines = ["250 ok", "550 5.1.1 no", "250 ok", "250 ok", "250 ok", "250 ok", "250 ok"];
    assert_eq!(say_slowly(&mut session, &lines, &mut now), Step::NeedInput);
    assert_eq!(session.deadline(), after(30 * 60), "not four more minutes");
    session.expire();
    let Step::Done(fates) = session.step(b"", after(30 * 60)).1 else { panic!("undecided") };
    assert!(matches!(&fates[0], Fate::Failed(told) if told.status == "5.1.1"), "{fates:?}");
    let is_cut =
        |fate: &Fate| matches!(fate, Fate::Deferred(told) if told.text.contains("too long in all"));
    assert!(fates[1..].iter().all(is_cut), "{fates:?}");
}

#[test]
fn content_that_flows_is_given_the_time_that_it_needs_and_its_answer_all_of_its_own() {
    let mut session = ready(true);
    let size_bytes = 600 * 32 * 1024;
    session.send(&Mail { size_bytes, ..mail(vec![recipient("x")]) }, NOW);
    let (_, step) = session.step(b"250 ok\r\n250 ok\r\n354 go\r\n", after(1));
    assert_eq!(step, Step::Content);
    session.content(b"x", after(30 * 60));
    assert_eq!(session.deadline(), after(33 * 60), "a block is awaited");
    session.content(b"x", after(39 * 60));
    assert_eq!(session.deadline(), after(40 * 60), "600 seconds more than without");
    session.content_end(after(39 * 60));
    assert_eq!(session.deadline(), after(49 * 60), "it may have taken the mail");
}

#[test]
fn a_server_that_opens_just_in_time_is_left_after_ten_minutes() {
    let mut session = session();
    let mut now = 0;
    assert_eq!(say_slowly(&mut session, &["220 hello"], &mut now), Step::NeedInput);
    assert_eq!(session.deadline(), after(540), "EHLO may take five minutes");
    now = 500;
    let _ = session.step(b"500 what\r\n", after(now));
    assert_eq!(session.deadline(), after(600), "HELO may not, any more");
    session.expire();
    assert!(matches!(session.step(b"", after(600)).1, Step::Unavailable(_)));
}
