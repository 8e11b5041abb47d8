//! `postfach explain USER [MAILBOX]`: what a user sees, and why or why not. For the operator, who
//! may know that a forbidden mailbox exists; the user is never told. Reads the files only: what
//! SETACL granted is in the store and not shown.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::check::{level, refuse, why};
use super::{Outcome, to_stdout};
use crate::config;
use crate::directory::view::everything;
use crate::directory::{Access, Directory, User, Visible, file};
use crate::imap::names::{self, INBOX};
use crate::mail::account::{Account, FolderRole};
use crate::mail::id::Login;

/// `explain` on the terminal.
pub fn run(path: &Path, user: &str, mailbox: Option<&str>) -> ExitCode {
    to_stdout(|out| report(path, (user, mailbox), out))
}

/// Writes what `user` sees, or why they see or do not see `mailbox`.
pub fn report(
    path: &Path,
    (user, mailbox): (&str, Option<&str>),
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    let loaded = config::load(path).and_then(|config| file::load(&config.directory_path));
    let directory = match loaded {
        Ok(directory) => directory,
        Err(faults) => return refuse(&faults, out),
    };
    let Some(user) = directory.users.get(&Login::new(user)) else {
        writeln!(out, "There is no user {user:?}; the directory has: {}", users(&directory))?;
        return Ok(Outcome::Refused);
    };
    match mailbox {
        None => all(&directory, user, out),
        Some(mailbox) => one(&directory, user, (mailbox, out)),
    }
}

fn users(directory: &Directory) -> String {
    directory.users.keys().map(Login::to_string).collect::<Vec<_>>().join(", ")
}

fn all(directory: &Directory, user: &User, out: &mut dyn Write) -> io::Result<Outcome> {
    writeln!(out, "{}", who(directory, user))?;
    for seen in everything(directory, &user.login).iter().filter(|v| v.rights.has('l')) {
        writeln!(out, "  {}", told(directory, user, seen))?;
    }
    let shown = [(FolderRole::Mine, "mine"), (FolderRole::AllOpen, "all-open")];
    for (_, word) in shown.iter().filter(|(role, _)| directory.has_virtual(&user.login, *role)) {
        writeln!(
            out,
            "  virtual {word:?}: shows what lies in the inboxes and private channels above"
        )?;
    }
    writeln!(out, "Rights granted by SETACL are kept in the store and come on top.")?;
    Ok(Outcome::Done)
}

/// `anna (Anna Beispiel), member, in support`
fn who(directory: &Directory, user: &User) -> String {
    let teams = directory.teams.iter().filter(|(_, members)| members.contains(&user.login));
    let teams: Vec<&str> = teams.map(|(team, _)| team.as_str()).collect();
    let teams = if teams.is_empty() { "no team".to_owned() } else { teams.join(", ") };
    format!("{} ({}), {}, in {teams}", user.login, user.name, user.role.word())
}

fn told(directory: &Directory, user: &User, seen: &Visible) -> String {
    let name = shown(seen);
    let why = why(directory, &user.login, &seen.account);
    format!("{name}: {} ({}), because: {why}", level(seen.rights), seen.rights)
}

fn shown(seen: &Visible) -> String {
    match &seen.account {
        Account::User(_) => format!("{INBOX} and own folders"),
        _ => names::prefix(seen),
    }
}

/// The longest account name that `mailbox` is, or is below of; what belongs to none is personal.
fn one(
    directory: &Directory,
    user: &User,
    (mailbox, out): (&str, &mut dyn Write),
) -> io::Result<Outcome> {
    let all = everything(directory, &user.login);
    let is_in = |v: &&Visible| is_at_or_below(mailbox, &names::prefix(v));
    let meant = all.iter().filter(|v| !matches!(v.account, Account::User(_))).find(is_in);
    match meant {
        Some(seen) if seen.rights.has('l') => {
            writeln!(out, "{}", who(directory, user))?;
            writeln!(out, "{}", told(directory, user, seen))?;
            Ok(Outcome::Done)
        }
        Some(hidden) => {
            let reason = reason(directory, user, &hidden.account);
            writeln!(out, "{mailbox} does not exist for {}: {reason}", user.login)?;
            Ok(Outcome::Done)
        }
        None => elsewhere(directory, user, (mailbox, &all, out)),
    }
}

fn is_at_or_below(mailbox: &str, prefix: &str) -> bool {
    mailbox.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// No account stands under this name for this user: but perhaps elsewhere, or for somebody else.
fn elsewhere(
    directory: &Directory,
    user: &User,
    (mailbox, all, out): (&str, &[Visible], &mut dyn Write),
) -> io::Result<Outcome> {
    let namespaces = [names::SHARED, names::PRIVATE, names::OTHER_USERS];
    if !namespaces.iter().any(|namespace| is_at_or_below(mailbox, namespace)) {
        writeln!(out, "{mailbox} is a personal folder of {}, if they made it: all", user.login)?;
        writeln!(out, "rights, because: owner. Nobody else sees it, admins included.")?;
        return Ok(Outcome::Done);
    }
    let below = |v: &&Visible| {
        let name = names::prefix(v);
        let last = name.rsplit('/').next().unwrap_or_default();
        !last.is_empty() && mailbox.split('/').any(|l| l.to_lowercase() == last.to_lowercase())
    };
    match all.iter().find(below) {
        Some(v) if v.rights.has('l') => {
            writeln!(
                out,
                "{mailbox} is not a name here; {} sees {}",
                user.login,
                names::prefix(v)
            )?;
        }
        Some(v) => {
            let reason = reason(directory, user, &v.account);
            writeln!(out, "{mailbox} does not exist for {}: {reason}", user.login)?;
        }
        None => writeln!(out, "{mailbox} does not exist: nothing of that name is declared")?,
    }
    Ok(Outcome::Done)
}

/// Why a user has no rights in an inbox or channel.
fn reason(directory: &Directory, user: &User, account: &Account) -> String {
    let (what, access, owner) = match account {
        Account::User(owner) => return format!("it belongs to {owner} alone"),
        Account::Inbox(name) => ("inbox", directory.inboxes.get(name).map(|i| &i.access), None),
        Account::Channel(name) => {
            let channel = directory.channels.get(name);
            ("channel", channel.map(|c| &c.access), channel.map(|c| &c.owner))
        }
    };
    let mut for_whom = Vec::new();
    for_whom.extend(owner.map(|owner| format!("its owner {owner}")));
    if let Some(Access::Limited { teams, users }) = access {
        for_whom.extend(teams.iter().map(|(team, _)| format!("team {team}")));
        for_whom.extend(users.iter().map(|(login, _)| format!("{login} by name")));
    }
    for_whom.push("admins".to_owned());
    let login = &user.login;
    format!("the {what} is for {}, and {login} is none of these", for_whom.join(", "))
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
