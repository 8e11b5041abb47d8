//! Replies of a server: any split of the input gives the same replies, what is kept stays within
//! the limits and can be shown, and the whole session that reads them ends with a fate for each
//! recipient, whatever is said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postfach::mail::address::Address;
use postfach::mail::id::Timestamp;
use postfach::mail::transport::Body;
use postfach::smtp::client::offer::Offer;
use postfach::smtp::client::reply::{
    REPLY_LINE_BYTES_MAX, REPLY_LINES_MAX, ReplyReader, ServerReply,
};
use postfach::smtp::client::{
    Credentials, Fate, Lost, Mail, MailRecipient, Pipelining, PlainLogin, Session, Settings, Step,
    Timeouts, Tls,
};

const NOW: Timestamp = Timestamp(0);
const CONTENT: &[u8] = b"Subject: x\n\n.dot\r\rend";

fuzz_target!(|data: &[u8]| {
    let Some((&sizes, input)) = data.split_first() else { return };
    let pieces = replies(input, usize::from(sizes >> 3).max(1));
    assert_eq!(replies(input, input.len().max(1)), pieces);
    for reply in &pieces {
        assert!((200..600).contains(&reply.code) && reply.lines.len() <= REPLY_LINES_MAX);
        let is_shown = |c: char| !c.is_control();
        assert!(reply.text().chars().all(is_shown));
        // A byte that is no UTF-8 is shown as three.
        assert!(reply.lines.iter().all(|line| line.len() <= 3 * REPLY_LINE_BYTES_MAX));
        let _ = Offer::parse(&reply.lines);
    }
    converse(input, usize::from(sizes >> 3).max(1), sizes & 1 == 0);
});

fn replies(input: &[u8], piece: usize) -> Vec<ServerReply> {
    let mut reader = ReplyReader::default();
    let mut replies = Vec::new();
    for mut received in input.chunks(piece) {
        while !received.is_empty() {
            let (used, reply) = reader.feed(received);
            received = &received[used..];
            match reply {
                Some(Ok(reply)) => replies.push(reply),
                Some(Err(_)) => return replies,
                None => {}
            }
        }
    }
    replies
}

/// Sends a mail to a server that says this and goes; it is heard when the session wants to.
fn converse(input: &[u8], piece: usize, with_login: bool) {
    let credentials = Credentials { login: "anna".into(), password: "secret".into() };
    let settings = Settings {
        hostname: "mail.example.org".into(),
        server: "mx.example".into(),
        tls: if with_login { Tls::Active } else { Tls::Never },
        credentials: with_login.then_some(credentials),
        plain_login: PlainLogin::Refused,
        pipelining: Pipelining::AsOffered,
        timeouts: Timeouts::default(),
    };
    let mut session = Session::new(settings, NOW);
    let mail = mail();
    let (mut at, mut written, mut is_awaited) = (0, Vec::new(), false);
    loop {
        let to = if is_awaited { input.len().min(at + piece) } else { at };
        let (used, step) = session.step(&input[at..to], NOW);
        at += used;
        written.extend(session.take_output());
        is_awaited = step == Step::NeedInput;
        match step {
            Step::NeedInput if at < input.len() => {}
            Step::NeedInput => session.lost(Lost::Closed),
            Step::Ready => session.send(&mail, NOW),
            Step::Content => {
                assert!(written.ends_with(b"DATA\r\n"));
                CONTENT.chunks(piece).for_each(|bytes| session.content(bytes, NOW));
                session.content_end(NOW);
            }
            Step::Done(fates) => return check(&fates, &mail, &written),
            Step::Unavailable(_) | Step::Close => return,
            Step::StartTls | Step::Verified(_) | Step::Stale => panic!("not asked for"),
        }
    }
}

/// Nothing is delivered whose end was not sent.
fn check(fates: &[Fate], mail: &Mail, written: &[u8]) {
    assert_eq!(fates.len(), mail.recipients.len());
    let is_delivered = |fate: &Fate| matches!(fate, Fate::Delivered(_));
    assert!(!fates.iter().any(is_delivered) || written.ends_with(b"end\r\n.\r\n"));
}

fn mail() -> Mail {
    let recipient = |local: &str| MailRecipient {
        address: Address::new(local, "y.example"),
        notify: None,
        orcpt: None,
    };
    Mail {
        reverse_path: Some(Address::new("a", "b.example")),
        recipients: vec![recipient("x"), recipient("bücher"), recipient("z")],
        envid: Some("e".into()),
        ret: None,
        body: Body::SevenBit,
        smtputf8: false,
        size_bytes: CONTENT.len() as u64,
    }
}
