//! The audit log's entries, made where changes are applied: so nothing that it tells of can happen
//! without them. Personal mailboxes are nobody's business and leave none, but where somebody else
//! than their owner is at work there. Mail of strangers leaves one where it does more than come in.

use std::collections::BTreeSet;

use super::transfer::{Copies, Way};
use super::{Draft, MailboxId, Outcome, StoreError};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::date;
use crate::mail::id::{BlobId, Login, ThreadId, Timestamp, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::Mailbox;
use crate::store::audit::{Deed, Entry, EntryId, MESSAGES_PER_ENTRY_MAX, NOTE_KEYWORD, Note};
use crate::store::change::{AccessKnown, Actor, Delivered, Grant, Opening, Transfer};
use crate::store::queue::Queued;
use crate::store::snapshot::{self, Snapshot};

/// What of a delivery says what it was.
pub(super) struct Arrival {
    /// It came with trace fields, and so by SMTP.
    is_mail: bool,
    is_note: bool,
}

impl Arrival {
    pub(super) fn of(delivered: &Delivered) -> Arrival {
        let is_note = |keyword: &String| keyword.eq_ignore_ascii_case(NOTE_KEYWORD);
        let is_mail = !delivered.trace.is_empty();
        Arrival { is_mail, is_note: is_mail && delivered.flags.keywords.iter().any(is_note) }
    }
}

/// A message, and its conversation where that is known.
pub(super) type Named = (BlobId, Option<ThreadId>);

/// As the log names it.
pub(super) fn named(instance: &snapshot::Entry) -> Named {
    (instance.blob, Some(instance.thread))
}

/// What it means for a message to lie in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Open,
    Assigned,
    Done,
    Trash,
    Other,
}

impl Meaning {
    fn of(folder: &Folder) -> Meaning {
        match folder {
            folder if folder.is_root() => Meaning::Open,
            folder if folder.assignee().is_some() => Meaning::Assigned,
            folder if folder.is_role(FolderRole::Done) => Meaning::Done,
            folder if folder.is_role(FolderRole::Trash) => Meaning::Trash,
            _ => Meaning::Other,
        }
    }
}

/// What a move between two folders of an inbox is called.
fn deed(from: &Folder, to: &Folder) -> Deed {
    match (Meaning::of(from), Meaning::of(to)) {
        (Meaning::Trash, Meaning::Trash) => Deed::Move,
        (_, Meaning::Trash) => Deed::Delete,
        (Meaning::Trash, _) => Deed::Restore,
        (Meaning::Done, Meaning::Open | Meaning::Assigned) => Deed::Reopen,
        (_, Meaning::Assigned) => Deed::Assign,
        (Meaning::Assigned, Meaning::Open) => Deed::Unassign,
        (Meaning::Open | Meaning::Assigned, Meaning::Done) => Deed::Close,
        _ => Deed::Move,
    }
}

fn is_trash(mailbox: &Mailbox) -> bool {
    !matches!(mailbox.account, Account::User(_)) && mailbox.folder.is_role(FolderRole::Trash)
}

fn path(mailbox: &Mailbox) -> Option<String> {
    Some(mailbox.folder.path().to_owned())
}

fn assignee(folder: &Folder) -> Option<Login> {
    folder.assignee().map(Login::new)
}

impl Draft<'_> {
    /// Instances went from one mailbox to another. Between two accounts each has its own entry.
    pub(super) fn tell_transfer(
        &mut self,
        transfer: &Transfer,
        (way, copies): (Way, &Copies),
    ) -> Result<(), StoreError> {
        let from = self.held(transfer.from)?.mailbox.clone();
        let to = self.held(transfer.to)?.mailbox.clone();
        let plain = if way == Way::Moved { Deed::Move } else { Deed::Copy };
        if from.account != to.account {
            self.tell_left((plain, &from), &to.account, &copies.messages);
            return self.tell_entered((plain, &to), &from.account, copies);
        }
        let deed = if way == Way::Moved { deed(&from.folder, &to.folder) } else { plain };
        let about = assignee(&to.folder).or_else(|| assignee(&from.folder));
        let entry = Entry { from: path(&from), to: path(&to), about, ..self.entry(deed) };
        self.tell_each((&to.account, entry), &copies.messages, |draft, id, range| {
            draft.note_deletion(&to, &copies.pairs[range], id);
        });
        Ok(())
    }

    fn tell_left(&mut self, (deed, from): (Deed, &Mailbox), to: &Account, messages: &[Named]) {
        let detail = Some(format!("to {to}"));
        let entry = Entry { from: path(from), detail, ..self.entry(deed) };
        self.tell_each((&from.account, entry), messages, |_, _, _| {});
    }

    fn tell_entered(
        &mut self,
        (deed, to): (Deed, &Mailbox),
        from: &Account,
        copies: &Copies,
    ) -> Result<(), StoreError> {
        let (about, detail) = (assignee(&to.folder), Some(format!("from {from}")));
        let entry = Entry { to: path(to), about, detail, ..self.entry(deed) };
        self.tell_each((&to.account, entry), &copies.messages, |_, _, _| {});
        Ok(())
    }

    /// Instances are gone for good.
    pub(super) fn tell_expunged(
        &mut self,
        mailbox: MailboxId,
        messages: &[Named],
    ) -> Result<(), StoreError> {
        let from = self.held(mailbox)?.mailbox.clone();
        let entry = Entry { from: path(&from), ..self.entry(Deed::Expunge) };
        self.tell_each((&from.account, entry), messages, |_, _, _| {});
        Ok(())
    }

    /// A message has come. Of a stranger's that nobody was given, there is nothing to tell.
    pub(super) fn tell_arrival(
        &mut self,
        mailbox: MailboxId,
        (message, arrival): (Named, Arrival),
    ) -> Result<(), StoreError> {
        let to = self.held(mailbox)?.mailbox.clone();
        let is_sent = to.folder.is_role(FolderRole::Sent);
        if arrival.is_mail && matches!(to.account, Account::User(_)) {
            // between the two
            return Ok(());
        }
        let deed = match (self.actor, Meaning::of(&to.folder)) {
            (Actor::Session(_) | Actor::User(_), _) => match arrival {
                // its copy in Sent is no other
                Arrival { is_note: true, .. } if is_sent => return Ok(()),
                Arrival { is_note: true, .. } => Deed::Note,
                Arrival { is_mail: true, .. } if is_sent => Deed::Send,
                Arrival { is_mail: true, .. } => Deed::Deliver,
                Arrival { is_mail: false, .. } => Deed::Append,
            },
            (_, Meaning::Assigned) => Deed::Assign,
            (_, Meaning::Done | Meaning::Trash) => Deed::Deliver,
            (_, Meaning::Open | Meaning::Other) => return Ok(()),
        };
        if deed == Deed::Send && !self.is_first_sending(message.0) {
            return Ok(());
        }
        let entry = Entry { to: path(&to), about: assignee(&to.folder), ..self.entry(deed) };
        self.tell_each((&to.account, entry), &[message], |_, _, _| {});
        Ok(())
    }

    /// A message goes out to others.
    pub(super) fn tell_queued(&mut self, queued: &Queued) {
        let Some(account) = &queued.envelope.sender else { return };
        if self.actor.user().is_some() && self.is_first_sending(queued.blob) {
            let entry = self.entry(Deed::Send);
            self.tell_each((account, entry), &[(queued.blob, None)], |_, _, _| {});
        }
    }

    /// The copy in Sent and the entry in the queue are one sending.
    fn is_first_sending(&self, blob: BlobId) -> bool {
        !self.sent.contains(&blob)
    }

    /// Made by a user; the daemon's own are as the directory wants them.
    pub(super) fn tell_created(&mut self, account: &Account, folder: &Folder) {
        if self.actor.user().is_some() {
            let to = Some(folder.path().to_owned());
            let entry = Entry { to, ..self.entry(Deed::CreateFolder) };
            self.tell((account, entry));
        }
    }

    pub(super) fn tell_renamed(&mut self, old: &Mailbox, new: &Folder) {
        let (from, to) = (path(old), Some(new.path().to_owned()));
        let entry = Entry { from, to, ..self.entry(Deed::RenameFolder) };
        self.tell((&old.account, entry));
    }

    /// With what was still in it.
    pub(super) fn tell_deleted(&mut self, mailbox: &Mailbox, snapshot: &Snapshot) {
        let entry = Entry { from: path(mailbox), ..self.entry(Deed::DeleteFolder) };
        let messages: Vec<Named> = snapshot.iter().map(named).collect();
        match messages.is_empty() {
            true => self.tell((&mailbox.account, entry)),
            false => self.tell_each((&mailbox.account, entry), &messages, |_, _, _| {}),
        }
    }

    pub(super) fn tell_granted(&mut self, grant: &Grant) {
        let (deed, detail) = match grant.rights.as_deref() {
            Some("") => (Deed::Revoke, None),
            Some(rights) => (Deed::Grant, Some(rights.to_owned())),
            None => (Deed::Grant, Some("as declared".to_owned())),
        };
        let entry = Entry { about: Some(grant.user.clone()), detail, ..self.entry(deed) };
        self.tell((&grant.account, entry));
    }

    pub(super) fn tell_access(&mut self, known: &AccessKnown) {
        for (user, now, before) in &known.told {
            let deed = if now.is_empty() { Deed::Revoke } else { Deed::Grant };
            let detail = match (now.as_str(), before.as_str()) {
                ("", before) => format!("was {before}"),
                (now, "") => now.to_owned(),
                (now, before) => format!("{now}, was {before}"),
            };
            let (about, detail) = (Some(user.clone()), Some(detail));
            let entry = Entry { about, detail, ..self.entry(deed) };
            self.tell((&known.account, entry));
        }
    }

    pub(super) fn tell_away(&mut self, user: &Login, until: Option<Timestamp>) {
        let deed = if until.is_some() { Deed::Away } else { Deed::Back };
        let detail = until.map(|until| format!("until {}", date::rfc3339(until)));
        let entry = Entry { about: Some(user.clone()), detail, ..self.entry(deed) };
        self.append(&entry);
    }

    pub(super) fn tell_opening(&mut self, opening: &Opening, reason: String) {
        let until = date::rfc3339(opening.until);
        let detail = Some(format!("until {until}: {reason}"));
        let (account, about) =
            (Some(Account::User(opening.of.clone())), Some(opening.user.clone()));
        let entry = Entry { account, about, detail, ..self.entry(Deed::BreakGlass) };
        self.append(&entry);
    }

    pub(super) fn tell_closing(&mut self, user: &Login, of: &Login) {
        let (account, about) = (Some(Account::User(of.clone())), Some(user.clone()));
        let entry = Entry { account, about, ..self.entry(Deed::BreakGlassEnd) };
        self.append(&entry);
    }

    /// What somebody asks to be told.
    pub(super) fn told(&mut self, note: Note) -> Result<Outcome, StoreError> {
        let Note { deed, account, folder, about, detail, earlier } = note;
        let mut entry = Entry { account, from: folder, about, detail, ..self.entry(deed) };
        if let Some((by, at)) = earlier {
            (entry.by, entry.at) = (by, at);
        }
        self.append(&entry);
        Ok(Outcome::Done)
    }

    /// By which entry the instances of a Trash came there.
    fn note_deletion(&mut self, to: &Mailbox, pairs: &[(Uid, Uid)], id: EntryId) {
        if is_trash(to) {
            let rows = pairs.iter().map(|(_, new)| ((to.id, *new), Some(id)));
            self.own.rows.trashed.extend(rows);
        }
    }

    /// What has left a Trash, needs no record.
    pub(super) fn forget_deletion(
        &mut self,
        from: MailboxId,
        uids: &UidSet,
    ) -> Result<(), StoreError> {
        if is_trash(&self.held(from)?.mailbox) {
            self.own.rows.trashed.extend(uids.iter().map(|uid| ((from, uid), None)));
        }
        Ok(())
    }

    fn entry(&self, deed: Deed) -> Entry {
        Entry::new(self.base.now, self.actor.by(), deed)
    }

    /// Personal mail is told of only where somebody else is at work.
    fn is_told(&self, account: &Account) -> bool {
        match account {
            Account::User(owner) => self.actor.user().is_some_and(|user| user != owner),
            Account::Inbox(_) | Account::Channel(_) => true,
        }
    }

    fn tell(&mut self, (account, entry): (&Account, Entry)) {
        if self.is_told(account) {
            self.append(&Entry { account: Some(account.clone()), ..entry });
        }
    }

    /// An entry for each so many messages; `each` is told which of them.
    fn tell_each(
        &mut self,
        (account, entry): (&Account, Entry),
        messages: &[Named],
        mut each: impl FnMut(&mut Self, EntryId, std::ops::Range<usize>),
    ) {
        if !self.is_told(account) {
            return;
        }
        if entry.deed == Deed::Send {
            self.sent.extend(messages.iter().map(|(blob, _)| *blob));
        }
        let mut entry = Entry { account: Some(account.clone()), ..entry };
        for (n, some) in messages.chunks(MESSAGES_PER_ENTRY_MAX).enumerate() {
            entry.messages = some.iter().map(|(blob, _)| blob.0).collect();
            let threads = some.iter().filter_map(|(_, thread)| Some(thread.as_ref()?.0));
            entry.conversations = threads.collect::<BTreeSet<_>>().into_iter().collect();
            let id = self.append(&entry);
            let start = n * MESSAGES_PER_ENTRY_MAX;
            each(self, id, start..start + some.len());
        }
    }

    fn append(&mut self, entry: &Entry) -> EntryId {
        let before = self.group.audit.unwrap_or(self.base.state.audit());
        let tip = self.own.audit.get_or_insert(before);
        let record = tip.append(entry.at, entry.to_text());
        let id = record.id;
        self.own.rows.audit.push(record);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_called_by_what_it_means() {
        let folder = |name: &str| match name {
            "open" => Folder::root(),
            "done" => Folder::role(FolderRole::Done),
            "trash" => Folder::role(FolderRole::Trash),
            "junk" => Folder::role(FolderRole::Junk),
            login => Folder::assigned(&Login::new(login)),
        };
        for (from, to, expected) in [
            ("open", "anna", Deed::Assign),
            ("anna", "ben", Deed::Assign),
            ("junk", "anna", Deed::Assign),
            ("anna", "open", Deed::Unassign),
            ("open", "done", Deed::Close),
            ("anna", "done", Deed::Close),
            ("junk", "done", Deed::Move),
            ("done", "open", Deed::Reopen),
            ("done", "ben", Deed::Reopen),
            ("open", "trash", Deed::Delete),
            ("done", "trash", Deed::Delete),
            ("trash", "open", Deed::Restore),
            ("trash", "anna", Deed::Restore),
            ("trash", "junk", Deed::Restore),
            ("trash", "trash", Deed::Move),
            ("open", "junk", Deed::Move),
            ("junk", "open", Deed::Move),
        ] {
            assert_eq!(deed(&folder(from), &folder(to)), expected, "{from} to {to}");
        }
    }
}
