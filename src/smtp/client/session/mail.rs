//! One mail of a session, from MAIL to its fates.

use std::time::Duration;

use super::{Phase, Pipelining, Session, Step, after};
use crate::mail::id::Timestamp;
use crate::smtp::client::reply::{Class, ServerReply};
use crate::smtp::client::stuffing::Stuffer;
use crate::smtp::client::transaction::{Aim, Next, Terms, Transaction, UNASKED};
use crate::smtp::client::{CONTENT_BYTES_PER_SEC_LEAST, Mail};

impl Session {
    pub(super) fn begin(&mut self, mail: &Mail, aim: Aim, now: Timestamp) {
        if !self.reader.is_empty() {
            return self.broken(UNASKED);
        }
        self.begun = self.begun.saturating_add(1);
        let content = Duration::from_secs(mail.size_bytes / CONTENT_BYTES_PER_SEC_LEAST);
        self.limit = after(now, self.settings.timeouts.transaction.saturating_add(content));
        let terms = Terms {
            aim,
            host: self.host.clone(),
            offer: self.offer.clone(),
            pipelining: self.offer.pipelining && self.settings.pipelining == Pipelining::AsOffered,
            reset: self.reset,
        };
        let transaction = Box::new(Transaction::new(mail, terms));
        if transaction.is_over() {
            return self.finish(*transaction);
        }
        self.reset = true;
        self.envelope(transaction, now);
        if self.begun > 1 {
            self.wait(self.settings.timeouts.reuse, now);
        }
    }

    pub(super) fn envelope(&mut self, mut transaction: Box<Transaction>, now: Timestamp) {
        transaction.pump(&mut self.output);
        self.wait(transaction.patience(&self.settings.timeouts), now);
        self.phase = Phase::Envelope(transaction);
    }

    pub(super) fn envelope_reply(
        &mut self,
        reply: &ServerReply,
        mut transaction: Box<Transaction>,
        now: Timestamp,
    ) {
        match transaction.reply(reply) {
            Next::Envelope => self.envelope(transaction, now),
            Next::Content => {
                self.phase = Phase::Content(transaction, Stuffer::default());
                self.wait(self.settings.timeouts.block, now);
            }
            Next::Dot => self.command(".\r\n", Phase::Dot(transaction), now),
            Next::Over => self.finish(*transaction),
            Next::Broken(why) => self.give_up(transaction, why),
        }
    }

    /// A refusal before the end of the content counts; an acceptance of what was not sent does not.
    pub(super) fn early_reply(&mut self, reply: &ServerReply, mut transaction: Box<Transaction>) {
        match reply.class() {
            Class::Transient | Class::Permanent => {
                let _ = transaction.final_reply(reply);
                self.finish(*transaction);
                self.phase = Phase::Closed;
            }
            Class::Positive | Class::Intermediate => self.give_up(transaction, UNASKED),
        }
    }

    /// The server has ended the transaction itself.
    pub(super) fn complete(&mut self, transaction: Transaction) {
        self.reset = false;
        self.finish(transaction);
    }

    pub(super) fn finish(&mut self, transaction: Transaction) {
        let step = match transaction.aim() {
            Aim::Deliver => Step::Done(transaction.fates()),
            Aim::Verify => Step::Verified(transaction.verification()),
        };
        self.queue.push_back(step);
        self.phase = Phase::Ready;
    }

    pub(super) fn give_up(&mut self, transaction: Box<Transaction>, why: &str) {
        self.phase = Phase::Envelope(transaction);
        let told = self.host.judged("4.5.0", why);
        self.end(told);
    }
}
