//! The folded text of a message for SEARCH: header fields, those of all parts, and the bodies of
//! all text parts (and of reports such as message/delivery-status), decoded.
//! Knows offsets from `structure`; never gives mail-parser more than one bounded body.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::fields::{fields, line_len};
use super::parameters::extended_text;
use super::{Content, Part, SearchText, encoded_word};
use crate::mail::fold::fold_onto;

/// Folded text kept of one message, header and body together; what is beyond is not found.
pub const SEARCH_TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Folded header text kept of one message, that of its parts included.
const HEADER_TEXT_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one part that are decoded.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads the text of a whole message.
pub(super) fn extract(bytes: &[u8], top: &Part) -> SearchText {
    let mut header = String::new();
    header_text(slice(bytes, top.header_start, top.body_start), &mut header, HEADER_TEXT_BYTES_MAX);
    part_fields(bytes, top, &mut header);
    let mut body = String::new();
    let limit = SEARCH_TEXT_BYTES_MAX - header.len();
    part_text(bytes, top, &mut body, limit);
    SearchText { header, body }
}

fn slice(bytes: &[u8], start: u64, end: u64) -> &[u8] {
    bytes.get(start as usize..end as usize).unwrap_or_default()
}

/// A line `name: value` for each field.
fn header_text(header: &[u8], out: &mut String, limit: usize) {
    for field in fields(header).filter(|field| !field.name.is_empty()) {
        if out.len() >= limit {
            return;
        }
        let value = encoded_word::decode(field.value);
        line((&String::from_utf8_lossy(field.name), value.trim()), out, limit);
    }
}

fn line((name, value): (&str, &str), out: &mut String, limit: usize) {
    fold_onto(out, name, limit);
    fold_onto(out, ": ", limit);
    fold_onto(out, value, limit);
    if out.len() < limit {
        out.push('\n');
    }
}

/// The fields that belong to the message itself, of `SearchText::header`: those of its parts follow
/// behind an empty line, and are no fields of the message that has them inside.
pub fn own_fields(header: &str) -> &str {
    apart(header).0
}

/// The fields of the parts, of `SearchText::header`.
pub fn fields_of_parts(header: &str) -> &str {
    apart(header).1
}

fn apart(header: &str) -> (&str, &str) {
    match memchr::memmem::find(header.as_bytes(), b"\n\n") {
        _ if header.starts_with('\n') => ("", &header[1..]),
        Some(at) => (&header[..at + 1], &header[at + 2..]),
        None => (header, ""),
    }
}

/// Behind an empty line, what belongs to TEXT beside the top header: MIME fields of all parts, and
/// decoded parameters. RFC 9051 §6.4.4
fn part_fields(bytes: &[u8], top: &Part, out: &mut String) {
    let before = out.len();
    if before >= HEADER_TEXT_BYTES_MAX {
        return;
    }
    out.push('\n');
    fields_below(bytes, top, out);
    if out.len() == before + 1 {
        out.truncate(before);
    }
}

/// The header of the message inside a message is text of the body already.
fn fields_below(bytes: &[u8], part: &Part, out: &mut String) {
    let header = |part: &Part| slice(bytes, part.header_start, part.body_start);
    decoded_parameters(header(part), part, out);
    match &part.content {
        Content::Multipart(children) => {
            for child in children {
                if out.len() >= HEADER_TEXT_BYTES_MAX {
                    return;
                }
                header_text(header(child), out, HEADER_TEXT_BYTES_MAX);
                fields_below(bytes, child, out);
            }
        }
        Content::Message(_, top) => fields_below(bytes, top, out),
        Content::Leaf => {}
    }
}

/// A line `NAME: value` for each parameter that stands in the header in sections, or encoded, or
/// both: nobody looks for it in that form. RFC 2231
fn decoded_parameters(header: &[u8], part: &Part, out: &mut String) {
    let in_disposition = part.disposition.iter().flat_map(|(_, parameters)| parameters);
    let mut all = part.parameters.iter().chain(in_disposition).peekable();
    if all.peek().is_none() || memchr::memchr(b'*', header).is_none() {
        return;
    }
    let has_sections = memchr::memmem::find(header, b"*0").is_some();
    for (name, value) in all.filter(|(name, _)| has_sections || name.ends_with('*')) {
        if out.len() >= HEADER_TEXT_BYTES_MAX {
            return;
        }
        let text = extended_text(value).filter(|_| name.ends_with('*'));
        let text = text.unwrap_or_else(|| encoded_word::decode(value));
        line((name.trim_end_matches('*'), text.trim()), out, HEADER_TEXT_BYTES_MAX);
    }
}

fn part_text(bytes: &[u8], part: &Part, out: &mut String, limit: usize) {
    if out.len() >= limit {
        return;
    }
    match &part.content {
        Content::Multipart(children) => {
            children.iter().for_each(|child| part_text(bytes, child, out, limit));
        }
        Content::Message(_, top) => {
            header_text(slice(bytes, top.header_start, top.body_start), out, limit);
            part_text(bytes, top, out, limit);
        }
        Content::Leaf if matches!(part.media_type.as_str(), "TEXT" | "MESSAGE") => {
            fold_onto(out, &leaf_text(bytes, part), limit);
            if out.len() < limit {
                out.push('\n');
            }
        }
        Content::Leaf => {}
    }
}

fn leaf_text(bytes: &[u8], part: &Part) -> String {
    let body = slice(bytes, part.body_start, part.body_end);
    let body = &body[..body.len().min(PART_BYTES_MAX)];
    let decoded = match part.encoding.as_str() {
        "BASE64" => base64_decode(body).map_or(Cow::Borrowed(body), Cow::Owned),
        "QUOTED-PRINTABLE" => Cow::Owned(quoted_printable(body)),
        _ => Cow::Borrowed(body),
    };
    let charset = part.parameters.iter().find(|(name, _)| name == "CHARSET");
    let text = decode_charset(charset.map(|(_, value)| value.as_slice()), &decoded);
    if part.subtype == "HTML" { html_to_text(&text) } else { text.into_owned() }
}

/// A line that is not quoted-printable stays as it is.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    if let Some(decoded) = quoted_printable_decode(body) {
        return decoded;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(line_len(rest));
        match quoted_printable_decode(line) {
            Some(decoded) => out.extend(decoded),
            None => out.extend_from_slice(line),
        }
        rest = after;
    }
    out
}

/// Text in a named charset; without one, or with one that nobody knows, UTF-8 if it is that,
/// otherwise windows-1252, in which no byte is wrong.
pub(super) fn decode_charset<'a>(charset: Option<&[u8]>, bytes: &'a [u8]) -> Cow<'a, str> {
    let named = charset.map(<[u8]>::trim_ascii).filter(|name| !is_ascii_or_utf8(name));
    if let Some(decode) = named.and_then(charset_decoder) {
        return Cow::Owned(decode(bytes));
    }
    match (std::str::from_utf8(bytes), charset_decoder(b"windows-1252")) {
        (Ok(text), _) => Cow::Borrowed(text),
        (Err(_), Some(decode)) => Cow::Owned(decode(bytes)),
        (Err(_), None) => String::from_utf8_lossy(bytes),
    }
}

/// These names are often wrong: their text is looked at first.
fn is_ascii_or_utf8(charset: &[u8]) -> bool {
    [b"us-ascii".as_slice(), b"ascii", b"utf-8", b"utf8"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(charset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::fold::fold;
    use crate::mail::message::parse;

    fn text(message: &[u8]) -> SearchText {
        parse(message).text
    }

    #[test]
    fn header_text_is_a_decoded_folded_line_for_each_field() {
        let text = text(b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\tan alle\r\nFROM: a@b\r\n\r\nx");
        assert_eq!(
            text.header,
            fold("subject: Gr\u{fc}\u{df}e an alle") + "\n" + &fold("from: a@b") + "\n"
        );
    }

    #[test]
    fn text_parts_are_decoded_wherever_they_are() {
        let message = concat!(
            "Content-Type: multipart/mixed; boundary=o\r\n\r\n",
            "--o\r\nContent-Type: text/plain; charset=iso-8859-1\r\n",
            "Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=\r\nn and =ZZ\r\n",
            "--o\r\nContent-Type: text/html\r\n\r\n<p class='hidden'>Rot &amp; Blau</p>\r\n",
            "--o\r\nContent-Type: application/pdf\r\n\r\nsecret\r\n",
            "--o\r\nContent-Type: message/rfc822\r\n\r\n",
            "Subject: inner\r\nContent-Transfer-Encoding: base64\r\n\r\nR2VsYg==\r\n",
            "--o--\r\n",
        );
        let body = text(message.as_bytes()).body;
        for found in ["gr\u{fc}n", "=zz", "rot & blau", "subject: inner", "gelb"] {
            assert!(body.contains(&fold(found)), "{found} in {body}");
        }
        for absent in ["hidden", "secret", "<p"] {
            assert!(!body.contains(&fold(absent)), "{absent} in {body}");
        }
    }

    #[test]
    fn fields_of_parts_stand_apart_from_those_of_the_message() {
        let message = concat!(
            "Subject: top\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n",
            "--o\r\nContent-Type: text/plain\r\n\r\nhello\r\n",
            "--o\r\nContent-Type: application/pdf; name=\"=?utf-8?Q?R=C3=BCbe=2Epdf?=\"\r\n",
            "Content-Disposition: attachment;\r\n filename*0*=iso-8859-1'de'Gr%FC;\r\n",
            " filename*1*=n%2E; filename*2=pdf\r\nContent-ID: <id@x>\r\n",
            "Content-Description: the\r\n plan\r\n\r\nx\r\n",
            "--o\r\nContent-Type: message/rfc822; x*0=or; x*1=ange\r\n\r\n",
            "Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n",
            "--i\r\nContent-Type: image/png; name*=utf-8''%C3%96l\r\n\r\nx\r\n--i--\r\n",
            "--o--\r\n",
        );
        let text = text(message.as_bytes());
        let own = "SUBJECT: TOP\nCONTENT-TYPE: MULTIPART/MIXED; BOUNDARY=O\n";
        assert_eq!(own_fields(&text.header), own);
        let parts = fields_of_parts(&text.header);
        let lines = [
            "content-type: text/plain",
            "content-type: application/pdf; name=\"r\u{fc}be.pdf\"",
            "name: r\u{fc}be.pdf",
            "filename: gr\u{fc}n.pdf",
            "content-id: <id@x>",
            "content-description: the plan",
            "content-type: message/rfc822; x*0=or; x*1=ange",
            "x: orange",
            "content-type: image/png; name*=utf-8''%c3%96l",
            "name: \u{f6}l",
        ];
        for line in lines {
            assert!(parts.lines().any(|found| found == fold(line)), "{line} in {parts}");
        }
        assert!(!parts.contains("INNER"), "is text of the body");
        assert!(!text.body.contains("PDF") && text.body.contains("SUBJECT: INNER"));
        assert_eq!(text.header, format!("{own}\n{parts}"));
    }

    #[test]
    fn a_message_without_parts_or_without_a_header_stands_apart_too() {
        let plain = text(b"Subject: a\r\nContent-Type: text/plain; x=y*0\r\n\r\nx").header;
        assert_eq!((own_fields(&plain), fields_of_parts(&plain)), {
            ("SUBJECT: A\nCONTENT-TYPE: TEXT/PLAIN; X=Y*0\n", "X: Y*0\n")
        });
        let plain = text(b"Subject: a\r\n\r\n\r\nx").header;
        assert_eq!((own_fields(&plain), fields_of_parts(&plain)), ("SUBJECT: A\n", ""));
        assert_eq!((own_fields("\nA: B\n"), fields_of_parts("\nA: B\n")), ("", "A: B\n"));
        assert_eq!((own_fields(""), fields_of_parts("")), ("", ""));
    }

    #[test]
    fn fields_of_parts_share_the_limit_of_the_header() {
        let top = "Content-Type: multipart/mixed; boundary=o\r\n";
        let line = |bytes: usize| format!("X: {}\r\n", "n".repeat(bytes - "X: \n".len()));
        let lines = |bytes: usize| line(1024).repeat(bytes / 1024 - 1) + &line(1024 + bytes % 1024);
        let header = |own: usize, part: usize| {
            let own = lines(own + 1 - top.len()) + top;
            let part = lines(part);
            text(format!("{own}\r\n--o\r\n{part}\r\nx\r\n--o--\r\n").as_bytes()).header
        };
        let room = HEADER_TEXT_BYTES_MAX - 5_000 - 1;
        let whole = header(5_000, room);
        assert_eq!((own_fields(&whole).len(), fields_of_parts(&whole).len()), (5_000, room));
        assert!(whole.ends_with('\n'));
        let cut = header(5_000, room + 1);
        assert_eq!((cut.len(), cut.ends_with('\n')), (HEADER_TEXT_BYTES_MAX, false));
        for (left, parts) in [(0, ""), (1, ""), (2, "X"), (3, "X:")] {
            let full = header(HEADER_TEXT_BYTES_MAX - left, 5_000);
            assert_eq!(own_fields(&full).len(), HEADER_TEXT_BYTES_MAX - left);
            assert_eq!(fields_of_parts(&full), parts);
        }
    }

    #[test]
    fn text_is_cut_at_its_limit() {
        let header = "Subject: a\r\n\r\n";
        let kept = |bytes: usize| {
            let text = text(format!("{header}{}", "x".repeat(bytes)).as_bytes());
            text.header.len() + text.body.len()
        };
        let room = SEARCH_TEXT_BYTES_MAX - "SUBJECT: A\n".len();
        assert_eq!(kept(room), SEARCH_TEXT_BYTES_MAX);
        assert_eq!(kept(room + 1), SEARCH_TEXT_BYTES_MAX);
        assert_eq!(kept(room - 2), SEARCH_TEXT_BYTES_MAX - 1);
    }

    #[test]
    fn undeclared_bytes_are_utf8_or_windows_1252() {
        assert_eq!(decode_charset(None, "\u{e4}".as_bytes()), "\u{e4}");
        assert_eq!(decode_charset(Some(b"us-ascii"), b"\xe4"), "\u{e4}");
        assert_eq!(decode_charset(Some(b"utf-7"), b"+AOQ-"), "\u{e4}");
        assert_eq!(decode_charset(Some(b"nonsense"), "\u{20ac}".as_bytes()), "\u{20ac}");
    }
}
