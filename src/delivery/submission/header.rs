//! The header of a submitted message as it leaves: what a user's program left out is added, what
//! is nobody else's business is taken out. RFC 6409 §8. Pure; the bytes of the body stay as they
//! are.

use crate::conversation::collision;
use crate::mail::address::Address;
use crate::mail::date;
use crate::mail::id::Timestamp;
use crate::mail::message::{Envelope, EnvelopeAddress, select_fields_not};

/// Never leaves: Bcc names hidden recipients (RFC 5322 §3.6.3), Return-Path is the last server's to
/// write (RFC 5321 §4.4), and which colleague has sent something is nobody else's business.
const REMOVED: [&str; 4] = ["Bcc", "Resent-Bcc", "Return-Path", collision::SENDER_FIELD];

/// What a header has to become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted<'a> {
    /// For a message without Date. RFC 6409 §8.2
    pub date: Timestamp,
    /// For a message without Message-ID: `id@host`. RFC 6409 §8.3
    pub message_id: &'a str,
    /// The author's address, if it is to be another one; the name stays.
    pub from: Option<&'a Address>,
}

/// The header with its empty line, changed; `None` when it is right as it is. `envelope` is what
/// was read from it.
pub fn edited(header: &[u8], envelope: &Envelope, wanted: &Wanted<'_>) -> Option<Vec<u8>> {
    let mut added = Vec::new();
    let mut removed: Vec<&str> = REMOVED.to_vec();
    if envelope.date.is_none() {
        added.extend(format!("Date: {}\r\n", date::rfc5322(wanted.date)).into_bytes());
    }
    if envelope.bare_message_id().is_none() {
        removed.push("Message-ID");
        added.extend(format!("Message-ID: <{}>\r\n", wanted.message_id).into_bytes());
    }
    if let Some(address) = wanted.from {
        // Sender would name the address that is not to be seen.
        removed.extend(["From", "Sender"]);
        added.extend(from(envelope.from.first(), address));
    }
    let mut rest = Vec::with_capacity(header.len());
    select_fields_not(header, &removed, &mut rest);
    let fields_end = header.strip_suffix(b"\r\n").filter(|fields| fields.ends_with(b"\r\n"));
    let is_same = added.is_empty() && rest.len() == fields_end.unwrap_or(header).len();
    (!is_same).then(|| [&added[..], &rest, b"\r\n"].concat())
}

/// The author's name stays, behind it stands `address`.
fn from(author: Option<&EnvelopeAddress>, address: &Address) -> Vec<u8> {
    let name = author.and_then(|author| author.name.as_deref()).unwrap_or_default();
    let name: Vec<u8> = match name {
        [] => return format!("From: {address}\r\n").into_bytes(),
        name if is_phrase(name) => name.to_vec(),
        name => quoted(name),
    };
    [b"From: ", &name[..], format!(" <{address}>\r\n").as_bytes()].concat()
}

/// Words that need no quotes, encoded words among them. RFC 5322 §3.2.5, RFC 2047 §5
fn is_phrase(name: &[u8]) -> bool {
    name.iter().all(|b| b.is_ascii_alphanumeric() || b" !#$%&'*+-/=?^_`{|}~".contains(b))
}

/// RFC 5322 §3.2.4
fn quoted(name: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in name.iter().copied().filter(|byte| !byte.is_ascii_control()) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::message;

    const NOW: Timestamp = Timestamp(0);

    fn edit(header: &str, from: Option<&str>) -> Option<String> {
        let from = from.map(|from| Address::parse(from).expect("an address"));
        let wanted = Wanted { date: NOW, message_id: "1@mail.example", from: from.as_ref() };
        let envelope = message::parse(header.as_bytes()).envelope;
        let edited = edited(header.as_bytes(), &envelope, &wanted)?;
        Some(String::from_utf8(edited).expect("text"))
    }

    #[test]
    fn a_complete_header_is_left_alone() {
        let header = "Date: x\r\nMessage-ID: <a@b>\r\nFrom: a@b\r\nSubject: a\r\n b\r\n\r\n";
        assert_eq!(edit(header, None), None);
        assert_eq!(edit("Date: x\r\nMessage-ID: <a@b>\r\nFrom: a@b\r\n", None), None, "no body");
    }

    #[test]
    fn date_and_message_id_are_added() {
        assert_eq!(
            edit("From: a@b\r\n\r\n", None).as_deref(),
            Some(
                "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <1@mail.example>\r\n\
                 From: a@b\r\n\r\n"
            )
        );
        let header = "Date: x\r\nMessage-ID:\r\nFrom: a@b\r\n\r\n";
        let edited = edit(header, None).expect("an empty one is none");
        assert_eq!(edited, "Message-ID: <1@mail.example>\r\nDate: x\r\nFrom: a@b\r\n\r\n");
    }

    #[test]
    fn hidden_recipients_do_not_leave() {
        let header = "Date: x\r\nbcc: c@d,\r\n\te@f\r\nMessage-ID: <a@b>\r\nBcc: g@h\r\n\r\n";
        assert_eq!(edit(header, None).as_deref(), Some("Date: x\r\nMessage-ID: <a@b>\r\n\r\n"));
    }

    #[test]
    fn a_rewritten_author_keeps_the_name() {
        let with = |author: &str| {
            let header = format!("From: {author}\r\nDate: x\r\nMessage-ID: <a@b>\r\n\r\n");
            let edited = edit(&header, Some("support@example.org")).expect("changed");
            edited.split("\r\n").next().expect("a line").to_owned()
        };
        assert_eq!(with("anna@example.org"), "From: support@example.org");
        assert_eq!(with("Anna <anna@example.org>"), "From: Anna <support@example.org>");
        let sender =
            "Sender: anna@example.org\r\nFrom: a@b\r\nDate: x\r\nMessage-ID: <a@b>\r\n\r\n";
        let edited = edit(sender, Some("support@example.org")).expect("changed");
        assert!(!edited.contains("anna"), "{edited}");
        assert_eq!(with("\"A. \\\"B\\\"\" <a@b>"), "From: \"A. \\\"B\\\"\" <support@example.org>");
        assert_eq!(
            with("=?utf-8?q?J=C3=B6rg?= <a@b>"),
            "From: =?utf-8?q?J=C3=B6rg?= <support@example.org>"
        );
    }
}
