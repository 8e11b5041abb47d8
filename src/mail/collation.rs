//! The order of text for SORT and THREAD: i;unicode-casemap. A key's bytes compare as the texts do.
//! Unlike `fold`, exactly that and nothing more, for equal keys put messages together. RFC 5051

use unicode_normalization::UnicodeNormalization;

/// The key of a text: title case, then decomposed, as UTF-8. RFC 5051 §2
pub fn key(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars().map(title_case).nfkd().collect()
}

/// Field 14 of UnicodeData.txt: the simple mapping, one character to one.
fn title_case(letter: char) -> char {
    match letter {
        // DZ, LJ, NJ with and without a caron: the capital begins only
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Georgian has capitals, but no title case
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => letter,
        // Greek with an iota below
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
            char::from_u32(letter as u32 + 8).unwrap_or(letter)
        }
        '\u{1fb3}' => '\u{1fbc}',
        '\u{1fc3}' => '\u{1fcc}',
        '\u{1ff3}' => '\u{1ffc}',
        _ => {
            let mut upper = letter.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                // what becomes several letters has no simple mapping
                _ => letter,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_equal_without_regard_to_case_and_composition() {
        for (left, right) in [
            ("Re", "rE"),
            ("Gr\u{fc}n", "GRU\u{308}N"),
            ("\u{fb01}n", "\u{fb01}N"),
            ("\u{1c6}", "\u{1c4}"),
            ("\u{1f80}", "\u{1f88}"),
            ("\u{391}\u{3b8}", "\u{3b1}\u{398}"),
        ] {
            assert_eq!(key(left), key(right), "{left} {right}");
        }
    }

    #[test]
    fn other_letters_differ_though_they_are_alike() {
        for (left, right) in [("\u{df}", "ss"), ("u", "\u{fc}"), ("a b", "a  b")] {
            assert_ne!(key(left), key(right), "{left} {right}");
        }
    }

    #[test]
    fn the_empty_text_comes_first_and_letters_behind_digits() {
        let mut texts = ["b", "", "A", "10", "\u{e4}", "C"];
        texts.sort_by_key(|text| key(text));
        assert_eq!(texts, ["", "10", "A", "\u{e4}", "b", "C"]);
    }
}
