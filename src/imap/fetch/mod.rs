//! FETCH: what is asked for (`item`), and how it is answered (`write`, `body`, `binary`,
//! `preview`).

pub mod answer;
mod binary;
pub mod body;
pub mod item;
pub mod modifiers;
pub mod preview;
pub mod read_ahead;
pub mod write;
