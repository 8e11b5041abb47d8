//! PREVIEW of messages that were stored before previews were: from the message, when it is asked
//! for. RFC 8970

use super::item::Patience;
use super::write::string;
use crate::mail::id::BlobId;
use crate::mail::message::{PREVIEW_SOURCE_BYTES_MAX, preview_of, preview_parts};
use crate::store::{Facts, FactsWanted, Store, StoreError};

/// Writes `PREVIEW value`. One that is not there at once is NIL, which only the lazy are told.
pub fn write(out: &mut Vec<u8>, preview: Option<&str>) {
    out.extend_from_slice(b"PREVIEW ");
    match preview {
        Some(preview) => string(out, preview.as_bytes()),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Adds the preview to a message's facts where it is missing and waited for.
pub async fn complete(
    store: &dyn Store,
    (blob, facts): (BlobId, &mut Facts),
    patience: Patience,
) -> Result<(), StoreError> {
    if facts.preview.is_some() || patience == Patience::Lazy {
        return Ok(());
    }
    let wanted = FactsWanted { structure: true, ..FactsWanted::default() };
    let found = store.facts(&[blob], wanted).await?;
    let structure = found.into_iter().next().and_then(|facts| facts.structure);
    let structure = structure.ok_or(StoreError::Gone)?;
    let mut preview = String::new();
    for part in preview_parts(&structure) {
        let end = part.body_end.min(part.body_start.saturating_add(PREVIEW_SOURCE_BYTES_MAX));
        let body = store.body(blob, part.body_start..end).await?;
        preview = preview_of(part, &body);
        if !preview.is_empty() {
            break;
        }
    }
    facts.preview = Some(preview);
    Ok(())
}
