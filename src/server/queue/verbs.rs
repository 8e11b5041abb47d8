//! What an operator asks for: try again, hold, release, drop. What is being tried at the moment is
//! left alone until that has ended.

use tokio::sync::oneshot;

use super::{Queue, relayed};
use crate::mail::id::{QueueId, Timestamp};
use crate::store::StoreError;
use crate::store::change::{Actor, Change, Transaction};
use crate::store::nodes::Ask;
pub use crate::store::nodes::{Done, Verb, Which};
use crate::store::queue::{Progress, Queued, QueuedRecipient, RecipientUpdate};

/// Messages changed in one transaction.
const MESSAGES_PER_TRANSACTION_MAX: usize = 100;

/// What was asked of other nodes longer ago than this is not done any more.
const ASKED_SECS_MAX: i64 = 15;

/// What became of it.
pub type Asked = Result<Done, StoreError>;

/// Something to be done, and whom to tell.
pub struct Command {
    pub(super) verb: Verb,
    pub(super) which: Which,
    pub(super) answer: oneshot::Sender<Asked>,
}

impl Queue {
    pub(super) async fn obey(&mut self, command: Command) {
        let Command { verb, which, answer } = command;
        if !self.office.under.lasts() {
            let store = self.office.store.clone();
            tokio::spawn(async move {
                let _ = answer.send(relayed::ask(&*store, verb, which).await);
            });
            return;
        }
        // Who asked may have gone.
        let _ = answer.send(self.perform(verb, which).await);
    }

    /// What was asked of other nodes.
    pub(super) async fn answer_asks(&mut self) {
        while self.office.under.lasts()
            && let Some(Ask { id, verb, which, .. }) = self.next_ask()
        {
            let done = self.perform(verb, which).await.map_err(|error| error.to_string());
            let mut changes: Vec<Change> = self.office.under.fence().into_iter().collect();
            changes.push(Change::QueueAnswered { id, answer: done });
            let transaction = Transaction { actor: Actor::System, changes };
            if let Err(error) = self.office.store.commit(transaction).await {
                tracing::error!(%error, "who asked by another node is not answered");
                return;
            }
        }
    }

    fn next_ask(&mut self) -> Option<Ask> {
        let asks = self.asks.borrow_and_update();
        let now = self.office.clock.now();
        // who asked has been told that nobody answers: nothing is to be done behind their back
        let waits = |ask: &&Ask| now.seconds() - ask.at.seconds() < ASKED_SECS_MAX;
        asks.values().filter(|ask| ask.answer.is_none()).find(waits).cloned()
    }

    async fn perform(&mut self, verb: Verb, which: Which) -> Asked {
        let done = match which {
            Which::One(id) => self.apply(verb, &[id]).await,
            Which::All => self.apply_to_all(verb).await,
        };
        if let Ok(done) = &done {
            let Done { messages, recipients, busy } = done;
            tracing::info!(?verb, ?which, messages, recipients, busy, "asked by the operator");
        }
        done
    }

    /// What was asked while attempts were under way.
    pub(super) async fn fulfil(&mut self, id: QueueId) {
        let Some(verb) = self.wishes.remove(&id) else { return };
        if let Err(error) = self.apply(verb, &[id]).await {
            tracing::error!(%error, ?verb, "what was asked for cannot be done");
        }
    }

    async fn apply_to_all(&mut self, verb: Verb) -> Asked {
        let mut all = Done::default();
        let mut next = QueueId(i64::MIN);
        loop {
            let some = self.office.store.queued_from(next, MESSAGES_PER_TRANSACTION_MAX);
            let Some(last) = some.last() else { return Ok(all) };
            next = QueueId(last.id.0.saturating_add(1));
            let ids: Vec<QueueId> = some.iter().map(|queued| queued.id).collect();
            let done = self.apply(verb, &ids).await?;
            all.messages += done.messages;
            all.recipients += done.recipients;
            all.busy += done.busy;
        }
    }

    async fn apply(&mut self, verb: Verb, ids: &[QueueId]) -> Asked {
        let now = self.office.clock.now();
        let store = self.office.store.clone();
        let mut done = Done::default();
        let mut changes = Vec::new();
        for queued in ids.iter().filter_map(|id| store.queued(*id)) {
            let (busy, free) = self.split(&queued);
            done.messages += 1;
            done.busy += busy;
            self.wish(queued.id, (verb, busy));
            let updates: Vec<_> = free
                .into_iter()
                .filter_map(|r| Some((r.number, update(verb, &r.progress, now)?)))
                .collect();
            done.recipients += updates.len();
            if !updates.is_empty() {
                changes.push(Change::QueueUpdated { id: queued.id, recipients: updates });
            }
            if matches!(verb, Verb::Retry | Verb::Release) {
                let routes = &self.office.settings.routes;
                queued.recipients.iter().for_each(|r| self.agenda.forgive(&routes.of(r)));
            }
        }
        if !changes.is_empty() {
            let changes = self.office.under.fence().into_iter().chain(changes).collect();
            let transaction = Transaction { actor: Actor::System, changes };
            store.commit(transaction).await?;
        }
        ids.iter().for_each(|id| self.plan_again(*id));
        Ok(done)
    }

    /// How many recipients are being tried, and those that are not.
    fn split<'a>(&self, queued: &'a Queued) -> (usize, Vec<&'a QueuedRecipient>) {
        let routes = &self.office.settings.routes;
        let is_turning = self.turning.contains(&queued.id) && self.agenda.is_busy(queued.id);
        let is_free =
            |r: &&QueuedRecipient| !is_turning && !self.agenda.is_running(queued.id, &routes.of(r));
        let free: Vec<_> = queued.recipients.iter().filter(is_free).collect();
        (queued.recipients.len() - free.len(), free)
    }

    /// The last word counts. To try again what is being tried is no wish.
    fn wish(&mut self, id: QueueId, (verb, busy): (Verb, usize)) {
        match verb {
            Verb::Hold | Verb::Release | Verb::Drop if busy > 0 => self.wishes.insert(id, verb),
            _ => self.wishes.remove(&id),
        };
    }
}

/// How a recipient changes; `None` when it is so already.
fn update(verb: Verb, progress: &Progress, now: Timestamp) -> Option<RecipientUpdate> {
    let progress = match (verb, progress.held) {
        (Verb::Drop, _) => return Some(RecipientUpdate::Done),
        (Verb::Hold | Verb::Retry, true) | (Verb::Release, false) => return None,
        (Verb::Hold, false) => Progress { held: true, ..progress.clone() },
        (Verb::Retry, false) | (Verb::Release, true) => {
            Progress { next_attempt: now, held: false, ..progress.clone() }
        }
    };
    Some(RecipientUpdate::Waits(progress))
}
