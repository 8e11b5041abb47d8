//! Writes ENVELOPE and BODYSTRUCTURE from what was computed at delivery. RFC 3501 §7.4.2

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::imap::wire::number;
use crate::imap::wire::utf7::Spelling;
use crate::mail::message::{Content, Envelope, EnvelopeAddress, Parameters, Part};

/// Longest string that is written in quotes.
const QUOTED_BYTES_MAX: usize = 1024;

/// Whether extension data is written. RFC 3501 §7.4.2
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extensions {
    /// BODYSTRUCTURE has it.
    Shown,
    /// BODY has not.
    Omitted,
}

/// `string`: in quotes where it can, else as a literal.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    // one look at each byte decides both: whether quotes can hold it, and whether it needs a
    // backslash
    let (mut plain, mut escaped) = (true, false);
    for byte in text {
        plain &= (b' '..=b'~').contains(byte);
        escaped |= matches!(byte, b'"' | b'\\');
    }
    if text.len() > QUOTED_BYTES_MAX || !plain {
        literal_head(out, text.len() as u64);
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    if escaped {
        for &byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}

/// Whether text beyond ASCII may stand in an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// As it is: the client has enabled UTF-8.
    Shown,
    /// UTF-8 becomes encoded words, where words stand. RFC 6855 §8, RFC 2047 §2
    Encoded,
}

impl Beyond {
    /// As names are spelled to the client.
    pub fn spelled(spelling: Spelling) -> Beyond {
        match spelling {
            Spelling::Utf8 => Beyond::Shown,
            Spelling::Utf7 => Beyond::Encoded,
        }
    }
}

/// Most bytes of UTF-8 in one encoded word of at most 75 characters.
const WORD_BYTES_MAX: usize = 45;

/// `nstring` of words: a subject or a name.
fn words(out: &mut Vec<u8>, text: Option<&Vec<u8>>, beyond: Beyond) {
    let readable = text.filter(|text| !text.is_ascii()).and_then(|t| std::str::from_utf8(t).ok());
    match (beyond, readable) {
        (Beyond::Encoded, Some(readable)) => string(out, encoded_words(readable).as_bytes()),
        _ => nstring(out, text),
    }
}

fn encoded_words(mut text: &str) -> String {
    let mut words = Vec::new();
    while !text.is_empty() {
        let end = (0..=WORD_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        words.push(format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
        text = rest;
    }
    words.join(" ")
}

/// `{n}` and the line end behind it.
pub fn literal_head(out: &mut Vec<u8>, length: u64) {
    out.push(b'{');
    number::write(out, length);
    out.extend_from_slice(b"}\r\n");
}

/// `nstring`
fn nstring(out: &mut Vec<u8>, text: Option<&Vec<u8>>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// `nstring`, or `literal8` where there is a NUL in it. RFC 4466 §4
pub fn nstring8(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) if value.contains(&0) => {
            out.push(b'~');
            literal_head(out, value.len() as u64);
            out.extend_from_slice(value);
        }
        Some(value) => string(out, value),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// The value of ENVELOPE.
pub fn envelope(out: &mut Vec<u8>, envelope: &Envelope, beyond: Beyond) {
    out.push(b'(');
    nstring(out, envelope.date.as_ref());
    out.push(b' ');
    words(out, envelope.subject.as_ref(), beyond);
    let lists = [
        &envelope.from,
        &envelope.sender,
        &envelope.reply_to,
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ];
    for list in lists {
        out.push(b' ');
        addresses(out, list, beyond);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_ref());
    out.push(b' ');
    nstring(out, envelope.message_id.as_ref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[EnvelopeAddress], beyond: Beyond) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        words(out, address.name.as_ref(), beyond);
        // the source route, obsolete since RFC 2822
        out.extend_from_slice(b" NIL ");
        nstring(out, address.mailbox.as_ref());
        out.push(b' ');
        nstring(out, address.host.as_ref());
        out.push(b')');
    }
    out.push(b')');
}

/// The value of BODY or BODYSTRUCTURE. The tree's depth is bounded where it is made.
pub fn structure(out: &mut Vec<u8>, part: &Part, (extensions, beyond): (Extensions, Beyond)) {
    out.push(b'(');
    match &part.content {
        Content::Multipart(parts) if !parts.is_empty() => {
            parts.iter().for_each(|part| structure(out, part, (extensions, beyond)));
            out.push(b' ');
            string(out, part.subtype.as_bytes());
            if extensions == Extensions::Shown {
                out.push(b' ');
                parameters(out, &part.parameters);
                disposition_and_on(out, part);
            }
        }
        content => {
            single(out, part, content, (extensions, beyond));
            if extensions == Extensions::Shown {
                out.push(b' ');
                nstring(out, part.md5.as_ref());
                disposition_and_on(out, part);
            }
        }
    }
    out.push(b')');
}

/// `body-type-basic`, `body-type-msg` and `body-type-text`, without parentheses. RFC 3501 §9
fn single(out: &mut Vec<u8>, part: &Part, content: &Content, form: (Extensions, Beyond)) {
    let is_message = part.media_type == "MESSAGE"
        && (part.subtype == "RFC822" || matches!(content, Content::Message(..)));
    // a multipart without parts has no form of its own
    let is_broken = part.media_type == "MULTIPART";
    let (media_type, subtype) = match is_broken {
        true => ("TEXT", "PLAIN"),
        false => (part.media_type.as_str(), part.subtype.as_str()),
    };
    string(out, media_type.as_bytes());
    out.push(b' ');
    string(out, subtype.as_bytes());
    out.push(b' ');
    parameters(out, &part.parameters);
    for field in [&part.id, &part.description] {
        out.push(b' ');
        nstring(out, field.as_ref());
    }
    out.push(b' ');
    string(out, part.encoding.as_bytes());
    out.push(b' ');
    number::write(out, part.body_end.saturating_sub(part.body_start));
    if is_message {
        message(out, content, form);
    }
    if is_message || media_type == "TEXT" {
        out.push(b' ');
        number::write(out, part.lines);
    }
}

/// ` envelope body`. One whose content could not be read has empty ones, since the grammar wants
/// them.
fn message(out: &mut Vec<u8>, content: &Content, form: (Extensions, Beyond)) {
    out.push(b' ');
    match content {
        Content::Message(inner_envelope, inner) => {
            envelope(out, inner_envelope, form.1);
            out.push(b' ');
            structure(out, inner, form);
        }
        _ => {
            envelope(out, &Envelope::default(), form.1);
            let text = Part {
                media_type: "TEXT".into(),
                subtype: "PLAIN".into(),
                encoding: "7BIT".into(),
                ..Part::default()
            };
            out.push(b' ');
            structure(out, &text, form);
        }
    }
}

/// ` disposition language location`
fn disposition_and_on(out: &mut Vec<u8>, part: &Part) {
    match &part.disposition {
        Some((kind, values)) => {
            out.extend_from_slice(b" (");
            string(out, kind.as_bytes());
            out.push(b' ');
            parameters(out, values);
            out.push(b')');
        }
        None => out.extend_from_slice(b" NIL"),
    }
    match part.language.as_slice() {
        [] => out.extend_from_slice(b" NIL"),
        languages => {
            for (n, language) in languages.iter().enumerate() {
                out.extend_from_slice(if n == 0 { b" (" } else { b" " });
                string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, part.location.as_ref());
}

fn parameters(out: &mut Vec<u8>, list: &Parameters) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    for (n, (name, value)) in list.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"(" } else { b" " });
        string(out, name.as_bytes());
        out.push(b' ');
        string(out, value);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn part(media_type: &str, subtype: &str) -> Part {
        let (media_type, subtype) = (media_type.into(), subtype.into());
        Part { media_type, subtype, encoding: "7BIT".into(), body_end: 9, ..Part::default() }
    }

    #[test]
    fn strings_are_quoted_where_they_can_be() {
        assert_eq!(text(|out| string(out, b"a \"b\" \\")), "\"a \\\"b\\\" \\\\\"");
        assert_eq!(text(|out| string(out, "ä".as_bytes())), "{2}\r\nä");
        assert_eq!(text(|out| string(out, b"a\tb")), "{3}\r\na\tb");
        assert!(text(|out| string(out, &[b'a'; QUOTED_BYTES_MAX])).starts_with('"'));
        assert!(text(|out| string(out, &[b'a'; QUOTED_BYTES_MAX + 1])).starts_with("{1025}"));
    }

    #[test]
    fn an_envelope_is_ten_fields_and_groups_are_addresses_without_host() {
        let address = |mailbox: Option<&str>, host: Option<&str>| EnvelopeAddress {
            name: None,
            mailbox: mailbox.map(|m| m.into()),
            host: host.map(|h| h.into()),
        };
        let to =
            vec![address(Some("team"), None), address(Some("a"), Some("b.c")), address(None, None)];
        let shown = Envelope { subject: Some(b"Hi".to_vec()), to, ..Envelope::default() };
        assert_eq!(
            text(|out| envelope(out, &shown, Beyond::Shown)),
            "(NIL \"Hi\" NIL NIL NIL \
             ((NIL NIL \"team\" NIL)(NIL NIL \"a\" \"b.c\")(NIL NIL NIL NIL)) \
             NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn body_leaves_out_what_bodystructure_adds() {
        let mut leaf = part("TEXT", "PLAIN");
        leaf.parameters = vec![("CHARSET".into(), b"utf-8".to_vec())];
        leaf.language = vec![b"de".to_vec(), b"en".to_vec()];
        leaf.disposition = Some(("INLINE".into(), Vec::new()));
        let short = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL \"7BIT\" 9 0";
        assert_eq!(
            text(|out| structure(out, &leaf, (Extensions::Omitted, Beyond::Shown))),
            format!("{short})")
        );
        assert_eq!(
            text(|out| structure(out, &leaf, (Extensions::Shown, Beyond::Shown))),
            format!("{short} NIL (\"INLINE\" NIL) (\"de\" \"en\") NIL)")
        );
        let mut mixed = part("MULTIPART", "MIXED");
        mixed.content = Content::Multipart(vec![part("IMAGE", "PNG"), part("A", "B")]);
        assert_eq!(
            text(|out| structure(out, &mixed, (Extensions::Omitted, Beyond::Shown))),
            "((\"IMAGE\" \"PNG\" NIL NIL NIL \"7BIT\" 9)\
             (\"A\" \"B\" NIL NIL NIL \"7BIT\" 9) \"MIXED\")"
        );
    }

    #[test]
    fn words_beyond_ascii_are_encoded_for_who_has_not_enabled_them() {
        let subject = "Grüße".to_owned() + &"ä".repeat(40);
        let shown = Envelope { subject: Some(subject.clone().into_bytes()), ..Envelope::default() };
        let raw = text(|out| envelope(out, &shown, Beyond::Shown));
        assert!(raw.contains(&subject), "{raw}");
        let encoded = text(|out| envelope(out, &shown, Beyond::Encoded));
        assert!(encoded.is_ascii() && encoded.contains("\"=?utf-8?b?R3LDvMOfZ"), "{encoded}");
        let quoted = encoded.split('"').nth(1).expect("the subject");
        assert!(quoted.split(' ').all(|word| word.len() <= 75), "{quoted}");
        let broken = Envelope { subject: Some(b"Gr\xfcn".to_vec()), ..Envelope::default() };
        let mut out = Vec::new();
        envelope(&mut out, &broken, Beyond::Encoded);
        assert!(out.windows(4).any(|bytes| bytes == b"Gr\xfcn"), "what is no UTF-8 stays");
    }

    #[test]
    fn a_message_part_always_has_envelope_and_body() {
        let mut outer = part("MESSAGE", "RFC822");
        let unread = text(|out| structure(out, &outer, (Extensions::Omitted, Beyond::Shown)));
        assert!(unread.contains("9 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"TEXT\" \"PLAIN\""));
        outer.content = Content::Message(Box::default(), Box::new(part("TEXT", "HTML")));
        let read = text(|out| structure(out, &outer, (Extensions::Omitted, Beyond::Shown)));
        assert!(read.ends_with("(\"TEXT\" \"HTML\" NIL NIL NIL \"7BIT\" 9 0) 0)"), "{read}");
        let broken = text(|out| {
            structure(out, &part("MULTIPART", "MIXED"), (Extensions::Omitted, Beyond::Shown))
        });
        assert_eq!(broken, "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 9 0)");
    }
}
