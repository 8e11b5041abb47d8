//! The grammar of structured MIME fields: tokens, comments, quoted strings and parameters.
//! RFC 2045 §5.1, RFC 2231. Knows no field by name.

use mail_parser::decoders::charsets::map::charset_decoder;

use super::Parameters;
use super::parse::Budget;
use super::text::decode_charset;

/// A longer token is none.
const TOKEN_BYTES_MAX: usize = 127;
/// Sections of one parameter; those beyond are left out. RFC 2231 §3
const SECTIONS_MAX: usize = 1000;

/// A place in an unfolded value.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At its start.
    pub(super) fn new(value: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: value }
    }

    /// The next token, in upper case.
    pub(super) fn token(&mut self) -> Option<String> {
        self.skip_space();
        let len = self.rest.iter().take_while(|&&byte| is_token_byte(byte)).count();
        let (token, rest) = self.rest.split_at(len);
        self.rest = rest;
        if !is_token(token) {
            return None;
        }
        String::from_utf8(token.to_ascii_uppercase()).ok()
    }

    /// Takes this byte if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// A quoted string without its quotes, or everything up to the next `;`: many programs forget
    /// the quotes around names with spaces.
    fn value(&mut self) -> Vec<u8> {
        if self.take(b'"') {
            return self.quoted();
        }
        let len = self.rest.iter().take_while(|&&byte| byte != b';').count();
        let (value, rest) = self.rest.split_at(len);
        self.rest = rest;
        without_comment(value).to_vec()
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match (byte, rest.split_first()) {
                (b'"', _) => break,
                (b'\\', Some((&escaped, rest))) => {
                    value.push(escaped);
                    self.rest = rest;
                }
                _ => value.push(byte),
            }
        }
        value
    }

    /// Goes to the next `;` and behind it.
    fn next_parameter(&mut self) -> bool {
        match memchr::memchr(b';', self.rest) {
            Some(at) => {
                self.rest = &self.rest[at + 1..];
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if !self.rest.starts_with(b"(") {
                return;
            }
            self.rest = &self.rest[comment_len(self.rest)..];
        }
    }
}

/// Length of the comment that `bytes` starts with. RFC 5322 §3.2.2
pub(super) fn comment_len(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth == 1 => return at + 1,
            b')' => depth -= 1,
            _ => {}
        }
    }
    bytes.len()
}

fn without_comment(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let open = value.windows(2).position(|pair| pair == b" (" || pair == b"\t(");
    match open {
        Some(at) if value.ends_with(b")") => value[..at].trim_ascii_end(),
        _ => value,
    }
}

/// Whether these bytes are one token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.len() <= TOKEN_BYTES_MAX
        && bytes.iter().all(|&byte| is_token_byte(byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// A parameter as it stands: `NAME`, `NAME*`, `NAME*0` or `NAME*0*`.
struct Piece {
    name: String,
    section: usize,
    extended: Extended,
    value: Vec<u8>,
}

/// Whether a value is percent-encoded. RFC 2231 §4
#[derive(Clone, Copy, PartialEq)]
enum Extended {
    Yes,
    No,
}

/// The parameters behind a type or disposition. Sections of one parameter are joined; where one of
/// them is percent-encoded, the result is too and its name ends in `*`, for the client to decode.
pub(super) fn parameters(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Parameters {
    let mut pieces = Vec::new();
    while budget.parameters > 0 && cursor.next_parameter() {
        let Some(name) = cursor.token() else { continue };
        if cursor.take(b'=') {
            budget.parameters -= 1;
            pieces.push(piece(name, cursor.value()));
        }
    }
    join(pieces)
}

fn piece(written: String, value: Vec<u8>) -> Piece {
    let extended = if written.ends_with('*') { Extended::Yes } else { Extended::No };
    let name = written.strip_suffix('*').unwrap_or(&written);
    let numbered = name.split_once('*').and_then(|(name, section)| {
        section.parse().ok().filter(|&section| section < SECTIONS_MAX).map(|number| (name, number))
    });
    let (name, section) = numbered.unwrap_or((name, 0));
    Piece { name: String::from(name), section, extended, value }
}

fn join(mut pieces: Vec<Piece>) -> Parameters {
    // stable: of two that are alike, the first one written comes first
    let order = order_of_names(&pieces);
    pieces.sort_by_key(|piece| (order[&piece.name], piece.section));
    let mut joined: Vec<(String, Vec<u8>, Extended, usize)> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some((name, value, extended, next)) if *name == piece.name => {
                if piece.section == *next {
                    append(value, extended, &piece);
                    *next += 1;
                }
            }
            _ => {
                let next = piece.section + 1;
                joined.push((piece.name, piece.value, piece.extended, next));
            }
        }
    }
    let named = |(name, value, extended, _)| match extended {
        Extended::Yes => (name + "*", value),
        Extended::No => (name, value),
    };
    joined.into_iter().map(named).collect()
}

fn order_of_names(pieces: &[Piece]) -> std::collections::HashMap<String, usize> {
    let mut order = std::collections::HashMap::new();
    for (index, piece) in pieces.iter().enumerate() {
        order.entry(piece.name.clone()).or_insert(index);
    }
    order
}

fn append(value: &mut Vec<u8>, extended: &mut Extended, piece: &Piece) {
    match (*extended, piece.extended) {
        (Extended::Yes, Extended::No) => value.extend(percent_encoded(&piece.value)),
        (Extended::No, Extended::Yes) => {
            // no charset was named: that is an empty one. RFC 2231 §4.1
            *value = [b"''".as_slice(), &percent_encoded(value), &piece.value].concat();
            *extended = Extended::Yes;
        }
        _ => value.extend_from_slice(&piece.value),
    }
}

fn percent_encoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        if is_token_byte(byte) && !b"%'*".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// What `charset'language'text` says, the value of a parameter whose name ends in `*`; without NUL,
/// which no IMAP string can carry. `None`: it has another form, or a charset that nobody knows.
/// RFC 2231 §4
pub fn extended_text(value: &[u8]) -> Option<String> {
    let mut pieces = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, text) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let charset = Some(charset).filter(|charset| !charset.is_empty());
    let is_utf8 = charset.is_none_or(|name| name.eq_ignore_ascii_case(b"utf-8"));
    if !is_utf8 && charset.and_then(charset_decoder).is_none() {
        return None;
    }
    let text = percent_decoded(text);
    Some(decode_charset(charset, &text).chars().filter(|c| *c != '\0').collect())
}

/// What is no `%` with two digits stays as it is.
fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.first_chunk::<2>().map(|pair| pair.map(digit))) {
            (b'%', Some([Some(high), Some(low)])) => {
                out.push(high * 16 + low);
                rest = &after[2..];
            }
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Vec<(String, String)> {
        let mut cursor = Cursor::new(value.as_bytes());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let all = parameters(&mut cursor, &mut Budget::new());
        all.into_iter().map(|(name, value)| (name, text(value))).collect()
    }

    #[test]
    fn parameters_are_read_as_programs_write_them() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("; charset=utf-8", &[("CHARSET", "utf-8")]),
            (" ;Name = \"a \\\"b\\\"; c\" ; x=y", &[("NAME", "a \"b\"; c"), ("X", "y")]),
            ("; name=my file.pdf; x=y", &[("NAME", "my file.pdf"), ("X", "y")]),
            ("; charset=us-ascii (Plain text)", &[("CHARSET", "us-ascii")]),
            ("; name=my file (1).pdf", &[("NAME", "my file (1).pdf")]),
            ("; boundary=a=b/c?d", &[("BOUNDARY", "a=b/c?d")]),
            ("; broken; ; x=y;", &[("X", "y")]),
            ("; name=\"open", &[("NAME", "open")]),
            ("; n*1=b; n*0=a; m=c", &[("N", "ab"), ("M", "c")]),
            ("; n*0*=utf-8''%C3%A4; n*1=\" b\"", &[("N*", "utf-8''%C3%A4%20b")]),
            ("; n*0=\"a b\"; n*1*=%C3", &[("N*", "''a%20b%C3")]),
            ("; n*=utf-8'de'x; n=y", &[("N*", "utf-8'de'x")]),
            ("; n=first; n=second", &[("N", "first")]),
            ("; n*0=a; n*2=c", &[("N", "a")]),
        ];
        for (value, expected) in cases {
            let read = read(value);
            let read: Vec<_> = read.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            assert_eq!(&read, expected, "{value}");
        }
    }

    #[test]
    fn extended_values_are_read_in_their_charset() {
        let cases: &[(&str, Option<&str>)] = &[
            ("utf-8''Gr%C3%BC%c3%9fe%20x", Some("Gr\u{fc}\u{df}e x")),
            ("ISO-8859-1'de'Gr%FCn", Some("Gr\u{fc}n")),
            ("iso-2022-jp'ja'%1B$B$O%1B(B", Some("\u{306f}")),
            ("us-ascii'en-us'it's%2A", Some("it's*")),
            ("''a%20b%C3%A4", Some("a b\u{e4}")),
            ("utf-8''%00x%", Some("x%")),
            ("utf-8''%4%zz%+1", Some("%4%zz%+1")),
            ("utf-8''", Some("")),
            ("x-unknown''%41", None),
            ("utf-8'x", None),
            ("plain", None),
        ];
        for (value, expected) in cases {
            assert_eq!(extended_text(value.as_bytes()).as_deref(), *expected, "{value}");
        }
    }

    #[test]
    fn tokens_have_a_length_limit() {
        let token = "x".repeat(TOKEN_BYTES_MAX);
        assert!(Cursor::new(token.as_bytes()).token().is_some());
        assert!(Cursor::new(format!("{token}x").as_bytes()).token().is_none());
    }

    #[test]
    fn comments_nest() {
        assert_eq!(comment_len(b"(a (b) \\) c) d"), 12);
        assert_eq!(comment_len(b"(open"), 5);
    }
}
