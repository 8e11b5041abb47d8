//! The messages of an APPEND or REPLACE on their way in: announced, invited, arrived.
//! RFC 3501 §6.3.11, RFC 3502, RFC 8508

use super::{Command, Dialogue, Done, Next, State};
use crate::imap::command::append::{self, Arrived, Pending, Settings, Wrapper};
use crate::imap::command::replace;
use crate::imap::command::table::{Row, Verb};
use crate::imap::output::Output;
use crate::imap::wire::framing::{Announced, Literal, Octets};
use crate::imap::wire::lex::Cursor;
use crate::imap::wire::utf7::Spelling;
use crate::imap::{Completion, Refusal};
use crate::store::Usage;
use crate::store::change::NewMessage;

/// Most messages in one APPEND.
const MESSAGES_MAX: usize = 1000;
/// Most bytes in one APPEND of several messages: what was computed of them is in memory until the
/// last one is here.
const SEVERAL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A message that has been invited, and those of the same command that have arrived.
pub struct Incoming {
    tag: String,
    row: &'static Row,
    pending: Pending,
    settings: Settings,
    arrived: Vec<Arrived>,
    announced: Announced,
    /// Bytes of the messages that have arrived.
    bytes_before: u64,
    found: Found,
    /// What headers the client may send.
    headers: Headers,
    refusal: Option<Refusal>,
}

/// What a message holds that not every one may. NUL: in a literal without `~` it could never be
/// sent back, and in a header there is no encoding for it. RFC 3501 §4.3.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    nul: bool,
    nul_in_header: bool,
    /// RFC 6855 §4
    eight_bit_in_header: bool,
    /// Line ends in a row at the end of what has been read of the header; the start counts as one.
    line_ends: u8,
}

impl Found {
    const NOTHING: Found =
        Found { nul: false, nul_in_header: false, eight_bit_in_header: false, line_ends: 1 };

    fn look(&mut self, piece: &[u8]) {
        self.nul |= memchr::memchr(0, piece).is_some();
        for byte in piece {
            match byte {
                _ if self.line_ends == 2 => return,
                b'\n' => self.line_ends += 1,
                b'\r' => {}
                byte => {
                    self.nul_in_header |= *byte == 0;
                    self.eight_bit_in_header |= *byte >= 0x80;
                    self.line_ends = 0;
                }
            }
        }
    }
}

impl Incoming {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.announced.bytes
    }

    /// Bytes of the messages of the same command that have arrived before.
    pub fn bytes_before(&self) -> u64 {
        self.bytes_before
    }

    /// To be called with each piece of it.
    pub fn received(&mut self, piece: &[u8]) {
        self.found.look(piece);
    }

    /// Whether it has to be brought into lines before it is stored. The transfer encoding of a
    /// part changes where it must, and nothing is lost; see `cannot_become_lines`. RFC 3516 §4.4
    pub fn must_become_lines(&self) -> bool {
        self.found.nul && self.announced.octets == Octets::Any
    }

    /// A NUL stands where no transfer encoding could keep it: it is refused rather than lost.
    pub fn cannot_become_lines(&mut self) {
        self.found.nul_in_header |= true;
    }

    /// It is here; `Err`: it could not be kept.
    pub fn has_arrived(&mut self, message: Result<NewMessage, Refusal>) {
        let settings = self.settings.clone();
        self.bytes_before += self.announced.bytes;
        if self.found.nul && self.announced.octets == Octets::Text {
            self.refuse(Refusal::no("CANNOT", "The message holds a NUL"));
        } else if self.found.nul_in_header {
            self.refuse(Refusal::no(
                "UNKNOWN-CTE",
                "A header of the message, or what is between its parts, holds a NUL",
            ));
        } else if self.found.eight_bit_in_header && self.headers == Headers::Ascii {
            let why = "A header beyond ASCII is for who has enabled UTF8=ACCEPT";
            self.refuse(Refusal::no("CANNOT", why));
        }
        match message {
            Ok(message) => self.arrived.push(Arrived { settings, message }),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }
}

/// What the header of a new message may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Headers {
    Any,
    Ascii,
}

impl Dialogue {
    /// RFC 6855 §4; where that is switched off, everything is taken as it comes.
    fn headers(&self) -> Headers {
        let is_on = self.context.capabilities.has("UTF8=ACCEPT");
        match is_on && self.spelling() == Spelling::Utf7 {
            true => Headers::Ascii,
            false => Headers::Any,
        }
    }

    /// A message was announced. `Next::Message`: it is welcome, and `+` has been written where the
    /// client waits for it. Anything else: refuse it in the framing.
    pub async fn message_announced(
        &mut self,
        head: &[u8],
        announced: Announced,
        out: &mut Output<'_>,
    ) -> Next {
        let command = match self.take_apart(head) {
            Ok(command) => command,
            Err((tag, why)) => return self.bad(&tag, &why, out),
        };
        self.check_selected(out);
        match self.begin(&command, announced, out).await {
            Ok((pending, settings)) => {
                let Command { tag, row, .. } = command;
                let (arrived, refusal) = (Vec::new(), None);
                let (bytes_before, found, headers) = (0, Found::NOTHING, self.headers());
                invited(
                    Incoming {
                        tag,
                        row,
                        pending,
                        settings,
                        arrived,
                        announced,
                        bytes_before,
                        found,
                        headers,
                        refusal,
                    },
                    out,
                )
            }
            Err(refusal) => self.answer(&command.tag, command.row, Err(refusal), out).await,
        }
    }

    async fn begin(
        &mut self,
        command: &Command<'_>,
        announced: Announced,
        out: &mut Output<'_>,
    ) -> Result<(Pending, Settings), Refusal> {
        let (session, selected) = match &mut self.state {
            State::Authenticated(session) => (session, None),
            State::Selected(session, selected) => (session, Some(&**selected)),
            State::NotAuthenticated | State::Logout => {
                return Err(Refusal::Bad("log in first".to_owned()));
            }
        };
        let mut call = super::dispatch::call(&self.context, (command, session), out);
        let begun = match (command.row.verb, selected) {
            (Verb::Append, _) => append::begin(&mut call).await?,
            (Verb::Replace, Some(selected)) => replace::begin(&mut call, selected).await?,
            (Verb::Replace, None) => return Err(Refusal::no_such_mailbox()),
            _ => return Err(Refusal::Bad("expected APPEND or REPLACE".to_owned())),
        };
        let adding = Usage { messages: 1, bytes: announced.bytes };
        append::check_room(&call, &begun.0, adding)?;
        self.check_announced(announced, begun.1.wrapper)?;
        Ok(begun)
    }

    /// RFC 4469 §4.2; before the `+`, so that nothing is sent in vain.
    fn check_announced(&self, announced: Announced, wrapper: Wrapper) -> Result<(), Refusal> {
        let has = |name: &str| self.context.capabilities.has(name);
        match (announced.octets, wrapper) {
            (Octets::Any, Wrapper::Bare) if !has("BINARY") => {
                return Err(Refusal::Bad("expected a literal without ~".to_owned()));
            }
            (_, Wrapper::Utf8) if !has("UTF8=ACCEPT") => {
                return Err(Refusal::Bad("expected a literal".to_owned()));
            }
            (Octets::Text, Wrapper::Utf8) => {
                return Err(Refusal::Bad("expected a literal with ~".to_owned()));
            }
            _ => {}
        }
        if announced.bytes > self.context.message_bytes_max {
            return Err(Refusal::no("TOOBIG", "The message is too large for this server"));
        }
        Ok(())
    }

    /// Another message is announced behind one that has arrived; as `message_announced`. RFC 3502
    pub async fn message_follows(
        &mut self,
        mut incoming: Incoming,
        (head, announced): (&[u8], Announced),
        out: &mut Output<'_>,
    ) -> Next {
        match self.follow(&mut incoming, head, announced) {
            Ok(()) => invited(incoming, out),
            Err(refusal) => self.answer(&incoming.tag, incoming.row, Err(refusal), out).await,
        }
    }

    fn follow(
        &self,
        incoming: &mut Incoming,
        head: &[u8],
        announced: Announced,
    ) -> Result<(), Refusal> {
        let may_follow = self.context.capabilities.has("MULTIAPPEND");
        if !may_follow || incoming.row.verb != Verb::Append {
            return Err(Refusal::Bad("expected the end of the command".to_owned()));
        }
        if let Some(refusal) = incoming.refusal.take() {
            return Err(refusal);
        }
        let mut cursor = Cursor::new(head);
        unwrap(incoming.settings.wrapper, &mut cursor)?;
        cursor.space()?;
        incoming.settings = append::settings(&mut cursor)?;
        self.check_announced(announced, incoming.settings.wrapper)?;
        let bytes = incoming.bytes_before.saturating_add(announced.bytes);
        if incoming.arrived.len() >= MESSAGES_MAX || bytes > SEVERAL_BYTES_MAX {
            return Err(Refusal::no("LIMIT", "Send fewer messages in one command"));
        }
        (incoming.announced, incoming.found) = (announced, Found::NOTHING);
        Ok(())
    }

    /// The end of the command is here, behind its last message.
    pub async fn messages_complete(
        &mut self,
        incoming: Incoming,
        tail: &[u8],
        out: &mut Output<'_>,
    ) -> Next {
        let Incoming { tag, row, pending, settings, arrived, refusal, .. } = incoming;
        let mut arguments = Cursor::new(tail);
        let end = unwrap(settings.wrapper, &mut arguments).and_then(|()| arguments.end());
        let command = Command { tag, row, arguments };
        let result = match (end, refusal) {
            (Err(_), _) => Err(Refusal::Bad("expected the end of the command".to_owned())),
            (Ok(()), Some(refusal)) => Err(refusal),
            (Ok(()), None) => self.finish(&command, (pending, arrived), out).await,
        };
        self.answer(&command.tag, command.row, result.map(Done::Completed), out).await
    }

    async fn finish(
        &mut self,
        command: &Command<'_>,
        (pending, arrived): (Pending, Vec<Arrived>),
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
        match (command.row.verb, selected) {
            (Verb::Append, _) => append::finish(&mut call, pending, arrived).await,
            (_, Some(selected)) => replace::finish(&mut call, (pending, arrived), selected).await,
            // it was taken away meanwhile
            (_, None) => Err(Refusal::no_such_mailbox()),
        }
    }
}

/// What closes the wrapper of a message.
fn unwrap(wrapper: Wrapper, cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
    match wrapper == Wrapper::Bare || cursor.take(b')') {
        true => Ok(()),
        false => Err(cursor.expected("a closing parenthesis")),
    }
}

fn invited(incoming: Incoming, out: &mut Output<'_>) -> Next {
    if incoming.announced.literal == Literal::Synchronizing {
        out.line(format_args!("+ Send the message"));
    }
    Next::Message(Box::new(incoming))
}
