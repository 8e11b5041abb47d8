//! APPEND, in two halves: what stands before the message decides whether it is invited.
//! RFC 3501 §6.3.11

use super::{Call, append_sent};
use crate::conversation::{Scope, moving, thread};
use crate::directory::rights;
use crate::imap::flags::{self, Changeable};
use crate::imap::names::{Resolved, resolve};
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal, Selected, date};
use crate::mail::flag::{FlagList, SeenMode, SystemFlags};
use crate::mail::id::{MailboxId, Timestamp};
use crate::store::StoreError;
use crate::store::change::{Actor, Change, Delivered, NewMessage, Outcome, Transaction};

/// An APPEND whose message is awaited.
pub struct Pending {
    pub(super) target: Resolved,
    pub(super) to: MailboxId,
    pub(super) flags: FlagList,
    internal_date: Option<Timestamp>,
}

/// Mailbox, flags and date: `call.arguments` ends in front of the message's literal, its space
/// included. RFC 3501 §6.3.11
pub async fn begin(call: &mut Call<'_, '_>) -> Result<Pending, Refusal> {
    let cursor = &mut call.arguments;
    let name = utf7::mailbox(cursor)?;
    cursor.space()?;
    let mut flags = FlagList::default();
    if cursor.peek() == Some(b'(') {
        flags = flags::list(cursor)?;
        cursor.space()?;
    }
    let mut internal_date = None;
    if cursor.peek() == Some(b'"') {
        internal_date = Some(date::date_time(cursor)?);
        cursor.space()?;
    }
    cursor.end()?;
    let target = resolve(call.context, call.session, &name).ok_or_else(Refusal::try_create)?;
    let to = target.mailbox.as_ref().map(|m| m.id).ok_or_else(Refusal::try_create)?;
    if !target.rights.has('i') {
        return Err(no_insert());
    }
    Ok(Pending { target, to, flags, internal_date })
}

fn no_insert() -> Refusal {
    Refusal::no_permission("You may not add messages to that mailbox")
}

/// Stores the message; it has arrived whole. `call.arguments` is empty. The new message is
/// announced with the other updates, in front of the tagged answer.
pub async fn finish(
    call: &mut Call<'_, '_>,
    pending: Pending,
    message: NewMessage,
    _selected: Option<&mut Selected>,
) -> Result<Completion, Refusal> {
    if message.bytes.is_empty() {
        return Err(Refusal::no("CANNOT", "A message of no bytes is not stored"));
    }
    let user = &call.session.user;
    // rights may have changed while the message came in
    let now = rights(&call.session.directory, user, &pending.target.account);
    if !now.has('l') {
        return Err(Refusal::try_create());
    }
    if !now.has('i') {
        return Err(no_insert());
    }
    if let Some(filed) = append_sent::filed(call, &pending, &message).await? {
        return Ok(filed);
    }
    let mut flags = Changeable::by(now).among(&pending.flags);
    let (account, folder) = (&pending.target.account, &pending.target.folder);
    flags.keywords = moving::appended(account, folder, flags.keywords);
    let mut seen_by = Vec::new();
    if pending.target.seen == SeenMode::PerUser {
        seen_by.extend(flags.system.contains(SystemFlags::SEEN).then(|| user.clone()));
        flags.system = flags.system & !SystemFlags::SEEN;
    }
    let store = &call.context.store;
    let (directory, account) = (&call.session.directory, &pending.target.account);
    let scope = Scope { store: &**store, directory, account };
    let thread = thread::id(&scope, &message.parsed.envelope).await?;
    let change = Change::Delivered(Box::new(Delivered {
        mailbox: pending.to,
        message,
        trace: Vec::new(),
        flags,
        seen_by,
        internal_date: pending.internal_date.unwrap_or_else(|| store.now()),
        thread,
        duplicate_key: None,
    }));
    let transaction = Transaction { actor: Actor::User(user.clone()), changes: vec![change] };
    let receipt = store.commit(transaction).await.map_err(|error| match error {
        // the mailbox was deleted while the message came in
        StoreError::Gone => Refusal::try_create(),
        other => other.into(),
    })?;
    match receipt.outcomes.first() {
        Some(Outcome::Stored { uid, uid_validity }) => {
            let code = format!("APPENDUID {} {}", uid_validity.0, uid.0);
            Ok(Completion::with_code(code, "Appended"))
        }
        _ => Ok(Completion::ok("Appended")),
    }
}
