//! Whether a content is acceptable, while it comes in: its size, and its line ends where it comes
//! in chunks. Holds none of it. At submission line ends are mended instead. RFC 1870 §6.3,
//! RFC 3030 §2

use std::borrow::Cow;

use memchr::memchr3_iter;

use super::reply::Refusal;

/// What is known of the content so far.
#[derive(Debug)]
pub struct Content {
    bytes_max: u64,
    /// Taken so far, or swallowed once it is refused.
    bytes: u64,
    refused: Option<Refusal>,
}

/// What to do with a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Keep it.
    Keep,
    /// The content has just become unacceptable: throw away what was kept.
    Discard,
    /// It was refused before: ignore it.
    Ignore,
    /// It was refused, and as much again as a message may have was swallowed: end the connection.
    GiveUp,
}

impl Content {
    /// Nothing has come yet.
    pub fn new(bytes_max: u64) -> Content {
        Content { bytes_max, bytes: 0, refused: None }
    }

    /// Counts a piece in which `fault` was found.
    pub fn add(&mut self, bytes: usize, fault: Option<Refusal>) -> Piece {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.refused.is_some() {
            let too_much = self.bytes > self.bytes_max.saturating_mul(2);
            return if too_much { Piece::GiveUp } else { Piece::Ignore };
        }
        let too_large = (self.bytes > self.bytes_max).then_some(Refusal::TooLarge);
        self.refused = fault.or(too_large);
        if self.refused.is_some() { Piece::Discard } else { Piece::Keep }
    }

    /// Whether `bytes` more would still be acceptable.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.bytes_max
    }

    /// Why it is refused.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused
    }
}

/// What becomes of a bare CR or bare LF in a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LineEnds {
    /// The content is refused.
    #[default]
    Strict,
    /// It becomes CRLF: mail programs of users are not servers. RFC 6409 §8
    Normalised,
}

/// The lines of a content that comes in chunks.
#[derive(Debug)]
pub enum Lines {
    /// There are none: any octets may come. RFC 3030 §3
    None,
    /// They are checked.
    Checked(LineCheck),
    /// They are mended.
    Mended(LineMender),
}

impl Lines {
    /// For the first chunk.
    pub fn new(line_ends: LineEnds) -> Lines {
        match line_ends {
            LineEnds::Strict => Lines::Checked(LineCheck::default()),
            LineEnds::Normalised => Lines::Mended(LineMender::default()),
        }
    }

    /// What the next octets mean, and what is wrong with them.
    pub fn take<'o>(&mut self, octets: &'o [u8]) -> (Cow<'o, [u8]>, Option<Refusal>) {
        match self {
            Lines::None => (Cow::Borrowed(octets), None),
            Lines::Checked(check) => (Cow::Borrowed(octets), check.check(octets)),
            Lines::Mended(mender) => {
                let fault = octets.contains(&0).then_some(Refusal::ContentNul);
                (Cow::Owned(mender.mend(octets)), fault)
            }
        }
    }

    /// What is still to come at the end of the last chunk, or what is wrong with it.
    pub fn end(&self) -> Result<&'static [u8], Refusal> {
        match self {
            Lines::None => Ok(b""),
            Lines::Checked(check) => check.end().map_or(Ok(b""), Err),
            Lines::Mended(mender) => Ok(mender.end()),
        }
    }
}

/// Makes CRLF of each bare CR and bare LF in a content that comes in chunks, whatever their
/// borders. A CR at the end of a chunk waits for the next.
#[derive(Debug, Default)]
pub struct LineMender {
    after_cr: bool,
}

impl LineMender {
    /// What the next octets become.
    pub fn mend(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut mended = Vec::with_capacity(octets.len() + 2);
        for &octet in octets {
            let after_cr = std::mem::replace(&mut self.after_cr, octet == b'\r');
            match octet {
                b'\n' => mended.extend_from_slice(b"\r\n"),
                _ if after_cr => mended.extend_from_slice(b"\r\n"),
                _ => {}
            }
            if !matches!(octet, b'\r' | b'\n') {
                mended.push(octet);
            }
        }
        mended
    }

    /// What is to be added at the end.
    pub fn end(&self) -> &'static [u8] {
        if self.after_cr { b"\r\n" } else { b"" }
    }
}

/// Looks for bare CR, bare LF and NUL in a content that comes in chunks, whatever their borders.
///
/// BINARYMIME is not offered, so a content has to consist of lines here too. RFC 3030 §3
#[derive(Debug, Default)]
pub struct LineCheck {
    after_cr: bool,
}

impl LineCheck {
    /// Checks the next octets.
    pub fn check(&mut self, octets: &[u8]) -> Option<Refusal> {
        let (&first, &last) = (octets.first()?, octets.last()?);
        if self.after_cr && first != b'\n' {
            return Some(Refusal::ContentLineEnd);
        }
        let after_cr = std::mem::replace(&mut self.after_cr, last == b'\r');
        for at in memchr3_iter(b'\r', b'\n', 0, octets) {
            match octets[at] {
                0 => return Some(Refusal::ContentNul),
                b'\r' if octets.get(at + 1).is_none_or(|b| *b == b'\n') => {}
                b'\n' if at.checked_sub(1).map_or(after_cr, |n| octets[n] == b'\r') => {}
                _ => return Some(Refusal::ContentLineEnd),
            }
        }
        None
    }

    /// Checks that the content does not end in the middle of a line end.
    pub fn end(&self) -> Option<Refusal> {
        self.after_cr.then_some(Refusal::ContentLineEnd)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_content_may_have_its_limit_and_not_one_more() {
        let mut content = Content::new(10);
        assert!(content.has_room(10) && !content.has_room(11));
        assert_eq!(content.add(10, None), Piece::Keep);
        assert_eq!(content.add(1, None), Piece::Discard);
        assert_eq!(content.refused(), Some(Refusal::TooLarge));
        assert_eq!(content.add(9, None), Piece::Ignore);
        assert_eq!(content.add(1, None), Piece::GiveUp);
    }

    fn check(pieces: &[&[u8]]) -> Option<Refusal> {
        let mut check = LineCheck::default();
        pieces.iter().find_map(|piece| check.check(piece)).or_else(|| check.end())
    }

    #[test]
    fn line_ends_are_checked_across_chunks() {
        assert_eq!(check(&[b"a\r\nb\r", b"\nc"]), None);
        assert_eq!(check(&[b"a\r", b"b"]), Some(Refusal::ContentLineEnd));
        assert_eq!(check(&[b"a", b"\nb"]), Some(Refusal::ContentLineEnd));
        assert_eq!(check(&[b"a\r"]), Some(Refusal::ContentLineEnd));
        assert_eq!(check(&[b"\r\r\n"]), Some(Refusal::ContentLineEnd));
        assert_eq!(check(&[b"a\0"]), Some(Refusal::ContentNul));
    }

    fn mend(pieces: &[&[u8]]) -> Vec<u8> {
        let mut lines = Lines::new(LineEnds::Normalised);
        let mut mended: Vec<u8> =
            pieces.iter().flat_map(|piece| lines.take(piece).0.into_owned()).collect();
        mended.extend(lines.end().expect("mended lines end well"));
        mended
    }

    #[test]
    fn line_ends_are_mended_across_chunks() {
        assert_eq!(mend(&[b"a\nb\rc\r\nd"]), b"a\r\nb\r\nc\r\nd");
        assert_eq!(mend(&[b"a\r", b"\nb"]), b"a\r\nb");
        assert_eq!(mend(&[b"a\r", b"b\r"]), b"a\r\nb\r\n");
        assert_eq!(mend(&[b"\r\r\n\n"]), b"\r\n\r\n\r\n");
        let mut lines = Lines::new(LineEnds::Normalised);
        assert_eq!(lines.take(b"a\0").1, Some(Refusal::ContentNul));
    }

    proptest! {
        #[test]
        fn any_split_is_mended_alike_and_what_is_right_stays(
            text in "[a\r\n]{0,30}",
            at in 0usize..30,
        ) {
            let (one, two) = text.as_bytes().split_at(at.min(text.len()));
            let mended = mend(&[one, two]);
            prop_assert_eq!(&mended, &mend(&[text.as_bytes()]));
            prop_assert_eq!(check(&[&mended]), None);
            if check(&[text.as_bytes()]).is_none() {
                prop_assert_eq!(mended, text.into_bytes());
            }
        }

        #[test]
        fn any_split_gives_the_same_verdict(text in "[a\r\n]{0,30}", at in 0usize..30) {
            let (one, two) = text.as_bytes().split_at(at.min(text.len()));
            prop_assert_eq!(check(&[one, two]).is_some(), check(&[text.as_bytes()]).is_some());
            let without = text.replace("\r\n", "");
            prop_assert_eq!(check(&[text.as_bytes()]).is_some(), without.contains(['\r', '\n']));
        }
    }
}
