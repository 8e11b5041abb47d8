//! The MIME tree with its offsets, in one pass over the lines. Reads header blocks through `mime`
//! and `envelope`; knows no transfer encoding and no charset.
//!
//! Limits: where parts are nested too deep or too many, the rest is a leaf. Each line that starts
//! with `--` costs one or two hash lookups, however many boundaries are open.

use std::collections::HashMap;

use super::fields::{is_empty_line, line_len, without_line_end};
use super::mime::{self, DefaultType, Kind};
use super::parse::Budget;
use super::{Content, Part, envelope};

/// Parts inside parts; a deeper container is a leaf.
pub(super) const NESTING_MAX: usize = 64;
/// Parts of one message; the last one reaches to the end of the message.
pub(super) const PARTS_MAX: usize = 10_000;

/// Reads the tree.
pub(super) fn walk(bytes: &[u8], budget: &mut Budget) -> Part {
    let open = Boundaries::default();
    let mut walk =
        Walk { bytes, at: 0, line_ends: 0, header_end: 0, stop: None, open, parts: 0, budget };
    walk.entity(DefaultType::Text, 0)
}

/// The delimiter line before which a body ends.
#[derive(Clone, Copy)]
struct Stop {
    /// Which open multipart it belongs to.
    owner: usize,
    /// What it does.
    kind: Delimiter,
}

/// RFC 2046 §5.1.1
#[derive(Clone, Copy, PartialEq)]
enum Delimiter {
    /// `--boundary`: another part follows.
    Next,
    /// `--boundary--`: only the epilogue follows.
    Close,
}

struct Walk<'a> {
    bytes: &'a [u8],
    /// The start of a line; of the delimiter line while `stop` is set.
    at: usize,
    /// Line ends before `at`.
    line_ends: u64,
    /// Where the latest header ended: a line end before it does not belong to a delimiter.
    header_end: usize,
    stop: Option<Stop>,
    open: Boundaries,
    parts: usize,
    budget: &'a mut Budget,
}

impl<'a> Walk<'a> {
    /// Reads one part from its header to the delimiter that ends it.
    fn entity(&mut self, default: DefaultType, depth: usize) -> Part {
        self.parts += 1;
        if self.parts == PARTS_MAX {
            self.open.forget_all();
        }
        let header_start = self.at;
        self.skip_header();
        self.header_end = self.at;
        let header = &self.bytes[header_start..self.at];
        let mut part = mime::describe(header, default, self.budget);
        let body_start = self.at;
        let line_ends = self.line_ends;
        self.content(&mut part, depth);
        let (body_end, ended) = self.body_end(body_start);
        part.header_start = header_start as u64;
        part.body_start = body_start as u64;
        part.body_end = body_end as u64;
        part.lines = self.line_ends - line_ends - ended;
        part
    }

    fn content(&mut self, part: &mut Part, depth: usize) {
        let may_nest = depth < NESTING_MAX && self.parts < PARTS_MAX;
        match mime::kind(part) {
            Kind::Multipart(boundary) if may_nest => {
                let children = self.multipart(boundary, mime::default_inside(part), depth);
                if children.is_empty() {
                    mime::become_text(part);
                } else {
                    part.content = Content::Multipart(children);
                }
            }
            Kind::Message if may_nest => part.content = self.message(depth),
            Kind::Leaf => self.skip_body(),
            Kind::Multipart(_) | Kind::Message => {
                mime::become_octets(part);
                self.skip_body();
            }
        }
    }

    fn multipart(&mut self, boundary: Vec<u8>, inside: DefaultType, depth: usize) -> Vec<Part> {
        let mut children = Vec::new();
        let index = self.open.push(boundary);
        self.skip_body();
        while let Some(stop) = self.stop.filter(|stop| stop.owner == index) {
            self.stop = None;
            self.next_line();
            if stop.kind == Delimiter::Close {
                self.open.pop();
                self.skip_body();
                return children;
            }
            children.push(self.entity(inside, depth + 1));
        }
        self.open.pop();
        children
    }

    fn message(&mut self, depth: usize) -> Content {
        let top = self.entity(DefaultType::Text, depth + 1);
        let header = &self.bytes[top.header_start as usize..top.body_start as usize];
        Content::Message(Box::new(envelope::read(header, self.budget)), Box::new(top))
    }

    /// Where a body ends that began at `body_start`, and how many line ends before `at` belong to
    /// the delimiter.
    fn body_end(&self, body_start: usize) -> (usize, u64) {
        let body = &self.bytes[body_start..self.at];
        match self.stop {
            Some(_) if self.at > self.header_end && body.ends_with(b"\n") => {
                (body_start + without_line_end(body).len(), 1)
            }
            _ => (self.at, 0),
        }
    }

    /// Goes behind the empty line, or to the delimiter or end that comes instead of it.
    fn skip_header(&mut self) {
        while let Some(line) = self.line() {
            self.next_line();
            if is_empty_line(line) {
                return;
            }
        }
    }

    /// Goes to the next delimiter of any open multipart, or to the end.
    fn skip_body(&mut self) {
        if self.open.is_empty() && self.stop.is_none() {
            let rest = &self.bytes[self.at..];
            self.line_ends += memchr::memchr_iter(b'\n', rest).count() as u64;
            self.at = self.bytes.len();
        }
        while self.line().is_some() {
            self.next_line();
        }
    }

    /// The line at `at`, unless it is a delimiter (then `stop` is set) or the end.
    fn line(&mut self) -> Option<&'a [u8]> {
        if self.stop.is_some() || self.at == self.bytes.len() {
            return None;
        }
        let rest = &self.bytes[self.at..];
        let line = &rest[..line_len(rest)];
        self.stop = self.open.delimiter(line);
        if self.stop.is_some() { None } else { Some(line) }
    }

    fn next_line(&mut self) {
        let rest = &self.bytes[self.at..];
        let len = line_len(rest);
        self.line_ends += u64::from(rest[..len].ends_with(b"\n"));
        self.at += len;
    }
}

/// The boundaries of the multiparts that a line is in.
#[derive(Default)]
struct Boundaries {
    /// Outermost first, each with the one outside that has the same boundary.
    stack: Vec<(Vec<u8>, Option<usize>)>,
    /// Where in `stack` the innermost one with this boundary is.
    by_name: HashMap<Vec<u8>, usize>,
}

impl Boundaries {
    fn push(&mut self, boundary: Vec<u8>) -> usize {
        let index = self.stack.len();
        let outside = self.by_name.insert(boundary.clone(), index);
        self.stack.push((boundary, outside));
        index
    }

    fn pop(&mut self) {
        match self.stack.pop() {
            Some((boundary, Some(outside))) if !self.by_name.is_empty() => {
                self.by_name.insert(boundary, outside);
            }
            Some((boundary, _)) => {
                self.by_name.remove(&boundary);
            }
            None => {}
        }
    }

    /// No line is a delimiter any more.
    fn forget_all(&mut self) {
        self.by_name.clear();
    }

    fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether a line is a delimiter of ours; white space may follow it. Deliberately not by prefix
    /// as RFC 2046 §5.1.1 allows: boundaries that begin alike would be confused.
    fn delimiter(&self, line: &[u8]) -> Option<Stop> {
        let text = line.strip_prefix(b"--")?;
        let text = text.trim_ascii_end();
        if let Some(&owner) = self.by_name.get(text) {
            return Some(Stop { owner, kind: Delimiter::Next });
        }
        let owner = *self.by_name.get(text.strip_suffix(b"--")?)?;
        Some(Stop { owner, kind: Delimiter::Close })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(message: &str) -> Part {
        walk(message.as_bytes(), &mut Budget::new())
    }

    /// `TEXT/PLAIN 5` with its bytes, containers with what they hold in brackets.
    fn shape(part: &Part) -> String {
        let kind = format!("{}/{} {}", part.media_type, part.subtype, part.body_bytes());
        match &part.content {
            Content::Leaf => kind,
            Content::Message(_, top) => format!("{kind} [{}]", shape(top)),
            Content::Multipart(children) => {
                let children: Vec<_> = children.iter().map(shape).collect();
                format!("{} [{}]", part.subtype, children.join(", "))
            }
        }
    }

    const MIXED: &str = "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n";

    #[test]
    fn multiparts_are_split_at_their_delimiters() {
        let cases = [
            ("--b\r\n\r\none\r\n--b\r\n\r\ntwo!\r\n--b--\r\n", "[TEXT/PLAIN 3, TEXT/PLAIN 4]"),
            ("before\r\n--b\r\n\r\none\r\n--b--\r\nafter\r\n--b\r\n\r\nx", "[TEXT/PLAIN 3]"),
            ("--b\r\n\r\nno close\r\n", "[TEXT/PLAIN 10]"),
            ("--b\n\none\n--b--", "[TEXT/PLAIN 3]"),
            ("--b  \t\r\n\r\none\r\n--b-- \r\n", "[TEXT/PLAIN 3]"),
            ("--b\r\n\r\n--bb\r\n-- b\r\n--b-\r\n--b--", "[TEXT/PLAIN 16]"),
            ("--b\r\n--b\r\n\r\n\r\n--b--\r\n", "[TEXT/PLAIN 0, TEXT/PLAIN 0]"),
            ("--b\r\nSubject: x\r\n--b--\r\n", "[TEXT/PLAIN 0]"),
            ("--b--\r\n", "PLAIN"),
            ("nothing", "PLAIN"),
        ];
        for (body, expected) in cases {
            let shape = shape(&tree(&format!("{MIXED}{body}")));
            assert!(shape.contains(expected), "{body:?}: {shape}");
        }
    }

    #[test]
    fn an_outer_delimiter_ends_what_is_still_open() {
        let message = concat!(
            "Content-Type: multipart/mixed; boundary=o\r\n\r\n",
            "--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nx\r\n",
            "--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: cut\r\n",
            "--o\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\nyy\r\n--o--\r\n",
            "--o\r\n\r\nzzz\r\n--o--\r\n",
        );
        let expected = "MIXED [MIXED [TEXT/PLAIN 1], MESSAGE/RFC822 14 [TEXT/PLAIN 0], \
            MIXED [TEXT/PLAIN 2], TEXT/PLAIN 3]";
        assert_eq!(shape(&tree(message)), expected);
    }

    #[test]
    fn types_default_as_the_standard_says() {
        let cases = [
            ("", "TEXT/PLAIN 1"),
            ("Content-Type: text\r\n", "TEXT/PLAIN 1"),
            ("Content-Type: text/\r\n", "TEXT/PLAIN 1"),
            ("Content-Type: te xt/html\r\n", "TEXT/PLAIN 1"),
            ("Content-Type: (c) text (d) / html ; x\r\n", "TEXT/HTML 1"),
            ("Content-Type: multipart/mixed\r\n", "TEXT/PLAIN 1"),
            ("Content-Type: multipart/mixed; boundary=\"\"\r\n", "TEXT/PLAIN 1"),
            ("Content-Type: message/rfc822\r\n", "MESSAGE/RFC822 1 [TEXT/PLAIN 0]"),
            (
                "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n",
                "APPLICATION/OCTET-STREAM 1",
            ),
            ("Content-Type: message/Global\r\n", "MESSAGE/GLOBAL 1 [TEXT/PLAIN 0]"),
            (
                "Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n",
                "MESSAGE/GLOBAL 1",
            ),
            ("Content-Type: image/png\r\nContent-Type: text/html\r\n", "IMAGE/PNG 1"),
        ];
        for (header, expected) in cases {
            assert_eq!(shape(&tree(&format!("{header}\r\n\n"))), expected, "{header}");
        }
        let digest = MIXED.replace("mixed", "digest") + "--b\r\n\r\nSubject: x\r\n\r\ny\r\n--b--";
        assert_eq!(shape(&tree(&digest)), "DIGEST [MESSAGE/RFC822 15 [TEXT/PLAIN 1]]");
        let plain = tree("\r\n").parameters;
        assert_eq!(plain, [(String::from("CHARSET"), b"us-ascii".to_vec())]);
    }

    #[test]
    fn fields_of_a_part_are_kept_as_they_are_shown() {
        let part = tree(concat!(
            "Content-Type: text/plain; charset=utf-8; format=flowed\r\n",
            "Content-Transfer-Encoding: Quoted-Printable (x)\r\nContent-ID: <a@b>\r\n",
            "Content-Description: =?utf-8?Q?=C3=A4?=\r\nContent-MD5: abc==\r\n",
            "Content-Disposition: Attachment;\r\n filename*=utf-8''%C3%A4.txt\r\n",
            "Content-Language: de, en-GB\r\nContent-Location: http://x/\r\n\r\none\r\ntwo\r\n",
        ));
        let text = |value: &str| Some(value.as_bytes().to_vec());
        let pair = |name: &str, value: &str| (String::from(name), value.as_bytes().to_vec());
        assert_eq!(part.parameters, [pair("CHARSET", "utf-8"), pair("FORMAT", "flowed")]);
        assert_eq!((part.encoding.as_str(), part.lines), ("QUOTED-PRINTABLE", 2));
        assert_eq!((part.id, part.md5), (text("<a@b>"), text("abc==")));
        assert_eq!(part.description, text("=?utf-8?Q?=C3=A4?="));
        let file_name = pair("FILENAME*", "utf-8''%C3%A4.txt");
        assert_eq!(part.disposition, Some((String::from("ATTACHMENT"), vec![file_name])));
        assert_eq!(part.language, [b"de".to_vec(), b"en-GB".to_vec()]);
        assert_eq!(part.location, text("http://x/"));
    }

    #[test]
    fn lines_are_the_line_ends_of_the_body() {
        let message = format!("{MIXED}--b\r\n\r\none\r\ntwo\r\n\r\n--b--\r\n");
        let part = tree(&message);
        let Content::Multipart(children) = &part.content else { panic!("no multipart") };
        assert_eq!((children[0].lines, children[0].body_bytes()), (2, 10));
        assert_eq!(part.lines, 6);
    }

    fn depth(part: &Part) -> usize {
        match &part.content {
            Content::Leaf => 0,
            Content::Message(_, top) => 1 + depth(top),
            Content::Multipart(children) => {
                1 + children.iter().map(depth).max().unwrap_or_default()
            }
        }
    }

    #[test]
    fn nesting_stops_at_its_limit() {
        let nested =
            |levels: usize| "Content-Type: message/rfc822\r\n\r\n".repeat(levels) + "\r\nx";
        let at_limit = tree(&nested(NESTING_MAX));
        assert_eq!(depth(&at_limit), NESTING_MAX);
        assert!(shape(&at_limit).contains("[TEXT/PLAIN 1]"));
        let beyond = tree(&nested(NESTING_MAX + 1));
        assert_eq!(depth(&beyond), NESTING_MAX);
        assert!(shape(&beyond).contains("[APPLICATION/OCTET-STREAM 3]"));
        assert_eq!(depth(&tree(&nested(100_000))), NESTING_MAX);
    }

    #[test]
    fn the_last_part_allowed_holds_the_rest() {
        let children = |count: usize| {
            let message = MIXED.to_owned() + &"--b\r\n\r\nx\r\n".repeat(count) + "--b--\r\n";
            match tree(&message).content {
                Content::Multipart(children) => children,
                _ => panic!("no multipart"),
            }
        };
        // the multipart itself is one of them
        let below_limit = children(PARTS_MAX - 2);
        assert_eq!(below_limit.len(), PARTS_MAX - 2);
        assert_eq!(below_limit[PARTS_MAX - 3].body_bytes(), 1);
        let beyond = children(PARTS_MAX + 1);
        assert_eq!(beyond.len(), PARTS_MAX - 1);
        assert_eq!(beyond[PARTS_MAX - 3].body_bytes(), 1);
        assert!(beyond[PARTS_MAX - 2].body_bytes() > 20);
    }
}
