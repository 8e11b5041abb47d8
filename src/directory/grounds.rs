//! Why a user may do what they may: for the operator's eyes (`check`, `explain`). Decides nothing;
//! a test holds it against `rights`.

use std::fmt;

use super::rights::{by_role, named};
use super::{Access, Directory, Level, Rights, Role};
use crate::mail::account::Account;
use crate::mail::id::Login;

/// One reason for rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ground {
    /// It is the user's own.
    Owner,
    /// The channel is routed to the user.
    Routed,
    /// The access is open to every user.
    Everyone,
    /// A team of the user has access.
    Team(String, Level),
    /// The user has access by name.
    Named(Level),
    /// SETACL says so, instead of what is declared.
    Granted,
    /// The user's role.
    Role(Role),
    /// `postfach break-glass` has opened it to them.
    Opened,
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ground::Owner => f.write_str("owner"),
            Ground::Routed => f.write_str("routed to them"),
            Ground::Everyone => f.write_str("open to everyone"),
            Ground::Team(team, level) => write!(f, "team {team} ({})", level.word()),
            Ground::Named(level) => write!(f, "by name ({})", level.word()),
            Ground::Granted => f.write_str("granted by SETACL"),
            Ground::Opened => f.write_str("opened by break-glass"),
            Ground::Role(role) => write!(f, "role {}", role.word()),
        }
    }
}

/// All reasons that count for what `user` may do in `account`, with what each gives. Their union is
/// what `rights` answers.
pub fn grounds(directory: &Directory, user: &Login, account: &Account) -> Vec<(Ground, Rights)> {
    let Some(declared) = directory.users.get(user) else { return Vec::new() };
    let access = match account {
        Account::User(owner) if owner == user => return vec![(Ground::Owner, Rights::manage())],
        Account::User(_) => {
            let rights = by_role(directory, user, account);
            return (!rights.is_none()).then_some((Ground::Opened, rights)).into_iter().collect();
        }
        Account::Inbox(name) => directory.inboxes.get(name).map(|inbox| &inbox.access),
        Account::Channel(name) => directory.channels.get(name).map(|channel| &channel.access),
    };
    let Some(access) = access else { return Vec::new() };
    let mut grounds = match directory.grants.get(&(account.clone(), user.clone())) {
        Some(granted) => vec![(Ground::Granted, *granted)],
        None => {
            let mut grounds = of_channel(directory, user, account);
            grounds.extend(of_access(directory, user, access));
            grounds
        }
    };
    grounds.push((Ground::Role(declared.role), by_role(directory, user, account)));
    grounds.retain(|(ground, rights)| !rights.is_none() || *ground == Ground::Granted);
    grounds
}

fn of_channel(directory: &Directory, user: &Login, account: &Account) -> Vec<(Ground, Rights)> {
    let Account::Channel(name) = account else { return Vec::new() };
    let Some(channel) = directory.channels.get(name) else { return Vec::new() };
    let owns = channel.owner == *user;
    let routed = channel.routed_to.contains(user) && named(&channel.access, user).is_none();
    let all = [(owns, Ground::Owner), (routed, Ground::Routed)];
    let held = all.into_iter().filter(|(held, _)| *held);
    held.map(|(_, ground)| (ground, Rights::work())).collect()
}

fn of_access(directory: &Directory, user: &Login, access: &Access) -> Vec<(Ground, Rights)> {
    let Access::Limited { teams, .. } = access else {
        return vec![(Ground::Everyone, Rights::work())];
    };
    if let Some(level) = named(access, user) {
        return vec![(Ground::Named(level), Rights::of(level))];
    }
    let in_team = |team: &String| directory.teams.get(team).is_some_and(|m| m.contains(user));
    let teams = teams.iter().filter(|(team, _)| in_team(team));
    teams.map(|(team, level)| (Ground::Team(team.clone(), *level), Rights::of(*level))).collect()
}

impl Level {
    /// The word of the directory file.
    pub fn word(self) -> &'static str {
        match self {
            Level::Read => "read",
            Level::Work => "work",
            Level::Manage => "manage",
        }
    }
}

impl Role {
    /// The word of the directory file.
    pub fn word(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Admin => "admin",
            Role::SuperAdmin => "super-admin",
        }
    }
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
