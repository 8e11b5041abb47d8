//! The keyword `$assigned-<login>` in a STORE. It mirrors who has a conversation, so who sets it
//! assigns as MOVE to `Assigned/<login>` would, and who takes it away there unassigns: for mail
//! programs that show keywords and not the folders. It cannot be made to say anything else: FLAGS
//! that replaces all flags leaves it as it is, unless it names another assignee.

use super::Call;
use super::share::Share;
use super::states;
use super::store::Operation;
use crate::conversation::{State, assignee, keyword, note};
use crate::imap::Refusal;
use crate::mail::flag::FlagList;
use crate::mail::id::Login;
use crate::mail::uid_set::UidSet;
use crate::store::StoreError;
use crate::store::change::Change;

/// What a STORE asks for beside flags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// Nothing.
    Nothing,
    /// That somebody has the conversations.
    Assigned(Login),
    /// That nobody has them any more.
    Open,
}

/// Takes out of `flags` what names an assignee, where that is more than a flag, and what marks a
/// note, which nobody can set or take away.
pub(super) fn wish(
    share: &Share,
    operation: Operation,
    flags: &mut FlagList,
) -> Result<Wish, Refusal> {
    if !share.is_team() {
        return Ok(Wish::Nothing);
    }
    flags.keywords.retain(|name| !note::is_keyword(name));
    let named: Vec<Login> = flags.keywords.iter().filter_map(|name| assignee(name)).collect();
    let state = State::of(&share.mailbox.account, &share.mailbox.folder);
    if operation == Operation::Remove {
        // of a closed conversation, and where there are none, it only says who had it
        return Ok(match state {
            Some(State::Assigned(login)) if named.contains(&login) => {
                flags.keywords.retain(|name| assignee(name).is_none());
                Wish::Open
            }
            _ => Wish::Nothing,
        });
    }
    flags.keywords.retain(|name| assignee(name).is_none());
    match named.as_slice() {
        [] => Ok(Wish::Nothing),
        [login] => Ok(Wish::Assigned(login.clone())),
        _ => Err(Refusal::no("CANNOT", "A conversation is assigned to one user at a time")),
    }
}

/// The changes that fulfil a wish; `None` where nothing is left to wish for, and nothing at all in
/// them when the messages are gone.
pub(super) async fn changes(
    call: &Call<'_, '_>,
    share: &Share,
    wish: Wish,
) -> Result<Option<Vec<Change>>, Refusal> {
    let account = &share.mailbox.account;
    let (state, uids) = match wish {
        Wish::Nothing => return Ok(None),
        Wish::Open => (State::Open, share.uids.clone()),
        Wish::Assigned(login) => {
            let uids = without_mark(call, share, &login).await?;
            (State::Assigned(login), uids)
        }
    };
    if State::of(account, &share.mailbox.folder).is_none() {
        let why = "Only what is in the inbox, in Assigned or in Done can be assigned";
        return Err(Refusal::no("CANNOT", why));
    }
    let works = match &state {
        State::Assigned(login) => call.session.directory.works_in(login, account),
        State::Open | State::Done => true,
    };
    let to = call.context.store.find(account, &state.folder()).filter(|_| works);
    let to = to.ok_or_else(|| Refusal::no("CANNOT", "Nobody of that name works in this inbox"))?;
    if !share.may_be_left() || !share.rights.has('i') {
        return Err(Refusal::no_permission("You may not assign conversations here"));
    }
    if to.id == share.mailbox.id || uids.is_empty() {
        return Ok(None);
    }
    let named = Share { uids, ..share.clone() };
    states::within(call, &named, (state, to.id)).await.map(Some)
}

/// Those of a share that do not name `login` yet. Those that are gone stay among them.
async fn without_mark(
    call: &Call<'_, '_>,
    share: &Share,
    login: &Login,
) -> Result<UidSet, StoreError> {
    let present = call.context.store.snapshot(share.mailbox.id).await?;
    let own = keyword(login).unwrap_or_default();
    let number = present.keywords.iter().position(|name| name.eq_ignore_ascii_case(&own));
    let Some(number) = number.and_then(|number| u8::try_from(number).ok()) else {
        return Ok(share.uids.clone());
    };
    let is_marked = |uid| present.by_uid(uid).is_some_and(|e| e.keywords.contains(number));
    Ok(share.uids.iter().filter(|uid| !is_marked(*uid)).collect())
}
