//! Reverse-paths and forward-paths. RFC 5321 §4.1.2, RFC 6531 §3.3
//!
//! Ours, not smtp-proto's: that one gives the same answer for `<>` and `<postmaster>`, accepts an
//! empty domain, and knows neither address literals nor where a quoted local part ended.

use super::{DOMAIN_BYTES_MAX, PATH_BYTES_MAX};
use crate::mail::address::Address;

/// What stands between the angle brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Path {
    /// `<>`: the sender of a bounce; not a recipient.
    Null,
    /// `<postmaster>` without a domain; a recipient only. RFC 5321 §4.5.1
    Postmaster,
    /// An address. A source route before it was thrown away. RFC 5321 §4.1.1.3
    Address(Address),
}

impl Path {
    /// Reads a path from the start of `text`; gives it with what follows.
    pub fn parse(text: &str) -> Option<(Path, &str)> {
        let inner = text.strip_prefix('<')?;
        if let Some(rest) = inner.strip_prefix('>') {
            return Some((Path::Null, rest));
        }
        let inner = skip_route(inner)?;
        let (local, rest) = local_part(inner)?;
        let (path, rest) = match rest.strip_prefix('>') {
            Some(rest) if local.eq_ignore_ascii_case("postmaster") => (Path::Postmaster, rest),
            Some(_) => return None,
            None => {
                let (domain, rest) = domain(rest.strip_prefix('@')?)?;
                (Path::Address(Address::new(&local, domain)), rest.strip_prefix('>')?)
            }
        };
        (text.len() - rest.len() <= PATH_BYTES_MAX).then_some((path, rest))
    }

    /// The address, where it is one.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Path::Address(address) => Some(address),
            Path::Null | Path::Postmaster => None,
        }
    }

    /// Whether it can be carried without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        match self {
            Path::Address(address) => address.local().is_ascii() && address.domain().is_ascii(),
            Path::Null | Path::Postmaster => true,
        }
    }
}

/// Skips `@one,@two:`. RFC 5321 §4.1.2 `A-d-l`
fn skip_route(mut text: &str) -> Option<&str> {
    if !text.starts_with('@') {
        return Some(text);
    }
    loop {
        let (_, rest) = domain(text.strip_prefix('@')?)?;
        match rest.strip_prefix(',') {
            Some(next) => text = next,
            None => return rest.strip_prefix(':'),
        }
    }
}

/// A dot-string, with dots at any place since such senders exist, or a quoted string; unquoted.
fn local_part(text: &str) -> Option<(String, &str)> {
    let (local, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => {
            let end = text.find(|c| !is_atext(c) && c != '.').unwrap_or(text.len());
            (text[..end].to_owned(), &text[end..])
        }
    };
    (!local.is_empty()).then_some((local, rest))
}

fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut local = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((local, &text[at + 1..])),
            '\\' => local.push(chars.next().map(|(_, c)| c).filter(|c| is_quotable(*c))?),
            c if is_quotable(c) => local.push(c),
            _ => return None,
        }
    }
    None
}

/// A domain or an address literal.
fn domain(text: &str) -> Option<(&str, &str)> {
    let (domain, rest) = match text.strip_prefix('[') {
        Some(literal) => {
            let end = literal.find(']')?;
            let fits = |c: char| c.is_ascii_alphanumeric() || ".:-".contains(c);
            if end == 0 || !literal[..end].chars().all(fits) {
                return None;
            }
            text.split_at(end + 2)
        }
        None => {
            let end = text.find(|c| !is_domain_char(c)).unwrap_or(text.len());
            let (domain, rest) = text.split_at(end);
            if domain.split('.').any(str::is_empty) {
                return None;
            }
            (domain, rest)
        }
    };
    (domain.len() <= DOMAIN_BYTES_MAX).then_some((domain, rest))
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_beyond_ascii(c)
}

/// The underscore is not allowed in a host name, but in use.
fn is_domain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c) || is_beyond_ascii(c)
}

fn is_quotable(c: char) -> bool {
    matches!(c, ' '..='~') || is_beyond_ascii(c)
}

fn is_beyond_ascii(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<(String, String)> {
        match Path::parse(text)? {
            (Path::Address(a), "") => Some((a.local().to_owned(), a.domain().to_owned())),
            _ => None,
        }
    }

    fn pair(local: &str, domain: &str) -> Option<(String, String)> {
        Some((local.to_owned(), domain.to_owned()))
    }

    #[test]
    fn paths_are_read_as_written() {
        assert_eq!(address("<a.b+c@Example.ORG>"), pair("a.b+c", "example.org"));
        assert_eq!(address("<\"a b\\\"@x\"@d>"), pair("a b\"@x", "d"));
        assert_eq!(address("<a@[192.0.2.1]>"), pair("a", "[192.0.2.1]"));
        assert_eq!(address("<a@[IPv6:2001:db8::1]>"), pair("a", "[ipv6:2001:db8::1]"));
        assert_eq!(address("<bücher@bücher.example>"), pair("bücher", "bücher.example"));
        assert_eq!(Path::parse("<> SIZE=1"), Some((Path::Null, " SIZE=1")));
        assert_eq!(Path::parse("<PostMaster>"), Some((Path::Postmaster, "")));
    }

    #[test]
    fn a_source_route_is_thrown_away() {
        assert_eq!(address("<@relay.example:a@d>"), pair("a", "d"));
        assert_eq!(address("<@r1,@r2:a@d>"), pair("a", "d"));
        assert_eq!(address("<@r1,r2:a@d>"), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let bad = [
            "",
            "<",
            "a@b",
            "<a>",
            "<a@>",
            "<@b>",
            "<a@b",
            "<a@@b>",
            "<a@b@c>",
            "<a b@c>",
            "<\"\"@c>",
            "<a@b.>",
            "<a@.b>",
            "<a@b..c>",
            "<a@[]>",
            "<a@[1>",
            "<a@[1]x>",
            "<a\u{7f}@b>",
            "<a@b\u{85}c>",
            "<\"a@b>",
            "<\"a\\",
            "< a@b>",
            "<a@b >",
        ];
        for text in bad {
            assert_eq!(Path::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_path_may_have_its_limit_and_not_one_more() {
        let fits = format!("<{}@b>", "a".repeat(PATH_BYTES_MAX - 4));
        assert!(Path::parse(&fits).is_some());
        let one_more = format!("<{}@b>", "a".repeat(PATH_BYTES_MAX - 3));
        assert_eq!(Path::parse(&one_more), None);
    }
}
