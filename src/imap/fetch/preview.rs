//! PREVIEW of messages that were stored before previews were: from the message, when it is asked
//! for the first time; the store keeps it. RFC 8970

use super::item::Patience;
use super::write::string;
use crate::mail::id::BlobId;
use crate::mail::message::{PREVIEW_SOURCE_BYTES_MAX, preview_of, preview_parts};
use crate::store::change::{Actor, Change, Transaction};
use crate::store::{Facts, FactsWanted, Store, StoreError};

/// Writes `PREVIEW value`. One that is not there at once is NIL, which only the lazy are told.
pub fn write(out: &mut Vec<u8>, preview: Option<&str>) {
    out.extend_from_slice(b"PREVIEW ");
    match preview {
        Some(preview) => string(out, preview.as_bytes()),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Adds previews to messages' facts where they are missing and waited for. A message of which none
/// can be read has none.
pub async fn complete(
    store: &dyn Store,
    messages: impl Iterator<Item = (BlobId, &mut Facts)>,
    patience: Patience,
) {
    let mut made = Vec::new();
    for (blob, facts) in messages {
        if facts.preview.is_some() || patience == Patience::Lazy {
            continue;
        }
        if let Ok(preview) = make(store, blob).await {
            made.push((blob, preview.clone()));
            facts.preview = Some(preview);
        }
    }
    if !made.is_empty() {
        let changes = vec![Change::PreviewsMade(made)];
        // what cannot be kept now is made again
        let _ = store.commit(Transaction { actor: Actor::System, changes }).await;
    }
}

async fn make(store: &dyn Store, blob: BlobId) -> Result<String, StoreError> {
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
    Ok(preview)
}
