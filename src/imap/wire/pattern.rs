//! Patterns of LIST and LSUB: `*` stands for anything, `%` for anything within a level.
//! RFC 3501 §6.3.8

use crate::imap::names::{DELIMITER, INBOX};

/// A pattern, to be compared with many names.
pub struct Pattern {
    pattern: Vec<char>,
    /// How many characters at the start are none of the wildcards.
    literal: usize,
}

impl Pattern {
    /// Reads a pattern; every text is one.
    pub fn new(pattern: &str) -> Pattern {
        let pattern: Vec<char> = pattern.chars().collect();
        let is_wildcard = |c: &char| matches!(c, '*' | '%');
        let literal = pattern.iter().position(is_wildcard).unwrap_or(pattern.len());
        Pattern { pattern, literal }
    }

    /// Whether `name` matches. INBOX matches in any case, and so does it as a parent. The time is
    /// bounded by the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let folded = folded_chars(name);
        let is_same = |index: usize, (wanted, c): (char, char)| {
            wanted == c || index < folded && wanted.eq_ignore_ascii_case(&c)
        };
        let (literal, wild) = self.pattern.split_at(self.literal);
        let mut chars = name.chars().enumerate();
        for wanted in literal {
            match chars.next() {
                Some((index, c)) if is_same(index, (*wanted, c)) => {}
                _ => return false,
            }
        }
        if wild == ['*'] {
            return true;
        }
        // reached[p]: the characters so far match wild[..p]
        let mut reached = vec![false; wild.len() + 1];
        let mut next = reached.clone();
        reached[0] = true;
        skip_wildcards(wild, &mut reached);
        for (index, c) in chars {
            next.fill(false);
            for (p, wanted) in wild.iter().enumerate().filter(|(p, _)| reached[*p]) {
                match wanted {
                    '*' => next[p] = true,
                    '%' => next[p] |= c != DELIMITER,
                    wanted => next[p + 1] |= is_same(index, (*wanted, c)),
                }
            }
            skip_wildcards(wild, &mut next);
            std::mem::swap(&mut reached, &mut next);
        }
        reached[wild.len()]
    }
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

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).matches(name)
    }

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
        assert!(matches("i*", "INBOX/x") && !matches("inb", "INBOX") && matches("*x", "INBOX/x"));
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
