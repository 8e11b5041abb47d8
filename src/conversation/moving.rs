//! The changes that bring messages of an inbox into another state: they move, and the keyword that
//! names the assignee is set, kept or taken away.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::thread::Thread;
use super::{Scope, State, assignee, is_ours, keyword};
use crate::directory::Moves;
use crate::mail::account::{Account, Folder};
use crate::mail::flag::FlagList;
use crate::mail::id::{BlobId, Login, MailboxId};
use crate::mail::uid_set::UidSet;
use crate::store::StoreError;
use crate::store::change::{Change, FlagOperation, Transfer};

/// Most messages that are named in one move and still take their conversations along; who moves
/// more at once is tidying up.
pub const NAMED_MAX: usize = 256;

/// Instances of one mailbox.
pub type Group = (MailboxId, UidSet);

/// Where messages go, and who moves them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// What they become.
    pub state: State,
    /// Where that is.
    pub mailbox: MailboxId,
    /// Whose \Seen goes along where the inbox keeps each user's own.
    pub user: Login,
}

/// The changes that bring these instances there, in this order. What moves first is told apart by
/// its place: the first `Moved` is that of the first group.
pub async fn changes(
    scope: &Scope<'_>,
    groups: &[Group],
    target: &Target,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    let groups = || groups.iter().filter(|(_, uids)| !uids.is_empty());
    for (mailbox, uids) in groups() {
        let known = scope.store.snapshot(*mailbox).await?.keywords.clone();
        let marks = marks(&target.state, known.iter().map(|name| &**name));
        changes.extend(marks.into_iter().map(|(operation, name)| Change::FlagsSet {
            mailbox: *mailbox,
            uids: uids.clone(),
            operation,
            flags: FlagList { keywords: vec![name], ..FlagList::default() },
            unchanged_since: None,
            viewer: None,
        }));
    }
    let seen = scope.directory.seen_mode(scope.account);
    changes.extend(groups().map(|(mailbox, uids)| {
        Change::Moved(Transfer {
            from: *mailbox,
            from_seen: seen,
            uids: uids.clone(),
            to: target.mailbox,
            to_seen: seen,
            user: target.user.clone(),
        })
    }));
    Ok(changes)
}

/// Where copies come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    /// Another folder of the same inbox.
    FromHere,
    /// Another account.
    FromElsewhere,
}

/// The changes behind a copy into the mailbox `to`, so that the copies name whom that mailbox's
/// state names and nobody else, though they come from one that knows the keywords `known`. Out of
/// another account nothing comes as a note: there its user may have marked it.
pub fn arrivals(
    to: MailboxId,
    state: Option<&State>,
    (from, known): (Came, &[Arc<str>]),
) -> Vec<Change> {
    let own = match state {
        Some(State::Assigned(login)) => keyword(login),
        _ => None,
    };
    let is_own = |name: &str| own.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name));
    let is_stale = |name: &str| match from {
        Came::FromElsewhere => is_ours(name),
        Came::FromHere => assignee(name).is_some(),
    };
    let stale = known.iter().filter(|name| is_stale(name) && !is_own(name));
    let stale: Vec<String> = stale.map(|name| name.to_string()).collect();
    let steps = [(FlagOperation::Remove, stale), (FlagOperation::Add, own.into_iter().collect())];
    let steps = steps.into_iter().filter(|(_, keywords)| !keywords.is_empty());
    let change = |(operation, keywords)| Change::ArrivalsFlagged {
        mailbox: to,
        operation,
        flags: FlagList { keywords, ..FlagList::default() },
        seen_by: None,
    };
    steps.map(change).collect()
}

/// The keywords that a new message of `account` has in a folder, if somebody wants it to have
/// `keywords`: who has a conversation is what the folder says.
pub fn appended(account: &Account, folder: &Folder, mut keywords: Vec<String>) -> Vec<String> {
    if matches!(account, Account::User(_)) {
        return keywords;
    }
    keywords.retain(|name| !is_ours(name));
    if let Some(State::Assigned(login)) = State::of(account, folder) {
        keywords.extend(keyword(&login));
    }
    keywords
}

/// Which keywords are set and taken away for a state, in a mailbox that knows `known`.
fn marks<'n>(state: &State, known: impl Iterator<Item = &'n str>) -> Vec<(FlagOperation, String)> {
    let own = match state {
        State::Done => return Vec::new(),
        State::Open => None,
        State::Assigned(login) => keyword(login),
    };
    let is_own = |name: &str| own.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name));
    let stale = known.filter(|name| assignee(name).is_some() && !is_own(name));
    let stale = stale.map(|name| (FlagOperation::Remove, name.to_owned()));
    let mut marks: Vec<(FlagOperation, String)> = stale.collect();
    marks.extend(own.map(|own| (FlagOperation::Add, own)));
    marks
}

/// The rest of the conversations of `blobs`, as far as it lies in a state and not in the target;
/// nothing in an inbox where messages move alone.
pub async fn rest(
    scope: &Scope<'_>,
    (blobs, named): (&[BlobId], &Group),
    target: MailboxId,
) -> Result<Vec<Group>, StoreError> {
    let moves = scope.directory.policy(scope.account).map(|policy| policy.conversation);
    if moves != Some(Moves::Together) || blobs.len() > NAMED_MAX {
        return Ok(Vec::new());
    }
    let thread = Thread::of(scope, blobs).await?;
    let (from, uids) = named;
    let mut groups = groups(scope, &thread, target);
    if let Some(more) = groups.get_mut(from) {
        *more = more.iter().filter(|uid| !uids.contains(*uid)).collect();
    }
    Ok(groups.into_iter().collect())
}

/// What of a conversation lies in a state, but not in `target`.
pub fn groups(
    scope: &Scope<'_>,
    thread: &Thread,
    target: MailboxId,
) -> BTreeMap<MailboxId, UidSet> {
    let mut groups: BTreeMap<MailboxId, UidSet> = BTreeMap::new();
    for (_, place) in thread.states(scope) {
        if place.mailbox != target {
            groups.entry(place.mailbox).or_default().insert(place.uid);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyword_follows_the_assignee_and_stays_when_it_is_done() {
        let known = ["$Label1", "$assigned-anna", "$Assigned-Ben"];
        let told = |state: State| -> Vec<String> {
            let marks = marks(&state, known.into_iter()).into_iter();
            let sign = |operation| if operation == FlagOperation::Add { '+' } else { '-' };
            marks.map(|(operation, name)| format!("{}{name}", sign(operation))).collect()
        };
        assert_eq!(told(State::Open), ["-$assigned-anna", "-$Assigned-Ben"]);
        let ben = State::Assigned(Login::new("ben"));
        assert_eq!(told(ben), ["-$assigned-anna", "+$assigned-ben"]);
        assert!(told(State::Done).is_empty());
        let odd = State::Assigned(Login::new("jörg"));
        assert_eq!(
            told(odd),
            ["-$assigned-anna", "-$Assigned-Ben"],
            "none rather than a false one"
        );
    }
}
