//! What stands between the literals of an APPEND or REPLACE: flags and dates, wrappers, the parts
//! of CATENATE. Only grammar: knows no mailbox and no message. RFC 4466 §3, RFC 4469 §5,
//! RFC 6855 §4

use crate::imap::capability::Capabilities;
use crate::imap::wire::framing::{Announced, Octets};
use crate::imap::wire::lex::Cursor;
use crate::imap::wire::url::URL_BYTES_MAX;
use crate::imap::{Refusal, date, flags};
use crate::mail::flag::FlagList;
use crate::mail::id::Timestamp;

/// Most parts of one message.
pub const PARTS_MAX: usize = 1000;

/// What stands in front of a message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    pub(super) flags: FlagList,
    pub(super) internal_date: Option<Timestamp>,
}

/// What a command says, in its order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// A message begins.
    Begin(Settings),
    /// What this URL names belongs to it.
    Url(Vec<u8>),
    /// A literal follows.
    Literal(Slot),
    /// The message is complete.
    End,
}

/// Where a literal stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// What it is.
    pub role: Role,
    wrapper: Wrapper,
}

/// What a literal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// All of a message.
    Message,
    /// A part of one, as it is.
    Text,
    /// The URL of a part.
    Url,
}

/// What stands around a literal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrapper {
    Bare,
    /// `UTF8 (…)`. RFC 6855 §4
    Utf8,
}

/// How many messages a command may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Messages {
    /// One.
    One,
    /// MULTIAPPEND. RFC 3502
    Several,
}

/// Reads one command, from literal to literal.
pub struct Reader<'a> {
    capabilities: &'a Capabilities,
    messages: Messages,
    state: &'a mut State,
}

/// How far a command has been read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The last literal.
    slot: Option<Slot>,
    /// Parts of the present message.
    parts: usize,
}

/// What is expected next.
enum At {
    Message,
    Part,
    BehindPart,
    BehindMessage,
    Literal(Slot),
    Stop,
}

impl State {
    /// The literal behind what has been read.
    pub fn slot(&self) -> Option<Slot> {
        self.slot
    }
}

impl<'a> Reader<'a> {
    /// Goes on at `state`.
    pub fn new(
        capabilities: &'a Capabilities,
        messages: Messages,
        state: &'a mut State,
    ) -> Reader<'a> {
        Reader { capabilities, messages, state }
    }

    /// Reads up to the literal that is announced, or to the end of the command.
    pub fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        announced: Option<Announced>,
    ) -> Result<Vec<Word>, Refusal> {
        let mut words = Vec::new();
        let mut at = self.begin(cursor, &mut words)?;
        loop {
            at = match at {
                At::Message => self.message(cursor, announced, &mut words)?,
                At::Part => self.part(cursor, announced, &mut words)?,
                At::BehindPart if cursor.take(b')') => {
                    words.push(Word::End);
                    At::BehindMessage
                }
                At::BehindPart => {
                    cursor.space()?;
                    At::Part
                }
                At::BehindMessage => self.behind_message(cursor, announced)?,
                At::Literal(slot) => {
                    cursor.end()?;
                    self.check(slot, announced.ok_or_else(|| cursor.expected("a literal"))?)?;
                    self.state.slot = Some(slot);
                    words.push(Word::Literal(slot));
                    At::Stop
                }
                At::Stop => return Ok(words),
            };
        }
    }

    /// What closes around the last literal.
    fn begin(&mut self, cursor: &mut Cursor<'_>, words: &mut Vec<Word>) -> Result<At, Refusal> {
        let Some(slot) = self.state.slot.take() else { return Ok(At::Message) };
        if slot.wrapper == Wrapper::Utf8 && !cursor.take(b')') {
            return Err(cursor.expected("a closing parenthesis"));
        }
        Ok(match slot.role {
            Role::Message => {
                words.push(Word::End);
                At::BehindMessage
            }
            Role::Text | Role::Url => At::BehindPart,
        })
    }

    /// Flags and date of a message, and how it comes. RFC 4466 §3 `append-message`
    fn message(
        &mut self,
        cursor: &mut Cursor<'_>,
        announced: Option<Announced>,
        words: &mut Vec<Word>,
    ) -> Result<At, Refusal> {
        words.push(Word::Begin(settings(cursor)?));
        self.state.parts = 0;
        let role = Role::Message;
        if cursor.take_word("UTF8 (") {
            return Ok(At::Literal(Slot { role, wrapper: Wrapper::Utf8 }));
        }
        if self.capabilities.has("CATENATE") && cursor.take_word("CATENATE (") {
            return Ok(At::Part);
        }
        match announced {
            Some(_) => Ok(At::Literal(Slot { role, wrapper: Wrapper::Bare })),
            None => Err(cursor.expected("a message as a literal")),
        }
    }

    /// RFC 4469 §5 `cat-part`, RFC 6855 §4
    fn part(
        &mut self,
        cursor: &mut Cursor<'_>,
        announced: Option<Announced>,
        words: &mut Vec<Word>,
    ) -> Result<At, Refusal> {
        self.state.parts += 1;
        if self.state.parts > PARTS_MAX {
            return Err(Refusal::no("LIMIT", "Make a message of 1000 parts at most"));
        }
        let wrapper = Wrapper::Bare;
        if cursor.take_word("TEXT ") {
            return Ok(At::Literal(Slot { role: Role::Text, wrapper }));
        }
        if cursor.take_word("UTF8 (") {
            return Ok(At::Literal(Slot { role: Role::Text, wrapper: Wrapper::Utf8 }));
        }
        if !cursor.take_word("URL ") {
            return Err(cursor.expected("TEXT or URL"));
        }
        if cursor.rest().is_empty() && announced.is_some() {
            return Ok(At::Literal(Slot { role: Role::Url, wrapper }));
        }
        let start = cursor.clone();
        let url = cursor.astring()?;
        if url.len() > URL_BYTES_MAX {
            return Err(start.expected(TOO_LONG));
        }
        words.push(Word::Url(url));
        Ok(At::BehindPart)
    }

    fn behind_message(
        &mut self,
        cursor: &mut Cursor<'_>,
        announced: Option<Announced>,
    ) -> Result<At, Refusal> {
        let is_last = self.messages == Messages::One || cursor.clone().end().is_ok();
        if announced.is_none() && is_last {
            return cursor.end().map(|()| At::Stop);
        }
        if self.messages == Messages::One {
            return Err(cursor.expected("the end of the command"));
        }
        cursor.space()?;
        Ok(At::Message)
    }

    /// Before it is invited, so that nothing is sent in vain.
    fn check(&self, slot: Slot, announced: Announced) -> Result<(), Refusal> {
        let expected = |what: &str| Err(Refusal::Bad(format!("expected {what}")));
        let has = |name: &str| self.capabilities.has(name);
        match (announced.octets, slot.wrapper, slot.role) {
            (_, Wrapper::Utf8, _) if !has("UTF8=ACCEPT") => expected("a literal"),
            (Octets::Text, Wrapper::Utf8, _) => expected("a literal with ~"),
            (Octets::Any, Wrapper::Bare, Role::Message) if has("BINARY") => Ok(()),
            (Octets::Any, Wrapper::Bare, _) => expected("a literal without ~"),
            (_, _, Role::Url) if announced.bytes > URL_BYTES_MAX as u64 => expected(TOO_LONG),
            _ => Ok(()),
        }
    }
}

const TOO_LONG: &str = "a URL of at most 16384 bytes";

/// RFC 4466 §3 `append-opts`
fn settings(cursor: &mut Cursor<'_>) -> Result<Settings, Refusal> {
    let mut settings = Settings::default();
    if cursor.peek() == Some(b'(') {
        settings.flags = flags::list(cursor)?;
        cursor.space()?;
    }
    if cursor.peek() == Some(b'"') {
        settings.internal_date = Some(date::date_time(cursor)?);
        cursor.space()?;
    }
    Ok(settings)
}
