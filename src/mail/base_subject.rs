//! The subject of a message without what programs put before and behind it: what SORT and THREAD
//! compare. RFC 5256 §2.1

/// A subject's base, and whether anything that says so made it a reply or a forward.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BaseSubject {
    /// The base; not yet a key of `collation`.
    pub text: String,
    /// RFC 5256 §3 REFERENCES
    pub kind: Kind,
}

/// What a subject says of its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// Nothing.
    #[default]
    Original,
    /// That it answers or forwards another.
    ReplyOrForward,
}

/// The base of a decoded, unfolded subject. Each step is linear, and so is the whole.
pub fn base_subject(subject: &str) -> BaseSubject {
    let spaced = spaced(subject);
    let mut rest = spaced.as_str();
    let mut kind = Kind::Original;
    loop {
        rest = without_trailers(rest, &mut kind);
        rest = without_leaders(rest, &mut kind);
        match forwarded(rest) {
            Some(inner) => (rest, kind) = (inner, Kind::ReplyOrForward),
            None => return BaseSubject { text: rest.to_owned(), kind },
        }
    }
}

/// Step 1: tabs and line ends are spaces, several spaces are one.
fn spaced(subject: &str) -> String {
    let mut out = String::with_capacity(subject.len());
    for letter in subject.chars() {
        let space = matches!(letter, ' ' | '\t' | '\r' | '\n');
        if !space {
            out.push(letter);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

/// Step 2: `*subj-trailer`
fn without_trailers<'a>(mut text: &'a str, kind: &mut Kind) -> &'a str {
    loop {
        text = text.trim_end_matches(' ');
        match cut_suffix(text, "(fwd)") {
            Some(rest) => (text, *kind) = (rest, Kind::ReplyOrForward),
            None => return text,
        }
    }
}

/// Steps 3 to 5: `*subj-leader`, and blobs before something else.
fn without_leaders<'a>(mut text: &'a str, kind: &mut Kind) -> &'a str {
    loop {
        text = text.trim_start_matches(' ');
        // blobs in a row: gone with the refwd that follows them, or else but for the last one that
        // would leave nothing
        let (mut behind, mut last) = (text, text);
        while let Some(rest) = after_blob(behind) {
            (last, behind) = (behind, rest);
        }
        if let Some(rest) = after_refwd(behind) {
            (text, *kind) = (rest, Kind::ReplyOrForward);
            continue;
        }
        return if behind.is_empty() { last } else { behind };
    }
}

/// `subj-blob`: `[text]` and the spaces behind it.
fn after_blob(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    Some(inside[end..].strip_prefix(']')?.trim_start_matches(' '))
}

/// `subj-refwd`: `Re:`, `Fw:`, `Fwd [text]:`
fn after_refwd(text: &str) -> Option<&str> {
    let name = ["fwd", "re", "fw"].iter().find_map(|name| cut_prefix(text, name))?;
    let name = name.trim_start_matches(' ');
    after_blob(name).unwrap_or(name).strip_prefix(':')
}

/// Step 6: `[fwd: text]`
fn forwarded(text: &str) -> Option<&str> {
    cut_prefix(text, "[fwd:")?.strip_suffix(']')
}

fn cut_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn cut_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_programs_add_is_taken_away() {
        use Kind::{Original, ReplyOrForward};
        for (subject, base, kind) in [
            ("", "", Original),
            ("   ", "", Original),
            ("Hello", "Hello", Original),
            ("Re: Hello", "Hello", ReplyOrForward),
            ("RE:re: FWD :fw: Hello", "Hello", ReplyOrForward),
            ("Re[2]: Hello", "Hello", ReplyOrForward),
            ("Re [2] : Hello", "Hello", ReplyOrForward),
            ("[list] Hello", "Hello", Original),
            ("[list] Re: [list] Hello", "Hello", ReplyOrForward),
            ("[a][b] Re: Hello", "Hello", ReplyOrForward),
            ("[list]", "[list]", Original),
            ("[a] [b]", "[b]", Original),
            ("Re: [a]", "[a]", ReplyOrForward),
            ("Hello (fwd)", "Hello", ReplyOrForward),
            ("Hello (FWD) (fwd)  ", "Hello", ReplyOrForward),
            ("(fwd)", "", ReplyOrForward),
            ("[fwd: Hello]", "Hello", ReplyOrForward),
            ("[Fwd: [fwd: Re: Hello (fwd)]]", "Hello", ReplyOrForward),
            ("[fwd:]", "", ReplyOrForward),
            ("[a [b] Hello", "[a [b] Hello", Original),
            ("Reply: Hello", "Reply: Hello", Original),
            ("AW: Hello", "AW: Hello", Original),
            ("Re:", "", ReplyOrForward),
            ("re", "re", Original),
            ("\tHello\r\n  world ", "Hello world", Original),
            ("Re: \u{e4}", "\u{e4}", ReplyOrForward),
            ("\u{e4}\u{e4}", "\u{e4}\u{e4}", Original),
        ] {
            let expected = BaseSubject { text: base.to_owned(), kind };
            assert_eq!(base_subject(subject), expected, "{subject}");
        }
    }

    /// The RFC's steps one after the other, without thought for cost.
    fn step_by_step(subject: &str) -> BaseSubject {
        let mut text = subject.replace(['\t', '\r', '\n'], " ");
        while text.contains("  ") {
            text = text.replace("  ", " ");
        }
        let mut kind = Kind::Original;
        loop {
            // (2)
            while text.ends_with(' ') || text.to_ascii_lowercase().ends_with("(fwd)") {
                let cut = if text.ends_with(' ') { 1 } else { 5 };
                kind = if cut == 5 { Kind::ReplyOrForward } else { kind };
                text.truncate(text.len() - cut);
            }
            loop {
                let before = text.clone();
                // (3)
                while let Some((rest, refwd)) = leader(&text) {
                    kind = if refwd { Kind::ReplyOrForward } else { kind };
                    text = rest;
                }
                // (4)
                if let Some(rest) = blob(&text).filter(|rest| !rest.trim_matches(' ').is_empty()) {
                    text = rest;
                }
                if text == before {
                    break;
                }
            }
            // (6)
            if !(text.to_ascii_lowercase().starts_with("[fwd:") && text.ends_with(']')) {
                return BaseSubject { text, kind };
            }
            text = text[5..text.len() - 1].to_owned();
            kind = Kind::ReplyOrForward;
        }
    }

    fn blob(text: &str) -> Option<String> {
        let end = text.find(']')?;
        let is_blob = text.starts_with('[') && !text[1..end].contains('[');
        is_blob.then(|| text[end + 1..].trim_start_matches(' ').to_owned())
    }

    fn leader(text: &str) -> Option<(String, bool)> {
        if let Some(rest) = text.strip_prefix(' ') {
            return Some((rest.to_owned(), false));
        }
        let mut rest = text.to_owned();
        while let Some(after) = blob(&rest) {
            rest = after;
        }
        let lower = rest.to_ascii_lowercase();
        let name = ["re", "fwd", "fw"].into_iter().find(|name| lower.starts_with(name))?;
        let rest = rest[name.len()..].trim_start_matches(' ').to_owned();
        let rest = blob(&rest).unwrap_or(rest);
        Some((rest.strip_prefix(':')?.to_owned(), true))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn all_subjects_have_the_base_of_the_rfc(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "Re", "re:", "Fw", "FWD:", "[fwd:", "(fwd)", "[", "]", "[a]", ":", " ", "\t", "x",
                "\u{e4}", "d",
            ]), 0..12),
        ) {
            let subject = pieces.concat();
            let base = base_subject(&subject);
            prop_assert_eq!(&base, &step_by_step(&subject));
            prop_assert_eq!(&base_subject(&base.text).text, &base.text, "once is enough");
            if !base.text.is_empty() {
                let again = format!("Fwd: [x] Re: {} (fwd)", base.text);
                prop_assert_eq!(base_subject(&again).text, base.text);
            }
        }
    }

    #[test]
    fn a_subject_of_a_megabyte_costs_no_more_than_its_length() {
        for piece in ["[a]", "re:", "[fwd:", "(fwd)", "[", "]", " [", "re [a"] {
            let start = std::time::Instant::now();
            base_subject(&piece.repeat(300_000));
            assert!(start.elapsed().as_secs() < 3, "{piece}");
        }
    }
}
