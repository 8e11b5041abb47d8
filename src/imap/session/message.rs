//! APPEND and REPLACE, from the first literal, or a command without one, to their answer: between
//! the literals the command is read on, and what it names is found. RFC 3501 §6.3.11, RFC 3502,
//! RFC 4469, RFC 8508

use super::incoming::{Headers, Incoming, Work};
use super::{Command, Dialogue, Done, Next, State};
use crate::imap::command::append_data::{self, Messages, Reader, Role, Word};
use crate::imap::command::table::{Row, Verb};
use crate::imap::command::{Call, append, replace};
use crate::imap::output::Output;
use crate::imap::wire::framing::Announced;
use crate::imap::wire::lex::Cursor;
use crate::imap::wire::utf7::Spelling;
use crate::imap::{Completion, Context, Refusal, Selected, Session};

impl Dialogue {
    /// RFC 6855 §4; where that is switched off, everything is taken as it comes.
    fn headers(&self) -> Headers {
        let is_on = self.context.capabilities.has("UTF8=ACCEPT");
        match is_on && self.spelling() == Spelling::Utf7 {
            true => Headers::Ascii,
            false => Headers::Any,
        }
    }

    /// A literal was announced that is not part of a line. Unless it is `Next::Message`: refuse it
    /// in the framing.
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
        match self.begin(&command, Some(announced), out).await {
            Ok(incoming) => Next::Message(Box::new(incoming)),
            Err(refusal) => self.answer(&command.tag, command.row, Err(refusal), out).await,
        }
    }

    /// Up to the first literal, or to the end of a command that has none.
    pub(super) async fn begin(
        &mut self,
        command: &Command<'_>,
        announced: Option<Announced>,
        out: &mut Output<'_>,
    ) -> Result<Incoming, Refusal> {
        let headers = self.headers();
        let (session, selected) = logged_in(&mut self.state)?;
        let selected = selected.as_deref();
        let mut call = super::dispatch::call(&self.context, (command, session), out);
        let mut state = append_data::State::default();
        let mut reader = reader(&self.context, command.row, &mut state);
        let read = (&mut reader, announced);
        let (pending, words) = match (command.row.verb, selected) {
            (Verb::Append, _) => append::begin(&mut call, read).await?,
            (Verb::Replace, Some(selected)) => replace::begin(&mut call, selected, read).await?,
            (Verb::Replace, None) => return Err(Refusal::no_such_mailbox()),
            _ => return Err(Refusal::Bad("expected APPEND or REPLACE".to_owned())),
        };
        let name = (command.tag.clone(), command.row);
        let bytes_max = self.context.message_bytes_max;
        let mut incoming = Incoming::new(name, (pending, state), bytes_max, headers);
        plan((&mut call, selected), &mut incoming, (words, announced)).await?;
        Ok(incoming)
    }

    /// What stands behind a literal, up to the next one or to the end of the command. Unless it is
    /// `Next::Message`, what was announced is to be refused in the framing.
    pub async fn message_follows(
        &mut self,
        mut incoming: Incoming,
        read: (&[u8], Option<Announced>),
        out: &mut Output<'_>,
    ) -> Next {
        match self.follow(&mut incoming, read, out).await {
            Ok(()) => Next::Message(Box::new(incoming)),
            Err(refusal) => self.answer(&incoming.tag, incoming.row, Err(refusal), out).await,
        }
    }

    async fn follow(
        &mut self,
        incoming: &mut Incoming,
        (head, announced): (&[u8], Option<Announced>),
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let mut arguments = Cursor::new(head);
        let mut words: Vec<Word> = incoming.literal_ends().into_iter().map(Word::Url).collect();
        let mut reader = reader(&self.context, incoming.row, &mut incoming.state);
        words.append(&mut reader.read(&mut arguments, announced)?);
        if let Some(refusal) = incoming.refusal.take() {
            return Err(refusal);
        }
        let (session, selected) = logged_in(&mut self.state)?;
        let selected = selected.as_deref();
        let command = Command { tag: incoming.tag.clone(), row: incoming.row, arguments };
        let mut call = super::dispatch::call(&self.context, (&command, session), out);
        plan((&mut call, selected), incoming, (words, announced)).await
    }

    /// All messages are here, or one is refused.
    pub async fn messages_complete(&mut self, incoming: Incoming, out: &mut Output<'_>) -> Next {
        let tag = incoming.tag.clone();
        let command = Command { tag, row: incoming.row, arguments: Cursor::new(b"") };
        let result = self.finish(&command, incoming, out).await;
        self.answer(&command.tag, command.row, result.map(Done::Completed), out).await
    }

    async fn finish(
        &mut self,
        command: &Command<'_>,
        incoming: Incoming,
        out: &mut Output<'_>,
    ) -> Result<Completion, Refusal> {
        let Incoming { pending, arrived, places, refusal, .. } = incoming;
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let (session, selected) = logged_in(&mut self.state)?;
        let mut call = super::dispatch::call(&self.context, (command, session), out);
        places.check(&call)?;
        match (command.row.verb, selected) {
            (Verb::Append, _) => append::finish(&mut call, pending, arrived).await,
            (_, Some(selected)) => replace::finish(&mut call, (pending, arrived), selected).await,
            // it was taken away meanwhile
            (_, None) => Err(Refusal::no_such_mailbox()),
        }
    }
}

/// Who is here, and what they have selected.
fn logged_in(state: &mut State) -> Result<(&mut Session, Option<&mut Selected>), Refusal> {
    match state {
        State::Authenticated(session) => Ok((session, None)),
        State::Selected(session, selected) => Ok((session, Some(selected))),
        State::NotAuthenticated | State::Logout => Err(Refusal::Bad("log in first".to_owned())),
    }
}

/// MULTIAPPEND has nothing to do with REPLACE. RFC 8508 §4.7
fn reader<'a>(context: &'a Context, row: &Row, state: &'a mut append_data::State) -> Reader<'a> {
    let messages = match row.verb == Verb::Append && context.capabilities.has("MULTIAPPEND") {
        true => Messages::Several,
        false => Messages::One,
    };
    Reader::new(&context.capabilities, messages, state)
}

/// What follows from what has been read. What is announced is measured before anything is read or
/// invited.
async fn plan(
    (call, selected): (&mut Call<'_, '_>, Option<&Selected>),
    incoming: &mut Incoming,
    (words, announced): (Vec<Word>, Option<Announced>),
) -> Result<(), Refusal> {
    for word in words {
        match (word, announced) {
            (Word::Begin(settings), _) => incoming.begins(settings)?,
            (Word::Url(url), _) => {
                let part = incoming.places.find(call, selected, url).await?;
                incoming.grows(part.bytes)?;
                incoming.works.push_back(Work::Copy(Box::new(part)));
            }
            (Word::Literal(slot), Some(announced)) => {
                if slot.role != Role::Url {
                    incoming.grows(announced.bytes)?;
                }
                incoming.works.push_back(Work::Take(slot, announced));
            }
            (Word::Literal(_), None) => {}
            (Word::End, _) => incoming.works.push_back(Work::End),
        }
    }
    if announced.is_none() {
        incoming.works.push_back(Work::Complete);
    }
    append::check_room(call, &incoming.pending, incoming.usage())
}
