//! The messages of an APPEND or REPLACE on their way from the connection into the spool.

use std::io;

use super::{Connection, TRANSFER_TIMEOUT, Wire};
use crate::imap::Refusal;
use crate::imap::output::Output;
use crate::imap::session::{Incoming, Next};
use crate::imap::wire::framing::Event;
use crate::server::spool::{self, Spool, SpoolError, Spooled};
use crate::sys::repeated::Repeated;

impl Connection {
    /// Takes invited messages into the spool, then stores them together. Their files stay until
    /// the commit has answered.
    pub(super) async fn messages(&mut self, mut incoming: Incoming) -> io::Result<Next> {
        let mut kept = Vec::new();
        loop {
            self.flush().await?;
            match self.spool(&mut incoming).await? {
                Ok(spooled) => {
                    incoming.has_arrived(Ok(spooled.message().clone()));
                    kept.push(spooled);
                }
                Err(error) => incoming.has_arrived(Err(refusal(&error))),
            }
            let event = self.behind_message().await?;
            // rights may have changed while it came in
            if matches!(self.take_directory(), Next::Close) {
                return Ok(Next::Close);
            }
            match self.message_ended(incoming, event).await {
                Next::Message(next) => incoming = *next,
                next => return Ok(next),
            }
        }
    }

    async fn message_ended(&mut self, incoming: Incoming, event: Event) -> Next {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        let mut out = Output::new(&mut self.buffer, &mut sink);
        match event {
            Event::Command(tail) => {
                self.dialogue.messages_complete(incoming, &tail, &mut out).await
            }
            Event::Message { head, announced } => {
                let follows = (head.as_slice(), announced);
                let next = self.dialogue.message_follows(incoming, follows, &mut out).await;
                match next {
                    Next::Message(_) => self.framer.accept(),
                    _ => self.framer.refuse(),
                }
                next
            }
            other => self.perform(other).await,
        }
    }

    /// The outer error: the peer is gone. The inner one: the message cannot be kept, and the rest
    /// of it is read all the same.
    async fn spool(&mut self, incoming: &mut Incoming) -> io::Result<Result<Spooled, SpoolError>> {
        let folder = spool::folder(&self.shared.config.load().data_dir);
        let mut spool = Ok(match incoming.bytes_before() > spool::MEMORY_BYTES_MAX as u64 {
            true => Spool::on_disk(folder.clone(), incoming.bytes()),
            false => Spool::new(folder.clone(), incoming.bytes()),
        });
        while let Some(piece) = self.framer.message_piece() {
            incoming.received(&piece);
            if piece.is_empty() {
                self.read_within(TRANSFER_TIMEOUT).await?;
            } else if let Ok(open) = &mut spool
                && let Err(error) = open.write(&piece).await
            {
                spool = Err(error);
            }
        }
        let spooled = match spool {
            Ok(spool) => spool.finish().await,
            Err(error) => Err(error),
        };
        match spooled {
            Ok(spooled) if incoming.must_become_lines() => Ok(match spooled.loses_nul().await {
                Ok(true) => {
                    incoming.cannot_become_lines();
                    Ok(spooled)
                }
                Ok(false) => spooled.as_lines(folder).await,
                Err(error) => Err(error),
            }),
            other => Ok(other),
        }
    }

    /// What follows a message: the end of its command, or another one.
    async fn behind_message(&mut self) -> io::Result<Event> {
        loop {
            match self.framer.next(&self.dialogue.limits()) {
                None => self.read_within(TRANSFER_TIMEOUT).await?,
                Some(event) => return Ok(event),
            }
        }
    }
}

fn refusal(error: &SpoolError) -> Refusal {
    static UNKEPT: Repeated = Repeated::new();
    if let Some(unsaid) = UNKEPT.due(format!("{error:?}")) {
        tracing::warn!(?error, unsaid, "a message for APPEND could not be kept");
    }
    Refusal::no("UNAVAILABLE", "The message cannot be kept at the moment, try again later")
}
