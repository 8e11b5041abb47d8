//! The wire form: lines and literals, atoms and strings, mailbox names, URLs.

pub mod framing;
pub mod lex;
pub mod number;
pub mod pattern;
pub mod url;
pub mod utf7;
