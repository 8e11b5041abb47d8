//! Quota roots: one for each account that has limits, named after it. RFC 9208 §3.2

use super::{Context, Refusal, Session};
use crate::directory::Directory;
use crate::directory::quota::Quota;
use crate::mail::account::Account;
use crate::mail::id::Login;
use crate::store::Usage;

/// STORAGE counts in these. RFC 9208 §5.1
const UNIT_BYTES: u64 = 1024;

/// The name of an account's root; `None`: nothing of it is limited.
pub fn root(directory: &Directory, account: &Account) -> Option<String> {
    if directory.quota(account).is_none() {
        return None;
    }
    Some(match account {
        Account::User(login) => format!("user/{login}"),
        Account::Inbox(name) => format!("inbox/{name}"),
        Account::Channel(name) => format!("channel/{name}"),
    })
}

/// The account that a root's name means, if it has limits.
pub fn account(directory: &Directory, root: &str) -> Option<Account> {
    let (kind, name) = root.split_once('/')?;
    let account = match kind {
        "user" => Account::User(Login::new(name)),
        "inbox" => Account::Inbox(name.into()),
        "channel" => Account::Channel(name.into()),
        _ => return None,
    };
    Some(account).filter(|account| !directory.quota(account).is_none())
}

/// The resources that are limited, as they stand in a QUOTA response. RFC 9208 §4.2.1
pub fn written(quota: Quota, usage: Usage) -> String {
    let storage = quota
        .bytes
        .map(|most| format!("STORAGE {} {}", usage.bytes.div_ceil(UNIT_BYTES), most / UNIT_BYTES));
    let messages = quota.messages.map(|most| format!("MESSAGE {} {most}", usage.messages));
    [storage, messages].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Whether an account has room for `adding`, when `freed` goes in the same step. RFC 9208 §4.3.1
pub fn check_room(
    context: &Context,
    session: &Session,
    account: &Account,
    (adding, freed): (Usage, Usage),
) -> Result<(), Refusal> {
    let quota = session.directory.quota(account);
    if quota.is_none() {
        return Ok(());
    }
    let now = context.store.usage(account);
    let messages = (now.messages + adding.messages).saturating_sub(freed.messages);
    let bytes = (now.bytes + adding.bytes).saturating_sub(freed.bytes);
    match quota.allows((messages, bytes)) {
        true => Ok(()),
        false => Err(Refusal::no("OVERQUOTA", "There is no room for that in this account")),
    }
}
