//! COPY, UID COPY, MOVE and UID MOVE. (Signatures only: its engineer writes it.)

use super::Call;
use crate::imap::{Completion, Refusal, Selected};

/// COPY, UID COPY, MOVE and UID MOVE.
pub async fn copy(
    _call: &mut Call<'_, '_>,
    _selected: &mut Selected,
) -> Result<Completion, Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}

/// MOVE and UID MOVE. RFC 6851
pub async fn r#move(
    _call: &mut Call<'_, '_>,
    _selected: &mut Selected,
) -> Result<Completion, Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}
