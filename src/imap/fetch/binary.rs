//! BINARY and BINARY.SIZE of a part that is encoded: decoded on its way, in two passes, since the
//! length comes first. Knows no view. RFC 3516

use std::ops::Range;

use super::body::{Source, read, told};
use super::item::{Section, Transfer};
use super::write::literal_head;
use crate::imap::Refusal;
use crate::imap::output::Output;
use crate::imap::wire::number;
use crate::mail::message::{Encoding, Part, SectionText, part_at, section};
use crate::store::StoreError;

/// So much of what the first pass decodes is kept, which spares small parts the second.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// A decoded section.
pub(super) struct Binary<'a> {
    source: &'a Source<'a>,
    wanted: &'a Section,
    /// `None`: there is no such part.
    stored: Option<Range<u64>>,
    /// `None`: nobody knows how it is encoded.
    encoding: Option<Encoding>,
}

/// What the first pass has found.
#[derive(Default)]
struct Measure {
    bytes: u64,
    has_nul: bool,
    /// All of it, or what fits.
    kept: Vec<u8>,
}

impl<'a> Binary<'a> {
    /// `None`: the section is sent as it stands, as BODY would be.
    pub(super) fn of(source: &'a Source<'a>, wanted: &'a Section) -> Option<Binary<'a>> {
        let is_size = wanted.transfer == Transfer::Measured;
        if wanted.path.is_empty() {
            let stored = Some(0..u64::from(source.entry.size_bytes));
            let encoding = Some(Encoding::Identity);
            return is_size.then_some(Binary { source, wanted, stored, encoding });
        }
        let top: Option<&Part> = source.facts.structure.as_deref();
        let part = top.and_then(|top| part_at(top, &wanted.path));
        let stored = top.and_then(|top| section(top, &wanted.path, SectionText::Body));
        let encoding = part.map_or(Some(Encoding::Identity), Encoding::of);
        match encoding {
            Some(Encoding::Identity) if !is_size => None,
            _ => Some(Binary { source, wanted, stored, encoding }),
        }
    }

    /// Writes `label value`, as `Source::write`.
    pub(super) async fn write(&self, out: &mut Output<'_>) -> Result<(), Refusal> {
        out.push(&self.wanted.label);
        let nothing: &[u8] = match (self.wanted.transfer, self.wanted.partial) {
            (Transfer::Measured, _) => b" 0",
            (_, Some((origin, _))) => {
                out.push(format!("<{origin}>").as_bytes());
                b" NIL"
            }
            (_, None) => b" NIL",
        };
        let Some(encoding) = self.encoding else {
            out.push(nothing);
            return Err(Refusal::no("UNKNOWN-CTE", "A part is encoded in a way that is not known"));
        };
        let Some(stored) = &self.stored else {
            out.push(nothing);
            return Ok(());
        };
        let measure = match self.measure(encoding, stored).await {
            Ok(measure) => measure,
            Err(error) => {
                out.push(nothing);
                return Err(told(error));
            }
        };
        out.push(b" ");
        if self.wanted.transfer == Transfer::Measured {
            number::write(out.buffer(), measure.bytes);
            return Ok(());
        }
        self.content(encoding, (stored, &measure), out).await
    }

    async fn measure(
        &self,
        encoding: Encoding,
        stored: &Range<u64>,
    ) -> Result<Measure, StoreError> {
        let mut measure = Measure::default();
        if encoding == Encoding::Identity {
            measure.bytes = stored.end - stored.start;
            return Ok(measure);
        }
        let mut decoder = encoding.decoder();
        let (mut at, mut decoded) = (stored.start, Vec::new());
        while at < stored.end {
            let piece = read(self.source.store, self.source.entry.blob, at..stored.end).await?;
            at += piece.len() as u64;
            decoder.push(&piece, &mut decoded);
            measure.count(&mut decoded);
        }
        decoder.finish(&mut decoded);
        measure.count(&mut decoded);
        Ok(measure)
    }

    /// The literal, or the piece of it that is wanted.
    async fn content(
        &self,
        encoding: Encoding,
        (stored, measure): (&Range<u64>, &Measure),
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let (origin, count) = self.wanted.partial.unwrap_or((0, u64::MAX));
        let start = origin.min(measure.bytes);
        let end = origin.saturating_add(count).min(measure.bytes);
        if measure.has_nul {
            out.push(b"~");
        }
        literal_head(out.buffer(), end - start);
        if measure.kept.len() as u64 == measure.bytes {
            out.push(&measure.kept[start as usize..end as usize]);
            return Ok(out.flush_if_full().await?);
        }
        let mut decoder = encoding.decoder();
        let (mut at, mut decoded, mut before) = (stored.start, Vec::new(), 0);
        while at < stored.end && before < end {
            let piece = read(self.source.store, self.source.entry.blob, at..stored.end).await;
            let piece = piece.map_err(|_| Refusal::Disconnected)?;
            at += piece.len() as u64;
            decoder.push(&piece, &mut decoded);
            if at >= stored.end {
                decoder.finish(&mut decoded);
            }
            let within = |offset: u64| offset.saturating_sub(before).min(decoded.len() as u64);
            out.push(&decoded[within(start) as usize..within(end) as usize]);
            before += decoded.len() as u64;
            decoded.clear();
            out.flush_if_full().await?;
        }
        Ok(())
    }
}

impl Measure {
    fn count(&mut self, decoded: &mut Vec<u8>) {
        self.bytes += decoded.len() as u64;
        self.has_nul |= memchr::memchr(0, decoded).is_some();
        let room = KEPT_BYTES_MAX.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&decoded[..room.min(decoded.len())]);
        decoded.clear();
    }
}
