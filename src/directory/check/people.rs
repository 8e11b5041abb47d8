//! What `[[user]]` and `[[team]]` mean.

use toml::Spanned;

use super::addresses::{Holder, Taken, addresses};
use super::{Names, choice, quotas};
use crate::directory::findings::Findings;
use crate::directory::written::{Team, Text, User as WrittenUser};
use crate::directory::{Directory, PasswordHash, Role, User, password};
use crate::mail::account::Account;
use crate::mail::day::Day;
use crate::mail::id::Login;

/// Characters that a login cannot have beside those that no name can: `dora:read` ends at the
/// colon.
const LEVEL_SEPARATOR: char = ':';

/// Reads all users.
pub(super) fn users(
    found: &mut Findings,
    directory: &mut Directory,
    (written, taken): (Vec<Spanned<WrittenUser>>, &mut Taken),
) {
    let mut names = Names::default();
    for entry in written {
        let table = entry.span();
        let user = entry.into_inner();
        let password = password(found, user.password, table.clone());
        let roles =
            [("member", Role::Member), ("admin", Role::Admin), ("super-admin", Role::SuperAdmin)];
        let role = choice(found, &user.role, &roles);
        let quota = quotas::quota(found, (user.quota_mib, user.quota_messages));
        let addresses = addresses(found, directory, &user.addresses);
        let login = names.take(found, ("user", "login"), (&user.login, table));
        let Some(login) = login.filter(|_| has_no_colon(found, &user.login)) else { continue };
        if let Some(day) = away(found, user.away) {
            directory.away.insert(Login::new(&login), day);
        }
        taken.add(Holder::User(Login::new(&login)), &addresses, &user.addresses);
        let entry = User {
            login: Login::new(&login),
            name: user.name.map_or(login, Spanned::into_inner),
            password,
            role,
            addresses,
        };
        directory.limit(Account::User(entry.login.clone()), quota);
        directory.users.insert(entry.login.clone(), entry);
    }
}

/// The last day of an absence; one that has passed says nothing any more.
fn away(found: &mut Findings, written: Option<Text>) -> Option<Day> {
    let written = written?;
    let day = Day::parse(written.get_ref());
    if day.is_none() {
        let message = format!("{:?} is no day", written.get_ref());
        found.fault(written.span(), message, "write the last day of the absence: 2026-12-05");
    }
    day
}

fn password(
    found: &mut Findings,
    written: Option<Text>,
    table: std::ops::Range<usize>,
) -> PasswordHash {
    const REMEDY: &str = "put there what `postfach hash-password` prints";
    match &written {
        None => found.missing(table, "password", REMEDY),
        Some(text) => {
            if let Err(why) = password::check_format(text.get_ref()) {
                found.fault(text.span(), format!("the password hash {why}"), REMEDY);
            }
        }
    }
    PasswordHash(written.map_or(String::new(), Spanned::into_inner))
}

fn has_no_colon(found: &mut Findings, name: &Option<Text>) -> bool {
    let colon = name.as_ref().filter(|text| text.get_ref().contains(LEVEL_SEPARATOR));
    if let Some(text) = colon {
        let message = "the name contains \":\", which separates a level: \"dora:read\"";
        found.fault(text.span(), message, "choose another name");
    }
    colon.is_none()
}

/// Reads all teams.
pub(super) fn teams(found: &mut Findings, directory: &mut Directory, written: Vec<Spanned<Team>>) {
    let mut names = Names::default();
    for entry in written {
        let table = entry.span();
        let team = entry.into_inner();
        let members =
            team.members.iter().filter_map(|member| user(found, directory, member)).collect();
        let name = names.take(found, ("team", "name"), (&team.name, table));
        if let Some(name) = name.filter(|_| has_no_colon(found, &team.name)) {
            directory.teams.insert(name, members);
        }
    }
}

/// The user whose login this is; a fault if there is none.
pub(super) fn user(found: &mut Findings, directory: &Directory, text: &Text) -> Option<Login> {
    named_user(found, directory, (text.get_ref(), text))
}

/// As `user`, where the login is a part of the text.
pub(super) fn named_user(
    found: &mut Findings,
    directory: &Directory,
    (login, text): (&str, &Text),
) -> Option<Login> {
    let known = directory.users.get_key_value(&Login::new(login)).map(|(login, _)| login.clone());
    if known.is_none() {
        let message = format!("there is no user {login:?}");
        found.fault(text.span(), message, "correct the login, or declare the user in [[user]]");
    }
    known
}
