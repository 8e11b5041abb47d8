//! The stored message on its way out, piece by piece: its trace fields, then its bytes. Never whole
//! in memory.

use std::sync::Arc;

use crate::mail::id::{BlobId, TraceId};
use crate::mail::transport::Body;
use crate::server::duty::Under;
use crate::smtp::client::{Mail, Offer};
use crate::store::{Store, StoreError};

/// Bytes that are read at a time.
const READ_BYTES_MAX: u64 = 256 * 1024;

/// Where the bytes of a mail are; they must be as many as its `size_bytes` says.
#[derive(Clone)]
pub struct Content {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The message.
    pub blob: BlobId,
    /// What goes out before it; `TraceId::NONE`: nothing.
    pub trace: TraceId,
    /// As long as this lasts, a server may have the end of it.
    pub under: Under,
}

/// Reads a content once.
pub(super) struct Pieces<'a> {
    content: &'a Content,
    next: Next,
}

enum Next {
    Trace,
    Body(u64),
    Nothing,
}

impl Content {
    pub(super) fn pieces(&self) -> Pieces<'_> {
        Pieces { content: self, next: Next::Trace }
    }

    /// The mail as it really is: many programs declare SMTPUTF8 for what is plain ASCII, and would
    /// have it fail at the first server that does not offer it, here or further on. The same for
    /// 8BITMIME, where it matters. What cannot be read now stays as declared.
    pub(super) async fn judged(&self, mail: &Mail, offer: &Offer) -> Mail {
        let mut mail = mail.clone();
        if mail.smtputf8
            && let Ok(found) = self.is_beyond_ascii(Within::Header).await
        {
            mail.smtputf8 = found;
        }
        if !offer.eight_bit
            && let Ok(found) = self.is_beyond_ascii(Within::All).await
        {
            mail.body = if found { Body::EightBitMime } else { Body::SevenBit };
        }
        mail
    }

    async fn is_beyond_ascii(&self, within: Within) -> Result<bool, StoreError> {
        let mut pieces = self.pieces();
        let mut head = HeaderEnd::default();
        while let Some(piece) = pieces.next().await? {
            let end = match within {
                Within::Header => head.find(&piece),
                Within::All => None,
            };
            if !piece[..end.unwrap_or(piece.len())].is_ascii() {
                return Ok(true);
            }
            if end.is_some() {
                break;
            }
        }
        Ok(false)
    }
}

/// Where to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Header,
    All,
}

/// Finds the empty line, whatever the pieces. CR counts for nothing.
#[derive(Default)]
struct HeaderEnd {
    in_line: bool,
}

impl HeaderEnd {
    fn find(&mut self, piece: &[u8]) -> Option<usize> {
        for (at, byte) in piece.iter().enumerate() {
            match byte {
                b'\n' if !self.in_line => return Some(at),
                b'\n' => self.in_line = false,
                b'\r' => {}
                _ => self.in_line = true,
            }
        }
        None
    }
}

impl Pieces<'_> {
    /// The next bytes, `READ_BYTES_MAX` of the message at most; never empty.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            let piece = match self.next {
                Next::Nothing => return Ok(None),
                Next::Trace => {
                    self.next = Next::Body(0);
                    self.content.store.trace(self.content.trace).await?
                }
                Next::Body(at) => {
                    let to = at.saturating_add(READ_BYTES_MAX);
                    let piece = self.content.store.body(self.content.blob, at..to).await?;
                    // The store gives less than was asked for at the end only.
                    let is_last = (piece.len() as u64) < READ_BYTES_MAX;
                    self.next = if is_last { Next::Nothing } else { Next::Body(to) };
                    piece
                }
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_at_the_empty_line_whatever_the_pieces() {
        let text = b"A: b\r\n c\r\n\r\nbody\r\n\r\n";
        for size in 1..text.len() {
            let mut head = HeaderEnd::default();
            let mut before = 0;
            let end = text.chunks(size).find_map(|piece| {
                let found = head.find(piece).map(|at| before + at);
                before += piece.len();
                found
            });
            assert_eq!(end, Some(11), "by {size}");
        }
    }

    #[test]
    fn a_body_without_header_begins_with_the_empty_line() {
        assert_eq!(HeaderEnd::default().find(b"\r\nbody"), Some(1));
        assert_eq!(HeaderEnd::default().find(b"A: b"), None);
    }
}
