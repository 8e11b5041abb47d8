//! What an attempt means for a recipient: whether it stays, until when, and whether the sender is
//! told. Knows no destination and no clock of its own: the moment is a parameter.

use crate::mail::id::Timestamp;
use crate::mail::transport::Notify;
use crate::smtp::client::{Fate, Told};
use crate::store::queue::{
    LAST_REPLY_BYTES_MAX, Owed, OwedOutcome, Progress, QueuedEnvelope, QueuedRecipient,
    RecipientUpdate,
};

/// `retry_first_secs` when the config does not say: 5 minutes.
pub const RETRY_FIRST_SECS: i64 = 5 * 60;
/// `retry_max_secs` when the config does not say: 4 hours.
pub const RETRY_MAX_SECS: i64 = 4 * 60 * 60;
/// `delay_notice_secs` when the config does not say: 4 hours.
pub const DELAY_NOTICE_SECS: i64 = 4 * 60 * 60;
/// `expire_hours` when the config does not say: 5 days. RFC 5321 §4.5.4.1
pub const EXPIRE_SECS: i64 = 5 * 24 * 60 * 60;

/// How far a wait is spread around its length, so that what failed together is not tried together.
const JITTER_PERCENT: i64 = 20;

/// When a message is tried again, and when it is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The first wait; each further one is twice as long.
    pub retry_first_secs: i64,
    /// The longest wait.
    pub retry_max_secs: i64,
    /// After this the sender is told that it takes longer.
    pub delay_notice_secs: i64,
    /// After this a message is given up; who queues it computes `QueuedEnvelope::expires_at` by it.
    pub expire_secs: i64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            retry_first_secs: RETRY_FIRST_SECS,
            retry_max_secs: RETRY_MAX_SECS,
            delay_notice_secs: DELAY_NOTICE_SECS,
            expire_secs: EXPIRE_SECS,
        }
    }
}

impl Policy {
    /// When to try again after `failures` failures (from 1). RFC 5321 §4.5.4.1
    pub fn next(&self, failures: u32, moment: Moment) -> Timestamp {
        let doubled = failures.saturating_sub(1).min(32);
        let secs = self.retry_first_secs.saturating_mul(1 << doubled).min(self.retry_max_secs);
        let whole = secs.saturating_mul(1_000_000);
        let spread = whole / 100 * JITTER_PERCENT;
        let jitter = match spread {
            0 => 0,
            _ => i64::try_from(moment.entropy % (2 * spread.unsigned_abs())).unwrap_or(0) - spread,
        };
        Timestamp(moment.now.0.saturating_add(whole + jitter))
    }
}

/// Now, and something random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The present time.
    pub now: Timestamp,
    /// Nobody can foretell it.
    pub entropy: u64,
}

/// Of what the sender is told. RFC 3464 §2.3.3
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// It is given up.
    Failed,
    /// It takes longer.
    Delayed,
    /// It went to a server that will not tell. RFC 3461 §5.2.2
    Relayed,
    /// It is in a mailbox of ours. RFC 3461 §5.2.3
    Delivered,
}

/// What an attempt means for one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// How the recipient changes.
    pub update: RecipientUpdate,
    /// What the sender is told, and why.
    pub report: Option<(Action, Told)>,
}

/// A recipient that an attempt was made for.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Of its message.
    pub envelope: &'a QueuedEnvelope,
    /// As it was before.
    pub recipient: &'a QueuedRecipient,
    /// The rules.
    pub policy: &'a Policy,
}

impl Case<'_> {
    /// What the fate of an attempt means.
    pub fn judge(&self, fate: Fate, moment: Moment) -> Judgement {
        match fate {
            Fate::Delivered(told) => {
                let wanted = self.wants(|notify| notify.success, false) && !told.dsn;
                done(wanted.then_some((Action::Relayed, told)))
            }
            Fate::Failed(told) => {
                done(self.wants(|notify| notify.failure, true).then_some((Action::Failed, told)))
            }
            Fate::Deferred(told) => {
                let attempts = self.recipient.progress.attempts.saturating_add(1);
                let next_attempt = self.policy.next(attempts, moment);
                self.wait(told, attempts, (next_attempt, moment.now))
            }
        }
    }

    /// What it means that no attempt was made, because its destination could not be reached when
    /// another message was tried: that ended as `told`.
    pub fn overdue(&self, told: Told, now: Timestamp) -> Judgement {
        let Progress { attempts, next_attempt, .. } = self.recipient.progress;
        self.wait(told, attempts, (next_attempt, now))
    }

    /// The next moment at which the sender has to be told something, if nothing else happens.
    pub fn deadline(&self) -> Timestamp {
        let expires_at = self.envelope.expires_at;
        if self.is_delay_told() { expires_at } else { expires_at.min(self.delay_notice_at()) }
    }

    fn wait(
        &self,
        told: Told,
        attempts: u32,
        (next_attempt, now): (Timestamp, Timestamp),
    ) -> Judgement {
        let expires_at = self.envelope.expires_at;
        if now >= expires_at {
            let expired = Told { status: "4.4.7".into(), ..told };
            let wanted = self.wants(|notify| notify.failure, true);
            return done(wanted.then_some((Action::Failed, expired)));
        }
        let tells = !self.is_delay_told() && now >= self.delay_notice_at();
        let progress = Progress {
            attempts,
            next_attempt: next_attempt.min(expires_at),
            last_reply: Some(last_reply(&told)),
            delay_told: self.recipient.progress.delay_told || tells,
            held: self.recipient.progress.held,
            owed: None,
        };
        let report = tells.then_some((Action::Delayed, told));
        Judgement { update: RecipientUpdate::Waits(progress), report }
    }

    /// Nobody is told of mail without a reverse-path. RFC 3461 §4.1: without NOTIFY, failures are
    /// told, and delays may be.
    fn wants(&self, which: impl Fn(&Notify) -> bool, default: bool) -> bool {
        self.envelope.reverse_path.is_some()
            && self.recipient.notify.as_ref().map_or(default, which)
    }

    /// The delay has been told, or need not be.
    fn is_delay_told(&self) -> bool {
        self.recipient.progress.delay_told || !self.wants(|notify| notify.delay, true)
    }

    fn delay_notice_at(&self) -> Timestamp {
        let micros = self.policy.delay_notice_secs.saturating_mul(1_000_000);
        Timestamp(self.envelope.queued_at.0.saturating_add(micros))
    }
}

impl Judgement {
    /// What the owed report on a recipient means: nothing but to tell it. `None` for one that is
    /// still to be reached.
    pub fn owed(recipient: &QueuedRecipient) -> Option<Judgement> {
        let Owed { outcome, by, status, text, is_reply } = &**recipient.progress.owed.as_ref()?;
        let action = match outcome {
            OwedOutcome::Failed => Action::Failed,
            OwedOutcome::Relayed => Action::Relayed,
        };
        let (by, status, text) = (by.clone(), status.clone(), text.clone());
        let told = Told { by, status, text, is_reply: *is_reply, dsn: false };
        Some(done(Some((action, told))))
    }

    /// How the recipient changes when its report cannot be stored now: what is decided stays so,
    /// and the report is tried again later. A delay is told with the next attempt.
    pub fn untold(
        &self,
        recipient: &QueuedRecipient,
        (policy, moment): (&Policy, Moment),
    ) -> RecipientUpdate {
        let (outcome, told) = match (&self.update, &self.report) {
            (RecipientUpdate::Waits(progress), Some(_)) => {
                let delay_told = recipient.progress.delay_told;
                return RecipientUpdate::Waits(Progress { delay_told, ..progress.clone() });
            }
            (update, None | Some((Action::Delayed | Action::Delivered, _))) => {
                return update.clone();
            }
            (RecipientUpdate::Done, Some((Action::Failed, told))) => (OwedOutcome::Failed, told),
            (RecipientUpdate::Done, Some((Action::Relayed, told))) => (OwedOutcome::Relayed, told),
        };
        let Told { by, status, text, is_reply, .. } = told.clone();
        RecipientUpdate::Waits(Progress {
            next_attempt: policy.next(1, moment),
            last_reply: Some(format!("the report on it waits: {}", last_reply(told))),
            owed: Some(Box::new(Owed { outcome, by, status, text, is_reply })),
            ..recipient.progress.clone()
        })
    }
}

fn done(report: Option<(Action, Told)>) -> Judgement {
    Judgement { update: RecipientUpdate::Done, report }
}

/// What was said and by whom, on one line within its limit.
pub fn last_reply(told: &Told) -> String {
    let whole = match told.by.is_empty() {
        true => told.text.clone(),
        false => format!("{}: {}", told.by, told.text),
    };
    let line: String = whole.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line[..line.floor_char_boundary(LAST_REPLY_BYTES_MAX)].to_owned()
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
