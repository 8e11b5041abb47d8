//! Layer 0: the words of mail that every other layer speaks. Knows no store, no socket, no clock.

pub mod account;
pub mod address;
pub mod base_subject;
pub mod collation;
pub mod date;
pub mod day;
pub mod flag;
pub mod fold;
pub mod id;
pub mod likeness;
pub mod message;
pub mod transport;
pub mod uid_set;
pub mod words;
