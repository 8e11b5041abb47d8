//! SEARCH: its keys as a tree (`key`, `parse`), tests on what is known of a message (`evaluate`),
//! and the two forms of its answer (`answer`). RFC 3501 §6.4.4

pub mod answer;
pub mod evaluate;
pub mod key;
mod narrow;
pub mod parse;
