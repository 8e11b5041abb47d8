//! Changes of the tree: mailboxes, subscriptions, grants.

use std::sync::Arc;

use super::{
    Draft, FOLDER_BYTES_MAX, MAILBOXES_PER_ACCOUNT_MAX, Mailbox, MailboxId, Outcome,
    SUBSCRIPTIONS_MAX, StoreError,
};
use crate::mail::account::{Account, Folder};
use crate::mail::flag::SeenMode;
use crate::mail::id::{Login, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::change::{AccessKnown, Grant, Transfer};
use crate::store::state::Held;

impl Draft<'_> {
    pub(super) fn created(
        &mut self,
        account: Account,
        folder: Folder,
    ) -> Result<MailboxId, StoreError> {
        self.check_free(&account, &folder)?;
        let count = self.count(&account);
        if *count >= MAILBOXES_PER_ACCOUNT_MAX {
            return Err(StoreError::Limit("mailboxes of an account"));
        }
        *count += 1;
        let now = self.base.now;
        let id = self.counters().next_mailbox();
        let uid_validity = self.counters().next_uid_validity(now);
        self.own.names.insert((account.clone(), folder.clone()), Some(id));
        let mailbox = Mailbox { id, account, folder, uid_validity };
        self.own.mailboxes.insert(id, Some(Held::empty(mailbox)));
        Ok(id)
    }

    pub(super) fn emptied(
        &mut self,
        from: MailboxId,
        (seen, user): (SeenMode, Login),
        folder: Folder,
    ) -> Result<Outcome, StoreError> {
        let account = self.held(from)?.mailbox.account.clone();
        let to = self.created(account, folder)?;
        let mut uids = UidSet::new();
        uids.insert_range(Uid(1), Uid(u32::MAX));
        self.moved(&Transfer { from, from_seen: seen, uids, to, to_seen: seen, user })?;
        self.copy_metadata(from, to);
        Ok(Outcome::Created(to))
    }

    pub(super) fn renamed(&mut self, id: MailboxId, to: Folder) -> Result<Outcome, StoreError> {
        let old = self.held(id)?.mailbox.clone();
        self.check_free(&old.account, &to)?;
        self.tell_renamed(&old, &to);
        self.own.names.insert((old.account.clone(), old.folder.clone()), None);
        self.own.names.insert((old.account.clone(), to.clone()), Some(id));
        self.held_mut(id)?.mailbox = Arc::new(Mailbox { folder: to, ..(*old).clone() });
        Ok(Outcome::Done)
    }

    pub(super) fn deleted(&mut self, id: MailboxId) -> Result<Outcome, StoreError> {
        let held = self.held(id)?;
        let (mailbox, loaded) = (held.mailbox.clone(), held.loaded()?.clone());
        self.tell_deleted(&mailbox, &loaded.snapshot);
        loaded.snapshot.iter().for_each(|entry| self.own.rows.count(entry, -1));
        self.forget_metadata(id);
        self.own.rows.deleted.push(id);
        *self.count(&mailbox.account) -= 1;
        self.own.names.insert((mailbox.account.clone(), mailbox.folder.clone()), None);
        self.own.mailboxes.insert(id, None);
        Ok(Outcome::Done)
    }

    pub(super) fn subscribed(
        &mut self,
        user: Login,
        (account, folder): (Account, Folder),
        subscribed: bool,
    ) -> Result<Outcome, StoreError> {
        check_path(&folder)?;
        let own = self.own.subscriptions.get(&user).or(self.group.subscriptions.get(&user));
        let now = own.or(self.base.state.subscriptions(&user)).cloned().unwrap_or_default();
        let mut choices = (*now).clone();
        choices.insert((account.clone(), folder.clone()), subscribed);
        if choices.len() > SUBSCRIPTIONS_MAX {
            return Err(StoreError::Limit("subscriptions of a user"));
        }
        self.own.subscriptions.insert(user.clone(), Arc::new(choices));
        self.own.rows.subscriptions.insert((user, account, folder), subscribed);
        Ok(Outcome::Done)
    }

    pub(super) fn granted(&mut self, grant: Grant) -> Result<Outcome, StoreError> {
        self.tell_granted(&grant);
        let group = self.group.grants.as_ref();
        let now = self.own.grants.as_ref().or(group).unwrap_or(self.base.state.grants());
        let same = |g: &Grant| g.account == grant.account && g.user == grant.user;
        let mut grants: Vec<Grant> = now.iter().filter(|g| !same(g)).cloned().collect();
        let key = (grant.account.clone(), grant.user.clone());
        self.own.rows.grants.insert(key, grant.rights.clone());
        if grant.rights.is_some() {
            grants.push(grant);
        }
        grants.sort_by(|a, b| (&a.account, &a.user).cmp(&(&b.account, &b.user)));
        self.own.grants = Some(Arc::new(grants));
        Ok(Outcome::Done)
    }

    pub(super) fn access_known(&mut self, known: AccessKnown) -> Result<Outcome, StoreError> {
        self.tell_access(&known);
        self.own.rows.access_known.insert(known.account, known.rights);
        Ok(Outcome::Done)
    }

    fn check_free(&self, account: &Account, folder: &Folder) -> Result<(), StoreError> {
        check_path(folder)?;
        if self.named(account, folder).is_some() { Err(StoreError::Exists) } else { Ok(()) }
    }

    /// The mailbox of that name, now.
    pub(super) fn named(&self, account: &Account, folder: &Folder) -> Option<MailboxId> {
        let name = (account.clone(), folder.clone());
        match self.own.names.get(&name).or(self.group.names.get(&name)) {
            Some(id) => *id,
            None => self.base.state.find(account, folder),
        }
    }

    /// How many mailboxes `account` has now, to be changed.
    fn count(&mut self, account: &Account) -> &mut usize {
        let group = self.group.counts.get(account).copied();
        let before = group.unwrap_or_else(|| self.base.state.count(account));
        self.own.counts.entry(account.clone()).or_insert(before)
    }
}

fn check_path(folder: &Folder) -> Result<(), StoreError> {
    if folder.path().len() > FOLDER_BYTES_MAX {
        return Err(StoreError::Limit("length of a mailbox's name"));
    }
    Ok(())
}
