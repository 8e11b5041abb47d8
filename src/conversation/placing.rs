//! Where mail that comes in belongs: a follow-up goes to who has the conversation, and what was
//! closed is opened again.

use super::moving::{self, Target};
use super::routing::Facts;
use super::thread::{Header, Place, Thread};
use super::{Scope, State, assignee, keyword, turn};
use crate::directory::Moves;
use crate::mail::flag::FlagList;
use crate::mail::id::{Login, MailboxId, ThreadId};
use crate::mail::message::Envelope;
use crate::store::StoreError;
use crate::store::change::Change;

/// Where a message goes.
#[derive(Clone, Debug)]
pub struct Placing {
    /// Into which mailbox.
    pub mailbox: MailboxId,
    /// With which flags.
    pub flags: FlagList,
    /// As what it belongs with.
    pub thread: Option<ThreadId>,
    /// What else changes, before the message comes: the rest of the conversation comes along, or a
    /// turn is taken. It fails with `Outrun` where what the message was placed by is not there any
    /// more; then it is to be placed anew.
    pub also: Vec<Change>,
    /// Nothing that is here belongs with it: it begins a conversation, and is no junk.
    pub is_new: bool,
}

impl Placing {
    /// Into the inbox itself.
    pub fn open(mailbox: MailboxId) -> Placing {
        let (flags, thread, also) = (FlagList::default(), None, Vec::new());
        Placing { mailbox, flags, thread, also, is_new: false }
    }
}

/// Where a message goes in an inbox whose own mailbox is `root`. Who has its conversation goes
/// before every rule.
///
/// Decided before the commit, which fails with `Outrun` when the conversation is moved in between;
/// when it is moved later, who moves it finds the message, too.
pub async fn place(
    scope: &Scope<'_>,
    root: MailboxId,
    (envelope, facts): (&Envelope, &Facts<'_>),
) -> Result<Placing, StoreError> {
    let header = Header::of(scope, envelope);
    let thread = Thread::with(scope, header.clone()).await?;
    let states = thread.states(scope);
    let id = thread.id();
    let open = Placing { thread: id, ..Placing::open(root) };
    let Some((before, seen)) = states.first() else {
        let placing = turn::place(scope, root, facts).await?;
        let is_new = placing.is_new && thread.messages.is_empty();
        return Ok(Placing { thread: id, is_new, ..placing });
    };
    let is_repetition =
        thread.messages.iter().any(|m| header.id.is_some() && m.header.id == header.id);
    let last = match before {
        State::Done if !is_repetition => last_assignee(scope, &thread).await?,
        _ => None,
    };
    let works = |login: &Login| scope.can_have(login);
    let after = if is_repetition { before.clone() } else { follow_up(before, last, works) };
    let mailbox = match scope.store.find(scope.account, &after.folder()) {
        Some(mailbox) => mailbox.id,
        None => return Ok(open),
    };
    let mut also = vec![is_still_there(seen)];
    if after != *before {
        also.extend(along(scope, &thread, (&after, mailbox)).await?);
    }
    let keywords = match &after {
        State::Assigned(login) => keyword(login).into_iter().collect(),
        State::Open | State::Done => Vec::new(),
    };
    let flags = FlagList { keywords, ..FlagList::default() };
    Ok(Placing { mailbox, flags, thread: id, also, is_new: false })
}

/// The condition that a message by which another one is placed has not been moved.
pub(super) fn is_still_there(place: &Place) -> Change {
    Change::Present { mailbox: place.mailbox, uids: [place.uid].into_iter().collect() }
}

/// The state of a conversation after a message has come for it. `last` is who had it when it was
/// closed.
fn follow_up(before: &State, last: Option<Login>, works: impl Fn(&Login) -> bool) -> State {
    let assignee = match before {
        State::Open => None,
        State::Assigned(login) => Some(login.clone()),
        State::Done => last,
    };
    assignee.filter(|login| works(login)).map_or(State::Open, State::Assigned)
}

/// The rest comes along, for the one who will work on it.
async fn along(
    scope: &Scope<'_>,
    thread: &Thread,
    (state, mailbox): (&State, MailboxId),
) -> Result<Vec<Change>, StoreError> {
    let moves = scope.directory.policy(scope.account).map(|policy| policy.conversation);
    if moves != Some(Moves::Together) {
        return Ok(Vec::new());
    }
    let user = match state {
        State::Assigned(login) => login.clone(),
        // Everybody's \Seen goes along within an account; this names nobody.
        State::Open | State::Done => Login::new(""),
    };
    let groups: Vec<_> = moving::groups(scope, thread, mailbox).into_iter().collect();
    moving::changes(scope, &groups, &Target { state: state.clone(), mailbox, user }).await
}

/// Whom the newest closed message that has a keyword of an assignee names.
async fn last_assignee(scope: &Scope<'_>, thread: &Thread) -> Result<Option<Login>, StoreError> {
    for (state, place) in thread.states(scope) {
        if state != State::Done {
            continue;
        }
        let snapshot = scope.store.snapshot(place.mailbox).await?;
        let Some(entry) = snapshot.by_uid(place.uid) else { continue };
        let names = entry.keywords.iter().filter_map(|n| snapshot.keywords.get(usize::from(n)));
        if let Some(login) = names.filter_map(|name| assignee(name)).next() {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follow_up_goes_to_who_has_the_conversation_while_they_work_there() {
        let (ben, gone) = (Login::new("ben"), Login::new("gone"));
        let of = |login: &Login| State::Assigned(login.clone());
        let cases = [
            (State::Open, None, State::Open),
            (State::Open, Some(&ben), State::Open),
            (of(&ben), None, of(&ben)),
            (of(&gone), None, State::Open),
            (State::Done, None, State::Open),
            (State::Done, Some(&ben), of(&ben)),
            (State::Done, Some(&gone), State::Open),
        ];
        for (before, last, after) in cases {
            let found = follow_up(&before, last.cloned(), |login| *login == ben);
            assert_eq!(found, after, "{before:?} {last:?}");
        }
    }
}
