//! APPEND, in two halves: what stands before the message decides whether it is invited. (Signatures
//! only: its engineer writes it.)

use super::Call;
use crate::imap::{Completion, Refusal, Selected};
use crate::store::change::NewMessage;

/// An APPEND whose message is awaited.
pub struct Pending;

/// Mailbox, flags and date: `call.arguments` ends in front of the message's literal, its space
/// included. RFC 3501 §6.3.11
pub async fn begin(_call: &mut Call<'_, '_>) -> Result<Pending, Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}

/// Stores the message; it has arrived whole. `call.arguments` is empty.
pub async fn finish(
    _call: &mut Call<'_, '_>,
    _pending: Pending,
    _message: NewMessage,
    _selected: Option<&mut Selected>,
) -> Result<Completion, Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}
