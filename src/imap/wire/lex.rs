//! The cursor that commands are parsed with: over one framed command, its literals in place. Errors
//! say at which byte, and what was expected there. RFC 3501 §9

use super::utf7::Spelling;
use crate::imap::Refusal;

/// A place in a framed command. The bytes are the whole command without its last CRLF; a literal
/// stands in them as it came: `{3}` CRLF and its bytes.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    spelling: Spelling,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0, spelling: Spelling::Utf7 }
    }

    /// With names, and strings in quotes, as the client has agreed to write them.
    pub fn spelled(self, spelling: Spelling) -> Cursor<'a> {
        Cursor { spelling, ..self }
    }

    /// How mailbox names are spelled here.
    pub fn spelling(&self) -> Spelling {
        self.spelling
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next byte, without taking it.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A BAD that says what was expected here.
    pub fn expected(&self, what: &str) -> Refusal {
        Refusal::Bad(format!("expected {what} at byte {}", self.at + 1))
    }

    /// Takes `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Takes `word` if it is next, without regard to ASCII case.
    pub fn take_word(&mut self, word: &str) -> bool {
        let next = self.rest().get(..word.len());
        let found = next.is_some_and(|n| n.eq_ignore_ascii_case(word.as_bytes()));
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Takes exactly one space.
    pub fn space(&mut self) -> Result<(), Refusal> {
        if self.take(b' ') { Ok(()) } else { Err(self.expected("a space")) }
    }

    /// Nothing may be left but spaces: some phones send a trailing one.
    pub fn end(&mut self) -> Result<(), Refusal> {
        while self.take(b' ') {}
        if self.rest().is_empty() { Ok(()) } else { Err(self.expected("the end of the command")) }
    }

    /// Takes bytes as long as `accept` holds; at least one.
    pub fn take_while(
        &mut self,
        what: &str,
        accept: impl Fn(u8) -> bool,
    ) -> Result<&'a [u8], Refusal> {
        let rest = self.rest();
        let length = rest.iter().position(|b| !accept(*b)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.expected(what));
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// `atom`, as text.
    pub fn atom(&mut self) -> Result<&'a str, Refusal> {
        let bytes = self.take_while("an atom", is_atom_char)?;
        // cannot fail: atom characters are ASCII
        std::str::from_utf8(bytes).map_err(|_| self.expected("an atom"))
    }

    /// `number`
    pub fn number(&mut self) -> Result<u32, Refusal> {
        let start = self.clone();
        let number = self.number64()?;
        u32::try_from(number).map_err(|_| start.expected("a number below 4294967296"))
    }

    /// `number64`; below 2^63.
    pub fn number64(&mut self) -> Result<u64, Refusal> {
        let start = self.clone();
        let digits = self.take_while("a number", |b| b.is_ascii_digit())?;
        let text = std::str::from_utf8(digits).unwrap_or_default();
        text.parse::<i64>().map(|n| n as u64).map_err(|_| start.expected("a number below 2^63"))
    }

    /// `nz-number`
    pub fn nz_number(&mut self) -> Result<u32, Refusal> {
        let start = self.clone();
        match self.number()? {
            0 => Err(start.expected("a number above 0")),
            number => Ok(number),
        }
    }

    /// `astring`, as bytes.
    pub fn astring(&mut self) -> Result<Vec<u8>, Refusal> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => Ok(self.take_while("a string", is_astring_char)?.to_vec()),
        }
    }

    /// `string`: quoted or literal, as bytes.
    pub fn string(&mut self) -> Result<Vec<u8>, Refusal> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(<[u8]>::to_vec),
            _ => Err(self.expected("a string")),
        }
    }

    /// `string` or `literal8`, as bytes. RFC 4466 §4
    pub fn string8(&mut self) -> Result<Vec<u8>, Refusal> {
        self.take(b'~');
        self.string()
    }

    /// `quoted`; 8-bit bytes are let through, since clients send them. Who has agreed to write
    /// UTF-8 must do so. RFC 6855 §3
    pub fn quoted(&mut self) -> Result<Vec<u8>, Refusal> {
        let start = self.clone();
        let text = self.quoted_bytes()?;
        match self.spelling == Spelling::Utf8 && std::str::from_utf8(&text).is_err() {
            true => Err(start.expected("UTF-8 between the quotes")),
            false => Ok(text),
        }
    }

    fn quoted_bytes(&mut self) -> Result<Vec<u8>, Refusal> {
        if !self.take(b'"') {
            return Err(self.expected("a quoted string"));
        }
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None | Some(b'\r' | b'\n' | 0) => return Err(self.expected("a closing quote")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(byte @ (b'"' | b'\\')) => text.push(byte),
                        _ => return Err(self.expected("\" or \\ behind a backslash")),
                    }
                }
                Some(byte) => text.push(byte),
            }
            self.at += 1;
        }
    }

    /// `literal`, synchronising or not; the framer has made sure that its bytes are here.
    pub fn literal(&mut self) -> Result<&'a [u8], Refusal> {
        let start = self.clone();
        if !self.take(b'{') {
            return Err(self.expected("a literal"));
        }
        let length = self.number()? as usize;
        self.take(b'+');
        if !(self.take(b'}') && self.take(b'\r') && self.take(b'\n')) {
            return Err(start.expected("a literal"));
        }
        let bytes = self.rest().get(..length).ok_or_else(|| start.expected("a whole literal"))?;
        self.at += length;
        Ok(bytes)
    }
}

/// `ATOM-CHAR`
pub fn is_atom_char(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && !b"(){%*\"\\]".contains(&byte)
}

/// `ASTRING-CHAR`
pub fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}
