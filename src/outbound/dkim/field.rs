//! The DKIM-Signature field as it is written: its tags, folded.

use base64::prelude::{BASE64_STANDARD, Engine};

use super::{BodyHash, SigningKey};
use crate::mail::id::Timestamp;

/// The field's name.
pub(super) const NAME: &str = "DKIM-Signature";
/// Longest line, without CRLF; only a longer domain or selector makes one longer.
const LINE_COLUMNS_MAX: usize = 76;

/// The field with all but the signature. RFC 6376 §3.5
pub(super) struct Unsigned {
    text: String,
    column: usize,
}

impl Unsigned {
    /// The field that `key` will sign, over the header fields `names`.
    pub(super) fn new(
        key: &SigningKey,
        names: &[&str],
        (body, now): (&BodyHash, Timestamp),
    ) -> Unsigned {
        let text = format!("{NAME}: v=1;");
        let mut field = Unsigned { column: text.len(), text };
        field.word(&format!("a={};", key.pair.algorithm().name()));
        field.word("c=relaxed/relaxed;");
        field.word(&format!("d={};", key.domain));
        field.word(&format!("s={};", key.selector));
        field.word(&format!("t={};", now.seconds().max(0)));
        for (n, name) in names.iter().enumerate() {
            let end = if n + 1 == names.len() { ';' } else { ':' };
            match n {
                0 => field.word(&format!("h={name}{end}")),
                _ => field.piece(&format!("{name}{end}")),
            }
        }
        field.word("bh=");
        field.stretch(&format!("{};", BASE64_STANDARD.encode(body.0)));
        field.word("b=");
        field
    }

    /// What stands after the colon.
    pub(super) fn value(&self) -> &[u8] {
        &self.text.as_bytes()[NAME.len() + 1..]
    }

    /// The whole field with its signature and CRLF.
    pub(super) fn signed(mut self, signature: &[u8]) -> String {
        self.stretch(&BASE64_STANDARD.encode(signature));
        self.text.push_str("\r\n");
        self.text
    }

    /// A word of its own.
    fn word(&mut self, word: &str) {
        if self.column + 1 + word.len() > LINE_COLUMNS_MAX {
            self.fold();
        } else {
            self.push(" ");
        }
        self.push(word);
    }

    /// A part that continues the word, on the next line if it must.
    fn piece(&mut self, piece: &str) {
        if self.column + piece.len() > LINE_COLUMNS_MAX {
            self.fold();
        }
        self.push(piece);
    }

    /// Text that may be folded anywhere: base64 is ASCII.
    fn stretch(&mut self, mut text: &str) {
        while !text.is_empty() {
            if self.column >= LINE_COLUMNS_MAX {
                self.fold();
            }
            let (part, rest) = text.split_at(text.len().min(LINE_COLUMNS_MAX - self.column));
            self.push(part);
            text = rest;
        }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.len();
    }

    fn fold(&mut self) {
        self.text.push_str("\r\n\t");
        self.column = 1;
    }
}
