//! The wire form: lines and literals, atoms and strings, mailbox names.

pub mod framing;
pub mod lex;
pub mod number;
pub mod pattern;
pub mod utf7;
