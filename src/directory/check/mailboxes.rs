//! What `[[inbox]]` and `[[channel]]` mean, and who may access them.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::addresses::{Holder, Meant, Taken, addresses};
use super::people::{named_user, user};
use super::{Names, acknowledgement, choice, quotas, rules};
use crate::directory::findings::Findings;
use crate::directory::written::{
    Access as WrittenAccess, Acknowledgement as WrittenAcknowledgement, Channel as WrittenChannel,
    Inbox as WrittenInbox, Lists, Route as WrittenRoute, Text,
};
use crate::directory::{
    Access, Channel, CollisionGuard, Directory, IdentityGuard, Inbox, Level, Moves, Policy,
};
use crate::mail::account::Account;
use crate::mail::flag::SeenMode;
use crate::mail::id::Login;

/// `retention_days` when the file does not say.
const RETENTION_DAYS: u32 = 30;
/// Longest `retention_days`: a hundred years.
const RETENTION_DAYS_MAX: i64 = 36_500;

/// `teams` and `users`, as they are written.
type WrittenLists<'a> = (&'a Option<Vec<Text>>, &'a Option<Vec<Text>>);

const SEEN: [(&str, SeenMode); 2] = [("per-user", SeenMode::PerUser), ("shared", SeenMode::Shared)];

/// Reads all inboxes.
pub(super) fn inboxes(
    found: &mut Findings,
    directory: &mut Directory,
    (written, taken): (&[Spanned<WrittenInbox>], &mut Taken),
) {
    let mut names = Names::default();
    for entry in written {
        let inbox = entry.get_ref();
        let seen = choice(found, &inbox.seen, &SEEN);
        let policy = policy(found, directory, inbox.into());
        let quota = (inbox.quota_mib.clone(), inbox.quota_messages.clone());
        let quota = quotas::quota(found, quota);
        let lists = (&inbox.teams, &inbox.users);
        let access = match lists {
            (None, None) => Access::Everyone,
            _ => limited(found, directory, (lists, entry.span())),
        };
        let addresses = addresses(found, directory, &inbox.addresses);
        let name = names.take(found, ("inbox", "name"), (&inbox.name, entry.span()));
        let Some(name) = name else { continue };
        taken.add(Holder::Inbox(name.clone()), &addresses, &inbox.addresses);
        let name: Arc<str> = name.into();
        let inbox = Inbox { name: name.clone(), addresses, access, seen, policy };
        directory.limit(Account::Inbox(name.clone()), quota);
        directory.inboxes.insert(name.clone(), inbox);
        rules::judge(found, directory, (&Account::Inbox(name), &entry.get_ref().route));
    }
}

/// Reads all channels.
pub(super) fn channels(
    found: &mut Findings,
    directory: &mut Directory,
    (written, taken): (&[Spanned<WrittenChannel>], &mut Taken),
) {
    let mut names = Names::default();
    for entry in written {
        let channel = entry.get_ref();
        let seen = choice(found, &channel.seen, &SEEN);
        let policy = policy(found, directory, channel.into());
        let quota = (channel.quota_mib.clone(), channel.quota_messages.clone());
        let quota = quotas::quota(found, quota);
        let owner = match &channel.owner {
            Some(owner) => user(found, directory, owner),
            None => {
                found.missing(entry.span(), "owner", "write whose channel it is: owner = \"anna\"");
                None
            }
        };
        let (routed_to, levels) = routed(found, directory, &channel.routed_to);
        let access = access(found, directory, (channel, levels));
        let addresses = addresses(found, directory, &channel.addresses);
        let name = names.take(found, ("channel", "name"), (&channel.name, entry.span()));
        let (Some(name), Some(owner)) = (name, owner) else { continue };
        let meant = if channel.personal { Meant::Yes } else { Meant::Unsaid };
        taken.add(Holder::Channel(name.clone(), meant), &addresses, &channel.addresses);
        let personal = channel.personal;
        let name: Arc<str> = name.into();
        let channel = Channel {
            name: name.clone(),
            owner,
            addresses,
            routed_to,
            access,
            seen,
            policy,
            personal,
        };
        directory.limit(Account::Channel(name.clone()), quota);
        directory.channels.insert(name.clone(), channel);
        rules::judge(found, directory, (&Account::Channel(name), &entry.get_ref().route));
    }
}

/// Who works in a channel beside its owner; a level, where one is given, replaces `work`.
fn routed(
    found: &mut Findings,
    directory: &Directory,
    written: &[Text],
) -> (Vec<Login>, Vec<(Login, Level)>) {
    let (mut routed_to, mut levels) = (Vec::new(), Vec::new());
    for text in written {
        let Some((login, level)) = with_level(found, text) else { continue };
        let Some(login) = named_user(found, directory, (login, text)) else { continue };
        if text.get_ref().contains(':') {
            levels.push((login.clone(), level));
        }
        if routed_to.contains(&login) {
            found.fault(text.span(), format!("{login} stands there twice"), "write it once");
        }
        routed_to.push(login);
    }
    (routed_to, levels)
}

fn access(
    found: &mut Findings,
    directory: &Directory,
    (channel, levels): (&WrittenChannel, Vec<(Login, Level)>),
) -> Access {
    let mut access = match channel.access.as_ref().map(|a| (a.get_ref(), a.span())) {
        None => Access::Limited { teams: Vec::new(), users: Vec::new() },
        Some((WrittenAccess::Lists(Lists { teams, users }), at)) => {
            limited(found, directory, ((teams, users), at))
        }
        Some((WrittenAccess::Word(word), at)) => match word.as_str() {
            "everyone" => Access::Everyone,
            "owner" => Access::Limited { teams: Vec::new(), users: Vec::new() },
            other => {
                let remedy = "write \"owner\", \"everyone\" or { teams = […], users = […] }";
                found.fault(at, format!("{other:?} is not an access"), remedy);
                Access::Limited { teams: Vec::new(), users: Vec::new() }
            }
        },
    };
    if let Access::Limited { users, .. } = &mut access {
        users.extend(levels);
    }
    access
}

/// Access for the teams and users in the lists. An empty list would let nobody in; taken for "not
/// there" it would let everybody in: so it is a fault.
fn limited(
    found: &mut Findings,
    directory: &Directory,
    ((teams, users), at): (WrittenLists, Range<usize>),
) -> Access {
    let teams = teams.as_deref().unwrap_or_default();
    let users = users.as_deref().unwrap_or_default();
    if teams.is_empty() && users.is_empty() {
        let remedy = "name at least one team or user, or leave `teams` and `users` out";
        found.lacking(at, "the lists of who has access are empty", remedy);
    }
    let mut named_teams: Vec<(String, Level)> = Vec::new();
    for text in teams {
        let Some((name, level)) = with_level(found, text) else { continue };
        let same = |team: &&String| team.to_lowercase() == name.to_lowercase();
        let Some(team) = directory.teams.keys().find(same) else {
            let message = format!("there is no team {name:?}");
            found.fault(text.span(), message, "correct the name, or declare it in [[team]]");
            continue;
        };
        twice(found, text, named_teams.iter().any(|(known, _)| known == team).then_some(team));
        named_teams.push((team.clone(), level));
    }
    let mut named_users: Vec<(Login, Level)> = Vec::new();
    for text in users {
        let Some((login, level)) = with_level(found, text) else { continue };
        let Some(login) = named_user(found, directory, (login, text)) else { continue };
        let again = named_users.iter().any(|(known, _)| *known == login);
        twice(found, text, again.then_some(login.as_str()));
        named_users.push((login, level));
    }
    Access::Limited { teams: named_teams, users: named_users }
}

fn twice(found: &mut Findings, text: &Text, again: Option<impl std::fmt::Display>) {
    if let Some(name) = again {
        found.fault(text.span(), format!("{name} stands there twice"), "write it once");
    }
}

/// `dora:read` → dora, to read; without a level: to work.
fn with_level<'t>(found: &mut Findings, text: &'t Text) -> Option<(&'t str, Level)> {
    let Some((name, level)) = text.get_ref().rsplit_once(':') else {
        return Some((text.get_ref(), Level::Work));
    };
    let level = match level {
        "read" => Level::Read,
        "work" => Level::Work,
        "manage" => Level::Manage,
        other => {
            let remedy = "write \"name:read\", \"name:work\" or \"name:manage\"";
            found.fault(text.span(), format!("there is no level {other:?}"), remedy);
            return None;
        }
    };
    Some((name, level))
}

/// The switches that inboxes and channels share.
struct Switches<'a> {
    collision: &'a Option<Text>,
    identity: &'a Option<Text>,
    answering_assigns: &'a Option<Spanned<bool>>,
    conversation: &'a Option<Text>,
    retention_days: &'a Option<Spanned<i64>>,
    route: &'a [Spanned<WrittenRoute>],
    acknowledgement: &'a Option<Spanned<WrittenAcknowledgement>>,
}

impl<'a> From<&'a WrittenInbox> for Switches<'a> {
    fn from(inbox: &'a WrittenInbox) -> Switches<'a> {
        Switches {
            collision: &inbox.collision,
            identity: &inbox.identity,
            answering_assigns: &inbox.answering_assigns,
            conversation: &inbox.conversation,
            retention_days: &inbox.retention_days,
            route: &inbox.route,
            acknowledgement: &inbox.acknowledgement,
        }
    }
}

impl<'a> From<&'a WrittenChannel> for Switches<'a> {
    fn from(channel: &'a WrittenChannel) -> Switches<'a> {
        Switches {
            collision: &channel.collision,
            identity: &channel.identity,
            answering_assigns: &channel.answering_assigns,
            conversation: &channel.conversation,
            retention_days: &channel.retention_days,
            route: &channel.route,
            acknowledgement: &channel.acknowledgement,
        }
    }
}

fn policy(found: &mut Findings, directory: &Directory, written: Switches<'_>) -> Policy {
    let collision = [
        ("warn", CollisionGuard::Warn),
        ("off", CollisionGuard::Off),
        ("reject", CollisionGuard::Reject),
    ];
    let identity = [
        ("reject", IdentityGuard::Reject),
        ("off", IdentityGuard::Off),
        ("rewrite", IdentityGuard::Rewrite),
    ];
    let conversation = [("together", Moves::Together), ("single", Moves::Single)];
    let collision = choice(found, written.collision, &collision);
    let conversation = choice(found, written.conversation, &conversation);
    let identity = choice(found, written.identity, &identity);
    let answering_assigns = written.answering_assigns.as_ref().is_none_or(|on| *on.get_ref());
    let days = written.retention_days.as_ref();
    if let Some(days) = days.filter(|days| !(1..=RETENTION_DAYS_MAX).contains(days.get_ref())) {
        found.fault(days.span(), "retention_days is out of range", "write 1 to 36500 days");
    }
    let retention_days =
        days.and_then(|days| u32::try_from(*days.get_ref()).ok()).unwrap_or(RETENTION_DAYS);
    Policy {
        collision,
        identity,
        answering_assigns,
        conversation,
        retention_days,
        rules: rules::rules(found, directory, written.route),
        acknowledgement: acknowledgement::acknowledgement(found, written.acknowledgement),
    }
}
