//! The first words of a message, for a listing: from its first text that has any, without markup,
//! quotes and signature. Knows no store. RFC 8970 §3.3

use mail_parser::decoders::html::html_to_text;

use super::text::decode_charset;
use super::transfer::Encoding;
use super::{Content, Part};

/// Longest preview, in characters. RFC 8970 §3.3
pub const PREVIEW_CHARS_MAX: usize = 200;
/// So much of a part is looked at, as it stands in the message.
pub const PREVIEW_SOURCE_BYTES_MAX: u64 = 64 * 1024;
/// Where so much of a plain text fills the preview, no more of it is decoded.
const PLAIN_SOURCE_BYTES: usize = 1024;
/// Most parts that are looked at.
const PARTS_MAX: usize = 4;

/// The preview of a whole message.
pub(super) fn of_message(bytes: &[u8], top: &Part) -> String {
    let texts = preview_parts(top).into_iter().map(|part| {
        let end = part.body_end.min(part.body_start + PREVIEW_SOURCE_BYTES_MAX);
        let body = bytes.get(part.body_start as usize..end as usize).unwrap_or_default();
        preview_of(part, body)
    });
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// The parts from which a preview could be taken, the best first.
pub fn preview_parts(top: &Part) -> Vec<&Part> {
    let mut parts = Vec::new();
    collect(top, &mut parts);
    parts
}

fn collect<'p>(part: &'p Part, parts: &mut Vec<&'p Part>) {
    if parts.len() >= PARTS_MAX {
        return;
    }
    match &part.content {
        Content::Multipart(children) if part.subtype == "ALTERNATIVE" => {
            // the plain one says what the others say
            let is_plain = |child: &&Part| child.subtype == "PLAIN";
            children.iter().filter(is_plain).for_each(|child| collect(child, parts));
            children.iter().filter(|c| !is_plain(c)).for_each(|child| collect(child, parts));
        }
        Content::Multipart(children) => children.iter().for_each(|child| collect(child, parts)),
        Content::Message(_, top) => collect(top, parts),
        Content::Leaf if is_shown_text(part) => parts.push(part),
        Content::Leaf => {}
    }
}

fn is_shown_text(part: &Part) -> bool {
    let is_attachment = |(kind, _): &(String, _)| kind.eq_ignore_ascii_case("attachment");
    let is_text = part.media_type == "TEXT" && ["PLAIN", "HTML"].contains(&part.subtype.as_str());
    is_text && !part.disposition.as_ref().is_some_and(is_attachment)
}

/// The preview that a part gives, by the first `PREVIEW_SOURCE_BYTES_MAX` bytes of its body.
pub fn preview_of(part: &Part, body: &[u8]) -> String {
    if part.subtype != "HTML" && body.len() > PLAIN_SOURCE_BYTES {
        // Only a full preview is sure to be the same: a line that is cut may look like another.
        let preview = words_of(part, &body[..PLAIN_SOURCE_BYTES]);
        if preview.chars().count() == PREVIEW_CHARS_MAX {
            return preview;
        }
    }
    words_of(part, body)
}

fn words_of(part: &Part, body: &[u8]) -> String {
    let Some(encoding) = Encoding::of(part) else { return String::new() };
    let (mut decoder, mut decoded) = (encoding.decoder(), Vec::with_capacity(body.len()));
    decoder.push(body, &mut decoded);
    let charset = part.parameters.iter().find(|(name, _)| name == "CHARSET");
    let text = decode_charset(charset.map(|(_, value)| value.as_slice()), &decoded);
    match part.subtype.as_str() {
        "HTML" => first_words(&html_to_text(&text)),
        _ => first_words(&text),
    }
}

fn first_words(text: &str) -> String {
    let own = text.lines().take_while(|line| line.trim_end() != "--");
    let own = own.filter(|line| !line.trim_start().starts_with('>'));
    let mut preview = String::new();
    let mut room = PREVIEW_CHARS_MAX;
    for word in own.flat_map(str::split_whitespace) {
        let space = usize::from(!preview.is_empty());
        let shown: String =
            word.chars().filter(is_shown).take(room.saturating_sub(space)).collect();
        if shown.is_empty() {
            continue;
        }
        if space == 1 {
            preview.push(' ');
        }
        preview.push_str(&shown);
        room = PREVIEW_CHARS_MAX - preview.chars().count();
        if room <= 1 {
            break;
        }
    }
    preview
}

/// Newsletters fill the space behind their first words with characters that nobody sees.
fn is_shown(c: &char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}'
            | '\u{fffd}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::message::parse;

    fn preview(message: &str) -> String {
        parse(message.as_bytes()).preview
    }

    #[test]
    fn the_first_own_words_are_shown() {
        let message =
            "Subject: x\r\n\r\n> you wrote\r\n\r\nHello  Anna,\r\n\tthanks.\r\n\r\n-- \r\nBen";
        assert_eq!(preview(message), "Hello Anna, thanks.");
    }

    #[test]
    fn a_long_text_is_previewed_as_if_all_of_it_were_decoded() {
        let starts = ["", "> quoted\n\n", "--x\n", "-- \n", "ü", "wort "];
        for (start, at) in starts.iter().flat_map(|s| (900..1100).map(move |at| (s, at))) {
            let text = format!("{start}{}{}", " ".repeat(at), "Zwölf Boxkämpfer ".repeat(99));
            for encoding in ["8bit", "quoted-printable"] {
                let head = "Content-Type: text/plain; charset=utf-8\r\n";
                let message = format!("{head}Content-Transfer-Encoding: {encoding}\r\n\r\n{text}");
                assert_eq!(preview(&message), first_words(&text), "{start} {at} {encoding}");
            }
        }
    }

    #[test]
    fn html_is_read_without_its_markup() {
        let message = "Content-Type: text/html; charset=utf-8\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\n\
            <html><head><style>p { color: red }</style><title>T</title></head>\r\n\
            <body><script>var a = 1;</script><p class=3D\"x\">Gr=C3=BC=C3=9Fe &amp; mehr\u{200c}\
            </p></body></html>\r\n";
        let text = preview(message);
        assert!(text.ends_with("Grüße & mehr"), "{text}");
        assert!(!text.contains("color") && !text.contains("var a"), "{text}");
    }

    #[test]
    fn the_plain_one_of_several_forms_is_preferred_if_it_says_something() {
        let with = |plain: &str| {
            preview(&format!(
                "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
                 Content-Type: multipart/alternative; boundary=i\r\n\r\n\
                 --i\r\nContent-Type: text/html\r\n\r\n<b>rich</b>\r\n\
                 --i\r\n\r\n{plain}\r\n--i--\r\n--o--\r\n"
            ))
        };
        assert_eq!(with("plain"), "plain");
        assert_eq!(with(" \u{200b}"), "rich");
    }

    #[test]
    fn what_has_no_text_has_an_empty_preview() {
        for message in [
            "",
            "Content-Type: image/png\r\n\r\nabc",
            "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nabc",
            "Content-Transfer-Encoding: x-odd\r\n\r\nabc",
            "Subject: x\r\n\r\n> only a quote\r\n",
        ] {
            assert_eq!(preview(message), "", "{message}");
        }
    }

    #[test]
    fn a_preview_ends_at_its_limit() {
        for (body, chars) in [
            ("ä".repeat(PREVIEW_CHARS_MAX), PREVIEW_CHARS_MAX),
            ("ä".repeat(PREVIEW_CHARS_MAX + 1), PREVIEW_CHARS_MAX),
            ("ä ".repeat(PREVIEW_CHARS_MAX), PREVIEW_CHARS_MAX - 1),
        ] {
            let text = preview(&format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{body}"));
            assert_eq!(text.chars().count(), chars);
        }
    }
}
