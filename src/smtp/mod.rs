//! Layer 2: SMTP as the receiving side speaks it on port 25 (RFC 5321) and to users who submit
//! (RFC 6409), without sockets, timers, store or directory. Bytes and the time go in, steps come
//! out; the driver is `server/smtp.rs`.
//!
//! | file | what it decides |
//! |---|---|
//! | `framing` | where a command line ends |
//! | `command`, `path`, `parameters` | what it says |
//! | `session` | whether it is allowed now, and what happens next |
//! | `transaction` | what one message's envelope holds |
//! | `data`, `content` | where the content ends, and whether it is acceptable |
//! | `extension`, `reply` | what is answered |
//!
//! The sending side is in `client/`.

pub mod client;
pub mod command;
pub mod content;
pub mod data;
pub mod extension;
pub mod framing;
pub mod parameters;
pub mod path;
pub mod reply;
pub mod session;
pub mod transaction;

pub use command::Command;
pub use reply::{Refusal, Reply};
pub use session::{Client, InClear, LoginOffer, Role, Session, Settings, Step, Tls, Verdict};
pub use transaction::{Recipient, Transaction};

/// Longest command line, CRLF included: 512 octets and what the extensions add, the longest of
/// which is the ORCPT of DSN with 500. RFC 5321 §4.5.3.1.4, RFC 3461 §4
pub const LINE_BYTES_MAX: usize = 2048;
/// What a line at submission may have beside the longest response of a mechanism that is offered:
/// AUTH, the mechanism's name and CRLF. RFC 4954 §4
pub const AUTH_BYTES_MAX: usize = 32;
/// How long a client may take to log in where it has to, whatever it sends meanwhile.
pub const LOGIN_TIMEOUT_SECS: i64 = 300;
/// Longest path, with its angle brackets. RFC 5321 §4.5.3.1.3
pub const PATH_BYTES_MAX: usize = 256;
/// Longest domain. RFC 5321 §4.5.3.1.2
pub const DOMAIN_BYTES_MAX: usize = 255;
/// Recipients of one transaction; the next is answered with 452. RFC 5321 §4.5.3.1.8
pub const RECIPIENTS_MAX: usize = 1000;
/// Transactions of one connection; the next is answered with 421.
pub const TRANSACTIONS_MAX: usize = 100;
/// Errors of one connection that are answered; the next one ends it.
pub const ERRORS_MAX: usize = 10;
/// Recipients of one connection that are refused one by one; the next one ends it. Apart from
/// `ERRORS_MAX`, so that a list with some dead addresses is not cut off.
pub const RECIPIENTS_REFUSED_MAX: usize = 100;
/// Commands between two messages that bring none nearer (NOOP, RSET, VRFY, EHLO…).
pub const IDLE_COMMANDS_MAX: usize = 100;
/// How long the server waits for a whole command. RFC 5321 §4.5.3.2.7
pub const COMMAND_TIMEOUT_SECS: i64 = 300;
/// While content flows, at least `DATA_WINDOW_BYTES_MIN` must come in each such time, or the rest
/// of it. RFC 5321 §4.5.3.2.7
pub const DATA_WINDOW_SECS: i64 = 300;
/// See `DATA_WINDOW_SECS`: 55 bytes a second.
pub const DATA_WINDOW_BYTES_MIN: usize = 16 * 1024;
