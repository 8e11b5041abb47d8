//! The messages of an inbox that belong together: what is reached from one by links between two.
//! `header` says what a link is; here they are followed through the store, in both directions, so
//! that missing parents and any order of arrival make no difference.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::header::Claim;
pub use super::header::Header;
use super::{Scope, State};
use crate::mail::account::Folder;
use crate::mail::id::{BlobId, MailboxId, ThreadId, Uid};
use crate::mail::message::Envelope;
use crate::store::{FactsWanted, Instance, Linked, StoreError};

/// Most messages of a conversation that are looked at.
pub const MESSAGES_MAX: usize = 256;
/// Most of the identifiers that a message follows which are looked up for its own THREADID.
pub const LINKS_MAX: usize = 16;
/// Most identifiers that are looked up for it. Whoever writes References chooses how many.
pub const LOOKUPS_MAX: usize = 512;
/// Headers of so many messages are read at a time.
const HEADERS_AT_ONCE: usize = 256;

/// Messages of one inbox that belong together.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    /// In the order in which they were found.
    pub messages: Vec<Message>,
}

/// A stored message of a conversation.
#[derive(Clone, Debug)]
pub struct Message {
    /// Which; a later one has a higher number.
    pub blob: BlobId,
    /// What it says.
    pub header: Header,
    /// Where in the inbox it lies.
    pub places: Vec<Place>,
}

/// Where a message lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Which there.
    pub uid: Uid,
    /// What that mailbox is.
    pub folder: Folder,
    /// What it was told to belong with when it was stored.
    pub thread: ThreadId,
}

impl Thread {
    /// The stored messages that belong with one that is not stored yet.
    pub async fn with(scope: &Scope<'_>, header: Header) -> Result<Thread, StoreError> {
        Search::new(scope).run(vec![(None, header)]).await
    }

    /// The messages that belong with stored ones, themselves included where they have a Message-ID.
    pub async fn of(scope: &Scope<'_>, blobs: &[BlobId]) -> Result<Thread, StoreError> {
        let headers = headers(scope, blobs).await?;
        let start = headers.into_iter().map(|(blob, header)| (Some(blob), header)).collect();
        Search::new(scope).run(start).await
    }

    /// The identifier that its messages share: that of the first, in case they do not. It never
    /// changes for a message, so what is only found later to hang together keeps several.
    /// RFC 8474 §5.2
    pub fn id(&self) -> Option<ThreadId> {
        let first = self.messages.iter().min_by_key(|message| message.blob)?;
        first.places.first().map(|place| place.thread)
    }

    /// Where it lies among the folders that are a state, the newest message first.
    pub fn states(&self, scope: &Scope<'_>) -> Vec<(State, &Place)> {
        let mut messages: Vec<&Message> = self.messages.iter().collect();
        messages.sort_by_key(|message| std::cmp::Reverse(message.blob));
        let places = messages.into_iter().flat_map(|message| &message.places);
        places.filter_map(|place| Some((State::of(scope.account, &place.folder)?, place))).collect()
    }
}

/// The identifier for a message with this envelope, which is not stored yet: that of what it
/// belongs with in its account. What is linked to it directly has it already, so that nothing
/// further is followed, and not more is asked than a mail program writes.
pub async fn id(scope: &Scope<'_>, envelope: &Envelope) -> Result<Option<ThreadId>, StoreError> {
    let mut header = Header::of(scope, envelope);
    // what it answers and what began the conversation come first
    header.follows.truncate(LINKS_MAX);
    Ok(Search::new(scope).neighbours(header).await?.id())
}

/// What is known while a conversation is looked for.
struct Search<'a> {
    scope: &'a Scope<'a>,
    asked: HashSet<String>,
    known: HashSet<BlobId>,
    /// The first message with each identifier.
    first: HashMap<String, BlobId>,
    /// Found, but not linked to any member yet.
    pool: Vec<Message>,
}

impl<'a> Search<'a> {
    fn new(scope: &'a Scope<'a>) -> Search<'a> {
        Search {
            scope,
            asked: HashSet::new(),
            known: HashSet::new(),
            first: HashMap::new(),
            pool: Vec::new(),
        }
    }

    /// The stored messages that are linked to one which is not stored yet.
    async fn neighbours(mut self, header: Header) -> Result<Thread, StoreError> {
        self.ask(&header).await?;
        let own = self.claim(None, &header);
        let mut thread = Thread::default();
        for found in std::mem::take(&mut self.pool) {
            let other = (&found.header, self.claim(Some(found.blob), &found.header));
            if header.belongs_with(own, other) {
                thread.messages.push(found);
            }
        }
        Ok(thread)
    }

    async fn run(mut self, start: Vec<(Option<BlobId>, Header)>) -> Result<Thread, StoreError> {
        let mut members: Vec<(Option<BlobId>, Header)> = start;
        let mut thread = Thread::default();
        let mut next = 0;
        while let Some((blob, header)) = members.get(next).cloned() {
            next += 1;
            self.ask(&header).await?;
            let own = self.claim(blob, &header);
            let pool = std::mem::take(&mut self.pool);
            for found in pool {
                let other = (&found.header, self.claim(Some(found.blob), &found.header));
                if thread.messages.len() < MESSAGES_MAX && header.belongs_with(own, other) {
                    members.push((Some(found.blob), found.header.clone()));
                    thread.messages.push(found);
                } else {
                    self.pool.push(found);
                }
            }
        }
        Ok(thread)
    }

    /// A message that is not stored yet comes after all that are.
    fn claim(&self, blob: Option<BlobId>, header: &Header) -> Claim {
        let first = header.id.as_ref().and_then(|id| self.first.get(id));
        if first.copied() == blob { Claim::First } else { Claim::Later }
    }

    /// Finds what has these identifiers, and what follows them.
    async fn ask(&mut self, header: &Header) -> Result<(), StoreError> {
        let mut ids = Vec::new();
        for id in header.id.iter().chain(&header.follows) {
            if self.asked.len() < LOOKUPS_MAX && self.asked.insert(id.clone()) {
                ids.push(id.clone());
            }
        }
        let linked = self.scope.store.linked_to(&ids).await?;
        let mut new = Vec::new();
        for (id, Linked { named, following }) in ids.into_iter().zip(linked) {
            let named = self.here(named);
            if let Some((first, _)) = named.first_key_value() {
                self.first.insert(id, *first);
            }
            let mut found = self.here(following);
            found.extend(named);
            found.retain(|blob, _| self.known.insert(*blob));
            new.extend(found);
        }
        self.read(new).await
    }

    /// Puts what was found into the pool.
    async fn read(&mut self, found: Vec<(BlobId, Vec<Place>)>) -> Result<(), StoreError> {
        let mut found = found.into_iter().peekable();
        while found.peek().is_some() {
            let some: Vec<_> = found.by_ref().take(HEADERS_AT_ONCE).collect();
            let blobs: Vec<BlobId> = some.iter().map(|(blob, _)| *blob).collect();
            let mut headers = headers(self.scope, &blobs).await?.into_iter().peekable();
            for (blob, places) in some {
                // one that is gone by now has none
                if let Some((_, header)) = headers.next_if(|(of, _)| *of == blob) {
                    self.pool.push(Message { blob, header, places });
                }
            }
        }
        Ok(())
    }

    /// Those in this inbox, by message.
    fn here(&self, instances: Vec<Instance>) -> BTreeMap<BlobId, Vec<Place>> {
        let mut here: BTreeMap<BlobId, Vec<Place>> = BTreeMap::new();
        for Instance { mailbox, uid, blob, thread } in instances {
            let found = self.scope.store.mailbox(mailbox);
            if let Some(found) = found.filter(|found| found.account == *self.scope.account) {
                let place = Place { mailbox, uid, folder: found.folder.clone(), thread };
                here.entry(blob).or_default().push(place);
            }
        }
        here
    }
}

async fn headers(scope: &Scope<'_>, blobs: &[BlobId]) -> Result<Vec<(BlobId, Header)>, StoreError> {
    let wanted = FactsWanted { envelope: true, ..FactsWanted::default() };
    let facts = scope.store.facts(blobs, wanted).await?;
    let envelopes = blobs.iter().zip(facts);
    let headers = envelopes.filter_map(|(blob, facts)| {
        facts.envelope.map(|envelope| (*blob, Header::of(scope, &envelope)))
    });
    Ok(headers.collect())
}
