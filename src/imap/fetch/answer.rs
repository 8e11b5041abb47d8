//! FETCH responses: from the snapshot where they can be, from stored facts in batches where they
//! must. Knows no command: what a client asked for and what it is told unasked look the same.
//! RFC 3501 §7.4.2

use std::io::Write;

use futures_util::future::join;

use super::at_hand::{self, AtHand};
use super::body::{Source, gone, is_from_fields, needs_structure};
use super::item::{Item, Patience, Request};
use super::preview;
use super::write::{Beyond, Extensions, envelope, structure};
use crate::imap::object_id::ObjectIds;
use crate::imap::output::Output;
use crate::imap::view::{Message, Selection};
use crate::imap::wire::number;
use crate::imap::{Refusal, Selected, date, flags};
use crate::mail::uid_set::UidSet;
use crate::store::{Facts, FactsWanted, Store};

/// How messages are answered.
pub struct Answer<'a> {
    /// What is asked for.
    pub request: &'a Request,
    /// In which mailbox.
    pub selected: &'a Selected,
    /// Whether the client has enabled UTF-8.
    pub beyond: Beyond,
    /// What messages and conversations are called.
    pub ids: ObjectIds,
    /// Messages whose \Seen this command has just set: their flags are shown too.
    pub newly_seen: &'a UidSet,
}

impl Answer<'_> {
    /// A message that cannot be read does not keep the others back: the first failure is told at
    /// the end.
    pub async fn write_all(
        &self,
        (store, out): (&dyn Store, &mut Output<'_>),
        selection: &Selection,
        failure: &mut Option<Refusal>,
    ) -> Result<(), Refusal> {
        let view = &self.selected.view;
        if self.facts_wanted() == FactsWanted::default() && !self.has_sections() {
            for message in view.messages(selection) {
                self.begin(&message, out);
                self.simple_items(&message, &Facts::default(), out);
                out.push(b")\r\n");
                out.flush_if_full().await?;
            }
            return Ok(());
        }
        let mut batches = at_hand::batches(view, self.request, selection);
        let mut next = self.gather(store, batches.next()).await?;
        while let Some(batch) = next {
            let ahead = self.gather(store, batches.next());
            let (ahead, written) =
                join(ahead, self.write_batch((store, out), batch, failure)).await;
            written?;
            next = ahead?;
        }
        Ok(())
    }

    async fn gather(
        &self,
        store: &dyn Store,
        batch: Option<Selection>,
    ) -> Result<Option<AtHand>, Refusal> {
        match batch {
            Some(batch) => Ok(Some(AtHand::gather(self, store, batch).await?)),
            None => Ok(None),
        }
    }

    async fn write_batch(
        &self,
        (store, out): (&dyn Store, &mut Output<'_>),
        batch: AtHand,
        failure: &mut Option<Refusal>,
    ) -> Result<(), Refusal> {
        let wanted = self.facts_wanted();
        let is_patient = self.request.items.contains(&Item::Preview(Patience::Patient));
        let mut wholes = batch.wholes.into_iter();
        for (message, facts) in self.selected.view.messages(&batch.selection).zip(&batch.facts) {
            let whole = wholes.next().flatten();
            if is_gone(facts, wanted) || is_patient && facts.preview.is_none() {
                failure.get_or_insert_with(gone);
                continue;
            }
            self.begin(&message, out);
            self.simple_items(&message, facts, out);
            let source = Source::new(store, message.entry, facts).with_whole(whole.as_deref());
            if let Err(refusal) = self.sections(&source, out).await? {
                failure.get_or_insert(refusal);
            }
            out.push(b")\r\n");
            out.flush_if_full().await?;
        }
        Ok(())
    }

    /// What has to be known of each message.
    pub(super) fn facts_wanted(&self) -> FactsWanted {
        let any = |test: fn(&Item) -> bool| self.request.items.iter().any(test);
        FactsWanted {
            envelope: any(|item| *item == Item::Envelope),
            structure: any(|item| match item {
                Item::Body | Item::BodyStructure => true,
                Item::Section(section) => needs_structure(section),
                _ => false,
            }),
            fields: any(|item| matches!(item, Item::Section(s) if is_from_fields(s))),
            preview: any(|item| matches!(item, Item::Preview(_))),
            ..FactsWanted::default()
        }
    }

    fn has_sections(&self) -> bool {
        self.request.items.iter().any(|item| matches!(item, Item::Section(_)))
    }

    fn begin(&self, message: &Message<'_>, out: &mut Output<'_>) {
        out.push(b"* ");
        number::write(out.buffer(), u64::from(message.number));
        out.push(b" FETCH (");
    }

    /// All items but sections, in the order asked for.
    fn simple_items(&self, message: &Message<'_>, facts: &Facts, out: &mut Output<'_>) {
        let out = out.buffer();
        let mut separator: &[u8] = b"";
        let items = &self.request.items;
        let newly = self.newly_seen.contains(message.entry.uid);
        let shows_flags = newly && !items.contains(&Item::Flags);
        // RFC 7162 §3.2.4
        let condstore = newly && self.selected.view.condstore().is_on();
        let shows_uid = condstore && !items.contains(&Item::Uid);
        let shows_modseq = condstore && !items.contains(&Item::ModSeq);
        let added =
            [(shows_uid, Item::Uid), (shows_flags, Item::Flags), (shows_modseq, Item::ModSeq)];
        let added = added.iter().filter(|(shown, _)| *shown).map(|(_, item)| item);
        for item in items.iter().chain(added) {
            if matches!(item, Item::Section(_)) {
                continue;
            }
            out.extend_from_slice(separator);
            separator = b" ";
            self.simple_item(item, (message, facts), out);
        }
        if separator == b" " && self.has_sections() {
            out.push(b' ');
        }
    }

    fn simple_item(&self, item: &Item, (m, facts): (&Message<'_>, &Facts), out: &mut Vec<u8>) {
        match item {
            Item::Flags => {
                let names = &self.selected.view.told().keywords;
                flags::write(out, m.flags, m.recent, (&m.entry.keywords, names));
            }
            Item::Uid => labelled_number(out, b"UID ", u64::from(m.entry.uid.0)),
            Item::Size => labelled_number(out, b"RFC822.SIZE ", u64::from(m.entry.size_bytes)),
            Item::ModSeq => {
                labelled_number(out, b"MODSEQ (", m.modseq.0);
                out.push(b')');
            }
            Item::EmailId => {
                // writing to memory cannot fail
                let _ = write!(out, "EMAILID ({})", self.ids.email(m.entry));
            }
            Item::ThreadId => {
                let _ = write!(out, "THREADID ({})", self.ids.thread(m.entry.thread));
            }
            Item::SaveDate => {
                out.extend_from_slice(b"SAVEDATE ");
                date::write_date_time(out, m.entry.saved);
            }
            Item::InternalDate => {
                out.extend_from_slice(b"INTERNALDATE ");
                date::write_date_time(out, m.entry.internal_date);
            }
            Item::Envelope => {
                out.extend_from_slice(b"ENVELOPE ");
                if let Some(facts) = &facts.envelope {
                    envelope(out, facts, self.beyond);
                }
            }
            Item::Body | Item::BodyStructure => {
                let (label, extensions): (&[u8], _) = match item {
                    Item::Body => (b"BODY ", Extensions::Omitted),
                    _ => (b"BODYSTRUCTURE ", Extensions::Shown),
                };
                out.extend_from_slice(label);
                if let Some(part) = &facts.structure {
                    structure(out, part, (extensions, self.beyond));
                }
            }
            Item::Preview(_) => preview::write(out, facts.preview.as_deref()),
            Item::Section(_) => (),
        }
    }

    /// Writes the sections. The outer error ends the connection, the inner one is told at the end.
    async fn sections(
        &self,
        source: &Source<'_>,
        out: &mut Output<'_>,
    ) -> Result<Result<(), Refusal>, Refusal> {
        let mut answer = Ok(());
        let mut separator: &[u8] = b"";
        for item in &self.request.items {
            let Item::Section(section) = item else { continue };
            out.push(separator);
            separator = b" ";
            match source.write(section, out).await {
                Ok(()) => (),
                Err(Refusal::Disconnected) => return Err(Refusal::Disconnected),
                Err(refusal) => answer = Err(refusal),
            }
        }
        Ok(answer)
    }
}

fn labelled_number(out: &mut Vec<u8>, label: &[u8], value: u64) {
    out.extend_from_slice(label);
    number::write(out, value);
}

/// Whether a message's facts could not be read because another session has expunged it.
fn is_gone(facts: &Facts, wanted: FactsWanted) -> bool {
    wanted.envelope && facts.envelope.is_none() || wanted.structure && facts.structure.is_none()
}
