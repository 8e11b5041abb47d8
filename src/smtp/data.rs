//! The content as DATA sends it: where it ends, and its dots. RFC 5321 §4.5.2
//!
//! Only CRLF.CRLF ends it, of which the first CRLF may be that of the DATA line itself. On port 25
//! anything that another server might take for an end or a line end (a bare CR, a bare LF, a NUL)
//! is noted, and the content is then swallowed up to its real end and refused: nothing can be
//! smuggled behind it. At submission a bare CR or LF becomes CRLF, but what follows it is no line
//! start to us: neither does a dot there end anything, nor is it taken away.

use memchr::memchr3;

use super::content::LineEnds;
use super::reply::Refusal;

/// Removes the transparency of DATA and finds its end.
#[derive(Debug, Default)]
pub struct DataReceiver {
    state: State,
    fault: Option<Refusal>,
    line_ends: LineEnds,
}

/// What was seen before the next byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// CRLF, or nothing yet.
    #[default]
    LineStart,
    /// A dot at the start of a line; it is never content.
    Dot,
    /// The same with CR behind it.
    DotCr,
    /// Anything else.
    Text,
    /// CR that may be followed by LF.
    Cr,
}

impl DataReceiver {
    /// Nothing has come yet.
    pub fn new(line_ends: LineEnds) -> DataReceiver {
        DataReceiver { line_ends, ..DataReceiver::default() }
    }

    /// Takes bytes up to the end of the content at most; appends to `out` what they mean. Says how
    /// many were taken, and whether the end was among them. Nothing is appended after a fault.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while at < input.len() {
            if self.state == State::Text {
                let end = memchr3(b'\r', b'\n', 0, &input[at..]).map_or(input.len(), |n| at + n);
                self.emit(&input[at..end], out);
                at = end;
                if at == input.len() {
                    break;
                }
            }
            let byte = input[at];
            at += 1;
            if self.state == State::DotCr && byte == b'\n' {
                self.state = State::LineStart;
                return (at, true);
            }
            self.state = self.next(byte, out);
        }
        (at, false)
    }

    /// Why the content is to be refused, as far as it is known.
    pub fn fault(&self) -> Option<Refusal> {
        self.fault
    }

    fn next(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match (self.state, byte) {
            (State::LineStart, b'.') => return State::Dot,
            (State::Dot, b'\r') => return State::DotCr,
            (State::Cr, b'\n') => {
                self.emit(b"\r\n", out);
                return State::LineStart;
            }
            // The CR before this byte was a bare one.
            (State::Cr | State::DotCr, _) => self.bare_line_end(out),
            _ => {}
        }
        match byte {
            b'\r' => return State::Cr,
            b'\n' => self.bare_line_end(out),
            0 => {
                self.fault.get_or_insert(Refusal::ContentNul);
            }
            byte => self.emit(&[byte], out),
        }
        State::Text
    }

    fn bare_line_end(&mut self, out: &mut Vec<u8>) {
        match self.line_ends {
            LineEnds::Strict => {
                self.fault.get_or_insert(Refusal::ContentLineEnd);
            }
            LineEnds::Normalised => self.emit(b"\r\n", out),
        }
    }

    fn emit(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.fault.is_none() {
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What of `wire` was taken.
    fn received_part<'a>(wire: &'a [u8], rest: &Option<Vec<u8>>) -> &'a [u8] {
        &wire[..wire.len() - rest.as_ref().map_or(0, Vec::len)]
    }

    type Received = (Vec<u8>, Option<Refusal>, Option<Vec<u8>>);

    /// What came of `input` in pieces of `size`: content, fault, and what was left behind the end.
    fn receive(input: &[u8], size: usize) -> Received {
        receive_as(LineEnds::Strict, input, size)
    }

    fn normalise(input: &[u8], size: usize) -> Received {
        receive_as(LineEnds::Normalised, input, size)
    }

    fn receive_as(line_ends: LineEnds, input: &[u8], size: usize) -> Received {
        let mut receiver = DataReceiver::new(line_ends);
        let (mut at, mut out) = (0, Vec::new());
        while at < input.len() {
            let to = input.len().min(at + size);
            let (used, end) = receiver.receive(&input[at..to], &mut out);
            at += used;
            if end {
                return (out, receiver.fault(), Some(input[at..].to_vec()));
            }
        }
        (out, receiver.fault(), None)
    }

    #[test]
    fn dots_are_unstuffed_and_the_end_is_found() {
        for (wire, content) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"..first\r\n..\r\n...x\r\n.\r\n", b".first\r\n.\r\n..x\r\n"),
            (b"a.\r\n.b\r\n.\r\n", b"a.\r\nb\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
        ] {
            for size in [1, 2, 3, 100] {
                assert_eq!(receive(wire, size), (content.to_vec(), None, Some(vec![])), "{wire:?}");
            }
        }
    }

    #[test]
    fn no_other_end_is_taken_for_one() {
        for fake in [
            &b"\n.\n"[..],
            b"\r\n.\n",
            b"\n.\r\n",
            b"\r.\r",
            b"\r\n.\r",
            b"\r.\r\n",
            b"\r\n.\r\r\n",
            b"\r\n\0.\r\n",
            b"\r\n.\0\r\n",
            b"\r\r\n.\r.\r\n",
            b"\n\n.\r\n",
            b"\r\n.\n\r\n",
        ] {
            let wire = [b"a", fake, b"MAIL FROM:<x@y>\r\n.\r\nQUIT\r\n"].concat();
            for size in [1, 3, 100] {
                let (_, fault, rest) = receive(&wire, size);
                assert!(fault.is_some(), "{fake:?}");
                assert_eq!(rest.as_deref(), Some(&b"QUIT\r\n"[..]), "{fake:?}");
            }
        }
    }

    #[test]
    fn bare_line_ends_become_crlf_at_submission() {
        for (wire, content) in [
            (&b"a\nb\rc\r\n.\r\n"[..], &b"a\r\nb\r\nc\r\n"[..]),
            (b"\n.\r\n.\r\n", b"\r\n.\r\n"),
            (b"\r\r\n.\r\n", b"\r\n\r\n"),
            (b"a\n\nb\r\rc\r\n.\r\n", b"a\r\n\r\nb\r\n\r\nc\r\n"),
            (b"a\n\r\n.\r\n", b"a\r\n\r\n"),
        ] {
            for size in [1, 2, 3, 100] {
                let expected = (content.to_vec(), None, Some(vec![]));
                assert_eq!(normalise(wire, size), expected, "{wire:?}");
            }
        }
    }

    #[test]
    fn no_other_end_is_taken_for_one_at_submission_either() {
        for (fake, meant) in [
            (&b"\n.\n"[..], &b"\r\n.\r\n"[..]),
            // The dot behind CRLF is stuffing, whatever stands behind it.
            (b"\r\n.\n", b"\r\n\r\n"),
            (b"\n.\r\n", b"\r\n.\r\n"),
            (b"\r.\r", b"\r\n.\r\n"),
            (b"\r\n.\r", b"\r\n\r\n"),
            (b"\r.\r\n", b"\r\n.\r\n"),
            (b"\r\n.\r\r\n", b"\r\n\r\n\r\n"),
            (b"\n\n.\r\n", b"\r\n\r\n.\r\n"),
        ] {
            let wire = [b"a", fake, b"MAIL FROM:<x@y>\r\n.\r\nQUIT\r\n"].concat();
            let content = [b"a", meant, b"MAIL FROM:<x@y>\r\n"].concat();
            for size in [1, 3, 100] {
                let rest = Some(b"QUIT\r\n".to_vec());
                assert_eq!(normalise(&wire, size), (content.clone(), None, rest), "{fake:?}");
            }
        }
    }

    #[test]
    fn a_nul_is_refused_at_submission_too() {
        let (content, fault, rest) = normalise(b"a\n\0b\r\n.\r\nQUIT\r\n", 1);
        assert_eq!((fault, rest), (Some(Refusal::ContentNul), Some(b"QUIT\r\n".to_vec())));
        assert_eq!(content, b"a\r\n");
    }

    proptest! {
        #[test]
        fn normalised_content_ends_where_strict_content_does_and_any_split_gives_the_same(
            wire in "[a\r\n.\0]{0,60}",
            size in 1usize..20,
        ) {
            let wire = wire.as_bytes();
            let whole = normalise(wire, 1000);
            prop_assert_eq!(&normalise(wire, size), &whole);
            let strict = receive(wire, 1000);
            prop_assert_eq!(&strict.2, &whole.2);
            if strict.1.is_none() {
                prop_assert_eq!(&strict.0, &whole.0, "what is right is left as it is");
            }
            prop_assert_eq!(whole.1.is_some(), received_part(wire, &whole.2).contains(&0));
            let lines = String::from_utf8_lossy(&whole.0).replace("\r\n", "");
            prop_assert!(!lines.contains(['\r', '\n']));
        }

        #[test]
        fn any_split_gives_the_same(wire in "[a\r\n.\0]{0,60}", size in 1usize..20) {
            prop_assert_eq!(receive(wire.as_bytes(), size), receive(wire.as_bytes(), 1000));
        }

        #[test]
        fn stuffing_is_undone(lines in prop::collection::vec("[a.]{0,5}", 0..10)) {
            let content: String = lines.iter().map(|l| format!("{l}\r\n")).collect();
            let stuffed: String = lines
                .iter()
                .map(|l| if l.starts_with('.') { format!(".{l}\r\n") } else { format!("{l}\r\n") })
                .collect();
            let (out, fault, rest) = receive(format!("{stuffed}.\r\n").as_bytes(), 7);
            prop_assert_eq!(out, content.into_bytes());
            prop_assert_eq!((fault, rest), (None, Some(vec![])));
        }
    }
}
