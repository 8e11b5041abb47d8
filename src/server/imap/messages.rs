//! The messages of an APPEND or REPLACE on their way from the connection, and from what is stored,
//! into the spool.

use std::io;

use super::{Connection, TRANSFER_TIMEOUT, Wire};
use crate::imap::Refusal;
use crate::imap::output::Output;
use crate::imap::session::{Belongs, Incoming, Next, Step};
use crate::imap::wire::framing::Event;
use crate::server::spool::{self, Spool, SpoolError, Spooled};
use crate::sys::repeated::Repeated;

impl Connection {
    /// Takes the messages of a command into the spool, then stores them together. Their files stay
    /// until the commit has answered.
    pub(super) async fn messages(&mut self, mut incoming: Incoming) -> io::Result<Next> {
        let (mut kept, mut spool) = (Vec::new(), None);
        let store = self.shared.store.clone();
        loop {
            let next = match incoming.step(&*store).await {
                Step::Literal => {
                    self.literal(&mut incoming, &mut spool).await?;
                    continue;
                }
                Step::Bytes(bytes) => {
                    self.write_spool(&mut incoming, &mut spool, &bytes).await;
                    continue;
                }
                Step::Whole => {
                    kept.extend(self.whole(&mut incoming, spool.take()).await);
                    continue;
                }
                Step::Follows => {
                    let event = self.behind_message().await?;
                    match self.take_directory() {
                        Next::Close => Next::Close,
                        _ => self.message_follows(incoming, event).await,
                    }
                }
                // rights may have changed meanwhile
                Step::Complete => match self.take_directory() {
                    Next::Close => Next::Close,
                    _ => self.messages_complete(incoming).await,
                },
            };
            match next {
                Next::Message(next) => incoming = *next,
                next => return Ok(next),
            }
        }
    }

    async fn message_follows(&mut self, incoming: Incoming, event: Event) -> Next {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        let mut out = Output::new(&mut self.buffer, &mut sink);
        let next = match &event {
            Event::Command(tail) => {
                self.dialogue.message_follows(incoming, (tail, None), &mut out).await
            }
            Event::Message { head, announced } => {
                let read = (head.as_slice(), Some(*announced));
                self.dialogue.message_follows(incoming, read, &mut out).await
            }
            _ => return self.perform(event).await,
        };
        if !matches!(next, Next::Message(_)) {
            self.framer.refuse();
        }
        next
    }

    async fn messages_complete(&mut self, incoming: Incoming) -> Next {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        let mut out = Output::new(&mut self.buffer, &mut sink);
        self.framer.refuse();
        self.dialogue.messages_complete(incoming, &mut out).await
    }

    /// All of a literal is read, also when it cannot be kept. An error: the peer is gone.
    async fn literal(
        &mut self,
        incoming: &mut Incoming,
        spool: &mut Option<Spool>,
    ) -> io::Result<()> {
        self.framer.accept();
        self.write(|_, out| incoming.invite(out));
        self.flush().await?;
        while let Some(piece) = self.framer.message_piece() {
            if piece.is_empty() {
                self.read_within(TRANSFER_TIMEOUT).await?;
            } else if incoming.received(&piece) == Belongs::ToMessage {
                self.write_spool(incoming, spool, &piece).await;
            }
        }
        Ok(())
    }

    async fn write_spool(
        &mut self,
        incoming: &mut Incoming,
        spool: &mut Option<Spool>,
        piece: &[u8],
    ) {
        if incoming.is_refused() {
            return;
        }
        let written = spool.get_or_insert_with(|| self.empty_spool(incoming)).write(piece).await;
        if let Err(error) = written {
            incoming.cannot_be_kept(refusal(&error));
        }
    }

    fn empty_spool(&self, incoming: &Incoming) -> Spool {
        let (folder, bytes_max) = (self.spool_folder(), incoming.bytes_max());
        match incoming.bytes_before() > spool::MEMORY_BYTES_MAX as u64 {
            true => Spool::on_disk(folder, bytes_max),
            false => Spool::new(folder, bytes_max),
        }
    }

    fn spool_folder(&self) -> std::path::PathBuf {
        spool::folder(&self.shared.config.load().data_dir)
    }

    /// A message is complete; `None`: it is refused.
    async fn whole(&mut self, incoming: &mut Incoming, spool: Option<Spool>) -> Option<Spooled> {
        let spool = spool.unwrap_or_else(|| self.empty_spool(incoming));
        match self.spooled(incoming, spool).await {
            Ok(spooled) => {
                incoming.has_arrived(spooled.message().clone());
                Some(spooled)
            }
            Err(error) => {
                incoming.cannot_be_kept(refusal(&error));
                None
            }
        }
    }

    async fn spooled(&self, incoming: &mut Incoming, spool: Spool) -> Result<Spooled, SpoolError> {
        let spooled = spool.finish().await?;
        if !incoming.must_become_lines() {
            return Ok(spooled);
        }
        if spooled.loses_nul().await? {
            incoming.cannot_become_lines();
            return Ok(spooled);
        }
        spooled.as_lines(self.spool_folder()).await
    }

    /// What follows a literal: the end of its command, or another one.
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
