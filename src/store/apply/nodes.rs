//! Changes by which several nodes agree: who has a duty, which directory is in force, what is
//! asked of the queue. All nodes' transactions stand in one order, so what is compared here
//! is what holds.

use std::sync::Arc;

use super::{Draft, Outcome, StoreError};
use crate::mail::id::{MailboxId, ModSeq};
use crate::store::nodes::{
    ASK_SECS, ASKS_MAX, Ask, Asks, DIRECTORY_BYTES_MAX, Done, Duty, Published,
};

impl Draft<'_> {
    pub(super) fn directory_published(&mut self, new: Published) -> Result<Outcome, StoreError> {
        if new.text.len() > DIRECTORY_BYTES_MAX {
            return Err(StoreError::Limit("bytes of a published directory"));
        }
        let before = self.own.directory.as_ref().or(self.group.directory.as_ref());
        let before = before.or(self.base.state.directory());
        let salts = before.map_or(new.salts, |before| before.salts);
        self.own.directory = Some(Arc::new(Published { salts, at: self.base.now, ..new }));
        Ok(Outcome::Done)
    }

    pub(super) fn duty_taken(
        &mut self,
        duty: Duty,
        (after, tenure): (Option<i64>, i64),
    ) -> Result<Outcome, StoreError> {
        if self.tenure(duty) != after {
            return Err(StoreError::Outrun);
        }
        self.own.tenures.insert(duty, tenure);
        Ok(Outcome::Done)
    }

    pub(super) fn fenced(&self, duty: Duty, tenure: i64) -> Result<Outcome, StoreError> {
        match self.tenure(duty) {
            Some(now) if now == tenure => Ok(Outcome::Done),
            _ => Err(StoreError::Outrun),
        }
    }

    fn tenure(&self, duty: Duty) -> Option<i64> {
        let now = self.own.tenures.get(&duty).or(self.group.tenures.get(&duty));
        now.or(self.base.state.tenures().get(&duty)).copied()
    }

    pub(super) fn expected(
        &self,
        mailbox: MailboxId,
        modseq: ModSeq,
    ) -> Result<Outcome, StoreError> {
        match self.modseq_before(mailbox) == modseq {
            true => Ok(Outcome::Done),
            false => Err(StoreError::Outrun),
        }
    }

    pub(super) fn queue_asked(&mut self, ask: Ask) -> Result<Outcome, StoreError> {
        let now = self.base.now;
        let mut asks = self.asks().clone();
        let kept = Arc::make_mut(&mut asks);
        kept.retain(|_, ask| (now.seconds() - ask.at.seconds()).abs() < ASK_SECS);
        if kept.len() >= ASKS_MAX {
            return Err(StoreError::Limit("what is asked of the queue at a time"));
        }
        kept.insert(ask.id, Ask { at: now, answer: None, ..ask });
        self.own.asks = Some(asks);
        Ok(Outcome::Done)
    }

    /// An ask that is not kept any more needs no answer.
    pub(super) fn queue_answered(&mut self, id: i64, answer: Result<Done, String>) -> Outcome {
        let mut asks = self.asks().clone();
        if let Some(ask) = Arc::make_mut(&mut asks).get_mut(&id) {
            ask.answer = Some(answer);
            self.own.asks = Some(asks);
        }
        Outcome::Done
    }

    fn asks(&self) -> &Asks {
        let group = self.group.asks.as_ref();
        self.own.asks.as_ref().or(group).unwrap_or(self.base.state.asks())
    }
}
