//! CLOSE and UNSELECT: the session drops `Selected` behind an OK. (Signatures only: its engineer writes it.)

use super::Call;
use crate::imap::{Completion, Refusal, Selected};

/// CLOSE and UNSELECT: the session drops `Selected` behind an OK.
pub async fn close(
    _call: &mut Call<'_, '_>,
    _selected: &mut Selected,
) -> Result<Completion, Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}

/// UNSELECT. RFC 3691
pub async fn unselect(
    _call: &mut Call<'_, '_>,
    _selected: &mut Selected,
) -> Result<Completion, Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}
