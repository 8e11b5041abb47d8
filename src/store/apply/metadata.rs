//! What users note about mailboxes and the server. RFC 5464

use std::sync::Arc;

use super::{Draft, MailboxId, Outcome, StoreError};
use crate::mail::id::Login;
use crate::store::Metadata;
use crate::store::change::About;

/// Most bytes in one note.
pub const METADATA_VALUE_BYTES_MAX: usize = 8 * 1024;
/// Most bytes in the name of an entry.
pub const METADATA_ENTRY_BYTES_MAX: usize = 512;
/// Most entries of one owner about one mailbox, or about the server.
pub const METADATA_PER_MAILBOX_MAX: usize = 50;
/// Most entries of one user in all, or for everybody about the mailboxes of one account.
pub const METADATA_PER_USER_MAX: usize = 2_000;
/// Most bytes of these, names and values: they are kept in memory.
pub const METADATA_PER_USER_BYTES_MAX: usize = 256 * 1024;
/// What `StoreError::Limit` says of too many entries.
pub const TOO_MANY_ENTRIES: &str = "annotations";

impl Draft<'_> {
    /// The mailbox that a note is about.
    pub(super) fn noted(&self, about: About) -> Result<Option<MailboxId>, StoreError> {
        Ok(match about {
            About::Server => None,
            About::Mailbox(id) => Some(id),
            About::Folder(account, folder) => {
                let id = self.named(&account, &folder);
                Some(id.ok_or(StoreError::Gone)?)
            }
        })
    }

    pub(super) fn metadata_set(
        &mut self,
        user: Option<Login>,
        (mailbox, entry): (Option<MailboxId>, String),
        value: Option<Arc<[u8]>>,
    ) -> Result<Outcome, StoreError> {
        if let Some(id) = mailbox {
            self.held(id)?;
        }
        if entry.len() > METADATA_ENTRY_BYTES_MAX {
            return Err(StoreError::Limit("length of an annotation's name"));
        }
        if value.as_ref().is_some_and(|value| value.len() > METADATA_VALUE_BYTES_MAX) {
            return Err(StoreError::Limit("size of an annotation"));
        }
        let mut notes = self.notes(&user);
        let key = (mailbox, entry.clone());
        match &value {
            Some(value) => drop(notes.insert(key, value.clone())),
            None => drop(notes.remove(&key)),
        }
        let here = notes.range((mailbox, String::new())..).take_while(|(key, _)| key.0 == mailbox);
        let too_many = here.count() > METADATA_PER_MAILBOX_MAX
            || self.is_too_much(&notes, (user.as_ref(), mailbox));
        if too_many && value.is_some() {
            return Err(StoreError::Limit(TOO_MANY_ENTRIES));
        }
        self.own.rows.metadata.insert((user.clone(), mailbox, entry), value);
        self.own.metadata.insert(user, Arc::new(notes));
        Ok(Outcome::Done)
    }

    /// Whether a user has more, or everybody more about the account of a mailbox, than is kept.
    fn is_too_much(
        &self,
        notes: &Metadata,
        (user, mailbox): (Option<&Login>, Option<MailboxId>),
    ) -> bool {
        let account = |id: MailboxId| self.held(id).ok().map(|held| held.mailbox.account.clone());
        let about = mailbox.and_then(account);
        let counts = |id: &Option<MailboxId>| user.is_some() || id.and_then(account) == about;
        let counted = notes.iter().filter(|((id, _), _)| counts(id));
        let (mut entries, mut bytes) = (0, 0);
        for ((_, entry), value) in counted {
            entries += 1;
            bytes += entry.len() + value.len();
        }
        entries > METADATA_PER_USER_MAX || bytes > METADATA_PER_USER_BYTES_MAX
    }

    /// Notes about a mailbox go with it. RFC 5464 §4.1
    pub(super) fn forget_metadata(&mut self, mailbox: MailboxId) {
        for (user, entries) in self.noted_about(mailbox) {
            let mut notes = self.notes(&user);
            notes.retain(|(about, _), _| *about != Some(mailbox));
            for (entry, _) in entries {
                self.own.rows.metadata.insert((user.clone(), Some(mailbox), entry), None);
            }
            self.own.metadata.insert(user, Arc::new(notes));
        }
    }

    /// What INBOX is renamed to has its notes too, as far as there is room. RFC 5464 §4.1
    pub(super) fn copy_metadata(&mut self, from: MailboxId, to: MailboxId) {
        for (user, entries) in self.noted_about(from) {
            for (entry, value) in entries {
                let _ = self.metadata_set(user.clone(), (Some(to), entry), Some(value));
            }
        }
    }

    /// All notes about a mailbox, by owner.
    fn noted_about(&self, mailbox: MailboxId) -> Vec<(Option<Login>, Entries)> {
        let mut owners: Vec<&Option<Login>> = self.base.state.noted_by().collect();
        owners.extend(self.group.metadata.keys());
        owners.extend(self.own.metadata.keys());
        owners.sort_unstable();
        owners.dedup();
        let of = |user: &Option<Login>| {
            let from = (Some(mailbox), String::new());
            let notes = self.notes_now(user)?;
            let about = notes.range(from..).take_while(|(key, _)| key.0 == Some(mailbox));
            let entries: Entries =
                about.map(|((_, entry), value)| (entry.clone(), value.clone())).collect();
            (!entries.is_empty()).then(|| (user.clone(), entries))
        };
        owners.into_iter().filter_map(of).collect()
    }

    fn notes(&self, user: &Option<Login>) -> Metadata {
        self.notes_now(user).map(|notes| (**notes).clone()).unwrap_or_default()
    }

    fn notes_now(&self, user: &Option<Login>) -> Option<&Arc<Metadata>> {
        let own = self.own.metadata.get(user).or(self.group.metadata.get(user));
        own.or_else(|| self.base.state.metadata(user.as_ref()))
    }
}

type Entries = Vec<(String, Arc<[u8]>)>;
