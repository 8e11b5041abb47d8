//! MOVE out of an inbox's Trash into the inbox: what is dragged back returns to its conversation,
//! or to where it was. Only then may that be another folder than the one that was named.

use super::Call;
use super::share::Share;
use super::states;
use crate::conversation::Scope;
use crate::conversation::restoring::{self, Return};
use crate::imap::Refusal;
use crate::imap::fetch::body::gone;
use crate::mail::account::{Account, FolderRole};
use crate::mail::uid_set::UidSet;
use crate::store::Mailbox;
use crate::store::change::{Change, Outcome};

/// What a move turned out to be.
pub(super) enum Undeletion {
    /// A move like any other, and nothing is done yet.
    None,
    /// It is done. COPYUID is of those messages that are where they were sent.
    Done(Option<String>),
}

/// Moves messages back, if any of them belongs elsewhere than into the inbox itself.
pub(super) async fn run(
    call: &Call<'_, '_>,
    share: &Share,
    to: &Mailbox,
) -> Result<Undeletion, Refusal> {
    let from = &share.mailbox;
    let is_team = !matches!(from.account, Account::User(_));
    let is_return = from.folder.is_role(FolderRole::Trash) && to.folder.is_root();
    if !is_team || !is_return || from.account != to.account {
        return Ok(Undeletion::None);
    }
    let (store, directory) = (&*call.context.store, &*call.session.directory);
    let scope = Scope { store, directory, account: &from.account };
    let messages = restoring::deleted(&scope, (from.id, &share.uids)).await?;
    if messages.is_empty() {
        return Err(gone());
    }
    // what was filed elsewhere goes where the user wants it now
    let mut returns = restoring::to_work(&scope, &messages).await?;
    if returns.iter().all(|place| place.folder.is_root()) {
        return Ok(Undeletion::None);
    }
    returns.sort_by_key(|place| !place.folder.is_root());
    let user = &call.session.user;
    let changes = restoring::changes(&scope, (from.id, &returns), user).await?;
    Ok(Undeletion::Done(commit(call, (to, &returns), changes).await?))
}

/// Answers COPYUID for what has gone to the mailbox that was named. RFC 4315 §3
async fn commit(
    call: &Call<'_, '_>,
    (to, returns): (&Mailbox, &[Return]),
    changes: Vec<Change>,
) -> Result<Option<String>, Refusal> {
    let receipt = states::committed(call, changes).await?;
    let mut moved = receipt.outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Copied { uid_validity, pairs } => Some((uid_validity, pairs)),
        _ => None,
    });
    let is_named = returns.first().is_some_and(|place| place.mailbox == to.id);
    let named = moved.next().filter(|(_, pairs)| is_named && !pairs.is_empty());
    Ok(named.map(|(uid_validity, pairs)| {
        let old: UidSet = pairs.iter().map(|(old, _)| *old).collect();
        let new: UidSet = pairs.iter().map(|(_, new)| *new).collect();
        format!("COPYUID {} {old} {new}", uid_validity.0)
    }))
}
