//! Messages inside of a message that its structure does not show: encoded ones, which MIME forbids
//! and programs send all the same, files of mail, bare headers. RFC 2045 §6.4, RFC 6533 §6.4

use super::transfer::Encoding;
use super::{Content, Parameters, Parsed, Part, parse};

/// So much of a part is looked at, as it stands in the message.
pub const ATTACHED_SOURCE_BYTES_MAX: u64 = 1024 * 1024;
/// So much of a part tells whether it is a message.
pub const ATTACHED_PROBE_BYTES: u64 = 4 * 1024;
/// Most parts that are looked at.
const PARTS_MAX: usize = 1_000;

/// The parts that could hold a message as mere bytes.
pub fn attached_parts(top: &Part) -> Vec<&Part> {
    let (mut found, mut parts) = (Vec::new(), vec![top]);
    while let Some(part) = parts.pop() {
        match &part.content {
            Content::Multipart(inside) => parts.extend(inside.iter().rev()),
            // it is shown, but read once more: programs put UTF-16 and files of mail into it
            Content::Message(..) if part.subtype == "GLOBAL" => found.push(part),
            Content::Message(_, inside) => parts.push(inside),
            Content::Leaf if could_be_message(part) => found.push(part),
            Content::Leaf => {}
        }
        if found.len() == PARTS_MAX {
            break;
        }
    }
    found
}

/// What is shown as text or picture is not opened as a message.
fn could_be_message(part: &Part) -> bool {
    let kind = (part.media_type.as_str(), part.subtype.as_str());
    match kind {
        ("TEXT", "RFC822-HEADERS" | "X-RFC822-HEADERS") => true,
        ("TEXT" | "IMAGE" | "AUDIO" | "VIDEO" | "FONT", _) => is_named_so(part),
        _ => true,
    }
}

fn is_named_so(part: &Part) -> bool {
    let is_eml = |parameters: &Parameters| {
        let named = parameters.iter().filter(|(name, _)| name == "NAME" || name == "FILENAME");
        named.map(|(_, value)| value).any(|value| value.to_ascii_lowercase().ends_with(b".eml"))
    };
    let disposition = part.disposition.as_ref().map(|(_, parameters)| parameters);
    is_eml(&part.parameters) || disposition.is_some_and(is_eml)
}

/// Whether a part begins as a message does, by the first `ATTACHED_PROBE_BYTES` of its body.
pub fn begins_as_message(part: &Part, body: &[u8]) -> bool {
    begins_with_field(&decoded(part, body))
}

/// Without its transfer encoding, and in UTF-8 where it was in UTF-16.
fn decoded(part: &Part, body: &[u8]) -> Vec<u8> {
    let mut decoder = Encoding::of(part).unwrap_or(Encoding::Identity).decoder();
    let mut bytes = Vec::new();
    decoder.push(body, &mut bytes);
    decoder.finish(&mut bytes);
    match bytes.as_slice() {
        [0xef, 0xbb, 0xbf, utf8 @ ..] => utf8.to_vec(),
        [0xff, 0xfe, utf16 @ ..] => from_utf16(utf16, u16::from_le_bytes),
        [0xfe, 0xff, utf16 @ ..] => from_utf16(utf16, u16::from_be_bytes),
        // a header begins with ASCII, whatever the part is said to be
        [first, 0, ..] if *first != 0 => from_utf16(&bytes, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => from_utf16(&bytes, u16::from_be_bytes),
        _ => bytes,
    }
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let characters = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)));
    let text: String = characters.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.into_bytes()
}

/// The message that a part holds, by the first `ATTACHED_SOURCE_BYTES_MAX` bytes of its body, and
/// those bytes decoded; `None`: it is something else.
pub fn attached(part: &Part, body: &[u8]) -> Option<(Parsed, Vec<u8>)> {
    let bytes = decoded(part, body);
    begins_with_field(&bytes).then(|| (parse(&bytes), bytes))
}

/// Whether the first line is a header field, perhaps below the line of an mbox. RFC 5322 §2.2
fn begins_with_field(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').take(2);
    let is_field = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        !name.is_empty() && name.len() < line.len() && name.iter().all(u8::is_ascii_graphic)
    };
    lines.into_iter().any(is_field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, encoding: &str, body: &str) -> String {
        format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x\r\n\
             Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n\
             {body}\r\n--x--\r\n"
        )
    }

    fn ids(message: &str) -> Vec<String> {
        let parsed = parse(message.as_bytes());
        let found = attached_parts(&parsed.structure).into_iter().filter_map(|part| {
            let body = &message.as_bytes()[part.body_start as usize..part.body_end as usize];
            attached(part, body)?.0.envelope.bare_message_id()
        });
        found.collect()
    }

    #[test]
    fn a_message_is_found_however_it_is_wrapped() {
        let plain = "Message-ID: <n@x>\r\n\r\nnote\r\n";
        let base64 = "TWVzc2FnZS1JRDogPG5AeD4NCg0Kbm90ZQ0K";
        for kind in ["message/rfc822", "message/global", "application/octet-stream"] {
            assert_eq!(ids(&message(kind, "base64", base64)), ["n@x"], "{kind}");
        }
        let named = "text/plain; name=\"Note.EML\"";
        assert_eq!(ids(&message(named, "base64", base64)), ["n@x"]);
        assert_eq!(ids(&message("text/rfc822-headers", "7bit", plain)), ["n@x"]);
        assert_eq!(ids(&message("message/global", "8bit", plain)), ["n@x"]);
        let quoted = "Message-ID:=20<n=40x>\r\n\r\nnote\r\n";
        assert_eq!(ids(&message("message/rfc822", "quoted-printable", quoted)), ["n@x"]);
    }

    #[test]
    fn a_message_is_found_in_utf_16_too() {
        let text =
            "Subject: Gr\u{fc}\u{df}e \u{a0a}\u{d0d}\r\nMessage-ID: <n@x>\r\n\r\n\u{1f600}\r\n";
        let [le, be] = [u16::to_le_bytes, u16::to_be_bytes]
            .map(|bytes| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>());
        let marked = |mark: &[u8], text: &[u8]| [mark, text].concat();
        for bytes in [
            marked(b"\xff\xfe", &le),
            marked(b"\xfe\xff", &be),
            marked(b"\xff\xfeF\0r\0o\0m\0 \0x\0\n\0", &le),
            le.clone(),
            be,
            marked(b"\xef\xbb\xbf", text.as_bytes()),
            // cut in the middle of a character
            marked(&le, b"x"),
        ] {
            let base64: String = base64(&bytes);
            for kind in [
                "application/octet-stream",
                "message/global",
                "message/rfc822",
                "text/plain; charset=utf-16; name=\"note.eml\"",
                "text/plain; charset=utf-16le; name=\"note.eml\"",
            ] {
                assert_eq!(ids(&message(kind, "base64", &base64)), ["n@x"], "{kind} {bytes:?}");
            }
            let quoted: String = bytes.iter().map(|byte| format!("={byte:02X}=\r\n")).collect();
            let found = ids(&message("application/x-eml", "quoted-printable", &quoted));
            assert_eq!(found, ["n@x"], "{bytes:?}");
        }
        for nothing in
            [&b"\0\0\0\0"[..], b"\xff\xfe", b"\xfe\xff\xd8", b"x\0", b"\0", b"\xef\xbb\xbf"]
        {
            let message = message("application/octet-stream", "base64", &base64(nothing));
            assert!(ids(&message).is_empty(), "{nothing:?}");
        }
    }

    fn base64(bytes: &[u8]) -> String {
        use base64::Engine;
        let lines = bytes.chunks(57).map(|line| base64::prelude::BASE64_STANDARD.encode(line));
        lines.collect::<Vec<_>>().join("\r\n")
    }

    #[test]
    fn what_is_shown_as_text_or_is_no_message_is_none() {
        let plain = "Message-ID: <n@x>\r\n\r\nnote\r\n";
        assert!(ids(&message("text/plain", "7bit", plain)).is_empty());
        assert!(ids(&message("application/pdf", "7bit", "%PDF-1.7\r\n%abc\r\n")).is_empty());
        assert!(ids(&message("application/octet-stream", "base64", "")).is_empty());
    }

    #[test]
    fn no_more_than_1000_parts_are_opened() {
        let part = "--x\r\nContent-Type: application/octet-stream\r\n\r\nbytes\r\n";
        for (count, opened) in [(999, 999), (1_000, 1_000), (1_001, 1_000)] {
            let mut mail = "Content-Type: multipart/mixed; boundary=x\r\n\r\n".to_owned();
            mail.push_str(&part.repeat(count));
            mail.push_str("--x--\r\n");
            assert_eq!(attached_parts(&parse(mail.as_bytes()).structure).len(), opened);
        }
    }
}
