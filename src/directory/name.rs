//! What a name may look like that shows up in a mailbox name, and what a domain may. Knows nothing
//! of who has which name.

/// Longest name in bytes: one level of a mailbox name.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest domain in bytes. RFC 5321 §4.5.3.1.2
pub const DOMAIN_BYTES_MAX: usize = 255;
/// Longest label of a domain in bytes. RFC 1035 §2.3.4
pub const LABEL_BYTES_MAX: usize = 63;

/// Longest selector of a DKIM key, so that it and a domain can stand in one DNS name.
pub const SELECTOR_BYTES_MAX: usize = 63;

/// Whether a login, team, inbox, channel or folder may be called so; if not, what is wrong with it,
/// as the end of a sentence.
pub fn check(name: &str) -> Result<(), &'static str> {
    let wild = |c| matches!(c, '*' | '%');
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
    };
    let rules = [
        (name.is_empty(), "is empty"),
        (name.len() > NAME_BYTES_MAX, "is longer than 255 bytes"),
        (name.trim() != name, "begins or ends with a space"),
        (name.contains('/'), "contains \"/\", which separates folders"),
        (name.contains(wild), "contains \"*\" or \"%\", which IMAP takes for wildcards"),
        (name.starts_with('\\'), "begins with \"\\\", which marks flags and roles"),
        (name.contains(invisible), "contains a control or invisible character"),
    ];
    rules.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, why)| Err(why))
}

/// Whether this is a domain name: labels of letters, digits and inner hyphens; letters outside
/// ASCII are taken as they are. RFC 5321 §4.1.2, RFC 6531 §3.3
pub fn is_domain(domain: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || !c.is_ascii();
    let visible = |c: char| !c.is_control() && !c.is_whitespace();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| letter(c) && visible(c))
    };
    domain.len() <= DOMAIN_BYTES_MAX && domain.split('.').all(label)
}

/// Whether a DKIM key may be published under this name below `_domainkey`: labels of ASCII letters,
/// digits and inner hyphens. RFC 6376 §3.1
pub fn is_selector(selector: &str) -> bool {
    selector.is_ascii() && selector.len() <= SELECTOR_BYTES_MAX && is_domain(selector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_mailbox_name_are_refused() {
        for bad in
            ["", "a/b", "a*", "%", "\\Sent", "a\u{7}b", " a", "a ", "\u{202e}a", "a\u{200b}b"]
        {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for good in ["Support", "Anna Sales", "Größe & Co.", "a\\b", "日本", "anna@example.org"]
        {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_name_has_255_bytes_at_most() {
        assert!(check(&"a".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(check(&"a".repeat(NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_domain_is_labels_with_dots_between() {
        for good in ["example.org", "localhost", "a-b.example", "bücher.example", "1.2"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a b", "[::1]", "a_b", "a\u{85}b"] {
            assert!(!is_domain(bad), "{bad}");
        }
        assert!(is_domain(&"a".repeat(LABEL_BYTES_MAX)));
        assert!(!is_domain(&"a".repeat(LABEL_BYTES_MAX + 1)));
    }

    #[test]
    fn a_selector_is_short_and_ascii() {
        for good in ["s", "2026a-rsa", "a.b", &"a".repeat(SELECTOR_BYTES_MAX)] {
            assert!(is_selector(good), "{good}");
        }
        let long = format!("{}.b", "a".repeat(SELECTOR_BYTES_MAX - 1));
        for bad in ["", "a b", "a_b", "grün", "a/b", ".a", &long] {
            assert!(!is_selector(bad), "{bad}");
        }
    }
}
