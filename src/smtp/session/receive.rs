//! The part of a session that takes a message's content, by DATA or by BDAT.

use super::{Chunk, Mail, Pace, Phase, Session, Step, after};
use crate::mail::id::Timestamp;
use crate::mail::transport::Body;
use crate::smtp::content::{Content, Lines, Piece};
use crate::smtp::reply::{Refusal, Reply};
use crate::smtp::{DATA_WINDOW_BYTES_MIN, DATA_WINDOW_SECS};

impl Session {
    pub(super) fn take_data(&mut self, input: &[u8], now: Timestamp) -> usize {
        let Phase::Data(receiver, content) = &mut self.phase else { return 0 };
        let mut piece = Vec::with_capacity(input.len());
        let (used, end) = receiver.receive(input, &mut piece);
        let fault = receiver.fault();
        let counted = if fault.is_some() { used } else { piece.len() };
        let verdict = content.add(counted, fault);
        let refused = content.refused();
        self.content(verdict, piece);
        if verdict == Piece::GiveUp {
            self.end(Refusal::TooLarge);
        } else if end {
            self.content_complete(refused, now);
        } else {
            self.bytes_came(used, now);
        }
        used
    }

    fn content(&mut self, verdict: Piece, piece: Vec<u8>) {
        match verdict {
            Piece::Keep if piece.is_empty() => {}
            Piece::Keep => self.queue.push_back(Step::Content(piece)),
            Piece::Discard => self.queue.push_back(Step::Discard),
            Piece::Ignore | Piece::GiveUp => {}
        }
    }

    fn content_complete(&mut self, refused: Option<Refusal>, now: Timestamp) {
        let mail = std::mem::replace(&mut self.mail, Mail::None);
        self.enter(Phase::Command);
        self.await_command(now);
        match (refused, mail) {
            (Some(refusal), _) => self.refuse(refusal),
            (None, Mail::Open(transaction) | Mail::Chunks(transaction, ..)) => {
                self.counts.idle_commands = 0;
                self.enter(Phase::Delivery);
                self.queue.push_back(Step::Deliver(transaction));
            }
            (None, Mail::None) => self.refuse(Refusal::MailFirst),
        }
    }

    /// The octets come whatever the answer will be. RFC 3030 §2
    pub(super) fn bdat(&mut self, bytes: u64, last: bool, now: Timestamp) {
        let bytes_max = self.settings.message_bytes_max;
        if bytes > bytes_max.saturating_mul(2) {
            return self.end(Refusal::TooLarge);
        }
        let mut refused = None;
        self.mail = match std::mem::replace(&mut self.mail, Mail::None) {
            Mail::None => {
                let why =
                    if self.awaits_login() { Refusal::LoginFirst } else { Refusal::MailFirst };
                refused = Some(why);
                Mail::None
            }
            Mail::Open(transaction) if transaction.recipients.is_empty() => {
                refused = Some(Refusal::NoRecipient);
                Mail::Open(transaction)
            }
            Mail::Open(transaction) => {
                let lines = match transaction.parameters.body {
                    Some(Body::BinaryMime) => Lines::None,
                    _ => Lines::new(self.settings.line_ends()),
                };
                Mail::Chunks(transaction, Content::new(bytes_max), lines)
            }
            chunks => chunks,
        };
        if let Mail::Chunks(_, content, _) = &self.mail
            && !content.has_room(bytes)
        {
            refused = Some(Refusal::TooLarge);
            self.abort();
        }
        let chunk = Chunk { left: bytes, bytes, last, refused };
        if bytes == 0 {
            return self.chunk_complete(chunk, now);
        }
        self.enter(Phase::Chunk(chunk));
    }

    pub(super) fn take_chunk(&mut self, mut chunk: Chunk, input: &[u8], now: Timestamp) -> usize {
        let used = input.len().min(usize::try_from(chunk.left).unwrap_or(usize::MAX));
        let octets = &input[..used];
        chunk.left -= used as u64;
        if let Mail::Chunks(_, content, lines) = &mut self.mail
            && chunk.refused.is_none()
        {
            let (piece, fault) = lines.take(octets);
            let (verdict, piece) = (content.add(piece.len(), fault), piece.into_owned());
            chunk.refused = content.refused();
            self.content(verdict, piece);
        }
        self.bytes_came(used, now);
        self.phase = Phase::Chunk(chunk);
        if chunk.left == 0 {
            self.await_command(now);
            self.chunk_complete(chunk, now);
        }
        used
    }

    fn chunk_complete(&mut self, chunk: Chunk, now: Timestamp) {
        self.enter(Phase::Command);
        let end = match &self.mail {
            Mail::Chunks(_, _, lines) if chunk.last && chunk.refused.is_none() => lines.end(),
            _ => Ok(&b""[..]),
        };
        if let Ok(end) = end {
            self.content(Piece::Keep, end.to_vec());
        }
        match chunk.refused.or(end.err()) {
            Some(refusal) => {
                if matches!(self.mail, Mail::Chunks(..)) {
                    self.abort();
                }
                self.refuse(refusal);
            }
            None if chunk.last => self.content_complete(None, now),
            // Nothing came: bounded like NOOP.
            None if chunk.bytes == 0 => self.idle_reply(Reply::new(250, "2.0.0", "OK")),
            None => {
                let text = format!("{} octets received", chunk.bytes);
                self.reply(Reply::new(250, "2.0.0", text));
            }
        }
    }

    /// Content came: once enough of it has, the next window begins.
    fn bytes_came(&mut self, bytes: usize, now: Timestamp) {
        if self.awaits_login() {
            return;
        }
        self.pace.window_bytes += bytes;
        if self.pace.window_bytes >= DATA_WINDOW_BYTES_MIN {
            self.pace = Pace { deadline: after(now, DATA_WINDOW_SECS), window_bytes: 0 };
        }
    }
}
