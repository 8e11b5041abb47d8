//! Bytes to commands: framing of lines and literals, and the cursor that commands parse with.

pub mod lex;
