//! FETCH: what is asked for (`item`), what the store is asked for it (`at_hand`), and how it is
//! answered (`write`, `body`, `binary`, `preview`).

pub mod answer;
mod at_hand;
mod binary;
pub mod body;
pub mod item;
pub mod modifiers;
pub mod preview;
pub mod write;
