//! Notes: what colleagues write to an inbox itself about one of its conversations. A note lies
//! where the conversation is and changes nothing about it: nobody is assigned by it, and nothing is
//! opened again. A keyword marks it; what has that keyword never leaves.

use super::placing::{Placing, is_still_there};
use super::thread::{Header, Thread};
use super::{Scope, State, keyword};
use crate::directory::{Directory, rights};
use crate::mail::account::Account;
use crate::mail::flag::FlagList;
use crate::mail::id::{Login, MailboxId, Uid};
use crate::mail::message::Envelope;
use crate::store::{Store, StoreError};

/// What marks a note. Only the daemon sets it.
pub const KEYWORD: &str = "$Note";

/// Whether this is what marks a note.
pub fn is_keyword(name: &str) -> bool {
    name.eq_ignore_ascii_case(KEYWORD)
}

/// Whether a message that `user` writes to the inbox is a note: they may answer for the inbox, and
/// the message continues a conversation that they have not begun or joined as a customer would.
pub async fn is_note(
    scope: &Scope<'_>,
    user: &Login,
    envelope: &Envelope,
) -> Result<bool, StoreError> {
    if matches!(scope.account, Account::User(_))
        || !rights(scope.directory, user, scope.account).has('p')
    {
        return Ok(false);
    }
    let header = Header::of(scope, envelope);
    if header.follows.is_empty() {
        return Ok(false);
    }
    let thread = Thread::with(scope, header).await?;
    Ok(!thread.messages.is_empty() && !takes_part(scope, &thread, user).await?)
}

/// Whether one of the messages that came in was written from an address of the user's own.
async fn takes_part(scope: &Scope<'_>, thread: &Thread, user: &Login) -> Result<bool, StoreError> {
    let own = own_addresses(scope.directory, user);
    let written = |authors: &[String]| authors.iter().any(|author| own.contains(author));
    for message in thread.messages.iter().filter(|m| written(&m.header.authors)) {
        for place in &message.places {
            let came_in = State::of(scope.account, &place.folder).is_some();
            if came_in && !is_marked(scope.store, place.mailbox, place.uid).await? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn own_addresses(directory: &Directory, user: &Login) -> Vec<String> {
    let user = directory.users.get(user);
    user.map(|user| user.addresses.iter().map(|a| a.key()).collect()).unwrap_or_default()
}

/// Where a note with this envelope goes in an inbox whose own mailbox is `root`.
pub async fn place(
    scope: &Scope<'_>,
    root: MailboxId,
    envelope: &Envelope,
) -> Result<Placing, StoreError> {
    let thread = Thread::with(scope, Header::of(scope, envelope)).await?;
    let states = thread.states(scope);
    let placing = match states.first() {
        Some((state, place)) => {
            let also = vec![is_still_there(place)];
            Placing { also, ..beside(state, place.mailbox) }
        }
        None => beside(&State::Open, root),
    };
    Ok(Placing { thread: thread.id(), ..placing })
}

/// In a mailbox that means `state`.
pub fn beside(state: &State, mailbox: MailboxId) -> Placing {
    let assigned = match state {
        State::Assigned(login) => keyword(login),
        State::Open | State::Done => None,
    };
    let keywords = [KEYWORD.to_owned()].into_iter().chain(assigned).collect();
    Placing { flags: FlagList { keywords, ..FlagList::default() }, ..Placing::open(mailbox) }
}

/// Whether the store holds a note of an inbox with this Message-ID, whoever may see it.
pub async fn is_known(store: &dyn Store, message_id: &str) -> Result<bool, StoreError> {
    for instance in store.instances_of(message_id).await? {
        if is_marked(store, instance.mailbox, instance.uid).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an instance in an inbox or a channel is a note.
pub async fn is_marked(
    store: &dyn Store,
    mailbox: MailboxId,
    uid: Uid,
) -> Result<bool, StoreError> {
    let is_personal = |account: &Account| matches!(account, Account::User(_));
    if store.mailbox(mailbox).is_none_or(|mailbox| is_personal(&mailbox.account)) {
        return Ok(false);
    }
    let snapshot = match store.snapshot(mailbox).await {
        Err(StoreError::Gone) => return Ok(false),
        snapshot => snapshot?,
    };
    let Some(entry) = snapshot.by_uid(uid) else { return Ok(false) };
    let mut names = entry.keywords.iter().filter_map(|n| snapshot.keywords.get(usize::from(n)));
    Ok(names.any(|name| is_keyword(name)))
}
