//! The header as a signature sees it: which fields are signed, and their relaxed canonical form.

/// Signed as often as they occur and once more, so that nobody can add one unseen. Those that a
/// reader is shown, and those that say how the body is read. RFC 6376 §5.4.1, RFC 6376 §8.15
const OVERSIGNED: [&str; 12] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
/// Signed where they occur; who passes the message on may add theirs. RFC 6376 §5.4.1, and
/// RFC 8058 §4 for List-Unsubscribe-Post.
const SIGNED: [&str; 21] = [
    "Sender",
    "Content-ID",
    "Content-Description",
    "Content-Disposition",
    "Autocrypt",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "List-Subscribe",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Auto-Submitted",
    "Expires",
];
/// Of one name, this many fields are signed at most, from the last one up; a header with more of
/// them was made to grow our signature.
pub const INSTANCES_MAX: usize = 20;

/// What a signature covers.
pub(super) struct Signed {
    /// `h=`: in this order; a name that occurs less often stands for fields that are not there.
    pub(super) names: Vec<&'static str>,
    /// The fields in their canonical form, in the same order, each with CRLF.
    pub(super) canonical: Vec<u8>,
}

/// Decides which fields are signed. Of several with one name the last comes first.
/// RFC 6376 §5.4.2
pub(super) fn choose(header: &[u8]) -> Signed {
    let fields = fields(header);
    let mut signed = Signed { names: Vec::new(), canonical: Vec::new() };
    for (names, once_more) in [(&OVERSIGNED[..], 1), (&SIGNED[..], 0)] {
        for name in names {
            let same = |field: &&Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
            let found = fields.iter().rev().filter(same).take(INSTANCES_MAX);
            let mut count = once_more;
            for field in found {
                relax(field.name, field.value, &mut signed.canonical);
                count += 1;
            }
            signed.names.extend(std::iter::repeat_n(*name, count));
        }
    }
    signed
}

/// One field: its name, and everything after the colon but for the last CRLF.
struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

/// The fields up to the empty line; a line that is none is passed over.
fn fields(header: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut rest = header;
    while !rest.is_empty() && !rest.starts_with(b"\r\n") {
        let (line, after) = rest.split_at(field_bytes(rest));
        rest = after;
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        if let Some(colon) = line.iter().position(|&byte| byte == b':') {
            let (name, value) = (line[..colon].trim_ascii_end(), &line[colon + 1..]);
            fields.push(Field { name, value });
        }
    }
    fields
}

/// How long the first field is, with its continuation lines.
fn field_bytes(text: &[u8]) -> usize {
    let ends = |line_end: &[u8]| line_end[..2] == *b"\r\n" && !matches!(line_end[2], b' ' | b'\t');
    let end = text.windows(3).position(ends).map(|at| at + b"\r\n".len());
    end.unwrap_or(text.len())
}

/// Writes the relaxed canonical form of a field, with CRLF. RFC 6376 §3.4.2
pub(super) fn relax(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut space = false;
    let start = out.len();
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            // A line end in a field is followed by white space: `fields` has seen to that.
            b'\r' if after.first() == Some(&b'\n') => rest = &after[1..],
            b' ' | b'\t' => space = true,
            _ => {
                if std::mem::take(&mut space) && out.len() > start {
                    out.push(b' ');
                }
                out.push(byte);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relaxed(header: &[u8]) -> String {
        let mut out = Vec::new();
        fields(header).iter().for_each(|field| relax(field.name, field.value, &mut out));
        String::from_utf8(out).expect("text")
    }

    fn names(header: &[u8], prefix: &str) -> usize {
        choose(header).names.iter().filter(|name| **name == prefix).count()
    }

    /// RFC 6376 §3.4.5
    #[test]
    fn the_example_of_the_standard() {
        let header = b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(relaxed(header), "a:X\r\nb:Y Z\r\n");
    }

    #[test]
    fn folded_empty_and_unfinished_fields_have_a_canonical_form() {
        for (header, canonical) in [
            ("Subject:\r\n  one\r\n\t two \r\n", "subject:one two\r\n"),
            ("Subject:\r\n", "subject:\r\n"),
            ("Subject: \r\n \r\n", "subject:\r\n"),
            ("Subject: a:b", "subject:a:b\r\n"),
            ("SUBJECT \t:Gr\u{fc}\u{df}e\r\n", "subject:Gr\u{fc}\u{df}e\r\n"),
            ("no field\r\nTo: x\r\n", "to:x\r\n"),
            ("", ""),
            ("\r\nTo: the body\r\n", ""),
        ] {
            assert_eq!(relaxed(header.as_bytes()), canonical, "{header:?}");
        }
    }

    #[test]
    fn of_several_fields_the_last_comes_first() {
        let signed = choose(b"From: a\r\nX: y\r\nFROM: b\r\nReceived: c\r\n");
        assert_eq!(signed.canonical, b"from:b\r\nfrom:a\r\n");
    }

    #[test]
    fn fields_that_matter_are_listed_once_more_than_they_occur() {
        for name in OVERSIGNED {
            let header = |count: usize| format!("{name}: x\r\n").repeat(count).into_bytes();
            assert_eq!(names(&header(0), name), 1);
            assert_eq!(names(&header(1), name), 2);
            assert_eq!(names(&header(2), name), 3);
        }
        assert_eq!(names(b"Sender: x\r\n", "Sender"), 1);
        assert_eq!(names(b"", "Sender"), 0);
    }

    #[test]
    fn so_many_fields_of_one_name_are_signed_and_not_one_more() {
        let header = |count: usize| b"Cc: x\r\n".repeat(count);
        assert_eq!(names(&header(INSTANCES_MAX), "Cc"), INSTANCES_MAX + 1);
        assert_eq!(names(&header(INSTANCES_MAX + 1), "Cc"), INSTANCES_MAX + 1);
    }
}
