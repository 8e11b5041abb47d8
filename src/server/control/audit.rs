//! The audit log as it is told, some entries at a time. What messages are about is looked up when
//! it is asked for: the log holds their numbers only.

use super::words::{End, Entry as Told, Line, Subject, hex};
use crate::config::Subjects;
use crate::mail::id::{BlobId, Timestamp};
use crate::mail::message::{Envelope, decoded};
use crate::store::audit::{Entry, EntryId, Filter, Record};
use crate::store::{FactsWanted, Store, StoreError};

/// Entries looked at in one go.
const ENTRIES_AT_ONCE: usize = 500;
/// Messages of one entry whose subject is told.
const SUBJECTS_MAX: usize = 20;

/// The log on its way to who has asked.
pub struct Reading {
    filter: Filter,
    /// From here on; `None`: all is said.
    next: Option<EntryId>,
}

impl Reading {
    /// What fits of it, from its start.
    pub fn new(filter: Filter) -> Reading {
        Reading { filter, next: Some(EntryId(1)) }
    }

    /// The next lines; the last of all says where the log ends, or why it cannot be read.
    pub async fn next(&mut self, store: &dyn Store, subjects: Subjects) -> Option<Vec<Line>> {
        let first = self.next?;
        let lines = self.read(store, (first, subjects)).await;
        Some(lines.unwrap_or_else(|error| {
            self.next = None;
            vec![Line::Error(format!("the audit log cannot be read: {error}"))]
        }))
    }

    async fn read(
        &mut self,
        store: &dyn Store,
        (first, subjects): (EntryId, Subjects),
    ) -> Result<Vec<Line>, StoreError> {
        // taken before: what comes meanwhile is not told, and not missed
        let tip = store.audit_tip();
        let since = self.filter.since.unwrap_or(Timestamp(i64::MIN));
        let records = store.audited(first, since, ENTRIES_AT_ONCE).await?;
        self.next = records.last().map(|last| EntryId(last.id.0 + 1));
        let mut lines = Vec::new();
        for record in records.iter().filter(|record| record.id <= tip.id) {
            // an entry that cannot be read is shown to whoever asks for all
            let entry = Entry::parse(&record.text);
            if entry.as_ref().map_or(self.filter == Filter::default(), |e| self.filter.fits(e)) {
                let subjects = match (subjects, &entry) {
                    (Subjects::Shown, Some(entry)) => of_messages(store, entry).await?,
                    _ => Vec::new(),
                };
                lines.push(Line::Entry(told(record, subjects)));
            }
        }
        if self.next.is_none_or(|next| next > tip.id) {
            self.next = None;
            lines.push(Line::End(End { id: tip.id.0, hash: hex(&tip.hash) }));
        }
        Ok(lines)
    }
}

fn told(record: &Record, subjects: Vec<Subject>) -> Told {
    let (id, at, text) = (record.id.0, record.at.0, record.text.clone());
    Told { id, at, hash: hex(&record.hash), text, subjects }
}

async fn of_messages(store: &dyn Store, entry: &Entry) -> Result<Vec<Subject>, StoreError> {
    let blobs: Vec<BlobId> = entry.blobs().take(SUBJECTS_MAX).collect();
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = FactsWanted { envelope: true, ..FactsWanted::default() };
    let facts = store.facts(&blobs, wanted).await?;
    let envelopes = blobs.iter().zip(facts);
    let told = envelopes.filter_map(|(blob, facts)| Some(subject(*blob, &*facts.envelope?)));
    Ok(told.collect())
}

fn subject(blob: BlobId, envelope: &Envelope) -> Subject {
    let from = envelope.from.iter().filter_map(|from| from.address());
    Subject {
        message: blob.0,
        subject: decoded(envelope.subject.as_deref().unwrap_or_default()),
        from: from.map(|address| address.to_string()).collect::<Vec<_>>().join(", "),
        message_id: envelope.bare_message_id().unwrap_or_default(),
    }
}
