//! Folding of text for SEARCH: what is stored and what is looked for go through the same function,
//! so substring search on the results is search without regard to case. Knows no message.

use encoding_rs::Encoding;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// `text` in Normalization Form C; `None`: it is. RFC 5198 §3
pub fn composed(text: &str) -> Option<String> {
    match text.is_ascii() || is_nfc(text) {
        true => None,
        false => Some(text.nfc().collect()),
    }
}

/// Folds text as i;unicode-casemap does (RFC 5051 §2), with two differences that only find more:
/// upper case is the full mapping (`ß` finds `SS`), and a run of white space is one space, so that
/// line breaks of a folded field or a wrapped paragraph do not hide a phrase.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold_onto(&mut out, text, usize::MAX);
    out
}

/// Appends folded text until `out` is `limit` bytes long; a character is never cut.
pub fn fold_onto(out: &mut String, text: &str, limit: usize) {
    let mut target = Target { out, limit, after_space: false };
    let mut rest = text;
    while !rest.is_empty() && !target.is_full() {
        // an ASCII character is never reordered with what follows it, so the runs are independent
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(ascii);
        run.chars().for_each(|plain| target.push(plain.to_ascii_uppercase()));
        let other = after.find(|next: char| next.is_ascii()).unwrap_or(after.len());
        let (run, after) = after.split_at(other);
        run.nfkd().flat_map(char::to_uppercase).nfkd().for_each(|folded| target.push(folded));
        rest = after;
    }
}

struct Target<'a> {
    out: &'a mut String,
    limit: usize,
    after_space: bool,
}

impl Target<'_> {
    fn push(&mut self, folded: char) {
        let space = folded.is_whitespace();
        if space && self.after_space {
            return;
        }
        self.after_space = space;
        let folded = if space { ' ' } else { folded };
        if self.out.len() + folded.len_utf8() > self.limit {
            // nothing more: a shorter character further on must not follow a gap
            self.limit = self.out.len();
            return;
        }
        self.out.push(folded);
    }

    fn is_full(&self) -> bool {
        self.out.len() >= self.limit
    }
}

/// What SEARCH looks for, as text; `None` where the charset is unknown or the bytes are not in it.
/// Without a charset it is UTF-8: mutt and others send that unasked. RFC 3501 §6.4.4
pub fn decode_needle(charset: Option<&str>, bytes: &[u8]) -> Option<String> {
    let utf8 = || std::str::from_utf8(bytes).ok().map(String::from);
    let name = charset.unwrap_or("UTF-8");
    if name.eq_ignore_ascii_case("US-ASCII") {
        return utf8();
    }
    let encoding = known(name)?;
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned())
}

/// Whether SEARCH accepts this charset; otherwise it answers BADCHARSET.
pub fn is_charset_known(charset: &str) -> bool {
    known(charset).is_some()
}

fn known(charset: &str) -> Option<&'static Encoding> {
    // the label of charsets that browsers refuse decodes everything to U+FFFD
    Encoding::for_label_no_replacement(charset.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fold_ignores_case_composition_and_runs_of_white_space() {
        let alike = [
            ("Gr\u{fc}\u{df}e", "GRU\u{308}SSE"),
            ("\u{391}\u{3b8}\u{3b7}\u{3bd}\u{3b1}", "\u{3b1}\u{398}\u{397}\u{39d}\u{391}"),
            ("\u{fb01}n", "FIN"),
            ("a \r\n\t b", "a b"),
            ("a\u{a0}b", "a b"),
            ("\u{ff21}", "a"),
        ];
        for (left, right) in alike {
            assert_eq!(fold(left), fold(right));
        }
        assert_ne!(fold("u"), fold("\u{fc}"));
    }

    #[test]
    fn folding_stops_before_the_character_that_does_not_fit() {
        let mut out = String::from("X");
        fold_onto(&mut out, "a\u{20ac}b", 4);
        assert_eq!(out, "XA");
        let mut out = String::from("X");
        fold_onto(&mut out, "a\u{20ac}b", 5);
        assert_eq!(out, "XA\u{20ac}");
    }

    #[test]
    fn needles_are_decoded_in_their_charset_or_refused() {
        let cases: &[(Option<&str>, &[u8], Option<&str>)] = &[
            (None, b"abc", Some("abc")),
            (None, "\u{e4}".as_bytes(), Some("\u{e4}")),
            (None, b"\xe4", None),
            (Some("US-ASCII"), b"abc", Some("abc")),
            (Some("utf-8"), "\u{e4}".as_bytes(), Some("\u{e4}")),
            (Some("UTF-8"), b"\xe4", None),
            (Some("ISO-8859-1"), b"\xe4", Some("\u{e4}")),
            (Some("iso-8859-15"), b"\xa4", Some("\u{20ac}")),
            (Some("windows-1251"), b"\xcf", Some("\u{41f}")),
            (Some("Shift_JIS"), b"\x83n", Some("\u{30cf}")),
            (Some("X-UNKNOWN"), b"a", None),
            (Some("ISO-2022-KR"), b"a", None),
        ];
        for (charset, bytes, expected) in cases {
            assert_eq!(decode_needle(*charset, bytes).as_deref(), *expected, "{charset:?}");
        }
        assert!(is_charset_known("koi8-r") && !is_charset_known("utf-7"));
    }

    proptest! {
        #[test]
        fn ascii_runs_fold_as_the_whole(
            text in "[a-c\u{300}\u{323}\u{df}\u{1f88}\u{ac00}A]{0,12}",
        ) {
            let whole: String = text.nfkd().flat_map(char::to_uppercase).nfkd().collect();
            prop_assert_eq!(fold(&text), whole);
        }

        #[test]
        fn folding_twice_is_folding_once(text in any::<String>()) {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
