//! Where a command line ends: at CRLF and nowhere else. A line with a bare CR, a bare LF or a NUL
//! is refused as a whole, so that no other program's idea of a line can hide a command in it.
//! Knows no command. RFC 5321 §2.3.8

use memchr::{memchr, memchr2};

use super::LINE_BYTES_MAX;
use super::reply::Refusal;

/// Collects one line at a time, of so many bytes at most.
#[derive(Debug)]
pub struct Framer {
    bytes_max: usize,
    line: Vec<u8>,
    /// The line is too long: only its end is looked for.
    too_long: bool,
}

/// A line without its CRLF, or why it is refused.
pub type Line = Result<Vec<u8>, Refusal>;

impl Default for Framer {
    fn default() -> Framer {
        Framer::new(LINE_BYTES_MAX)
    }
}

impl Framer {
    /// For lines of `bytes_max` at most, CRLF included.
    pub fn new(bytes_max: usize) -> Framer {
        Framer { bytes_max, line: Vec::new(), too_long: false }
    }

    /// Takes bytes up to the next line end; says how many, and the line if it is complete.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Option<Line>) {
        let end = memchr(b'\n', input).map(|at| at + 1);
        let piece = &input[..end.unwrap_or(input.len())];
        if self.line.len() + piece.len() > self.bytes_max {
            self.too_long = true;
            self.line = Vec::new();
        }
        if !self.too_long {
            self.line.extend_from_slice(piece);
        }
        (piece.len(), end.map(|_| self.complete()))
    }

    /// Whether a line has begun.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty() && !self.too_long
    }

    fn complete(&mut self) -> Line {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return Err(Refusal::LineTooLong);
        }
        if !line.ends_with(b"\r\n") {
            return Err(Refusal::LineEnd);
        }
        line.truncate(line.len() - 2);
        match memchr2(b'\r', 0, &line) {
            Some(_) => Err(Refusal::LineEnd),
            None => Ok(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Line> {
        let mut framer = Framer::default();
        let (mut at, mut lines) = (0, Vec::new());
        while at < input.len() {
            let (used, line) = framer.feed(&input[at..]);
            at += used;
            lines.extend(line);
        }
        lines
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(lines(b"NOOP\r\nQUIT\r\n"), [Ok(b"NOOP".to_vec()), Ok(b"QUIT".to_vec())]);
        for bad in [&b"NOOP\n"[..], b"NO\rOP\r\n", b"NOOP\r\r\n", b"NO\0OP\r\n", b"\n"] {
            assert_eq!(lines(bad), [Err(Refusal::LineEnd)], "{bad:?}");
        }
    }

    #[test]
    fn a_line_may_have_its_limit_and_not_one_more() {
        let mut longest = vec![b'x'; LINE_BYTES_MAX - 2];
        longest.extend_from_slice(b"\r\n");
        assert!(matches!(&lines(&longest)[..], [Ok(line)] if line.len() == LINE_BYTES_MAX - 2));
        longest.insert(0, b'x');
        longest.extend_from_slice(b"NOOP\r\n");
        assert_eq!(lines(&longest), [Err(Refusal::LineTooLong), Ok(b"NOOP".to_vec())]);
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut framer = Framer::default();
        for _ in 0..100 {
            assert_eq!(framer.feed(&[b'x'; 1000]), (1000, None));
            assert!(framer.line.capacity() <= 2 * LINE_BYTES_MAX);
        }
        assert_eq!(framer.feed(b"\r\n"), (2, Some(Err(Refusal::LineTooLong))));
    }
}
