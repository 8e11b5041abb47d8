//! What a client that knows QRESYNC is told of a mailbox that it saw before: what has gone and what
//! has changed since. Tombstones are kept as long as their mailbox, so nothing is ever left out.
//! RFC 7162 §3.2

use super::Call;
use crate::imap::Refusal;
use crate::imap::view::{Selection, SequenceMatch, SequenceSet, Vanished, View, write_vanished};
use crate::imap::wire::lex::Cursor;
use crate::mail::id::{ModSeq, Uid, UidValidity};
use crate::mail::uid_set::UidSet;

/// What the client knows. RFC 7162 §3.2.5
pub(super) struct Known {
    uid_validity: UidValidity,
    modseq: ModSeq,
    /// The messages that it has; `None`: all that it could have.
    uids: Option<UidSet>,
    sequence_match: Option<SequenceMatch>,
}

/// `(67890007 90060115194045000 41:211,214:541 (1,7 10,21))`. RFC 7162 §7
pub(super) fn known(cursor: &mut Cursor<'_>) -> Result<Known, Refusal> {
    open(cursor)?;
    let uid_validity = UidValidity(cursor.nz_number()?);
    cursor.space()?;
    let start = cursor.clone();
    let modseq = ModSeq(cursor.number64()?);
    if modseq == ModSeq(0) {
        return Err(start.expected("a mod-sequence above 0"));
    }
    let (mut uids, mut sequence_match) = (None, None);
    let mut more = cursor.take(b' ');
    if more && SequenceSet::is_next(cursor) {
        uids = Some(known_uids(cursor)?);
        more = cursor.take(b' ');
    }
    if more {
        sequence_match = Some(match_data(cursor)?);
    }
    close(cursor)?;
    Ok(Known { uid_validity, modseq, uids, sequence_match })
}

fn known_uids(cursor: &mut Cursor<'_>) -> Result<UidSet, Refusal> {
    let start = cursor.clone();
    let uids = SequenceSet::parse(cursor)?.known_uids();
    uids.ok_or_else(|| start.expected("UIDs without *"))
}

/// `(4,12 8,24)`. RFC 7162 §3.2.5.2
fn match_data(cursor: &mut Cursor<'_>) -> Result<SequenceMatch, Refusal> {
    let start = cursor.clone();
    open(cursor)?;
    let numbers = SequenceSet::parse(cursor)?;
    cursor.space()?;
    let uids = SequenceSet::parse(cursor)?;
    close(cursor)?;
    let known = SequenceMatch::new(&numbers, &uids);
    known.ok_or_else(|| start.expected("as many ascending UIDs as ascending numbers"))
}

fn open(cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
    if cursor.take(b'(') { Ok(()) } else { Err(cursor.expected("an opening parenthesis")) }
}

fn close(cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
    if cursor.take(b')') { Ok(()) } else { Err(cursor.expected("a closing parenthesis")) }
}

/// Behind all that SELECT tells anyway. Of another epoch the client knows nothing.
pub(super) async fn tell(
    call: &mut Call<'_, '_>,
    view: &View,
    known: &Known,
) -> Result<(), Refusal> {
    if known.uid_validity != view.told().uid_validity {
        return Ok(());
    }
    let wanted = known.uids.clone().unwrap_or_else(|| view.given());
    let told = known.sequence_match.as_ref().and_then(|known| view.known_up_to(known));
    let unknown = match told {
        Some(Uid(told)) => wanted.without(&UidSet::of_ranges(vec![(1, told)])),
        None => wanted.clone(),
    };
    tell_vanished(call, view, (known.modseq, &unknown)).await?;
    let changed = view.changed_since(&Selection::all(view.exists()), known.modseq);
    let changed = match known.uids {
        Some(_) => changed.intersection(&view.with_uids(&wanted)),
        None => changed,
    };
    view.tell_changed(&changed, call.out).await
}

/// Those of `wanted` that have gone after `since`. RFC 7162 §3.2.6
pub(super) async fn tell_vanished(
    call: &mut Call<'_, '_>,
    view: &View,
    (since, wanted): (ModSeq, &UidSet),
) -> Result<(), Refusal> {
    let state = view.told();
    if since >= state.highest_modseq {
        return Ok(());
    }
    let expunged = call.context.store.expunged_since(state.mailbox, since).await?;
    let vanished = view.not_believed(&expunged.intersection(wanted));
    write_vanished(&vanished, Vanished::Earlier, call.out).await
}
