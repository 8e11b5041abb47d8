//! What CATENATE puts into a message that is stored already: found by its URL where the user may
//! read it, as FETCH would send it. One refusal for all that is not there. RFC 4469 §3

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Call;
use crate::imap::fetch::body::{Copying, Source};
use crate::imap::fetch::item::{FieldsFrom, Section, Text};
use crate::imap::names::{name_of, resolve};
use crate::imap::wire::url::{MessageUrl, written};
use crate::imap::{Refusal, Selected, virtual_mailbox};
use crate::mail::id::{BlobId, MailboxId, Uid};
use crate::store::snapshot::Entry;
use crate::store::{Facts, FactsWanted, Mailbox, Store, StoreError};

/// Up to this, what has been read of a part to measure it is kept until it is copied.
const KEPT_BYTES_MAX: u64 = 1024;

/// A message or a part of one that goes into another message.
pub struct Part {
    url: Vec<u8>,
    entry: Entry,
    section: Section,
    /// How long it is.
    pub bytes: u64,
    found: Option<Copying>,
}

/// The mailboxes of which a command takes something, by name, with the first URL for each.
#[derive(Default)]
pub struct Places {
    names: BTreeMap<MailboxId, (String, Vec<u8>)>,
    /// The last message: mostly several parts of one are taken.
    last: Option<(BlobId, Facts)>,
}

impl Places {
    /// What a URL means now. Nothing is read of a message but its header, where fields of it are
    /// wanted.
    pub async fn find(
        &mut self,
        call: &mut Call<'_, '_>,
        selected: Option<&Selected>,
        url: Vec<u8>,
    ) -> Result<Part, Refusal> {
        let refused = || bad_url(&url);
        let meant = MessageUrl::parse(&url).ok_or_else(refused)?;
        let mut section = Section::of(&meant.section).map_err(|_| refused())?;
        section.partial = meant.partial;
        // what is stored apart is for listings
        if let Text::Fields(_, from) = &mut section.text {
            *from = FieldsFrom::Message;
        }
        let name = name(call, selected, &meant).ok_or_else(refused)?;
        let mailbox = readable(call, &name).ok_or_else(refused)?;
        if meant.uid_validity.is_some_and(|epoch| epoch != mailbox.uid_validity) {
            return Err(refused());
        }
        call.tell_reading(&mailbox).await?;
        let told = |error| told(&url, error);
        virtual_mailbox::freshen(call.context, call.session, &mailbox).await.map_err(told)?;
        let store = &*call.context.store;
        let entry = entry(store, mailbox.id, meant.uid).await.map_err(told)?;
        let entry = entry.ok_or_else(refused)?;
        let mut part = Part { bytes: 0, entry, section, url: Vec::new(), found: None };
        self.measure(store, &mut part).await.map_err(told)?;
        self.names.entry(mailbox.id).or_insert_with(|| (name, url.clone()));
        part.url = url;
        Ok(part)
    }

    async fn measure(&mut self, store: &dyn Store, part: &mut Part) -> Result<(), StoreError> {
        let blob = part.entry.blob;
        if part.is_all() && part.section.partial.is_none() {
            part.bytes = u64::from(part.entry.size_bytes);
            return Ok(());
        }
        let found = match part.is_all() {
            true => part.copying(store, &Facts::default()).await?,
            false => {
                let known = self.last.take().filter(|(last, _)| *last == blob);
                let facts = match known {
                    Some((_, facts)) => facts,
                    None => part.facts(store).await?,
                };
                part.copying(store, &self.last.insert((blob, facts)).1).await?
            }
        };
        part.bytes = found.bytes();
        part.found = Some(found).filter(|found| found.memory_bytes() <= KEPT_BYTES_MAX);
        Ok(())
    }

    /// Rights may have changed while the rest of the command came in.
    pub fn check(&self, call: &Call<'_, '_>) -> Result<(), Refusal> {
        let is_lost = |(id, (name, _)): &(&MailboxId, &(String, Vec<u8>))| {
            readable(call, name).is_none_or(|mailbox| mailbox.id != **id)
        };
        match self.names.iter().find(is_lost) {
            Some((_, (_, url))) => Err(bad_url(url)),
            None => Ok(()),
        }
    }
}

impl Part {
    /// Its bytes.
    pub async fn open(&mut self, store: &dyn Store) -> Result<Copying, Refusal> {
        if let Some(found) = self.found.take() {
            return Ok(found);
        }
        let opened = match self.facts(store).await {
            Ok(facts) => self.copying(store, &facts).await,
            Err(error) => Err(error),
        };
        opened.map_err(|error| self.told(error))
    }

    /// Why its bytes cannot be read.
    pub fn told(&self, error: StoreError) -> Refusal {
        told(&self.url, error)
    }

    fn is_all(&self) -> bool {
        self.section.path.is_empty() && self.section.text == Text::Whole
    }

    async fn facts(&self, store: &dyn Store) -> Result<Facts, StoreError> {
        if self.is_all() {
            return Ok(Facts::default());
        }
        let wanted = FactsWanted { structure: true, ..FactsWanted::default() };
        Ok(store.facts(&[self.entry.blob], wanted).await?.pop().unwrap_or_default())
    }

    async fn copying(&self, store: &dyn Store, facts: &Facts) -> Result<Copying, StoreError> {
        let source = Source::new(store, &self.entry, facts);
        source.copying(&self.section).await?.ok_or(StoreError::Gone)
    }
}

/// The name of the mailbox that a URL is about.
fn name(call: &Call<'_, '_>, selected: Option<&Selected>, url: &MessageUrl) -> Option<String> {
    let selected = selected.filter(|_| url.is_relative()).and_then(|selected| {
        let Mailbox { account, folder, .. } = &*selected.mailbox;
        name_of(call.context, call.session, account, folder)
    });
    url.mailbox(selected.as_deref())
}

/// The mailbox of that name, if the user may read it: the door of SELECT.
fn readable(call: &Call<'_, '_>, name: &str) -> Option<Arc<Mailbox>> {
    let found = resolve(call.context, call.session, name)?;
    found.mailbox.filter(|_| found.rights.has('r'))
}

async fn entry(
    store: &dyn Store,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<Entry>, StoreError> {
    Ok(store.snapshot(mailbox).await?.by_uid(uid).cloned())
}

/// What is gone, and what never was, are alike.
fn told(url: &[u8], error: StoreError) -> Refusal {
    match error {
        StoreError::Gone => bad_url(url),
        other => other.into(),
    }
}

/// The one answer for a URL that is none, and for what is absent or forbidden. RFC 4469 §4.1
fn bad_url(url: &[u8]) -> Refusal {
    let code = format!("BADURL {}", written(url));
    Refusal::no(code, "The URL is of no message, or part of one, that is here for you")
}
