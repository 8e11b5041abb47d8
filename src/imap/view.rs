//! What a client believes about its selected mailbox: the only place where sequence numbers exist.

use super::output::Output;
use super::{Context, Refusal, Selected};

/// Placeholder until the message commands land.
pub struct View;

/// Whether untagged EXPUNGE may be sent now. RFC 3501 §7.4.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expunge {
    /// Sequence numbers may change.
    Allowed,
    /// A command by sequence number is answered: what is gone is told later.
    Held,
}

/// Tells the client what is new in its selected mailbox: EXPUNGE (if allowed), EXISTS, RECENT, FETCH.
pub async fn updates(
    _context: &Context,
    _selected: &mut Selected,
    _out: &mut Output<'_>,
    _expunge: Expunge,
) -> Result<(), Refusal> {
    Ok(())
}
