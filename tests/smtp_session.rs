//! What a peer can do to a pure SMTP session: hide an end of data, try to relay, exceed a limit,
//! be slow, or cut its bytes anywhere.

mod smtp_support;

use postfach::mail::id::Timestamp;
use postfach::smtp::{
    COMMAND_TIMEOUT_SECS, DATA_WINDOW_BYTES_MIN, DATA_WINDOW_SECS, ERRORS_MAX, IDLE_COMMANDS_MAX,
    InClear, LOGIN_TIMEOUT_SECS, RECIPIENTS_MAX, RECIPIENTS_REFUSED_MAX, TRANSACTIONS_MAX, Tls,
};
use proptest::prelude::*;
use smtp_support::{MESSAGE_BYTES_MAX, Peer};

const ENVELOPE: &str = "EHLO c.example\nMAIL FROM:<a@b.example>\nRCPT TO:<support@example.org>\n";

fn greeted() -> Peer {
    let mut peer = Peer::new(Tls::Active);
    peer.ask("EHLO c.example\n");
    peer
}

/// Each is something that another server has taken for the end of data.
const FAKE_ENDS: [&[u8]; 24] = [
    b"\n.\n",
    b"\r\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\0\n",
    b"\r\0\n.\r\n",
    b"\n\n.\n\n",
    b"\r\r.\r\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\n.\n\r",
    b"\n\r.\n\r",
    b"\r\n\r.\r\n",
    b"\r\n.\r.\r\n",
    b"\x00\n.\n",
    b"\r\n.\x00\n",
    b"\n\r\n.\r\x00\r\n",
];

#[test]
fn no_fake_end_of_data_lets_a_second_message_in() {
    for fake in FAKE_ENDS {
        let mut peer = greeted();
        peer.ask("MAIL FROM:<a@b.example>\nRCPT TO:<support@example.org>\nDATA\n");
        let before = peer.wire.len();
        peer.send(b"Subject: one\r\n\r\ntext");
        peer.send(fake);
        peer.send(b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<info@example.org>\r\nDATA\r\nx");
        assert_eq!(peer.wire.len(), before, "answered before the end: {fake:?}");
        peer.send(b"\r\n.\r\n");
        let answer = String::from_utf8_lossy(&peer.wire[before..]).into_owned();
        assert!(answer.starts_with("550 5.6.11 "), "{fake:?}: {answer}");
        assert_eq!(answer.lines().count(), 1, "{fake:?}: {answer}");
        assert!(peer.messages.is_empty(), "{fake:?}");
        assert!(peer.ask("NOOP\n").starts_with("250 "), "in step again after {fake:?}");
    }
}

#[test]
fn a_chunk_with_a_fake_line_end_is_refused_and_stays_a_chunk() {
    for fake in FAKE_ENDS {
        let mut peer = greeted();
        peer.ask("MAIL FROM:<a@b.example>\nRCPT TO:<support@example.org>\n");
        let before = peer.wire.len();
        let content = [b"a: b\r\n\r\n", fake, b"MAIL FROM:<x@y>\r\n"].concat();
        peer.send(format!("BDAT {} LAST\r\n", content.len()).as_bytes());
        peer.send(&content);
        let answer = String::from_utf8_lossy(&peer.wire[before..]).into_owned();
        assert!(answer.starts_with("550 5.6.11 ") && answer.lines().count() == 1, "{answer}");
        assert!(peer.messages.is_empty());
    }
}

#[test]
fn no_spelling_of_a_foreign_recipient_is_relayed() {
    let spellings = [
        "<victim@foreign.example>",
        "<@example.org:victim@foreign.example>",
        "<@example.org,@mail.example.org:victim@foreign.example>",
        "<@foreign.example:victim@foreign.example>",
        "<victim%foreign.example@example.org>",
        "<victim%foreign.example@mail.example.org>",
        "<\"victim@foreign.example\"@example.org>",
        "<\"victim%foreign.example\"@example.org>",
        "<foreign.example!victim@example.org>",
        "<foreign.example!victim>",
        "<victim@foreign.example@example.org>",
        "<victim@example.org@foreign.example>",
        "<victim@[127.0.0.1]>",
        "<support@[127.0.0.1]>",
        "<victim@[IPv6:::1]>",
        "<support@ex\u{430}mple.org>",
        "<support@\u{ff45}xample.org>",
        "<support@example\u{3002}org>",
        "<support@example.org.>",
        "<support@example.org.foreign.example>",
        "<support@foreign-example.org>",
        "<support@sub.example.org>",
        "<victim@>",
        "<victim>",
        "<@example.org:victim>",
        "<>",
        "victim@foreign.example",
        "<support@example.org,victim@foreign.example>",
        "<support@example.org> <victim@foreign.example>",
        "<victim@foreign.example>,<support@example.org>",
        "<support@example.org\0@foreign.example>",
    ];
    for spelling in spellings {
        let mut peer = Peer::new(Tls::Active);
        peer.ask("EHLO c.example\nMAIL FROM:<a@b.example> SMTPUTF8\n");
        let answer = peer.ask(&format!("RCPT TO:{spelling}\n"));
        assert!(answer.starts_with('5'), "{spelling}: {answer}");
        assert!(peer.ask("DATA\n").starts_with("503 "), "{spelling} became a recipient");
    }
}

#[test]
fn the_eleventh_error_ends_the_connection() {
    let mut peer = greeted();
    for _ in 0..ERRORS_MAX {
        assert_eq!(peer.ask("FOO\n"), "500 5.5.1 Unknown command\n");
    }
    assert!(!peer.closed);
    assert_eq!(peer.ask("FOO\n"), "421 4.7.0 Too many errors\n");
    assert!(peer.closed);
}

#[test]
fn refused_recipients_end_the_connection_later_than_errors() {
    let mut peer = greeted();
    peer.ask("MAIL FROM:<a@b.example>\n");
    for n in 0..RECIPIENTS_REFUSED_MAX {
        assert!(peer.ask(&format!("RCPT TO:<{n}@example.org>\n")).starts_with("550 5.1.1 "));
    }
    assert!(peer.ask("RCPT TO:<x@example.org>\n").starts_with("421 "));
    assert!(peer.closed);
}

#[test]
fn a_thousand_recipients_are_accepted_and_the_next_is_told_to_come_again() {
    let mut peer = greeted();
    peer.ask("MAIL FROM:<a@b.example>\n");
    for _ in 0..RECIPIENTS_MAX {
        assert_eq!(peer.ask("RCPT TO:<support@example.org>\n"), "250 2.1.5 OK\n");
    }
    for _ in 0..200 {
        let answer = peer.ask("RCPT TO:<support@example.org>\n");
        assert_eq!(answer, "452 4.5.3 Too many recipients\n");
    }
    assert_eq!(peer.ask("DATA\nx\n.\n").lines().last(), Some("250 2.0.0 OK"));
    assert_eq!(peer.messages[0].transaction.recipients.len(), RECIPIENTS_MAX);
}

#[test]
fn a_hundred_messages_pass_and_the_next_needs_a_new_connection() {
    let mut peer = greeted();
    for _ in 0..TRANSACTIONS_MAX {
        let text = "MAIL FROM:<>\nRCPT TO:<support@example.org>\nDATA\nx\n.\n";
        assert!(peer.ask(text).ends_with("250 2.0.0 OK\n"));
    }
    assert!(peer.ask("MAIL FROM:<>\n").starts_with("421 4.7.0 "));
    assert!(peer.closed);
}

#[test]
fn commands_that_bring_no_message_nearer_are_counted() {
    let mut peer = Peer::new(Tls::Active);
    for _ in 0..IDLE_COMMANDS_MAX {
        assert!(peer.ask("NOOP\n").starts_with("250 "));
    }
    assert!(peer.ask("NOOP\n").starts_with("421 "));
    assert!(peer.closed);
}

#[test]
fn empty_chunks_are_counted_too() {
    let mut peer = Peer::new(Tls::Active);
    peer.ask(ENVELOPE);
    // EHLO was the first.
    for _ in 1..IDLE_COMMANDS_MAX {
        assert!(peer.ask("BDAT 0\n").starts_with("250 "));
    }
    assert!(peer.ask("BDAT 0\n").starts_with("421 ") && peer.closed);
}

fn content_of(bytes: usize) -> String {
    format!("{}\n", "x".repeat(bytes - 2))
}

#[test]
fn a_message_may_have_the_limit_and_not_one_byte_more() {
    let max = MESSAGE_BYTES_MAX as usize;
    for (bytes, code) in [(max, "250 2.0.0"), (max + 1, "552 5.3.4")] {
        let mut peer = greeted();
        peer.ask(&ENVELOPE.replace("EHLO c.example\n", ""));
        let answer = peer.ask(&format!("DATA\n{}.\n", content_of(bytes)));
        assert!(answer.lines().last().is_some_and(|l| l.starts_with(code)), "{bytes}: {answer}");
        let mut peer = greeted();
        peer.ask(&ENVELOPE.replace("EHLO c.example\n", ""));
        let answer = peer.ask(&format!("BDAT {bytes} LAST\n{}", content_of(bytes)));
        assert!(answer.starts_with(code) && answer.lines().count() == 1, "{bytes}: {answer}");
        assert!(peer.ask("NOOP\n").starts_with("250 "), "in step again");
        let answer = greeted().ask(&format!("MAIL FROM:<> SIZE={bytes}\n"));
        assert_eq!(answer.starts_with("250 "), bytes == max, "{answer}");
    }
}

#[test]
fn chunks_together_may_not_exceed_the_limit() {
    let mut peer = greeted();
    peer.ask(&ENVELOPE.replace("EHLO c.example\n", ""));
    let half = MESSAGE_BYTES_MAX as usize / 2;
    assert!(peer.ask(&format!("BDAT {half}\n{}", content_of(half))).starts_with("250 "));
    let answer = peer.ask(&format!("BDAT {} LAST\n{}", half + 1, content_of(half + 1)));
    assert_eq!(answer, "552 5.3.4 Message too large\n");
    assert!(peer.messages.is_empty());
}

#[test]
fn who_never_ends_a_message_that_is_too_large_is_cut_off() {
    let mut peer = greeted();
    peer.ask(&ENVELOPE.replace("EHLO c.example\n", ""));
    peer.ask("DATA\n");
    let answer = peer.ask(&content_of(2 * MESSAGE_BYTES_MAX as usize));
    assert_eq!((answer.as_str(), peer.closed), ("", false));
    assert_eq!(peer.ask("x"), "552 5.3.4 Message too large\n");
    assert!(peer.closed);
    let mut peer = greeted();
    assert!(peer.ask("BDAT 99999999999\n").starts_with("552 5.3.4 ") && peer.closed);
}

fn after(peer: &Peer, seconds: i64) -> Timestamp {
    Timestamp(peer.now.0 + seconds * 1_000_000)
}

#[test]
fn bytes_one_by_one_do_not_put_off_the_deadline_of_a_command() {
    let mut peer = greeted();
    let deadline = after(&peer, COMMAND_TIMEOUT_SECS);
    assert_eq!(peer.session.deadline(), deadline);
    peer.now = after(&peer, COMMAND_TIMEOUT_SECS - 1);
    peer.send(b"NOO");
    assert_eq!(peer.session.deadline(), deadline);
    peer.send(b"P\r\n");
    assert_eq!(peer.session.deadline(), after(&peer, COMMAND_TIMEOUT_SECS));
    peer.session.expire();
    assert_eq!(peer.ask(""), "421 4.4.2 Timeout, closing the connection\n");
    assert!(peer.closed);
}

#[test]
fn nothing_but_a_login_puts_off_the_deadline_of_a_login() {
    let mut peer = Peer::submitting(Tls::Active, InClear::Refused);
    let deadline = after(&peer, LOGIN_TIMEOUT_SECS);
    for command in ["EHLO c.example\n", "NOOP\n", "AUTH PLAIN\n", "*\n", "BDAT 9\n", "1234567"] {
        peer.now = Timestamp(peer.now.0 + 1_000_000);
        peer.ask(command);
        assert_eq!(peer.session.deadline(), deadline, "{command}");
    }
    peer.ask("\n");
    peer.ask("AUTH PLAIN AGFubmEAYW5uYS1zZWNyZXQ=\n");
    assert_eq!(peer.session.deadline(), after(&peer, COMMAND_TIMEOUT_SECS));
    peer.now = Timestamp(peer.now.0 + 1_000_000);
    peer.session.log_out(peer.now);
    let deadline = after(&peer, LOGIN_TIMEOUT_SECS);
    peer.now = Timestamp(peer.now.0 + 1_000_000);
    assert_eq!(peer.ask("MAIL FROM:<anna@example.org>\n"), "530 5.7.0 Authentication required\n");
    assert_eq!(peer.session.deadline(), deadline);
}

#[test]
fn any_split_of_a_submission_is_answered_alike() {
    let input = "EHLO c.example\nAUTH LOGIN\nYW5uYQ==\nYW5uYS1zZWNyZXQ=\n\
                 MAIL FROM:<anna@example.org>\nRCPT TO:<x@elsewhere.example>\nDATA\na\n.\n\
                 AUTH PLAIN\n*\nQUIT\n"
        .replace('\n', "\r\n")
        .replace("DATA\r\na", "DATA\r\nb\n.\nc\rd\r\na");
    let of = |size: usize| {
        let mut peer = Peer::submitting(Tls::Active, InClear::Refused);
        input.as_bytes().chunks(size).for_each(|piece| peer.send(piece));
        (String::from_utf8_lossy(&peer.wire).into_owned(), peer.messages, peer.closed)
    };
    let whole = of(input.len());
    assert_eq!(whole.1[0].content, b"b\r\n.\r\nc\r\nd\r\na\r\n");
    assert!(whole.2);
    for size in 1..20 {
        assert_eq!(of(size), whole, "in pieces of {size}");
    }
}

#[test]
fn content_that_trickles_does_not_put_off_the_deadline() {
    let mut peer = Peer::with_limit(Tls::Active, 1 << 20);
    peer.ask(ENVELOPE);
    peer.ask("DATA\n");
    let deadline = after(&peer, DATA_WINDOW_SECS);
    peer.now = after(&peer, 100);
    peer.send(&vec![b'x'; DATA_WINDOW_BYTES_MIN - 1]);
    assert_eq!(peer.session.deadline(), deadline);
    peer.send(b"x");
    assert_eq!(peer.session.deadline(), after(&peer, DATA_WINDOW_SECS));
}

#[test]
fn nothing_said_before_tls_survives_it() {
    let mut peer = Peer::new(Tls::Available);
    peer.ask(ENVELOPE);
    assert_eq!(peer.ask("STARTTLS\n"), "220 2.0.0 Ready to start TLS\n");
    assert!(peer.ask("MAIL FROM:<>\n").starts_with("503 5.5.1 EHLO first"));
    assert!(!peer.ask("EHLO c.example\n").contains("STARTTLS"));
    assert!(peer.ask("RCPT TO:<support@example.org>\n").starts_with("503 "));
}

#[test]
fn what_stands_behind_starttls_ends_the_connection() {
    let mut peer = Peer::new(Tls::Available);
    peer.ask("EHLO c.example\n");
    let answer = peer.ask("STARTTLS\nMAIL FROM:<>\n");
    assert_eq!(answer, "554 5.5.1 Nothing may follow STARTTLS\n");
    assert!(peer.closed);
}

#[test]
fn a_chunk_whose_size_cannot_be_read_ends_the_connection() {
    let mut peer = greeted();
    assert!(peer.ask("BDAT 18446744073709551617\nQUIT\n").starts_with("501 5.5.4 "));
    assert!(peer.closed);
}

#[test]
fn dsn_parameters_are_kept() {
    let mut peer = greeted();
    peer.ask("MAIL FROM:<a@b.example> RET=HDRS ENVID=x1\n");
    peer.ask("RCPT TO:<info@example.org> NOTIFY=FAILURE ORCPT=rfc822;i@x.example\nDATA\n.\n");
    let transaction = &peer.messages[0].transaction;
    assert_eq!(transaction.parameters.envid.as_deref(), Some("x1"));
    let orcpt = transaction.recipients[0].parameters.orcpt.as_deref();
    assert_eq!(orcpt, Some("rfc822;i@x.example"));
}

/// Pieces of a conversation, valid and not, in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"EHLO c.example\r\n",
        b"HELO c\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
        b"RCPT TO:<support@example.org>\r\n",
        b"RCPT TO:<x@foreign.example>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\n..dot\r\n.\r\n",
        b".\r\n",
        b"a\r\n.\r\r\n\n.\n\r\n.\r\n",
        b"BDAT 5\r\nab\r\nc",
        b"BDAT 4 LAST\r\nab\r\n",
        b"BDAT 3\r\na\nb",
        b"BDAT 0 LAST\r\n",
        b"BDAT x\r\n",
        b"RSET\r\n",
        b"NOOP\n",
        b"VRFY a\r\n",
        b"FOO\r\n",
        b"\xff\xfe\r\n",
        b"QUIT\r\n",
        b"\r\n",
        b"\0",
        b"\r",
        b"\n",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn any_split_of_the_input_gives_the_same_output(
        input in pieces(),
        sizes in prop::collection::vec(1usize..40, 1..20),
    ) {
        let mut whole = Peer::new(Tls::Unavailable);
        whole.send(&input);
        let mut split = Peer::new(Tls::Unavailable);
        let (mut at, mut sizes) = (0, sizes.iter().cycle());
        while at < input.len() {
            let to = input.len().min(at + sizes.next().copied().unwrap_or(1));
            split.send(&input[at..to]);
            at = to;
        }
        let text = |peer: &Peer| String::from_utf8_lossy(&peer.wire).into_owned();
        prop_assert_eq!(text(&whole), text(&split));
        prop_assert_eq!(whole.messages, split.messages);
        prop_assert_eq!(whole.closed, split.closed);
    }

    #[test]
    fn any_bytes_are_answered_or_awaited(input in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut peer = greeted();
        peer.send(&input);
        prop_assert!(peer.messages.is_empty());
    }
}
