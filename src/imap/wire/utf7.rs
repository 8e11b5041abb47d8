//! Mailbox names on the wire: modified UTF-7 out; in, whatever clients send. RFC 3501 §5.1.3

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine;
use base64::alphabet::Alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::lex::Cursor;
use crate::imap::Refusal;
use crate::imap::names::INBOX;

/// Base64 with `,` in place of `/`, without padding.
fn engine() -> GeneralPurpose {
    const CHARS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    let alphabet = Alphabet::new(CHARS).expect("64 different ASCII characters");
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&alphabet, config)
}

/// The modified UTF-7 form of a name.
pub fn encode(name: &str) -> Cow<'_, str> {
    // most names are spelled as they are
    if name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'&') {
        return Cow::Borrowed(name);
    }
    let mut encoded = String::with_capacity(name.len());
    let mut units: Vec<u8> = Vec::new();
    for c in name.chars() {
        if !matches!(c, ' '..='~') {
            let mut pair = [0; 2];
            c.encode_utf16(&mut pair).iter().for_each(|u| units.extend(u.to_be_bytes()));
            continue;
        }
        shift(&mut encoded, &mut units);
        encoded.push(c);
        if c == '&' {
            encoded.push('-');
        }
    }
    shift(&mut encoded, &mut units);
    Cow::Owned(encoded)
}

fn shift(encoded: &mut String, units: &mut Vec<u8>) {
    if !units.is_empty() {
        // cannot fail: writing to memory
        let _ = write!(encoded, "&{}-", engine().encode(&mut *units));
        units.clear();
    }
}

/// The name that a client means. Raw UTF-8 is taken as it is, and so is a `&` that begins no valid
/// shift: clients send both. Bytes that are neither become U+FFFD, which no mailbox has.
pub fn decode(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut decoded = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        match after.split_once('-').and_then(|(code, rest)| Some((unshift(code)?, rest))) {
            Some((characters, behind)) => {
                decoded.push_str(&characters);
                rest = behind;
            }
            None => {
                decoded.push('&');
                rest = after;
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

fn unshift(code: &str) -> Option<String> {
    if code.is_empty() {
        return Some("&".to_owned());
    }
    let bytes = engine().decode(code).ok()?;
    let (pairs, odd) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    odd.is_empty().then(|| String::from_utf16(&units).ok())?
}

/// How mailbox names are spelled on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Spelling {
    /// In modified UTF-7. RFC 3501 §5.1.3
    #[default]
    Utf7,
    /// As they are, behind ENABLE UTF8=ACCEPT or IMAP4rev2. RFC 6855 §3, RFC 9051 §5.1
    Utf8,
}

/// The name that a client means by these bytes.
pub fn read(bytes: &[u8], spelling: Spelling) -> String {
    match spelling {
        Spelling::Utf7 => decode(bytes),
        Spelling::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// `mailbox`, as an argument of a command: decoded, and INBOX in its one spelling. RFC 3501 §9
pub fn mailbox(arguments: &mut Cursor<'_>) -> Result<String, Refusal> {
    let name = given(arguments)?;
    Ok(if name.eq_ignore_ascii_case(INBOX) { INBOX.to_owned() } else { name })
}

/// `mailbox`, decoded, in the client's spelling of INBOX.
pub fn given(arguments: &mut Cursor<'_>) -> Result<String, Refusal> {
    let (start, spelling) = (arguments.clone(), arguments.spelling());
    match arguments.peek() {
        // raw 8-bit characters, unquoted: mutt sends them
        Some(b'"' | b'{') => arguments.string().map(|bytes| read(&bytes, spelling)),
        _ => arguments
            .take_while("a mailbox name", |b| super::lex::is_astring_char(b) || b >= 0x80)
            .map(|bytes| read(bytes, spelling))
            .map_err(|_| start.expected("a mailbox name")),
    }
}

/// A name as it is written in a response: an atom where it can be, else quoted.
pub fn written(name: &str, spelling: Spelling) -> String {
    match spelling {
        Spelling::Utf7 => quoted_unless_atom(&encode(name)),
        Spelling::Utf8 => quoted_unless_atom(name),
    }
}

/// `astring`: an atom where it can be, else quoted. `text` must be without control characters.
pub fn quoted_unless_atom(text: &str) -> String {
    let is_atom = !text.is_empty()
        && text.bytes().all(super::lex::is_astring_char)
        && !text.eq_ignore_ascii_case("NIL");
    if is_atom { text.to_owned() } else { quoted(text) }
}

/// `quoted`. `text` must be without control characters.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for piece in text.split_inclusive(['\\', '"']) {
        match piece.strip_suffix(['\\', '"']) {
            Some(plain) => quoted.extend([plain, "\\", &piece[plain.len()..]]),
            None => quoted.push_str(piece),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_encoded_as_the_rfc_shows() {
        assert_eq!(encode("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(encode("R&D"), "R&-D");
        assert_eq!(encode("Entwürfe"), "Entw&APw-rfe");
        assert_eq!(encode("😀"), "&2D3eAA-");
    }

    #[test]
    fn what_clients_send_is_understood() {
        assert_eq!(decode(b"Entw&APw-rfe"), "Entwürfe");
        assert_eq!(decode("Entwürfe".as_bytes()), "Entwürfe");
        assert_eq!(decode(b"R&D"), "R&D");
        assert_eq!(decode(b"R&D-x &AA-"), "R&D-x &AA-");
        assert_eq!(decode(b"bad \xff"), "bad \u{fffd}");
    }

    #[test]
    fn names_in_utf8_are_as_they_are() {
        for name in ["Entwürfe", "R&D", "Entw&APw-rfe", "a b"] {
            let written = written(name, Spelling::Utf8);
            let mut cursor = Cursor::new(written.as_bytes()).spelled(Spelling::Utf8);
            assert_eq!(mailbox(&mut cursor).as_deref(), Ok(name));
        }
        assert_eq!(written("R&D", Spelling::Utf8), "R&D");
        assert_eq!(written("Grün", Spelling::Utf8), "\"Grün\"");
        let mut wrong = Cursor::new(b"\"Gr\xfcn\"").spelled(Spelling::Utf8);
        assert!(mailbox(&mut wrong).is_err());
    }

    #[test]
    fn mailbox_arguments_come_as_atom_quoted_or_literal() {
        for argument in ["Entw&APw-rfe", "\"Entw&APw-rfe\"", "{12}\r\nEntw&APw-rfe", "Entwürfe"] {
            let mut cursor = Cursor::new(argument.as_bytes());
            assert_eq!(mailbox(&mut cursor), Ok("Entwürfe".to_owned()), "{argument}");
            assert_eq!(cursor.end(), Ok(()));
        }
        assert!(mailbox(&mut Cursor::new(b"(x)")).is_err());
    }

    proptest! {
        #[test]
        fn any_name_survives_the_round_trip(name in any::<String>()) {
            let encoded = encode(&name);
            prop_assert!(encoded.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(decode(encoded.as_bytes()), name);
        }
    }
}
