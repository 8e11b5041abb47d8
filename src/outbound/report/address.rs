//! Addresses and texts as the machine part of a report writes them. RFC 3464 §2.1.2, RFC 6533 §3

use crate::mail::address::Address;

/// `rfc822; bob@example.net`, or `utf-8; bøb@example.net`.
pub(super) fn of(address: &Address) -> String {
    let text = address.to_string();
    let kind = if text.is_ascii() { "rfc822" } else { "utf-8" };
    format!("{kind}; {text}")
}

/// ORCPT without its encoding. What cannot be decoded, or would break the line, stays encoded.
/// RFC 3461 §4.2, RFC 6533 §3
pub(super) fn original(orcpt: &str) -> String {
    let Some((kind, encoded)) = orcpt.split_once(';') else {
        return format!("unknown; {}", printable(orcpt));
    };
    let decoded = match kind.eq_ignore_ascii_case("utf-8") {
        true => unitext_decoded(encoded),
        false => xtext_decoded(encoded).filter(|text| text.is_ascii()),
    };
    let kind = printable(kind);
    format!("{kind}; {}", decoded.unwrap_or_else(|| printable(encoded)))
}

/// ENVID without its encoding; as `original`. RFC 3461 §4.4
pub(super) fn envelope_id(envid: &str) -> String {
    let decoded = xtext_decoded(envid).filter(|text| text.is_ascii());
    decoded.unwrap_or_else(|| printable(envid))
}

/// What a server said, as ASCII on one line.
pub(super) fn ascii(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// A text on one line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `+41` is `A`. RFC 3461 §4
fn xtext_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('+') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = after.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    on_one_line(String::from_utf8(bytes).ok()?)
}

/// `\x{F8}` is `ø`. RFC 6533 §3
fn unitext_decoded(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let (point, behind) = after.split_once('}')?;
        out.push(char::from_u32(u32::from_str_radix(point, 16).ok()?)?);
        rest = behind;
    }
    out.push_str(rest);
    on_one_line(out)
}

fn on_one_line(text: String) -> Option<String> {
    (!text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_encoded_is_decoded() {
        for (encoded, expected) in [
            ("rfc822;bob+2Bx@example.net", "rfc822; bob+x@example.net"),
            ("RFC822;bob@example.net", "RFC822; bob@example.net"),
            ("utf-8;b\\x{F8}b@example.net", "utf-8; bøb@example.net"),
            ("utf-8;bøb@example.net", "utf-8; bøb@example.net"),
            ("x400;/c=de/", "x400; /c=de/"),
        ] {
            assert_eq!(original(encoded), expected);
        }
        assert_eq!(envelope_id("a+3Db"), "a=b");
    }

    #[test]
    fn what_would_break_the_report_stays_encoded() {
        for odd in ["bob+0D+0AX: y", "bob+", "bob+4", "bob+zz", "bob+ä", "bob+C3+BC"] {
            assert_eq!(original(&format!("rfc822;{odd}")), format!("rfc822; {odd}"));
            assert_eq!(envelope_id(odd), odd);
        }
        for odd in ["\\x{D}\\x{A}X", "\\x{", "\\x{zz}", "\\x{D800}", "\\x{110000}"] {
            assert_eq!(original(&format!("utf-8;{odd}")), format!("utf-8; {odd}"));
        }
        assert_eq!(original("no type"), "unknown; no type");
        assert_eq!(ascii("a\r\nbü"), "a??b?");
    }
}
