//! Who is away, and that somebody is.

use super::Desk;
use crate::mail::date::rfc3339;
use crate::mail::id::{Login, Timestamp};
use crate::store::change::{Actor, Change, Transaction};

/// All who are away, a line each.
pub(super) fn list(desk: &Desk) -> Vec<String> {
    let (directory, now) = (desk.directory.borrow().clone(), desk.store.now());
    let absences = desk.store.absences();
    let by_command = absences.iter().filter(|(_, until)| now < **until);
    let by_command = by_command.map(|(user, until)| format!("{user} until {}", rfc3339(*until)));
    let declared = directory.away.iter().filter(|(user, _)| directory.is_away(user, now));
    let declared = declared.map(|(user, day)| format!("{user} through {day}, by the directory"));
    let mut lines: Vec<String> = by_command.chain(declared).collect();
    if lines.is_empty() {
        lines.push("nobody is away".into());
    }
    lines
}

/// From now on somebody is away, or back.
pub(super) async fn set(
    desk: &Desk,
    user: Login,
    until: Option<Timestamp>,
) -> Result<Vec<String>, String> {
    let (directory, now) = (desk.directory.borrow().clone(), desk.store.now());
    if !directory.users.contains_key(&user) {
        return Err(format!("there is no user {user:?}", user = user.as_str()));
    }
    if until.is_some_and(|until| until <= now) {
        return Err("that day has passed".into());
    }
    let changes = vec![Change::AwaySet { user: user.clone(), until }];
    let committed = desk.store.commit(Transaction { actor: Actor::Operator, changes }).await;
    committed.map_err(|error| format!("nothing was changed: {error}"))?;
    let mut said = vec![match until {
        Some(until) => format!(
            "{user} is away until {}: what follows or reopens conversations of theirs goes to \
             nobody; what they have, stays",
            rfc3339(until)
        ),
        None => format!("{user} is back"),
    }];
    if until.is_none() && directory.is_away(&user, now) {
        said = vec![format!("{user} is still away by the directory: change it there")];
    }
    Ok(said)
}
