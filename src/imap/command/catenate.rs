//! What CATENATE puts into a message that is stored already: found by its URL where the user may
//! read it, as FETCH would send it. One refusal for all that is not there. RFC 4469 §3

use std::collections::BTreeMap;

use super::Call;
use crate::imap::fetch::body::{Copying, Source};
use crate::imap::fetch::item::{FieldsFrom, Section, Text};
use crate::imap::names::name_of;
use crate::imap::wire::url::{MessageUrl, written};
use crate::imap::{Refusal, Selected, virtual_mailbox};
use crate::mail::id::{BlobId, MailboxId, Uid};
use crate::store::snapshot::Entry;
use crate::store::{Facts, FactsWanted, Mailbox, Store, StoreError};

/// Of how many mailboxes one command may take something: the URLs of each are in memory until it
/// ends.
pub const PLACES_MAX: usize = 64;
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

/// The mailboxes of which a command takes something.
#[derive(Default)]
pub struct Places {
    known: BTreeMap<Place, Named>,
    /// The last message: mostly several parts of one are taken.
    last: Option<(BlobId, Facts)>,
}

/// Where a message is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// In which mailbox.
    mailbox: MailboxId,
    /// Where that is a virtual one: in which the message lies.
    origin: Option<MailboxId>,
}

/// How the client has named a mailbox.
struct Named {
    name: String,
    /// The first URL that did.
    url: Vec<u8>,
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
        let (_, mailbox) = call.readable(&name).map_err(|_| refused())?;
        if meant.uid_validity.is_some_and(|epoch| epoch != mailbox.uid_validity) {
            return Err(refused());
        }
        call.tell_reading(&mailbox).await?;
        let told = |error| told(&url, error);
        virtual_mailbox::freshen(call.context, call.session, &mailbox).await.map_err(told)?;
        let store = &*call.context.store;
        let message = message(store, mailbox.id, meant.uid).await.map_err(told)?;
        let (place, entry) = message.ok_or_else(refused)?;
        self.note(place, (name, &url))?;
        let mut part = Part { url, entry, section, bytes: 0, found: None };
        match self.measure(store, &mut part).await {
            Ok(()) => Ok(part),
            Err(error) => Err(part.told(error)),
        }
    }

    fn note(&mut self, place: Place, (name, url): (String, &[u8])) -> Result<(), Refusal> {
        if self.known.contains_key(&place) {
            return Ok(());
        }
        if self.known.len() == PLACES_MAX {
            return Err(Refusal::no("LIMIT", "Take parts of 64 mailboxes at most in one command"));
        }
        self.known.insert(place, Named { name, url: url.to_vec() });
        Ok(())
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
        match self.known.iter().find(|(place, named)| !place.is_open(call, &named.name)) {
            Some((_, named)) => Err(bad_url(&named.url)),
            None => Ok(()),
        }
    }
}

impl Place {
    /// Whether the user may read what is here. A virtual mailbox is always its user's own; what it
    /// shows is not.
    fn is_open(self, call: &Call<'_, '_>, name: &str) -> bool {
        let Ok((_, mailbox)) = call.readable(name) else { return false };
        let is_shown = |origin: MailboxId| {
            let sources = virtual_mailbox::sources(call.context, call.session, &mailbox);
            sources.is_some_and(|sources| sources.iter().any(|source| source.mailbox == origin))
        };
        mailbox.id == self.mailbox && self.origin.is_none_or(is_shown)
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

async fn message(
    store: &dyn Store,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<Option<(Place, Entry)>, StoreError> {
    let snapshot = store.snapshot(mailbox).await?;
    let mirrored = snapshot.mirror.as_ref().and_then(|mirror| mirror.origin(uid));
    let place = Place { mailbox, origin: mirrored.map(|origin| origin.mailbox) };
    Ok(snapshot.by_uid(uid).map(|entry| (place, entry.clone())))
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
