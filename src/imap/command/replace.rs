//! REPLACE and UID REPLACE: a message takes the place of another in one step; between the halves of
//! `append`, what is replaced is found and removed. RFC 8508

use super::Call;
use super::append::{self, Arrived, Pending, Settings};
use super::expunge::{self, Removal};
use super::share::shares;
use crate::imap::fetch::body::gone;
use crate::imap::view::SequenceSet;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal, Selected};
use crate::mail::uid_set::UidSet;
use crate::store::change::Change;

/// The message that goes, then as APPEND. RFC 8508 §3.2
pub async fn begin(
    call: &mut Call<'_, '_>,
    selected: &Selected,
) -> Result<(Pending, Settings), Refusal> {
    let start = call.arguments.clone();
    let set = SequenceSet::parse(&mut call.arguments)?;
    if !set.is_single() {
        return Err(start.expected("one message"));
    }
    call.arguments.space()?;
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let settings = append::settings(&mut call.arguments)?;
    let replaced = selected.view.uids(&selected.view.select(&set, call.numbering)?);
    check(selected)?;
    if replaced.is_empty() {
        return Err(Refusal::no("NONEXISTENT", "There is no such message to replace"));
    }
    let pending = append::target(call, &name)?;
    // said before the message is sent in vain
    removals(call, selected, &replaced)?;
    Ok((Pending { replaced, ..pending }, settings))
}

/// The union of what STORE of \Deleted and EXPUNGE need. RFC 8508 §4.1
fn check(selected: &Selected) -> Result<(), Refusal> {
    expunge::check(selected)?;
    match selected.rights.has('t') {
        true => Ok(()),
        false => Err(Refusal::no_permission("You may not delete messages here")),
    }
}

/// Stores the message and removes the other, in one transaction.
pub async fn finish(
    call: &mut Call<'_, '_>,
    (pending, mut arrived): (Pending, Vec<Arrived>),
    selected: &Selected,
) -> Result<Completion, Refusal> {
    check(selected)?;
    append::check(call, &pending, &arrived)?;
    let present = call.context.store.snapshot(selected.mailbox.id).await?;
    if present.entries_in(&pending.replaced).next().is_none() {
        return Err(gone());
    }
    let mut changes = Vec::new();
    for one in arrived.drain(..) {
        changes.push(append::delivery(call, &pending, one).await?);
    }
    changes.extend(removals(call, selected, &pending.replaced)?);
    if let Some(code) = append::stored(call, changes).await? {
        // RFC 8508 §4.3: in front of the EXPUNGE response, which follows before the tagged answer
        call.out.line(format_args!("* OK [{code}] Here instead"));
    }
    Ok(Completion::ok("Replaced"))
}

/// What removes the message replaced, from where it lies.
fn removals(
    call: &Call<'_, '_>,
    selected: &Selected,
    replaced: &UidSet,
) -> Result<Vec<Change>, Refusal> {
    let mut changes = Vec::new();
    for share in shares(selected, replaced) {
        changes.extend(Removal::of(call.context, &share).changes(call, &share)?);
    }
    Ok(changes)
}
