//! What was done, by whom and when: a list that is only ever added to. An entry is text, and its
//! hash covers that text and the hash of the entry before it, so that none can be changed, left out
//! or put in between without a trace. Entries are made in `apply::audit`, in the transaction that
//! they tell of. Knows no engine and nobody who reads it.
//!
//! Of messages it holds numbers only: it is kept for ever, and what correspondents wrote is not.

mod chain;
mod entry;
mod filter;
mod presence;

pub use chain::{Broken, Chain, HASH_BYTES, Record, Tip, link};
pub use entry::{By, Deed, Entry, EntryId, Note, Person};
pub use filter::Filter;
pub use presence::{CLIENT_BYTES_MAX, Presence};

/// Most messages that one entry names; more are named by further ones.
pub const MESSAGES_PER_ENTRY_MAX: usize = 1_000;
/// The keyword of mail that stays inside: what a colleague wrote to the inbox itself.
pub const NOTE_KEYWORD: &str = "$Note";
