//! What `[[inbox.route]]` means, and whether its rules can do what they say.

use std::ops::Range;

use toml::Spanned;

use super::choice;
use super::people::named_user;
use crate::directory::findings::Findings;
use crate::directory::rule::{
    Action, Condition, Pick, RULES_MAX, Rule, Target, VALUE_BYTES_MAX, VALUES_MAX, Words,
};
use crate::directory::written::{Route, Text};
use crate::directory::{Directory, name};
use crate::mail::account::Account;
use crate::mail::fold::fold;
use crate::mail::id::Login;

const PICK: [(&str, Pick); 2] =
    [("round-robin", Pick::RoundRobin), ("least-open", Pick::LeastOpen)];
const FOLDER: [(&str, Target); 3] =
    [("open", Target::Open), ("done", Target::Done), ("junk", Target::Junk)];

/// The rules of an inbox, in the order of the file.
pub(super) fn rules(
    found: &mut Findings,
    directory: &Directory,
    written: &[Spanned<Route>],
) -> Vec<Rule> {
    if let Some(rule) = written.get(RULES_MAX) {
        found.fault(rule.span(), "too many rules", "leave 100 of them at most");
    }
    let mut rules = Vec::new();
    for entry in written.iter().take(RULES_MAX) {
        let rule = entry.get_ref();
        let conditions = conditions(found, rule);
        let action = action(found, directory, (rule, entry.span()));
        let place = found.place(entry.span());
        rules.extend(action.map(|action| Rule { place, conditions, action }));
    }
    rules
}

/// What shows only once it is known who works in the inbox: users who are never chosen, and rules
/// that are never reached.
pub(super) fn judge(
    found: &mut Findings,
    directory: &Directory,
    (account, written): (&Account, &[Spanned<Route>]),
) {
    let mut is_reached = true;
    for entry in written.iter().take(RULES_MAX) {
        let rule = entry.get_ref();
        if !is_reached {
            let remedy = "put it before the rule that takes everything, or take it out";
            found.warn(entry.span(), "this rule is never reached", remedy);
        }
        is_reached &= !is_unconditional(rule);
        for user in rule.users.iter().flatten() {
            let login = Login::new(user.get_ref());
            if directory.users.contains_key(&login) && !directory.works_in(&login, account) {
                let message = format!("{login} may not work here, and is never chosen");
                let remedy = "name them among the inbox's users, or take them out";
                found.warn(user.span(), message, remedy);
            }
        }
        let names_somebody = rule.users.is_some() || rule.teams.is_some() || rule.pick.is_some();
        if names_somebody && !has_candidate(directory, account, rule) {
            let remedy = "name somebody who works here";
            found.fault(entry.span(), "this rule can choose nobody", remedy);
        }
    }
}

fn is_unconditional(rule: &Route) -> bool {
    let Route { sender_domain, detail, header, contains, equals, subject, .. } = rule;
    sender_domain.is_none()
        && detail.is_none()
        && subject.is_none()
        && header.is_none()
        && contains.is_none()
        && equals.is_none()
}

fn has_candidate(directory: &Directory, account: &Account, rule: &Route) -> bool {
    let mut members = directory.members_at_work(account);
    if rule.users.is_some() || rule.teams.is_some() {
        let named = |login: &Login| {
            let is_it = |text: &Text| Login::new(text.get_ref()) == *login;
            let is_in = |text: &Text| {
                let team = team(directory, text.get_ref());
                team.is_some_and(|team| directory.teams[team].contains(login))
            };
            rule.users.iter().flatten().any(is_it) || rule.teams.iter().flatten().any(is_in)
        };
        members.retain(named);
    }
    !members.is_empty()
}

fn conditions(found: &mut Findings, rule: &Route) -> Vec<Condition> {
    let mut conditions = Vec::new();
    if let Some(written) = &rule.sender_domain {
        let domains = values(found, written);
        for text in &domains {
            if !name::is_domain(text.get_ref()) {
                let message = format!("{:?} is not a domain", text.get_ref());
                found.fault(text.span(), message, "write the part behind the @: \"example.net\"");
            }
        }
        let domains = domains.iter().map(|text| text.get_ref().to_lowercase()).collect();
        conditions.push(Condition::SenderDomain(domains));
    }
    if let Some(written) = &rule.detail {
        let details = values(found, written);
        conditions.push(Condition::Detail(details.iter().map(|t| fold(t.get_ref())).collect()));
    }
    conditions.extend(header(found, rule));
    if let Some(written) = &rule.subject {
        let words = values(found, written);
        let words = words.iter().map(|text| Words::new("subject", text.get_ref())).collect();
        conditions.push(Condition::Subject(words));
    }
    conditions
}

fn header(found: &mut Findings, rule: &Route) -> Option<Condition> {
    const REMEDY: &str = "write header = \"X-Priority\" and contains = \"1\", or equals";
    let Some(field) = &rule.header else {
        for unused in [&rule.contains, &rule.equals].into_iter().flatten() {
            found.fault(unused.span(), "of which header field?", REMEDY);
        }
        return None;
    };
    let is_name = |b: u8| b.is_ascii_graphic() && b != b':';
    if field.get_ref().is_empty() || !field.get_ref().bytes().all(is_name) {
        found.fault(field.span(), "this is not the name of a header field", REMEDY);
    }
    let words = |text: &Text| Words::new(field.get_ref(), text.get_ref());
    match (&rule.contains, &rule.equals) {
        (Some(text), None) => {
            value(found, text);
            Some(Condition::Contains(words(text)))
        }
        (None, Some(text)) => {
            value(found, text);
            Some(Condition::Equals(words(text)))
        }
        (Some(_), Some(text)) => {
            found.fault(text.span(), "contains stands there already", "keep one of the two");
            None
        }
        (None, None) => {
            found.fault(field.span(), "what must the header field be?", REMEDY);
            None
        }
    }
}

fn action(
    found: &mut Findings,
    directory: &Directory,
    (rule, at): (&Route, Range<usize>),
) -> Option<Action> {
    let names_somebody = rule.users.is_some() || rule.teams.is_some() || rule.pick.is_some();
    if let Some(folder) = &rule.folder {
        if names_somebody {
            let remedy = "keep either folder, or users, teams and pick";
            found.fault(folder.span(), "a conversation that somebody gets lies with them", remedy);
        }
        return Some(Action::Put(choice(found, &rule.folder, &FOLDER)));
    }
    if !names_somebody {
        let remedy = "write users = [\"anna\"], teams = [\"support\"], pick = \"round-robin\" for \
                      all who work here, or folder = \"done\"";
        found.lacking(at, "the rule does not say who gets the conversation", remedy);
        return None;
    }
    let mut users = Vec::new();
    for text in values(found, rule.users.as_deref().unwrap_or_default()) {
        let user = named_user(found, directory, (text.get_ref(), text));
        users.extend(user.filter(|user| !users.contains(user)));
    }
    let mut teams = Vec::new();
    for text in values(found, rule.teams.as_deref().unwrap_or_default()) {
        match team(directory, text.get_ref()) {
            Some(team) => teams.push(team.clone()),
            None => {
                let message = format!("there is no team {:?}", text.get_ref());
                found.fault(text.span(), message, "correct the name, or declare it in [[team]]");
            }
        }
    }
    Some(Action::Assign { users, teams, pick: choice(found, &rule.pick, &PICK) })
}

fn team<'d>(directory: &'d Directory, name: &str) -> Option<&'d String> {
    directory.teams.keys().find(|team| team.to_lowercase() == name.to_lowercase())
}

/// The values of a list, each of which can be looked for.
fn values<'t>(found: &mut Findings, written: &'t [Text]) -> Vec<&'t Text> {
    if let Some(text) = written.get(VALUES_MAX) {
        found.fault(text.span(), "too many values", "leave 100 of them at most");
    }
    let all = written.iter().take(VALUES_MAX);
    all.filter(|text| value(found, text)).collect()
}

fn value(found: &mut Findings, text: &Text) -> bool {
    let is_good = !text.get_ref().trim().is_empty() && text.get_ref().len() <= VALUE_BYTES_MAX;
    if !is_good {
        let remedy = "write what is to be found, 200 bytes at most";
        found.fault(text.span(), "this is empty or too long", remedy);
    }
    is_good
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
