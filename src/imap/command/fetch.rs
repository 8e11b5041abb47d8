//! FETCH and UID FETCH. (Signatures only: its engineer writes it.)

use super::Call;
use crate::imap::{Completion, Refusal, Selected};

/// FETCH and UID FETCH.
pub async fn run(
    _call: &mut Call<'_, '_>,
    _selected: &mut Selected,
) -> Result<Completion, Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}
