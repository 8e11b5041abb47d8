//! How alike two words are, for fuzzy searches. Words are folded; accents are left out of account.
//! Knows no message. RFC 6203 §3
//!
//! A word is like the one that is looked for if it is the same, begins with it, has the same stem,
//! has it in it, or differs from it by a slip or two: letters left out, put in, changed, or two
//! neighbours exchanged. The shorter a word, the less of that is allowed, because more words are
//! near it; what has digits has neither slips nor stem.

use memchr::memmem;

/// Longest word, in letters, in which slips are looked for.
const SLIPS_LETTERS_MAX: usize = 64;
/// From so many letters on a word may have one slip.
const ONE_SLIP_LETTERS_MIN: usize = 4;
/// From so many letters on it may have two.
const TWO_SLIPS_LETTERS_MIN: usize = 8;
/// Fewest letters that a word may be found within another by.
const WITHIN_LETTERS_MIN: usize = 3;
/// Fewest letters of a stem.
const STEM_LETTERS_MIN: usize = 4;
/// Most letters behind it, in each of the two words.
const ENDING_LETTERS_MAX: usize = 3;

/// How alike; the most alike last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Likeness {
    /// Two slips apart.
    TwoSlips,
    /// One slip apart.
    OneSlip,
    /// The one that is looked for is inside.
    Within,
    /// A common stem, each with an ending.
    Stem,
    /// It begins with the one that is looked for.
    Beginning,
    /// The same.
    Same,
}

/// A word that others are compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// Without accents.
    word: String,
    letters: Vec<char>,
    has_digits: bool,
    slips_max: usize,
    seen: u32,
}

impl Pattern {
    /// For a folded word.
    pub fn of(word: &str) -> Pattern {
        let word: String = word.chars().filter(|letter| !is_accent(*letter)).collect();
        let letters: Vec<char> = word.chars().collect();
        let has_digits = word.bytes().any(|byte| byte.is_ascii_digit());
        let slips_max = match letters.len() {
            _ if has_digits => 0,
            count if count > SLIPS_LETTERS_MAX => 0,
            count if count >= TWO_SLIPS_LETTERS_MIN => 2,
            count if count >= ONE_SLIP_LETTERS_MIN => 1,
            _ => 0,
        };
        Pattern { seen: seen(&word), word, letters, has_digits, slips_max }
    }

    /// The word, without accents: makes the same pattern again.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// How alike a folded word is; `None`: not at all.
    pub fn likeness(&self, other: &str) -> Option<Likeness> {
        if other.is_ascii() {
            return self.plain(other);
        }
        let plain: String = other.chars().filter(|letter| !is_accent(*letter)).collect();
        self.plain(&plain)
    }

    fn plain(&self, other: &str) -> Option<Likeness> {
        if let Some(behind) = other.strip_prefix(self.word.as_str()) {
            return match (behind.is_empty(), self.letters.len()) {
                (true, _) => Some(Likeness::Same),
                // one letter is the beginning of too much
                (false, 0..=1) => None,
                (false, _) => Some(Likeness::Beginning),
            };
        }
        let (here, there) = (self.word.as_bytes(), other.as_bytes());
        // most words are told apart by their first letter and their length
        if here.first() == there.first() && self.has_stem_of(other) {
            return Some(Likeness::Stem);
        }
        let may_be_within = self.letters.len() >= WITHIN_LETTERS_MIN && there.len() > here.len();
        if may_be_within && memmem::find(there, here).is_some() {
            return Some(Likeness::Within);
        }
        match self.slips(other)? {
            1 => Some(Likeness::OneSlip),
            _ => Some(Likeness::TwoSlips),
        }
    }

    /// Whether both begin alike and differ in their endings only.
    fn has_stem_of(&self, other: &str) -> bool {
        let common = self.letters.iter().zip(other.chars()).take_while(|(a, b)| **a == *b).count();
        if self.has_digits || common < STEM_LETTERS_MIN {
            return false;
        }
        let (here, there) = (self.letters.len(), other.chars().count());
        let has_endings = here.max(there) - common <= ENDING_LETTERS_MAX;
        // one is the stem of the other, or the stem is most of both
        has_endings && (common == here.min(there) || common * 5 >= here.max(there) * 3)
    }

    /// How many slips apart, if they are few enough.
    fn slips(&self, other: &str) -> Option<usize> {
        // a letter has four bytes at most
        let longest = (self.letters.len() + self.slips_max) * if other.is_ascii() { 1 } else { 4 };
        let shortest = self.letters.len() - self.slips_max;
        if self.slips_max == 0 || !(shortest..=longest).contains(&other.len()) {
            return None;
        }
        if (self.seen ^ seen(other)).count_ones() as usize > 2 * self.slips_max {
            return None;
        }
        let other: Vec<char> = other.chars().collect();
        if other.len().abs_diff(self.letters.len()) > self.slips_max {
            return None;
        }
        let slips = distance(&self.letters, &other);
        (slips <= self.slips_max).then_some(slips)
    }
}

/// Combining diacritical marks: what folding has made of accents.
fn is_accent(letter: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&letter)
}

/// Which letters are in a word, several of them to a bit: a slip changes two at most.
fn seen(word: &str) -> u32 {
    word.chars().fold(0, |seen, letter| seen | 1 << (letter as u32 & 31))
}

/// Letters left out, put in, changed, neighbours exchanged: the fewest of them that make one of the
/// other (optimal string alignment).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = Vec::with_capacity(other.len() + 1);
        row.push(i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = last[j] + usize::from(a != b);
            let mut fewest = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                fewest = fewest.min(before[j - 1] + 1);
            }
            row.push(fewest);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Likeness::{Beginning, OneSlip, Same, Stem, TwoSlips, Within};
    use proptest::prelude::*;

    fn likeness(pattern: &str, other: &str) -> Option<Likeness> {
        Pattern::of(pattern).likeness(other)
    }

    #[test]
    fn words_are_like_each_other_in_six_ways() {
        let alike = [
            ("HELLO", "HELLO", Same),
            ("GRUSSE", "GRU\u{308}SSE", Same),
            ("GRU\u{308}SSE", "GRUSSE", Same),
            ("MAIL", "MAILBOX", Beginning),
            ("INVOICING", "INVOICE", Stem),
            ("WORKING", "WORK", Stem),
            ("BOX", "MAILBOXES", Within),
            ("HELO", "HELLO", OneSlip),
            ("HELO", "HELP", OneSlip),
            ("RECIEVE", "RECEIVE", OneSlip),
            ("ACCOMODATE", "ACOMMODATE", TwoSlips),
        ];
        for (pattern, other, expected) in alike {
            assert_eq!(likeness(pattern, other), Some(expected), "{pattern} {other}");
        }
        let unlike = [
            ("CAT", "CAR"),
            ("A", "AB"),
            ("BO", "MAILBOX"),
            ("INV2024", "INV2025"),
            ("MAILBOX", "MAILING"),
            ("HOUSE", "MOOSES"),
            ("HELLO", ""),
        ];
        for (pattern, other) in unlike {
            assert_eq!(likeness(pattern, other), None, "{pattern} {other}");
        }
    }

    #[test]
    fn slips_are_counted_up_to_what_the_length_allows() {
        let long = |letters: usize| "AB".repeat(letters / 2);
        let with_slip = |letters: usize| format!("X{}", &long(letters)[1..]);
        assert_eq!(likeness("ABC", "XBC"), None, "of three letters none");
        assert_eq!(likeness("ABCD", "XBCD"), Some(OneSlip));
        assert_eq!(likeness("ABCDEFG", "XYCDEFG"), None, "of seven letters one");
        assert_eq!(likeness("ABCDEFGH", "XYCDEFGH"), Some(TwoSlips));
        assert_eq!(likeness("ABCDEFGH", "XYZDEFGH"), None);
        let longest = SLIPS_LETTERS_MAX;
        assert_eq!(likeness(&long(longest), &with_slip(longest)), Some(OneSlip));
        assert_eq!(likeness(&long(longest + 2), &with_slip(longest + 2)), None);
    }

    proptest! {
        #[test]
        fn any_words_are_compared_without_harm(one in "\\PC{0,80}", other in "\\PC{0,80}") {
            let _ = likeness(&one, &other);
        }

        #[test]
        fn nothing_quick_hides_a_slip(one in "[A-D]{4,9}", other in "[A-D]{1,10}") {
            let letters = |word: &str| word.chars().collect::<Vec<_>>();
            let slips = distance(&letters(&one), &letters(&other));
            let allowed = if one.len() >= TWO_SLIPS_LETTERS_MIN { 2 } else { 1 };
            prop_assert_eq!(Pattern::of(&one).slips(&other).is_some(), slips <= allowed);
        }

        #[test]
        fn what_holds_a_word_is_like_it(word in "[A-Z]{3,12}", more in "[A-Z]{0,5}") {
            for other in [format!("{more}{word}"), format!("{word}{more}")] {
                prop_assert!(likeness(&word, &other).is_some(), "{}", other);
            }
        }
    }
}
