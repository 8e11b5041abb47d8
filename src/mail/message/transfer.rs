//! Removes a content transfer encoding, piece by piece, whatever its size. Mends what mail programs
//! get wrong rather than refuse it. RFC 2045 §6

use super::{Content, Part};

/// Whitespace that is kept until it is known whether it ends its line.
const HELD_BYTES_MAX: usize = 1000;

/// How the content of a part is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// It stands there as it is.
    Identity,
    /// base64
    Base64,
    /// quoted-printable
    QuotedPrintable,
}

impl Encoding {
    /// Of a part; `None`: nobody knows it. A container is never encoded. RFC 2045 §6.4
    pub fn of(part: &Part) -> Option<Encoding> {
        if !matches!(part.content, Content::Leaf) {
            return Some(Encoding::Identity);
        }
        match part.encoding.as_str() {
            "7BIT" | "8BIT" | "BINARY" => Some(Encoding::Identity),
            "BASE64" => Some(Encoding::Base64),
            "QUOTED-PRINTABLE" => Some(Encoding::QuotedPrintable),
            _ => None,
        }
    }

    /// Decodes from the first byte on.
    pub fn decoder(self) -> Decoder {
        Decoder(match self {
            Encoding::Identity => State::Identity,
            Encoding::Base64 => State::Base64 { bits: 0, digits: 0 },
            Encoding::QuotedPrintable => {
                State::QuotedPrintable { held: Vec::new(), escape: Escape::None }
            }
        })
    }
}

/// What has been read and not decided.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    Identity,
    /// Up to three digits of a group of four.
    Base64 {
        bits: u32,
        digits: u32,
    },
    QuotedPrintable {
        /// Whitespace that goes if the line ends behind it, and the `=` in front of it.
        held: Vec<u8>,
        escape: Escape,
    },
}

/// Where behind a `=` the input stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Escape {
    None,
    Begun,
    /// Whitespace, which goes with a soft line break.
    Padded,
    Half(u8),
    Return,
}

impl Decoder {
    /// Decodes the next piece onto `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            State::Identity => out.extend_from_slice(piece),
            State::Base64 { bits, digits } => {
                piece.iter().for_each(|byte| base64(*byte, (bits, digits), out));
            }
            State::QuotedPrintable { held, escape } => {
                piece.iter().for_each(|byte| quoted_printable(*byte, (held, escape), out));
            }
        }
    }

    /// The input has ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            State::Identity => {}
            State::Base64 { bits, digits } => end_of_group((bits, digits), out),
            State::QuotedPrintable { held, escape } => match escape {
                Escape::Begun => out.append(held),
                Escape::Half(digit) => {
                    out.append(held);
                    out.extend_from_slice(&[b'=', *digit]);
                }
                Escape::None | Escape::Padded | Escape::Return => {}
            },
        }
    }
}

/// What is no digit is stepped over; padding ends a group, and another may follow.
fn base64(byte: u8, (bits, digits): (&mut u32, &mut u32), out: &mut Vec<u8>) {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => return end_of_group((bits, digits), out),
        _ => return,
    };
    *bits = *bits << 6 | u32::from(digit);
    *digits += 1;
    if *digits == 4 {
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
        (*bits, *digits) = (0, 0);
    }
}

fn end_of_group((bits, digits): (&mut u32, &mut u32), out: &mut Vec<u8>) {
    let whole = (*bits << (6 * (4 - (*digits).min(4)))).to_be_bytes();
    match digits {
        2 => out.push(whole[1]),
        3 => out.extend_from_slice(&whole[1..3]),
        _ => {}
    }
    (*bits, *digits) = (0, 0);
}

fn quoted_printable(byte: u8, (held, escape): (&mut Vec<u8>, &mut Escape), out: &mut Vec<u8>) {
    match (std::mem::replace(escape, Escape::None), byte) {
        (Escape::None, b'=') => *escape = Escape::Begun,
        (Escape::None, b' ' | b'\t') => {
            held.push(byte);
            if held.len() > HELD_BYTES_MAX {
                out.append(held);
            }
        }
        (Escape::None, b'\r' | b'\n') => {
            held.clear();
            out.push(byte);
        }
        (Escape::None, _) => {
            out.append(held);
            out.push(byte);
        }
        (Escape::Begun, _) if byte.is_ascii_hexdigit() => *escape = Escape::Half(byte),
        // a soft line break; what stands in front of it stays
        (Escape::Begun, b'\n') => out.append(held),
        (Escape::Begun, b'\r') => {
            out.append(held);
            *escape = Escape::Return;
        }
        (Escape::Begun, b' ' | b'\t') => {
            out.append(held);
            held.extend_from_slice(&[b'=', byte]);
            *escape = Escape::Padded;
        }
        (Escape::Padded, b' ' | b'\t') if held.len() <= HELD_BYTES_MAX => {
            held.push(byte);
            *escape = Escape::Padded;
        }
        (Escape::Padded, b'\r') => {
            held.clear();
            *escape = Escape::Return;
        }
        (Escape::Padded, b'\n') => held.clear(),
        (Escape::Padded, _) => quoted_printable(byte, (held, escape), out),
        (Escape::Return, b'\n') => {}
        (Escape::Return, _) => quoted_printable(byte, (held, escape), out),
        (Escape::Half(high), _) if byte.is_ascii_hexdigit() => {
            out.append(held);
            out.push(nibble(high) << 4 | nibble(byte));
        }
        // no escape: it stands for itself
        (Escape::Half(high), _) => {
            out.append(held);
            out.extend_from_slice(&[b'=', high]);
            quoted_printable(byte, (held, escape), out);
        }
        (Escape::Begun, _) => {
            out.append(held);
            out.push(b'=');
            quoted_printable(byte, (held, escape), out);
        }
    }
}

fn nibble(digit: u8) -> u8 {
    (digit as char).to_digit(16).unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn decoded(encoding: Encoding, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut decoder, mut out) = (encoding.decoder(), Vec::new());
        pieces.iter().for_each(|piece| decoder.push(piece, &mut out));
        decoder.finish(&mut out);
        out
    }

    fn quoted(text: &str) -> String {
        String::from_utf8_lossy(&decoded(Encoding::QuotedPrintable, &[text.as_bytes()])).into()
    }

    #[test]
    fn quoted_printable_is_read_as_the_standard_says() {
        assert_eq!(quoted("Gr=C3=BC=c3=9f=\r\ne  \r\nan =20\r\n"), "Grüße\r\nan  \r\n");
        assert_eq!(quoted("soft= \t\r\nbreak =\nend ="), "softbreak end ");
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        assert_eq!(quoted("a=b c==3D =ZZ =4"), "a=b c== =ZZ =4");
        assert_eq!(quoted("x= y =\rz"), "x= y z");
    }

    #[test]
    fn base64_steps_over_what_is_none() {
        let read = |text: &str| decoded(Encoding::Base64, &[text.as_bytes()]);
        assert_eq!(read("SGVs\r\nbG8h"), b"Hello!");
        assert_eq!(read("SGVsbG8="), b"Hello");
        assert_eq!(read("SGVsbA==\r\nSGVsbG8=\r\n"), b"HellHello");
        assert_eq!(read("S*G VsbA"), b"Hell");
        assert_eq!(read("S"), b"");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_bytes(
            text in "[a-f=0-9 \t\r\n+/Z]{0,80}",
            cut in any::<proptest::sample::Index>(),
        ) {
            let (before, after) = text.as_bytes().split_at(cut.index(text.len() + 1));
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::Identity] {
                let whole = decoded(encoding, &[text.as_bytes()]);
                prop_assert_eq!(decoded(encoding, &[before, after]), whole);
            }
        }

        #[test]
        fn base64_is_undone(bytes in any::<Vec<u8>>()) {
            let encoded = STANDARD.encode(&bytes);
            prop_assert_eq!(decoded(Encoding::Base64, &[encoded.as_bytes()]), bytes);
        }

        #[test]
        fn whitespace_is_held_within_its_limit(spaces in 0usize..3 * HELD_BYTES_MAX) {
            let text = format!("a{}b", " ".repeat(spaces));
            prop_assert_eq!(quoted(&text), text);
        }
    }
}
