//! Sections of one message: from an item to bytes on their way, in pieces, with exact lengths. What
//! differs between recipients (the trace) stands in front of the stored bytes. Knows no view.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use super::binary::Binary;
use super::item::{FieldsFrom, Section, Text, Transfer};
use super::write::literal_head;
use crate::imap::Refusal;
use crate::imap::output::Output;
use crate::imap::wire::number;
use crate::mail::id::BlobId;
use crate::mail::message::{Part, SectionText, section, select_fields, select_fields_not};
use crate::store::snapshot::Entry;
use crate::store::{Facts, Store, StoreError};

/// Most bytes of a message that are in memory at once.
pub const PIECE_BYTES_MAX: u64 = 256 * 1024;
/// Header fields are chosen from so much of a header.
pub const HEADER_BYTES_MAX: u64 = 1024 * 1024;
/// Room for the header fields that a listing asks for.
const FIELDS_BYTES_USUAL: usize = 1024;

/// One message whose sections are written.
pub struct Source<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) entry: &'a Entry,
    pub(super) facts: &'a Facts,
    /// Trace and message, if they have been read already.
    whole: Option<&'a [u8]>,
}

/// What a section consists of.
enum Piece<'a> {
    /// Bytes at hand.
    Memory(Cow<'a, [u8]>),
    /// A range of the stored message.
    Stored(Range<u64>),
}

impl<'a> Piece<'a> {
    fn into_owned(self) -> Piece<'static> {
        match self {
            Piece::Memory(bytes) => Piece::Memory(Cow::Owned(bytes.into_owned())),
            Piece::Stored(range) => Piece::Stored(range),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Piece::Memory(bytes) => bytes.len() as u64,
            Piece::Stored(range) => range.end.saturating_sub(range.start),
        }
    }

    fn held(bytes: Vec<u8>) -> Piece<'a> {
        Piece::Memory(Cow::Owned(bytes))
    }

    /// Without its first `skip` bytes, and at most `count` of the others.
    fn cut(self, skip: u64, count: u64) -> Piece<'a> {
        let (skip, length) = (skip.min(self.len()), self.len());
        let end = skip.saturating_add(count).min(length);
        match self {
            Piece::Memory(bytes) => Piece::held(bytes[skip as usize..end as usize].to_vec()),
            Piece::Stored(range) => Piece::Stored(range.start + skip..range.start + end),
        }
    }
}

/// The bytes of a section on their way into another message.
pub struct Copying {
    blob: BlobId,
    pieces: VecDeque<Piece<'static>>,
}

impl Copying {
    /// How many are left.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// How many of these are in memory.
    pub fn memory_bytes(&self) -> u64 {
        let in_memory = self.pieces.iter().filter(|piece| matches!(piece, Piece::Memory(_)));
        in_memory.map(Piece::len).sum()
    }

    /// The next of them, `PIECE_BYTES_MAX` of what is stored at most; `None`: that was all.
    pub async fn next(&mut self, store: &dyn Store) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            match self.pieces.pop_front() {
                None => return Ok(None),
                Some(Piece::Memory(bytes)) if bytes.is_empty() => {}
                Some(Piece::Memory(bytes)) => return Ok(Some(bytes.into_owned())),
                Some(Piece::Stored(range)) if range.is_empty() => {}
                Some(Piece::Stored(range)) => {
                    let bytes = read(store, self.blob, range.clone()).await?;
                    let rest = range.start + bytes.len() as u64..range.end;
                    self.pieces.push_front(Piece::Stored(rest));
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Whether a section of this kind can be cut out only with the structure at hand.
pub fn needs_structure(section: &Section) -> bool {
    match &section.text {
        Text::Whole => !section.path.is_empty(),
        Text::Fields(_, from) => *from == FieldsFrom::Message,
        _ => true,
    }
}

/// Whether a section is answered from the stored fields.
pub fn is_from_fields(section: &Section) -> bool {
    matches!(&section.text, Text::Fields(_, from) if *from != FieldsFrom::Message)
}

impl<'a> Source<'a> {
    /// A message with the facts that its sections need.
    pub fn new(store: &'a dyn Store, entry: &'a Entry, facts: &'a Facts) -> Source<'a> {
        Source { store, entry, facts, whole: None }
    }

    /// With the whole message at hand, if it is what the entry says.
    pub fn with_whole(self, whole: Option<&'a [u8]>) -> Source<'a> {
        let fits = |bytes: &&[u8]| bytes.len() as u64 == u64::from(self.entry.size_bytes);
        Source { whole: whole.filter(fits), ..self }
    }

    /// Writes `label value`. A section that does not exist is NIL. An error is the caller's to tell
    /// as long as nothing of the value has left; behind that, the connection cannot go on.
    pub async fn write(&self, wanted: &Section, out: &mut Output<'_>) -> Result<(), Refusal> {
        if wanted.transfer != Transfer::Kept
            && let Some(binary) = Binary::of(self, wanted)
        {
            return binary.write(out).await;
        }
        let pieces = self.pieces(wanted).await;
        out.push(&wanted.label);
        if let Some((origin, _)) = wanted.partial {
            out.push(b"<");
            number::write(out.buffer(), origin);
            out.push(b">");
        }
        let pieces = match pieces {
            Ok(Some(pieces)) => cut(pieces, wanted.partial),
            Ok(None) => {
                out.push(b" NIL");
                return Ok(());
            }
            Err(error) => {
                out.push(b" NIL");
                return Err(told(error));
            }
        };
        // the first bytes are read before their number is promised
        let first = match self.first_bytes(&pieces).await {
            Ok(first) => first,
            Err(error) => {
                out.push(b" NIL");
                return Err(told(error));
            }
        };
        out.push(b" ");
        literal_head(out.buffer(), pieces.iter().map(Piece::len).sum());
        self.stream(pieces, first, out).await
    }

    /// What FETCH would send as the section's literal; `None`: it would say NIL.
    pub async fn copying(&self, wanted: &Section) -> Result<Option<Copying>, StoreError> {
        let pieces = self.pieces(wanted).await?;
        let pieces = pieces.map(|pieces| cut(pieces, wanted.partial));
        let blob = self.entry.blob;
        let owned = |pieces: Vec<Piece<'_>>| pieces.into_iter().map(Piece::into_owned).collect();
        Ok(pieces.map(|pieces| Copying { blob, pieces: owned(pieces) }))
    }

    /// Sends the pieces; `first` is what has been read of the first stored one.
    async fn stream(
        &self,
        pieces: Vec<Piece<'_>>,
        mut first: Option<Vec<u8>>,
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        for piece in pieces {
            let range = match piece {
                Piece::Memory(bytes) => {
                    out.push(&bytes);
                    continue;
                }
                Piece::Stored(range) => range,
            };
            let mut at = range.start;
            while at < range.end {
                let bytes = match first.take() {
                    Some(bytes) => bytes,
                    None => read(self.store, self.entry.blob, at..range.end)
                        .await
                        .map_err(|_| Refusal::Disconnected)?,
                };
                at += bytes.len() as u64;
                out.push(&bytes);
                out.flush_if_full().await?;
            }
        }
        Ok(())
    }

    async fn first_bytes(&self, pieces: &[Piece<'_>]) -> Result<Option<Vec<u8>>, StoreError> {
        let stored = pieces.iter().find_map(|piece| match piece {
            Piece::Stored(range) if range.start < range.end => Some(range.clone()),
            _ => None,
        });
        match stored {
            Some(range) => Ok(Some(read(self.store, self.entry.blob, range).await?)),
            None => Ok(None),
        }
    }

    async fn pieces(&self, wanted: &Section) -> Result<Option<Vec<Piece<'a>>>, StoreError> {
        let is_message = wanted.path.is_empty();
        let text = match &wanted.text {
            Text::Whole if is_message => {
                if let Some(whole) = self.whole {
                    return Ok(Some(vec![Piece::Memory(Cow::Borrowed(whole))]));
                }
                let stored = self.entry.size_bytes.saturating_sub(self.entry.trace_bytes);
                return Ok(Some(vec![
                    Piece::held(self.trace().await?),
                    Piece::Stored(0..u64::from(stored)),
                ]));
            }
            Text::Fields(names, from) if *from != FieldsFrom::Message => {
                let mut fields = Vec::with_capacity(FIELDS_BYTES_USUAL);
                if *from == FieldsFrom::TraceAndCache {
                    select_fields(&self.trace().await?, names, &mut fields);
                }
                select_fields(&self.facts.fields, names, &mut fields);
                fields.extend_from_slice(b"\r\n");
                return Ok(Some(vec![Piece::held(fields)]));
            }
            Text::Fields(names, _) | Text::FieldsNot(names) => {
                let Some(header) = self.header(&wanted.path).await? else { return Ok(None) };
                let mut fields = Vec::with_capacity(FIELDS_BYTES_USUAL);
                match &wanted.text {
                    Text::FieldsNot(_) => select_fields_not(&header, names, &mut fields),
                    _ => select_fields(&header, names, &mut fields),
                }
                fields.extend_from_slice(b"\r\n");
                return Ok(Some(vec![Piece::held(fields)]));
            }
            Text::Whole => SectionText::Body,
            Text::Header => SectionText::Header,
            Text::Text => SectionText::Text,
            Text::Mime => SectionText::Mime,
        };
        let Some(range) = section(self.structure()?, &wanted.path, text) else { return Ok(None) };
        let mut pieces = Vec::with_capacity(2);
        if is_message && text == SectionText::Header {
            pieces.push(Piece::held(self.trace().await?));
        }
        pieces.push(Piece::Stored(range));
        Ok(Some(pieces))
    }

    /// The raw header of the message or of the message in a part.
    async fn header(&self, path: &[u32]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(range) = section(self.structure()?, path, SectionText::Header) else {
            return Ok(None);
        };
        let mut header = if path.is_empty() { self.trace().await? } else { Vec::new() };
        let end = range.end.min(range.start.saturating_add(HEADER_BYTES_MAX));
        let mut at = range.start;
        while at < end {
            let bytes = read(self.store, self.entry.blob, at..end).await?;
            at += bytes.len() as u64;
            header.extend_from_slice(&bytes);
        }
        Ok(Some(header))
    }

    fn structure(&self) -> Result<&'a Part, StoreError> {
        self.facts.structure.as_deref().ok_or(StoreError::Gone)
    }

    async fn trace(&self) -> Result<Vec<u8>, StoreError> {
        if self.entry.trace_bytes == 0 {
            return Ok(Vec::new());
        }
        self.store.trace(self.entry.trace).await
    }
}

/// A message that is gone is not a mailbox that is gone. RFC 5530 §3 `EXPUNGEISSUED`
pub(super) fn told(error: StoreError) -> Refusal {
    match error {
        StoreError::Gone => gone(),
        other => other.into(),
    }
}

/// The answer for messages that cannot be read any more. RFC 5530 §3 `EXPUNGEISSUED`
pub fn gone() -> Refusal {
    Refusal::no("EXPUNGEISSUED", "Some of the messages have been expunged by another session")
}

/// At most one piece of `range`, at least one byte.
pub(super) async fn read(
    store: &dyn Store,
    blob: BlobId,
    range: Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let end = range.end.min(range.start.saturating_add(PIECE_BYTES_MAX));
    let mut bytes = store.body(blob, range.start..end).await?;
    if bytes.is_empty() {
        return Err(StoreError::Corrupt("a message is shorter than its size".into()));
    }
    bytes.truncate((end - range.start) as usize);
    Ok(bytes)
}

/// The part of `pieces` that a partial FETCH asks for.
fn cut(pieces: Vec<Piece<'_>>, partial: Option<(u64, u64)>) -> Vec<Piece<'_>> {
    let Some((mut skip, mut count)) = partial else { return pieces };
    let mut kept = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let length = piece.len();
        let piece = piece.cut(skip, count);
        skip = skip.saturating_sub(length);
        count -= piece.len();
        kept.push(piece);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_text(partial: (u64, u64)) -> String {
        let pieces = ["trace", "", "stored"].map(|t| Piece::Memory(t.as_bytes().into()));
        let kept = cut(pieces.into(), Some(partial));
        let bytes = kept.into_iter().flat_map(|piece| match piece {
            Piece::Memory(bytes) => bytes.into_owned(),
            Piece::Stored(_) => Vec::new(),
        });
        String::from_utf8(bytes.collect()).expect("ASCII")
    }

    #[test]
    fn a_partial_is_cut_across_trace_and_message() {
        assert_eq!(cut_text((0, 100)), "tracestored");
        assert_eq!(cut_text((3, 4)), "cest");
        assert_eq!(cut_text((5, 1)), "s");
        assert_eq!(cut_text((11, 5)), "");
        assert_eq!(cut_text((u64::MAX, u64::MAX)), "");
        assert_eq!(cut_text((2, 2)), "ac");
    }

    #[test]
    fn a_stored_range_is_cut_without_reading_it() {
        let Piece::Stored(range) = Piece::Stored(10..20).cut(3, 4) else { unreachable!() };
        assert_eq!(range, 13..17);
    }
}
