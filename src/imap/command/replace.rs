//! REPLACE and UID REPLACE: a message takes the place of another in one step; between the halves of
//! `append`, what is replaced is found and removed. RFC 8508

use super::Call;
use super::append::{self, Arrived, Pending};
use super::append_data::{Reader, Word};
use super::expunge;
use super::share::{Share, shares};
use crate::imap::fetch::body::gone;
use crate::imap::view::SequenceSet;
use crate::imap::wire::framing::Announced;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal, Selected};
use crate::mail::uid_set::UidSet;
use crate::store::Usage;
use crate::store::change::Change;

/// The message that goes, then as APPEND. RFC 8508 §3.2
pub async fn begin(
    call: &mut Call<'_, '_>,
    selected: &Selected,
    (reader, announced): (&mut Reader<'_>, Option<Announced>),
) -> Result<(Pending, Vec<Word>), Refusal> {
    let start = call.arguments.clone();
    let set = SequenceSet::parse(&mut call.arguments)?;
    if !set.is_single() {
        return Err(start.expected("one message"));
    }
    call.arguments.space()?;
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let words = reader.read(&mut call.arguments, announced)?;
    let replaced = selected.view.uids(&selected.view.select(&set, call.numbering)?);
    check(selected)?;
    if replaced.is_empty() {
        return Err(Refusal::no("NONEXISTENT", "There is no such message to replace"));
    }
    let pending = append::target(call, &name)?;
    // said before the message is sent in vain
    expunge::removal(call, selected, &replaced)?;
    let freed = freed(call, (selected, &replaced), &pending).await?;
    Ok((Pending { replaced, freed, ..pending }, words))
}

/// In the user's own mailboxes what is replaced is gone; a team keeps it in its Trash.
async fn freed(
    call: &Call<'_, '_>,
    (selected, replaced): (&Selected, &UidSet),
    pending: &Pending,
) -> Result<Usage, Refusal> {
    let mut freed = Usage::default();
    for share in places(call, selected, replaced)? {
        if share.is_team() || share.mailbox.account != pending.target.account {
            continue;
        }
        let present = call.context.store.snapshot(share.mailbox.id).await?;
        for entry in present.entries_in(&share.uids) {
            freed.messages += 1;
            freed.bytes += u64::from(entry.size_bytes);
        }
    }
    Ok(freed)
}

/// The union of what STORE of \Deleted and EXPUNGE need. RFC 8508 §4.1
fn check(selected: &Selected) -> Result<(), Refusal> {
    expunge::check(selected)?;
    match selected.rights.has('t') {
        true => Ok(()),
        false => Err(Refusal::no_permission("You may not delete messages here")),
    }
}

/// Where what is replaced lies. Of a virtual mailbox, that may be where the user may not remove it,
/// or where they may not read any more.
fn places(
    call: &Call<'_, '_>,
    selected: &Selected,
    replaced: &UidSet,
) -> Result<Vec<Share>, Refusal> {
    let shares = shares(call, selected, replaced);
    if shares.is_empty() {
        return Err(gone());
    }
    match shares.iter().all(Share::may_be_left) {
        true => Ok(shares),
        false => Err(Refusal::no_permission("You may not delete messages there")),
    }
}

/// Stores the message and removes the other, in one transaction.
pub async fn finish(
    call: &mut Call<'_, '_>,
    (pending, arrived): (Pending, Vec<Arrived>),
    selected: &mut Selected,
) -> Result<Completion, Refusal> {
    check(selected)?;
    append::check(call, &pending, &arrived)?;
    let mut changes = Vec::with_capacity(arrived.len());
    for one in arrived {
        changes.push(append::delivery(call, &pending, one).await?);
    }
    // of two at once one finds that it comes too late
    for share in places(call, selected, &pending.replaced)? {
        changes.push(Change::Present { mailbox: share.mailbox.id, uids: share.uids });
    }
    changes.extend(expunge::removal(call, selected, &pending.replaced)?);
    if let Some(code) = append::stored(call, changes).await? {
        // RFC 8508 §4.3: in front of the EXPUNGE response, which follows before the tagged answer
        call.out.line(format_args!("* OK [{code}] Here instead"));
    }
    expunge::told(call, selected, "Replaced").await
}
