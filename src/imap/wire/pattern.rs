//! Patterns of LIST and LSUB: `*` stands for anything, `%` for anything within a level.
//! RFC 3501 §6.3.8

use crate::imap::names::{DELIMITER, INBOX};

/// Whether `name` matches `pattern`. INBOX matches in any case, and so does it as a parent. The
/// time is bounded by the product of both lengths.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let folded = folded_chars(name);
    // reached[p]: the characters so far match pattern[..p]
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    skip_wildcards(&pattern, &mut reached);
    for (index, c) in name.chars().enumerate() {
        let mut next = vec![false; pattern.len() + 1];
        for (p, wanted) in pattern.iter().enumerate().filter(|(p, _)| reached[*p]) {
            match wanted {
                '*' => next[p] = true,
                '%' => next[p] |= c != DELIMITER,
                wanted => {
                    let same = *wanted == c || index < folded && wanted.eq_ignore_ascii_case(&c);
                    next[p + 1] |= same;
                }
            }
        }
        skip_wildcards(&pattern, &mut next);
        reached = next;
    }
    reached[pattern.len()]
}

/// A wildcard may stand for nothing.
fn skip_wildcards(pattern: &[char], reached: &mut [bool]) {
    for (p, wanted) in pattern.iter().enumerate() {
        if reached[p] && matches!(wanted, '*' | '%') {
            reached[p + 1] = true;
        }
    }
}

/// How many characters at the start of `name` are compared without regard to case.
fn folded_chars(name: &str) -> usize {
    let first = name.split(DELIMITER).next().unwrap_or_default();
    if first == INBOX { INBOX.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percent_stops_at_the_delimiter() {
        assert!(matches("%", "Sent") && !matches("%", "Shared/Support"));
        assert!(matches("*", "Shared/Support") && matches("Shared/%", "Shared/Support"));
        assert!(!matches("Shared/%", "Shared") && !matches("Shared/%", "Shared/Support/Done"));
        assert!(matches("%/%/Done", "Shared/Support/Done"));
        assert!(matches("*Done", "Shared/Support/Done") && !matches("*Don", "Shared/Done"));
        assert!(matches("", "") && !matches("", "x") && matches("%*", "a/b"));
    }

    #[test]
    fn inbox_matches_in_any_case_and_nothing_else_does() {
        assert!(matches("inbox", "INBOX") && matches("iNb%", "INBOX"));
        assert!(matches("inbox/x", "INBOX/x") && !matches("inbox/X", "INBOX/x"));
        assert!(!matches("sent", "Sent") && !matches("inboxes", "INBOXES"));
    }

    #[test]
    fn many_wildcards_take_no_time() {
        let pattern = "*a".repeat(500);
        assert!(!matches(&pattern, &"a".repeat(499)));
        assert!(matches(&pattern, &"a".repeat(500)));
    }

    /// The definition, without regard to time.
    fn slow(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, _) => name.is_empty(),
            (Some(('*' | '%', rest)), None) => slow(rest, name),
            (Some((wild @ ('*' | '%'), rest)), Some((c, behind))) => {
                slow(rest, name) || (*wild == '*' || *c != '/') && slow(pattern, behind)
            }
            (Some((p, rest)), Some((c, behind))) => p == c && slow(rest, behind),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab/*%]{0,7}", name in "[ab/]{0,8}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), slow(&chars(&pattern), &chars(&name)));
        }
    }
}
