//! A needle as the index sees it. Of a text only its words are kept (`mail::words`), not what lies
//! between them. So text without anything between is in a message just if it is in one of the
//! message's words, which is an exact answer; of text with something between, the index knows only
//! that its words must be there. Knows no file.

use crate::mail::likeness::Pattern;
use crate::mail::words::is_word;
use crate::store::text::{How, Needle};

/// Between the words of a block, before the first and after the last; stands in no word.
pub(super) const BREAK: u8 = b'\n';
/// Most words of one needle that are looked up, the longest; the others only leave more to read.
const PIECES_MAX: usize = 8;

/// A needle as it is looked up.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Query {
    /// By its words.
    Exactly(Words),
    /// By words that are like it.
    Like(Pattern),
}

/// The words of a needle.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Words {
    /// Each must be found in the words of a message.
    pub(super) pieces: Vec<Piece>,
    /// Whether a message where they are found holds the needle for certain.
    pub(super) exact: bool,
}

/// A word of the needle or, at its ends, perhaps a part of one.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// With `BREAK` on the sides where a word must start or end.
    pub(super) pattern: Vec<u8>,
    /// Bytes of the pattern before the word.
    pub(super) lead: usize,
}

impl Query {
    /// `None` if there is no word in the needle.
    pub(super) fn of(needle: &Needle) -> Option<Query> {
        match needle.how {
            How::Exactly => Words::of(&needle.text).map(Query::Exactly),
            How::Like => Some(Query::Like(Pattern::of(&needle.text))),
        }
    }
}

impl Words {
    fn of(needle: &str) -> Option<Words> {
        let bytes = needle.as_bytes();
        let mut pieces = Vec::new();
        let mut start = 0;
        for run in bytes.chunk_by(|a, b| is_word(*a) == is_word(*b)) {
            let end = start + run.len();
            if is_word(run[0]) {
                pieces.push(Piece::of(run, start > 0, end < bytes.len()));
            }
            start = end;
        }
        let exact = matches!(pieces.as_slice(), [whole] if whole.pattern == bytes);
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.pattern.len()));
        pieces.truncate(PIECES_MAX);
        (!pieces.is_empty()).then_some(Words { pieces, exact })
    }
}

impl Piece {
    fn of(run: &[u8], starts_a_word: bool, ends_a_word: bool) -> Piece {
        let lead = usize::from(starts_a_word);
        let end = usize::from(ends_a_word);
        let pattern = [&[BREAK][..lead], run, &[BREAK][..end]].concat();
        Piece { pattern, lead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(needle: &str) -> Vec<String> {
        let words = Words::of(needle).expect("has a word");
        words.pieces.into_iter().map(|p| String::from_utf8(p.pattern).expect("UTF-8")).collect()
    }

    #[test]
    fn a_needle_without_a_break_is_exact_and_may_be_anywhere_in_a_word() {
        assert_eq!(Words::of("ELEFANT").map(|words| words.exact), Some(true));
        assert_eq!(pieces("ELEFANT"), ["ELEFANT"]);
        assert_eq!(pieces("\u{20ac}"), ["\u{20ac}"]);
        assert_eq!(pieces("A"), ["A"]);
    }

    #[test]
    fn a_break_in_a_needle_is_where_its_words_start_and_end() {
        for needle in ["A B", " A", "A.", "A-", "@A"] {
            assert_eq!(Words::of(needle).map(|words| words.exact), Some(false), "{needle}");
        }
        assert_eq!(pieces("ANNA.B@EXAMPLE.ORG"), ["\nEXAMPLE\n", "ANNA\n", "\nORG", "\nB\n"]);
        assert_eq!(pieces(" HELLO"), ["\nHELLO"]);
        assert_eq!(Words::of(""), None);
        assert_eq!(Words::of("--"), None);
    }

    #[test]
    fn of_a_long_needle_eight_words_are_looked_up() {
        let eight = (0..PIECES_MAX).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(pieces(&eight).len(), PIECES_MAX);
        assert_eq!(pieces(&format!("{eight} LONGEST")).len(), PIECES_MAX);
        assert_eq!(pieces(&format!("{eight} LONGEST"))[0], "\nLONGEST");
    }
}
