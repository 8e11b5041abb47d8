//! Header fields as raw bytes: splitting a header block, choosing fields by name, and the stored
//! subset that mail programs list. Knows nothing of what a value means.

/// Fields that mail programs ask for when they list a mailbox; they are stored apart, so that a
/// request for any of them is answered without reading the message.
pub const CACHED_FIELDS: &[&str] = &[
    "Auto-Submitted",
    "Bcc",
    "Cc",
    "Chat-Version",
    "Content-Class",
    "Content-Description",
    "Content-Disposition",
    "Content-Language",
    "Content-Transfer-Encoding",
    "Content-Type",
    "Date",
    "Delivered-To",
    "Disposition-Notification-To",
    "Envelope-To",
    "Followup-To",
    "From",
    "Importance",
    "In-Reply-To",
    "Lines",
    "List-Archive",
    "List-Help",
    "List-Id",
    "List-Owner",
    "List-Post",
    "List-Subscribe",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Message-ID",
    "MIME-Version",
    "Newsgroups",
    "Organization",
    "Precedence",
    "Priority",
    "References",
    "Reply-To",
    "Resent-Date",
    "Resent-From",
    "Return-Path",
    "Return-Receipt-To",
    "Sender",
    "Sensitivity",
    "Status",
    "Subject",
    "Thread-Index",
    "Thread-Topic",
    "To",
    "User-Agent",
    "X-Envelope-To",
    "X-Forwarded-Message-Id",
    "X-Keywords",
    "X-Label",
    "X-Mailer",
    "X-Mozilla-Draft-Info",
    "X-Mozilla-Keys",
    "X-Original-To",
    "X-Priority",
    "X-Spam-Flag",
    "X-Spam-Level",
    "X-Spam-Score",
    "X-Spam-Status",
    "X-Status",
    "X-Universally-Unique-Identifier",
];

/// A raw value, unfolded, longer than this is cut.
pub(super) const VALUE_BYTES_MAX: usize = 64 * 1024;

/// One field of a header block. Names match without regard to case. RFC 5322 §1.2.2
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// Name without white space; empty where a line is no field.
    pub(super) name: &'a [u8],
    /// What follows the colon, folds included, without the last line end.
    pub(super) value: &'a [u8],
    /// The whole field with its line end.
    pub(super) raw: &'a [u8],
}

/// The fields of a header block, up to its empty line.
pub(super) fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

/// See `fields`.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let first = line_len(self.rest);
        if self.rest.is_empty() || is_empty_line(&self.rest[..first]) {
            return None;
        }
        let mut end = first;
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end += line_len(&self.rest[end..]);
        }
        let (raw, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(split(raw, first))
    }
}

/// Length of the first line with its line end. Mail from APPEND may have bare LF.
pub(super) fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// Whether a line, given with its line end, is empty.
pub(super) fn is_empty_line(line: &[u8]) -> bool {
    line == b"\r\n" || line == b"\n"
}

/// A line without its line end.
pub(super) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// `first`: how long its first line is.
fn split(raw: &[u8], first: usize) -> Field<'_> {
    let first = without_line_end(&raw[..first]);
    let colon = memchr::memchr(b':', first).filter(|_| !raw.starts_with(b" "));
    match colon {
        Some(at) => {
            let name = raw[..at].trim_ascii_end();
            Field { name, value: without_line_end(&raw[at + 1..]), raw }
        }
        None => Field { name: b"", value: b"", raw },
    }
}

/// A value on one line, without the white space around it, at most `VALUE_BYTES_MAX` bytes. NUL,
/// which no IMAP string can carry, is left out. RFC 5322 §2.2.3
pub(super) fn unfold(value: &[u8]) -> Vec<u8> {
    let value = value.trim_ascii();
    let kept = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    kept.take(VALUE_BYTES_MAX).collect()
}

/// Appends the named fields of a raw header block, in its order, without an empty line.
/// RFC 3501 §6.4.5 `HEADER.FIELDS`
pub fn select_fields(header: &[u8], names: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    for field in fields(header).filter(|field| is_named(field, names)) {
        out.extend_from_slice(field.raw);
    }
}

/// The value of each named field of a raw header block, in its order, unfolded.
pub fn field_values(header: &[u8], names: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    fields(header).filter(|field| is_named(field, names)).map(|field| unfold(field.value)).collect()
}

/// Appends all but the named fields of a raw header block, in its order, without an empty line.
/// RFC 3501 §6.4.5 `HEADER.FIELDS.NOT`
pub fn select_fields_not(header: &[u8], names: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    for field in fields(header).filter(|field| !is_named(field, names)) {
        out.extend_from_slice(field.raw);
    }
}

fn is_named(field: &Field<'_>, names: &[impl AsRef<[u8]>]) -> bool {
    !field.name.is_empty()
        && names.iter().any(|name| field.name.eq_ignore_ascii_case(name.as_ref()))
}

/// Whether a request for these fields can be answered from the stored subset.
pub fn are_cached(names: &[impl AsRef<[u8]>]) -> bool {
    names.iter().all(|name| is_cached(name.as_ref()))
}

fn is_cached(name: &[u8]) -> bool {
    CACHED_FIELDS.iter().any(|cached| cached.as_bytes().eq_ignore_ascii_case(name))
}

/// The stored subset of a header block. A missing last line end is added, so that fields can
/// follow.
pub(super) fn cached(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(header).filter(|field| is_cached(field.name)) {
        out.extend_from_slice(field.raw);
    }
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"Received: x\r\n\tby y\r\nsubject : a\r\n b\r\nFrom: me\r\n\
        junk line\r\nSUBJECT: again\r\n\r\nFrom: body\r\n";

    #[test]
    fn each_field_of_a_name_has_one_value_however_many_lines() {
        assert_eq!(field_values(HEADER, &["Subject"]), [&b"a b"[..], b"again"]);
        assert_eq!(field_values(HEADER, &["from"]), [b"me"], "what is behind the header is body");
        assert!(field_values(HEADER, &["Sender"]).is_empty());
    }

    fn selected(names: &[&str]) -> String {
        let mut out = Vec::new();
        select_fields(HEADER, names, &mut out);
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn named_fields_come_whole_in_the_order_of_the_message() {
        assert_eq!(
            selected(&["FROM", "Subject"]),
            "subject : a\r\n b\r\nFrom: me\r\nSUBJECT: again\r\n"
        );
        assert_eq!(selected(&["received"]), "Received: x\r\n\tby y\r\n");
        assert_eq!(selected(&["absent"]), "");
        assert_eq!(selected(&[""]), "");
    }

    #[test]
    fn the_other_fields_are_the_complement() {
        let mut out = Vec::new();
        select_fields_not(HEADER, &["subject", "From"], &mut out);
        assert_eq!(out, b"Received: x\r\n\tby y\r\njunk line\r\n");
    }

    #[test]
    fn cached_fields_answer_what_the_header_answers() {
        let stored = cached(HEADER);
        for names in [vec!["from"], vec!["Subject", "From"], vec!["to"]] {
            assert!(are_cached(&names));
            let mut from_stored = Vec::new();
            select_fields(&stored, &names, &mut from_stored);
            assert_eq!(String::from_utf8(from_stored).expect("ascii"), selected(&names));
        }
        assert!(!are_cached(&["From", "Received"]));
    }

    #[test]
    fn an_unfolded_value_has_no_line_end_and_is_bounded() {
        assert_eq!(unfold(b" a\r\n\tb\n c \x00d "), b"a\tb c d");
        assert_eq!(unfold(&vec![b'x'; VALUE_BYTES_MAX]).len(), VALUE_BYTES_MAX);
        assert_eq!(unfold(&vec![b'x'; VALUE_BYTES_MAX + 1]).len(), VALUE_BYTES_MAX);
    }

    #[test]
    fn a_header_may_end_without_empty_line_or_line_end() {
        assert_eq!(cached(b"Subject: x"), b"Subject: x\r\n");
        assert_eq!(fields(b"").count(), 0);
        assert_eq!(fields(b"\r\nSubject: body\r\n").count(), 0);
        assert_eq!(fields(b"Subject: a\nTo: b\n\nx: y\n").count(), 2);
    }
}
