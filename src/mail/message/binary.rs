//! A message whose parts may hold any octets (BINARYMIME), as lines: what is binary becomes base64,
//! everything else keeps its octets but for its line ends. The decoded content of every part stays
//! what it was. RFC 3030 §3, RFC 2045 §6

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fields::{fields, line_len, without_line_end};
use super::{Content, Part};

/// Octets that one line of base64 stands for. RFC 2045 §6.8
const LINE_OCTETS: usize = 57;

/// The field that says how a part is encoded.
const ENCODING: &[u8] = b"Content-Transfer-Encoding";

/// `bytes` as lines that end in CRLF, without NUL; `top` is its structure. A message that is so
/// already comes out as it is.
pub fn as_lines(bytes: &[u8], top: &Part) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 3);
    part(bytes, top, &mut out);
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Whether `as_lines` would leave out a NUL that may mean something: in a header, between parts, or
/// in an encoding other than base64, which ignores it. RFC 2045 §6.8
pub fn loses_nul(bytes: &[u8], of: &Part) -> bool {
    let has_nul = |from, to| memchr::memchr(0, range(bytes, (from, to))).is_some();
    let body = range(bytes, (of.body_start, of.body_end));
    let in_body = match &of.content {
        Content::Leaf if must_be_encoded(of, body) || of.encoding == "BASE64" => false,
        Content::Leaf => has_nul(of.body_start, of.body_end),
        Content::Multipart(children) => {
            let mut at = of.body_start;
            let lost = children.iter().any(|child| {
                let between = has_nul(at, child.header_start);
                at = child.body_end;
                between || loses_nul(bytes, child)
            });
            lost || has_nul(at, of.body_end)
        }
        Content::Message(_, inner) => loses_nul(bytes, inner),
    };
    in_body || has_nul(of.header_start, of.body_start)
}

fn part(bytes: &[u8], of: &Part, out: &mut Vec<u8>) {
    let header = range(bytes, (of.header_start, of.body_start));
    let body = range(bytes, (of.body_start, of.body_end));
    match &of.content {
        Content::Leaf if must_be_encoded(of, body) => {
            head(header, Some(b"base64"), out);
            base64(body, out);
        }
        Content::Leaf => {
            head(header, None, out);
            lines(body, out);
        }
        Content::Multipart(children) => {
            head(header, container_encoding(of), out);
            let mut at = of.body_start;
            for child in children {
                lines(range(bytes, (at, child.header_start)), out);
                part(bytes, child, out);
                at = child.body_end;
            }
            lines(range(bytes, (at, of.body_end)), out);
        }
        Content::Message(_, inner) => {
            head(header, container_encoding(of), out);
            part(bytes, inner, out);
        }
    }
}

fn range(bytes: &[u8], (start, end): (u64, u64)) -> &[u8] {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(at(start)..at(end)).unwrap_or_default()
}

/// Binary by its own word, or because no line could hold it. What is encoded already may only be
/// broken: its line ends are mended, and a NUL in it means nothing.
fn must_be_encoded(part: &Part, body: &[u8]) -> bool {
    match part.encoding.as_str() {
        "BINARY" => true,
        "7BIT" | "8BIT" => body.contains(&0) || has_bare_line_end(body),
        _ => false,
    }
}

/// A container may be in 8BIT at most, once what is inside is lines. RFC 2045 §6.4
fn container_encoding(part: &Part) -> Option<&'static [u8]> {
    (part.encoding == "BINARY").then_some(b"8bit")
}

fn has_bare_line_end(body: &[u8]) -> bool {
    let mut after_cr = false;
    for byte in body {
        if after_cr != (*byte == b'\n') {
            return true;
        }
        after_cr = *byte == b'\r';
    }
    after_cr
}

/// A header with another encoding, where there is one to set.
fn head(header: &[u8], encoding: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(encoding) = encoding else { return lines(header, out) };
    for field in fields(header).filter(|field| !field.name.eq_ignore_ascii_case(ENCODING)) {
        lines(field.raw, out);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(&[ENCODING, b": ", encoding, b"\r\n\r\n"].concat());
}

/// Line ends become CRLF, bare CR and bare LF too; NUL is left out.
fn lines(mut text: &[u8], out: &mut Vec<u8>) {
    while !text.is_empty() {
        let (line, rest) = text.split_at(line_len(text));
        text = rest;
        let ends = line.ends_with(b"\n");
        let mut pieces = without_line_end(line).split(|byte| *byte == b'\r').peekable();
        while let Some(piece) = pieces.next() {
            out.extend(piece.iter().copied().filter(|byte| *byte != 0));
            if pieces.peek().is_some() || ends {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Without a line end behind the last line: it belongs to the delimiter that follows.
fn base64(body: &[u8], out: &mut Vec<u8>) {
    let mut first = true;
    for piece in body.chunks(LINE_OCTETS) {
        if !std::mem::replace(&mut first, false) {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(STANDARD.encode(piece).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse;
    use super::*;

    fn converted(bytes: &[u8]) -> Vec<u8> {
        as_lines(bytes, &parse(bytes).structure)
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(converted(bytes)).expect("text")
    }

    #[test]
    fn a_binary_part_becomes_base64_between_parts_that_stay() {
        let message = b"Content-Type: multipart/mixed; boundary=b\r\n\
            Content-Transfer-Encoding: binary\r\nSubject: x\r\n\r\npreamble\r\n--b\r\n\
            Content-Type: application/octet-stream\r\n\
            content-transfer-encoding: BINARY\r\nX: y\r\n\r\n\0\r\r\n--b\n\xff\r\n--b\r\n\r\n\
            text\r\n--b--\r\nepilogue";
        let expected = "Content-Type: multipart/mixed; boundary=b\r\nSubject: x\r\n\
            Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n--b\r\n\
            Content-Type: application/octet-stream\r\nX: y\r\n\
            Content-Transfer-Encoding: base64\r\n\r\n";
        let shown = converted(message);
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.starts_with(expected), "{shown}");
        assert!(shown.ends_with("\r\n--b\r\n\r\ntext\r\n--b--\r\nepilogue\r\n"), "{shown}");
    }

    #[test]
    fn a_whole_message_may_be_one_binary_part() {
        let message = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\xff";
        let expected =
            "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAP8=\r\n";
        assert_eq!(text(message), expected);
    }

    #[test]
    fn a_part_inside_an_attached_message_is_found() {
        let message = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n\
            Content-Transfer-Encoding: binary\r\n\r\n\0\0\0";
        let expected = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n";
        assert_eq!(text(message), expected);
    }

    #[test]
    fn what_no_line_can_hold_is_encoded_whatever_it_says() {
        assert_eq!(
            text(b"A: b\r\n\r\n\0"),
            "A: b\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n"
        );
        assert_eq!(text(b"A: b\r\n\r\nx\ny"), {
            "A: b\r\nContent-Transfer-Encoding: base64\r\n\r\neAp5\r\n"
        });
        let quoted = b"Content-Transfer-Encoding: quoted-printable\r\n\r\na\0=\nb\rc";
        let mended = "Content-Transfer-Encoding: quoted-printable\r\n\r\na=\r\nb\r\nc\r\n";
        assert_eq!(text(quoted), mended);
    }

    #[test]
    fn a_nul_that_no_encoding_can_keep_is_noticed() {
        let lost = |text: &str| {
            let bytes = text.replace('^', "\0").replace('\n', "\r\n").into_bytes();
            loses_nul(&bytes, &parse(&bytes).structure)
        };
        let multipart = |preamble: &str, part: &str, epilogue: &str| {
            format!(
                "Content-Type: multipart/mixed; boundary=b\n\n\
                 {preamble}\n--b\n{part}\n--b\n\ntext\n--b--\n{epilogue}\n"
            )
        };
        let encoded = |encoding: &str| format!("Content-Transfer-Encoding: {encoding}\n\na^b");
        for kept in ["7bit", "8bit", "binary", "base64"] {
            assert!(!lost(&multipart("x", &encoded(kept), "y")), "{kept}");
            let attached = format!("Content-Type: message/rfc822\n\n{}", encoded(kept));
            assert!(!lost(&multipart("x", &attached, "y")), "{kept}");
        }
        assert!(lost(&multipart("x", &encoded("quoted-printable"), "y")));
        assert!(lost(&multipart("x", "Subject: a^b\n\nx", "y")));
        assert!(lost(&multipart("x", "Content-Type: message/rfc822\n\nA: ^\n\nx", "y")));
        assert!(lost(&multipart("^", "\nx", "y")) && lost(&multipart("x", "\nx", "^")));
        assert!(lost("A: ^\n\nx") && !lost(&multipart("x", "\nx", "y")));
    }

    const PIECES: [&[u8]; 11] = [
        b"Content-Type: multipart/mixed; boundary=a\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Transfer-Encoding: binary\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"--a\r\n",
        b"--a--\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0\xff",
        b"text\r\n",
    ];

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = proptest::sample::select(&PIECES[..]);
        proptest::collection::vec(piece, 0..40).prop_map(|all| all.concat())
    }

    proptest! {
        #[test]
        fn the_outcome_is_lines(bytes in pieces()) {
            let out = converted(&bytes);
            prop_assert!(!out.contains(&0) && !has_bare_line_end(&out), "{:?}", out);
            prop_assert!(out.is_empty() || out.ends_with(b"\r\n"));
        }

        #[test]
        fn a_binary_body_is_what_the_base64_says(
            body in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let head = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n";
            let out = converted(&[&head[..], &body].concat());
            let structure = parse(&out).structure;
            let encoded = range(&out, (structure.body_start, structure.body_end));
            let encoded: Vec<u8> =
                encoded.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            prop_assert_eq!(STANDARD.decode(encoded).expect("base64"), body);
        }

        #[test]
        fn lines_stay_as_they_are(
            words in proptest::collection::vec("[a-z :]{0,20}", 0..20),
        ) {
            let message: String = words.iter().map(|word| format!("{word}\r\n")).collect();
            prop_assert_eq!(text(message.as_bytes()), message);
        }
    }
}
