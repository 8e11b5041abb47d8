//! What an operator asks of a node that does not move the queue: it is put into the store, where
//! the node that does finds it and answers.

use std::time::Duration;

use tokio::time::timeout;

use super::entropy;
use super::verbs::{Asked, Verb, Which};
use crate::mail::id::Timestamp;
use crate::store::change::{Actor, Change, Transaction};
use crate::store::nodes::Ask;
use crate::store::{Store, StoreError};

/// How long an answer may take: as long as it takes until another node has the duty, and some.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Has something done by the node that moves the queue.
pub(super) async fn ask(store: &dyn Store, verb: Verb, which: Which) -> Asked {
    let id = entropy().cast_signed();
    let mut asks = store.watch_asks();
    let ask = Ask { id, at: Timestamp(0), verb, which, answer: None };
    let changes = vec![Change::QueueAsked(ask)];
    store.commit(Transaction { actor: Actor::System, changes }).await?;
    let is_answered = |ask: &Ask| ask.answer.is_some();
    let answered = timeout(ANSWER_TIMEOUT, asks.wait_for(|a| a.get(&id).is_some_and(is_answered)));
    let answer = match answered.await {
        Ok(Ok(asks)) => asks.get(&id).and_then(|ask| ask.answer.clone()),
        Ok(Err(_)) | Err(_) => None,
    };
    let nobody = "no node that moves the queue has answered; ask again in some seconds";
    answer.unwrap_or(Err(nobody.into())).map_err(StoreError::Unavailable)
}
