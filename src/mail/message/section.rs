//! From an IMAP section to a range of the stored bytes. RFC 3501 §6.4.5. Knows no message bytes.

use std::ops::Range;

use super::{Content, Part};

/// Which bytes of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionText {
    /// `[]`: the whole message; `[1]`: the part's body.
    Body,
    /// `[HEADER]`, `[1.HEADER]`: of the message or of one inside it, with its empty line.
    Header,
    /// `[TEXT]`, `[1.TEXT]`: what follows that header.
    Text,
    /// `[1.MIME]`: the part's own header, with its empty line.
    Mime,
}

/// The range of a section; `None` where the message has no such part.
///
/// Offsets count from the first stored byte: of the whole message (empty path), what the instance
/// has in front of its stored bytes belongs to `Body` and `Header` too, and the caller puts it
/// there.
pub fn section(top: &Part, path: &[u32], text: SectionText) -> Option<Range<u64>> {
    let Some(part) = part_at(top, path) else {
        return if path.is_empty() { of_message(top, text) } else { None };
    };
    match (text, &part.content) {
        (SectionText::Body, _) => Some(part.body_start..part.body_end),
        (SectionText::Mime, _) => Some(part.header_start..part.body_start),
        (_, Content::Message(_, inner)) => of_message(inner, text),
        _ => None,
    }
}

fn of_message(top: &Part, text: SectionText) -> Option<Range<u64>> {
    match text {
        SectionText::Body => Some(top.header_start..top.body_end),
        SectionText::Header => Some(top.header_start..top.body_start),
        SectionText::Text => Some(top.body_start..top.body_end),
        SectionText::Mime => None,
    }
}

/// The part with this number. Part 1 of a message that is not multipart is its body. `None` for an
/// empty path and where there is no such part.
pub fn part_at<'a>(top: &'a Part, path: &[u32]) -> Option<&'a Part> {
    let (&first, rest) = path.split_first()?;
    rest.iter().try_fold(in_message(top, first)?, |part, &number| match &part.content {
        Content::Multipart(children) => nth(children, number),
        Content::Message(_, inner) => in_message(inner, number),
        Content::Leaf => None,
    })
}

fn in_message(top: &Part, number: u32) -> Option<&Part> {
    match &top.content {
        Content::Multipart(children) => nth(children, number),
        _ => (number == 1).then_some(top),
    }
}

fn nth(children: &[Part], number: u32) -> Option<&Part> {
    children.get(usize::try_from(number).ok()?.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::message::parse;

    fn read<'a>(message: &'a str, path: &[u32], text: SectionText) -> Option<&'a str> {
        let parsed = parse(message.as_bytes());
        let range = section(&parsed.structure, path, text)?;
        Some(&message[range.start as usize..range.end as usize])
    }

    /// The shape of the example in RFC 3501 §6.4.5.
    const NESTED: &str = concat!(
        "Subject: top\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\npreamble\r\n",
        "--out\r\n\r\none\r\n",
        "--out\r\nContent-Type: message/rfc822\r\n\r\n",
        "Subject: leaf\r\n\r\nleaf body\r\n\r\n",
        "--out\r\nContent-Type: message/rfc822\r\n\r\n",
        "Subject: multi\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n",
        "--in\r\nContent-Type: text/plain\r\n\r\nplain\r\n",
        "--in\r\nContent-Type: text/html\r\n\r\n<b>\r\n--in--\r\n",
        "--out--\r\nepilogue\r\n",
    );

    #[test]
    fn sections_are_the_bytes_that_the_standard_names() {
        use SectionText::{Body, Header, Mime, Text};
        let nested_header =
            "Subject: multi\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n";
        let cases: &[(&[u32], SectionText, Option<&str>)] = &[
            (&[], Body, Some(NESTED)),
            (&[], Mime, None),
            (&[1], Body, Some("one")),
            (&[1], Mime, Some("\r\n")),
            (&[1], Header, None),
            (&[1, 1], Body, None),
            (&[2], Body, Some("Subject: leaf\r\n\r\nleaf body\r\n")),
            (&[2], Mime, Some("Content-Type: message/rfc822\r\n\r\n")),
            (&[2], Header, Some("Subject: leaf\r\n\r\n")),
            (&[2], Text, Some("leaf body\r\n")),
            (&[2, 1], Body, Some("leaf body\r\n")),
            (&[2, 1], Mime, Some("Subject: leaf\r\n\r\n")),
            (&[2, 2], Body, None),
            (&[3], Header, Some(nested_header)),
            (&[3, 1], Body, Some("plain")),
            (&[3, 2], Body, Some("<b>")),
            (&[3, 2], Mime, Some("Content-Type: text/html\r\n\r\n")),
            (&[3, 3], Body, None),
            (&[3, 0], Body, None),
            (&[4], Body, None),
        ];
        for (path, text, expected) in cases {
            assert_eq!(read(NESTED, path, *text), *expected, "{path:?} {text:?}");
        }
        let header = read(NESTED, &[], Header).expect("header");
        assert!(header.ends_with("boundary=out\r\n\r\n"));
        assert!(read(NESTED, &[], Text).expect("text").starts_with("preamble"));
    }

    #[test]
    fn part_one_of_a_plain_message_is_its_body() {
        let message = "Subject: a\r\n\r\nbody\r\n";
        assert_eq!(read(message, &[1], SectionText::Body), Some("body\r\n"));
        assert_eq!(read(message, &[1], SectionText::Mime), Some("Subject: a\r\n\r\n"));
        assert_eq!(read(message, &[2], SectionText::Body), None);
        assert_eq!(read(message, &[1, 1], SectionText::Body), None);
    }
}
