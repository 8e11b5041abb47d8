//! COPY, UID COPY, MOVE and UID MOVE. A move out of an inbox leaves an instance in the team's
//! Trash; one between its folders of work takes the conversation along.

use super::Call;
use super::expunge::{self, Removal};
use crate::conversation::{self, Scope, State, moving};
use crate::imap::fetch::body::gone;
use crate::imap::flags::{self, Changeable};
use crate::imap::names::{Resolved, resolve};
use crate::imap::view::SequenceSet;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal, Selected};
use crate::mail::flag::FlagList;
use crate::mail::id::MailboxId;
use crate::mail::uid_set::UidSet;
use crate::store::change::{Actor, Change, FlagOperation, Outcome, Transaction, Transfer};

/// COPY and UID COPY. RFC 3501 §6.4.7
pub async fn copy(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let request = Request::parse(call, selected)?;
    if request.uids.is_empty() {
        return Ok(Completion::ok("No messages to copy"));
    }
    let change = Change::Copied(request.transfer(call, selected));
    let code = request.commit(call, vec![change]).await?;
    Ok(Completion::with_code(code, "Copied"))
}

/// MOVE and UID MOVE. RFC 6851
pub async fn r#move(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
) -> Result<Completion, Refusal> {
    let request = Request::parse(call, selected)?;
    expunge::check(selected)?;
    if !selected.rights.has('t') {
        return Err(Refusal::no_permission("You may not delete messages here"));
    }
    if request.uids.is_empty() {
        return Ok(Completion::ok("No messages to move"));
    }
    let changes = request.moved(call, selected).await?;
    let code = request.commit(call, changes).await?;
    // RFC 6851 §4.3: in front of the EXPUNGE responses, which follow before the tagged answer
    call.out.line(format_args!("* OK [{code}] Moved"));
    expunge::told(call, selected, "Moved").await
}

/// What goes where.
struct Request {
    uids: UidSet,
    target: Resolved,
    to: MailboxId,
}

impl Request {
    fn parse(call: &mut Call<'_, '_>, selected: &Selected) -> Result<Request, Refusal> {
        let set = SequenceSet::parse(&mut call.arguments)?;
        call.arguments.space()?;
        let name = utf7::mailbox(&mut call.arguments)?;
        call.arguments.end()?;
        let selection = selected.view.select(&set, call.numbering)?;
        let target = resolve(call.context, call.session, &name).ok_or_else(Refusal::try_create)?;
        let to = target.mailbox.as_ref().map(|mailbox| mailbox.id);
        let to = to.ok_or_else(Refusal::try_create)?;
        if !target.rights.has('i') {
            return Err(Refusal::no_permission("You may not add messages to that mailbox"));
        }
        Ok(Request { uids: selected.view.uids(&selection), target, to })
    }

    fn transfer(&self, call: &Call<'_, '_>, selected: &Selected) -> Transfer {
        Transfer {
            from: selected.mailbox.id,
            from_seen: selected.seen,
            uids: self.uids.clone(),
            to: self.to,
            to_seen: self.target.seen,
            user: call.session.user.clone(),
        }
    }

    /// Within an account messages just move, which restores them from its Trash too. To another
    /// account they are copied, and a team keeps its instance in its Trash.
    async fn moved(
        &self,
        call: &Call<'_, '_>,
        selected: &Selected,
    ) -> Result<Vec<Change>, Refusal> {
        let transfer = self.transfer(call, selected);
        if self.target.account == selected.mailbox.account {
            return self.moved_within(call, selected).await;
        }
        let removal = Removal::of(call.context, selected);
        let mut changes = match &removal {
            Removal::Final if !expunge::is_team(selected) => {
                return Ok(vec![Change::Moved(transfer)]);
            }
            _ => vec![Change::Copied(transfer)],
        };
        match removal {
            Removal::IntoTrash(_) => {
                changes.extend(removal.changes(call, selected, self.uids.clone())?);
            }
            // out of the team's Trash: the instance stays there until its retention ends
            Removal::Final | Removal::NotAllowed => (),
            Removal::TrashMissing => return Err(expunge::trash_missing()),
        }
        Ok(changes)
    }

    /// Between the folders of an inbox that say who has a conversation, the rest of it comes along.
    /// What somebody else has moved in the meantime is not there to be moved, and nothing of it is.
    async fn moved_within(
        &self,
        call: &Call<'_, '_>,
        selected: &Selected,
    ) -> Result<Vec<Change>, Refusal> {
        let (from, account) = (&selected.mailbox, &selected.mailbox.account);
        let to = self.target.mailbox.as_ref().and_then(|to| State::of(account, &to.folder));
        let Some(state) = to else { return Ok(vec![Change::Moved(self.transfer(call, selected))]) };
        let store = &*call.context.store;
        let scope = Scope { store, directory: &call.session.directory, account };
        let present = store.snapshot(from.id).await?;
        let blobs: Vec<_> = present.entries_in(&self.uids).map(|entry| entry.blob).collect();
        if blobs.is_empty() {
            return Err(gone());
        }
        let mut groups = vec![(from.id, self.uids.clone())];
        if from.id != self.to && State::of(account, &from.folder).is_some() {
            groups.extend(moving::rest(&scope, (&blobs, &groups[0]), self.to).await?);
        }
        let user = call.session.user.clone();
        let target = moving::Target { state, mailbox: self.to, user };
        Ok(moving::changes(&scope, &groups, &target).await?)
    }

    /// Carries the changes out, of which the first that makes new instances does so for those that
    /// are named; answers COPYUID. RFC 4315 §3
    async fn commit(&self, call: &Call<'_, '_>, changes: Vec<Change>) -> Result<String, Refusal> {
        let actor = Actor::User(call.session.user.clone());
        let receipt = call.context.store.commit(Transaction { actor, changes }).await;
        let receipt = receipt.map_err(|error| match error {
            // the target was deleted meanwhile
            crate::store::StoreError::Gone => Refusal::try_create(),
            other => other.into(),
        })?;
        let made = receipt.outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Copied { uid_validity, pairs } => Some((uid_validity, pairs)),
            _ => None,
        });
        let (uid_validity, pairs) = made.ok_or_else(gone)?;
        if pairs.is_empty() {
            return Err(gone());
        }
        let old: UidSet = pairs.iter().map(|(old, _)| *old).collect();
        let new: UidSet = pairs.iter().map(|(_, new)| *new).collect();
        self.drop_flags(call, new.clone()).await?;
        Ok(format!("COPYUID {} {old} {new}", uid_validity.0))
    }

    /// Takes away the flags which the user may not set in the target. RFC 4314 §4
    async fn drop_flags(&self, call: &Call<'_, '_>, uids: UidSet) -> Result<(), Refusal> {
        let changeable = Changeable::by(self.target.rights);
        let store = &call.context.store;
        if changeable.system == flags::ALL && changeable.keywords {
            return Ok(());
        }
        let snapshot = store.snapshot(self.to).await?;
        // who has a conversation follows from the folder, and what is a note from its way in
        let names = snapshot.keywords.iter().filter(|name| !conversation::is_ours(name));
        let names = names.map(|name| name.to_string());
        let keywords = if changeable.keywords { Vec::new() } else { names.collect() };
        let system = flags::ALL & !changeable.system;
        let change = Change::FlagsSet {
            mailbox: self.to,
            uids,
            operation: FlagOperation::Remove,
            flags: FlagList { system, keywords },
            unchanged_since: None,
            viewer: None,
        };
        call.commit(vec![change]).await?;
        Ok(())
    }
}
