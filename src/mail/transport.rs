//! What an SMTP envelope says of a message beside its addresses. Knows no syntax: who reads it off
//! the wire and who writes it is in `smtp/`.

use serde::{Deserialize, Serialize};

/// What the content may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Body {
    /// 7BIT: ASCII in lines. RFC 6152 §3
    #[default]
    SevenBit,
    /// 8BITMIME: any octets in lines. RFC 6152 §3
    EightBitMime,
    /// BINARYMIME: any octets. At submission only, where it becomes lines before it is kept.
    /// RFC 3030 §3
    BinaryMime,
}

/// How much of the message a delivery report returns. RFC 3461 §4.3
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ret {
    /// FULL
    Full,
    /// HDRS
    Headers,
}

/// When the sender wants a report; all false: NEVER. RFC 3461 §4.1
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Notify {
    /// SUCCESS
    pub success: bool,
    /// FAILURE
    pub failure: bool,
    /// DELAY
    pub delay: bool,
}
