//! Changes of the queue: a message enters it, its recipients come further.

use std::sync::Arc;

use super::{Draft, Outcome, StoreError};
use crate::mail::id::QueueId;
use crate::store::queue::{
    LAST_REPLY_BYTES_MAX, NewQueued, Progress, QUEUED_MESSAGES_MAX, QUEUED_RECIPIENTS_MAX, Queued,
    RecipientUpdate,
};

impl Draft<'_> {
    pub(super) fn queued(&mut self, new: NewQueued) -> Result<Outcome, StoreError> {
        if !(1..=QUEUED_RECIPIENTS_MAX).contains(&new.recipients.len()) {
            return Err(StoreError::Limit("recipients of a queued message"));
        }
        if self.is_duplicate(new.duplicate_key) {
            return Ok(Outcome::Duplicate);
        }
        let length = self.queue_length();
        if *length >= QUEUED_MESSAGES_MAX {
            return Err(StoreError::Limit("queued messages"));
        }
        *length += 1;
        self.use_duplicate_key(new.duplicate_key);
        let size_bytes = new.trace.len() as u64 + new.message.bytes.len();
        let (blob, trace) = (self.blob_of(new.message), self.trace_of(new.trace));
        let id = self.counters().next_queue();
        let mut recipients = new.recipients;
        for (number, recipient) in (0..).zip(&mut recipients) {
            recipient.number = number;
            cut(&mut recipient.progress);
            self.own.rows.queued_recipients.insert((id, number), Some(recipient.clone()));
        }
        let envelope = Arc::new(new.envelope);
        let queued = Arc::new(Queued { id, blob, trace, size_bytes, envelope, recipients });
        self.own.rows.refer((blob, trace), 1);
        self.tell_queued(&queued);
        self.own.rows.queued.insert(id, Some(queued.clone()));
        self.own.queue.insert(id, Some(queued));
        Ok(Outcome::Queued(id))
    }

    pub(super) fn queue_updated(
        &mut self,
        id: QueueId,
        updates: Vec<(u32, RecipientUpdate)>,
    ) -> Outcome {
        let Some(mut queued) = self.queued_now(id).cloned() else { return Outcome::Done };
        let recipients = &mut Arc::make_mut(&mut queued).recipients;
        for (number, update) in updates {
            let Ok(at) = recipients.binary_search_by_key(&number, |r| r.number) else { continue };
            let row = match update {
                RecipientUpdate::Waits(mut progress) => {
                    cut(&mut progress);
                    recipients[at].progress = progress;
                    Some(recipients[at].clone())
                }
                RecipientUpdate::Done => {
                    recipients.remove(at);
                    None
                }
            };
            self.own.rows.queued_recipients.insert((id, number), row);
        }
        if !queued.recipients.is_empty() {
            self.own.queue.insert(id, Some(queued));
            return Outcome::Done;
        }
        self.own.rows.refer((queued.blob, queued.trace), -1);
        self.own.rows.queued.insert(id, None);
        self.own.queue.insert(id, None);
        *self.queue_length() -= 1;
        Outcome::Done
    }

    fn queued_now(&self, id: QueueId) -> Option<&Arc<Queued>> {
        match self.own.queue.get(&id).or(self.group.queue.get(&id)) {
            Some(queued) => queued.as_ref(),
            None => self.base.state.queue().get(&id),
        }
    }

    /// How many messages are queued now, to be changed.
    fn queue_length(&mut self) -> &mut usize {
        let before = self.group.queue_length.unwrap_or(self.base.state.queue().len());
        self.own.queue_length.get_or_insert(before)
    }
}

/// A reply is another server's: it may be of any length.
fn cut(progress: &mut Progress) {
    let owed = progress.owed.iter_mut().flat_map(|o| [&mut o.by, &mut o.status, &mut o.text]);
    for text in progress.last_reply.iter_mut().chain(owed) {
        text.truncate(text.floor_char_boundary(LAST_REPLY_BYTES_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::id::{BlobId, Timestamp, TraceId};
    use crate::store::apply::{Base, Known, apply};
    use crate::store::change::{Actor, Change, Transaction};
    use crate::store::contract::queue::{envelope, new_queued, recipient};
    use crate::store::queue::QueuedRecipient;
    use crate::store::state::{Changed, State};

    #[test]
    fn the_queue_has_a_limit() {
        let envelope = Arc::new(envelope("x"));
        let mut state = State::default();
        for id in (1..QUEUED_MESSAGES_MAX as i64).map(QueueId) {
            let (blob, trace, size_bytes) = (BlobId(1), TraceId::NONE, 1);
            let recipients = vec![QueuedRecipient { number: 0, ..recipient("ben") }];
            let envelope = envelope.clone();
            state.load_queued(Queued { id, blob, trace, size_bytes, envelope, recipients });
        }
        let (known, now) = (Known::default(), Timestamp(0));
        let base = Base { state: &state, known: &known, now };
        let commit = |group: &Changed, changes| {
            apply(&base, group, Transaction { actor: Actor::System, changes }).map(|done| done.1)
        };
        let one = || Change::Queued(Box::new(new_queued("x", &["ben"])));
        let left = |id| {
            let recipients = vec![(0, RecipientUpdate::Done)];
            Change::QueueUpdated { id: QueueId(id), recipients }
        };
        let full = StoreError::Limit("queued messages");
        let last = commit(&Changed::default(), vec![one()]).expect("up to the limit");
        assert_eq!(commit(&last, vec![one()]).err(), Some(full.clone()));
        let swapped = vec![left(1), one(), left(2), left(2), one()];
        assert!(commit(&last, swapped.clone()).is_ok());
        assert_eq!(commit(&last, [swapped, vec![one()]].concat()).err(), Some(full));
    }
}
