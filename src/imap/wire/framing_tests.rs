//! Tests of `framing`: what a connection's input amounts to, at the limits and past them.

use super::*;
use proptest::prelude::*;

fn events_of(pieces: &[&[u8]], limits: &Limits) -> Vec<Event> {
    let mut framer = Framer::default();
    let mut events: Vec<Event> = Vec::new();
    for piece in pieces {
        framer.receive(piece);
        loop {
            while let Some(mut bytes) = framer.message_piece().filter(|p| !p.is_empty()) {
                match events.last_mut() {
                    Some(Event::Command(message)) => message.append(&mut bytes),
                    _ => events.push(Event::Command(bytes)),
                }
            }
            let Some(event) = framer.next(limits) else { break };
            if matches!(event, Event::Message { .. }) {
                framer.accept();
            }
            events.push(event);
        }
    }
    events
}

fn events(input: &[u8]) -> Vec<Event> {
    events_of(&[input], &Limits::BEFORE_LOGIN)
}

fn command(text: &str) -> Event {
    Event::Command(text.into())
}

fn refused(tag: &str, why: &'static str) -> Event {
    Event::Refused { tag: tag.into(), why }
}

#[test]
fn lines_end_in_crlf_only() {
    assert_eq!(events(b"a noop\r\nb noop\r\n"), [command("a noop"), command("b noop")]);
    assert_eq!(events(b"a noop\nb noop\r\n"), [command("a noop\nb noop")]);
    assert_eq!(events(b"a noop\rb noop\r\n"), [command("a noop\rb noop")]);
    assert_eq!(events(b"a noop\r"), []);
}

#[test]
fn literals_stand_in_the_command_as_they_came() {
    let input = b"a login {3}\r\nx\r\n {2+}\r\nyz\r\nb noop\r\n";
    let login = command("a login {3}\r\nx\r\n {2+}\r\nyz");
    assert_eq!(events(input), [Event::Invite, login, command("b noop")]);
    assert_eq!(events(b"a login {0}\r\n x\r\n"), [Event::Invite, command("a login {0}\r\n x")]);
}

#[test]
fn a_line_is_taken_up_to_its_limit() {
    let long = "x".repeat(LINE_BYTES_MAX_BEFORE_LOGIN - 2);
    assert_eq!(events(format!("a {long}\r\n").as_bytes()), [command(&format!("a {long}"))]);
    let longer = format!("a {long}x\r\nb noop\r\n");
    let expected = [refused("a", "The line is too long"), command("b noop")];
    assert_eq!(events(longer.as_bytes()), expected);
}

#[test]
fn a_literal_is_taken_up_to_its_limit() {
    let n = LITERAL_BYTES_MAX_BEFORE_LOGIN;
    assert_eq!(events(format!("a login {{{n}}}\r\n").as_bytes()), [Event::Invite]);
    let past = format!("a login {{{}}}\r\nb noop\r\n", n + 1);
    assert_eq!(
        events(past.as_bytes()),
        [refused("a", "The literal is too long"), command("b noop")]
    );
}

#[test]
fn a_refused_literal_that_comes_anyway_is_swallowed_with_the_rest_of_its_command() {
    let n = LITERAL_BYTES_MAX_BEFORE_LOGIN + 1;
    let evil = "\r\nevil logout\r\n".repeat(400);
    let body = &evil[..n as usize];
    let input = format!("a login {{{n}+}}\r\n{body} x {{3+}}\r\n\r\nz end\r\nb noop\r\n");
    let expected = [refused("a", "The literal is too long"), command("b noop")];
    assert_eq!(events(input.as_bytes()), expected);
}

#[test]
fn a_literal_behind_a_line_that_is_too_long_is_swallowed() {
    let long = "x".repeat(LINE_BYTES_MAX_BEFORE_LOGIN);
    let input = format!("a {long} {{13+}}\r\nevil logout\r\n\r\nb noop\r\n");
    let expected = [refused("a", "The line is too long"), command("b noop")];
    assert_eq!(events(input.as_bytes()), expected);
}

#[test]
fn a_command_of_many_literals_is_taken_up_to_its_limit() {
    let mut input = b"a x".to_vec();
    for _ in 0..5 {
        input.extend_from_slice(b" {4000+}\r\n");
        input.extend_from_slice(&[b'y'; 4000]);
    }
    input.extend_from_slice(b"\r\nb noop\r\n");
    let expected = [refused("a", "The command is too long"), command("b noop")];
    assert_eq!(events(&input), expected);
}

#[test]
fn what_cannot_be_swallowed_ends_the_connection() {
    let past = SKIPPED_BYTES_MAX + 1;
    let end = [Event::Overrun];
    assert_eq!(events(format!("a login {{{past}+}}\r\nb noop\r\n").as_bytes()), end);
    assert_eq!(events(b"a login {99999999999999999999999+}\r\nb noop\r\n"), end);
    let n = SKIPPED_BYTES_MAX;
    let expected = [refused("a", "The literal is too long")];
    assert_eq!(events(format!("a login {{{n}+}}\r\nb noop\r\n").as_bytes()), expected);
}

#[test]
fn the_message_of_an_append_is_announced_and_its_mailbox_name_is_not() {
    let input = b"a append {5}\r\nINBOX (\\Seen) {4}\r\n\r\nx\n\r\nb noop\r\n";
    let head = b"a append {5}\r\nINBOX (\\Seen) ".to_vec();
    let message = Event::Message { head, announced: synchronizing(4) };
    let expected = [Event::Invite, message, command("\r\nx\n"), command(""), command("b noop")];
    assert_eq!(events(input), expected);
}

fn synchronizing(bytes: u64) -> Announced {
    Announced { bytes, literal: Literal::Synchronizing, octets: Octets::Text }
}

#[test]
fn messages_that_follow_one_another_are_each_announced() {
    let input = b"a append x {2}\r\nhi (\\Seen) {1}\r\n! {0}\r\n\r\nb append y {1}\r\n?\r\n";
    let message = |head: &[u8], bytes| Event::Message {
        head: head.to_vec(),
        announced: synchronizing(bytes),
    };
    let expected = [
        message(b"a append x ", 2),
        command("hi"),
        message(b" (\\Seen) ", 1),
        command("!"),
        message(b" ", 0),
        command(""),
        message(b"b append y ", 1),
        command("?"),
        command(""),
    ];
    assert_eq!(events(input), expected);
}

#[test]
fn what_breaks_a_limit_behind_a_message_is_refused_by_the_tag_of_its_command() {
    let long = "x".repeat(LINE_BYTES_MAX_BEFORE_LOGIN + 1);
    let expected = [refused("a", "The line is too long"), command("b noop")];
    let input = format!("a append x {{1}}\r\n!{long}\r\nb noop\r\n");
    assert_eq!(events(input.as_bytes())[2..], expected);
}

#[test]
fn the_message_of_a_replace_is_announced_and_its_mailbox_name_is_not() {
    for input in ["a replace 4 x ", "a uid replace 4 x ", "a uid replace 4 {1+}\r\nx "] {
        let literal8 = format!("{input}~{{3}}\r\n\0\0\0\r\n");
        let announced = Announced { octets: Octets::Any, ..synchronizing(3) };
        let head = input.as_bytes().to_vec();
        assert_eq!(events(literal8.as_bytes())[0], Event::Message { head, announced });
    }
    for input in ["a replace 4 {3+}\r\nabc x\r\n", "a uid fetch {3+}\r\nabc x\r\n"] {
        assert_eq!(events(input.as_bytes()), [command(&input[..input.len() - 2])]);
    }
}

#[test]
fn an_uninvited_literal_is_taken_up_to_its_limit() {
    let limits = Limits::AFTER_LOGIN.inviting_literals();
    let n = NON_SYNCHRONIZING_BYTES_MAX as usize;
    let sent = |head: &str, bytes: usize| {
        let input = format!("a {head} {{{bytes}+}}\r\n{}\r\nb noop\r\n", "x".repeat(bytes));
        events_of(&[input.as_bytes()], &limits)
    };
    assert!(matches!(sent("x", n)[0], Event::Command(_)));
    assert!(matches!(sent("append x", n)[0], Event::Message { .. }));
    let why = "A literal of more than 4096 bytes must wait for its invitation";
    assert_eq!(sent("x", n + 1), [refused("a", why), command("b noop")]);
    let too_big = "[TOOBIG] A literal of more than 4096 bytes must wait for its invitation";
    assert_eq!(sent("append x", n + 1), [refused("a", too_big), command("b noop")]);
    let invited = events_of(&[b"a append x {4097}\r\n"], &limits);
    assert!(matches!(invited[..], [Event::Message { .. }]));
}

#[test]
fn a_refused_message_is_swallowed_only_if_the_client_did_not_wait() {
    for (mark, rest) in [("{6}", "b noop\r\n"), ("{6+}", "evil\r\n\r\nb noop\r\n")] {
        let mut framer = Framer::default();
        framer.receive(format!("a append x {mark}\r\n{rest}").as_bytes());
        let limits = Limits::AFTER_LOGIN;
        let announced = framer.next(&limits);
        assert!(matches!(announced, Some(Event::Message { announced: a, .. }) if a.bytes == 6));
        framer.refuse();
        assert_eq!(framer.next(&limits), Some(command("b noop")), "{mark}");
    }
}

#[test]
fn an_answer_to_a_continuation_is_a_line_without_literals() {
    let mut framer = Framer::default();
    framer.receive(b"x {5}\r\nb noop\r\n");
    assert_eq!(framer.next_line(&Limits::BEFORE_LOGIN), Some(Some(b"x {5}".to_vec())));
    assert_eq!(framer.next(&Limits::BEFORE_LOGIN), Some(command("b noop")));
    framer.receive(&[b'x'; LINE_BYTES_MAX_BEFORE_LOGIN + 1]);
    assert_eq!(framer.next_line(&Limits::BEFORE_LOGIN), Some(None));
    framer.receive(b"x\r\nc noop\r\n");
    assert_eq!(framer.next(&Limits::BEFORE_LOGIN), Some(command("c noop")));
}

#[test]
fn only_a_tag_is_repeated() {
    assert_eq!(tag_of(b"a1 noop"), "a1");
    assert_eq!(tag_of(b"+ noop"), "*");
    assert_eq!(tag_of(b" noop"), "*");
    assert_eq!(tag_of(b"noop"), "*");
    assert_eq!(tag_of("ä noop".as_bytes()), "*");
    assert_eq!(tag_of(&[b'a'; TAG_BYTES_MAX + 2]), "*");
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"a append x {7}\r\n".to_vec()),
        Just(b"a append x {9+}\r\n".to_vec()),
        Just(b"a uid replace 7 x ~{9}\r\n".to_vec()),
        Just(b"b login {3}\r\n".to_vec()),
        Just(b"b login {40+}\r\n".to_vec()),
        Just(b"c noop".to_vec()),
        Just(vec![b'z'; 30]),
        Just(b"{999+}".to_vec()),
        any::<Vec<u8>>(),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_of_the_input_gives_the_same_events(
        input in input(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let limits = Limits {
            line_bytes_max: 40,
            literal_bytes_max: 20,
            command_bytes_max: 90,
            non_synchronizing_bytes_max: 50,
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect();
        prop_assert_eq!(events_of(&pieces, &limits), events_of(&[&input], &limits));
        let single: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(events_of(&single, &limits), events_of(&[&input], &limits));
    }
}

#[test]
fn literals_one_after_the_other_cost_no_stack() {
    let literals = b"x {0+}\r\n".repeat(COMMAND_BYTES_MAX / 8);
    let refused = refused("x", "The command is too long");
    let events = events_of(&[&literals, b"\r\nb noop\r\n"], &Limits::AFTER_LOGIN);
    assert!(events.len() <= 3 && matches!(events[0], Event::Command(_) | Event::Refused { .. }));
    let more = b"x {0+}\r\n".repeat(COMMAND_BYTES_MAX / 8 + 2);
    assert_eq!(events_of(&[&more], &Limits::AFTER_LOGIN)[0], refused);
}
