//! Commands: one file each (arguments → state → store → answer), and the table that says where each
//! is allowed. Knows no socket; what must happen outside (TLS, password check, streaming of an
//! APPEND) is proposed by `session`.

pub mod acl;
pub mod append;
pub mod append_data;
mod append_sent;
mod assign;
pub mod catenate;
pub mod close;
pub mod copy;
pub mod create;
pub mod delete;
pub mod enable;
pub mod esearch;
pub mod expunge;
pub mod fetch;
pub mod id;
pub mod list;
mod list_options;
pub mod lsub;
pub mod metadata;
pub mod namespace;
pub mod notify;
pub mod quota;
pub mod rename;
pub mod replace;
mod resync;
pub mod search;
pub mod select;
pub mod set_acl;
mod share;
mod states;
pub mod status;
pub mod store;
pub mod subscribe;
pub mod table;
#[cfg(test)]
mod tests;
mod undelete;

use std::sync::Arc;

use super::names::{self, Resolved};
use super::notify::own::Sketch;
use super::output::Output;
use super::wire::lex::Cursor;
use super::wire::utf7;
use super::{Context, Numbering, Refusal, Selected, Session, hierarchy};
use crate::directory::rights::reads_by_role;
use crate::mail::account::{Account, Folder};
use crate::store::audit::{Deed, Note};
use crate::store::change::{Change, Receipt, Transaction};
use crate::store::{Mailbox, StoreError};

/// One command on its way: who calls, with which arguments, and where the answer goes.
pub struct Call<'c, 'o> {
    /// The command's tag, which ESEARCH repeats. RFC 4731 §3.1
    pub tag: &'c str,
    /// Store and settings.
    pub context: &'c Context,
    /// Who runs it.
    pub session: &'c mut Session,
    /// Whether messages are named by sequence number or UID.
    pub numbering: Numbering,
    /// What stands behind the command's name and its space (nothing, when there was no space).
    pub arguments: Cursor<'c>,
    /// Untagged responses go here; the tagged one is written by the caller.
    pub out: &'c mut Output<'o>,
}

/// The command is a CONDSTORE enabling one; at the first, the client is told where the mailbox
/// stands.
/// RFC 7162 §3.1
pub fn enable_condstore(call: &mut Call<'_, '_>, selected: &mut Selected) {
    call.session.condstore = true;
    selected.follow_condstore(call.session, call.out);
}

impl Call<'_, '_> {
    /// The only argument left: a mailbox name.
    fn last_mailbox_name(&mut self) -> Result<String, Refusal> {
        let name = utf7::mailbox(&mut self.arguments)?;
        self.arguments.end()?;
        Ok(name)
    }

    /// The mailbox of that name. Forbidden and absent ones give the one refusal.
    fn find(&self, name: &str) -> Result<(Resolved, Arc<Mailbox>), Refusal> {
        let resolved = names::resolve(self.context, self.session, name);
        let resolved = resolved.ok_or_else(Refusal::no_such_mailbox)?;
        let mailbox = resolved.mailbox.clone().ok_or_else(Refusal::no_such_mailbox)?;
        Ok((resolved, mailbox))
    }

    /// As `find`, where the user may read the messages.
    fn readable(&self, name: &str) -> Result<(Resolved, Arc<Mailbox>), Refusal> {
        let (found, mailbox) = self.find(name)?;
        match found.rights.has('r') {
            true => Ok((found, mailbox)),
            false => Err(Refusal::no_permission("You may see this mailbox, but not read it")),
        }
    }

    /// Tells what a mailbox is called, and what the client has called it. RFC 9051 §6.3.9.7
    fn tell_other_name(&mut self, given: &str, (account, folder): (&Account, &Folder)) {
        if !self.session.rev2 {
            return;
        }
        let name = names::name_of(self.context, self.session, account, folder);
        let Some(name) = name else { return };
        let nodes = hierarchy::nodes(self.context, self.session);
        match nodes.iter().find(|node| node.name == name) {
            Some(node) => {
                list::write_unasked((self.context, self.session), node, Some(given), self.out);
            }
            None => {
                let gone = ("\\NonExistent", name.as_str());
                list::write_named(self.session, gone, Some(given), self.out);
            }
        }
    }

    /// Makes `changes` on behalf of the user.
    async fn commit(&self, changes: Vec<Change>) -> Result<Receipt, Refusal> {
        Ok(self.committed(changes).await?)
    }

    /// As `commit`, for who makes something of the store's own error. A client that watches
    /// mailboxes is not told of what it has done itself.
    async fn committed(&self, changes: Vec<Change>) -> Result<Receipt, StoreError> {
        let actor = self.session.actor();
        let notify = self.session.notify.as_ref();
        let sketches: Vec<Sketch> =
            notify.iter().flat_map(|_| changes.iter().map(Sketch::of)).collect();
        let receipt = self.context.store.commit(Transaction { actor, changes }).await?;
        if let Some(notify) = notify {
            let outcomes = sketches.into_iter().zip(&receipt.outcomes);
            notify.done(outcomes.filter_map(|(sketch, outcome)| sketch.done(outcome)));
        }
        Ok(receipt)
    }

    /// To be called before anything of a mailbox's messages is shown: where only the user's role
    /// lets them read a private channel, the audit log says so first. Once for each session.
    async fn tell_reading(&mut self, mailbox: &Mailbox) -> Result<(), Refusal> {
        let account = &mailbox.account;
        let is_told = reads_by_role(&self.session.directory, &self.session.user, account);
        if !is_told || self.session.told.contains(&mailbox.id) {
            return Ok(());
        }
        let folder = Some(mailbox.folder.path().to_owned());
        let note = Note { account: Some(account.clone()), folder, ..Note::new(Deed::Read) };
        self.commit(vec![Change::Noted(Box::new(note))]).await?;
        self.session.told.insert(mailbox.id);
        Ok(())
    }
}
