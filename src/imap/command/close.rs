//! CLOSE and UNSELECT: the session drops `Selected` behind an OK.

use super::Call;
use super::expunge::{self, Removal};
use super::share::{Share, shares};
use crate::imap::{Completion, Refusal, Selected};
use crate::mail::uid_set::UidSet;

/// CLOSE: expunges without a word where the user may. RFC 3501 §6.4.2
pub async fn close(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
) -> Result<Completion, Refusal> {
    call.arguments.end()?;
    if expunge::check(selected).is_ok() {
        // of a virtual mailbox, what may not be removed where it lies stays
        let goes = |share: &Share| {
            share.rights.has('e') && Removal::of(call.context, share) != Removal::NotAllowed
        };
        let any = |uids: &UidSet| shares(call, selected, uids).iter().any(goes);
        expunge::remove_deleted(call, selected, (None, any)).await?;
    }
    Ok(Completion::ok("Closed"))
}

/// UNSELECT. RFC 3691 §2
pub async fn unselect(
    call: &mut Call<'_, '_>,
    _selected: &mut Selected,
) -> Result<Completion, Refusal> {
    call.arguments.end()?;
    Ok(Completion::ok("Unselected"))
}
