//! What a rule of the inbox makes of a new conversation: finds out who can be chosen and whose turn
//! it is. That the turn is still theirs when the message is stored, the store makes sure of.

use super::placing::Placing;
use super::routing::{self, Candidate, Facts};
use super::{Scope, State, keyword};
use crate::directory::rule::{Action, Pick, Target};
use crate::mail::account::{Folder, FolderRole};
use crate::mail::flag::FlagList;
use crate::mail::id::{BlobId, Login, MailboxId};
use crate::store::change::Change;
use crate::store::{FactsWanted, StoreError};

/// Messages of one user's folder that are looked at to count their open conversations, the newest;
/// each one more counts as one.
pub const COUNTED_MAX: usize = 500;

/// Where a new conversation goes by the rules of an inbox whose own mailbox is `root`.
pub async fn place(
    scope: &Scope<'_>,
    root: MailboxId,
    facts: &Facts<'_>,
) -> Result<Placing, StoreError> {
    let open = Placing { is_new: true, ..Placing::open(root) };
    let rules = scope.directory.policy(scope.account).map(|policy| &*policy.rules);
    let Some((_, rule)) = routing::matching(rules.unwrap_or_default(), facts) else {
        return Ok(open);
    };
    let folder = match &rule.action {
        Action::Put(Target::Open) => return Ok(open),
        Action::Put(Target::Done) => Folder::role(FolderRole::Done),
        Action::Put(Target::Junk) => Folder::role(FolderRole::Junk),
        Action::Assign { .. } => return assign(scope, &rule.action, open).await,
    };
    let mailbox = scope.store.find(scope.account, &folder).map_or(root, |mailbox| mailbox.id);
    Ok(Placing { mailbox, ..open })
}

/// Open, where nobody can be chosen.
async fn assign(scope: &Scope<'_>, action: &Action, open: Placing) -> Result<Placing, StoreError> {
    let (candidates, pick) = candidates(scope, action).await?;
    let Some(chosen) = routing::choose(pick, &candidates) else { return Ok(open) };
    let state = State::Assigned(chosen.login.clone());
    let Some(mailbox) = scope.store.find(scope.account, &state.folder()) else { return Ok(open) };
    let keywords = keyword(&chosen.login).into_iter().collect();
    // who alone can be chosen takes no turn: others would wait for nothing
    let turn = (candidates.len() > 1).then(|| {
        let last = scope.store.turns(scope.account).values().max().copied().unwrap_or(0);
        let (account, user) = (scope.account.clone(), chosen.login.clone());
        Change::TurnTaken { account, user, number: last + 1 }
    });
    Ok(Placing {
        mailbox: mailbox.id,
        flags: FlagList { keywords, ..FlagList::default() },
        also: turn.into_iter().collect(),
        ..open
    })
}

/// Who can be chosen by an action, and how: whoever it names that works in the inbox now.
pub async fn candidates(
    scope: &Scope<'_>,
    action: &Action,
) -> Result<(Vec<Candidate>, Pick), StoreError> {
    let Action::Assign { users, teams, pick } = action else {
        return Ok((Vec::new(), Pick::default()));
    };
    let turns = scope.store.turns(scope.account);
    let mut candidates = Vec::new();
    for login in named(scope, users, teams) {
        let turn = turns.get(&login).copied().unwrap_or(0);
        let open = match pick {
            Pick::RoundRobin => 0,
            Pick::LeastOpen => open(scope, &login).await?,
        };
        candidates.push(Candidate { login, turn, open });
    }
    Ok((candidates, *pick))
}

fn named(scope: &Scope<'_>, users: &[Login], teams: &[String]) -> Vec<Login> {
    let mut members = scope.directory.members_at_work(scope.account);
    if !users.is_empty() || !teams.is_empty() {
        let is_in = |login: &Login| {
            let mut teams = teams.iter().filter_map(|team| scope.directory.teams.get(team));
            users.contains(login) || teams.any(|members| members.contains(login))
        };
        members.retain(is_in);
    }
    members.retain(|login| scope.can_have(login));
    members
}

/// How many conversations a user has open.
async fn open(scope: &Scope<'_>, login: &Login) -> Result<usize, StoreError> {
    let folder = State::Assigned(login.clone()).folder();
    let Some(mailbox) = scope.store.find(scope.account, &folder) else { return Ok(0) };
    let snapshot = match scope.store.snapshot(mailbox.id).await {
        Err(StoreError::Gone) => return Ok(0),
        snapshot => snapshot?,
    };
    let mut blobs: Vec<BlobId> = snapshot.iter().map(|entry| entry.blob).collect();
    let more = blobs.len().saturating_sub(COUNTED_MAX);
    blobs.drain(..more);
    let wanted = FactsWanted { envelope: true, ..FactsWanted::default() };
    let facts = scope.store.facts(&blobs, wanted).await?;
    let envelopes: Vec<_> =
        facts.into_iter().filter_map(|facts| facts.envelope).map(|envelope| *envelope).collect();
    Ok(routing::conversations(&envelopes) + more)
}
