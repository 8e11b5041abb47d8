//! SEARCH and UID SEARCH. (Signatures only: its engineer writes it.)

use super::Call;
use crate::imap::{Completion, Refusal, Selected};

/// SEARCH and UID SEARCH.
pub async fn run(
    _call: &mut Call<'_, '_>,
    _selected: &mut Selected,
) -> Result<Completion, Refusal> {
    Err(Refusal::Bad("not here yet".into()))
}
