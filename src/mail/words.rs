//! What folded text consists of, as the index and fuzzy searches see it: words, the longest runs of
//! letters, digits and of whatever is not ASCII. Knows no message.

const IS_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte >= 0x80 || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// Whether a byte stands in words; all others are between them.
pub fn is_word(byte: u8) -> bool {
    IS_WORD[usize::from(byte)]
}

/// The words of a text, in order, with repetitions.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // what is between words is ASCII, so each begins and ends where a character does
        let start = rest.bytes().position(is_word)?;
        let behind = &rest[start..];
        let end = behind.bytes().position(|byte| !is_word(byte)).unwrap_or(behind.len());
        let (word, after) = behind.split_at(end);
        rest = after;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_letters_digits_and_what_is_not_ascii() {
        let text = "SUBJECT: GRU\u{308}SSE, 12-34\n\u{20ac}_A";
        let found: Vec<&str> = words(text).collect();
        assert_eq!(found, ["SUBJECT", "GRU\u{308}SSE", "12", "34", "\u{20ac}", "A"]);
        assert_eq!(words(" -- ").count(), 0);
    }

    proptest! {
        #[test]
        fn a_word_ends_where_a_byte_is_none(text in any::<String>()) {
            let by_byte = text.as_bytes().split(|byte| !is_word(*byte)).filter(|w| !w.is_empty());
            prop_assert!(by_byte.eq(words(&text).map(str::as_bytes)));
        }
    }
}
