//! SELECT and EXAMINE. (Signatures only: its engineer writes it.) What was selected before is gone
//! when these are called; `* OK [CLOSED]` has been sent.

use super::Call;
use crate::imap::{Completion, Refusal, Selected};

/// SELECT. RFC 3501 §6.3.1
pub async fn select(_call: &mut Call<'_, '_>) -> Result<(Selected, Completion), Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}

/// EXAMINE. RFC 3501 §6.3.2
pub async fn examine(_call: &mut Call<'_, '_>) -> Result<(Selected, Completion), Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}
