//! What a rule of the inbox makes of a new conversation: finds out who can be chosen and whose turn
//! it is. That the turn is still theirs when the message is stored, the store makes sure of.

use std::collections::HashSet;

use super::placing::Placing;
use super::routing::{self, Candidate, Facts};
use super::{Scope, State, keyword};
use crate::directory::rule::{Action, Pick, Target};
use crate::mail::account::{Folder, FolderRole};
use crate::mail::flag::FlagList;
use crate::mail::id::{Login, MailboxId};
use crate::store::StoreError;
use crate::store::change::Change;

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
    let is_new = rule.action != Action::Put(Target::Junk);
    Ok(Placing { mailbox, is_new, ..open })
}

/// Open, where nobody can be chosen.
async fn assign(scope: &Scope<'_>, action: &Action, open: Placing) -> Result<Placing, StoreError> {
    let Standing { candidates, pick, next } = standing(scope, action).await?;
    let Some(chosen) = routing::choose(pick, &candidates) else { return Ok(open) };
    let state = State::Assigned(chosen.login.clone());
    let Some(mailbox) = scope.store.find(scope.account, &state.folder()) else { return Ok(open) };
    let keywords = keyword(&chosen.login).into_iter().collect();
    // who alone can be chosen takes no turn: others would wait for nothing
    let turn = (candidates.len() > 1).then(|| {
        let (account, user) = (scope.account.clone(), chosen.login.clone());
        Change::TurnTaken { account, user, number: next }
    });
    Ok(Placing {
        mailbox: mailbox.id,
        flags: FlagList { keywords, ..FlagList::default() },
        also: turn.into_iter().collect(),
        ..open
    })
}

/// Who can be chosen, how, and the turn that they get.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Whoever the action names that works in the inbox now.
    pub candidates: Vec<Candidate>,
    /// How one is chosen.
    pub pick: Pick,
    /// The number of the next turn. It is of the same moment as the candidates' last ones: when
    /// somebody takes it meanwhile, the choice is made anew.
    pub next: u64,
}

/// What an action has to choose from.
pub async fn standing(scope: &Scope<'_>, action: &Action) -> Result<Standing, StoreError> {
    let Action::Assign { users, teams, pick } = action else { return Ok(Standing::default()) };
    let turns = scope.store.turns(scope.account);
    let next = turns.values().max().copied().unwrap_or(0).saturating_add(1);
    let mut candidates = Vec::new();
    for login in named(scope, users, teams) {
        let turn = turns.get(&login).copied().unwrap_or(0);
        let open = match pick {
            Pick::RoundRobin => 0,
            Pick::LeastOpen => open(scope, &login).await?,
        };
        candidates.push(Candidate { login, turn, open });
    }
    Ok(Standing { candidates, pick: *pick, next })
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
    match scope.store.snapshot(mailbox.id).await {
        Err(StoreError::Gone) => Ok(0),
        snapshot => Ok(snapshot?.iter().map(|entry| entry.thread).collect::<HashSet<_>>().len()),
    }
}
