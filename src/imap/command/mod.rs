//! Commands: one file each (arguments → state → store → answer), and the table that says where each
//! is allowed. Knows no socket; what must happen outside (TLS, password check, streaming of an APPEND)
//! is proposed by `session`.

pub mod append;
pub mod close;
pub mod copy;
pub mod expunge;
pub mod fetch;
pub mod search;
pub mod select;
pub mod store;
pub mod table;

use super::output::Output;
use super::view::Condstore;
use super::wire::lex::Cursor;
use super::{Context, Numbering, Selected, Session};

/// One command on its way: who calls, with which arguments, and where the answer goes.
pub struct Call<'c, 'o> {
    /// The command's tag, which ESEARCH repeats. RFC 4731 §3.1
    pub tag: &'c str,
    /// Store and settings.
    pub context: &'c Context,
    /// Who runs it.
    pub session: &'c mut Session,
    /// Whether messages are named by sequence number or UID.
    pub numbering: Numbering,
    /// What stands behind the command's name and its space (nothing, when there was no space).
    pub arguments: Cursor<'c>,
    /// Untagged responses go here; the tagged one is written by the caller.
    pub out: &'c mut Output<'o>,
}

/// The command is a CONDSTORE enabling one; at the first, the client is told where the mailbox stands.
/// RFC 7162 §3.1
pub fn enable_condstore(call: &mut Call<'_, '_>, selected: &mut Selected) {
    call.session.condstore = true;
    if selected.view.condstore() == Condstore::Off {
        selected.view.enable_condstore();
        let highest = selected.view.told().highest_modseq.0;
        call.out.line(format_args!("* OK [HIGHESTMODSEQ {highest}] CONDSTORE is on"));
    }
}
