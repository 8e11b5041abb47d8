//! Replies of a server: where one ends, and what it says. RFC 5321 §4.2, RFC 2034
//!
//! Ours, not smtp-proto's: that one cuts the parts of an enhanced status code at 255 (`5.7.509`
//! becomes `5.7.255`), takes the enhanced code of the last line and the code of the first, and
//! lets control characters through, which end up in reports and logs. It is the judge in tests.
//!
//! A line ends at LF, with or without CR before it: replies come from the server alone, so nothing
//! can hide behind a line end, and such servers exist.

use memchr::memchr;

/// Bytes of a line that are kept; what is longer is cut. RFC 5321 §4.5.3.1.5 has 512
pub const REPLY_LINE_BYTES_MAX: usize = 2048;
/// Most lines of one reply.
pub const REPLY_LINES_MAX: usize = 128;
/// Most bytes of one reply as it comes.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// A server's reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerReply {
    /// From 200 to 599.
    pub code: u16,
    /// Enhanced status code of the first line that has one; its class is that of `code`. RFC 2034
    pub status: Option<String>,
    /// The text of each line, without codes and control characters.
    pub lines: Vec<String>,
}

/// What kind of reply it is. RFC 5321 §4.2.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// 2xx
    Positive,
    /// 3xx
    Intermediate,
    /// 4xx
    Transient,
    /// 5xx
    Permanent,
}

impl ServerReply {
    /// By the first digit of its code.
    pub fn class(&self) -> Class {
        match self.code / 100 {
            2 => Class::Positive,
            3 => Class::Intermediate,
            4 => Class::Transient,
            _ => Class::Permanent,
        }
    }

    /// All of it in one line: `550 5.1.1 No such user`.
    pub fn text(&self) -> String {
        let mut text = self.code.to_string();
        let words = self.status.iter().chain(&self.lines).filter(|word| !word.is_empty());
        for word in words {
            text.push(' ');
            text.push_str(word);
        }
        text
    }
}

/// Why what came is no reply; nothing behind it can be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A line does not begin with a code and a separator.
    NoCode,
    /// The lines of one reply have different codes. RFC 5321 §4.2.1
    CodesDiffer,
    /// More than `REPLY_LINES_MAX` or `REPLY_BYTES_MAX`.
    TooLong,
}

impl Fault {
    /// For the operator.
    pub fn text(self) -> &'static str {
        match self {
            Fault::NoCode => "the server's reply does not begin with a code",
            Fault::CodesDiffer => "the lines of the server's reply have different codes",
            Fault::TooLong => "the server's reply is too long",
        }
    }
}

/// Collects one reply at a time.
#[derive(Debug, Default)]
pub struct ReplyReader {
    line: Vec<u8>,
    bytes: usize,
    code: u16,
    lines: Vec<String>,
    status: Option<String>,
}

impl ReplyReader {
    /// Takes bytes up to the end of the next reply; says how many, and the reply if it is complete.
    /// After a fault the connection is of no more use.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Option<Result<ServerReply, Fault>>) {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            let end = memchr(b'\n', rest).map(|at| at + 1);
            let piece = &rest[..end.unwrap_or(rest.len())];
            used += piece.len();
            self.bytes = self.bytes.saturating_add(piece.len());
            if self.bytes > REPLY_BYTES_MAX {
                return (used, Some(Err(Fault::TooLong)));
            }
            let room = REPLY_LINE_BYTES_MAX - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if end.is_some()
                && let Some(reply) = self.complete_line()
            {
                return (used, Some(reply));
            }
        }
        (used, None)
    }

    /// Whether a reply has begun.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn complete_line(&mut self) -> Option<Result<ServerReply, Fault>> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((code, is_last, text)) = split(line) else {
            return Some(Err(Fault::NoCode));
        };
        if !self.lines.is_empty() && code != self.code {
            return Some(Err(Fault::CodesDiffer));
        }
        if self.lines.len() >= REPLY_LINES_MAX {
            return Some(Err(Fault::TooLong));
        }
        self.code = code;
        self.add(text);
        is_last.then(|| Ok(self.take()))
    }

    fn add(&mut self, text: &[u8]) {
        let text = clean(text);
        match enhanced(self.code, &text) {
            Some((status, rest)) => {
                self.status.get_or_insert_with(|| status.to_owned());
                self.lines.push(rest.to_owned());
            }
            None => self.lines.push(text),
        }
    }

    fn take(&mut self) -> ServerReply {
        let ReplyReader { code, lines, status, .. } = std::mem::take(self);
        ServerReply { code, status, lines }
    }
}

/// Code, whether it is the last line, and text. A code alone is a last line. RFC 5321 §4.2
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !matches!(digits[0], b'2'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

/// As text that can be shown: it goes into logs, reports and replies of ours.
fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown = |c: char| if c.is_control() { '?' } else { c };
    text.trim_matches([' ', '\t']).chars().map(shown).collect()
}

/// The enhanced status code at the start of `text`, and what follows it, if it fits to `code`.
/// RFC 2034 §4, RFC 3463 §2
fn enhanced(code: u16, text: &str) -> Option<(&str, &str)> {
    let (status, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (class, detail) = status.split_once('.')?;
    let (subject, detail) = detail.split_once('.')?;
    let is_number = |part: &str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let fits = class.len() == 1 && class.parse() == Ok(code / 100);
    (fits && is_number(subject) && is_number(detail)).then(|| (status, rest.trim_start()))
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
