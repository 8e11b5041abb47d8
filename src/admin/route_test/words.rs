//! What `route-test` says of rules and people.

use std::sync::Arc;

use crate::conversation::Scope;
use crate::conversation::acknowledging::{self, Silence};
use crate::conversation::routing::{Candidate, Facts};
use crate::directory::Directory;
use crate::directory::rule::{Action, Condition, Pick, Target, Words};
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::id::Login;
use crate::mail::message::Parsed;
use crate::store::memory::Memory;
use crate::sys::SystemClock;

/// `inbox Support`
pub(super) fn account(account: &Account) -> String {
    match account {
        Account::User(login) => format!("the mailbox of {login}"),
        Account::Inbox(name) => format!("inbox {name}"),
        Account::Channel(name) => format!("channel {name}"),
    }
}

/// Why a condition does not hold.
pub(super) fn unmet(condition: &Condition, facts: &Facts<'_>) -> String {
    match condition {
        Condition::SenderDomain(domains) => match &facts.sender_domain {
            Some(domain) => {
                format!("the sender's domain is {domain}, not {}", domains.join(" or "))
            }
            None => "there is no sender".into(),
        },
        Condition::Detail(details) => match &facts.detail {
            Some(detail) => {
                let details = details.join(" or ").to_lowercase();
                format!("the address has the detail {}, not {details}", detail.to_lowercase())
            }
            None => "the address has no detail (as in support+detail@)".into(),
        },
        Condition::Contains(Words { field, text, .. }) => {
            format!("no header field {field} contains {text:?}")
        }
        Condition::Equals(Words { field, text, .. }) => {
            format!("no header field {field} is {text:?}")
        }
        Condition::Subject(words) => {
            let words: Vec<String> =
                words.iter().map(|words| format!("{:?}", words.text)).collect();
            format!("the subject has not {}", words.join(" or "))
        }
    }
}

/// What a rule does.
pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Put(Target::Open) => "nobody gets it".into(),
        Action::Put(Target::Done) => "it is done".into(),
        Action::Put(Target::Junk) => "it is junk".into(),
        Action::Assign { users, teams, pick } => {
            let teams = teams.iter().map(|team| format!("team {team}"));
            let all: Vec<String> = users.iter().map(Login::to_string).chain(teams).collect();
            let whom = match all.is_empty() {
                true => "all who work there".to_owned(),
                false => all.join(", "),
            };
            let pick = match pick {
                Pick::RoundRobin => "round-robin",
                Pick::LeastOpen => "least-open",
            };
            format!("{pick} of {whom}")
        }
    }
}

/// `anna, ben`
pub(super) fn names(logins: &[Login]) -> String {
    logins.iter().map(Login::to_string).collect::<Vec<_>>().join(", ")
}

/// `anna: 3 open, last turn 7`
pub(super) fn standing(candidate: &Candidate) -> String {
    let Candidate { login, turn, open } = candidate;
    match turn {
        0 => format!("{login}: {open} open, no turn yet"),
        turn => format!("{login}: {open} open, last turn {turn}"),
    }
}

/// Whether the sender would be told.
pub(super) fn acknowledged(
    directory: &Directory,
    account: &Account,
    (from, parsed): (Option<&Address>, &Parsed),
) -> String {
    if directory.policy(account).is_none_or(|policy| policy.acknowledgement.is_none()) {
        return "No acknowledgement is declared.".into();
    }
    // nothing is looked up in it
    let store = Memory::new(Arc::new(SystemClock));
    let scope = Scope { store: &store, directory, account };
    let header = (&parsed.envelope, parsed.text.header.as_str());
    match acknowledging::told(&scope, from, header) {
        Ok(told) => {
            format!("{} is acknowledged it, once a week at most, by {}.", told.to, told.from)
        }
        Err(silence) => format!("Not acknowledged: {}.", why(silence)),
    }
}

fn why(silence: Silence) -> &'static str {
    match silence {
        Silence::NullSender => "there is no sender",
        Silence::Ours => "the sender is one of us",
        Silence::Automatic => "a program has sent it",
        Silence::Bulk => "Precedence says that it went to many",
        Silence::List => "it came over a mailing list",
        Silence::Role => "the sender's address is a program's",
        Silence::NotNamed => "neither To nor Cc names the inbox",
    }
}
