//! Header values as text: encoded words (RFC 2047), raw UTF-8, raw 8-bit. Words that stand side by
//! side in one charset are decoded together, because some programs split characters between them.

use mail_parser::decoders::base64::base64_decode;

use super::fields::unfold;
use super::text::decode_charset;

/// A longer encoded word is taken as plain text. RFC 2047 §2 allows 75.
const WORD_BYTES_MAX: usize = 2000;

/// The text of a header value, unfolded.
pub fn decode(value: &[u8]) -> String {
    let value = unfold(value);
    let mut text = Text::default();
    let mut rest = value.as_slice();
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        match word(&rest[at..]) {
            Some((charset, bytes, after)) => {
                text.plain(&rest[..at]);
                text.word(charset, bytes);
                rest = after;
            }
            None => {
                text.plain(&rest[..at + 2]);
                rest = &rest[at + 2..];
            }
        }
    }
    text.plain(rest);
    text.flush();
    text.out
}

/// What has been decoded so far.
#[derive(Default)]
struct Text {
    out: String,
    /// White space that vanishes if another word follows. RFC 2047 §6.2
    space: Vec<u8>,
    pending: Option<(Vec<u8>, Vec<u8>)>,
}

impl Text {
    fn plain(&mut self, bytes: &[u8]) {
        if self.pending.is_some() && bytes.iter().all(u8::is_ascii_whitespace) {
            self.space.extend_from_slice(bytes);
            return;
        }
        self.flush();
        self.out.push_str(&decode_charset(None, bytes));
    }

    fn word(&mut self, charset: &[u8], bytes: Vec<u8>) {
        self.space.clear();
        match &mut self.pending {
            Some((name, pending)) if name.eq_ignore_ascii_case(charset) => pending.extend(bytes),
            _ => {
                self.flush();
                self.pending = Some((charset.to_vec(), bytes));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((charset, bytes)) = self.pending.take() {
            self.out.push_str(&decode_charset(Some(&charset), &bytes));
        }
        self.out.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.space)));
    }
}

/// The word that `bytes` starts with: charset (language removed, RFC 2231 §5), content, and the
/// rest.
fn word(bytes: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let window = &bytes[..bytes.len().min(WORD_BYTES_MAX)];
    let mut parts = window.get(2..)?.splitn(3, |&byte| byte == b'?');
    let (charset, encoding, data) = (parts.next()?, parts.next()?, parts.next()?);
    let charset = charset.split(|&byte| byte == b'*').next()?;
    let end = memchr::memmem::find(data, b"?=")?;
    let content = match encoding {
        b"Q" | b"q" => q_decode(&data[..end]),
        b"B" | b"b" => base64_decode(&data[..end])?,
        _ => return None,
    };
    let used = window.len() - data.len() + end + 2;
    (!charset.is_empty()).then(|| (charset, content, &bytes[used..]))
}

/// RFC 2047 §4.2
fn q_decode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'_' => out.push(b' '),
            b'=' => match after.first_chunk::<2>().and_then(hex) {
                Some(decoded) => {
                    out.push(decoded);
                    rest = &after[2..];
                }
                None => out.push(byte),
            },
            _ => out.push(byte),
        }
    }
    out
}

fn hex(digits: &[u8; 2]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(value(digits[0])? * 16 + value(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_as_programs_write_them() {
        let cases: &[(&[u8], &str)] = &[
            (b"plain", "plain"),
            (b"a\r\n b", "a b"),
            (b"=?utf-8?Q?h=C3=A4_x?=", "h\u{e4} x"),
            (b"=?ISO-8859-1?q?h=e4?= y", "h\u{e4} y"),
            (b"=?utf-8?B?w6Q=?=\r\n =?utf-8?B?w7Y=?= z", "\u{e4}\u{f6} z"),
            (b"=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "\u{e4}"),
            (b"=?utf-8?Q?a?= =?iso-8859-1?Q?=e4?=", "a\u{e4}"),
            (b"=?utf-8*de?Q?a?=", "a"),
            (b"x =?utf-8?Q?a?=", "x a"),
            (b"=?utf-8?Q?a b?=", "a b"),
            (b"=?utf-8?X?a?= =? ?= =?", "=?utf-8?X?a?= =? ?= =?"),
            (b"=?utf-8?Q?=4?=", "=4"),
            ("raw \u{e4}".as_bytes(), "raw \u{e4}"),
            (b"latin \xe4", "latin \u{e4}"),
            (b"=?no-such?Q?a=41?=", "aA"),
            (b"=?iso-2022-jp?B?GyRCJE8bKEI=?=", "\u{306f}"),
        ];
        for (value, expected) in cases {
            assert_eq!(decode(value), *expected, "{}", String::from_utf8_lossy(value));
        }
    }
}
