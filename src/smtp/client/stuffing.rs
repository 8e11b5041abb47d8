//! The content on the wire of DATA: dots at the start of a line doubled, every line ended by CRLF,
//! and at its end `CRLF.CRLF`, which nothing before it can look like. RFC 5321 §4.5.2
//!
//! A bare CR or bare LF in what is stored (an APPENDed draft may hold them) becomes CRLF: another
//! server might take it for a line end, and then a dot behind it for the end of the content.

use memchr::memchr2;

/// Writes one content.
#[derive(Debug, Default)]
pub struct Stuffer {
    state: State,
}

/// What was written last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// CRLF, or nothing yet.
    #[default]
    LineStart,
    /// Anything else.
    Text,
    /// Nothing yet for a CR that was met.
    Cr,
}

impl Stuffer {
    /// Appends the next bytes to `out` as they go on the wire.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some(&first) = rest.first() {
            if self.state == State::Cr {
                self.end_line(out);
                if first == b'\n' {
                    rest = &rest[1..];
                }
                continue;
            }
            if self.state == State::LineStart && first == b'.' {
                out.push(b'.');
            }
            let Some(at) = memchr2(b'\r', b'\n', rest) else {
                out.extend_from_slice(rest);
                self.state = State::Text;
                return;
            };
            out.extend_from_slice(&rest[..at]);
            match rest[at] {
                b'\n' => self.end_line(out),
                _ => self.state = State::Cr,
            }
            rest = &rest[at + 1..];
        }
    }

    /// Appends the end of the content.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.state != State::LineStart {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.state = State::LineStart;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::smtp::data::DataReceiver;

    fn wire(content: &[u8], size: usize) -> Vec<u8> {
        let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
        content.chunks(size).for_each(|piece| stuffer.push(piece, &mut out));
        stuffer.finish(&mut out);
        out
    }

    #[test]
    fn dots_are_doubled_and_lines_are_ended() {
        for (content, expected) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"\r\n.\r\n..x\r\na.b", b"\r\n..\r\n...x\r\na.b\r\n.\r\n"),
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\rb\r", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"\r\r\n.", b"\r\n\r\n..\r\n.\r\n"),
        ] {
            for size in [1, 2, 3, 100] {
                assert_eq!(wire(content, size), expected, "{content:?} by {size}");
            }
        }
    }

    /// All line ends as CRLF, and one at the end.
    fn as_lines(content: &str) -> String {
        let mut text = content.replace("\r\n", "\n").replace(['\r', '\n'], "\r\n");
        if !text.is_empty() && !text.ends_with("\r\n") {
            text.push_str("\r\n");
        }
        text
    }

    proptest! {
        #[test]
        fn our_own_receiver_gets_back_what_was_sent(
            content in "[ab\\r\\n.]{0,60}",
            size in 1usize..20,
        ) {
            let mut sent = wire(content.as_bytes(), size);
            prop_assert_eq!(&sent, &wire(content.as_bytes(), 1000));
            let end = sent.len();
            sent.extend_from_slice(b"QUIT\r\n");
            let (mut receiver, mut received) = (DataReceiver::default(), Vec::new());
            prop_assert_eq!(receiver.receive(&sent, &mut received), (end, true));
            prop_assert_eq!(receiver.fault(), None);
            prop_assert_eq!(received, as_lines(&content).into_bytes());
        }

        #[test]
        fn nothing_on_the_wire_looks_like_an_end_but_the_end(content in "[ab\\r\\n.]{0,60}") {
            let sent = wire(content.as_bytes(), 7);
            let lines = String::from_utf8(sent).expect("ASCII");
            let without = lines.replace("\r\n", "");
            prop_assert!(!without.contains(['\r', '\n']));
            let ends = lines.split("\r\n").filter(|line| *line == ".").count();
            prop_assert!(ends == 1 && lines.ends_with(".\r\n"));
        }
    }
}
