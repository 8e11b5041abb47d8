//! Brings messages back out of a Trash, to where they were.

use std::collections::BTreeMap;

use super::Desk;
use super::words::{How, Restore};
use crate::conversation::Scope;
use crate::conversation::moving::NAMED_MAX;
use crate::conversation::restoring::{self, Deleted, Return};
use crate::directory::Directory;
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::date::rfc3339;
use crate::mail::id::{Login, MailboxId, Uid};
use crate::store::StoreError;
use crate::store::change::{Actor, Transaction};

/// Messages that are told of one by one; there may be more.
const TOLD_MAX: usize = 1_000;

pub(super) async fn run(desk: &Desk, asked: &Restore) -> Result<Vec<String>, String> {
    let directory = desk.directory.borrow().clone();
    let account = declared(&directory, &asked.account)
        .ok_or_else(|| format!("there is no {}", asked.account))?;
    let trash = desk.store.find(&account, &Folder::role(FolderRole::Trash));
    let trash = trash.ok_or_else(|| format!("the {account} has no Trash"))?.id;
    let scope = Scope { store: &*desk.store, directory: &directory, account: &account };
    let unreadable = |error: StoreError| format!("the store does not answer: {error}");
    let messages = wanted(&scope, trash, asked).await.map_err(unreadable)?;
    let (mut said, mut count) = (Vec::new(), 0);
    // so many at a time still find their conversations
    for some in messages.chunks(NAMED_MAX) {
        let returns = restoring::returns(&scope, some).await.map_err(unreadable)?;
        if asked.how == How::ForReal {
            commit(&scope, (trash, &returns))
                .await
                .map_err(|error| format!("{count} restored, then the store refused: {error}"))?;
        }
        count += some.len();
        said.extend(lines(some, &returns));
    }
    said.truncate(TOLD_MAX);
    let messages = if count == 1 { "1 message".into() } else { format!("{count} messages") };
    said.push(match asked.how {
        How::ForReal => format!("{messages} restored"),
        How::Dry => format!("{messages} would be restored; nothing was changed"),
    });
    Ok(said)
}

/// By its name as it is declared; it is asked for without regard to case.
fn declared(directory: &Directory, account: &Account) -> Option<Account> {
    let is_it = |name: &str, asked: &str| name.to_lowercase() == asked.to_lowercase();
    match account {
        Account::User(_) => None,
        Account::Inbox(asked) => {
            directory.inboxes.keys().find(|name| is_it(name, asked)).cloned().map(Account::Inbox)
        }
        Account::Channel(asked) => {
            directory.channels.keys().find(|name| is_it(name, asked)).cloned().map(Account::Channel)
        }
    }
}

async fn wanted(
    scope: &Scope<'_>,
    trash: MailboxId,
    asked: &Restore,
) -> Result<Vec<Deleted>, StoreError> {
    let uids = match &asked.message_id {
        Some(id) => {
            let found = scope.store.instances_of(id).await?;
            found.iter().filter(|i| i.mailbox == trash).map(|i| i.uid).collect()
        }
        None => scope.store.snapshot(trash).await?.iter().map(|entry| entry.uid).collect(),
    };
    let mut messages = restoring::deleted(scope, (trash, &uids)).await?;
    messages.retain(|message| {
        let at = message.entry.as_ref().map(|entry| entry.at);
        let by = message.entry.as_ref().and_then(|entry| entry.user());
        asked.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && asked.deleted_by.as_ref().is_none_or(|asked: &Login| by == Some(asked))
    });
    restoring::without_copies(scope, trash, messages).await
}

async fn commit(
    scope: &Scope<'_>,
    (trash, returns): (MailboxId, &[Return]),
) -> Result<(), StoreError> {
    // within an inbox everybody's \Seen goes along; this names nobody
    let changes = restoring::changes(scope, (trash, returns), &Login::new("")).await?;
    scope.store.commit(Transaction { actor: Actor::Operator, changes }).await.map(drop)
}

fn lines(messages: &[Deleted], returns: &[Return]) -> Vec<String> {
    let by_uid: BTreeMap<Uid, &Deleted> = messages.iter().map(|m| (m.uid, m)).collect();
    let told = |place: &Return, uid: Uid| {
        let message = by_uid.get(&uid)?;
        let folder = match place.folder.path().trim_start_matches('\\') {
            "" => "open",
            path => path,
        };
        Some(format!("message {}, {}: → {folder}", message.blob.0, deleted(message)))
    };
    returns.iter().flat_map(|r| r.uids.iter().filter_map(move |uid| told(r, uid))).collect()
}

fn deleted(message: &Deleted) -> String {
    let Some(entry) = &message.entry else { return "deleted long ago".into() };
    let by = entry.user().map_or("the daemon", Login::as_str);
    format!("deleted {} by {by}", rfc3339(entry.at))
}
