//! Two who answer the same mail: the second is told before it leaves. What counts is what the
//! sender's program shows it knew of: the answers that the message refers to. `Desk` lets one
//! answer of an inbox be decided and committed at a time, so that of two in the same instant the
//! second sees the first; it holds for one daemon. That somebody was warned, the store knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::thread::{Header, Place, Thread};
use super::{Scope, note};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::id::{BlobId, Login, Timestamp};
use crate::mail::message::select_fields;
use crate::store::StoreError;

/// The trace field of a copy in Sent that says who has sent it. It stands there only.
pub const SENDER_FIELD: &str = "X-Postfach-Sender";
/// For how long who was told of an answer may send all the same.
pub const TOLD_SECS: i64 = 15 * 60;

/// A colleague's answer that the sender does not know of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Who has sent it.
    pub by: Login,
    /// When.
    pub at: Timestamp,
    /// Which message it is.
    pub blob: BlobId,
}

/// Whose turn it is in which inbox.
#[derive(Default)]
pub struct Desk {
    turns: Mutex<HashMap<Account, Arc<Turn<()>>>>,
}

impl Desk {
    /// Waits until nobody else is sending as this account; hold it until the commit has answered.
    pub async fn turn(&self, account: &Account) -> OwnedMutexGuard<()> {
        let turn = held(&self.turns).entry(account.clone()).or_default().clone();
        turn.lock_owned().await
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of an answer in Sent.
struct Sent {
    answer: Answer,
    id: Option<String>,
}

/// The latest answer of somebody else to the conversation that `header`, a message of `user`,
/// continues, if the message does not refer to it and it is no older than what it refers to.
pub async fn unknown_answer(
    scope: &Scope<'_>,
    (thread, header): (&Thread, &Header),
    user: &Login,
) -> Result<Option<Answer>, StoreError> {
    let sent = sent(scope, thread).await?;
    let mut since = Timestamp(i64::MIN);
    for message in thread.messages.iter().filter(|m| is_named(header, m.header.id.as_deref())) {
        for place in &message.places {
            since = since.max(arrival(scope, place).await?.unwrap_or(since));
        }
    }
    Ok(latest_unknown(sent, (header, since), user))
}

fn latest_unknown(
    sent: Vec<Sent>,
    (header, since): (&Header, Timestamp),
    user: &Login,
) -> Option<Answer> {
    let is_itself = |s: &Sent| s.id.is_some() && s.id == header.id && s.answer.by == *user;
    if sent.iter().any(is_itself) {
        // it was accepted before, and the answer got lost
        return None;
    }
    let unknown = sent.into_iter().filter(|sent| {
        sent.answer.by != *user && sent.answer.at >= since && !is_named(header, sent.id.as_deref())
    });
    unknown.map(|sent| sent.answer).max_by_key(|answer| answer.at)
}

fn is_named(header: &Header, id: Option<&str>) -> bool {
    id.is_some_and(|id| header.names(id))
}

/// The conversation's messages in Sent whose sender is known.
async fn sent(scope: &Scope<'_>, thread: &Thread) -> Result<Vec<Sent>, StoreError> {
    let folder = Folder::role(FolderRole::Sent);
    let mut sent = Vec::new();
    for message in &thread.messages {
        for place in message.places.iter().filter(|place| place.folder == folder) {
            let snapshot = scope.store.snapshot(place.mailbox).await?;
            let Some(entry) = snapshot.by_uid(place.uid) else { continue };
            if note::is_marked(scope.store, place.mailbox, place.uid).await? {
                continue;
            }
            let (at, blob) = (entry.internal_date, message.blob);
            if let Some(by) = sender(&scope.store.trace(entry.trace).await?) {
                let id = message.header.id.clone();
                sent.push(Sent { answer: Answer { by, at, blob }, id });
            }
        }
    }
    Ok(sent)
}

async fn arrival(scope: &Scope<'_>, place: &Place) -> Result<Option<Timestamp>, StoreError> {
    let snapshot = scope.store.snapshot(place.mailbox).await?;
    Ok(snapshot.by_uid(place.uid).map(|entry| entry.internal_date))
}

/// The field for a copy in Sent, with its line end.
pub fn sender_field(user: &Login) -> String {
    format!("{SENDER_FIELD}: {user}\r\n")
}

/// Who has sent a message, from the trace fields of its copy.
fn sender(trace: &[u8]) -> Option<Login> {
    let mut field = Vec::new();
    select_fields(trace, &[SENDER_FIELD], &mut field);
    let (_, login) = std::str::from_utf8(&field).ok()?.split_once(':')?;
    Some(login.trim()).filter(|login| !login.is_empty()).map(Login::new)
}

#[cfg(test)]
#[path = "collision_tests.rs"]
mod tests;
