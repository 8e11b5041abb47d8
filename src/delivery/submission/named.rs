//! Every address that a field names for anybody. Readers disagree about fields that break the
//! rules: of `<a@x> <b@x>` one shows the first, another the last. Who may be named is asked of all.

use crate::mail::address::Address;

/// The addresses in a From, Sender or the like, wherever they stand outside of quotes and comments;
/// `None` when it can be read in more than one way, or something with an `@` is no address.
pub(super) fn named(value: &[u8]) -> Option<Vec<Address>> {
    let mut found = Vec::new();
    let mut word = Vec::new();
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => {
                let (text, behind) = quoted(after)?;
                // A display name, unless it is a local part.
                if behind.starts_with(b"@") {
                    word.extend(text);
                }
                rest = behind;
            }
            b'(' => rest = behind_comment(after)?,
            b'<' | b'>' | b',' | b';' | b':' | b' ' | b'\t' => {
                found.extend(address(std::mem::take(&mut word))?);
            }
            byte if byte.is_ascii_control() => return None,
            byte => word.push(byte),
        }
    }
    found.extend(address(word)?);
    Some(found)
}

/// At most one; `None` for what only looks like one.
fn address(word: Vec<u8>) -> Option<Option<Address>> {
    if !word.contains(&b'@') {
        return Some(None);
    }
    Address::parse(&String::from_utf8(word).ok()?).map(Some)
}

/// What follows an opening quote, unquoted, and the rest behind the closing one.
/// RFC 5322 §3.2.4
fn quoted(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut rest = bytes;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((text, rest)),
            b'\\' => {
                let (&escaped, after) = after.split_first()?;
                text.push(escaped);
                rest = after;
            }
            _ => text.push(byte),
        }
    }
}

/// The rest behind a comment whose parenthesis is open already. RFC 5322 §3.2.2
fn behind_comment(bytes: &[u8]) -> Option<&[u8]> {
    let mut depth = 1;
    let mut rest = bytes;
    while depth > 0 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => rest = after.split_first()?.1,
            _ => {}
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &str) -> Option<String> {
        let all: Vec<String> = named(value.as_bytes())?.iter().map(Address::to_string).collect();
        Some(all.join(" "))
    }

    #[test]
    fn an_address_is_found_wherever_it_stands() {
        for (value, expected) in [
            ("a@b", "a@b"),
            ("A <a@b>", "a@b"),
            ("<a@b> <c@d>", "a@b c@d"),
            ("a@b <c@d>", "a@b c@d"),
            ("a@b, C <c@d>, e@f", "a@b c@d e@f"),
            ("group: a@b, c@d;", "a@b c@d"),
            ("\"c@d\" <a@b> (e@f (g@h) \\) i@j)", "a@b"),
            ("\"a b\"@c", "\"a b\"@c"),
            ("\"a@b\"@c", "\"a@b\"@c"),
            ("nobody:;", ""),
            ("", ""),
        ] {
            assert_eq!(names(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        let odd =
            ["\"a <a@b>", "(a <a@b>", "\"a\\", "(a\\", "<@a,@b:c@d>", "a @ b", "a@", "a\u{b}@b"];
        for value in odd {
            assert_eq!(names(value), None, "{value}");
        }
        assert_eq!(named(b"\xff@b"), None);
    }
}
