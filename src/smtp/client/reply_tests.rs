//! Tests of replies, with smtp-proto as the judge.

use proptest::prelude::*;
use smtp_proto::response::parser::ResponseReceiver;

use super::*;

type Read = Vec<Result<ServerReply, Fault>>;

/// What comes of `input` in pieces of `size`, up to the first fault, and whether it is all used.
fn read(input: &[u8], size: usize) -> Read {
    let mut reader = ReplyReader::default();
    let mut replies = Vec::new();
    for mut piece in input.chunks(size) {
        while !piece.is_empty() {
            let (used, reply) = reader.feed(piece);
            piece = &piece[used..];
            let broken = matches!(reply, Some(Err(_)));
            replies.extend(reply);
            if broken {
                return replies;
            }
        }
    }
    replies
}

fn one(input: &str) -> ServerReply {
    let mut replies = read(input.as_bytes(), usize::MAX);
    assert_eq!(replies.len(), 1, "{input:?}");
    replies.remove(0).expect("a reply")
}

fn fault(input: &str) -> Option<Fault> {
    read(input.as_bytes(), usize::MAX).pop().and_then(Result::err)
}

#[test]
fn codes_and_texts_are_read() {
    for (wire, code, status, text) in [
        ("250 OK\r\n", 250, None, "250 OK"),
        ("250\r\n", 250, None, "250"),
        ("250 \r\n", 250, None, "250"),
        ("250 OK\n", 250, None, "250 OK"),
        ("550 5.1.1 No such user\r\n", 550, Some("5.1.1"), "550 5.1.1 No such user"),
        ("550 5.7.509 DMARC\r\n", 550, Some("5.7.509"), "550 5.7.509 DMARC"),
        ("250 2.0.0\r\n", 250, Some("2.0.0"), "250 2.0.0"),
        ("250-2.1.0 one\r\n250 2.1.5 two\r\n", 250, Some("2.1.0"), "250 2.1.0 one two"),
        ("554-one\r\n554-\r\n554 5.7.1 two\r\n", 554, Some("5.7.1"), "554 5.7.1 one two"),
    ] {
        let reply = one(wire);
        assert_eq!((reply.code, reply.status.as_deref()), (code, status), "{wire:?}");
        assert_eq!(reply.text(), text, "{wire:?}");
    }
}

#[test]
fn an_enhanced_code_of_another_class_or_form_is_text() {
    for wire in ["550 4.1.1 x", "250 2.1 x", "250 2.1.1000 x", "250 2.1.x y", "250 2..1 y"] {
        let reply = one(&format!("{wire}\r\n"));
        assert_eq!(reply.status, None, "{wire}");
        assert_eq!(reply.text(), wire);
    }
}

#[test]
fn what_is_no_reply_is_a_fault() {
    for wire in ["\r\n", "OK\r\n", "25 x\r\n", "2500 x\r\n", "150 x\r\n", "600 x\r\n", "250_x\r\n"]
    {
        assert_eq!(fault(wire), Some(Fault::NoCode), "{wire:?}");
    }
    assert_eq!(fault("٢٥٠ x\r\n"), Some(Fault::NoCode));
    assert_eq!(fault("250-a\r\n550 b\r\n"), Some(Fault::CodesDiffer));
    assert_eq!(fault("250-a\r\nb\r\n"), Some(Fault::NoCode));
}

#[test]
fn control_characters_are_not_shown() {
    let reply = one("550 a\rb\0c\x1b[1m\u{85}d\r\n");
    assert_eq!(reply.text(), "550 a?b?c?[1m?d");
    let latin = read(b"550 M\xfcll\r\n", 1).remove(0).expect("a reply");
    assert_eq!(latin.text(), "550 M\u{fffd}ll");
}

#[test]
fn a_line_is_cut_behind_its_limit() {
    let line = |text_bytes: usize| one(&format!("250 {}\r\n", "x".repeat(text_bytes))).lines;
    let most = REPLY_LINE_BYTES_MAX - 4;
    assert_eq!(line(most)[0].len(), most);
    assert_eq!(line(most + 1)[0].len(), most);
    let replies = read(format!("250 {}\r\n250 next\r\n", "x".repeat(10_000)).as_bytes(), 100);
    assert_eq!(replies.len(), 2);
}

#[test]
fn a_reply_may_have_its_lines_and_not_one_more() {
    let reply = |lines: usize| "250-x\r\n".repeat(lines - 1) + "250 x\r\n";
    assert_eq!(one(&reply(REPLY_LINES_MAX)).lines.len(), REPLY_LINES_MAX);
    assert_eq!(fault(&reply(REPLY_LINES_MAX + 1)), Some(Fault::TooLong));
}

#[test]
fn a_reply_may_have_its_bytes_and_not_one_more() {
    let reply = |bytes: usize| format!("250 {}\r\n", "x".repeat(bytes - 6));
    assert_eq!(fault(&reply(REPLY_BYTES_MAX)), None);
    assert_eq!(fault(&reply(REPLY_BYTES_MAX + 1)), Some(Fault::TooLong));
    let mut reader = ReplyReader::default();
    for _ in 0..64 {
        assert_eq!(reader.feed(&[b'2'; 1024]), (1024, None));
        assert!(reader.line.capacity() <= 2 * REPLY_LINE_BYTES_MAX);
    }
    assert_eq!(reader.feed(b"2").1, Some(Err(Fault::TooLong)));
}

/// What smtp-proto makes of one reply.
fn judged(input: &[u8]) -> Option<(u16, [u8; 3], String)> {
    let reply = ResponseReceiver::default().parse(&mut input.iter()).ok()?;
    Some((reply.code, reply.esc, reply.message))
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        lines in prop::collection::vec("(250|550|4[0-9]{2}|x)[ -]?[a-c2.\\r ]{0,8}\r?\n", 0..6),
        size in 1usize..12,
    ) {
        let wire = lines.concat();
        prop_assert_eq!(read(wire.as_bytes(), size), read(wire.as_bytes(), usize::MAX));
    }

    #[test]
    fn the_judge_reads_well_formed_replies_alike(
        code in 200u16..600,
        status in prop::option::of((0u8..10, 0u8..100)),
        texts in prop::collection::vec("[A-Za-z][A-Za-z ]{0,10}[A-Za-z]", 1..4),
    ) {
        let prefix = status.map_or(String::new(), |(s, d)| format!("{}.{s}.{d} ", code / 100));
        let last = texts.len() - 1;
        let line = |(n, text): (usize, &String)| {
            let separator = if n < last { '-' } else { ' ' };
            format!("{code}{separator}{prefix}{text}\r\n")
        };
        let wire: String = texts.iter().enumerate().map(line).collect();
        let reply = one(&wire);
        let (judged_code, esc, message) = judged(wire.as_bytes()).expect("a reply");
        prop_assert_eq!(reply.code, judged_code);
        let status = reply.status.clone().unwrap_or_else(|| "0.0.0".into());
        prop_assert_eq!(status, esc.map(|part| part.to_string()).join("."));
        prop_assert_eq!(reply.lines.join(""), message.replace(['\r', '\n'], ""));
    }
}

/// Why the judge is not the reader: the day it reads these as we do, it may take over.
#[test]
fn the_judge_is_wrong_about_these() {
    assert_eq!(judged(b"550 5.7.509 x\r\n").map(|(_, esc, _)| esc), Some([5, 7, 255]));
    assert_eq!(judged(b"250-a\r\n550 b\r\n").map(|(code, ..)| code), Some(250));
    assert_eq!(judged(b"999 x\r\n").map(|(code, ..)| code), Some(999));
    assert_eq!(judged(b"550 a\0b\r\n").map(|(.., text)| text.contains('\0')), Some(true));
}
