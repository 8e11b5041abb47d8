//! The message of an APPEND on its way in: announced, invited, arrived. RFC 3501 §6.3.11

use super::{Command, Dialogue, Done, Next, State};
use crate::imap::command::append::{self, Pending};
use crate::imap::command::table::{Row, Verb};
use crate::imap::command::{self as commands};
use crate::imap::output::Output;
use crate::imap::wire::framing::Literal;
use crate::imap::wire::lex::Cursor;
use crate::imap::{Completion, Refusal};
use crate::store::change::NewMessage;

/// A message that has been invited.
pub struct Incoming {
    tag: String,
    row: &'static Row,
    pending: Pending,
    /// Its length.
    pub bytes: u64,
    /// No literal may hold a NUL, so the message could never be sent back. RFC 3501 §4.3.1
    has_nul: bool,
}

impl Incoming {
    /// To be called with each piece of it.
    pub fn received(&mut self, piece: &[u8]) {
        self.has_nul |= memchr::memchr(0, piece).is_some();
    }
}

impl Dialogue {
    /// A message was announced. `Next::Message`: it is welcome, and `+` has been written where the
    /// client waits for it. Anything else: refuse it in the framing.
    pub async fn message_announced(
        &mut self,
        head: &[u8],
        (bytes, literal): (u64, Literal),
        out: &mut Output<'_>,
    ) -> Next {
        let command = match self.take_apart(head) {
            Ok(command) => command,
            Err((tag, why)) => return self.bad(&tag, &why, out),
        };
        self.check_selected(out);
        match self.begin(&command, bytes, out).await {
            Ok(pending) => {
                if literal == Literal::Synchronizing {
                    out.line(format_args!("+ Send the message"));
                }
                let Command { tag, row, .. } = command;
                Next::Message(Box::new(Incoming { tag, row, pending, bytes, has_nul: false }))
            }
            Err(refusal) => self.answer(&command.tag, command.row, Err(refusal), out).await,
        }
    }

    async fn begin(
        &mut self,
        command: &Command<'_>,
        bytes: u64,
        out: &mut Output<'_>,
    ) -> Result<Pending, Refusal> {
        let (State::Authenticated(session) | State::Selected(session, _)) = &mut self.state else {
            return Err(Refusal::Bad("log in first".to_owned()));
        };
        if command.row.verb != Verb::Append {
            return Err(Refusal::Bad("expected APPEND".to_owned()));
        }
        let mut call = super::dispatch::call(&self.context, (command, session), out);
        let pending = append::begin(&mut call).await?;
        // RFC 4469 §4.2; before the `+`, so that nothing is sent in vain
        if bytes > self.context.message_bytes_max {
            return Err(Refusal::no("TOOBIG", "The message is too large for this server"));
        }
        Ok(pending)
    }

    /// The message is here, and so is the end of its command; `Err`: it could not be kept.
    pub async fn message_arrived(
        &mut self,
        incoming: Incoming,
        (message, tail): (Result<NewMessage, Refusal>, Vec<u8>),
        out: &mut Output<'_>,
    ) -> Next {
        let Incoming { tag, row, pending, has_nul, .. } = incoming;
        let command = Command { tag, row, arguments: Cursor::new(&tail) };
        let result = match command.arguments.clone().end() {
            Ok(()) if has_nul => Err(Refusal::no("CANNOT", "The message holds a NUL")),
            Ok(()) => self.finish(&command, (pending, message), out).await,
            // another message would be MULTIAPPEND, which is not offered
            Err(_) => Err(Refusal::Bad("expected the end of the command".to_owned())),
        };
        self.answer(&command.tag, command.row, result.map(Done::Completed), out).await
    }

    async fn finish(
        &mut self,
        command: &Command<'_>,
        (pending, message): (Pending, Result<NewMessage, Refusal>),
        out: &mut Output<'_>,
    ) -> Result<Completion, Refusal> {
        let (session, selected) = match &mut self.state {
            State::Authenticated(session) => (session, None),
            State::Selected(session, selected) => (session, Some(&mut **selected)),
            State::NotAuthenticated | State::Logout => {
                return Err(Refusal::Bad("log in first".to_owned()));
            }
        };
        let mut call = super::dispatch::call(&self.context, (command, session), out);
        commands::append::finish(&mut call, pending, message?, selected).await
    }
}
