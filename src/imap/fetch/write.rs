//! Writes ENVELOPE and BODYSTRUCTURE from what was computed at delivery. RFC 3501 §7.4.2

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::imap::wire::number;
use crate::mail::message::{Content, Envelope, EnvelopeAddress, Parameters, Part, extended_text};

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

/// What a client understands beyond ASCII, and beyond IMAP4rev1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// All that IMAP4rev2 has: UTF-8 as it is, message/global as a message, decoded parameters.
    Rev2,
    /// UTF-8 as it is: the client has enabled that alone. RFC 6855
    Shown,
    /// UTF-8 becomes encoded words, where words stand. RFC 6855 §8, RFC 2047 §2
    Encoded,
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
                parameters(out, &told_parameters(&part.parameters, beyond));
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
    let is_message = is_message(part, form.1);
    let (media_type, subtype) = told_type(part, form.1);
    string(out, media_type.as_bytes());
    out.push(b' ');
    string(out, subtype.as_bytes());
    out.push(b' ');
    parameters(out, &told_parameters(&part.parameters, form.1));
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

/// Whether envelope and body follow. In IMAP4rev1, message/global is a type like any other: what
/// follows would be taken for extension data. RFC 9051 §9 `media-message`, RFC 3501 §9
fn is_message(part: &Part, beyond: Beyond) -> bool {
    let is_shown = matches!(part.content, Content::Message(..));
    match (part.media_type.as_str(), part.subtype.as_str()) {
        ("MESSAGE", "RFC822") => true,
        ("MESSAGE", "GLOBAL") => is_shown && beyond == Beyond::Rev2,
        ("MESSAGE", _) => is_shown,
        _ => false,
    }
}

fn told_type(part: &Part, beyond: Beyond) -> (&str, &str) {
    match (part.media_type.as_str(), part.subtype.as_str()) {
        // one without parts has no form of its own
        ("MULTIPART", _) => ("TEXT", "PLAIN"),
        // encoded: IMAP4rev2 has no form for one that cannot be looked into. RFC 9051 §9
        ("MESSAGE", "GLOBAL") if beyond == Beyond::Rev2 && part.content == Content::Leaf => {
            ("APPLICATION", "OCTET-STREAM")
        }
        own => own,
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

/// Values that are encoded with a charset become UTF-8, under the same name. RFC 9051 §7.5.2 says
/// so of the parameters of a body; of those of a disposition, only that sections are joined: there
/// the encoded form is left, which tells by itself what it is.
fn told_parameters(list: &Parameters, beyond: Beyond) -> Cow<'_, Parameters> {
    let is_encoded = |(name, _): &(String, _)| name.ends_with('*');
    if beyond != Beyond::Rev2 || !list.iter().any(is_encoded) {
        return Cow::Borrowed(list);
    }
    let mut told = list.clone();
    for (_, value) in told.iter_mut().filter(|one| one.0.ends_with('*')) {
        if let Some(text) = extended_text(value) {
            *value = text.into_bytes();
        }
    }
    Cow::Owned(told)
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
    fn message_global_is_a_message_in_rev2_only() {
        let mut outer = part("MESSAGE", "GLOBAL");
        let as_told =
            |part: &Part, beyond| text(|out| structure(out, part, (Extensions::Omitted, beyond)));
        let opaque = "(\"MESSAGE\" \"GLOBAL\" NIL NIL NIL \"7BIT\" 9)";
        let octets = "(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"7BIT\" 9)";
        assert_eq!(as_told(&outer, Beyond::Rev2), octets, "cannot be looked into");
        assert_eq!(as_told(&outer, Beyond::Shown), opaque);
        outer.content = Content::Message(Box::default(), Box::new(part("TEXT", "HTML")));
        assert_eq!(as_told(&outer, Beyond::Shown), opaque);
        assert_eq!(as_told(&outer, Beyond::Encoded), opaque);
        let told = as_told(&outer, Beyond::Rev2);
        assert!(told.starts_with("(\"MESSAGE\" \"GLOBAL\" NIL NIL NIL \"7BIT\" 9 (NIL "), "{told}");
        assert!(told.ends_with("(\"TEXT\" \"HTML\" NIL NIL NIL \"7BIT\" 9 0) 0)"), "{told}");
    }

    #[test]
    fn parameters_of_a_body_are_decoded_in_rev2_only() {
        let mut leaf = part("IMAGE", "PNG");
        let pair = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        leaf.parameters = vec![
            pair("A", "utf-8''%41"),
            pair("NAME*", "iso-8859-1'de'Gr%FCn"),
            pair("ODD*", "x-unknown''%41"),
        ];
        leaf.disposition = Some(("INLINE".into(), vec![pair("FILENAME*", "utf-8''%41")]));
        let told = |beyond| text(|out| structure(out, &leaf, (Extensions::Shown, beyond)));
        let as_it_is = "(\"IMAGE\" \"PNG\" (\"A\" \"utf-8''%41\" \"NAME*\" \
            \"iso-8859-1'de'Gr%FCn\" \"ODD*\" \"x-unknown''%41\") NIL NIL \"7BIT\" 9 NIL \
            (\"INLINE\" (\"FILENAME*\" \"utf-8''%41\")) NIL NIL)";
        assert_eq!(told(Beyond::Encoded), as_it_is);
        assert_eq!(told(Beyond::Shown), as_it_is, "RFC 6855 says nothing of it");
        let decoded = as_it_is.replace("\"iso-8859-1'de'Gr%FCn\"", "{5}\r\nGr\u{fc}n");
        assert_eq!(told(Beyond::Rev2), decoded);
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
